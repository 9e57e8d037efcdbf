#!/usr/bin/env python3
"""`weir init` on every sample and every published data set: the topology that it writes is without mistakes, and a replay of the same
file has no dead letter and no late event. What has nobody in it is refused, with the reason. Invented exports of shops besides."""
import gzip
import json
import random

from support import SHARED, TOPOLOGIES, main

# Files that are no records of events, and why they are refused.
REFUSED = {
    "adbench/": "could name whom it is about",
    "combined_windows.json": "go over several lines",
    "models/": "",
    "cel-spec/": "",
}


# Records that no topology can judge, of which `init` says so: a 32nd of July.
DEAD = {"darpa/": 10}


def files():
    for path in sorted((SHARED / "data").rglob("*")):
        if path.is_file() and path.suffix in (".csv", ".gz", ".zst", ".json", ".jsonl", ".txt") and path.stem != "LICENSE":
            yield path
    for path in sorted(TOPOLOGIES.glob("*/samples/*")):
        if "expected" not in path.name and path.name != "features.jsonl":
            yield path


def tried(t, path, name):
    """Makes a topology from a file and judges the file by it; the summary of `init`, or None where it was refused."""
    folder = t.folder / name
    done = t.run("init", path, "--output", folder, "--json", code=None)
    if done.code != 0:
        wanted = next((w for part, w in REFUSED.items() if part in str(path)), None)
        t.check(done.code == 3 and wanted is not None and wanted in done.err, f"{path.name} is refused: {done.err.strip()[:160]}", done.err)
        t.check(not folder.exists(), f"{path.name}: nothing is written")
        return None
    guess = json.loads(done.out)
    t.run("check", folder)
    summary = json.loads(t.run("replay", "--topology", folder, "--input", path, "--json").out)
    counts = (summary["dead_letters"], summary["late"], guess["dead_letters"])
    told = [f"{e['event']}: {e['fields']} fields, time {e['time']}, id {e['id']}, subject {e['subject']}" for e in guess["events"]]
    dead = next((n for part, n in DEAD.items() if part in str(path)), 0)
    t.equal(counts, (dead, 0, dead), f"{path.name}: {guess['records']} records are judged ({'; '.join(told)})")
    fit = t.run("check", folder, "--against", path, "--json").out.strip().splitlines()[-1]
    t.check(json.loads(fit)["against"]["fits"], f"{path.name}: it fits the file it was made from")
    return guess


def twisted(t):
    """What a file's beginning does not tell: the decoder's trial finds it."""
    chance = random.Random(5)
    lines = []
    for n in range(60_000):
        odd = n == 50_001
        lines.append({
            "id": f"o{n}", "ts": 1_767_571_200_000 + n * 1000, "buyer": {"id": f"a{chance.randrange(900)}"},
            "amount": 12.345 if odd else chance.randrange(9999) / 100, "count": 2.5 if odd else chance.randrange(9),
            "note": "x" * 3000 if odd else "x", "flag": "maybe" if odd else True, "when": None if n % 2 else "2026-01-05T08:00:00Z",
        })
    path = t.folder / "twisted.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    guess = tried(t, path, "twisted")
    (event,) = guess["events"]
    t.equal((event["time"], event["id"], event["subject"]), ("ts", "id", "buyer"), "twisted: time, id and subject are those that are always there")
    # Without the trial the first 20,000 records would stand for all.
    chosen = (t.folder / "twisted" / "topology.yaml").read_text()
    t.check("amount: { type: money, scale: 3 }" in chosen and "count: double" in chosen and "max_length: 6000" in chosen, "twisted: what one record has widens the types", chosen)
    # Out of order by more than the lateness: sorted.
    chance.shuffle(lines)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    tried(t, path, "shuffled")
    t.check("sort: true" in (t.folder / "shuffled" / "topology.yaml").read_text(), "shuffled: a file out of order is sorted")


