#!/usr/bin/env python3
"""Makes csv-dialects.txt: random files in random dialects, and their columns as Python's csv module (or str.split, for blanks) reads them.

  csv-dialects.py > csv-dialects.txt
"""
import csv
import io
import random

DELIMITERS = {",": '","', ";": '";"', "\t": "tab", "|": '"|"', ":": '":"', "^": '"^"', "~": '"~"', " ": '" "', "": "blanks"}
QUOTES = {'"': "'\"'", "'": '"\'"', None: "none"}
NAMES = ["ts", "who", "a", "b", "c"]
# Decimal sign and separator of thousands.
NUMBERS = [(".", None), (",", None), (".", ","), (",", "."), (",", " "), (".", "'"), (".", " "), (",", "'")]


def escaped(text):
    text = text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
    return text[:-1] + "\\s" if text.endswith(" ") else text


def word(rng, delimiter, quote, encoding, trim):
    alphabet = ["a", "b", "0", "x y", "-", '"', "'", ",", ";", "|", "é", "ß", "ÿ", "\t"]
    if encoding != "iso-8859-1":
        alphabet += ["€", "„", "Š"]
    if encoding == "utf-8":
        alphabet += ["漢", "🙂"]
    if quote:
        alphabet += [quote, delimiter or " ", "\n", "\r\n"]
    text = "".join(rng.choice(alphabet) for _ in range(rng.choice([0, 1, 2, 3, 8])))
    if not quote:
        for taken in (delimiter, "\n", "\r") if delimiter else (" ", "\t"):
            text = text.replace(taken, "")
        if trim:
            text = text.strip(" \t")
        if not delimiter and not text:
            text = "x"
    return text


def written(rng, text, delimiter, quote, trim):
    """A column as some program writes it: quoted where it must be, and sometimes where it need not."""
    if not quote:
        return text
    unsafe = "\r\n" + quote + (delimiter or " \t")
    must = any(c in text for c in unsafe) or (trim or not delimiter) and text != text.strip(" \t") or not delimiter and not text
    if must or rng.random() < 0.3:
        return quote + text.replace(quote, quote * 2) + quote
    return text


def number(rng, decimal, thousands):
    cents = rng.choice([0, 5, 99, 1234, 123456, 100000000, 98765432101]) * rng.choice([1, 1, -1])
    sign = "-" if cents < 0 else ""
    whole, rest = divmod(abs(cents), 100)
    text = f"{whole:,}".replace(",", thousands) if thousands and rng.random() < 0.7 else str(whole)
    style = rng.random()
    if style < 0.6 or rest % 10:
        text += decimal + f"{rest:02}"
    elif rest or style < 0.8:
        text += decimal + str(rest // 10)
    return sign + text, cents


def case(rng):
    delimiter = rng.choice(list(DELIMITERS))
    quote = rng.choice([q for q in QUOTES if q != delimiter])
    comment = rng.choice([None, None, "#", "%"])
    encoding = rng.choice(["utf-8", "utf-8", "iso-8859-1", "windows-1252"])
    trim = rng.random() < 0.4
    header = rng.random() < 0.5
    decimal, thousands = rng.choice(NUMBERS)
    keys = [f"delimiter: {DELIMITERS[delimiter]}", f"quote: {QUOTES[quote]}", f"encoding: {encoding}", f"trim: {str(trim).lower()}"]
    if comment:
        keys.append(f'comment: "{comment}"')
    if not header:
        keys.append("header: [ts, who, amount, \"-\", a, b, c]")
    keys += [f'decimal: "{decimal}"', f'thousands: "{thousands}"' if thousands else "thousands: none"]
    end = rng.choice(["\n", "\r\n"])
    gap = lambda: "" if delimiter and not trim else " " * rng.choice([0, 0, 1, 2])

    def line(columns):
        if delimiter:
            return delimiter.join(gap() + c for c in columns)
        return gap() + columns[0] + "".join(" " + gap() + c for c in columns[1:])

    data, noted = [], []
    if header:
        data.append(line(["ts", "who", "amount", "unread", "a", "b", "c"]))
    for n in range(rng.randint(3, 9)):
        if comment and rng.random() < 0.4:
            data.append(("comment", comment + rng.choice(["", " a note", delimiter + (quote or "") + "open", " ts" + delimiter])))
        amount, cents = number(rng, decimal, thousands)
        # A decimal sign or a separator that parts columns stands in quotes, or not at all.
        if any(c in amount for c in (delimiter or " ")):
            if not quote:
                amount, cents = "7", 700
            else:
                amount = quote + amount + quote
        texts = [word(rng, delimiter, quote, encoding, trim) for _ in range(4)]
        data.append(line([str(1772618400000 + n), "ada", amount] + [written(rng, t, delimiter, quote, trim) for t in texts]))
        noted.append(str(cents))
    rows = [d for d in data if isinstance(d, str)]
    content = "".join((d if isinstance(d, str) else d[1]) + end for d in data)
    plain = "".join(r + end for r in rows)
    if rng.random() < 0.3:
        content = content[: -len(end)]
        plain = plain[: -len(end)]
    if delimiter or quote:
        read = csv.reader(
            io.StringIO(plain, newline=""), delimiter=delimiter or " ", quotechar=quote, quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
            skipinitialspace=trim or not delimiter, strict=False)
        found = [r for r in read]
        if not delimiter:
            # A run of blanks is one delimiter, so the reader's empty columns are none unless they were quoted: there are none of those.
            found = [r if len(r) == 7 else None for r in found]
            if None in found:
                return None
    else:
        found = [r.split() for r in plain.split(end) if r]
    if header:
        found = found[1:]
    if any(len(r) != 7 for r in found) or len(found) != len(noted):
        return None
    # The reader leaves blanks behind a column that nobody quoted; the generator writes none there.
    out = ["== { " + ", ".join(keys) + " }", "file " + escaped(content)]
    out += ["row " + "␟".join([cents] + [escaped(c) for c in row[4:]]) for cents, row in zip(noted, found)]
    return "\n".join(out)


def main():
    rng = random.Random(20)
    made = []
    while len(made) < 120:
        found = case(rng)
        if found:
            made.append(found)
    print("# Files in 120 random dialects with what Python's csv module reads in them; made by csv-dialects.py beside this file.")
    print("# A row is the amount in cents and the columns a, b and c.\n")
    print("\n\n".join(made))


main()
