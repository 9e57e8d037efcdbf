#!/usr/bin/env python3
"""One event type from the topics that a pattern means: on a real broker, where another one comes in between, and in files."""
import json

from support import Broker, check_audit, check_counts, check_journal, is_drained, main, objects, wait_for
from traffic import orders


def test(t):
    from confluent_kafka.admin import AdminClient, NewTopic

    pattern = t.topology("mirrored", replacing=[("topic: orders", 'topic: "*.orders"')])
    parts = {"eu.orders": [], "us.orders": [], "ap.orders": []}
    for n, line in enumerate(orders(30_000)):
        parts[list(parts)[n % 3]].append(line)
    with Broker(t.folder) as broker:
        admin = AdminClient({"bootstrap.servers": broker.bootstrap})

        def fill(*names):
            for future in admin.create_topics([NewTopic(name, 1) for name in names]).values():
                future.result(30)
            broker.produce([(name, 0, b"k", line, None) for name in names for line in parts.get(name, [])])

        def judge(*names):
            worker = t.start("run", "--topology", pattern, *broker.kind(), label="run")
            try:
                wait_for("run is ready", lambda: "ready" in worker.err, process=worker)
                wait_for("run drains the topics", lambda: is_drained(broker, names), process=worker)
                t.equal(worker.terminate(), 143, "SIGTERM ends run with 143")
            finally:
                worker.kill()

        # Names that are near.
        fill("orders", "eu.orders.old")
        for words, code in ((["run"], 3), (["audit"], 3), (["doctor"], 3)):
            result = t.run(*words, "--topology", pattern, *broker.kind(), code=code)
            t.check("is named like '*.orders'" in result.out + result.err, f"{words[0]} without such a topic: exit {code}", result.err)
            t.check("--topic *" not in result.out + result.err, "and nobody is told to make a topic of that name")
        fill("eu.orders", "us.orders")
        judge("eu.orders", "us.orders")
        fill("ap.orders")
        judge(*parts)
        check_counts(t, broker, check_journal(t, broker, list(parts)), 30_000)
        check_audit(t, broker, pattern)
        told = t.run("doctor", "--topology", pattern, *broker.kind(), code=None).out
        t.check("3 topics" in told, "doctor counts them", told)
        said = [json.loads(r.value) for r in broker.read("weir.verdicts")]
    t.equal({v["event"]["topic"] for v in said}, set(parts), "there are verdicts on events of each topic")

    # The same by name in files, in one go: ids are of topic, partition and offset.
    inputs = []
    for name, lines in parts.items():
        path = t.folder / f"{name}.jsonl"
        path.write_bytes(b"".join(line + b"\n" for line in lines))
        inputs += ["--input", f"{name}={path}"]
    t.check("dead letters  none" in t.run("check", pattern, "--against", inputs[1]).out, "check reads a file by the name of its topic")
    results = []
    for folder in (pattern, t.topology("listed", replacing=[("topic: orders", f"topic: [{', '.join(parts)}]")])):
        output = t.folder / "replayed.jsonl"
        t.run("replay", "--topology", folder, *inputs, "--output", output)
        results.append([{k: v for k, v in verdict.items() if k != "versions"} for verdict in objects(output)])
    t.check(results[0] == results[1] and len(results[0]) > 100, f"{len(results[0])} verdicts, as of a topology that lists the topics")
    ids = {v["verdict_id"] for v in results[0]}
    early = {v["verdict_id"] for v in said if v["event"]["topic"] != "ap.orders"}
    t.check(len(early & ids) > 100, "and their ids are those of the run")


main(test)
