#!/usr/bin/env python3
"""A cluster that refuses: rights taken away and given back, a sink that takes no verdict, a quota, a producer that hangs on an input.

What is not committed is not lost, and is judged once when it can be: EXACT at the end.
"""
import time

from exact import INPUT, Exact
from shop import administer, alter
from signals import Metrics
from support import Broker, covered, fail, is_drained, journal, main, shown, wait_for
from waiting import until

OUTPUTS = ["weir.verdicts", "weir.rings", "weir.dead-letters", "weir.late", "weir.journal"]
NAME = "weir-quickstart"
#: What a worker under a quota may take more than before, whatever waits for it: what it reads ahead, and a transaction of 16 MiB twice.
MEMORY = 64 << 20


def test(t):
    with Broker(t.folder, "--sasl", "--acl") as broker:
        broker.log_in_as("admin")
        cluster = Cluster(t, broker)
        cluster.start()
        cluster.send()
        cluster.judged("before")
        # The others are like one of these.
        for name in cluster.rights if t.is_long else ("to read the input", "to write verdicts", "to its group"):
            cluster.take_away(name)
        cluster.hung_producer()
        cluster.overload()
        cluster.small_sink()
        cluster.stop()
        cluster.shop.check("refused and given back")
        if t.is_long:
            cluster.deleted_sink()


