#!/usr/bin/env python3
"""Kafka to Kafka, exactly once, on a broker of its own that shares the machine with the engine.

Throughput: topics that are full before `weir run` starts; events per second from the first to the last epoch in the journal. Latency: a
producer paced at 10,000 events per second, every event gives a verdict, and a read_committed consumer notes when it comes: arrival by the
wall clock minus the event's LogAppendTime, both on this machine. The first minute is not counted: a broker that has just started
compiles its own code meanwhile, on the same two cores. Beside both, with a broker of its own each, stand the figures of a bare relay
(relay.c): what the same records and commits cost when nothing is judged.
"""
import argparse
import contextlib
import gc
import json
import multiprocessing
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

from figures import ROOT, SHARED, Run, figure, made, note, wrong

sys.path.insert(0, str(ROOT / "Tests" / "EndToEnd"))
import support  # noqa: E402
import waiting  # noqa: E402

REFERENCE = re.compile(rb'"topic":"([^"]+)","partition":(\d+),"offset":(\d+)')

# Seconds that a broker and a worker warm up before latency counts.
WARM = 60
# Milliseconds that the producers of the paced traffic wait for a batch: before the append time, so not in the latency.
LINGER = 20
# Most records in one transaction of the bare relay.
RELAY_BATCH = 20_000


def make_topic(broker, name, partitions):
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    admin.create_topics([NewTopic(name, partitions, 1, config={"message.timestamp.type": "LogAppendTime"})])[name].result(30)


def fill(broker, topic, path, partitions):
    """Writes a file's lines into a new topic, by the account's hash; answers how many."""
    make_topic(broker, topic, partitions)
    # Idempotent, or a batch that is sent again while the topic is new comes behind later ones.
    producer = broker.producer(**{
        "enable.idempotence": True, "linger.ms": 20, "batch.num.messages": 50_000, "queue.buffering.max.messages": 200_000, "compression.type": "lz4"})
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
    """Runs until the journal has come to the ends; answers events per second from the first to the last epoch, the peak of memory, and how many verdicts."""
    words = [weir, "run", "--topology", topology, "--kafka", broker.properties, "--threads", threads]
    worker = support.Background(words, folder, "run")
    try:
        support.wait_for("the backlog drains", lambda: support.is_drained(broker, topics), every=1, process=worker)
        peak = worker.peak_memory()
        worker.terminate()
    finally:
        worker.kill()
    consumer = broker.consumer()
    import confluent_kafka

    epochs, verdicts = [], []
    try:
        consumer.assign([confluent_kafka.TopicPartition("weir.journal", 0, confluent_kafka.OFFSET_BEGINNING)])
        while True:
            messages = consumer.consume(1000, timeout=5)
            for message in messages:
                if message.error() is None:
                    sizes = re.findall(rb'"(?:events|dead_letters|late)":(\d+)', message.value() or b"")
                    epochs.append((message.timestamp()[1], sum(int(size) for size in sizes)))
                    verdicts += map(int, re.findall(rb'"verdicts":(\d+)', message.value() or b""))
            if not messages or messages[-1].error() is not None:
                break
    finally:
        consumer.close()
    if sum(size for _, size in epochs) != total:
        wrong(f"{sum(size for _, size in epochs)} of {total} events are in the journal")
    first, last = epochs[0][0], epochs[-1][0]
    # What was judged by the time of the first commit came before the clock started.
    counted = sum(size for at, size in epochs if at > first)
    return counted / max(last - first, 1) * 1000, peak, sum(verdicts)


def throughput(arguments, folder):
    events = arguments.events
    if arguments.topology == "marketplace":
        pass
    elif (SHARED / "bench-12").is_dir():
        name = "million.jsonl" if events == 1_000_000 else f"bench-{events}.jsonl"
        source = made(name, sys.executable, SHARED / "bench-12" / "generate.py", "--events", events, "--out", "OUTPUT")
        # Without an output per event, and with what a peer's row with the twelve features is: a verdict that cites them.
        for place, topology, what in (
                ("a", ROOT / "topologies" / "bench-12", "no verdicts"),
                ("e", explaining(folder), "a verdict with the 12 features for each event")):
            with support.Broker(folder / place) as broker:
                count = fill(broker, "events", source, 4)
                speed, peak, verdicts = drain(arguments.weir, broker, folder, topology, ["events"], count, arguments.threads)
                if verdicts != (0 if place == "a" else count):
                    wrong(f"{verdicts} verdicts for {count} events")
                command = f"weir run --topology bench-12 --kafka ... --threads {arguments.threads}, {count:,} events in 4 partitions, {what}"
                figure("kafka bench-12, exactly once", f"{speed:,.0f}", "events/s", command)
                figure("kafka bench-12, peak memory", f"{peak >> 20:,}", "MiB", command)
        with support.Broker(folder / "f") as broker, relaying(broker, folder, fill(broker, "events", source, 4), RELAY_BATCH) as relay:
            support.wait_for("the relay's end", lambda: not relay.is_running)
            if relay.process.returncode != 0:
                wrong(support.shown(relay.err))
            bare = json.loads(relay.out)
            figure("kafka bare relay", f"{bare['events_per_second']:,}", "events/s", f"relay, {bare['relayed']:,} events in 4 partitions")
            figure("kafka bench-12, beside the bare relay", f"{speed / bare['events_per_second']:.2f}", "", "with a verdict for each event")
    else:
        note("skipped bench-12: no ../shared/bench-12")
    if arguments.topology == "bench-12":
        return
    with support.Broker(folder / "b") as broker:
        count = events // 2
        Run([arguments.weir, "simulate", "--events", count, "--seed", 5, "--kafka", broker.properties])
        speed, peak, verdicts = drain(
            arguments.weir, broker, folder, ROOT / "topologies" / "marketplace", support.INPUT_TOPICS, count, arguments.threads)
        command = (
            f"weir run --topology topologies/marketplace --kafka ... --threads {arguments.threads}, {count:,} events in 36 partitions, "
            f"{verdicts:,} verdicts")
        figure("kafka marketplace, exactly once", f"{speed:,.0f}", "events/s", command)
        figure("kafka marketplace, peak memory", f"{peak >> 20:,}", "MiB", command)


