#!/usr/bin/env python3
"""Warm decode, aggregate, relate, score and decide allocate nothing per event, counted in calls of malloc from outside by a preloaded library.

Three figures, each the difference of two runs, so that the start is in neither:

warm     One recording of 40,000 events again and again, each time 100 days later, when nothing of the last time is remembered: the memory
         has its size, and the fourth time adds the few places where a ring's neighbours fall into other windows than before.
ticking  The same recording at 10 events a second of event time, so in 4,000 ticks, the seventh time: more rings come and go, and their lists
         take longer to have their sizes.
growing  40,000 further events with keys that were never seen: each table and arena of the 64 slots that has to grow asks once for twice
         as much. That is logarithmic: the next 80,000 events cost what these 40,000 do.
"""
import json
import re
import shutil
import subprocess
import sys

from support import ROOT, SHARED, Skipped, TOPOLOGIES, fail, main, shown
from waiting import moment

FEW, MANY = 40_000, 80_000
# Longer than any window and than the detectors' memory.
LATER = 100 * 86_400_000
# Calls per further event: reached are .00035, .00015 and .0234 in the marketplace, none, none and .0058 in bench-12.
LIMITS = {
    "bench-12": {"warm": 0.0002, "ticking": 0.0002, "growing": 0.007},
    "marketplace": {"warm": 0.0005, "ticking": 0.001, "growing": 0.028},
}


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


def repeated(source, target, times, apart=None):
    """The first events over and over, each time a whole span and `LATER` after the last; `apart` ms from each other where it is given."""
    pattern = re.compile(rb'"ts": ?(\d+)')
    with open(source, "rb") as whole:
        lines = [line for _, line in zip(range(FEW), whole)]
    moments = [int(pattern.search(line)[1]) for line in lines]
    if apart:
        moments = [moments[0] + n * apart for n in range(len(moments))]
    period = max(moments) - min(moments) + LATER
    with open(target, "wb") as out:
        for number in range(times):
            for line, moment in zip(lines, moments):
                out.write(pattern.sub(b'"ts":%d' % (moment + number * period), line, count=1))
    return target


def measured(t, library, topology, source, *outputs):
    """Calls of malloc of one replay, and its number of events.

    With hash tables of a fixed seed: else how often those of the start grow is chance, and the difference of two runs up to ten off.
    """
    report = t.folder / "allocations"
    done = t.run(
        "replay", "--topology", TOPOLOGIES / topology, "--input", source, *outputs, "--threads", 1, "--json",
        environment={"LD_PRELOAD": str(library), "WEIR_ALLOCATIONS": str(report), "SWIFT_DETERMINISTIC_HASHING": "1"})
    return int(report.read_text()), json.loads(done.out)["events"]


def gate(t, library, topology, source, *outputs):
    few, many = t.folder / "few.jsonl", t.folder / "many.jsonl"
    for name, made in (
        ("warm", lambda: (repeated(source, few, 3), repeated(source, many, 4))),
        ("ticking", lambda: (repeated(source, few, 6, apart=100), repeated(source, many, 7, apart=100))),
        ("growing", lambda: (head(source, few, FEW), head(source, many, MANY))),
    ):
        fewer, more = made()
        before, events_before = measured(t, library, topology, fewer, *outputs)
        after, events_after = measured(t, library, topology, more, *outputs)
        events, calls, limit = events_after - events_before, after - before, LIMITS[topology][name]
        t.equal(events, FEW, f"{topology}, {name}: all further events are judged")
        t.check(
            calls <= events * limit,
            f"{topology}, {name}: {events} further events take {calls} allocations, {calls / events:.5f} an event",
            f"; allowed are {limit} an event")


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
