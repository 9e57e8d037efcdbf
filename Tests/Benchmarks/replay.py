#!/usr/bin/env python3
"""Simulated marketplace traffic through the flagship topology, on files: events per second on one and two threads, same verdicts."""
import argparse
import hashlib
import pathlib
import tempfile

from figures import ROOT, Run, figure, made, note, shown, wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weir", required=True)
    parser.add_argument("--events", type=int, default=1_000_000)
    arguments = parser.parse_args()
    digests = set()
    with tempfile.TemporaryDirectory(prefix="weir-replay-") as folder:
        # Not kept: the simulator may change with the program.
        source = pathlib.Path(folder) / "events.jsonl"
        Run([arguments.weir, "simulate", "--scenario", "marketplace", "--events", arguments.events, "--seed", 1, "--output", source])
        for threads in (1, 2):
            verdicts = pathlib.Path(folder) / "verdicts.jsonl"
            words = [arguments.weir, "replay", "--topology", ROOT / "topologies" / "marketplace", "--input", source, "--output", verdicts,
                     "--threads", threads, "--json"]
            runs = [Run(words) for _ in range(3)]
            summary = runs[0].json
            if summary["events"] != arguments.events or summary["dead_letters"]:
                wrong(f"of {arguments.events} events: {summary}")
            with open(verdicts, "rb") as file:
                digests.add(hashlib.file_digest(file, "sha256").hexdigest())
            best = max(run.json["events_per_second"] for run in runs)
            figure(f"replay marketplace, {threads} threads", f"{best:,}", "events/s", shown(words, source, verdicts))
            note(f"best of 3; {summary['verdicts']} verdicts, {summary['state_bytes'] >> 20} MiB of state, "
                 f"{min(run.cpu for run in runs) / arguments.events * 1e9:,.0f} ns of CPU per event")
    if len(digests) != 1:
        wrong("one and two threads give different verdicts")
    note("one and two threads give the same verdicts, byte for byte")


main()
