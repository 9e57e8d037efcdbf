#!/usr/bin/env python3
"""Whatever is wrong ends with its documented exit code and a message that says what and what to do."""
import json
import os
import re
import shutil
import socket
import sqlite3
import subprocess

from support import OWN_TOPICS, TOPOLOGIES, Broker, Embedded, Skipped, Test, digest, fail, is_drained, journal, main, shown, wait_for
from traffic import orders
from waiting import LIMIT


def refused(t: Test, what, code, words, *patterns):
    """The command ends with this code, says everything of `patterns` on stderr and nothing on stdout, and never crashes."""
    result = t.run(*words, code=None)
    if result.code != code:
        fail(f"{what}: weir {' '.join(map(str, words))} ended with {result.code} instead of {code}: {shown(result.err)}")
    for pattern in patterns:
        if not re.search(pattern, result.err, re.IGNORECASE | re.MULTILINE):
            fail(f"{what}: the message lacks /{pattern}/: {shown(result.err)}")
    if "Fatal error" in result.err or "Backtrace" in result.err:
        fail(f"{what}: it crashed: {shown(result.err)}")
    if result.out:
        fail(f"{what}: something went to stdout: {shown(result.out)}")
    first = next((l for l in result.err.splitlines() if l.strip()), "")
    t.ok(f"{what}: exit {code}: {first[:150]}")


def usage(t):
    refused(t, "unknown flag", 2, ["run", "--topologi", "x"], "--topologi", "did you mean.*--topology")
    refused(t, "unknown command", 2, ["reply"], "did you mean.*replay")
    refused(t, "no command", 2, [], "--help|usage")
    refused(t, "value missing", 2, ["replay", "--topology", TOPOLOGIES / "quickstart", "--input"], "--input")
    refused(t, "value of the wrong kind", 2, ["demo", "--events", "many"], "--events", "many")
    refused(t, "no log", 2, ["run", "--topology", TOPOLOGIES / "quickstart"], "--kafka", "--log")
    refused(t, "two logs", 2, ["tail", "--kafka", "a", "--log", "b"], "--kafka", "--log")


def wrong_topology(t, source):
    command = lambda folder: ["replay", "--topology", folder, "--input", source]
    refused(t, "topology folder missing", 3, command(t.folder / "nowhere"), "nowhere")
    empty = t.folder / "empty"
    empty.mkdir()
    refused(t, "folder without topology.yaml", 3, command(empty), r"topology\.yaml")
    cases = [
        ("unknown key", "subject: account", "subjekt: account", r"topology\.yaml:\d+:\d+: ", r"^\s*\d*\s*\|?\s*\^", "subject"),
        ("unknown type", "type: money", "type: mony", r"topology\.yaml:\d+:\d+: ", "mony", "money"),
        ("field that is not declared", "time: ts", "time: when", r"topology\.yaml:\d+:\d+: ", "when"),
        ("no YAML", "events:", "events: [", r"topology\.yaml:\d+:\d+: "),
        ("tab in YAML", "    topic: orders", "\ttopic: orders", r"topology\.yaml:\d+:\d+: "),
    ]
    for what, old, new, *patterns in cases:
        folder = t.topology(what.replace(" ", "-"), replacing=[(old, new)])
        refused(t, f"topology: {what}", 3, command(folder), *patterns)
        refused(t, f"topology: {what}, run", 3, ["run", "--topology", folder, "--log", t.folder / "none.db"], patterns[0])


