#!/usr/bin/env python3
"""Event time on a real broker: partitions that wake with a backlog, clocks that are wrong, and the broker's own clock as the event time.

What Python computes from the records and their timestamps is held against journal, metrics, verdicts and audit.
"""
import datetime
import json
import re
import shlex
import time

from shop import Shop, administer, aligned, alter, create, sums
from support import (
    Broker, Skipped, check_audit, check_bodies, check_counts, check_journal, check_verdicts, fail, journal, main, need, objects, wait_for)

SECOND, MINUTE, HOUR, DAY = 1000, 60_000, 3_600_000, 86_400_000
BASE = 1_772_618_400_000
SUBJECT = "    subject: account\n"
# Every event has a verdict, which shows the time that rules see.
TOLD = SUBJECT + "    emit: all\n    context: [ts]\n"


def milliseconds(text):
    return round(datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1000)


def order(name, time, account, amount=35):
    return json.dumps({"id": name, "ts": time, "account": account, "amount": amount}).encode()


def type_command(broker, line):
    """Does what a line of kafka-topics.sh or kafka-configs.sh says."""
    words = shlex.split(line)
    given = {}
    for name, value in zip(words, words[1:]):
        if name.startswith("--"):
            given.setdefault(name, []).append(value)
    if given["--bootstrap-server"] != [broker.bootstrap]:
        fail(f"a command for another broker: {line}")
    if words[0] == "kafka-topics.sh":
        create(broker, given["--topic"][0], int(given["--partitions"][0]), **dict(c.split("=", 1) for c in given["--config"]))
    else:
        alter(broker, given["--entity-name"][0], dict(c.split("=", 1) for c in given["--add-config"][0].split(",")))


def commands(program, text):
    """The lines of a program of Kafka's that a message says to type."""
    return re.findall(rf"kafka-{program}\.sh[^\n;]*", text)


# A partition that wakes.

def begin(producer, values):
    """Begins a transaction and brings these to the broker."""
    producer.begin_transaction()
    for value in values:
        producer.produce("orders", value=value, partition=1)
    if producer.flush(60):
        fail("the transaction's records do not reach the broker")


