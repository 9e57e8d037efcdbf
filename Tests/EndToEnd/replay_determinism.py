#!/usr/bin/env python3
"""The same input gives the same bytes: with 1, 2 and 4 threads, in five fresh processes, from plain and compressed files and stdin, and
when keys are forgotten for lack of room."""
import gzip
import json
import shutil
import subprocess

from support import TOPOLOGIES, digest, lines, main
from traffic import orders


def replay(t, topology, inputs, threads, name):
    outputs = [t.folder / f"{name}.{kind}" for kind in ("verdicts", "features", "dead")]
    done = t.run("replay", "--topology", topology, "--input", *inputs, "--output", outputs[0], "--features", outputs[1],
                 "--dead-letters", outputs[2], "--threads", threads, "--json")
    return [digest(p) for p in outputs], json.loads(done.out), outputs


def same_bytes(t, topology, source, label):
    first, summary, outputs = replay(t, topology, [source], 1, f"{label}-1")
    t.check(summary["verdicts"] > 0 and summary["dead_letters"] > 0, f"{label}: {summary['records']} records, {summary['verdicts']} verdicts, "
            f"{summary['dead_letters']} dead letters", summary)
    t.equal(summary["records"], summary["verdicts"] + summary["silent"] + summary["dead_letters"] + summary["set_aside"],
            f"{label}: records = verdicts + silent + dead letters + those set aside")
    t.equal((len(lines(outputs[0])), len(lines(outputs[2]))), (summary["verdicts"], summary["dead_letters"]),
            f"{label}: as many lines as the summary says")
    for threads in (2, 4):
        again, others, _ = replay(t, topology, [source], threads, f"{label}-{threads}")
        t.equal(again, first, f"{label}: {threads} threads give the bytes of one: verdicts, features, dead letters")
        counts = [k for k in summary if k not in ("seconds", "events_per_second", "state_bytes")]
        t.equal([others[k] for k in counts], [summary[k] for k in counts], f"{label}: {threads} threads give the counts of one")
    for n in range(5):
        again, _, _ = replay(t, topology, [source], 1 + n % 4, f"{label}-again")
        if again != first:
            t.equal(again, first, f"{label}: fresh process {n + 1}")
    t.ok(f"{label}: five fresh processes give the same bytes")
    compressed = t.folder / f"{source.name}.gz"
    compressed.write_bytes(gzip.compress(source.read_bytes(), 1, mtime=0))
    again, _, _ = replay(t, topology, [compressed], 2, f"{label}-gz")
    t.equal(again[:2], first[:2], f"{label}: .gz input gives the same verdicts and features")
    return summary, outputs[0]


