#!/usr/bin/env python3
"""Kafka to Kafka, exactly once, on a broker of its own that shares the machine with the engine.

Throughput: topics that are full before `weir run` starts; events per second from the first to the last epoch in the journal. Latency: a
producer paced at 10,000 events per second, every event gives a verdict, and a read_committed consumer notes when it comes: arrival by the
wall clock minus the event's LogAppendTime, both on this machine.
"""
import argparse
import contextlib
import os
import pathlib
import re
import shutil
import sys
import tempfile
import time

from figures import ROOT, SHARED, Run, figure, made, note, wrong

sys.path.insert(0, str(ROOT / "Tests" / "EndToEnd"))
import support  # noqa: E402

REFERENCE = re.compile(rb'"topic":"([^"]+)","partition":(\d+),"offset":(\d+)')


def fill(broker, topic, path, partitions):
    """Writes a file's lines into a new topic, by the account's hash; answers how many."""
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    admin.create_topics([NewTopic(topic, partitions, 1, config={"message.timestamp.type": "LogAppendTime"})])[topic].result(30)
    producer = broker.producer(**{
        "linger.ms": 20, "batch.num.messages": 50_000, "queue.buffering.max.messages": 200_000, "compression.type": "lz4"})
    account = re.compile(rb'"account":"([^"]+)"')
    count = 0
    with open(path, "rb") as file:
        for line in file:
            key = account.search(line)[1]
            while True:
                try:
                    producer.produce(topic, key=key, value=line[:-1])
                    break
                except BufferError:
                    producer.poll(0.05)
            count += 1
            if count % 10_000 == 0:
                producer.poll(0)
    if producer.flush(120):
        wrong(f"could not fill {topic}")
    return count


def drain(weir, broker, folder, topology, topics, total, threads):
    """Runs until the journal has come to the ends; answers events per second from the first to the last epoch."""
    words = [weir, "run", "--topology", topology, "--kafka", broker.properties, "--threads", threads]
    worker = support.Background(words, folder, "run")
    try:
        support.wait_for("the backlog drains", lambda: support.is_drained(broker, topics), 600, every=1, process=worker)
        worker.terminate()
    finally:
        worker.kill()
    consumer = broker.consumer()
    import confluent_kafka

    epochs = []
    try:
        consumer.assign([confluent_kafka.TopicPartition("weir.journal", 0, confluent_kafka.OFFSET_BEGINNING)])
        while True:
            messages = consumer.consume(1000, timeout=5)
            for message in messages:
                if message.error() is None:
                    sizes = re.findall(rb'"(?:events|dead_letters|late)":(\d+)', message.value() or b"")
                    epochs.append((message.timestamp()[1], sum(int(size) for size in sizes)))
            if not messages or messages[-1].error() is not None:
                break
    finally:
        consumer.close()
    if sum(size for _, size in epochs) != total:
        wrong(f"{sum(size for _, size in epochs)} of {total} events are in the journal")
    first, last = epochs[0][0], epochs[-1][0]
    # What was judged by the time of the first commit came before the clock started.
    counted = sum(size for at, size in epochs if at > first)
    return counted / max(last - first, 1) * 1000


def throughput(arguments, folder):
    events = arguments.events
    if (SHARED / "bench-12").is_dir():
        name = "million.jsonl" if events == 1_000_000 else f"bench-{events}.jsonl"
        source = made(name, sys.executable, SHARED / "bench-12" / "generate.py", "--events", events, "--out", "OUTPUT")
        with support.Broker(folder / "a") as broker:
            count = fill(broker, "events", source, 4)
            speed = drain(arguments.weir, broker, folder, ROOT / "topologies" / "bench-12", ["events"], count, arguments.threads)
            figure("kafka bench-12, exactly once", f"{speed:,.0f}", "events/s",
                   f"weir run --topology topologies/bench-12 --kafka ... --threads {arguments.threads}, {count:,} events in 4 partitions")
    else:
        note("skipped bench-12: no ../shared/bench-12")
    with support.Broker(folder / "b") as broker:
        count = events // 2
        Run([arguments.weir, "simulate", "--events", count, "--seed", 5, "--kafka", broker.properties])
        speed = drain(arguments.weir, broker, folder, ROOT / "topologies" / "marketplace", support.INPUT_TOPICS, count, arguments.threads)
        figure("kafka marketplace, exactly once", f"{speed:,.0f}", "events/s",
               f"weir run --topology topologies/marketplace --kafka ... --threads {arguments.threads}, {count:,} events")


