#!/usr/bin/env python3
"""`weir init` on 100 MB of simulated traffic: the seconds until the topology stands, and that a replay by it has no dead letters."""
import argparse
import pathlib
import tempfile

from figures import Run, figure, note, shown, wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weir", required=True)
    parser.add_argument("--megabytes", type=int, default=100)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="weir-init-") as folder:
        source = pathlib.Path(folder) / "events.jsonl"
        # Some 330 bytes an event.
        Run([arguments.weir, "simulate", "--scenario", "marketplace", "--events", arguments.megabytes * 3200, "--seed", 1, "--output", source])
        size = source.stat().st_size
        if size < arguments.megabytes * 1_000_000:
            wrong(f"only {size} bytes were made")
        runs = []
        for turn in range(3):
            made = pathlib.Path(folder) / f"made-{turn}"
            words = [arguments.weir, "init", source, "--output", made, "--json"]
            runs.append(Run(words))
        guess = runs[0].json
        summary = Run([arguments.weir, "replay", "--topology", made, "--input", source, "--json"]).json
        if guess["dead_letters"] or summary["dead_letters"] or summary["late"]:
            wrong(f"{guess} {summary}")
        figure(f"init, {size / 1e6:,.0f} MB of JSON", f"{min(r.wall for r in runs):.2f}", "s", shown(words, source, made))
        note(f"best of 3, {min(r.cpu for r in runs):.2f} s of CPU; {guess['records']:,} records, {len(guess['events'])} event types, "
             "and a replay of the file by it has no dead letters")


main()
