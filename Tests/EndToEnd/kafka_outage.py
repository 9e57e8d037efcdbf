#!/usr/bin/env python3
"""Exactly once when the broker itself is killed under `weir run`, sometimes with the worker: it is started again on its data each time.

A broker killed while it ends a transaction may forget to tell some partitions (Kafka 4.3); nothing may wait for that, or be lost by it.
"""
import random

from support import (
    INPUT_TOPICS, TOPOLOGIES, Broker, check_audit, check_counts, check_journal, check_verdicts, fail, is_drained, journal, main,
    need_kafka_local, shown, wait_for)
from waiting import LIMIT, moment

MARKETPLACE = TOPOLOGIES / "marketplace"


def test(t):
    need_kafka_local()
    outages(t, brokers=1, kills=20 if t.is_long else 3, rate=3000)
    # Of three, one at a time: its partitions and coordinators move to the others, and back.
    outages(t, brokers=3, kills=9 if t.is_long else 2, rate=1000)


class Supervised:
    """`weir run` as a supervisor keeps it: started again whenever it stops by itself, or when it was killed."""

    def __init__(self, t, limit, *words):
        self.t, self.limit, self.words, self.restarts = t, limit, words, 0
        self.start()

    def start(self):
        self.process, self.is_killed = self.t.start(*self.words, label="run"), False

    def kill(self):
        self.is_killed = self.process.is_running
        self.process.kill()

    def keep_running(self):
        if self.process.is_running:
            return
        code = self.process.wait(0)
        # Cut off for longer than a transaction may last it is told that it is replaced (1); a start gives up on brokers that do not answer (5).
        if code not in (1, 5) and not (self.is_killed and code == -9):
            fail(f"run ended with {code}: {shown(self.process.err)}")
        self.restarts += 1
        if self.restarts > self.limit:
            fail(f"run ends again and again, now with {code}: {shown(self.process.err)}")
        self.start()


def outages(t, brokers, kills, rate):
    seconds = 12 * kills + 5
    events = rate * seconds
    chance = random.Random(23)
    with Broker(t.folder, "--brokers", str(brokers)) as broker:
        broker.patience = LIMIT
        patient = t.folder / "patient.properties"
        patient.write_text(broker.properties.read_text() + "weir.connect.ms=300000\n")
        simulate = t.start("simulate", "--events", events, "--seed", 37, "--rate", rate, "--kafka", patient, label="simulate")
        wait_for("simulate makes its topics", lambda: all(broker.partitions(x) for x in INPUT_TOPICS), process=simulate)
        worker = Supervised(t, 2 * kills, "run", "--topology", MARKETPLACE, "--kafka", broker.properties, "--threads", 2)
        wait_for("the first epoch", lambda: journal(broker), every=0.05, process=worker.process)
        for n in range(kills):
            number = n % brokers + 1
            moment(chance, 0.5, 3.5)
            broker.control("kill", number)
            both = n % 3 == 1
            if both:
                worker.kill()
            t.note(f"kill {n + 1}: broker {number} of {brokers}{' and the worker' if both else ''}")
            moment(chance, 0, 2)
            broker.control("restart", number)
            worker.keep_running()
        t.equal(simulate.wait(), 0, "simulate filled the topics beside it")
        # A replica that has just become the leader may not know yet how far the others have come.
        on_brokers = lambda: sum(end - start for start, end in broker.ends(INPUT_TOPICS).values())
        wait_for(f"{events} events on the brokers", lambda: on_brokers() >= events)
        t.equal(on_brokers(), events, f"{events} events are on the brokers")
        wait_for("run drains the topics after the last kill", lambda: worker.keep_running() or is_drained(broker), every=0.3)
        t.note(f"the worker was started again {worker.restarts} times")
        t.equal(worker.process.terminate(), 143, "SIGTERM ends run with 143")
        records = check_journal(t, broker)
        broker.skips_settling = True
        found = check_counts(t, broker, records, events)
        t.note(f"{broker.settled} tombstones in output topics that end a transaction a broker had left open")
        check_verdicts(t, found["weir.verdicts"], "marketplace", "weir/marketplace")
        check_audit(t, broker, MARKETPLACE, len(found["weir.verdicts"]))


main(test)