@contextlib.contextmanager
def relaying(broker, folder, events, batch):
    """The bare relay from `events` to `relayed`, until so many (0: until it is ended)."""
    program = folder / "relay"
    if not program.exists():
        source = pathlib.Path(__file__).parent / "relay.c"
        done = subprocess.run(["cc", "-O2", "-Wall", "-o", program, source, "-lrdkafka"], stderr=subprocess.PIPE, timeout=120)
        if done.returncode != 0:
            wrong(f"relay.c: {support.shown(done.stderr)}")
    make_topic(broker, "relayed", 4)
    relay = support.Background([program, broker.bootstrap, "events", "relayed", events, batch], folder, "relay")
    try:
        yield relay
    finally:
        relay.kill()


def talkative(folder):
    """The flagship topology with a verdict for every event."""
    copy = folder / "marketplace"
    shutil.copytree(ROOT / "topologies" / "marketplace", copy)
    path = copy / "topology.yaml"
    path.write_text(path.read_text().replace("emit: flagged", "emit: all"))
    return copy


def explaining(folder):
    """The twelve windows with a verdict for every event that cites them all."""
    copy = folder / "bench-12"
    if copy.exists():
        return copy
    shutil.copytree(ROOT / "topologies" / "bench-12", copy)
    path = copy / "topology.yaml"
    # Four partitions of a live stream are not in one order.
    path.write_text(path.read_text().replace("emit: flagged", "emit: all").replace("lateness: 0s", "lateness: 5m"))
    rules = "\n".join(rule.read_text() for rule in (copy / "rules").glob("*.weir"))
    names = re.findall(r"^feature (\w+)", rules, re.MULTILINE)
    cited = " ".join("{" + name + "}" for name in names)
    (copy / "rules" / "row.weir").write_text(
        f'rule row "The features of each event" {{\n  owner "bench"  severity low\n  on event\n  when account_count_5m >= 1\n'
        f'  then score +1\n  because "{cited}"\n}}\n')
    return copy


def feed(bootstrap, path, rate):
    """Writes a file's lines into the topic `events` by the account's hash, at a pace."""
    import confluent_kafka

    producer = confluent_kafka.Producer({"bootstrap.servers": bootstrap, "linger.ms": LINGER})
    account = re.compile(rb'"account":"([^"]+)"')
    begin = time.monotonic()
    with open(path, "rb") as file:
        for count, line in enumerate(file):
            while count > (time.monotonic() - begin) * rate:
                producer.poll(0)
                waiting.pace(0.002)
            producer.produce("events", key=account.search(line)[1], value=line[:-1])
    producer.flush(60)


@contextlib.contextmanager
def feeding(target, *words):
    """A process of this program beside it."""
    process = multiprocessing.get_context("spawn").Process(target=target, args=words, daemon=True)
    process.start()
    try:
        yield process.is_alive
    finally:
        process.kill()
        process.join()