def talkative(folder):
    """The flagship topology with a verdict for every event."""
    copy = folder / "marketplace"
    shutil.copytree(ROOT / "topologies" / "marketplace", copy)
    path = copy / "topology.yaml"
    path.write_text(path.read_text().replace("emit: flagged", "emit: all"))
    return copy


def latency(arguments, folder):
    import confluent_kafka

    rate, seconds = arguments.rate, arguments.seconds
    topology = talkative(folder)
    with support.Broker(folder / "c") as broker, contextlib.ExitStack() as stack:
        def start(label, *words):
            process = support.Background([arguments.weir, *words], folder, label)
            stack.callback(process.kill)
            return process

        # The simulator makes the topics; its first events come while the worker starts.
        simulate = start("simulate", "simulate", "--events", rate * (seconds + 5), "--seed", 9, "--rate", rate, "--kafka", broker.properties)
        support.wait_for("the input topics", lambda: all(broker.partitions(x) for x in support.INPUT_TOPICS), 60, process=simulate)
        worker = start("run", "run", "--topology", topology, "--kafka", broker.properties, "--threads", arguments.threads)
        count = support.wait_for("the verdict topic", lambda: broker.partitions("weir.verdicts"), 60, process=worker)
        consumer = broker.consumer(**{"fetch.wait.max.ms": 5, "fetch.min.bytes": 1})
        consumer.assign([confluent_kafka.TopicPartition("weir.verdicts", p, 0) for p in range(count)])
        arrivals = {}
        quiet = time.monotonic()
        while simulate.is_running or time.monotonic() - quiet < 3:
            messages = consumer.consume(2000, timeout=0.005)
            now = time.time() * 1000
            for message in messages:
                if message.error() is None:
                    found = REFERENCE.search(message.value())
                    arrivals[found[1].decode(), int(found[2]), int(found[3])] = now
                    quiet = time.monotonic()
            worker.must_run()
        consumer.close()
        worker.terminate()
        waits = []
        reader = broker.consumer()
        sources = sorted(filled(broker))
        reader.assign([confluent_kafka.TopicPartition(t, p, confluent_kafka.OFFSET_BEGINNING) for t, p in sources])
        waiting = set(sources)
        appended = {}
        while waiting:
            for message in reader.consume(5000, timeout=5):
                if message.error() is None:
                    appended[message.topic(), message.partition(), message.offset()] = message.timestamp()[1]
                elif message.error().code() == confluent_kafka.KafkaError._PARTITION_EOF:
                    waiting.discard((message.topic(), message.partition()))
        reader.close()
        begin = min(appended.values())
        for source, at in arrivals.items():
            # The first seconds belong to the start of the worker.
            if appended[source] - begin > 5000:
                waits.append(at - appended[source])
        missing = len(appended) - len(arrivals)
        if missing or len(waits) < 100:
            wrong(f"{missing} of {len(appended)} events have no verdict, {len(waits)} measured")
        waits.sort()
        span = (max(appended.values()) - begin) / 1000
        note(f"{len(appended):,} events in {span:.0f} s ({len(appended) / span:,.0f}/s), a verdict for each; {len(waits):,} measured")
        for name, part in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)):
            figure(f"kafka event to committed verdict, {name}", f"{waits[int(part * (len(waits) - 1))]:.0f}", "ms",
                   f"weir simulate --rate {rate}, marketplace with emit: all")


def filled(broker):
    """The input partitions that hold something."""
    return [source for source, (start, end) in broker.ends(support.INPUT_TOPICS).items() if end > start]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weir", required=True, type=os.path.abspath)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rate", type=int, default=10_000)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--only", choices=["throughput", "latency"])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="weir-kafka-", ignore_cleanup_errors=True) as place:
        folder = pathlib.Path(place)
        for name in "abc":
            (folder / name).mkdir()
        try:
            if arguments.only != "latency":
                throughput(arguments, folder)
            if arguments.only != "throughput":
                latency(arguments, folder)
        except support.Skipped as reason:
            note(f"skipped: {reason}")
        except support.Failed as failure:
            wrong(str(failure))


main()
