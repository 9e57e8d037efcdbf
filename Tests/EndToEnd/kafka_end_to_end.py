#!/usr/bin/env python3
"""The whole way on a real broker: simulate, run, tail, audit; read by kcat and confluent-kafka; poison with tombstones."""
import json
import shutil
import subprocess
import time

from support import (
    INPUT_TOPICS, OWN_TOPICS, TOPOLOGIES, Broker, check_audit, check_bodies, check_counts, check_journal, check_verdicts, is_drained, main, recorded_bytes,
    shown, wait_for)
from traffic import CODES, START, orders, poison
from waiting import LIMIT

MARKETPLACE = TOPOLOGIES / "marketplace"


def kcat(t, broker, verdicts):
    if not shutil.which("kcat"):
        t.note("skipped: kcat: not installed")
        return
    done = subprocess.run(
        ["kcat", "-b", broker.bootstrap, "-C", "-t", "weir.verdicts", "-X", "isolation.level=read_committed", "-o", "beginning", "-e", "-q",
         "-f", "%p\\t%o\\t%k\\t%h\\t%s\\n"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=LIMIT)
    t.equal(done.returncode, 0, "kcat reads weir.verdicts")
    read = {}
    for line in done.stdout.decode().splitlines():
        partition, offset, key, headers, body = line.split("\t", 4)
        read[int(partition), int(offset)] = key, dict(h.split("=", 1) for h in headers.split(",ce_") if "=" in h), body
    t.equal(len(read), len(verdicts), f"kcat sees {len(verdicts)} verdicts")
    wrong = [v for v in verdicts if read[v.partition, v.offset][0].encode() != v.key or read[v.partition, v.offset][2].encode() != v.value]
    t.check(not wrong, "with the keys and bodies that confluent-kafka sees", wrong[:1])
    t.check(all(h.get("ce_specversion", h.get("specversion")) == "1.0" for _, h, _ in read.values()), "and the CloudEvents headers",
            next(iter(read.values())))


def tail(t, log, verdicts):
    for words, wanted in ((["--json"], "JSON"), ([], "a line")):
        process = t.start("tail", *log.kind(), "--since", "1h", *words, label="tail")
        wait_for("tail --since shows the verdicts", lambda: process.out.count("\n") >= len(verdicts), process=process)
        code = process.terminate()
        t.check(code in (0, 143), "tail ends at SIGTERM", code)
        t.equal(len(process.out.splitlines()), len(verdicts), f"tail --since 1h shows {wanted} per verdict")
        if words:
            for line in process.out.splitlines():
                json.loads(line)


def silence(t, broker):
    """A broker that does not answer is no quiet night: tail says so, and when it is back."""
    process = t.start("tail", *broker.kind(), "--since", "1h", "--last", "1", label="tail")
    try:
        wait_for("tail has read what there is", lambda: process.out.count("\n") == 1, process=process)
        broker.control("pause")
        wait_for("tail tells that the broker does not answer", lambda: "gap: the log has not answered" in process.err, process=process)
    finally:
        broker.control("resume")
    wait_for("and when it is back", lambda: "the log is back after" in process.err, process=process)
    t.check(process.terminate() in (0, 143), "tail ends at SIGTERM")


def guests(t, broker):
    """Invented events do not go where others keep theirs, unless that is wanted."""
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    for future in admin.create_topics([NewTopic("billing", 1)]).values():
        future.result(30)
    before = broker.ends(INPUT_TOPICS)
    result = t.run("simulate", "--events", 100, "--kafka", broker.properties, code=3)
    t.check("billing" in result.err and "--yes" in result.err, "simulate does not write into a cluster of others", result.err)
    t.equal(broker.ends(INPUT_TOPICS), before, "and has written nothing")
    t.run("simulate", "--events", 100, "--yes", "--kafka", broker.properties)
    t.equal(sum(e for _, e in broker.ends(INPUT_TOPICS).values()) - sum(e for _, e in before.values()), 100, "with --yes it does")


def shops(t, broker):
    events = 1_000_000 if t.is_long else 60_000
    t.run("simulate", "--events", events, "--seed", 21, "--kafka", broker.properties)
    t.equal(sum(e - s for s, e in broker.ends(INPUT_TOPICS).values()), events, f"simulate put {events} events on the broker")
    start = time.monotonic()
    worker = t.start("run", "--topology", MARKETPLACE, "--kafka", broker.properties, "--threads", 2, label="run")
    wait_for("run drains the topics", lambda: is_drained(broker), every=0.3, process=worker)
    t.note(f"{events} events judged {time.monotonic() - start:.1f} s after the start of run")
    t.equal([topic for topic in OWN_TOPICS if broker.partitions(topic) == 0], [], "run made its own topics")
    t.equal(worker.terminate(), 143, "SIGTERM ends run with 143")
    t.check(not any(w in worker.err for w in ("Fatal", "weir: error", "level=error")), "and cleanly", worker.err)
    records = check_journal(t, broker)
    found = check_counts(t, broker, records, events)
    verdicts = found["weir.verdicts"]
    check_verdicts(t, verdicts, "marketplace", "weir/marketplace")
    uncommitted = broker.read("weir.verdicts", **{"isolation.level": "read_uncommitted"})
    t.equal(len(uncommitted), len(verdicts), "nothing was aborted: readers of uncommitted records see as many")
    kcat(t, broker, verdicts)
    tail(t, broker, verdicts)
    silence(t, broker)
    check_audit(t, broker, MARKETPLACE, len(verdicts))

    # Stopped and started again: goes on where it was, says nothing twice.
    worker = t.start("run", "--topology", MARKETPLACE, "--kafka", broker.properties, label="run")
    t.run("simulate", "--scenario", "honest", "--events", 5000, "--seed", 22, "--kafka", broker.properties)
    wait_for("run drains the new events", lambda: is_drained(broker), every=0.3, process=worker)
    t.equal(worker.terminate(), 143, "SIGTERM ends the second run with 143")
    records = check_journal(t, broker)
    found = check_counts(t, broker, records, events + 5000)
    t.equal([r.value for r in found["weir.verdicts"]][:0] + sorted(v.value for v in verdicts if v not in found["weir.verdicts"]), [],
            "the verdicts of the first run stand as they were")
    check_audit(t, broker, MARKETPLACE, len(found["weir.verdicts"]))
    # The second traffic begins where the first began: all of it is late.
    check_bodies(t, broker)

    # Another topology with the same inputs: refused before anybody is fenced, which leaves a tombstone in the journal, or anything is written.
    other = t.topology("other-market", base="marketplace", replacing=[("topology: marketplace", "topology: other-market")])
    before = broker.ends(OWN_TOPICS)
    for command in ("run", "audit"):
        result = t.run(command, "--topology", other, "--kafka", broker.properties, code=3)
        t.check("'marketplace'" in result.err and "'other-market'" in result.err, f"{command} of another topology: exit 3", result.err)
    t.equal(broker.ends(OWN_TOPICS), before, "and the offsets of all topics of weir are as before")
    guests(t, broker)


def roomy_topology(t, broker, name):
    """quickstart over a topic of its own with three partitions, which takes long records."""
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    for future in admin.create_topics([NewTopic("shop.orders", 3, config={"max.message.bytes": str(16 << 20)})]).values():
        future.result(30)
    return t.topology(name, replacing=[("topology: quickstart", f"topology: {name}"), ("topic: orders", "topic: shop.orders")])


def flooded(t, broker):
    """Long records in waves: once what is read ahead has been full, the process grows no further."""
    topology = roomy_topology(t, broker, "flooded")
    count = 60_000

    def wave(number, huge):
        # Each goes on in time after the last, so that windows forget what is past: late events would all be kept at the watermark.
        for n, line in enumerate(orders(count, seed=11, start=START + number * count * 2000)):
            yield "shop.orders", n % 3, b"k", line, None
            if n % (count // huge) == 0:
                yield "shop.orders", n % 3, b"huge", poison("huge", n), None

    waves = 11 if t.is_long else 5
    peaks = []
    worker = t.start("run", "--topology", topology, "--kafka", broker.properties, label="run")
    for number in range(waves):
        broker.produce(wave(number, 100), **{"compression.type": "lz4", "queue.buffering.max.kbytes": 65_536})
        wait_for("run drains the wave", lambda: is_drained(broker, ["shop.orders"]), every=0.3, process=worker)
        peaks.append(worker.peak_memory())
    t.equal(worker.terminate(), 143, "SIGTERM ends run with 143")
    journal = check_journal(t, broker, ["shop.orders"])
    t.equal(sum(r["dead_letters"] for r in journal), 100 * waves, f"{waves} waves of 100 records of 10 MiB among {count} orders: all refused")
    # Of the first waves some find the read-ahead a record or two fuller than those before.
    t.check(peaks[-1] <= peaks[0] * 1.1 + (8 << 20) + 2 * (10 << 20), f"no wave adds more than that to the first: {[p >> 20 for p in peaks]} MiB")
    t.check(peaks[-1] <= peaks[waves // 2] * 1.1 + (8 << 20), f"memory is flat: its peaks are {[p >> 20 for p in peaks]} MiB")


def poisoned(t, broker):
    """Each kind, tombstones too, among good orders of quickstart, in a topic of its own."""
    topology = roomy_topology(t, broker, "poisoned")
    each = 1000 if t.is_long else 40
    # All of it is held in memory here, so the long ones are fewer: flooded() sends more of them, and poison.py a thousand through a file.
    kinds = {kind: each for kind in CODES} | {"huge": 30 if t.is_long else 6}
    good = list(orders(20_000, seed=9))
    bad = [(kind, n) for n in range(each) for kind in kinds if n < kinds[kind]]
    records = [("shop.orders", n % 3, b"k", line, None) for n, line in enumerate(good)]
    step = len(good) // len(bad)
    for n, (kind, number) in enumerate(bad):
        records.insert(n * (step + 1), ("shop.orders", n % 3, kind.encode(), poison(kind, number), None))
    broker.produce(records)
    worker = t.start("run", "--topology", topology, "--kafka", broker.properties, label="run")
    topics = ["shop.orders"]
    wait_for("run drains the poisoned topic", lambda: is_drained(broker, topics), every=0.3, process=worker)
    t.note(f"peak memory of run with poison: {worker.peak_memory() >> 20} MiB")
    t.equal(worker.terminate(), 143, "SIGTERM ends run with 143")
    journal = check_journal(t, broker, topics)
    found = check_counts(t, broker, journal, len(records))
    source = {(r.partition, r.offset): r for r in broker.read("shop.orders")}
    letters = [json.loads(r.value) for r in found["weir.dead-letters"]]
    t.equal(len(letters), len(bad), f"{len(bad)} bad records of {len(kinds)} kinds, each once in weir.dead-letters")
    places = [(l["partition"], l["offset"]) for l in letters]
    t.equal(sorted(places), sorted(p for p, r in source.items() if r.key != b"k"), "each with its topic, partition and offset")
    for letter, record in zip(letters, found["weir.dead-letters"]):
        origin = source[letter["partition"], letter["offset"]]
        kind = origin.key.decode()
        if letter["code"] != CODES[kind]:
            t.equal(letter["code"], CODES[kind], f"code of {kind}")
        if record.key.decode() != f"shop.orders/{letter['partition']}/{letter['offset']}" or letter["topic"] != "shop.orders":
            t.check(False, f"key of {kind}", record.key)
        kept = recorded_bytes(letter)
        whole = kept == origin.value if not letter.get("record_truncated") else (
            origin.value.startswith(kept) and letter["record_bytes"] == len(origin.value))
        if not whole:
            t.check(False, f"bytes of {kind}", shown(str(letter), 300))
    t.ok("each with its code, key and bytes; tombstones with null")
    # Of quickstart, which has no detector.
    check_bodies(t, broker, rings=False)
    # The good ones are judged as a replay of the good ones alone judges them, but for where they lie.
    check_audit(t, broker, topology)


def test(t):
    with Broker(t.folder) as broker:
        shops(t, broker)
    with Broker(t.folder) as broker:
        poisoned(t, broker)
    with Broker(t.folder) as broker:
        flooded(t, broker)


main(test)