class Cluster:
    """A broker that checks what a worker may do, and that worker."""

    def __init__(self, t, broker):
        from confluent_kafka.admin import AclBinding, AclOperation, AclPermissionType, ResourcePatternType, ResourceType

        def right(kind, name, operation, pattern=ResourcePatternType.LITERAL):
            return AclBinding(kind, name, pattern, "User:weir", "*", operation, AclPermissionType.ALLOW)

        self.t, self.broker = t, broker
        self.shop = Exact(t, broker)
        self.metrics = Metrics(t.folder / "weir.prom")
        self.properties = self.shop.properties("weir", None, {
            "sasl.username": "weir", "sasl.password": "weir-secret", "client.id": "weir-end-to-end", "queued.max.messages.kbytes": 1024,
            "statistics.interval.ms": 1000})
        self.properties.chmod(0o600)
        topic, prefixed, can = ResourceType.TOPIC, ResourcePatternType.PREFIXED, AclOperation
        #: What is taken away, and what a worker that leaves for that says.
        self.rights = {
            "to read the input": (right(topic, INPUT, can.READ), f"topic '{INPUT}'"),
            "to write verdicts": (right(topic, "weir.verdicts", can.WRITE), "weir.verdicts"),
            "to write the journal": (right(topic, "weir.journal", can.WRITE), "weir.journal"),
            "to its transactional ids": (right(ResourceType.TRANSACTIONAL_ID, NAME, can.WRITE, prefixed), "transactional ids"),
            "to its group": (right(ResourceType.GROUP, NAME, can.READ), f"group '{NAME}'"),
        }
        self.grant(
            *(acl for acl, _ in self.rights.values()),
            *(right(topic, INPUT, operation) for operation in (can.DESCRIBE, can.DESCRIBE_CONFIGS)),
            *(right(topic, name, operation) for name in OUTPUTS for operation in (can.READ, can.DESCRIBE, can.CREATE, can.DESCRIBE_CONFIGS)),
            *(right(topic, name, can.WRITE) for name in OUTPUTS if name not in ("weir.verdicts", "weir.journal")),
            right(ResourceType.TRANSACTIONAL_ID, NAME, can.DESCRIBE, prefixed))

    def grant(self, *rights):
        administer(self.broker, lambda client: client.create_acls(list(rights)))

    def revoke(self, right):
        from confluent_kafka.admin import AclBindingFilter

        exactly = AclBindingFilter(
            right.restype, right.name, right.resource_pattern_type, right.principal, right.host, right.operation, right.permission_type)
        administer(self.broker, lambda client: client.delete_acls([exactly]))

    def start(self):
        """A worker, as a supervisor starts it: again for as long as rights that were given a moment ago are not in force."""
        def ready():
            self.worker = self.t.start(
                "run", "--topology", self.shop.topology, "--kafka", self.properties, "--metrics", self.metrics.path, label="run")
            wait_for("run is ready, or leaves", lambda: not self.worker.is_running or "msg=ready" in self.worker.err)
            if not self.worker.is_running and self.worker.wait() != 6:
                fail(f"run left with {self.worker.wait()}: {shown(self.worker.err)}")
            return self.worker.is_running

        wait_for("run is ready", ready)

    def go_on(self, what):
        if not self.worker.is_running:
            self.start()
        self.judged(what)

    def stop(self):
        self.t.equal(self.worker.terminate(), 143, "SIGTERM ends run with 143")

    def send(self, count=300, **settings):
        self.shop.send(count, **settings)

    def judged(self, what):
        self.shop.judged(what, self.worker)

    def refused(self, what, code, *words):
        """Waits until the worker is refused: it leaves with this code and a reason, or stays and says so; and nothing is judged."""
        lines = len(self.worker.err.splitlines())
        told = lambda: "\n".join(self.worker.err.splitlines()[lines:])

        def is_refused():
            self.send(10)
            return not self.worker.is_running or any(word.lower() in told().lower() for word in words)

        wait_for(f"{what}: the worker is refused", is_refused, every=0.2)
        if not self.worker.is_running or until(lambda: not self.worker.is_running, 1):
            self.t.equal(self.worker.wait(), code, f"{what}: the worker leaves with {code}")
            last = self.worker.err.split("weir: error:")[-1]
            self.t.check(words[-1] in last, f"{what}: and names it", last)
        else:
            self.t.ok(f"{what}: the worker stays, and says so")
        self.t.check(not is_drained(self.broker, [INPUT]), f"{what}: nothing is taken for judged")

    def take_away(self, name):
        right, word = self.rights[name]
        self.revoke(right)
        self.refused(f"without the right {name}", 6, "authorization failed", word)
        self.grant(right)
        self.go_on(f"with the right {name} again")

    def hung_producer(self):
        """A producer's transaction stays open: what lies behind it waits and is told of, all else is judged, and its end ends that."""
        t, what = self.t, "a hung transaction"
        producer = self.hang(600_000)
        self.send()
        ends = self.broker.ends([INPUT])
        others = lambda: (reached := covered(journal(self.broker))) and all(
            reached.get((INPUT, n), 0) >= ends[INPUT, n][1] for n in range(self.shop.partitions) if n != 1)
        wait_for(f"{what}: the other partitions are judged", others, process=self.worker)
        t.check(covered(journal(self.broker)).get((INPUT, 1), 0) < ends[INPUT, 1][1], f"{what}: what it holds back is not, all else is")
        found = t.run("doctor", "--topology", self.shop.topology, *self.broker.kind(), code=None).out
        t.check(f"{INPUT}/1: a transaction that has been open" in found, f"{what}: doctor tells of it", found)
        held = lambda n: self.metrics("weir_input_unstable_records", topic=INPUT, partition=n)
        lag = lambda: self.metrics("weir_input_lag_records", topic=INPUT, partition=1)
        wait_for(f"{what}: metrics tell of it", lambda: held(1) and lag(), process=self.worker)
        t.check(not held(0) and not held(2), f"{what}: {held(1):.0f} records are told as held back, and as lag, of this partition alone")
        if t.is_long:
            # The broker ends another one, whose producer is gone, when it has run out of time.
            producer.abort_transaction(60)
            self.judged(f"{what}: its end")
            producer = self.hang(10_000)
            self.send()
        else:
            producer.abort_transaction(60)
        # A record of somebody else follows its end.
        wait_for(f"{what}: it ends, and all is judged", lambda: self.send(10) or is_drained(self.broker, [INPUT]), every=0.5,
                 process=self.worker)
        wait_for(f"{what}: nothing is told as held back", lambda: held(1) == 0, process=self.worker)
        t.check("hung" not in {r.key.decode() for r in self.broker.read(INPUT)}, f"{what}: its record is none")

    def hang(self, milliseconds):
        """A producer with an open transaction, which the broker ends after this time."""
        producer = self.broker.producer(**{"transactional.id": "hangs", "transaction.timeout.ms": milliseconds, "log_level": 0})
        producer.init_transactions(60)
        producer.begin_transaction()
        producer.produce(INPUT, partition=1, key=b"hung", value=b'{"id":"hung","ts":1772618400000,"account":"hung","amount":500.00}')
        producer.flush(60)
        return producer

    def overload(self):
        """The worker may write less than it takes in, by a quota: it waits, without taking in what it has no room for."""
        t, what = self.t, "ten times more than it may write"
        quota = lambda *words: self.broker.tool("configs", "--alter", *words, "--entity-type", "clients", "--entity-name", "weir-end-to-end")
        before = self.worker.peak_memory()
        first = covered(journal(self.broker))
        quota("--add-config", "producer_byte_rate=30000")
        begin = time.monotonic()
        count, size = (60_000, 2000) if t.is_long else (15_000, 2000)
        self.send(count, padding=size)
        sent = time.monotonic() - begin
        # For ten times as long as the input took, but not until all is judged on a slow machine, it is seen what the worker takes.
        done = lambda: sum(covered(journal(self.broker))[place] - first[place] for place in first)
        until(lambda: is_drained(self.broker, [INPUT]), min(10 * sent, 20), every=1)
        share = done() / count
        t.check(share < 1, f"{what}: {count} orders of {size} bytes in {sent:.1f} s, of which {share:.0%} were judged after "
                f"{time.monotonic() - begin:.1f} s")
        grown = self.worker.peak_memory() - before
        t.check(grown < MEMORY, f"{what}: memory grew by {grown >> 20} MiB", grown)
        quota("--delete-config", "producer_byte_rate")
        begin = time.monotonic()
        self.go_on(what)
        t.ok(f"{what}: all is judged {time.monotonic() - begin:.1f} s after the quota was lifted")

    def small_sink(self):
        """The verdict topic takes no verdict of usual size any more."""
        alter(self.broker, "weir.verdicts", {"max.message.bytes": "300"})
        self.refused("a verdict topic that takes no verdict", 3, "too large", "max.message.bytes")
        alter(self.broker, "weir.verdicts", {"max.message.bytes": "1048588"})
        self.go_on("a verdict topic that takes verdicts again")

    def deleted_sink(self):
        """The verdict topic is deleted under the worker: it is not ready, and audit names each verdict that is gone."""
        t, what = self.t, "the verdict topic deleted"
        before = len(self.shop.verdicts())
        self.start()
        # The file may still be the former worker's.
        wait_for(f"{what}: ready before", lambda: self.metrics("weir_ready") == 1, process=self.worker)
        administer(self.broker, lambda client: client.delete_topics(["weir.verdicts"], operation_timeout=60))
        self.send()
        wait_for(f"{what}: not ready, or gone", lambda: not self.worker.is_running or self.metrics("weir_ready") == 0)
        t.check(not is_drained(self.broker, [INPUT]), f"{what}: nothing is taken for judged")
        t.note(f"{what}: {shown(self.worker.err.strip().splitlines()[-1], 400)}")
        # The next start makes it again.
        self.worker.kill()
        self.start()
        self.judged(what)
        self.stop()
        result = t.run("audit", "--topology", self.shop.topology, *self.broker.kind(), "--json", code=7)
        t.check(f'"missing":{before}' in result.out, f"{what}: audit names all {before} verdicts that are gone, exit 7", result.out)


if __name__ == "__main__":
    main(test)