def wakes(t):
    """One partition goes on; the other's producer is down, then leaves a transaction open; then there are more of them."""
    topology = t.topology("wakes", replacing=[
        (SUBJECT, TOLD), ("topology: quickstart", "topology: wakes\ntime: { lateness: 1m, idle: 1s }")])
    with Broker(t.folder) as broker:
        # So often clients ask which partitions there are; every five minutes, where nobody says more.
        broker.properties.write_text(broker.properties.read_text() + "topic.metadata.refresh.interval.ms=2000\n")
        create(broker, "orders", 2)
        shop = Shop(t, broker, topology)
        front, sent = BASE, {0: [], 1: [], 2: [], 3: []}

        def send(partition, values):
            sent[partition] += values
            shop.send("orders", partition, values)

        def go_on(milliseconds):
            """The first partition goes on for so long in event time, and then until nobody holds the watermark back."""
            nonlocal front
            end = front + milliseconds
            steps = range(front, end, SECOND)
            send(0, [order(f"a{at}", at, f"a{at // SECOND % 9}") for at in steps])
            front = end

            def is_passed():
                nonlocal front
                send(0, [order(f"a{front}", front, f"a{front // SECOND % 9}")])
                front += SECOND
                return shop.watermark() >= end - MINUTE
            wait_for("the watermark goes on without the partition that is silent", is_passed, every=0.2, process=shop.worker)

        def backlog(letter, count, begin, end, accounts=40):
            return [order(f"{letter}{n}", begin + (end - begin) * n // count, f"{letter}{n % accounts}") for n in range(count)]

        def check_woken(what, before, partition):
            shop.await_judged(what)
            records = journal(broker)[before:]
            t.equal(sums(records)["late"], 0, f"{what}: nothing is late")
            t.equal(aligned(records), {("orders", partition)}, "and the journal names the partition that was aligned")

        # Its producer is down for an hour.
        shop.start()
        send(1, backlog("b", 60, BASE, BASE + MINUTE))
        go_on(HOUR)
        before = len(journal(broker))
        send(1, backlog("c", 2000, BASE + 11 * MINUTE, front - 2 * MINUTE))
        check_woken("the backlog of a producer that was down", before, 1)

        # It leaves a transaction open for the next hour; one more is given up.
        began, before = front, len(journal(broker))
        producer = broker.producer(**{"transactional.id": "shop", "transaction.timeout.ms": 900_000})
        producer.init_transactions(60)
        begin(producer, [order(f"never{n}", began, "never") for n in range(50)])
        producer.abort_transaction(60)
        kept = backlog("d", 1000, began + 11 * MINUTE, began + 50 * MINUTE)
        begin(producer, kept)
        go_on(HOUR)
        t.equal(aligned(journal(broker)[before:]), set(), "a transaction that is open holds nobody back")
        producer.commit_transaction(60)
        del producer
        sent[1] += kept
        shop.sent += len(kept)
        check_woken("what a transaction held back until its commit", before, 1)

        # A partition is added while it runs, and one while nobody does.
        from confluent_kafka.admin import NewPartitions

        for partition, letter in ((2, "e"), (3, "g")):
            if partition == 3:
                shop.stop()
            administer(broker, lambda client: client.create_partitions([NewPartitions("orders", partition + 1)]))
            wait_for("the topic has one more partition", lambda: broker.partitions("orders") == partition + 1)
            before = len(journal(broker))
            send(partition, backlog(letter, 1000, BASE + 30 * MINUTE, front - 5 * MINUTE))
            if partition == 3:
                result = t.run("doctor", "--topology", topology, *broker.kind(), code=1)
                t.check("orders/3 holds records, and no epoch has taken any" in result.out, "doctor tells of one that nobody reads", result.out)
                shop.start()
            check_woken("the backlog of a partition that was added", before, partition)
            go_on(5 * MINUTE)

        # All have caught up: from here on one is late like any other.
        for partition in (1, 2, 3):
            send(partition, [order(f"f{partition}-{n}", front + n, f"f{partition}") for n in range(20)])
        go_on(MINUTE)
        before = len(journal(broker))
        send(1, [order("late", front - HOUR, "late")])
        shop.await_judged("an event of an hour ago")
        # Behind the transaction's marker, so that the journal comes to the end of the partition.
        send(1, [order("last", front, "last")])
        shop.await_judged("the last one")
        t.equal(sums(journal(broker)[before:])["late"], 1, "a partition that is awake is late with an event of an hour ago")
        shop.stop()

        records = check_journal(t, broker, ["orders"])
        t.equal(sums(records), {"events": shop.sent, "late": 1, "early": 0, "set_aside": 0, "dead_letters": 0}, "the journal counts what was sent")
        verdicts = broker.read("weir.verdicts")
        check_verdicts(t, verdicts, "wakes", "weir/wakes")
        bodies = {(body := json.loads(v.value))["event"]["id"]: body for v in verdicts}
        t.equal(len(bodies), shop.sent, "each event has one verdict, and those that were given up have none")
        late = bodies.pop("late")
        mark = next(r["watermark"] for v, r in ((v, r) for v in verdicts if b'"id":"late"' in v.value for r in records)
                    if dict(v.headers)["ce_epoch"] == str(r["epoch"]).encode())
        t.equal((milliseconds(late["event"]["late"]), milliseconds(late["event"]["time"])), (time_of(sent, "late"), mark),
                "its verdict names the time as it was written, and was given at the watermark")
        behind = shop.count("weir_aligned_events_total", topic="orders")
        t.check(4000 < behind <= 5000, f"metrics: {behind} events were aligned", behind)
        t.equal([shop.count("weir_late_events_total", topic="orders", handled=h) for h in ("judged", "set_aside")], [1, 0], "metrics: one was late")
        check_audit(t, broker, topology, shop.sent)

        compare_in_order(t, topology, sent, bodies)


def compare_in_order(t, topology, sent, bodies):
    """Holds verdicts against those of a replay of the same events in order from files, in which nobody waited for anybody."""
    words = []
    for partition, values in sent.items():
        file = t.folder / f"{partition}.jsonl"
        file.write_bytes(b"".join(value + b"\n" for value in values if b'"late"' not in value))
        words += ["--input", f"orders={file}"]
    t.run("replay", "--topology", topology, *words, "--output", t.folder / "in-order.jsonl")
    in_order = {body["event"]["id"]: body for body in objects(t.folder / "in-order.jsonl")}
    for body in [*bodies.values(), *in_order.values()]:
        # Between the offsets of one transactions leave gaps.
        del body["verdict_id"], body["event"]["offset"]
    flagged = sum(body["decision"] == "review" for body in in_order.values())
    t.check(flagged > 1000, f"the rule speaks about {flagged} of them", flagged)
    t.check(bodies == in_order, "all others have the verdicts of a replay in order, byte for byte",
            [(bodies[k], in_order.get(k)) for k in bodies if bodies[k] != in_order.get(k)][:1])


def time_of(sent, name):
    """The time that an event was sent with."""
    return next(body["ts"] for values in sent.values() for body in map(json.loads, values) if body["id"] == name)


# Clocks.

BEATS = """  click:
    topic: clicks
    time: ts
    id: id
    subject: account
    emit: all
    context: [ts]
    fields:
      id: string
      ts: { type: timestamp, format: ms }
      account: { type: string, entity: account }
  beat:
    topic: beats
    time: append
    id: id
    subject: account
    emit: all
    fields:
      id: string
      account: { type: string, entity: account }
"""


def clocks(t):
    """Three topics: one keeps its producers' time, one the broker's, and of one the broker's is the event time."""
    topology = t.topology("clocks", replacing=[
        (SUBJECT, TOLD), ("topology: quickstart", "topology: clocks\ntime: { lateness: 1m, idle: 1d, future: 1h }")])
    (topology / "topology.yaml").write_text((topology / "topology.yaml").read_text() + BEATS)
    with Broker(t.folder) as broker:
        create(broker, "orders", 1, **{"message.timestamp.type": "CreateTime"})
        create(broker, "clicks", 1, **{"message.timestamp.type": "LogAppendTime"})
        refusals(t, broker, topology)
        shop = Shop(t, broker, topology)
        beats = broker.partitions("beats")

        def now():
            return int(time.time() * 1000)

        def click(name, at):
            return json.dumps({"id": name, "ts": at, "account": f"{name[:1]}{len(name)}"}).encode()

        def round_of(name):
            """Each partition comes to the present."""
            at = now()
            shop.send("orders", 0, [order(f"{name}{n}", at - (50 - n) * SECOND, f"o{n % 5}") for n in range(50)])
            shop.send("clicks", 0, [click(f"{name}{n}", at - (50 - n) * SECOND) for n in range(50)])
            for partition in range(beats):
                shop.send("beats", partition, [json.dumps({"id": f"{name}{partition}-{n}", "account": f"b{n % 7}"}).encode() for n in range(50)])
            shop.await_judged(f"the round {name}")

        shop.start()
        round_of("first")
        # A day ahead by their clients' clocks; and one within the bound.
        ahead = {f"ahead{n}": now() + DAY + n for n in range(3)}
        shop.send("clicks", 0, [click(name, at) for name, at in ahead.items()] + [click("near", now() + HOUR - 10 * MINUTE)])
        shop.send("orders", 0, [order(name, at, "ahead") for name, at in ahead.items()])
        round_of("second")
        round_of("third")
        t.equal(sums(journal(broker))["late"], 0, "clocks that are a day ahead make nobody late")
        old = {"old1": now() - HOUR, "old2": now() - 2 * HOUR}
        shop.send("orders", 0, [order(name, at, "old") for name, at in old.items()])
        shop.send("clicks", 0, [click("old1", old["old1"])])
        shop.await_judged("what is late")
        shop.stop()

        def check():
            records = check_journal(t, broker, ["orders", "clicks", "beats"])
            found = check_counts(t, broker, records, shop.sent)
            check_audit(t, broker, topology, len(found["weir.verdicts"]))
            check_verdicts(t, found["weir.verdicts"], "clocks", "weir/clocks")
            check_bodies(t, broker, rings=False)
            return records, found

        records, found = check()
        t.equal(sums(records), {"events": shop.sent, "late": 3, "early": 3, "set_aside": 0, "dead_letters": 0}, "the journal counts late and early")
        told, early, late = read_times(broker, records, found["weir.verdicts"])
        t.ok(f"{beats * 150} events have the broker's time of their record")
        t.equal(early, {("clicks", name): at for name, at in ahead.items()},
                "those far ahead are early where the broker tells when it took them, and are judged then")
        t.equal([milliseconds(told["orders", name]["time"]) for name in ahead], list(ahead.values()), "elsewhere they are judged at their own time")
        t.equal(late, {("orders", "old1"): old["old1"], ("orders", "old2"): old["old2"], ("clicks", "old1"): old["old1"]},
                "those behind the watermark are late and judged there")
        for topic, figures in {"orders": (2, 0, 0, 0), "clicks": (1, 0, 3, 0), "beats": (0, 0, 0, 0)}.items():
            t.equal((shop.count("weir_late_events_total", topic=topic, handled="judged"),
                     shop.count("weir_late_events_total", topic=topic, handled="set_aside"),
                     shop.count("weir_early_events_total", topic=topic), shop.count("weir_aligned_events_total", topic=topic)), figures,
                    f"metrics of {topic}: late, set aside, early, aligned")

        # Another worker rebuilds its state from these records; meanwhile somebody changes the topic.
        shop.start()
        round_of("fourth")
        alter(broker, "beats", {"message.timestamp.type": "CreateTime"})
        n = 0

        def is_without():
            nonlocal n
            n += 1
            shop.send("beats", 0, [json.dumps({"id": f"own{n}", "account": "own"}).encode()])
            return any(r.timestamp[0] == 1 for r in broker.read("beats"))
        wait_for("the broker keeps producers' times", is_without, process=shop.worker)
        shop.await_judged("what came then")
        shop.stop()
        _, found = check()
        without = sum(r.timestamp[0] == 1 for r in broker.read("beats"))
        letters = [json.loads(r.value) for r in found["weir.dead-letters"]]
        t.equal([(l["topic"], l["code"]) for l in letters], [("beats", "missing_append_time")] * without, f"{without} records without the broker's time are dead")
        t.equal(shop.count("weir_dlq_records_total", topic="beats", code="missing_append_time"), without, "and counted")
        ends = broker.ends(["weir.journal", "weir.verdicts", "weir.dead-letters"])
        refused(t, broker, topology)
        t.equal(broker.ends(["weir.journal", "weir.verdicts", "weir.dead-letters"]), ends, "and nothing is judged")


def read_times(broker, records, verdicts):
    """By topic and id the event of each verdict, and the written times of those that are early or late, each held against broker and journal."""
    appended = {(r.topic, r.partition, r.offset): r.timestamp for topic in ("orders", "clicks", "beats") for r in broker.read(topic)}
    marks = {str(r["epoch"]): r.get("watermark") for r in records}
    told, early, late = {}, {}, {}
    for verdict in verdicts:
        event = json.loads(verdict.value)["event"]
        kind, stamp = appended[event["topic"], event["partition"], event["offset"]]
        at, name = milliseconds(event["time"]), (event["topic"], event["id"])
        told[name] = event
        if event["topic"] == "beats" and (kind, stamp) != (2, at):
            fail(f"{name} is judged at {at}, and the broker took it at {stamp} (type {kind})")
        if "early" in event:
            early[name] = milliseconds(event["early"])
            if (kind, at, milliseconds(event["context"]["ts"])) != (2, stamp, stamp):
                fail(f"{name} is early, and judged at {at} instead of {stamp}: {event}")
        if "late" in event:
            late[name] = milliseconds(event["late"])
            mark = marks[dict(verdict.headers)["ce_epoch"].decode()]
            if (at, milliseconds(event["context"]["ts"])) != (mark, mark):
                fail(f"{name} is late, and judged at {at} instead of the watermark {mark}: {event}")
    return told, early, late


def refused(t, broker, topology):
    """What run and doctor say of a topic that keeps its producers' times; returns the lines to type."""
    mended = []
    for command in ("run", "doctor"):
        result = t.run(command, "--topology", topology, *broker.kind(), code=3)
        said = result.err + result.out
        t.check("'beats'" in said and "message.timestamp.type=CreateTime" in said and "`time: append`" in said,
                f"{command} refuses a topic that keeps its producers' times: it names topic, setting and key, exit 3", said)
        lines = [line for line in commands("configs", said) if "--entity-name beats " in line and "LogAppendTime" in line]
        t.equal(len(lines), 1, "with the line to type")
        mended += lines
    t.equal(mended[0], mended[1], "the same one")
    return mended[:1]


def refusals(t, broker, topology):
    """Neither run nor doctor has anything to do with such a topic before it is as it should be, and what they say to type makes it so."""
    for command in ("doctor", "run"):
        result = t.run(command, "--topology", topology, *broker.kind(), code=3)
        lines = commands("topics", result.err + result.out)
        t.check(len(lines) == 1 and "--topic beats" in lines[0] and "message.timestamp.type=LogAppendTime" in lines[0],
                f"{command} says how to make the missing topic so that it has append times", lines)
    type_command(broker, lines[0])
    wait_for("the topic is there", lambda: broker.partitions("beats"))
    alter(broker, "beats", {"message.timestamp.type": "CreateTime"})

    def settings():
        from confluent_kafka.admin import ConfigResource, ResourceType

        found, = administer(broker, lambda client: client.describe_configs([ConfigResource(ResourceType.TOPIC, "beats")]))
        return found["message.timestamp.type"].value
    wait_for("the topic keeps producers' times", lambda: settings() == "CreateTime")
    line, = refused(t, broker, topology)
    t.equal(broker.partitions("weir.journal"), 0, "before anything of weir is made")
    type_command(broker, line)
    wait_for("the line was typed", lambda: settings() == "LogAppendTime")
    result = t.run("doctor", "--topology", topology, *broker.kind())
    told = [line for line in result.out.splitlines() if "keeps its producers' times" in line]
    t.check(len(told) == 1 and " orders " in told[0], "then doctor has nothing to say of it, and warns of the one whose clients' clocks nobody can check",
            result.out)


# Without the right to look.

def forbidden(t):
    """Who may not see how a topic keeps time is told which right is missing, and nothing is judged by guess."""
    from confluent_kafka.admin import AclBinding, AclOperation, AclPermissionType, NewTopic, ResourcePatternType, ResourceType

    topology = t.topology("forbidden", replacing=[("time: ts", "time: append"), ("      ts: { type: timestamp, format: ms }\n", "")])
    log_in = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN"}
    try:
        broker = Broker(t.folder, "--sasl", "--acl")
    except Skipped as reason:
        t.note(f"skipped: a missing right: {reason}")
        return
    with broker:
        as_admin = {**log_in, "sasl.username": "admin", "sasl.password": "admin-secret"}
        file = t.folder / "weir.properties"
        settings = {"bootstrap.servers": broker.bootstrap, **log_in, "sasl.username": "weir", "sasl.password": "weir-secret"}
        file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        administer(broker, lambda client: client.create_topics([NewTopic("orders", 1, config={"message.timestamp.type": "CreateTime"})]), **as_admin)

        def grant(*operations):
            wanted = [AclBinding(ResourceType.TOPIC, name, kind, "User:weir", "*", operation, AclPermissionType.ALLOW)
                      for name, kind in (("orders", ResourcePatternType.LITERAL), ("weir.", ResourcePatternType.PREFIXED))
                      for operation in operations]
            administer(broker, lambda client: client.create_acls(wanted), **as_admin)

        def codes():
            return {command: t.run(command, "--topology", topology, "--kafka", file, code=None) for command in ("run", "doctor")}
        grant(AclOperation.READ, AclOperation.DESCRIBE)
        found = wait_for("rights to read are in force", lambda: (c := codes()) and all("DescribeConfigs" in r.err + r.out for r in c.values()) and c)
        t.equal([result.code for result in found.values()], [6, 6], "without the right to see how a topic keeps time run and doctor end with exit 6")
        for command, result in found.items():
            told = [line for line in (result.err + result.out).splitlines() if "orders" in line and "DescribeConfigs" in line]
            t.check(told and not any("Read and Describe" in line for line in told), f"{command} names the right and the topic", told or result.err + result.out)
        grant(AclOperation.DESCRIBE_CONFIGS)
        found = wait_for("the right is in force", lambda: (c := codes()) and all(r.code == 3 for r in c.values()) and c)
        t.check(all("message.timestamp.type=CreateTime" in r.err + r.out for r in found.values()), "with it they say what is wrong, exit 3", found)


# Set aside.

def aside(t):
    """Where the topology says so, late events are not judged, and lie in a topic of their own."""
    topology = t.topology("aside", replacing=[
        (SUBJECT, TOLD), ("topology: quickstart", "topology: aside\ntime: { lateness: 1m, idle: 1d, late: set_aside }")])
    with Broker(t.folder) as broker:
        create(broker, "orders", 1)
        shop = Shop(t, broker, topology)
        shop.start()
        shop.send("orders", 0, [order(f"o{n}", BASE + n * SECOND, f"a{n % 5}") for n in range(600)])
        shop.await_judged("what is in time")
        shop.send("orders", 0, [order(f"late{n}", BASE + n, "late") for n in range(7)])
        shop.await_judged("what is late")
        shop.stop()
        records = check_journal(t, broker, ["orders"])
        t.equal(sums(records), {"events": 600, "late": 0, "early": 0, "set_aside": 7, "dead_letters": 0}, "seven are set aside")
        found = check_counts(t, broker, records, shop.sent)
        t.equal([json.loads(r.value)["id"] for r in found["weir.late"]], [f"late{n}" for n in range(7)], "these")
        t.equal([shop.count("weir_late_events_total", topic="orders", handled=h) for h in ("judged", "set_aside")], [0, 7], "and counted so")
        check_bodies(t, broker, rings=False)
        check_audit(t, broker, topology, 600)


def test(t):
    need("confluent_kafka")
    wakes(t)
    clocks(t)
    forbidden(t)
    aside(t)


main(test)
