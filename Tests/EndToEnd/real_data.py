#!/usr/bin/env python3
"""The published data sets as they are: every record read, each rule fires exactly as often as a naive program counted."""
import collections
import csv
import json

from support import ROOT, SHARED, Skipped, TOPOLOGIES, main, objects

SETS = [
    ("online-retail", "online_retail/online_retail.csv.gz", 541_909),
    ("ad-clicks", "talkingdata_sample/train_sample.csv.gz", 100_000),
]


def test(t):
    present = [s for s in SETS if (SHARED / "data" / "ecommerce" / s[1]).exists()]
    if not present:
        raise Skipped("no ../shared/data/ecommerce")
    for name, path, records in present:
        verdicts = t.folder / f"{name}.jsonl"
        done = t.run("replay", "--topology", TOPOLOGIES / name, "--input", SHARED / "data" / "ecommerce" / path, "--output", verdicts,
                     "--json")
        summary = json.loads(done.out)
        t.equal((summary["events"], summary["dead_letters"], summary["late"]), (records, 0, 0), f"{name}: all {records} records are events")
        hits = collections.Counter()
        for v in objects(verdicts):
            hits.update(r["rule"] for r in v["reasons"] + v.get("shadow", []))
        with open(ROOT / "Tests" / "PipelineTests" / "Fixtures" / f"{name}-expected.csv", newline="") as file:
            wanted = {r["rule"]: int(r["hits"]) for r in csv.DictReader(file)}
        t.equal({r: hits[r] for r in wanted | hits}, wanted, f"{name}: {sum(wanted.values())} hits of {len(wanted)} rules, each as counted by hand")
        t.note(f"{name}: {summary['events_per_second']} events/s")
        # Without --json the summary is for people and says what was found.
        text = t.run("replay", "--topology", TOPOLOGIES / name, "--input", SHARED / "data" / "ecommerce" / path).out
        missing = [r for r in wanted if r not in text]
        t.check(not missing, f"{name}: the summary names every rule with its count", text)


main(test)