def latency(arguments, folder):
    rate, total = arguments.rate, arguments.rate * (WARM + arguments.seconds)
    if arguments.topology == "marketplace":
        pass
    elif (SHARED / "bench-12").is_dir():
        source = made(f"bench-{total}.jsonl", sys.executable, SHARED / "bench-12" / "generate.py", "--events", total, "--out", "OUTPUT")
        with support.Broker(folder / "c") as broker, contextlib.ExitStack() as stack:
            make_topic(broker, "events", 4)
            worker = run_worker(arguments, folder, explaining(folder), broker, stack)
            alive = stack.enter_context(feeding(feed, broker.bootstrap, source, rate))
            measured = measure(
                arguments, broker, worker, alive, ["events"], "kafka event to committed verdict",
                "bench-12, a verdict with the 12 features for each event")
        with support.Broker(folder / "g") as broker, contextlib.ExitStack() as stack:
            make_topic(broker, "events", 4)
            relay = stack.enter_context(relaying(broker, folder, 0, RELAY_BATCH))
            alive = stack.enter_context(feeding(feed, broker.bootstrap, source, rate))
            bare = measure(arguments, broker, relay, alive, ["events"], "kafka event to relayed event", "bare relay", "relayed")
        figure("kafka p99 beside the bare relay", f"{measured['p99'] / bare['p99']:.2f}", "", "bench-12, a verdict for each event")
    else:
        note("skipped bench-12: no ../shared/bench-12")
    if arguments.topology == "bench-12":
        return
    with support.Broker(folder / "d") as broker, contextlib.ExitStack() as stack:
        # The simulator makes the topics; its first events come while the worker starts.
        properties = folder / "simulate.properties"
        properties.write_text(broker.properties.read_text() + f"linger.ms={LINGER}\n")
        simulate = support.Background(
            [arguments.weir, "simulate", "--events", total, "--seed", 9, "--rate", rate, "--kafka", properties], folder, "simulate")
        stack.callback(simulate.kill)
        support.wait_for("the input topics", lambda: all(broker.partitions(x) for x in support.INPUT_TOPICS), process=simulate)
        worker = run_worker(arguments, folder, talkative(folder), broker, stack)
        measure(
            arguments, broker, worker, lambda: simulate.is_running, support.INPUT_TOPICS, "kafka event to committed verdict",
            "marketplace in 36 partitions, a verdict for each event")


def run_worker(arguments, folder, topology, broker, stack):
    worker = support.Background(
        [arguments.weir, "run", "--topology", topology, "--kafka", broker.properties, "--threads", arguments.threads], folder,
        f"run-{topology.name}")
    stack.callback(worker.kill)
    return worker


def measure(arguments, broker, worker, is_feeding, topics, name, what, output="weir.verdicts"):
    """Reads what comes out as it comes, then looks up when its events were appended; returns milliseconds by percentile."""
    import confluent_kafka

    partitions = support.wait_for("the output topic", lambda: broker.partitions(output), process=worker)
    # Answered when something is there; asking again and again for nothing would only keep the broker busy.
    consumer = broker.consumer(**{"fetch.wait.max.ms": 500, "fetch.min.bytes": 1})
    consumer.assign([confluent_kafka.TopicPartition(output, p, 0) for p in range(partitions)])
    arrivals, count = [], 0
    begin = quiet = time.monotonic()
    # A collection of garbage here would be counted as a slow verdict; so would any work that can wait.
    gc.collect()
    gc.disable()
    while is_feeding() or time.monotonic() - quiet < 3:
        # Waits until it has so many, or as long.
        messages = consumer.consume(500, timeout=0.001)
        now = time.time() * 1000
        for message in messages:
            if message.error() is None:
                count += 1
                quiet = time.monotonic()
                if quiet - begin > WARM:
                    arrivals.append((now, message.value()[:1000]))
        worker.must_run()
    gc.enable()
    consumer.close()
    worker.terminate()
    appended = {}
    reader = broker.consumer()
    waiting = {source for source, (start, end) in broker.ends(topics).items() if end > start}
    reader.assign([confluent_kafka.TopicPartition(t, p, confluent_kafka.OFFSET_BEGINNING) for t, p in sorted(waiting)])
    while waiting:
        for message in reader.consume(5000, timeout=5):
            if message.error() is None:
                # A verdict names its event; what was relayed is the event.
                place = (message.topic(), message.partition(), message.offset())
                appended[place if output == "weir.verdicts" else message.value()] = message.timestamp()[1]
            elif message.error().code() == confluent_kafka.KafkaError._PARTITION_EOF:
                waiting.discard((message.topic(), message.partition()))
    reader.close()
    if count != len(appended) or len(arrivals) < 100:
        wrong(f"{len(appended)} events and {count} verdicts, {len(arrivals)} measured")
    waits = []
    for at, value in arrivals:
        if output == "weir.verdicts":
            topic, partition, offset = REFERENCE.search(value).groups()
            waits.append(at - appended[topic.decode(), int(partition), int(offset)])
        else:
            waits.append(at - appended[value])
    waits.sort()
    span = (max(appended.values()) - min(appended.values())) / 1000
    note(f"{len(appended):,} events in {span:.0f} s ({len(appended) / span:,.0f}/s), one record out for each; {len(waits):,} measured")
    percentiles = {f"p{100 * part:g}": waits[int(part * (len(waits) - 1))] for part in (0.5, 0.9, 0.99, 0.999)}
    for percentile, milliseconds in percentiles.items():
        figure(f"{name}, {percentile}", f"{milliseconds:.0f}", "ms", f"{arguments.rate:,}/s, {what}")
    return percentiles


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weir", required=True, type=os.path.abspath)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rate", type=int, default=10_000)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--topology", choices=["bench-12", "marketplace"], help="only this one")
    parser.add_argument("--only", choices=["throughput", "latency"])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="weir-kafka-", ignore_cleanup_errors=True) as place:
        folder = pathlib.Path(place)
        for name in "abcdefg":
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


if __name__ == "__main__":
    main()