def wrong_rule(t, source):
    cases = [
        ("unknown field", "by account", "by acount", "acount", "account"),
        ("unknown name", "orders >= 3", "order >= 3", "order"),
        ("wrong type", "orders >= 3", 'orders >= "three"', "string"),
        ("unknown keyword", "because", "becuase", "becuase", "because"),
        ("brace missing", 'together"\n}', 'together"\n', r"\}|end"),
        ("window too long", "over 10m", "over 1000d", "over|window|long|limit"),
    ]
    for what, old, new, *patterns in cases:
        folder = t.topology("rule-" + what.replace(" ", "-"))
        path = folder / "rules" / "first.weir"
        text = path.read_text()
        if old not in text:
            fail(f"topologies/quickstart/rules/first.weir has no {old!r}")
        path.write_text(text.replace(old, new, 1))
        for words in (["replay", "--topology", folder, "--input", source], ["check", folder]):
            result = t.run(*words, code=3)
            text = result.err + result.out
            for pattern in [r"first\.weir:\d+:\d+: ", r"^\s*\d*\s*\|?\s*[\^~]", *patterns]:
                if not re.search(pattern, text, re.MULTILINE):
                    fail(f"rule: {what}: weir {words[0]} does not say /{pattern}/: {shown(text)}")
        t.ok(f"rule: {what}: exit 3: {text.splitlines()[0][:150]}")


def files(t, source):
    quickstart = TOPOLOGIES / "quickstart"
    words = ["replay", "--topology", quickstart, "--input", source]
    refused(t, "input missing", 3, ["replay", "--topology", quickstart, "--input", t.folder / "no.jsonl"], r"no\.jsonl", "no such file")
    refused(t, "input is a folder", 3, ["replay", "--topology", quickstart, "--input", t.folder], "directory")
    broken = t.folder / "broken.jsonl.gz"
    broken.write_bytes(b"\x1f\x8b\x08\x00broken")
    refused(t, "input is a broken .gz", 3, ["replay", "--topology", quickstart, "--input", broken], r"broken\.jsonl\.gz")
    for flag in ("--output", "--features", "--dead-letters"):
        refused(t, f"{flag} into a folder that is not there", 3, [*words, flag, t.folder / "no" / "out"], "cannot write", "no such file")
    refused(t, "--output is a folder", 3, [*words, "--output", t.folder], "cannot write", "directory")
    refused(t, "--output on a full disk", 3, [*words, "--output", "/dev/full"], "cannot write", "space")
    refused(t, "simulate onto a full disk", 3, ["simulate", "--events", 1000, "--output", "/dev/full"], "cannot write", "space")
    refused(t, "properties missing", 3, ["tail", "--kafka", t.folder / "no.properties"], r"no\.properties")
    bad = t.folder / "bad.properties"
    bad.write_text("bootstrap.servers=127.0.0.1:1\nfetch.wait.max.sm=5\n")
    refused(t, "unknown property", 3, ["tail", "--kafka", bad], r"fetch\.wait\.max\.sm")
    bad.write_text("fetch.wait.max.ms=5\n")
    refused(t, "no bootstrap.servers", 3, ["tail", "--kafka", bad], r"bootstrap\.servers")


def forbidden(t, log):
    """A log that one may not write, or not even read; root, who may do all, becomes nobody for it."""
    as_nobody = dict(user=65534, group=65534, extra_groups=[]) if os.geteuid() == 0 else {}
    marketplace = TOPOLOGIES / "marketplace"
    folder = t.folder / "forbidden"
    folder.mkdir()
    copy = folder / "copy.db"
    shutil.copy(log, copy)
    folder.chmod(0o555)
    try:
        for mode, commands in ((0o000, (["tail"], ["audit", "--topology", marketplace], ["doctor"], ["simulate", "--events", "10"])),
                               (0o444, (["simulate", "--events", "10"], ["run", "--topology", marketplace]))):
            copy.chmod(mode)
            for words in commands:
                result = subprocess.run([str(t.weir), *map(str, words), "--log", str(copy)], capture_output=True, text=True, timeout=LIMIT,
                                        cwd="/", **as_nobody)
                t.check(result.returncode == 6 and "copy.db" in result.stdout + result.stderr,
                        f"{words[0]} of a log with mode {mode:o}: exit 6", result.stdout + result.stderr)
    except PermissionError as reason:
        t.note(f"skipped: logs without rights: nobody may not start {t.weir}: {reason}")
    finally:
        folder.chmod(0o755)


