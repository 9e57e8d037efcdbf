#!/usr/bin/env python3
"""Snapshots on a real broker: killed while saving, inputs gone from before the newest, a disk that takes nothing; nothing is lost by it."""
import json
import os
import resource
import time

from support import Background, Broker, Embedded, is_drained, journal, main, wait_for
from traffic import orders

INPUT = "orders"
KILLS = 4
PART = 8_000


class Kept:
    """A worker that keeps its state every second, and what its folder and its metrics say."""

    def __init__(self, t, broker, topology):
        self.t, self.state = t, t.folder / "kept"
        self.metrics = t.folder / "run.prom"
        self.broker = broker
        self.flags = ["--topology", topology, *broker.kind(), "--state", self.state]

    def start(self):
        # A limit on the size of files is then an error of write, as a full disk is, and no signal.
        worker = Background(
            ["sh", "-c", 'trap "" XFSZ; exec "$@"', "sh", self.t.weir, "run", *self.flags, "--snapshot-every", "1",
             "--metrics", self.metrics], self.t.folder, f"run-{len(self.t.processes)}")
        self.t.processes.append(worker)
        wait_for("run is ready", lambda: "msg=ready" in worker.err, process=worker)
        return worker

    def names(self):
        try:
            return os.listdir(self.state / "snapshots")
        except FileNotFoundError:
            return []

    def list(self):
        out = self.t.run("state", "ls", "--state", self.state, "--json").out
        return [json.loads(line) for line in out.splitlines()]

    def metric(self, name):
        text = self.metrics.read_text() if self.metrics.exists() else ""
        return next((float(line.split()[-1]) for line in text.splitlines() if line.startswith(f"{name}{{")), None)


def verdicts(log):
    """By its id, what is said of each event; an id that stands twice is a fault."""
    said = {}
    for record in log.read("weir.verdicts"):
        if record.value is None:
            continue
        verdict = json.loads(record.value)
        if said.setdefault(verdict["verdict_id"], verdict) is not verdict:
            raise AssertionError(f"{verdict['verdict_id']} stands twice")
    return said


def test(t):
    with Broker(t.folder) as broker:
        kafka(t, broker)


def kafka(t, broker):
    from confluent_kafka import TopicPartition
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    for future in admin.create_topics([NewTopic(INPUT, 1, config={"retention.ms": "-1"})]).values():
        future.result(30)
    wait_for(f"{INPUT} is there", lambda: INPUT in admin.list_topics(timeout=10).topics)
    topology = t.topology("kept-state")
    events = list(orders(PART * (KILLS + 2) + 4000, accounts=20_000))
    sent = 0

    def send(count):
        nonlocal sent
        broker.produce([(INPUT, 0, b"k", line, None) for line in events[sent:sent + count]])
        sent += count

    kept = Kept(t, broker, topology)
    left = 0
    for _ in range(KILLS):
        worker = kept.start()
        there = set(kept.names())
        send(PART)

        def is_kept_once():
            send(20)
            return any(name.endswith(".snapshot") and name not in there for name in kept.names())

        def is_saving():
            # A save is over in a moment: looked for without a pause in between.
            end = time.monotonic() + 0.5
            while time.monotonic() < end:
                if any(name.endswith(".new") for name in kept.names()):
                    return True
            send(20)
            return False

        wait_for("a snapshot is kept", is_kept_once, process=worker)
        wait_for("a snapshot is being saved", is_saving, every=0, process=worker)
        worker.kill()
        left += any(name.endswith(".new") for name in kept.names())
    t.ok(f"{KILLS} workers were killed while they saved, {left} of them before the file had its name")

    whole = [entry for entry in kept.list() if entry["whole"]]
    t.check(whole and all(entry["whole"] for entry in kept.list()), "no half snapshot has a name", kept.list())
    newest = whole[0]
    position = newest["positions"][0][2]
    for future in admin.delete_records([TopicPartition(INPUT, 0, position)]).values():
        future.result(30)
    found = t.run("state", "verify", *kept.flags, "--json", code=None)
    fits = {entry["epoch"]: entry["ok"] for entry in map(json.loads, found.out.splitlines())}
    t.equal(fits, {entry["epoch"]: entry is newest for entry in whole}, "verify knows that the inputs suffice for the newest alone")
    t.equal(found.code, 7 if len(whole) > 1 else 0, "and its exit code says so")

    worker = kept.start()
    t.check(f"going on from a snapshot\" epoch={newest['epoch']} " in worker.err, "a start goes on from the newest", worker.err)
    send(PART)
    wait_for("the inputs are judged", lambda: is_drained(broker, [INPUT]), process=worker)

    # The disk is full.
    before = [entry["epoch"] for entry in kept.list()]
    resource.prlimit(worker.process.pid, resource.RLIMIT_FSIZE, (64 << 10, resource.RLIM_INFINITY))

    def has_failed():
        send(20)
        return (kept.metric("weir_snapshot_failures_total") or 0) >= 1

    wait_for("the failure is counted", has_failed, every=0.5, process=worker)
    t.check("the state could not be kept" in worker.err and "File too large" in worker.err, "and said", worker.err)
    names = kept.names()
    t.check(not any(name.endswith(".new") for name in names), "what could not be saved does not stay", names)
    t.check({entry["epoch"] for entry in kept.list() if entry["whole"]} & set(before), "older snapshots stay whole", names)
    resource.prlimit(worker.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    def is_kept():
        send(20)
        return kept.list()[0]["epoch"] > before[0]

    wait_for("with room the state is kept again", is_kept, every=0.5, process=worker)
    send(len(events) - sent)
    wait_for("the inputs are judged", lambda: is_drained(broker, [INPUT]), process=worker)
    t.equal(worker.terminate(), 143, "SIGTERM ends run with 143")

    records = journal(broker)
    t.equal([r["epoch"] for r in records], list(range(len(records))), f"epochs 0 to {len(records) - 1} without a gap")
    reached = 0
    for record in records:
        for _, _, start, to, *_ in record["ranges"]:
            if start != reached:
                t.equal(start, reached, f"epoch {record['epoch']} goes on where the one before ended")
            reached = to
    t.equal(reached, len(events), "each input is judged once")
    said = verdicts(broker)

    # What one worker says that was never disturbed.
    shop = Embedded(t.folder / "shop.db")
    source = t.folder / "orders.jsonl"
    source.write_bytes(b"\n".join(events))
    t.run("load", "--topology", topology, *shop.kind(), "--input", source)
    alone = t.start("run", "--topology", topology, *shop.kind(), "--snapshot-every", "0")
    wait_for("the other judges all", lambda: is_drained(shop, [INPUT]), process=alone)
    t.equal(alone.terminate(), 143, "SIGTERM ends it with 143")
    expected = verdicts(shop)
    t.check(len(expected) > 100, f"{len(expected)} verdicts of one that was never disturbed")
    different = [name for name in expected if said.get(name) != expected[name]]
    t.check(said.keys() == expected.keys() and not different, "the killed ones said the same, each once",
            f"{len(said)} verdicts, {len(different)} different: {[(said.get(n), expected[n]) for n in different[:1]]}")


main(test)
