#!/usr/bin/env python3
"""A journal that lost its end or everything, or whose topic would lose it: nothing is said again unless somebody asks for it."""
import json
from collections import Counter

from support import Broker, Embedded, check_audit, check_counts, check_journal, is_drained, journal, main, wait_for
from traffic import orders

INPUT = "orders"


def judge(t, log, topology, *words, warned=False):
    """Runs until all inputs are judged, and returns how often each verdict stands in the log; `warned`: the flag did nothing."""
    worker = t.start("run", "--topology", topology, *log.kind(), *words, label="run")
    try:
        wait_for("run is ready", lambda: "ready" in worker.err, process=worker)
        wait_for("run drains the orders", lambda: is_drained(log, [INPUT]), process=worker)
        t.equal(worker.terminate(), 143, "SIGTERM ends run with 143")
        t.equal("take --start-anew away" in worker.err, warned, "the flag is warned of where it does nothing, and only there")
    finally:
        worker.kill()
    return said(log)


def said(log):
    return Counter(json.loads(r.value)["verdict_id"] for r in log.read("weir.verdicts") if r.value is not None)


def refused(t, log, topology, code, *words, flags=()):
    before = said(log)
    result = t.run("run", "--topology", topology, *log.kind(), *flags, code=code)
    for word in words:
        t.check(word in result.err, f"exit {code} names {word}", result.err)
    t.equal(said(log), before, "and nothing is said")


def anew(t, log, topology, once):
    """Starts with an empty journal when told to."""
    refused(t, log, topology, 7, "the journal is empty", "--start-anew")
    found = t.run("doctor", "--topology", topology, *log.kind(), code=7).out
    t.check("the journal is empty, but offset" in found, "doctor says so too", found)
    twice = judge(t, log, topology, "--start-anew")
    t.equal(twice, Counter({name: 2 for name in once}), "with --start-anew each verdict is said once more, under its id")
    records = journal(log)
    t.equal([r["epoch"] for r in records], list(range(len(records))), "and the journal begins with epoch 0")
    # Who leaves the flag where it is, as in a unit file, would never be told of a journal lost later.
    t.equal(judge(t, log, topology, "--start-anew", warned=True), twice, "with the flag left on nothing is said again")
    # The next start is an ordinary one.
    t.equal(judge(t, log, topology), twice, "a start after that says nothing again")


def embedded(t):
    topology = t.topology("lost-file")
    log = Embedded(t.folder / "shop.db")
    source = t.folder / "orders.jsonl"
    source.write_bytes(b"\n".join(orders(20_000)))
    t.run("load", "--topology", topology, *log.kind(), "--input", source)
    once = judge(t, log, topology)
    t.check(len(once) > 100 and set(once.values()) == {1}, f"{len(once)} verdicts, each once")
    records = journal(log)
    check_audit(t, log, topology)
    with log.connect() as db:
        name, = db.execute("SELECT id FROM partitions WHERE topic = 'weir.journal'").fetchone()
        last, = db.execute(f"SELECT max(offset) FROM records_{name}").fetchone()
        db.execute(f"DELETE FROM records_{name} WHERE offset > {last // 2}")
        db.execute(f"UPDATE partitions SET next = {last // 2 + 1} WHERE id = {name}")
        db.commit()
    kept = len(journal(log))
    t.check(0 < kept < len(records), f"{kept} of {len(records)} epochs are left")
    for flags in ((), ("--start-anew",)):
        refused(t, log, topology, 7, "has lost its end", f"its last epoch is {kept - 1}", flags=flags)
    with log.connect() as db:
        db.execute(f"DELETE FROM records_{name}")
        db.execute(f"UPDATE partitions SET start = 0, next = 0 WHERE id = {name}")
        db.commit()
    anew(t, log, topology, once)


def kafka(t, broker):
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": broker.bootstrap})

    def make(name, partitions, **config):
        for future in admin.create_topics([NewTopic(name, partitions, config=config)]).values():
            future.result(30)
        wait_for(f"{name} is there", lambda: name in admin.list_topics(timeout=10).topics)

    def drop(name):
        for future in admin.delete_topics([name], operation_timeout=30).values():
            future.result(30)
        wait_for(f"{name} is gone", lambda: name not in admin.list_topics(timeout=10).topics)

    topology = t.topology("lost-topic")
    make(INPUT, 3)
    broker.produce([(INPUT, n % 3, b"k", line, None) for n, line in enumerate(orders(20_000))])
    # As an administrator makes topics, or a broker that makes them by itself.
    make("weir.journal", 3, **{"retention.ms": "-1"})
    refused(t, broker, topology, 3, "weir.journal has 3 partitions")
    drop("weir.journal")
    make("weir.journal", 1, **{"cleanup.policy": "compact"})
    refused(t, broker, topology, 3, "cleanup.policy=compact", "kafka-configs.sh", "retention.ms=-1")
    drop("weir.journal")
    once = judge(t, broker, topology)
    t.check(len(once) > 100 and set(once.values()) == {1}, f"{len(once)} verdicts, each once")
    check_counts(t, broker, check_journal(t, broker, [INPUT]), 20_000)
    check_audit(t, broker, topology)
    drop("weir.journal")
    anew(t, broker, topology, once)


def test(t):
    embedded(t)
    with Broker(t.folder) as broker:
        kafka(t, broker)


main(test)