def padded(source, length):
    """The same events, each with a field that the topology does not read, so that a record has about this length."""
    out = source.with_name("long-" + source.name)
    with open(source, "rb") as plain, open(out, "wb") as target:
        for line in plain:
            event = line.rstrip(b"\n")
            # No text may be longer than 1,024 bytes.
            texts = [b'"' + b"p" * 500 + b'"'] * ((length - len(event)) // 503)
            target.write(event[:-1] + b',"padding":[' + b",".join(texts) + b"]}\n")
    return out


def every_way_in(t, topology, source, label):
    """Where epochs end depends on the records, not on how their bytes come: what is fed back, such as rings, would show it."""
    compressed = t.folder / f"{source.name}.gz"
    compressed.write_bytes(gzip.compress(source.read_bytes(), 1, mtime=0))
    found = {}
    ways = [("plain", [source], None), (".gz", [compressed], None), ("stdin", ["-"], source.read_bytes())]
    if shutil.which("zstd"):
        ways.append((".zst", [source.with_name(source.name + ".zst")], None))
        subprocess.run(["zstd", "-q", "-f", source, "-o", ways[-1][1][0]], check=True)
        ways.append((".zst through stdin", ["-"], ways[-1][1][0].read_bytes()))
    for way, words, pipe in ways:
        outputs = [t.folder / f"{label}.{kind}" for kind in ("verdicts", "features")]
        done = t.run("replay", "--topology", topology, "--input", *words, "--output", outputs[0], "--features", outputs[1], "--json",
                     input=pipe)
        summary = json.loads(done.out)
        found[way] = (summary["epochs"], summary["verdicts"], [digest(p) for p in outputs])
    t.check(found["plain"][0] > 2 and found["plain"][1] > 0, f"{label}: {found['plain'][0]} epochs of long records, {found['plain'][1]} verdicts", found)
    for way in [w for w, _, _ in ways if w != "plain"]:
        t.equal(found[way], found["plain"], f"{label}: {way} gives the epochs, verdicts and features of the plain file")


def with_poison(path, every=997):
    """Some records that are no events among the rest."""
    out = path.with_name("mixed-" + path.name)
    with open(path, "rb") as source, open(out, "wb") as target:
        for n, line in enumerate(source):
            if n % every == 0:
                target.write(b'{"id":"broken' + str(n).encode() + b"\n")
            target.write(line)
    return out


def merged(t, topology, source, summary, verdicts, label):
    """The input dealt out to three files is merged by time again."""
    parts = [t.folder / f"{label}-part{i}.jsonl" for i in range(3)]
    files = [open(p, "wb") for p in parts]
    for n, line in enumerate(lines(source)):
        # Uneven on purpose: runs of different lengths.
        files[(n // 7 + n // 1000) % 3].write(line + b"\n")
    for file in files:
        file.close()
    first, again, outputs = replay(t, topology, parts, 1, f"{label}-merged")
    counts = ("events", "verdicts", "silent", "dead_letters", "late")
    t.equal([again[k] for k in counts], [summary[k] for k in counts], f"{label}: three files merged by time give the counts of one")

    def core(path):
        found = {}
        for line in lines(path):
            v = json.loads(line)
            found[v["event"]["id"]] = (v["decision"], v["score"], [r["rule"] for r in v["reasons"]])
        return found

    t.equal(core(outputs[0]), core(verdicts), f"{label}: and the same decisions by event id")
    second, _, _ = replay(t, topology, parts, 4, f"{label}-merged-4")
    t.equal(second, first, f"{label}: merged with 4 threads, the bytes of one")


def crowded(t):
    """More accounts than are kept: which are forgotten, in the middle of an epoch, does not depend on the threads, and windows stay apart."""
    topology = t.folder / "crowded"
    (topology / "rules").mkdir(parents=True)
    quickstart = (TOPOLOGIES / "quickstart" / "topology.yaml").read_text()
    (topology / "topology.yaml").write_text("limits: { keys: 1 }\n" + quickstart)
    (topology / "rules" / "features.weir").write_text(
        "feature orders = count() of order by account over 7d\n"
        "feature large = count() of order where amount > 30000 by account over 7d\n"
        "feature accounts = distinct(account) of order by account over 7d\n")
    source = t.folder / "crowd.jsonl"
    count = 60_000
    source.write_bytes(b"\n".join(orders(count, seed=2, accounts=8000)) + b"\n")
    first, summary, outputs = replay(t, topology, [source], 1, "crowded-1")
    rows = [json.loads(line) for line in lines(outputs[1])]
    t.equal(len(rows), summary["events"], "crowded: a row of features for each event")
    # Within a week no order leaves its window, so 8,005 accounts begin as many; every further one had been forgotten.
    started = sum(row["orders"] == 1 for row in rows)
    t.check(started > 10_000, f"crowded: {started} windows began anew, as accounts had been forgotten", summary)
    mixed = [row for row in rows if row["accounts"] != 1 or not 0 <= row["large"] <= row["orders"]]
    t.equal(mixed[:3], [], "crowded: no account's orders count in another's window")
    for threads in (2, 4):
        again, _, _ = replay(t, topology, [source], threads, f"crowded-{threads}")
        t.equal(again, first, f"crowded: {threads} threads give the bytes of one: verdicts, features, dead letters")


def test(t):
    source = t.folder / "orders.jsonl"
    source.write_bytes(b"\n".join(orders(60_000)) + b"\n")
    mixed = with_poison(source)
    topology = TOPOLOGIES / "quickstart"
    summary, verdicts = same_bytes(t, topology, mixed, "quickstart")
    # Dead letters name their file, so the merge is compared on clean input.
    _, summary, outputs = replay(t, topology, [source], 1, "clean")
    merged(t, topology, source, summary, outputs[0], "quickstart")

    source, _ = t.simulate(1_000_000 if t.is_long else 60_000, seed=3)
    same_bytes(t, TOPOLOGIES / "marketplace", with_poison(source), "marketplace")
    crowded(t)
    source, _ = t.simulate(6_000, seed=3)
    every_way_in(t, TOPOLOGIES / "marketplace", padded(source, 8_000), "records of 8 kB")


main(test)
