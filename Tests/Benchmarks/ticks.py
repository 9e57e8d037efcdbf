#!/usr/bin/env python3
"""What ticks cost: the flagship's detectors and model at 10 events a second of event time, so hundreds of thousands of ticks.

The same events twice: under ticks of a second, some ten events each, and under ticks of ten minutes, as many as there would be if what
is learnt became visible with each batch of a file. Pairs, one after the other on one core; the speed of the first is held against that
of the second by CPU time, which on a shared machine is worth more than the clock. Where there is valgrind, a part of them also by counted
instructions, which no neighbour changes.
"""
import argparse
import os
import pathlib
import re
import shutil
import sys
import tempfile

from figures import ROOT, Run, figure, median, note, shown, wrong

# Events a second of event time.
RATE = 10
# The share of its speed that a replay keeps under short ticks.
KEPT = 0.85
SHORT, LONG = "1s", "10m"
# Events whose instructions are counted: some fifteen seconds for each tick.
COUNTED = 100_000
TIMES = re.compile(rb'"ts":(\d+)')


def stretched(source, target):
    """The events with their order and all that they say, one each 1/RATE of a second; returns how many seconds they span."""
    first, count = None, 0
    with open(source, "rb") as lines, open(target, "wb") as out:
        for line in lines:
            if first is None:
                first = int(TIMES.search(line)[1])
            out.write(TIMES.sub(b'"ts":%d' % (first + count * 1000 // RATE), line, count=1))
            count += 1
    return count // RATE


def ticking(folder, tick):
    """The flagship topology under ticks of another length."""
    copy = folder / f"tick-{tick}"
    shutil.copytree(ROOT / "topologies" / "marketplace", copy)
    path = copy / "topology.yaml"
    text, changed = re.subn(r"^time: \{", f"time: {{ tick: {tick},", path.read_text(), flags=re.MULTILINE)
    if changed != 1:
        wrong("topologies/marketplace declares its time in another way")
    path.write_text(text)
    return copy


def instructions(folder, weir, events, topologies, replay):
    """Instructions of a replay of the first events under each tick, or None where nobody can count them."""
    if not shutil.which("valgrind") or not shutil.which("strip"):
        return None
    # Valgrind gives up on what Swift writes for debuggers.
    program, part, counts = folder / "weir-stripped", folder / "part.jsonl", {}
    Run(["strip", "-o", program, weir])
    with open(events, "rb") as lines, open(part, "wb") as out:
        out.writelines(line for _, line in zip(range(COUNTED), lines))
    for tick, topology in topologies.items():
        run = Run(["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", program, *replay(topology, part)])
        counts[tick] = int(re.search(r"Collected : (\d+)", run.err)[1])
    return counts


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weir", required=True)
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--pairs", type=int, default=5)
    arguments = parser.parse_args()
    core = max(os.sched_getaffinity(0))
    on_core = ["taskset", "-c", core] if shutil.which("taskset") else []
    with tempfile.TemporaryDirectory(prefix="weir-ticks-") as place:
        folder = pathlib.Path(place)
        simulated, source, verdicts = folder / "simulated.jsonl", folder / "events.jsonl", folder / "verdicts.jsonl"
        Run([arguments.weir, "simulate", "--scenario", "marketplace", "--events", arguments.events, "--seed", 1, "--output", simulated])
        seconds = stretched(simulated, source)
        simulated.unlink()
        topologies = {tick: ticking(folder, tick) for tick in (SHORT, LONG)}

        def replay(topology, events):
            return ["replay", "--topology", topology, "--input", events, "--output", verdicts, "--threads", 1, "--json"]

        words = {tick: [*on_core, arguments.weir, *replay(topology, source)] for tick, topology in topologies.items()}
        ratios, fastest = [], 0
        for pair in range(arguments.pairs):
            # Each begins in turn: the second one finds a warmer machine.
            order = (SHORT, LONG) if pair % 2 == 0 else (LONG, SHORT)
            runs = {tick: Run(words[tick]) for tick in order}
            for run in runs.values():
                if run.json["events"] != arguments.events or run.json["dead_letters"] or not run.json["verdicts"]:
                    wrong(f"of {arguments.events} events: {run.json}")
            ratios.append(runs[LONG].cpu / runs[SHORT].cpu)
            fastest = max(fastest, arguments.events / runs[SHORT].cpu)
            note(f"pair {pair + 1}: {runs[SHORT].cpu:.2f} s of CPU under ticks of {SHORT}, {runs[LONG].cpu:.2f} under {LONG}: {ratios[-1]:.3f}")
        figure(f"ticks marketplace, {RATE} events a tick", f"{fastest:,.0f}", "events/s CPU", shown(words[SHORT], source, verdicts, folder / f"tick-{SHORT}"))
        figure("ticks marketplace, speed kept", f"{median(ratios):.3f}", "CPU",
               f"{arguments.events:,} events in {seconds:,} ticks, median of {arguments.pairs} pairs; at least {KEPT}")
        kept = [median(ratios)]
        if counts := instructions(folder, arguments.weir, source, topologies, replay):
            kept.append(counts[LONG] / counts[SHORT])
            figure("ticks marketplace, speed kept", f"{kept[-1]:.3f}", "instructions",
                   f"{counts[SHORT] / COUNTED:,.0f} an event under ticks of {SHORT}, {counts[LONG] / COUNTED:,.0f} under {LONG}; {COUNTED:,} events")
        else:
            note("instructions are not counted: no valgrind, or no strip")
        if min(kept) < KEPT:
            sys.exit(f"error: ticks of {SHORT} take more than {1 - KEPT:.0%} of the speed")


main()
