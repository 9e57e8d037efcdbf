#!/usr/bin/env python3
"""Makes conversions.txt: what Python's zoneinfo (the C library, of rules alone), datetime.strptime and decimal say of local times, of texts in patterns and of amounts.

  conversions.py > conversions.txt

The zones' files stand in the output, so that the test needs no database and no certain version of it.
"""
import base64
import calendar
import datetime
import decimal
import io
import os
import random
import struct
import time
import zoneinfo

ZONES = [
    "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe",
    "Africa/Casablanca", "Europe/Dublin", "Pacific/Apia", "America/St_Johns", "America/Nuuk", "Africa/Cairo", "Antarctica/Troll",
]
# Files without a table, whose footer alone decides, as the short form of the database has them.
RULES = [
    "CET-1CEST,M3.5.0,M10.5.0/3", "IST-1GMT0,M10.5.0,M3.5.0/1", "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0", "EST5EDT,J60/2,J300/2",
    "<-02>2<-01>,M3.5.0/-1,M10.5.0/0", "AAA3BBB,59/24,J335/-24:30:15", "IST-5:30", "ABC3EDT4,0/0,J365/23",
]
EPOCH = datetime.datetime(1970, 1, 1)


def tzif(rule, offset):
    """A file with one offset and a rule."""
    block = struct.pack(">4sc15s6l", b"TZif", b"2", b"\0" * 15, 0, 0, 0, 0, 1, 4)
    data = struct.pack(">lbb", offset, 0, 0) + b"ABC\0"
    return block + data + block + data + b"\n" + rule.encode() + b"\n"


def offset_by_library(local):
    """What the C library makes of TZ, where Python counts days of the year from the wrong one."""
    offsets = sorted({time.localtime(local + hours * 3600).tm_gmtoff for hours in range(-9000, 9000, 500)})
    real = [offset for offset in offsets if time.localtime(local - offset).tm_gmtoff == offset]
    # The first of two; in a gap the offset before it.
    return max(real) if real else time.localtime(local - max(offsets)).tm_gmtoff


def show_zone(rng, name, content, rule=None):
    zone = zoneinfo.ZoneInfo.from_file(io.BytesIO(content), key=name)
    if rule:
        os.environ["TZ"] = rule
        time.tzset()
    print(f"zone {name} {base64.b64encode(content).decode()}")
    times = set()
    for year in [1900, 1916, 1947] + list(range(1965, 2045)) + [2100, 2400]:
        # Around each change of the year, found day by day.
        start = datetime.datetime(year, 1, 1)
        last = None
        for day in range(366):
            noon = start + datetime.timedelta(days=day)
            offset = noon.replace(tzinfo=zone).utcoffset()
            if last is not None and offset != last and rng.random() < (0.6 if year > 2020 else 0.3):
                middle = int((noon - EPOCH).total_seconds())
                times.update(rng.choice(range(-86_400, 3600, 900)) + middle for _ in range(3))
                times.add(rng.choice(range(-86_400, 3600, 3600)) + middle - 1)
            last = offset
    times.update(rng.randrange(-3_000_000_000, 15_000_000_000) for _ in range(30))
    if rule:
        # The library has no changes before 1970.
        times = {seconds for seconds in times if seconds > 40_000_000}
    for seconds in sorted(times):
        local = (EPOCH + datetime.timedelta(seconds=seconds)).replace(tzinfo=zone)
        offset = offset_by_library(seconds) if rule else int(local.utcoffset().total_seconds())
        print(f"at {seconds} {offset}")


PATTERNS = [
    "%m/%d/%Y %H:%M", "%d.%m.%Y %H:%M:%S", "%Y%m%d", "%Y%m%d%H%M%S", "%d-%b-%y", "%B %d, %Y %I:%M %p", "%Y-%m-%dT%H:%M:%S.%f",
    "%a, %d %b %Y %H:%M:%S %z", "%Y/%j", "%Y-%m", "%A %d/%m/%y %I%p", "%%%Y-%m-%d%%", "%d/%b/%Y:%H:%M:%S %z", "%y%j", "%H:%M:%S,%f %d %m %Y",
]


