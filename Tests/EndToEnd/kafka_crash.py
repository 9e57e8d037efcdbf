#!/usr/bin/env python3
"""Exactly once on a real broker: `weir run` is killed at random moments while events come in, and started again each time."""
import json
import random
import statistics
import time

from support import (
    INPUT_TOPICS, TOPOLOGIES, Broker, check_audit, check_audit_after_tampering, check_counts, check_journal, check_verdicts, is_drained,
    journal, main, shown, wait_for)
from waiting import LIMIT, until

MARKETPLACE = TOPOLOGIES / "marketplace"
# A recovery that takes longer is shown.
SLOW_SECONDS = 10


class NextEpoch:
    """Waits for the first epoch that is committed from now on; its verdicts are seen with it."""

    def __init__(self, broker):
        import confluent_kafka

        self.consumer = broker.consumer()
        place = confluent_kafka.TopicPartition("weir.journal", 0)
        place.offset = self.consumer.get_watermark_offsets(place, timeout=60, cached=False)[1]
        self.consumer.assign([place])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.consumer.close()

    def has_come(self):
        message = self.consumer.poll(0.02)
        # Tombstones mark how far a worker has looked, and an epoch of an idle worker takes nothing.
        if message is None or message.error() is not None or message.value() is None:
            return False
        return json.loads(message.value())["ranges"] != []


def is_over(broker, simulate):
    """Whether nothing is left to judge, on a machine that is too slow for the traffic to last."""
    return "over" if not simulate.is_running and is_drained(broker) else None


def test(t):
    kills = 50 if t.is_long else 10
    rate = 3000
    seconds = 3 * kills + 10
    events = rate * seconds
    chance = random.Random(17)
    with Broker(t.folder) as broker:
        simulate = t.start("simulate", "--events", events, "--seed", 31, "--rate", rate, "--kafka", broker.properties, label="simulate")
        wait_for("simulate makes its topics", lambda: all(broker.partitions(x) for x in INPUT_TOPICS), process=simulate)
        run = ["run", "--topology", MARKETPLACE, "--kafka", broker.properties, "--threads", 2]
        # Of every second start a snapshot is kept all the time, so that a kill may hit it.
        start = lambda n: t.start(*run, *(["--snapshot-every", 1] if n % 2 else []), label="run")
        worker = start(0)
        wait_for("the first epoch", lambda: journal(broker), every=0.05, process=worker)
        recoveries = []
        for n in range(kills):
            # From before the first commit, while it recovers, to the middle of its work.
            end = time.monotonic() + 0.3 + chance.random() * (3 if n else 1)
            until(lambda: time.monotonic() > end, every=0.02)
            worker.must_run()
            worker.kill()
            killed = time.monotonic()
            with NextEpoch(broker) as epoch:
                worker = start(n + 1)
                # Every third is killed again while it recovers, whatever it has committed by then.
                limit = 0.4 + chance.random() if n % 3 == 2 else LIMIT
                if until(lambda: epoch.has_come() or is_over(broker, simulate), limit, every=0) is True:
                    recoveries.append(time.monotonic() - killed)
                    t.note(f"kill {n + 1}: an epoch is committed {recoveries[-1]:.2f} s later")
                else:
                    t.note(f"kill {n + 1}: killed again while it recovers, or nothing was left to judge")
                if time.monotonic() - killed > SLOW_SECONDS:
                    t.note(shown(worker.err))
        t.check(recoveries, f"run was killed {kills} times; from a kill to the first new epoch {len(recoveries)} times: "
                f"median {statistics.median(recoveries):.2f} s, longest {max(recoveries):.2f} s")
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


if __name__ == "__main__":
    main(test)
