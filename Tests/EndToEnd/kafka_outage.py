#!/usr/bin/env python3
"""Exactly once when the broker itself is killed under `weir run`, sometimes with the worker: it is started again on its data each time.

A broker killed while it ends a transaction may forget to tell some partitions (Kafka 4.3); nothing may wait for that, or be lost by it.
"""
import random
import time

from support import (
    INPUT_TOPICS, TOPOLOGIES, Broker, check_audit, check_counts, check_journal, check_verdicts, is_drained, journal, main, wait_for)

MARKETPLACE = TOPOLOGIES / "marketplace"


def test(t):
    kills = 20 if t.is_long else 3
    rate = 3000
    seconds = 12 * kills + 5
    events = rate * seconds
    chance = random.Random(23)
    with Broker(t.folder) as broker:
        patient = t.folder / "patient.properties"
        patient.write_text(broker.properties.read_text() + "weir.connect.ms=300000\n")
        simulate = t.start("simulate", "--events", events, "--seed", 37, "--rate", rate, "--kafka", patient, label="simulate")
        wait_for("simulate makes its topics", lambda: all(broker.partitions(x) for x in INPUT_TOPICS), 60, process=simulate)
        run = ["run", "--topology", MARKETPLACE, "--kafka", broker.properties, "--threads", 2]
        worker = t.start(*run, label="run")
        restarts = 0
        wait_for("the first epoch", lambda: journal(broker), 120, every=0.05, process=worker)
        for n in range(kills):
            time.sleep(0.5 + chance.random() * 3)
            broker.control("kill")
            both = n % 3 == 1
            if both:
                worker.kill()
            t.note(f"kill {n + 1} of the broker{' and the worker' if both else ''}")
            time.sleep(chance.random() * 2)
            broker.control("restart")
            # Away for longer than a transaction may last, a worker is told that it is replaced, and stops: its supervisor starts it again.
            if not worker.is_running:
                if not both:
                    t.equal(worker.wait(0), 1, "a worker cut off for too long stops with 1")
                restarts += 1
                worker = t.start(*run, label="run")
        t.note(f"the worker was started again {restarts} times")
        t.equal(simulate.wait(seconds * 3 + 120), 0, "simulate filled the topics beside it")
        t.equal(sum(e - s for s, e in broker.ends(INPUT_TOPICS).values()), events, f"{events} events are on the broker")
        wait_for("run drains the topics after the last kill", lambda: is_drained(broker), 300, every=0.3, process=worker)
        t.equal(worker.terminate(), 143, "SIGTERM ends run with 143")
        records = check_journal(t, broker)
        broker.skips_settling = True
        found = check_counts(t, broker, records, events)
        t.note(f"{broker.settled} records of committed transactions' ends in output topics")
        check_verdicts(t, found["weir.verdicts"], "marketplace", "weir/marketplace")
        check_audit(t, broker, MARKETPLACE, len(found["weir.verdicts"]))


main(test)
