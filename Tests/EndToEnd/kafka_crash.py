#!/usr/bin/env python3
"""Exactly once on a real broker: `weir run` is killed at random moments while events come in, and started again each time."""
import random

from support import (
    INPUT_TOPICS, TOPOLOGIES, Broker, check_audit, check_audit_after_tampering, check_counts, check_journal, check_verdicts, is_drained,
    journal, main, wait_for)
from waiting import moment

MARKETPLACE = TOPOLOGIES / "marketplace"


def test(t):
    kills = 20 if t.is_long else 3
    rate = 5000
    seconds = 4 * kills + 4
    events = rate * seconds
    chance = random.Random(17)
    with Broker(t.folder) as broker:
        simulate = t.start("simulate", "--events", events, "--seed", 31, "--rate", rate, "--kafka", broker.properties, label="simulate")
        wait_for("simulate makes its topics", lambda: all(broker.partitions(x) for x in INPUT_TOPICS), process=simulate)
        run = ["run", "--topology", MARKETPLACE, "--kafka", broker.properties, "--threads", 2]
        done = 0
        for n in range(kills):
            worker = t.start(*run, label="run")
            # From before the first commit, while it recovers, to the middle of its work; the first one surely in its work.
            if n == 0:
                wait_for("the first epoch", lambda: journal(broker), every=0.05, process=worker)
            moment(chance, 0.3, 1.3 if n == 0 else 5.3)
            worker.must_run()
            worker.kill()
            reached = len(journal(broker))
            t.note(f"kill {n + 1} at epoch {reached}")
            done += reached > 0
        t.check(done > 0, f"run was killed {kills} times, {done} times with epochs committed")
        worker = t.start(*run, label="run")
        t.equal(simulate.wait(), 0, "simulate filled the topics beside it")
        t.equal(sum(e - s for s, e in broker.ends(INPUT_TOPICS).values()), events, f"{events} events are on the broker")
        wait_for("run drains the topics after the last kill", lambda: is_drained(broker), every=0.3, process=worker)
        t.equal(worker.terminate(), 143, "SIGTERM ends run with 143")
        records = check_journal(t, broker)
        found = check_counts(t, broker, records, events)
        check_verdicts(t, found["weir.verdicts"], "marketplace", "weir/marketplace")
        aborted = len(broker.read("weir.verdicts", **{"isolation.level": "read_uncommitted"})) - len(found["weir.verdicts"])
        t.note(f"{aborted} verdicts of killed transactions, hidden from readers of committed records")
        check_audit(t, broker, MARKETPLACE, len(found["weir.verdicts"]))
        check_audit_after_tampering(t, broker, MARKETPLACE)


main(test)