def show_pattern(rng, pattern):
    print(f"pattern {pattern}")
    for _ in range(40):
        moment = EPOCH + datetime.timedelta(seconds=rng.randrange(0, 3_000_000_000), microseconds=rng.randrange(10**6))
        if rng.random() < 0.1:
            moment = moment.replace(year=2024, month=2, day=29)
        zone = datetime.timezone(datetime.timedelta(minutes=rng.choice([0, 60, -330, 345, 720])))
        text = moment.replace(tzinfo=zone).strftime(pattern)
        change = rng.random()
        if change < 0.25:
            # One or two digits.
            text = text.replace("/0", "/").replace(" 0", " ").replace(":0", ":")
        elif change < 0.5:
            text = text.upper() if change < 0.3 else text.lower() if change < 0.35 else text.replace(" ", "   ")
        elif change < 0.75 and "z" not in pattern:
            at = rng.randrange(len(text))
            text = text[:at] + rng.choice("0123456789 /-:.,") + text[at + 1 :]
        elif change < 0.8:
            text = text + rng.choice([" ", "0", "x"])
        show_time(pattern, text)
    if "z" in pattern:
        for offset in ["Z", "+0530", "-05:30", "+00:00", "+2360", "0530", "+05:3", "+24:00"]:
            show_time(pattern, datetime.datetime(2026, 3, 9, 4, 5, 6).strftime(pattern).rstrip() + " " + offset)


def show_time(pattern, text):
    try:
        moment = datetime.datetime.strptime(text, pattern)
        # A sixtieth second is the next minute's first here and none there; where digits adjoin, theirs may be fewer there.
        adjoining = "%Y%m" in pattern or "%y%j" in pattern
        if adjoining and moment.strftime(pattern) != text:
            return
        value = calendar.timegm(moment.utctimetuple()) * 1000 + moment.microsecond // 1000
        print(f"text {value} |{text}|")
    except ValueError as error:
        if "second must be in" not in str(error):
            print(f"text - |{text}|")


def show_amount(text, scale):
    value = decimal.Decimal(text).scaleb(scale)
    rounded = value.to_integral_value(rounding=decimal.ROUND_HALF_EVEN)
    inside = -(2**63) <= rounded < 2**63
    kind = "-" if not inside else f"{int(rounded)} {'exact' if rounded == value else 'rounded'}"
    print(f"amount {scale} {text} {kind}")


def show_amounts(rng):
    known = [
        "2.675", "2.665", "19.990000000000002", "0.1000000000000000055511151231257827", "-2.675", "-2.665", "-0.004", "0.005", "0.015",
        "0.0050000000000000000000000000000000000001", "9223372036854775807.5", "9223372036854775807.4", "-9223372036854775808.5",
        "-9223372036854775808.51", "92233720368547758.075", "92233720368547758.0749999999999999999", "1e-400", "5e-3", "4999e-6", "5.000e-3",
        "1234567890123456789.5", "1234567890123456788.5", "1234567890123456788.50000000000000000001", "1234567890123456788.4999999999999",
        "0.00000000000000000000000000000000012345678901234567890", "15e-1", "25e-1", "1e18", "1e19", "12345678901234567890123e-3", "-0", "0.000",
    ]
    for text in known:
        for scale in (0, 2, 3):
            show_amount(text, scale)
    for _ in range(1000):
        whole = str(rng.randrange(10 ** rng.choice([1, 2, 4, 9, 18, 19])))
        fraction = "".join(rng.choice("00459") for _ in range(rng.choice([1, 2, 3, 3, 4, 18, 25])))
        exponent = rng.choice(["", "", "", "e-1", "e2", "E-19", "e+1", "e-21"])
        show_amount(rng.choice(["", "-"]) + whole + "." + fraction + exponent, rng.choice([0, 2, 2, 3, 4]))


def main():
    rng = random.Random(20_261_130)
    decimal.getcontext().prec = 500
    print("# Offsets of local times, times in patterns, and rounded amounts, as Python and the C library have them; made by conversions.py beside this file.")
    for name in ZONES:
        with open(f"/usr/share/zoneinfo/{name}", "rb") as file:
            show_zone(rng, name, file.read())
    for index, rule in enumerate(RULES):
        show_zone(rng, f"Rule/{index}", tzif(rule, 0), rule)
    for pattern in PATTERNS:
        show_pattern(rng, pattern)
    show_amounts(rng)


main()
