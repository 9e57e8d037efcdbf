#!/usr/bin/env python3
"""The twelve windows of topologies/bench-12 are exact: against the oracle of ../shared/bench-12, and a naive count for disorder."""
import bisect
import collections
import json
import subprocess
import sys

from support import SHARED, Skipped, TOPOLOGIES, fail, main, need, objects, shown
from waiting import LIMIT

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
FEATURES = [
    ("account_count_5m", "account", 5 * MINUTE, None, None), ("account_count_1h", "account", HOUR, None, None),
    ("account_sum_24h", "account", DAY, sum, "amount"), ("account_ips_24h", "account", DAY, set, "ip"),
    ("device_count_1h", "device", HOUR, None, None), ("device_accounts_24h", "device", DAY, set, "account"),
    ("device_accounts_7d", "device", 7 * DAY, set, "account"), ("ip_count_10m", "ip", 10 * MINUTE, None, None),
    ("ip_accounts_1h", "ip", HOUR, set, "account"), ("item_count_1h", "item", HOUR, None, None),
    ("item_sum_24h", "item", DAY, sum, "amount"), ("item_devices_24h", "item", DAY, set, "device"),
]
EPOCH = 4096


def tool(t, *words):
    done = subprocess.run([sys.executable, *map(str, words)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=LIMIT, cwd=t.folder)
    return done.returncode, done.stdout.decode()


def generate(t, name, events, *options):
    path = t.folder / f"{name}.jsonl"
    code, text = tool(t, SHARED / "bench-12" / "generate.py", "--events", events, "--out", path, *options)
    if code != 0:
        fail(f"generate.py: {shown(text)}")
    return path


def exact(t, name, events, *options):
    source = generate(t, name, events, *options)
    expected, rows = t.folder / f"{name}.npy", t.folder / f"{name}.rows"
    code, text = tool(t, SHARED / "bench-12" / "oracle.py", "expect", source, expected)
    if code != 0:
        fail(f"oracle.py: {shown(text)}")
    done = t.run("replay", "--topology", TOPOLOGIES / "bench-12", "--input", source, "--features", rows, "--json")
    summary = json.loads(done.out)
    code, text = tool(t, SHARED / "bench-12" / "oracle.py", "compare", expected, rows)
    verdict = text.strip().splitlines()[-1]
    t.check(code == 0 and verdict.startswith("VERDICT EXACT"), f"{name}: {events} events, all twelve features of every row exact", text)
    t.equal((summary["events"], summary["dead_letters"], summary["late"]), (events, 0, 0), f"{name}: nothing refused, nothing late")
    t.note(f"{name}: {summary['events_per_second']} events/s, {summary['state_bytes'] >> 20} MiB of state")
    for path in (source, expected, rows):
        path.unlink()


def naive(events, lateness, sets_aside):
    """Epoch by epoch in order of time; late ones are set aside, or moved to the watermark. Answers the rows by id and how many are late."""
    held = {f[0]: collections.defaultdict(list) for f in FEATURES}
    rows, late, highest, watermark = {}, 0, None, None
    for at in range(0, len(events), EPOCH):
        if highest is not None:
            watermark = highest - lateness
        taken = []
        for offset, e in enumerate(events[at:at + EPOCH]):
            if watermark is not None and e["ts"] < watermark:
                late += 1
                if not sets_aside:
                    taken.append((watermark, at + offset, e))
                continue
            taken.append((e["ts"], at + offset, e))
            highest = max(highest or 0, e["ts"])
        for ts, offset, e in sorted(taken, key=lambda x: x[:2]):
            row = {}
            for name, key, window, how, argument in FEATURES:
                entries = held[name][e[key]]
                bisect.insort(entries, (ts, offset, e[argument] if argument else 1))
                part = entries[bisect.bisect_right(entries, (ts - window, 1 << 60)):bisect.bisect_right(entries, (ts, 1 << 60))]
                row[name] = len(part) if how is None else sum(v for *_, v in part) if how is sum else len({v for *_, v in part})
            rows[e["id"]] = row
    return rows, late


def disorder(t, name, lateness, handled, *options):
    source = generate(t, name, 30_000, "--hours-per-million", "1440", *options)
    topology = t.topology(f"{name}-topology", base="bench-12", replacing=[("lateness: 0s", f"lateness: {lateness}m, late: {handled}")])
    rows = t.folder / f"{name}.rows"
    done = t.run("replay", "--topology", topology, "--input", source, "--features", rows, "--json")
    wanted, late = naive(objects(source), lateness * MINUTE, handled == "set_aside")
    got = {}
    for row in objects(rows):
        identifier = row.pop("id")
        if identifier in got:
            fail(f"{name}: two rows of {identifier}")
        got[identifier] = row
    summary = json.loads(done.out)
    t.equal((summary["late"], summary["set_aside"]), (0, late) if handled == "set_aside" else (late, 0),
            f"{name}: {late} of {summary['records']} events are late, as counted by hand")
    wrong = [(k, wanted[k], got.get(k)) for k in wanted if got.get(k) != wanted[k]]
    t.check(not wrong and len(got) == len(wanted), f"{name}: {len(wanted)} rows of events in disorder equal a naive count", wrong[:2])
    return late


def test(t):
    need("numpy")
    if not (SHARED / "bench-12").is_dir():
        raise Skipped("no ../shared/bench-12")
    exact(t, "evicting", 200_000 if t.is_long else 50_000, "--hours-per-million", "1440")
    exact(t, "hot", 1_000_000 if t.is_long else 50_000, "--skew", "hot")
    if t.is_long:
        exact(t, "million", 1_000_000)
    # 1,440 hours per million events are 5 s per event: half an hour of delay is some 350 events.
    late = disorder(t, "within", 30, "judge", "--out-of-order", "0.3:1700")
    t.equal(late, 0, "delays below the allowed lateness make nothing late")
    for handled in ("judge", "set_aside"):
        late = disorder(t, f"beyond-{handled}", 30, handled, "--late", "0.01:90000:180000", "--out-of-order", "0.2:1200")
        t.check(late > 100, "delays beyond it do", late)


main(test)
