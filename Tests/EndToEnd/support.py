"""What the end-to-end tests share: checks, processes with bounded waits, a local broker, readers of both logs.

A test is a script with one function `test(t)`, run by `main(test)`:

    python3 Tests/EndToEnd/NAME.py --weir PATH [--long]

It prints one line per check and ends with 0 (passed), 1 (failed) or 77 (skipped, with the reason). Every wait has a limit, every
process is ended by its id, everything written lies in one temporary folder that is removed at the end.
"""
import argparse
import base64
import collections
import contextlib
import functools
import json
import os
import pathlib
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import traceback
import uuid

from waiting import LIMIT, until

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHARED = pathlib.Path(os.environ.get("WEIR_SHARED") or ROOT.parent / "shared")
TOPOLOGIES = ROOT / "topologies"
SKIPPED = 77
INPUT_TOPICS = ["orders", "clicks", "coupons", "signups", "logins", "reviews", "refunds", "staff", "accounts"]
OWN_TOPICS = ["weir.verdicts", "weir.rings", "weir.dead-letters", "weir.late", "weir.journal"]


class Failed(Exception):
    """A check that did not hold; the message says what was expected and what came."""


class Skipped(Exception):
    """The machine lacks what the test needs."""


def fail(message):
    raise Failed(message)


def shown(text, limit=2000):
    """The end of a text that may be long."""
    text = text if isinstance(text, str) else text.decode("utf-8", "replace")
    return text if len(text) <= limit else "..." + text[-limit:]


class Background:
    """A process beside the test; its streams are files, so that no reader must keep up."""

    def __init__(self, words, folder, label, cwd=ROOT, environment=None):
        self.words = [str(w) for w in words]
        self.label = label
        self.out_path, self.err_path = folder / f"{label}.out", folder / f"{label}.err"
        with open(self.out_path, "wb") as out, open(self.err_path, "wb") as err:
            self.process = subprocess.Popen(
                self.words, stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=cwd, env={**os.environ, **(environment or {})})

    @property
    def out(self):
        return self.out_path.read_text(errors="replace")

    @property
    def err(self):
        return self.err_path.read_text(errors="replace")

    @property
    def is_running(self):
        return self.process.poll() is None

    def must_run(self):
        if not self.is_running:
            fail(f"{self.label} ended by itself with {self.process.returncode}: {shown(self.err)}")

    def peak_memory(self):
        """The highest resident memory so far, in bytes."""
        with open(f"/proc/{self.process.pid}/status") as status:
            return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))

    def wait(self, seconds=LIMIT):
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            fail(f"{self.label} did not end within {seconds} s: {shown(self.err)}")

    def terminate(self, seconds=LIMIT):
        """SIGTERM; returns the exit code."""
        if self.is_running:
            self.process.send_signal(signal.SIGTERM)
        return self.wait(seconds)

    def kill(self):
        if self.is_running:
            self.process.kill()
        self.process.wait(LIMIT)


Result = collections.namedtuple("Result", "code out err seconds")


