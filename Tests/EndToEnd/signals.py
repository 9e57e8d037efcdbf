#!/usr/bin/env python3
"""What metrics and log lines of `weir run` say while its broker is silent (SIGSTOP), idle and under load, and when it is back."""
import json
import os
import re
import signal
import time

from shop import create
from support import Broker, is_drained, main, wait_for
from traffic import orders
from waiting import until

# After so long at most nobody may take the worker for ready; the rest of a wait is the machine's, not the worker's.
NOT_READY_SECONDS = 15
PARTITIONS = 2


class Metrics:
    """The file that a worker writes."""

    def __init__(self, path):
        self.path = path

    def __call__(self, name, **labels):
        """The value of a series; nil where it is absent."""
        inside = ",".join(f'{key}="{value}"' for key, value in sorted({**labels, "topology": "quickstart"}.items()))
        found = re.search(re.escape(f"{name}{{{inside}}} ") + r"(\S+)$", self.path.read_text(), re.MULTILINE)
        return float(found[1]) if found else None

    def lags(self):
        return [self("weir_input_lag_records", topic="orders", partition=n) for n in range(PARTITIONS)]


def silence(t, broker, worker, metrics, what, send=None):
    """The broker stands still for 25 seconds."""
    pid = int(next(broker.folder.rglob("pid")).read_text())
    lines = len(worker.err)
    said = lambda text: text in worker.err[lines:]
    os.kill(pid, signal.SIGSTOP)
    begin = time.monotonic()
    try:
        wait_for(f"{what}: not ready", lambda: metrics("weir_ready") == 0, process=worker)
        seconds = time.monotonic() - begin
        t.check(seconds <= NOT_READY_SECONDS, f"{what}: not ready after {seconds:.1f} s without a broker", seconds)
        wait_for(f"{what}: a line tells of it", lambda: said("no broker has answered for 15 s"), process=worker)
        wait_for(f"{what}: no lag is told that nobody knows", lambda: metrics.lags() == [None] * PARTITIONS, process=worker)
        wait_for(f"{what}: no broker is up", lambda: metrics("weir_brokers_up") == 0, process=worker)
        contact = metrics("weir_last_contact_timestamp_seconds")
        t.check(time.time() - contact >= 10, f"{what}: the last contact stands where it was", contact)
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_for(f"{what}: ready again", lambda: metrics("weir_ready") == 1, process=worker)
    wait_for(f"{what}: a line tells of it", lambda: said("brokers answer again"), process=worker)
    if send:
        send()
    wait_for(f"{what}: all is judged", lambda: is_drained(broker, ["orders"]), process=worker)
    wait_for(f"{what}: the lag is known, and 0", lambda: metrics.lags() == [0] * PARTITIONS, process=worker)
    wait_for(f"{what}: nothing waits", lambda: metrics("weir_oldest_uncommitted_seconds") == 0, process=worker)
    told = worker.err[lines:]
    t.check(len(told.splitlines()) < 60, f"{what}: the outage is told in {len(told.splitlines())} lines", told)


def test(t):
    with Broker(t.folder) as broker:
        broker.patience = 120
        create(broker, "orders", PARTITIONS, **{"message.timestamp.type": "LogAppendTime"})
        values = iter(orders(60_000))

        def send(count=5000):
            broker.produce([("orders", n % PARTITIONS, None, next(values), None) for n in range(count)])

        topology = t.topology("quickstart-watched")
        metrics = Metrics(t.folder / "weir.prom")
        worker = t.start("run", "--topology", topology, "--kafka", broker.properties, "--metrics", metrics.path, "--json", label="run")
        wait_for("run is ready", lambda: metrics.path.exists() and metrics("weir_ready") == 1, process=worker)
        send()
        wait_for("all is judged", lambda: is_drained(broker, ["orders"]), process=worker)
        wait_for("the lag is 0", lambda: metrics.lags() == [0] * PARTITIONS, process=worker)
        t.equal(metrics("weir_brokers_up"), 1, "one broker is up")
        t.check(until(lambda: metrics("weir_event_to_verdict_seconds_count") == 5000), "each record's time to its commit is counted",
                metrics("weir_event_to_verdict_seconds_count"))
        silence(t, broker, worker, metrics, "idle")
        send(20_000)
        silence(t, broker, worker, metrics, "under load", send)
        t.equal(worker.terminate(), 143, "SIGTERM ends run with 143")
        t.equal(metrics("weir_ready"), 0, "who has ended is not ready")
        lines = [json.loads(line) for line in worker.err.splitlines()]
        t.check(all(line["ts"] and line["level"] and line["msg"] for line in lines), f"all {len(lines)} lines through both outages are JSON objects", lines)


if __name__ == "__main__":
    main(test)
