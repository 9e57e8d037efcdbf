#!/usr/bin/env python3
"""Runs the end-to-end tests and ends with the line 'N passed, N failed, N skipped'.

  python3 Tests/EndToEnd/run.py --weir PATH [--long] [--library system|wheel|both] [NAME...]

The client library of Kafka is the system's, or the newer one in the wheel of Python's confluent_kafka. With `both` the system's runs
everything, and the wheel's what depends on it most; with --long all that is about outages, signals and inputs.
"""
import argparse
import contextlib
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

from waiting import LIMIT

HERE = pathlib.Path(__file__).resolve().parent
# The cheap ones first; those that need a broker last.
TESTS = [
    "samples", "readme", "exit_codes", "pseudonyms", "allocations", "replay_determinism", "poison", "duplicates", "bench12_oracle",
    "real_data", "first_topology", "demo",
    "embedded_end_to_end", "kafka_end_to_end", "event_time", "signals", "lost_journal", "moved_inputs", "added_partitions", "snapshots",
    "mirrored_topics",
    "kafka_crash", "kafka_outage", "kafka_stop", "kafka_answers", "kafka_network", "kafka_rights", "kafka_clocks",
]
# Only with --long, or by name.
LONG_TESTS = ["kafka_erasure"]
# What runs on both client libraries: in every run, and with --long.
ON_BOTH = ["kafka_crash", "kafka_outage", "kafka_stop"]
ON_BOTH_LONG = ["signals", "moved_inputs", *ON_BOTH]
SKIPPED = 77


class Library:
    """A librdkafka, and the environment in which the program finds it."""

    def __init__(self, name, folder):
        self.name, self.environment, self.file = name, dict(os.environ), None
        if name == "wheel":
            self.file = self.wheel()
            if self.file:
                # Python itself loads the file by its own odd name, and is not touched.
                (folder / "librdkafka.so.1").symlink_to(self.file)
                former = os.environ.get("LD_LIBRARY_PATH")
                self.environment["LD_LIBRARY_PATH"] = f"{folder}:{former}" if former else str(folder)

    @staticmethod
    def wheel():
        with contextlib.suppress(ImportError):
            import confluent_kafka

            beside = pathlib.Path(confluent_kafka.__file__).parent.parent / "confluent_kafka.libs"
            return next(iter(sorted(beside.glob("librdkafka-*.so*"))), None)
        return None

    def version(self, weir):
        """What the program says that it runs with."""
        said = subprocess.run([weir, "version"], env=self.environment, stdout=subprocess.PIPE, timeout=LIMIT, check=True).stdout.decode()
        found = re.search(r"librdkafka ([0-9.]+)", said)
        return found[1] if found else sys.exit(f"error: {weir} names no librdkafka: {said}")


def libraries(weir, wanted, folder):
    """Those to test with; the wheel's is left out where there is none, and must be another than the system's."""
    found = [Library(name, folder) for name in (("system", "wheel") if wanted == "both" else (wanted,))]
    for library in found[:]:
        if library.name == "wheel" and library.file is None:
            print("skipped: no librdkafka in a wheel of confluent_kafka: scripts/install --tests", flush=True)
            found.remove(library)
    versions = {library.name: library.version(weir) for library in found}
    if "wheel" in versions:
        import confluent_kafka

        if versions["wheel"] != confluent_kafka.libversion()[0]:
            sys.exit(f"error: the program runs with librdkafka {versions['wheel']}, not with the wheel's {confluent_kafka.libversion()[0]}")
    for name, version in versions.items():
        print(f"== librdkafka of the {name}: {version}", flush=True)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weir", default=os.environ.get("WEIR_BINARY"), help="the program under test")
    parser.add_argument("--long", action="store_true", default=os.environ.get("WEIR_LONG") == "1", help="the full sizes")
    parser.add_argument("--library", choices=["system", "wheel", "both"], default="system", help="the client library of Kafka")
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
    with tempfile.TemporaryDirectory(prefix="weir-library-") as folder:
        for library in libraries(os.path.abspath(arguments.weir), arguments.library, pathlib.Path(folder)):
            names = arguments.names or TESTS + (LONG_TESTS if arguments.long else [])
            if library.name == "wheel" and arguments.library == "both":
                names = [name for name in names if name in (ON_BOTH_LONG if arguments.long else ON_BOTH)]
            run(arguments, library, names, counts, failed, limit)
    if failed:
        print(f"failed: {' '.join(failed)}")
    print(", ".join(f"{number} {result}" for result, number in counts.items()))
    sys.exit(1 if failed else 0)


def run(arguments, library, names, counts, failed, limit):
    """Runs these tests with one client library, one after the other."""
    for name in names:
        words = [sys.executable, str(HERE / f"{name}.py"), "--weir", os.path.abspath(arguments.weir)]
        if arguments.long:
            words.append("--long")
        start = time.monotonic()
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, env=library.environment)
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
            failed.append(name if library.name == "system" else f"{name} ({library.name})")
        print(f"== {name}{'' if library.name == 'system' else ' with the librdkafka of the wheel'} {result} in {time.monotonic() - start:.1f} s", flush=True)


main()