def shops(t):
    """Exports as shops have them: what `init` proposes, and what it says of values that can be read in two ways."""
    chance = random.Random(7)

    def proposed(name, data, lines, said):
        path = t.folder / name
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        folder = f"of-{path.stem}"
        guess = tried(t, path, folder)
        chosen = (t.folder / folder / "topology.yaml").read_text()
        missing = [line for line in lines if line not in chosen]
        t.check(not missing, f"{name}: values are read as they are written", f"{missing}\n{chosen}")
        doubts = guess["doubts"]
        t.check(
            len(doubts) == len(said) and all(any(part in doubt for doubt in doubts) for part in said),
            f"{name}: what can be read in two ways is said", doubts,
        )

    rows = ["Bestellnummer;Bestelldatum;Kundennummer;Name;Betrag;Menge"]
    for n in range(300):
        betrag = f"{chance.randrange(1, 3)}.{chance.randrange(100, 999)},{chance.randrange(100):02d}"
        rows.append(f"{10000 + n};{1 + n // 12:02d}.01.2026 {8 + n % 12:02d}:{n % 60:02d};K{n % 60:04d};Müller – {n};{betrag};{n % 9}")
    proposed("bestellungen.csv", ("\r\n".join(rows) + "\r\n").encode("windows-1252"), [
        'csv: { delimiter: ";", encoding: windows-1252, decimal: ",", thousands: "." }', 'format: "%d.%m.%Y %H:%M"', "subject: Kundennummer",
        "Betrag: { type: money, scale: 2 }",
    ], ["Bestelldatum` says nothing of the distance from UTC"])

    rows = ["order_id,order_date,customer_id,total"]
    rows += [f"{n},{1 + n // 20}/{1 + n % 20}/2026 {1 + n // 20}:{n % 60:02d} PM,{n % 40},{n}.5" for n in range(200)]
    proposed("us.csv", "\n".join(rows) + "\n", ['format: "%m/%d/%Y %I:%M %p"'], ["nothing of the distance from UTC"])
    rows = ["order_id,order_date,customer_id"] + [f"{n},0{1 + n % 9}/02/2026 08:00,{n % 4}" for n in range(40)]
    proposed("undecided.csv", "\n".join(rows) + "\n", ['format: "%m/%d/%Y %H:%M"'], ["undecided by its texts: month/day/year was taken", "UTC"])

    lines = [{"id": str(n), "time": str(1_767_571_200 + n), "user": {"id": str(n % 9)}, "qty": str(n % 5), "ok": "True" if n % 2 else "false"} for n in range(100)]
    proposed("epoch.jsonl", "".join(json.dumps(line) + "\n" for line in lines), [
        "time: { type: timestamp, format: s }", "qty: { type: int, coerce: [numbers] }", "ok: { type: bool, coerce: [booleans] }",
    ], [])

    money = {"JPY": lambda: chance.randrange(9999), "EUR": lambda: chance.randrange(9999) / 100, "KWD": lambda: chance.randrange(99999) / 1000}
    lines = [
        {"payment_id": n, "created": f"2026-01-05T08:{n // 60:02d}:{n % 60:02d}+0100", "customer": 987654321012345678900 + n % 9, "amount": money[c](), "currency": c}
        for n in range(120) for c in [list(money)[n % 3]]
    ]
    proposed("payments.jsonl", "".join(json.dumps(line) + "\n" for line in lines), [
        "amount: { type: money, currency: currency }", "format: iso8601", "customer: { type: string, coerce: [ids], entity: account, personal: true }",
    ], [])

    lines = []
    for n in range(80):
        items = [{"id": 14 * 10**15 + n * 10 + k, "sku": f"S{k}", "quantity": k + 1, "price": "9.90"} for k in range(1 + n % 3)]
        lines.append({
            "id": 56 * 10**17 + n, "created_at": f"2026-01-05T08:{n % 60:02d}:00+01:00" if n < 60 else f"2026-01-05T09:{n % 60:02d}:00+01:00",
            "total_price": f"{n}.50", "currency": "EUR", "customer": {"id": 207119551000000 + n % 17}, "line_items": items, "tags": "", "note": None,
            "discount_codes": [{"code": f"X{n % 3}", "amount": "5.00"}] if n % 2 else [], "payment_gateway_names": ["card"],
        })
    proposed("webhook.jsonl", "".join(json.dumps(line) + "\n" for line in lines), [
        "id: { type: string, coerce: [ids] }", 'line_items.sku: { type: list<string>, path: "line_items[].sku" }',
        'discount_codes.amount: { type: money, path: "discount_codes[0].amount", currency: currency }', "total_price: { type: money, currency: currency }",
    ], [])

    zeros = "00000000-0000-0000-0000-000000000000"
    lines = [
        {
            "event": "login", "date": f"2026-01-05 08:{n % 60:02d}:00", "user": {"id": n % 9} if n % 4 else [], "session_id": f"s{n % 20}", "geo": {"country": "DE"} if n % 3 else [],
            "device_id": zeros if n % 2 else f"d{n}", "latency": "NULL" if n % 5 == 0 else n * 1.5,
        }
        for n in range(60)
    ]
    proposed("php.jsonl", "".join(json.dumps(line).replace("/", "\\/") + "\n" for line in lines), [
        "user: { type: string, path: user.id, coerce: [ids], entity: account, personal: true }", 'latency: { type: double, null_values: ["NULL"] }',
        f'device_id: {{ type: string, null_values: ["{zeros}"], entity: device }}',
    ], ["nothing of the distance from UTC"])


def test(t):
    seen = set()
    for number, path in enumerate(files()):
        # Of series that differ in nothing but numbers one is enough.
        if "nab/data" in str(path) and path.parent.name in seen and not t.is_long:
            continue
        seen.add(path.parent.name)
        tried(t, path, f"set-{number}")
    twisted(t)
    shops(t)
    again = t.folder / "again"
    again.mkdir()
    (again / "mine").write_text("kept")
    done = t.run("init", TOPOLOGIES / "quickstart" / "samples" / "orders.jsonl", "--output", again, code=3)
    t.check("exists already" in done.err and [p.name for p in again.iterdir()] == ["mine"], "a folder that is there is left as it is", done.err)
    packed = t.folder / "packed.jsonl.gz"
    packed.write_bytes(gzip.compress((TOPOLOGIES / "quickstart" / "samples" / "orders.jsonl").read_bytes()))
    tried(t, packed, "packed")


main(test)
