#!/usr/bin/env python3
"""The twelve windows of topologies/bench-12, on one core, beside the C++ program of ../shared/bench-12 in the same run.

Exactness first: every row against the oracle. Then pairs, one program after the other on one core. On a shared machine the wall clock says
little, so the ratio of CPU times is printed too.
"""
import argparse
import os
import pathlib
import shutil
import sys
import tempfile

from figures import DATA, ROOT, SHARED, Run, figure, made, median, note, shown, wrong

BENCH = SHARED / "bench-12"
TOPOLOGY = ROOT / "topologies" / "bench-12"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weir", required=True)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--long", action="store_true", help="also the sets whose windows evict and whose keys are hot")
    arguments = parser.parse_args()
    sets = [("million", 1_000_000, [])]
    if arguments.long:
        sets += [("evicting", 200_000, ["--hours-per-million", "1440"]), ("hot", 1_000_000, ["--skew", "hot"])]
    ideal = made("ideal", "g++", "-O3", "-march=native", "-std=c++17", "-o", "OUTPUT", BENCH / "ideal.cpp")
    core = max(os.sched_getaffinity(0))
    # In memory where there is one: a disk's mood is no part of the comparison.
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) and shutil.disk_usage("/dev/shm").free > 1 << 30 else None
    with tempfile.TemporaryDirectory(prefix="weir-windows-", dir=place) as folder:
        rows = pathlib.Path(folder) / "rows.jsonl"
        for name, events, options in sets:
            source = made(f"{name}.jsonl", sys.executable, BENCH / "generate.py", "--events", events, "--out", "OUTPUT", *options)
            expected = DATA / f"{name}.npy"
            if not expected.exists():
                Run([sys.executable, BENCH / "oracle.py", "expect", source, expected])
            on_core = ["taskset", "-c", core] if shutil.which("taskset") else []
            theirs = [*on_core, ideal, source, rows]
            ours = [*on_core, arguments.weir, "replay", "--topology", TOPOLOGY, "--input", source, "--features", rows, "--threads", 1,
                    "--json"]
            summary = Run(ours).json
            verdict = Run([sys.executable, BENCH / "oracle.py", "compare", expected, rows]).out.strip().splitlines()[-1]
            if not verdict.startswith("VERDICT EXACT") or summary["events"] != events:
                wrong(f"{name}: {verdict}")
            note(f"{name}: {events} rows, all twelve features exact")
            walls, cpus, speeds = [], [], []
            for pair in range(arguments.pairs):
                a, b = Run(theirs), Run(ours)
                walls.append(a.wall / b.wall)
                cpus.append(a.cpu / b.cpu)
                speeds.append(events / b.cpu)
                note(f"pair {pair + 1}: C++ {a.wall:.2f} s ({a.cpu:.2f} of CPU), weir {b.wall:.2f} s ({b.cpu:.2f} of CPU): "
                     f"{walls[-1]:.2f} of C++ by the clock, {cpus[-1]:.2f} by CPU time")
            figure(f"windows {name}", f"{max(speeds):,.0f}", "events/s CPU", shown(ours, rows))
            figure(f"windows {name}, speed to C++", f"{median(cpus):.2f}", "CPU", f"median of {arguments.pairs} pairs")
            figure(f"windows {name}, speed to C++", f"{median(walls):.2f}", "wall", f"median of {arguments.pairs} pairs")


main()
