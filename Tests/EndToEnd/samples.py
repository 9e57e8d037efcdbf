#!/usr/bin/env python3
"""The samples of every topology give what is expected of them.

Beside events NAME.jsonl or NAME.csv stands NAME.expected.csv, or expected.csv where there is one file of events: `record,rule` per
reason, live or in shadow; records count from 1. features.jsonl holds expected feature rows. Every topology also passes `weir check`.
"""
import csv

from support import TOPOLOGIES, digest, fail, lines, main, objects


def fired(verdicts):
    found = []
    for v in verdicts:
        for reason in v["reasons"] + v.get("shadow", []):
            found.append((v["event"]["offset"] + 1, reason["rule"]))
    return sorted(found)


def test(t):
    compared = 0
    for folder in sorted(p for p in TOPOLOGIES.iterdir() if (p / "topology.yaml").exists()):
        t.run("check", folder)
        t.ok(f"{folder.name} passes weir check")
        samples = folder / "samples"
        files = sorted(
            p for p in samples.glob("*") if p.suffix in (".jsonl", ".csv") and "expected" not in p.name and p.name != "features.jsonl")
        if not files:
            fail(f"{folder.name} has no samples")
        for file in files:
            expected = samples / f"{file.stem}.expected.csv"
            if len(files) == 1 and not expected.exists():
                expected = samples / "expected.csv"
            features = samples / "features.jsonl"
            if not expected.exists() and not features.exists():
                fail(f"{folder.name}/samples/{file.name} has nothing to compare with: add {file.stem}.expected.csv")
            verdicts, rows = t.folder / "verdicts.jsonl", t.folder / "features.jsonl"
            # A file named as a topic holds its records.
            topic = f"topic: {file.stem}\n" in (folder / "topology.yaml").read_text()
            source = f"{file.stem}={file}" if topic else file
            t.run("replay", "--topology", folder, "--input", source, "--output", verdicts, "--features", rows)
            if expected.exists():
                with open(expected, newline="") as text:
                    wanted = sorted((int(r["record"]), r["rule"]) for r in csv.DictReader(text))
                t.equal(fired(objects(verdicts)), wanted, f"{folder.name}/samples/{file.name}: {len(wanted)} reasons as expected")
            if features.exists():
                t.equal(lines(rows), lines(features), f"{folder.name}/samples/{file.name}: feature rows as expected")
                t.equal(digest(rows), digest(features), f"{folder.name}/samples/{file.name}: to the byte")
            compared += 1
    t.check(compared >= 5, f"{compared} files of samples compared")
    # What is read and has no effect is said, and is no mistake.
    folder = t.topology("idle")
    rule = folder / "rules" / "first.weir"
    rule.write_text(rule.read_text().replace("  because", "  alert by account every 1h\n  because"))
    said = t.run("check", folder).err
    t.check("first.weir:9:3: notice: 'alert' is read and has no effect yet" in said, "weir check tells of a clause without effect", said)


main(test)
