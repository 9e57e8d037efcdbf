#!/usr/bin/env python3
"""A network that parts a worker from its broker, one-way and two-way, and workers that stand still (SIGSTOP): EXACT all the same.

Packets are lost, connections stay open: what waited comes late, or is forgotten with its connection, as when TCP gives up.
"""
import os
import signal
import time

from exact import INPUT, Exact
from proxy import Proxy
from signals import NOT_READY_SECONDS, Metrics
from support import Broker, is_drained, main, wait_for
from waiting import pace, until

#: A worker that was overtaken leaves with one of these, and never with another.
OVERTAKEN = (1, 9)
#: What is lost.
DIRECTIONS = [("answers lost", {"requests": False}), ("parted", {}), ("requests lost", {"answers": False})]
#: Log lines that an outage may take.
LINES = 60


def test(t):
    with Broker(t.folder) as broker, Proxy(broker.bootstrap) as proxy:
        shop = Exact(t, broker)
        metrics = Metrics(t.folder / "weir.prom")
        words = ("--metrics", metrics.path)
        properties = shop.properties("behind", proxy.bootstrap)
        worker = shop.start(properties, *words)
        shop.send()
        shop.judged("before", worker)
        lengths = [5, 30] if t.is_long else [5]
        for seconds in lengths:
            for what, directions in DIRECTIONS if t.is_long else DIRECTIONS[:2]:
                worker = part(shop, proxy, worker, metrics, f"{what} for {seconds} s", seconds, directions, properties, words)
        if t.is_long:
            worker = stand_still(shop, worker, 20, properties, words)
        worker = overtake(shop, worker, properties, words)
        t.equal(worker.terminate(), 143, "SIGTERM ends run with 143")
        shop.check("parted, and standing still")


def feed(shop, seconds):
    """Orders for so many seconds, while the fault lasts."""
    end = time.monotonic() + seconds
    until(lambda: shop.send(20) or time.monotonic() > end, seconds, every=0.1)


def part(shop, proxy, worker, metrics, what, seconds, directions, properties, words):
    """Parts the worker from the broker while orders come in; returns the worker that goes on."""
    t = shop.t
    lines, begin = len(worker.err.splitlines()), time.monotonic()
    shop.send(200)
    proxy.part(**directions)
    if seconds > NOT_READY_SECONDS:
        found = until(lambda: shop.send(20) or metrics("weir_ready") == 0, seconds, every=0.1)
        took = time.monotonic() - begin
        t.check(found and took <= NOT_READY_SECONDS, f"{what}: not ready after {took:.1f} s", worker.err)
    feed(shop, seconds - (time.monotonic() - begin))
    t.check(not is_drained(shop.broker, [INPUT]), f"{what}: nothing is judged through it")
    # A short one ends as if nothing had been lost, a long one with connections that nobody knows any more.
    proxy.heal(forgets=seconds > NOT_READY_SECONDS)
    healed = time.monotonic()
    shop.send(200)
    worker = goes_on(shop, worker, what, properties, words)
    wait_for(f"{what}: ready again", lambda: metrics("weir_ready") == 1, process=worker)
    told = len(worker.err.splitlines()) - lines
    t.check(told < LINES, f"{what}: all judged {time.monotonic() - healed:.1f} s after it healed, told in {told} lines", worker.err)
    return worker


def goes_on(shop, worker, what, properties, words):
    """Waits until all is judged, by this worker or, where its transaction ran out of time, by the next that a supervisor starts."""
    wait_for(f"{what}: all is judged, or the worker left", lambda: not worker.is_running or is_drained(shop.broker, [INPUT]), every=0.2)
    if not worker.is_running:
        shop.t.check(worker.wait() in OVERTAKEN, f"{what}: the worker left with {worker.wait()}, as its transaction had run out of time",
                     worker.err)
        worker = shop.start(properties, *words)
        shop.judged(what, worker)
    else:
        shop.t.ok(f"{what}: the same worker goes on")
    return worker


def stand_still(shop, worker, seconds, properties, words):
    """The worker alone is stopped for longer than a transaction may last, in the middle of its work."""
    what = f"standing still for {seconds} s"
    shop.send(2000)
    os.kill(worker.process.pid, signal.SIGSTOP)
    pace(seconds)
    shop.send(200)
    os.kill(worker.process.pid, signal.SIGCONT)
    return goes_on(shop, worker, what, properties, words)


def overtake(shop, worker, properties, words):
    """The worker stands still, another takes over, and the first wakes up: it leaves, and harms neither the log nor the other."""
    t = shop.t
    what = "a worker overtaken while it stood still"
    shop.send(2000)
    os.kill(worker.process.pid, signal.SIGSTOP)
    try:
        other = shop.start(properties, "--metrics", t.folder / "other.prom", label="other")
        shop.send(200)
        shop.judged(f"{what}: by the other", other)
    finally:
        os.kill(worker.process.pid, signal.SIGCONT)
    shop.send(200)
    wait_for(f"{what}: it leaves", lambda: not worker.is_running, process=other)
    t.check(worker.wait() in OVERTAKEN, f"{what}: it leaves with {worker.wait()}", worker.err)
    shop.send(200)
    shop.judged(f"{what}: the other goes on", other)
    return other


if __name__ == "__main__":
    main(test)
