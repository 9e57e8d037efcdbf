#!/usr/bin/env python3
"""Partitions that are added to an input topic under traffic and while nobody reads: each event is judged once, and none is late for that.

Producers choose partitions by key, so a part of all accounts moves to each new partition. What is said must be what a replay of the same
events says that finds them in order, from files.
"""
import json
import random
import re
import threading
import time

from shop import Shop, administer, aligned, create, sums
from support import Broker, check_audit, check_bodies, check_counts, check_journal, check_verdicts, fail, journal, main, objects, wait_for
from waiting import pace

INPUT = "orders"


class Traffic(threading.Thread):
    """A producer as shops have them: orders of now, in order, by key."""

    def __init__(self, broker):
        super().__init__(daemon=True)
        # It hears soon of new partitions; librdkafka's partitioner of Java's producers.
        self.producer = broker.producer(**{"partitioner": "murmur2_random", "topic.metadata.refresh.interval.ms": 500})
        self.values, self.failure, self.isOver = [], None, threading.Event()

    def run(self):
        def delivered(error, _):
            if error:
                self.failure = error

        r = random.Random(5)
        last = 0
        while not self.isOver.is_set():
            pace(0.02)
            for _ in range(6):
                # No two of one time: between partitions such have an order that nobody sees.
                last = max(last + 1, time.time_ns() // 1_000_000)
                account = f"a{r.randrange(60)}"
                value = json.dumps({"id": f"o{len(self.values)}", "ts": last, "account": account, "amount": r.randrange(2000, 20000) / 100}).encode()
                self.producer.produce(INPUT, key=account.encode(), value=value, on_delivery=delivered)
                self.values.append(value)
            self.producer.poll(0)
        if self.producer.flush(60):
            self.failure = "records are left"

    def stop(self):
        self.isOver.set()
        self.join()
        if self.failure:
            fail(f"the producer: {self.failure}")


def grow(broker, partitions):
    from confluent_kafka.admin import NewPartitions

    administer(broker, lambda client: client.create_partitions([NewPartitions(INPUT, partitions)]))
    wait_for(f"the topic has {partitions} partitions", lambda: broker.partitions(INPUT) == partitions)


def filled(broker, partition, count):
    """Waits until the partition holds so many records."""
    wait_for(f"traffic reaches partition {partition}", lambda: broker.ends([INPUT]).get((INPUT, partition), (0, 0))[1] >= count)


def test(t):
    # With a second of lateness what waits for the next look is older than the watermark.
    topology = t.topology("grows", replacing=[
        ("    subject: account\n", "    subject: account\n    emit: all\n"), ("topology: quickstart", "topology: grows\ntime: { lateness: 1s }")])
    with Broker(t.folder) as broker:
        broker.properties.write_text(broker.properties.read_text() + "topic.metadata.refresh.interval.ms=6000\n")
        create(broker, INPUT, 2)
        shop = Shop(t, broker, topology)
        shop.start()
        traffic = Traffic(broker)
        traffic.start()
        wait_for("traffic is judged", lambda: sum(r["records"] for r in journal(broker)) > 500, process=shop.worker)

        def taken(partition):
            return sum(to - start for r in journal(broker) for topic, p, start, to, *_ in r["ranges"] if p == partition)

        # Under traffic: for some seconds nobody reads it.
        grow(broker, 4)
        for partition in (2, 3):
            wait_for(f"partition {partition} is taken in", lambda: taken(partition) > 100, every=0.3, process=shop.worker)
        said = re.findall(r"a partition that was added to an input topic is read from here on.*?partition=(\S+)", shop.worker.err)
        t.equal(sorted(said), ["orders/2", "orders/3"], "a line tells of each")

        # And the worker dies, soon after it has found the next one.
        grow(broker, 5)
        wait_for("partition 4 is taken in", lambda: taken(4) > 0, every=0.05, process=shop.worker)
        shop.worker.kill()

        # While nobody reads.
        grow(broker, 7)
        for partition in (5, 6):
            filled(broker, partition, 150)
        shop.start()
        for partition in (5, 6):
            wait_for(f"partition {partition} is taken in", lambda: taken(partition) > 200, every=0.3, process=shop.worker)
        traffic.stop()
        shop.sent = len(traffic.values)
        shop.await_judged("all that was sent")
        t.check("no epoch has taken" not in t.run("doctor", "--topology", topology, *broker.kind(), code=None).out, "doctor misses nothing")
        shop.stop()

        records = check_journal(t, broker, [INPUT])
        t.equal(sums(records), {"events": shop.sent, "late": 0, "early": 0, "set_aside": 0, "dead_letters": 0},
                f"{shop.sent} events are judged, and none is late")
        # What came while nobody ran lies ahead of the watermark in every partition.
        t.check({(INPUT, 2), (INPUT, 3)} <= aligned(records) <= {(INPUT, p) for p in range(2, 7)},
                "the journal names those whose backlog the watermark had passed", aligned(records))
        verdicts = check_counts(t, broker, records, shop.sent)["weir.verdicts"]
        check_verdicts(t, verdicts, "grows", "weir/grows")
        check_bodies(t, broker, rings=False)
        check_audit(t, broker, topology, shop.sent)

        file = t.folder / "in-order.jsonl"
        file.write_bytes(b"".join(value + b"\n" for value in traffic.values))
        t.run("replay", "--topology", topology, "--input", f"{INPUT}={file}", "--output", t.folder / "verdicts.jsonl")

        def said_of(bodies):
            found = {}
            for body in bodies:
                # Where it lay is another matter.
                del body["verdict_id"], body["event"]["partition"], body["event"]["offset"]
                found[body["event"]["id"]] = body
            return found
        got, wanted = said_of(json.loads(v.value) for v in verdicts), said_of(objects(t.folder / "verdicts.jsonl"))
        flagged = sum(body["decision"] == "review" for body in wanted.values())
        t.check(flagged > 200, f"the rule speaks about {flagged} of them", flagged)
        t.check(got == wanted, "all have the verdicts of a replay in order, byte for byte",
                [(got[k], wanted.get(k)) for k in got if got[k] != wanted.get(k)][:1])


main(test)
