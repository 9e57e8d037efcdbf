"""A topology that `weir run` runs on a broker of Kafka's, and what its topics are told."""
import re

from support import fail, journal, wait_for


def administer(broker, ask, **settings):
    """Asks an administration client of the broker, and returns what it says to each question."""
    from confluent_kafka.admin import AdminClient

    client = AdminClient({"bootstrap.servers": broker.bootstrap, **broker.log_in, **settings})
    return [future.result(60) for future in ask(client).values()]


def create(broker, topic, partitions, **config):
    from confluent_kafka.admin import NewTopic

    settings = {"retention.ms": "-1", "retention.bytes": "-1", **config}
    administer(broker, lambda client: client.create_topics([NewTopic(topic, partitions, config=settings)]))
    # The answer comes from the controller; who asks the broker a moment later may be told that there is no such topic.
    wait_for(f"topic {topic} is there", lambda: broker.partitions(topic) == partitions)


def alter(broker, topic, settings):
    from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

    entries = [ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in settings.items()]
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
    administer(broker, lambda client: client.incremental_alter_configs([resource]))


class Shop:
    """A topology on a broker, run by one worker after the other; what its metrics said is added up."""

    def __init__(self, t, broker, topology):
        self.t, self.broker, self.topology, self.sent, self.counted = t, broker, topology, 0, {}

    def start(self):
        self.file = self.t.folder / "weir.prom"
        self.worker = self.t.start(
            "run", "--topology", self.topology, "--kafka", self.broker.properties, "--threads", 2, "--metrics", self.file, label="run")

    def stop(self):
        self.t.equal(self.worker.terminate(), 143, "SIGTERM ends run with 143")
        for line in self.file.read_text().splitlines():
            if re.match(r"weir_\w+_total\b", line):
                series, value = line.rsplit(" ", 1)
                # Whose figures they are stands on all of them.
                series = re.sub(r'(?<=[{,])topology="[^"]*",?|,?topology="[^"]*"(?=})', "", series).replace("{}", "")
                self.counted[series] = self.counted.get(series, 0) + int(value)

    def count(self, name, **labels):
        """The sum over all workers; nil where no series says it."""
        inside = ",".join(f'{key}="{value}"' for key, value in sorted(labels.items()))
        return self.counted.get(f"{name}{{{inside}}}")

    def send(self, topic, partition, values):
        values = list(values)
        self.broker.produce([(topic, partition, None, value, None) for value in values], **{"compression.type": "lz4"})
        self.sent += len(values)

    def await_judged(self, what):
        """Waits until the journal has as many records as were sent."""
        wait_for(f"{what} is judged", lambda: sum(r["records"] for r in journal(self.broker)) >= self.sent, process=self.worker)

    def watermark(self):
        marks = [r["watermark"] for r in journal(self.broker) if "watermark" in r]
        if marks != sorted(marks):
            fail(f"the watermark went back: {marks}")
        return marks[-1] if marks else 0


def sums(records):
    return {key: sum(r.get(key, 0) for r in records) for key in ("events", "late", "early", "set_aside", "dead_letters")}


def aligned(records):
    """The partitions that the journal names as aligned."""
    return {(topic, partition) for r in records for topic, partition, _ in r.get("aligned", [])}
