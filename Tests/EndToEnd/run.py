#!/usr/bin/env python3
"""Runs the end-to-end tests and ends with the line 'N passed, N failed, N skipped'.

  python3 Tests/EndToEnd/run.py --weir PATH [--long] [NAME...]
"""
import argparse
import os
import pathlib
import signal
import subprocess
import sys
import time

from waiting import LIMIT

HERE = pathlib.Path(__file__).resolve().parent
# The cheap ones first; those that need a broker last.
TESTS = [
    "samples", "readme", "exit_codes", "pseudonyms", "allocations", "replay_determinism", "poison", "duplicates", "bench12_oracle",
    "real_data", "first_topology", "demo",
    "embedded_end_to_end", "kafka_end_to_end", "event_time", "signals", "lost_journal", "moved_inputs", "mirrored_topics",
    "kafka_crash", "kafka_outage", "kafka_stop", "kafka_answers", "kafka_network", "kafka_rights", "kafka_clocks",
]
# Only with --long, or by name.
LONG_TESTS = ["kafka_erasure"]
SKIPPED = 77


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weir", default=os.environ.get("WEIR_BINARY"), help="the program under test")
    parser.add_argument("--long", action="store_true", default=os.environ.get("WEIR_LONG") == "1", help="the full sizes")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"only these: {' '.join(TESTS + LONG_TESTS)}")
    arguments = parser.parse_args()
    if not arguments.weir or not os.access(arguments.weir, os.X_OK):
        sys.exit("error: no program to test: --weir PATH, or WEIR_BINARY")
    unknown = set(arguments.names) - set(TESTS) - set(LONG_TESTS)
    if unknown:
        sys.exit(f"error: no test {' '.join(sorted(unknown))}; there are {' '.join(TESTS + LONG_TESTS)}")
    limit = 14400 if arguments.long else 3600
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    failed = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    for name in arguments.names or TESTS + (LONG_TESTS if arguments.long else []):
        words = [sys.executable, str(HERE / f"{name}.py"), "--weir", os.path.abspath(arguments.weir)]
        if arguments.long:
            words.append("--long")
        start = time.monotonic()
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL)
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            print(f"FAILED {name}: not done after {limit} s", flush=True)
            code = 1
        finally:
            if process.poll() is None:
                # SIGTERM lets the test end what it started.
                process.terminate()
                try:
                    process.wait(LIMIT)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        result = "passed" if code == 0 else "skipped" if code == SKIPPED else "failed"
        counts[result] += 1
        if result == "failed":
            failed.append(name)
        print(f"== {name} {result} in {time.monotonic() - start:.1f} s", flush=True)
    if failed:
        print(f"failed: {' '.join(failed)}")
    print(", ".join(f"{number} {result}" for result, number in counts.items()))
    sys.exit(1 if failed else 0)


main()
