#!/usr/bin/env python3
"""Inputs that move on a real broker: compacted, made anew, cut, held back by a transaction, and with more partitions than before."""
from support import Broker, is_drained, main, wait_for
from traffic import orders

INPUT = "orders"


def test(t):
    with Broker(t.folder) as broker:
        kafka(t, broker)


def kafka(t, broker):
    from confluent_kafka import TopicPartition
    from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    topology = t.topology("moved")
    flags = ["--topology", topology, *broker.kind()]

    def done(futures):
        for future in futures.values():
            future.result(30)

    def make(partitions=3, **config):
        done(admin.create_topics([NewTopic(INPUT, partitions, config={"retention.ms": "-1", **config})]))
        wait_for(f"{INPUT} is there", lambda: INPUT in admin.list_topics(timeout=10).topics)

    def drop(name=INPUT):
        done(admin.delete_topics([name], operation_timeout=30))
        wait_for(f"{name} is gone", lambda: name not in admin.list_topics(timeout=10).topics)

    def send(count, seed=1, partitions=3):
        broker.produce([(INPUT, n % partitions, b"k", line, None) for n, line in enumerate(orders(count, seed))])

    def start(*words):
        worker = t.start("run", *flags, *words, label="run")
        wait_for("run is ready", lambda: "ready" in worker.err, process=worker)
        wait_for("run drains the orders", lambda: is_drained(broker, [INPUT]), process=worker)
        return worker

    def refused(code, *words):
        result = t.run("run", *flags, code=code)
        for word in words:
            t.check(word in result.err, f"exit {code} says '{word}'", result.err)

    def ends(worker, *words):
        """Waits until a worker has left by itself."""
        wait_for("run leaves", lambda: worker.process.poll() is not None)
        t.equal(worker.process.poll(), 7, f"run leaves with 7 ({worker.err.splitlines()[-1][:200]})")
        for word in words:
            t.check(word in worker.err, f"and says '{word}'", worker.err)

    def anew():
        """The journal is gone, and the inputs are others: to start anew is the way on."""
        drop("weir.journal")
        return start("--start-anew")

    # Compacted.
    make(**{"cleanup.policy": "compact"})
    send(100)
    refused(3, "input topic 'orders' is compacted", "--entity-name orders --add-config cleanup.policy=delete")
    drop()

    # Made anew while nobody ran: shorter, as long with other records, with fewer partitions.
    make()
    send(6000)
    t.equal(start().terminate(), 143, "SIGTERM ends run with 143")
    drop()
    make()
    send(900)
    refused(7, "ends at offset 300, and was taken up to 2000", "made anew")
    found = t.run("doctor", *flags, code=7).out
    t.check("ends at offset 300, and the journal took it up to 2000" in found, "doctor says so too", found)
    send(9000, seed=2)
    refused(7, "hold other records than those that epoch", "was made from", "made anew")
    t.check("hold other records" in t.run("audit", *flags, code=7).err, "and so does the audit")
    drop()
    make(partitions=1)
    send(6000, partitions=1)
    refused(7, "does not exist any more", "fewer partitions")
    drop()

    # Cut while nobody ran.
    make()
    send(6000)
    t.equal(anew().terminate(), 143, "SIGTERM ends run with 143")
    send(600)
    done(admin.delete_records([TopicPartition(INPUT, 0, 2100)]))
    refused(7, "orders/0: offset 2000 is needed to rebuild the state, but the log begins at 2100")
    drop()

    # Held back by a transaction; more partitions; then deleted, all while it is read.
    make()
    send(3000)
    worker = anew()
    producer = broker.producer(**{"transactional.id": "hangs", "transaction.timeout.ms": 600_000})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(INPUT, partition=1, value=next(orders(1, seed=9)))
    producer.flush(30)
    send(300, seed=3)
    found = t.run("doctor", *flags, code=None).out
    t.check("orders/1: a transaction that has been open" in found and "from 1000 on cannot be judged" in found, "doctor tells of it", found)
    t.check("orders/0: a transaction" not in found, "and of no other partition", found)
    producer.commit_transaction(30)
    wait_for("what was held back is judged", lambda: is_drained(broker, [INPUT]), process=worker)
    found = t.run("doctor", *flags).out
    t.check("a transaction" not in found, "then of none", found)
    t.equal(worker.terminate(), 143, "SIGTERM ends run with 143")
    done(admin.create_partitions([NewPartitions(INPUT, 4)]))
    wait_for("the partition is there", lambda: len(admin.list_topics(INPUT, timeout=10).topics[INPUT].partitions) == 4)
    broker.produce([(INPUT, 3, b"k", line, None) for line in orders(10, seed=4)])
    found = t.run("doctor", *flags, code=1).out
    t.check("orders/3 holds records, and no epoch has taken any" in found, "doctor fails for a partition that nobody reads", found)
    worker = start()
    drop()
    ends(worker, "does not exist any more", "its topic was deleted")

    # Made anew while it is read, before anybody noticed.
    make()
    send(3000)
    worker = anew()
    done(admin.delete_topics([INPUT], operation_timeout=30))

    def made():
        # The name is free as soon as the deletion is known everywhere.
        try:
            make()
        except Exception as error:
            t.note(f"not yet: {error}")
            return False
        return True

    wait_for("the topic is made again", made, every=0.2)
    ends(worker, "made anew")


main(test)