class Test:
    """One test's means: the program, a folder, checks."""

    def __init__(self, name, weir, is_long, folder):
        self.name, self.weir, self.is_long, self.folder = name, weir, is_long, folder
        self.processes = []
        self.checks = 0

    # Checks.

    def ok(self, text):
        self.checks += 1
        print(f"ok {self.name}: {text}", flush=True)

    def note(self, text):
        print(f"note {self.name}: {text}", flush=True)

    def check(self, condition, text, got=""):
        if not condition:
            fail(f"{text}{': ' if got != '' else ''}{shown(str(got))}")
        self.ok(text)

    def equal(self, got, wanted, text):
        if got != wanted:
            fail(f"{text}: expected {shown(repr(wanted), 800)}, got {shown(repr(got), 800)}")
        self.ok(text)

    # Processes.

    def run(self, *words, code=0, seconds=LIMIT, input=None, environment=None):
        """Runs the program to its end and checks the exit code; code=None takes any."""
        words = [str(w) for w in words]
        start = time.monotonic()
        try:
            done = subprocess.run(
                [self.weir, *words], input=input, stdin=None if input is not None else subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=seconds, cwd=ROOT,
                env={**os.environ, **(environment or {})})
        except subprocess.TimeoutExpired as late:
            fail(f"weir {' '.join(words)} did not end within {seconds} s: {shown(late.stderr or b'')}")
        result = Result(
            done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"), time.monotonic() - start)
        if code is not None and result.code != code:
            fail(f"weir {' '.join(words)} ended with {result.code} instead of {code}: {shown(result.err)} {shown(result.out)}")
        return result

    def run_measured(self, *words, seconds=LIMIT):
        """Runs the program through a small parent of its own; returns the result and the highest resident memory in bytes."""
        report = self.folder / "measured"
        # A process that this one starts directly would count this one's memory at the fork.
        parent = (
            "import os,sys\np=os.spawnv(os.P_NOWAIT,sys.argv[2],sys.argv[2:])\n_,s,u=os.wait4(p,0)\n"
            "open(sys.argv[1],'w').write(str(u.ru_maxrss*1024))\nsys.exit(os.waitstatus_to_exitcode(s)&255)")
        words = [str(w) for w in words]
        start = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-S", "-E", "-c", parent, str(report), self.weir, *words], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            # The session holds the small parent and the program, nothing else.
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            fail(f"weir {' '.join(words)} did not end within {seconds} s")
        result = Result(process.returncode, out.decode("utf-8", "replace"), err.decode("utf-8", "replace"), time.monotonic() - start)
        if result.code != 0:
            fail(f"weir {' '.join(words)} ended with {result.code}: {shown(result.err)}")
        return result, int(report.read_text())

    def start(self, *words, label="weir", environment=None):
        """Starts the program beside the test."""
        process = Background([self.weir, *words], self.folder, f"{label}-{len(self.processes)}", environment=environment)
        self.processes.append(process)
        return process

    def end_processes(self):
        for process in self.processes:
            with contextlib.suppress(Exception):
                process.kill()

    # Inputs.

    def simulate(self, events, seed=1, scenario="marketplace", name=None):
        """A file of simulated events and the file with the truth about them."""
        output = self.folder / (name or f"{scenario}-{events}-{seed}.jsonl")
        truth = output.with_suffix(".truth")
        self.run("simulate", "--scenario", scenario, "--events", events, "--seed", seed, "--output", output, "--truth", truth)
        return output, truth

    def topology(self, name, base="quickstart", **changes):
        """A copy of a topology in the test's folder; changes are old=new texts of its topology.yaml, given as a list of pairs."""
        folder = self.folder / name
        shutil.copytree(TOPOLOGIES / base, folder)
        text = (folder / "topology.yaml").read_text()
        for old, new in changes.get("replacing", []):
            if old not in text:
                fail(f"topologies/{base}/topology.yaml has no '{old}' to replace")
            text = text.replace(old, new)
        (folder / "topology.yaml").write_text(text)
        return folder


def wait_for(what, condition, every=0.1, process=None):
    """Waits until the condition returns something true, and returns it; fails when that takes too long or the process ends before."""
    def asked():
        found = condition()
        if not found and process is not None:
            process.must_run()
        return found

    found = until(asked, every=every)
    if not found:
        fail(f"{what}: not within {LIMIT} s" + (f"; the program says {shown(process.err)}" if process else ""))
    return found


def main(test):
    """Runs one test from the command line."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weir", default=os.environ.get("WEIR_BINARY"), help="the program under test")
    parser.add_argument("--long", action="store_true", default=os.environ.get("WEIR_LONG") == "1", help="the full sizes")
    arguments = parser.parse_args()
    if not arguments.weir or not os.access(arguments.weir, os.X_OK):
        sys.exit("error: no program to test: --weir PATH, or WEIR_BINARY")
    name = pathlib.Path(sys.argv[0]).stem
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    code = 1
    with tempfile.TemporaryDirectory(prefix=f"weir-{name}-", ignore_cleanup_errors=True) as folder:
        # What a deployment keeps for itself is none of the home folder's business.
        os.environ["XDG_STATE_HOME"] = f"{folder}/state"
        t = Test(name, os.path.abspath(arguments.weir), arguments.long, pathlib.Path(folder))
        try:
            test(t)
            code = 0
        except Failed as failure:
            print(f"FAILED {name}: {failure}", flush=True)
        except Skipped as reason:
            print(f"skipped {name}: {reason}", flush=True)
            code = SKIPPED
        except Exception:
            print(f"FAILED {name}: {traceback.format_exc()}", flush=True)
        finally:
            t.end_processes()
    sys.exit(code)


# Files.

def digest(path):
    import hashlib

    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def lines(path):
    with open(path, "rb") as file:
        return [line for line in file.read().split(b"\n") if line]


def objects(path):
    return [json.loads(line) for line in lines(path)]


# Kafka.

def need(module):
    """A Python package that the tests' environment should have."""
    try:
        return __import__(module)
    except ImportError:
        raise Skipped(f"no Python package {module}: scripts/install --tests") from None


def need_kafka_local():
    """The program that starts several brokers, kills and restarts them."""
    program = SHARED / "kafka" / "kafka-local"
    if not program.exists():
        raise Skipped("no kafka-local in ../shared/kafka to kill and restart brokers with")
    return program


def patient(ask):
    """A question to a broker, asked again for as long as the broker's patience goes."""
    @functools.wraps(ask)
    def asked(self, *words, **settings):
        import confluent_kafka

        error = confluent_kafka.KafkaError
        passing = {
            error._TRANSPORT, error._ALL_BROKERS_DOWN, error._TIMED_OUT, error._AUTO_OFFSET_RESET, error.NOT_LEADER_FOR_PARTITION,
            error.LEADER_NOT_AVAILABLE, error.UNKNOWN_TOPIC_OR_PART}
        end = time.monotonic() + self.patience

        def once():
            try:
                # In a list, so that a found nothing is not asked for again.
                return [ask(self, *words, **settings)]
            except confluent_kafka.KafkaException as problem:
                if problem.args[0].code() not in passing or time.monotonic() >= end:
                    raise
                return None
        return until(once, self.patience + LIMIT, every=0.2)[0]
    return asked


class Broker:
    """A broker of its own on loopback, through scripts/kafka."""

    def __init__(self, folder, *options):
        need("confluent_kafka")
        if not os.environ.get("KAFKA_HOME") and not (SHARED / "kafka" / "kafka-local").exists():
            raise Skipped("no Kafka: set KAFKA_HOME, or put kafka-local into ../shared/kafka")
        if not shutil.which("java") and not os.environ.get("JAVA_HOME"):
            raise Skipped("no Java: scripts/install --tests")
        self.folder = folder / "kafka"
        self.options = options
        # How the tests' own clients log in.
        self.log_in = {}
        # For so many seconds a question is asked again while brokers that start or lose their lead refuse it.
        self.patience = 0
        # Leaves out, and counts, the tombstones that end what a killed broker left open.
        self.skips_settling = False
        self.settled = 0

    def __enter__(self):
        started = subprocess.run(
            [ROOT / "scripts" / "kafka", "start", "--dir", self.folder, "--port", "auto", *self.options],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=LIMIT)
        if started.returncode != 0:
            self.__exit__()
            fail(f"no broker: {shown(started.stderr)}")
        self.bootstrap = started.stdout.decode().strip()
        self.properties = self.folder.parent / "kafka.properties"
        settings = f"bootstrap.servers={self.bootstrap}\n"
        self.properties.write_text(settings)
        return self

    def log_in_as(self, user):
        """The tests' own clients log in from now on, by a password, as one of the users of `--sasl`."""
        self.log_in = {
            "security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": user, "sasl.password": f"{user}-secret"}
        settings = {"bootstrap.servers": self.bootstrap, **self.log_in}
        self.properties.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))

    def tool(self, name, *words):
        """Runs one of Kafka's own tools, and returns what it says."""
        done = subprocess.run(
            [need_kafka_local(), "tool", "--dir", self.folder, name, *[str(w) for w in words]], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=LIMIT)
        if done.returncode != 0:
            fail(f"kafka-local tool {name}: {shown(done.stdout)}")
        return done.stdout.decode("utf-8", "replace")

    def __exit__(self, *_):
        subprocess.run(
            [ROOT / "scripts" / "kafka", "stop", "--dir", self.folder], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, timeout=LIMIT)

    def control(self, command, number=1):
        """Does something to one of the brokers: kill, or restart on its data, until it answers."""
        done = subprocess.run(
            [need_kafka_local(), command, "--dir", self.folder, str(number)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, timeout=LIMIT)
        if done.returncode != 0:
            fail(f"kafka-local {command}: {shown(done.stderr)}")

    def consumer(self, **settings):
        import confluent_kafka

        return confluent_kafka.Consumer({
            "bootstrap.servers": self.bootstrap, "group.id": f"reader-{uuid.uuid4()}", "enable.auto.commit": False,
            "enable.partition.eof": True, "isolation.level": "read_committed", "fetch.wait.max.ms": 10, "auto.offset.reset": "error",
            **self.log_in, **settings})

    def producer(self, **settings):
        import confluent_kafka

        return confluent_kafka.Producer(
            {"bootstrap.servers": self.bootstrap, "message.max.bytes": 16_000_000, "linger.ms": 5, **self.log_in, **settings})

    @patient
    def partitions(self, topic):
        """The number of partitions; 0 when there is no such topic."""
        consumer = self.consumer()
        try:
            metadata = consumer.list_topics(timeout=60).topics.get(topic)
            return len(metadata.partitions) if metadata and metadata.error is None else 0
        finally:
            consumer.close()

    @patient
    def ends(self, topics):
        """Per (topic, partition) the first and the end offset."""
        import confluent_kafka

        consumer = self.consumer(**{"isolation.level": "read_uncommitted"})
        try:
            all_topics = consumer.list_topics(timeout=60).topics
            found = {}
            for topic in topics:
                for p in all_topics[topic].partitions if topic in all_topics else []:
                    found[topic, p] = consumer.get_watermark_offsets(confluent_kafka.TopicPartition(topic, p), timeout=60, cached=False)
            return found
        finally:
            consumer.close()

    @patient
    def read(self, topic, start=None, seconds=LIMIT, **settings):
        """All records of a topic, committed ones only, in order per partition; start is a dict of offsets."""
        import confluent_kafka

        consumer = self.consumer(**settings)
        try:
            metadata = consumer.list_topics(timeout=60).topics.get(topic)
            if metadata is None or metadata.error is not None:
                return []
            partitions = sorted(metadata.partitions)
            consumer.assign([
                confluent_kafka.TopicPartition(topic, p, (start or {}).get(p, confluent_kafka.OFFSET_BEGINNING)) for p in partitions])
            waiting, found, settling, end = set(partitions), [], 0, time.monotonic() + seconds
            while waiting:
                if time.monotonic() > end:
                    fail(f"{topic} could not be read to its end within {seconds} s")
                for message in consumer.consume(5000, timeout=1):
                    if message.error() is None:
                        if self.skips_settling and message.value() is None and message.key() == b"settle":
                            settling += 1
                            continue
                        found.append(Record(
                            message.topic(), message.partition(), message.offset(), message.key(), message.value(),
                            [(n, v) for n, v in message.headers() or []], message.timestamp()))
                    elif message.error().code() == confluent_kafka.KafkaError._PARTITION_EOF:
                        waiting.discard(message.partition())
                    else:
                        raise confluent_kafka.KafkaException(message.error())
            self.settled += settling
            found.sort(key=lambda r: (r.partition, r.offset))
            return found
        finally:
            consumer.close()

    def kind(self):
        return ["--kafka", self.properties]

    def produce(self, records, producer=None, **settings):
        """Plain writes: (topic, partition, key, value, headers) each; by a producer that is there, or one of its own."""
        producer = producer or self.producer(**settings)
        problems = []
        for topic, partition, key, value, headers in records:
            words = {} if partition is None else {"partition": partition}
            while True:
                try:
                    producer.produce(
                        topic, key=key, value=value, headers=headers or None,
                        on_delivery=lambda error, _: problems.append(error) if error else None, **words)
                    break
                except BufferError:
                    producer.poll(1)
        left = producer.flush(LIMIT)
        if left or problems:
            fail(f"could not produce: {left} left, {problems[:3]}")


# The timestamp is its kind (1: its producer's, 2: the broker's) and milliseconds since 1970; only a broker's record has one.
Record = collections.namedtuple("Record", "topic partition offset key value headers timestamp", defaults=[None])


class Embedded:
    """The embedded log, read with Python's own SQLite."""

    def __init__(self, path):
        self.path = path

    def kind(self):
        return ["--log", self.path]

    def connect(self):
        # Not read-only: after a SIGKILL the first connection must be allowed to recover the write-ahead log.
        return contextlib.closing(sqlite3.connect(self.path, timeout=LIMIT))

    def ends(self, topics):
        if not self.path.exists():
            return {}
        with self.connect() as db:
            try:
                rows = db.execute("SELECT topic, partition, start, next FROM partitions").fetchall()
            except sqlite3.OperationalError:
                return {}  # Somebody is just making it.
        return {(topic, p): (start, end) for topic, p, start, end in rows if topic in topics}

    def read(self, topic):
        found = []
        with self.connect() as db:
            for i, p in db.execute("SELECT id, partition FROM partitions WHERE topic = ? ORDER BY partition", (topic,)).fetchall():
                for offset, key, value, headers in db.execute(f"SELECT offset, key, value, headers FROM records_{i} ORDER BY offset"):
                    found.append(Record(topic, p, offset, key, value, Embedded.headers(headers)))
        return found

    def widen(self, topic, partitions):
        """Gives a topic of one partition more of them."""
        with self.connect() as db:
            db.execute("UPDATE topics SET partitions = ? WHERE name = ?", (partitions, topic))
            first, = db.execute("SELECT id FROM partitions WHERE topic = ?", (topic,)).fetchone()
            made, = db.execute("SELECT sql FROM sqlite_master WHERE name = ?", (f"records_{first}",)).fetchone()
            for number in range(1, partitions):
                done = db.execute("INSERT INTO partitions (topic, partition, start, next) VALUES (?, ?, 0, 0)", (topic, number))
                db.execute(made.replace(f"records_{first}", f"records_{done.lastrowid}"))
            db.commit()

    def produce(self, records):
        """Writes past Weir, as somebody with a database shell could: (topic, partition, key, value, headers), and perhaps the offset."""
        with self.connect() as db:
            for topic, partition, key, value, headers, *place in records:
                i, offset = db.execute(
                    "SELECT id, next FROM partitions WHERE topic = ? AND partition = ?", (topic, partition or 0)).fetchone()
                offset = max([offset, *place])
                block = b"".join(
                    len(p).to_bytes(2, "little") + p for n, v in headers or [] for p in (n.encode(), v)) or None
                db.execute(
                    f"INSERT INTO records_{i} (offset, append_time, key, value, headers) VALUES (?, ?, ?, ?, ?)",
                    (offset, int(time.time() * 1000), key, value, block))
                db.execute("UPDATE partitions SET next = ? WHERE id = ?", (offset + 1, i))
            db.commit()

    @staticmethod
    def headers(block):
        parts, at = [], 0
        while block and at < len(block):
            length = int.from_bytes(block[at:at + 2], "little")
            parts.append(block[at + 2:at + 2 + length])
            at += 2 + length
        return [(parts[i].decode(), parts[i + 1]) for i in range(0, len(parts), 2)]


# What must hold on either log.

def journal(log):
    """The journal's records; its tombstones only mark how far a worker has looked."""
    return [json.loads(r.value) for r in log.read("weir.journal") if r.value is not None]


def covered(records):
    """Per (topic, partition) the offset behind the last journaled one."""
    reached = {}
    for record in records:
        for topic, partition, _, to, *_ in record["ranges"]:
            reached[topic, partition] = max(to, reached.get((topic, partition), 0))
    return reached


def is_drained(log, topics=INPUT_TOPICS):
    """Whether the journal has come to the end of every input partition."""
    ends = log.ends(topics)
    if not any(end > start for start, end in ends.values()):
        return False
    reached = covered(journal(log))
    return all(reached.get(source, start) >= end for source, (start, end) in ends.items())


def check_journal(t, log, topics=INPUT_TOPICS):
    """Epochs without gaps; every input offset in exactly one range. Answers the records."""
    records = journal(log)
    t.equal([r["epoch"] for r in records], list(range(len(records))), f"epochs are numbered 0 to {len(records) - 1} without gaps")
    ends = log.ends(topics)
    reached = {source: start for source, (start, _) in ends.items()}
    for record in records:
        for topic, partition, start, to, *_ in record["ranges"]:
            if reached.get((topic, partition)) != start or to <= start:
                fail(f"epoch {record['epoch']} takes {topic}/{partition} {start}..<{to}, but {reached.get((topic, partition))} is next")
            reached[topic, partition] = to
    for source, (_, end) in ends.items():
        if reached[source] != end:
            fail(f"{source} is journaled up to {reached[source]}, but ends at {end}")
    total = sum(end - start for start, end in ends.values())
    t.ok(f"each of {total} input offsets in {len(ends)} partitions stands in the journal exactly once")
    return records


def check_counts(t, log, records, produced):
    """Records = verdicts + silent + dead letters + events set aside, and the topics hold what the journal says."""
    sums = {k: sum(r.get(k, 0) for r in records) for k in ("records", "events", "dead_letters", "late", "set_aside", "verdicts")}
    silent = sums["events"] - sums["verdicts"]
    t.equal(
        (sums["verdicts"] + silent + sums["dead_letters"] + sums["set_aside"], sums["records"]), (produced, produced),
        f"{produced} records = {sums['verdicts']} verdicts + {silent} silent ({sums['late']} of both late) + {sums['dead_letters']} dead letters "
        f"+ {sums['set_aside']} set aside")
    found = {topic: log.read(topic) for topic in ("weir.verdicts", "weir.dead-letters", "weir.late")}
    t.equal(len(found["weir.verdicts"]), sums["verdicts"], "the verdict topic holds as many verdicts as the journal says")
    t.equal(len(found["weir.dead-letters"]), sums["dead_letters"], "the dead letter topic holds as many as the journal says")
    t.equal(len(found["weir.late"]), sums["set_aside"], "the late topic holds as many as the journal says")
    return found


def validator_of(name):
    """The validator of schemas/NAME.schema.json."""
    jsonschema = need("jsonschema")
    schema = json.loads((TOPOLOGIES / "marketplace" / "schemas" / f"{name}.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def check_bodies(t, log, rings=True):
    """Rings, dead letters and epochs fit their schemas; late events are the input's records. Without `rings` there must be none."""
    for name, topic in (("ring", "weir.rings"), ("dead-letter", "weir.dead-letters"), ("epoch", "weir.journal")):
        validator = validator_of(name)
        records = log.read(topic)
        for record in records:
            if record.value is None:
                # Whoever takes the journal over leaves a tombstone in it.
                assert topic == "weir.journal", f"a tombstone on {topic}"
                continue
            body = json.loads(record.value)
            for error in validator.iter_errors(body):
                fail(f"{topic}/{record.offset} does not fit the schema at {error.json_path}: {error.message}: {shown(record.value)}")
            wanted = (body["ring_id"] if name == "ring" else str(body["epoch"]) if name == "epoch" else
                      f"{body['topic']}/{body['partition']}/{body['offset']}")
            if record.key.decode() != wanted:
                fail(f"{topic}/{record.offset} has the key {record.key} instead of {wanted}")
        if name == "ring":
            t.check(bool(records) == rings, f"{topic} holds {'some rings' if rings else 'no ring, as nothing looks for one'}", len(records))
        t.ok(f"{len(records)} records of {topic} fit their schema and have their key")
    late = log.read("weir.late")
    inputs = {}
    for record in late:
        headers = {name: value.decode() for name, value in record.headers}
        topic, partition, offset = headers["weir_topic"], int(headers["weir_partition"]), int(headers["weir_offset"])
        if topic not in inputs:
            inputs[topic] = {(r.partition, r.offset): r.value for r in log.read(topic)}
        if inputs[topic].get((partition, offset)) != record.value or record.key.decode() != f"{topic}/{partition}/{offset}":
            fail(f"weir.late/{record.offset} is not the record at {topic}/{partition}/{offset}")
        if int(headers["weir_event_time_ms"]) >= int(headers["weir_watermark_ms"]):
            fail(f"weir.late/{record.offset} is not late: {headers}")
    if len({r.key for r in late}) != len(late):
        fail("a late event stands twice")
    t.ok(f"{len(late)} late events: the input's bytes, once each, behind the watermark they name")


def check_verdicts(t, verdicts, topology, source):
    """CloudEvents headers, deterministic ids and the schema of every verdict."""
    import re

    validator = validator_of("verdict")
    identifiers = set()
    for n, record in enumerate(verdicts):
        where = f"weir.verdicts/{record.partition}/{record.offset}"
        body = json.loads(record.value)
        # The validator is slow: every verdict of a small run, every tenth of a large one.
        if n < 1000 or n % 10 == 0:
            for error in validator.iter_errors(body):
                fail(f"{where} does not fit the schema at {error.json_path}: {error.message}: {shown(record.value)}")
        event = body["event"]
        wanted = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{event['topic']}/{event['partition']}/{event['offset']}/{topology}"))
        headers = {name: value.decode() for name, value in record.headers}
        if len(headers) != len(record.headers):
            fail(f"{where}: a header stands twice: {record.headers}")
        expected = {
            "ce_specversion": "1.0", "ce_type": "weir.verdict.v1", "ce_source": source,
            "content-type": "application/json", "ce_id": wanted}
        for name, value in expected.items():
            if headers.get(name) != value:
                fail(f"{where}: header {name} is {headers.get(name)!r} instead of {value!r}")
        fired = body["reasons"] + body.get("shadow", [])
        order = ["low", "medium", "high", "critical"]
        severity = max((r["severity"] for r in fired), key=order.index, default=None)
        if headers.get("ce_severitytext") != severity:
            fail(f"{where}: header ce_severitytext is {headers.get('ce_severitytext')!r}, the reasons say {severity!r}")
        if not re.fullmatch(r"\d+", headers.get("ce_epoch", "")):
            fail(f"{where}: header ce_epoch is {headers.get('ce_epoch')!r}")
        if set(headers) - set(expected) - {"ce_severitytext", "ce_epoch"}:
            fail(f"{where}: unknown headers {set(headers) - set(expected)}")
        if body["verdict_id"] != wanted or record.key.decode() != body["subject"]["id"]:
            fail(f"{where}: id or key is not the verdict's: {record.key} {shown(record.value)}")
        if wanted in identifiers:
            fail(f"{where}: verdict {wanted} stands twice")
        identifiers.add(wanted)
    t.ok(f"{len(verdicts)} verdicts: CloudEvents headers, ids by UUIDv5, key and schema; no id twice")


def check_audit(t, log, topology, verdicts=None):
    """`weir audit` finds nothing missing, repeated or different."""
    result = t.run("audit", "--topology", topology, *log.kind(), "--json")
    report = json.loads(result.out)
    t.equal({k: report.get(k) for k in ("missing", "repeated", "different")}, {"missing": 0, "repeated": 0, "different": 0},
            f"audit of {report.get('epochs')} epochs, {report.get('inputs')} inputs and {report.get('verdicts')} verdicts finds no difference")
    if verdicts is not None:
        t.equal(report["verdicts"], verdicts, "audit counted every verdict")
    return report


def check_audit_after_tampering(t, log, topology, fake_event_topic="orders"):
    """A duplicate of a true verdict and a made-up one are found."""
    true = log.read("weir.verdicts")[0]
    log.produce([("weir.verdicts", true.partition, true.key, true.value, true.headers)])
    result = t.run("audit", "--topology", topology, *log.kind(), "--json", code=7)
    report = json.loads(result.out)
    t.check(report["repeated"] >= 1, "audit finds a verdict that stands twice, exit 7", result.out)
    body = json.loads(true.value)
    body["verdict_id"] = str(uuid.uuid5(uuid.NAMESPACE_URL, "nobody"))
    body["decision"] = "allow"
    fake = json.dumps(body, separators=(",", ":")).encode()
    log.produce([("weir.verdicts", true.partition, true.key, fake, [(n, v) for n, v in true.headers if n != "ce_id"]
                  + [("ce_id", body["verdict_id"].encode())])])
    result = t.run("audit", "--topology", topology, *log.kind(), "--json", code=7)
    report = json.loads(result.out)
    t.check(report["different"] + report["repeated"] >= 2, "audit finds a verdict that nobody computed, exit 7", result.out)


def recorded_bytes(letter):
    """The original bytes of a dead letter."""
    if "record_base64" in letter:
        return base64.b64decode(letter["record_base64"])
    return None if letter["record"] is None else letter["record"].encode()
