#!/usr/bin/env python3
"""A stop ends within 10 s whatever Kafka does, and loses nothing: while connecting, and with the broker frozen or killed, busy and idle."""
import contextlib
import os
import random
import signal
import socket
import time

from support import (
    INPUT_TOPICS, TOPOLOGIES, Broker, check_audit, check_counts, check_journal, check_verdicts, is_drained, journal, main,
    need_kafka_local, wait_for)
from waiting import LIMIT, moment

MARKETPLACE = TOPOLOGIES / "marketplace"
# The worker's own limit is 9 s; a second is for a machine that has much to do.
BOUND = 10
# While nothing is under way: a quarter of a second between two looks, and the same allowance.
AT_ONCE = 2
RATE = 1500


def test(t):
    need_kafka_local()
    connecting(t)
    stopped(t)


def stop(worker, number=signal.SIGTERM):
    """The exit code, and how long the end took."""
    worker.must_run()
    begin = time.monotonic()
    worker.process.send_signal(number)
    code = worker.wait()
    return code, time.monotonic() - begin


def listens(worker, number):
    """Whether the process has a handler for the signal."""
    with open(f"/proc/{worker.process.pid}/status") as status:
        caught = next(line.split()[1] for line in status if line.startswith("SigCgt"))
    return int(caught, 16) >> (number - 1) & 1


def connecting(t):
    chance = random.Random(5)
    with socket.socket() as refusing, socket.socket() as silent:
        refusing.bind(("127.0.0.1", 0))
        silent.bind(("127.0.0.1", 0))
        silent.listen(64)
        for what, port in (("a port where nothing listens", refusing), ("a port that accepts and never answers", silent)):
            properties = t.folder / "nobody.properties"
            properties.write_text(f"bootstrap.servers=127.0.0.1:{port.getsockname()[1]}\n")
            for number, *words in (
                    (signal.SIGTERM, "run", "--topology", MARKETPLACE), (signal.SIGINT, "tail"), (signal.SIGINT, "simulate", "--events", 10),
                    (signal.SIGTERM, "audit", "--topology", MARKETPLACE)):
                worker = t.start(*words, "--kafka", properties, label=words[0])
                wait_for(f"{words[0]} listens to signals", lambda: listens(worker, number), every=0.02, process=worker)
                moment(chance, 0.2, 0.8)
                code, seconds = stop(worker, number)
                t.equal(code, 128 + number, f"{words[0]} that waits for {what} is ended by signal {int(number)}")
                t.check(seconds <= AT_ONCE, f"{words[0]} ends {seconds:.2f} s after it", seconds)


@contextlib.contextmanager
def frozen(broker):
    pid = int(next(broker.folder.rglob("pid")).read_text())
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def killed(broker):
    broker.control("kill", 1)
    yield
    broker.control("restart", 1)


def stopped(t):
    events = 45 * RATE
    chance = random.Random(41)
    with Broker(t.folder) as broker:
        broker.patience = LIMIT
        patient = t.folder / "patient.properties"
        patient.write_text(broker.properties.read_text() + "weir.connect.ms=300000\n")
        feed = t.start("simulate", "--events", events, "--seed", 43, "--rate", RATE, "--kafka", patient, label="simulate")
        wait_for("simulate makes its topics", lambda: all(broker.partitions(x) for x in INPUT_TOPICS), process=feed)
        for fault, busy in ((frozen, True), (killed, True), (frozen, False), (killed, False)):
            what = f"{'busy' if busy else 'idle'}, the broker {fault.__name__}"
            epochs = len(journal(broker))
            worker = t.start("run", "--topology", MARKETPLACE, "--kafka", broker.properties, "--threads", 2, label="run")
            wait_for(f"{what}: the worker judges", lambda: "ready" in worker.err, process=worker)
            if busy:
                wait_for(f"{what}: it commits", lambda: len(journal(broker)) > epochs, process=worker)
                moment(chance, 0.3, 1.3)
            else:
                t.equal(feed.wait(), 0, "simulate filled the topics beside it")
                wait_for(f"{what}: all is judged", lambda: is_drained(broker), every=0.3, process=worker)
            with fault(broker):
                moment(chance, 0.2, 2)
                code, seconds = stop(worker)
            t.check(seconds <= BOUND, f"{what}: SIGTERM ends run after {seconds:.2f} s, with {code}", seconds)
            if code == 5:
                t.check("stopped before what was read last could be committed" in worker.err, f"{what}: it says what it leaves", worker.err)
            else:
                t.equal(code, 143, f"{what}: all that was read was committed")
            t.check(busy or code == 143, f"{what}: a worker with nothing to commit ends cleanly", worker.err)
        worker = t.start("run", "--topology", MARKETPLACE, "--kafka", broker.properties, "--threads", 2, label="run")
        wait_for("the next start judges what is left", lambda: is_drained(broker), every=0.3, process=worker)
        code, seconds = stop(worker)
        t.equal(code, 143, f"SIGTERM ends run with a broker after {seconds:.2f} s")
        records = check_journal(t, broker)
        broker.skips_settling = True
        found = check_counts(t, broker, records, events)
        check_verdicts(t, found["weir.verdicts"], "marketplace", "weir/marketplace")
        check_audit(t, broker, MARKETPLACE, len(found["weir.verdicts"]))


main(test)
