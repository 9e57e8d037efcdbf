"""The measure of the tests that do harm to a broker, a network or a worker: what an undisturbed run says of the same orders.

EXACT: each record is judged once, the verdicts under their ids are byte for byte those of a run that nobody disturbed, none stands twice,
the journal is whole and reaches the inputs' ends, and `weir audit` finds no difference.
"""
import json
import random
import zlib

from shop import create
from support import Embedded, check_audit, check_journal, fail, is_drained, wait_for
from traffic import START

INPUT = "orders"


def orders(count, first=0, seed=1, accounts=300, step=20, padding=0):
    """Orders in order of time, of accounts that order often, and with so many bytes that nobody reads: (account, id, record)."""
    r = random.Random(f"{seed}/{first}")
    note = {"note": "n" * padding} if padding else {}
    for i in range(first, first + count):
        account = f"hot{r.randrange(5)}" if r.random() < 0.05 else f"a{r.randrange(accounts)}"
        name = f"o{i:08d}"
        yield account, name.encode(), json.dumps(
            {"id": name, "ts": START + i * step, "account": account, "amount": r.randrange(100, 40000) / 100, **note},
            separators=(",", ":")).encode()


class Exact:
    """Orders on a broker, by account in partitions, and the worker that judges them."""

    def __init__(self, t, broker, partitions=3, topology=None):
        self.t, self.broker, self.partitions = t, broker, partitions
        self.topology = topology or t.topology("quickstart-exact")
        self.records = []
        self.producer = broker.producer(log_level=0)
        create(broker, INPUT, partitions, **{"message.timestamp.type": "LogAppendTime"})

    def send(self, count=500, padding=0):
        """Writes the next orders past every proxy."""
        records = [
            (INPUT, zlib.crc32(account.encode()) % self.partitions, name, value, None)
            for account, name, value in orders(count, len(self.records), padding=padding)]
        self.broker.produce(records, self.producer)
        self.records += records

    def properties(self, name, bootstrap=None, settings={}):
        """A properties file of a worker's own."""
        path = self.t.folder / f"{name}.properties"
        words = {"bootstrap.servers": bootstrap or self.broker.bootstrap, **self.broker.log_in, **settings}
        path.write_text("".join(f"{key}={value}\n" for key, value in words.items()))
        return path

    def start(self, properties=None, *words, label="run", environment=None):
        """Starts a worker, and waits until it is ready."""
        worker = self.t.start(
            "run", "--topology", self.topology, "--kafka", properties or self.broker.properties, *words, label=label,
            environment=environment)
        wait_for(f"{label} is ready", lambda: "msg=ready" in worker.err, process=worker)
        return worker

    def judged(self, what, worker=None):
        wait_for(f"{what}: all is judged", lambda: is_drained(self.broker, [INPUT]), every=0.2, process=worker)

    def verdicts(self):
        found = {}
        for record in self.broker.read("weir.verdicts"):
            if record.value is None:
                continue
            name = json.loads(record.value)["verdict_id"]
            if name in found:
                fail(f"verdict {name} stands twice")
            found[name] = record.value
        return found

    def undisturbed(self):
        """What a run on a log of its own says of the same records, each in its place."""
        t = self.t
        records = self.broker.read(INPUT)
        t.equal(len(records), len(self.records), "the broker has each order once")
        log = Embedded(t.folder / f"undisturbed-{len(t.processes)}.db")
        flags = ["--topology", self.topology, *log.kind()]
        t.run("load", *flags, "--input", "/dev/null")
        log.widen(INPUT, self.partitions)
        log.produce((r.topic, r.partition, r.key, r.value, None, r.offset) for r in records)
        worker = t.start("run", *flags, label="undisturbed")
        wait_for("the undisturbed run judges all", lambda: is_drained(log, [INPUT]), process=worker)
        t.equal(worker.terminate(), 143, "SIGTERM ends the undisturbed run with 143")
        return {json.loads(r.value)["verdict_id"]: r.value for r in log.read("weir.verdicts") if r.value is not None}

    def check(self, what):
        """Whether all is EXACT once no worker runs."""
        t = self.t
        check_journal(t, self.broker, [INPUT])
        said, wanted = self.verdicts(), self.undisturbed()
        different = [name for name in said.keys() | wanted.keys() if said.get(name) != wanted.get(name)]
        if different:
            name = different[0]
            fail(f"{what}: {len(different)} verdicts differ of {len(wanted)}: {name}: {said.get(name)} instead of {wanted.get(name)}")
        t.check(wanted, f"{what}: {len(wanted)} verdicts of {len(self.records)} orders, byte for byte those of a run that nobody disturbed")
        check_audit(t, self.broker, self.topology, len(said))
