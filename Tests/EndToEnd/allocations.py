#!/usr/bin/env python3
"""Warm decode, aggregate and decide allocate nothing per event: what 40,000 further events cost in calls of malloc.

The program is counted from outside, by a preloaded library, over 40,000 and 80,000 events: start and growth to the working size are in
both. What is left is the growth of keys' memory (logarithmic), the epochs' own handful, and the rings' records.
"""
import json
import shutil
import subprocess
import sys

from support import ROOT, SHARED, Skipped, TOPOLOGIES, fail, main, shown

FEW, MANY = 40_000, 80_000
# Calls per further event, and per further verdict on top.
LIMITS = {"bench-12": (0.02, 0), "marketplace": (0.15, 8)}


def counter(t):
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if not compiler:
        raise Skipped("no C compiler to build the counter of allocations")
    library = t.folder / "count.so"
    done = subprocess.run(
        [compiler, "-O2", "-shared", "-fPIC", "-o", library, ROOT / "Tests" / "Benchmarks" / "count-allocations.c"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        fail(f"count-allocations.c: {shown(done.stdout)}")
    return library


def head(source, target, count):
    with open(source, "rb") as whole, open(target, "wb") as part:
        for _, line in zip(range(count), whole):
            part.write(line)
    return target


def measured(t, library, topology, source, *outputs):
    """Calls of malloc of one replay, and its number of verdicts."""
    report = t.folder / "allocations"
    done = t.run(
        "replay", "--topology", TOPOLOGIES / topology, "--input", source, *outputs, "--threads", 1, "--json",
        environment={"LD_PRELOAD": str(library), "WEIR_ALLOCATIONS": str(report)})
    return int(report.read_text()), json.loads(done.out)["verdicts"]


def gate(t, library, topology, source, *outputs):
    few, few_verdicts = measured(t, library, topology, head(source, t.folder / "few.jsonl", FEW), *outputs)
    many, many_verdicts = measured(t, library, topology, head(source, t.folder / "many.jsonl", MANY), *outputs)
    events, verdicts = MANY - FEW, many_verdicts - few_verdicts
    per_event, per_verdict = LIMITS[topology]
    t.check(
        many - few <= events * per_event + verdicts * per_verdict,
        f"{topology}: {events} further events with {verdicts} verdicts take {many - few} allocations, {(many - few) / events:.4f} an event",
        f"; allowed are {per_event} an event and {per_verdict} a verdict")


def test(t):
    library = counter(t)
    simulated, _ = t.simulate(MANY, seed=4)
    gate(t, library, "marketplace", simulated, "--output", "/dev/null")
    generator = SHARED / "bench-12" / "generate.py"
    numpy = subprocess.run([sys.executable, "-c", "import numpy"], stderr=subprocess.DEVNULL).returncode == 0
    if generator.exists() and numpy:
        source = t.folder / "bench.jsonl"
        subprocess.run([sys.executable, generator, "--events", str(MANY), "--out", source], stdout=subprocess.DEVNULL, check=True)
        gate(t, library, "bench-12", source, "--features", "/dev/null")
    else:
        t.note("bench-12 is not counted: no ../shared/bench-12, or no numpy")


main(test)