def embedded(t):
    marketplace = TOPOLOGIES / "marketplace"
    run = lambda path: ["run", "--topology", marketplace, "--log", path]
    no = t.folder / "no" / "log.db"
    refused(t, "log in a folder that is not there", 5, run(no), r"log\.db")
    readers = (["tail"], ["audit", "--topology", marketplace])
    for words in readers:
        refused(t, f"{words[0]} of a log that is not there", 5, [*words, "--log", t.folder / "no.db"], r"no\.db")
    for words in (["run", "--topology", marketplace], ["simulate", "--events", 10], *readers):
        refused(t, f"{words[0]} on a folder as a log", 5, [*words, "--log", t.folder], "directory")
    for path in (t.folder / "no.db", t.folder):
        result = t.run("doctor", "--log", path, code=5)
        t.check("cannot open the log" in result.out, f"doctor of {path.name}: exit 5", result.out)
    whole = t.folder / "whole.db"
    t.run("simulate", "--events", 20_000, "--log", whole)
    with sqlite3.connect(whole) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    holder = sqlite3.connect(whole, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    refused(t, "log that another process holds", 5, ["simulate", "--events", 10, "--log", whole], "another process", r"whole\.db")
    holder.execute("ROLLBACK")
    holder.close()
    forbidden(t, whole)
    broken = t.folder / "broken.db"
    shutil.copy(whole, broken)
    size = broken.stat().st_size
    with open(broken, "r+b") as file:
        # Past the schema: what is there is records, and a page's header is destroyed in each place.
        for at in range(10 * 4096, size, 7 * 4096):
            file.seek(at)
            file.write(os.urandom(4096))
    refused(t, "log with destroyed pages", 7, run(broken), r"broken\.db")
    text = t.folder / "text.db"
    text.write_bytes(b"this is no database\n" * 500)
    before = digest(text)
    refused(t, "log that is no database", 7, run(text), r"text\.db")
    t.equal(digest(text), before, "and it is left as it was")
    foreign = t.folder / "foreign.db"
    with sqlite3.connect(foreign) as db:
        db.execute("CREATE TABLE mine (x)")
    db.close()
    refused(t, "database of somebody else", 3, run(foreign), r"foreign\.db", "not a log of Weir")
    with sqlite3.connect(whole) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    refused(t, "log of another version", 8, run(whole), r"whole\.db")
    for name in ("online-retail", "ad-clicks"):
        for words in (["run"], ["audit"]):
            refused(t, f"{name} for CSV files, {words[0]}", 3, [*words, "--topology", TOPOLOGIES / name, "--log", t.folder / "csv.db"],
                    "format: csv", "weir replay")
    t.check(not (t.folder / "csv.db").exists(), "and no log is left behind")
    # A journal that is not ours.
    strange = t.folder / "strange.db"
    t.run("simulate", "--events", 2000, "--log", strange)
    worker = t.start(*run(strange))
    try:
        log = Embedded(strange)
        wait_for("weir run on the embedded log", lambda: is_drained(log), process=worker)
        t.equal(worker.terminate(), 143, "SIGTERM ends weir run with 143")
    finally:
        worker.kill()
    last = journal(log)[-1]
    last["epoch"] += 7
    log.produce([("weir.journal", 0, str(last["epoch"]).encode(), json.dumps(last, separators=(",", ":")).encode(), [])])
    refused(t, "journal with a gap", 7, run(strange), "journal", "epoch")
    refused(t, "audit of a journal with a gap", 7, ["audit", "--topology", marketplace, "--log", strange], "journal", "epoch")
    # Another topology on the same log, with the same input topics: nothing of it may be touched.
    cloned = t.topology("other-market", base="marketplace", replacing=[("topology: marketplace", "topology: other-market")])
    shared = t.folder / "shared.db"
    t.run("simulate", "--events", 2000, "--log", shared)
    worker = t.start(*run(shared))
    log = Embedded(shared)
    try:
        wait_for("weir run on the embedded log", lambda: is_drained(log), process=worker)
        t.equal(worker.terminate(), 143, "SIGTERM ends weir run with 143")
    finally:
        worker.kill()
    before = {topic: log.read(topic) for topic in OWN_TOPICS}
    both = ["'marketplace'", "'other-market'", "cluster or a database file of its own"]
    for words in (["run"], ["audit"]):
        refused(t, f"{words[0]} on another topology's log", 3, [*words, "--topology", cloned, "--log", shared], *both)
    result = t.run("doctor", "--topology", cloned, "--log", shared, code=3)
    t.check(all(word in result.out for word in both), "doctor on another topology's log: exit 3, with both names", result.out)
    t.check({topic: log.read(topic) for topic in OWN_TOPICS} == before, "and nothing was written to it")
    worker = t.start(*run(shared))
    try:
        t.run("simulate", "--events", 100, "--seed", 9, "--log", shared)
        wait_for("the log's own topology goes on", lambda: is_drained(log), process=worker)
        t.equal(worker.terminate(), 143, "the log's own topology goes on as before")
    finally:
        worker.kill()
    # A record that does not name its topology is nobody's.
    nameless = journal(log)[-1]
    nameless["epoch"] += 1
    del nameless["topology_name"]
    log.produce([("weir.journal", 0, str(nameless["epoch"]).encode(), json.dumps(nameless, separators=(",", ":")).encode(), [])])
    refused(t, "journal with a record of nobody's", 7, run(shared), "does not say which topology")


def kafka(t):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    properties = t.folder / "nobody.properties"
    properties.write_text(f"bootstrap.servers=127.0.0.1:{port}\nweir.connect.ms=3000\n")
    marketplace = TOPOLOGIES / "marketplace"
    for words in (["run", "--topology", marketplace], ["audit", "--topology", marketplace], ["tail"], ["doctor"]):
        what = f"no broker: {words[0]}"
        if words[0] == "doctor":
            # Findings are data and go to stdout.
            result = t.run(*words, "--kafka", properties, code=5)
            t.check(str(port) in result.out + result.err, f"{what}: exit 5")
            continue
        refused(t, what, 5, [*words, "--kafka", properties], str(port), "bootstrap.servers|reach|broker")
    refused(t, "no broker: simulate", 5, ["simulate", "--events", 10, "--kafka", properties], str(port))


def passwords(t):
    try:
        broker = Broker(t.folder, "--sasl", "--acl")
    except Skipped as reason:
        t.note(f"skipped: wrong password: {reason}")
        return
    with broker:
        for what, user, password in (("wrong password", "weir", "wrong-secret"), ("no rights", "reader", "reader-secret")):
            properties = t.folder / "sasl.properties"
            properties.write_text(
                f"bootstrap.servers={broker.bootstrap}\nsecurity.protocol=sasl_plaintext\nsasl.mechanism=PLAIN\n"
                f"sasl.username={user}\nsasl.password={password}\nweir.connect.ms=10000\n")
            for words in (["run", "--topology", TOPOLOGIES / "marketplace"], ["tail"]):
                wanted = "password|credential|authent" if what == "wrong password" else "right|authori[sz]|ACL|allow"
                refused(t, f"{what}: {words[0]}", 6, [*words, "--kafka", properties], wanted)
                if password in t.run(*words, "--kafka", properties, code=6).err:
                    fail(f"{what}: the message shows the password")
            t.ok(f"{what}: the password is not shown")
        # An old librdkafka cannot do SCRAM with today's brokers: that must not read as a wrong password.
        properties.write_text(
            f"bootstrap.servers={broker.bootstrap}\nsecurity.protocol=sasl_plaintext\nsasl.mechanism=SCRAM-SHA-512\n"
            "sasl.username=weir\nsasl.password=weir-secret\nweir.connect.ms=10000\n")
        result = t.run("tail", "--kafka", properties, code=None)
        t.check(result.code == 6 or (result.code == 8 and "2.6.1" in result.err), "SCRAM: no rights, or a librdkafka that is named as too old",
                result.err)


def test(t):
    source = t.folder / "orders.jsonl"
    source.write_bytes(b"\n".join(orders(20_000)))
    failures = []
    for part in (usage, lambda t: wrong_topology(t, source), lambda t: wrong_rule(t, source), lambda t: files(t, source), embedded, kafka,
                 passwords):
        # One wrong code must not hide the others.
        try:
            part(t)
        except Exception as failure:
            failures.append(f"{type(failure).__name__}: {failure}")
    if failures:
        fail("\n".join(failures))


main(test)
