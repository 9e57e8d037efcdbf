#!/usr/bin/env python3
"""`weir init` on every sample and every published data set: the topology that it writes is without mistakes, and a replay of the same
file has no dead letter and no late event. What has no time or nobody in it is refused, with the reason."""
import gzip
import json
import random

from support import SHARED, TOPOLOGIES, main

# Files that are no records of events, and why they are refused.
REFUSED = {
    "adbench/": "is a time",
    "order_seed1/": "is a time",
    "otc_gt": "is a time",
    "yelpchi/": "is a time",
    "darpa/": "is a time",
    "features.csv.gz": "is a time",
    "combined_windows.json": "go over several lines",
    "models/": "",
    "cel-spec/": "",
}


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
    t.equal(counts, (0, 0, 0), f"{path.name}: {guess['records']} records are judged ({'; '.join(told)})")
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
    t.check("amount: double" in chosen and "count: double" in chosen and "max_length: 65535" in chosen, "twisted: what one record has widens the types", chosen)
    # Out of order by more than the lateness: sorted.
    chance.shuffle(lines)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    tried(t, path, "shuffled")
    t.check("sort: true" in (t.folder / "shuffled" / "topology.yaml").read_text(), "shuffled: a file out of order is sorted")


def test(t):
    seen = set()
    for number, path in enumerate(files()):
        # Of series that differ in nothing but numbers one is enough.
        if "nab/data" in str(path) and path.parent.name in seen and not t.is_long:
            continue
        seen.add(path.parent.name)
        tried(t, path, f"set-{number}")
    twisted(t)
    again = t.folder / "again"
    again.mkdir()
    (again / "mine").write_text("kept")
    done = t.run("init", TOPOLOGIES / "quickstart" / "samples" / "orders.jsonl", "--output", again, code=3)
    t.check("exists already" in done.err and [p.name for p in again.iterdir()] == ["mine"], "a folder that is there is left as it is", done.err)
    packed = t.folder / "packed.jsonl.gz"
    packed.write_bytes(gzip.compress((TOPOLOGIES / "quickstart" / "samples" / "orders.jsonl").read_bytes()))
    tried(t, packed, "packed")


main(test)
