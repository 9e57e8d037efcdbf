#!/usr/bin/env python3
"""Wall clocks of a worker that are wrong, jump forth and back, and go slowly: no verdict changes by a byte.

The clock is set as on a real machine (false-clock.c): the wall clock alone, and waits until one of its moments with it.
"""
import datetime
import mmap
import shutil
import struct
import subprocess
import time

from exact import Exact
from support import ROOT, Broker, Skipped, fail, main, shown, wait_for

#: What the clock does while the worker runs, one after the other: seconds added, and its rate.
JUMPS = [(0, 1), (3600, 1), (-3600, 1), (86_400, 1), (-86_400, 0.1), (0, 2)]


class Clock:
    """The wall clock of the processes that are started with its environment."""

    def __init__(self, t):
        compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        if not compiler:
            raise Skipped("no C compiler to build the false clock")
        library, path = t.folder / "false-clock.so", t.folder / "clock"
        done = subprocess.run(
            [compiler, "-O2", "-shared", "-fPIC", "-o", library, ROOT / "Tests" / "EndToEnd" / "false-clock.c"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode != 0:
            fail(f"false-clock.c: {shown(done.stdout)}")
        path.write_bytes(struct.pack("dd", 0, 1))
        with open(path, "r+b") as file:
            self.memory = mmap.mmap(file.fileno(), 16)
        self.environment = {"LD_PRELOAD": str(library), "FALSE_CLOCK": str(path)}

    def set(self, added, rate=1):
        self.memory[:] = struct.pack("dd", added, rate)


def wrong(worker):
    """By how many seconds the wall clock of the worker's newest log line is ahead of ours."""
    stamps = [line[3:].split()[0] for line in worker.err.splitlines() if line.startswith("ts=")]
    return datetime.datetime.fromisoformat(stamps[-1].replace("Z", "+00:00")).timestamp() - time.time()


def test(t):
    clock = Clock(t)
    with Broker(t.folder) as broker:
        shop = Exact(t, broker)
        for first in (3600, -3600) if t.is_long else (3600,):
            clock.set(first)
            worker = shop.start(environment=clock.environment)
            t.check(abs(wrong(worker) - first) < 600, f"the clock is {first} s ahead when the worker starts", wrong(worker))
            shop.send()
            shop.judged(f"a clock {first} s ahead", worker)
            for added, rate in JUMPS:
                begin = time.monotonic()
                clock.set(added, rate)
                shop.send(200)
                shop.judged(f"a clock that jumps to {added:+} s, at {rate} of its rate", worker)
                t.note(f"a clock that jumps to {added:+} s, at {rate} of its rate: judged after {time.monotonic() - begin:.1f} s")
            t.equal(worker.terminate(), 143, "SIGTERM ends run with 143")
        shop.check(f"a clock wrong at the start and {len(JUMPS)} jumps")


if __name__ == "__main__":
    main(test)
