#!/usr/bin/env python3
"""The README's first five minutes work as they are written: its shell blocks are typed in, one line after the other."""
import os
import re
import shlex
import shutil
import signal
import subprocess

from support import (
    ROOT, SHARED, TOPOLOGIES, Background, Broker, Embedded, OWN_TOPICS, Skipped, fail, is_drained, main, shown, wait_for)
from waiting import LIMIT

SECTION = "A first rule in five minutes"
ADDRESS = "127.0.0.1:9092"


def blocks():
    """The section's fenced blocks: language and text."""
    text = (ROOT / "README.md").read_text()
    section = re.search(rf"^## {SECTION}\n(.*?)^## ", text, re.DOTALL | re.MULTILINE)
    if not section:
        fail(f"the README has no section '{SECTION}'")
    return re.findall(r"^```(\w*)\n(.*?)^```", section[1], re.DOTALL | re.MULTILINE)


class Shell:
    """A terminal in a copy of what the README needs of the repository, with `weir` in PATH."""

    def __init__(self, t):
        self.t = t
        self.folder = t.folder / "clone"
        self.folder.mkdir()
        shutil.copytree(TOPOLOGIES, self.folder / "topologies")
        programs = t.folder / "programs"
        programs.mkdir()
        (programs / "weir").symlink_to(t.weir)
        self.programs = programs
        os.environ["PATH"] = f"{programs}:{os.environ['PATH']}"
        self.following = []

    def type(self, line):
        """One line: a command that goes on until it is stopped is left running beside the others, as in a second terminal."""
        words = shlex.split(line, comments=True)
        if words[:2] in (["weir", "run"], ["weir", "tail"]):
            process = Background(["bash", "-c", f"exec {line}"], self.t.folder, f"{words[1]}-{len(self.t.processes)}", cwd=self.folder)
            self.t.processes.append(process)
            self.following.append(process)
            if words[1] == "run":
                wait_for(f"`{line}` is ready", lambda: "msg=ready" in process.err, process=process)
                self.t.ok(f"`{line}` is ready")
            else:
                wait_for(f"`{line}` shows a verdict", lambda: "\n" in process.out, process=process)
                self.t.ok(f"`{line}`: {process.out.splitlines()[0]}")
            return ""
        done = subprocess.run(
            ["bash", "-c", line], cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=LIMIT)
        out = done.stdout.decode("utf-8", "replace")
        if done.returncode != 0:
            fail(f"`{line}` ended with {done.returncode}: {shown(done.stderr)} {shown(out)}")
        self.t.ok(f"`{line}`")
        return out

    def stop(self):
        """SIGTERM to all that runs beside; each drains and ends with 143."""
        for process in reversed(self.following):
            if process.is_running:
                process.process.send_signal(signal.SIGTERM)
            code = process.wait()
            if code != 143:
                fail(f"{process.label} ended with {code}: {shown(process.err)}")
        self.t.ok(f"{len(self.following)} commands end by SIGTERM with 143")
        self.following = []


def lines_of(block):
    return [line for line in block.splitlines() if line.strip() and not line.startswith("#")]


def first_rule(t, shell, block):
    shown_files = {"yaml": "topology.yaml", "": "rules/first.weir"}
    for language, text in blocks():
        if language in shown_files:
            path = TOPOLOGIES / "quickstart" / shown_files[language]
            t.check(text in path.read_text(), f"the README shows {path.name} as it is", text)
    out = ""
    for line in lines_of(block):
        out = shell.type(line)
    t.check(out.count("\n") == 1 and '"id":"o4"' in out and "32525 cents" in out, "the fourth order is flagged, and no other", out)
    rule = shell.folder / "topologies" / "quickstart" / "rules" / "first.weir"
    text = rule.read_text()
    rule.write_text(text.replace("orders >= 3", "ordres >= 3"))
    done = subprocess.run(["weir", "check", "topologies/quickstart"], cwd=shell.folder, capture_output=True, text=True, timeout=LIMIT)
    rule.write_text(text)
    wanted = [r"first\.weir:\d+:\d+: error", r"\^", "did you mean 'orders'"]
    t.check(done.returncode == 3 and all(re.search(w, done.stderr) for w in wanted), "a slip shows file, line, caret and what was meant", done)


def on_kafka(t, shell, block):
    with Broker(t.folder) as broker:
        if not shutil.which("kafka-topics.sh"):
            # The program that starts the broker knows Kafka's own tools, and their address.
            (shell.programs / "kafka-topics.sh").write_text(
                f'#!/bin/sh\nshift 2\nexec "{SHARED}/kafka/kafka-local" tool --dir "{broker.folder}" topics "$@"\n')
            (shell.programs / "kafka-topics.sh").chmod(0o755)
        for line in lines_of(block):
            if line.startswith("scripts/kafka"):
                continue
            shell.type(line.replace(ADDRESS, broker.bootstrap))
        t.equal(len(broker.read("weir.verdicts")), 1, "the sample's one verdict is on Kafka")
        shell.stop()


def test(t):
    shell = Shell(t)
    shells = [text for language, text in blocks() if language == "sh"]
    replay, live, kafka = [next((b for b in shells if word in b), None) for word in ("weir check", "--log", "--kafka")]
    if None in (replay, live, kafka) or len(shells) != 3:
        fail(f"the section has {len(shells)} blocks to type; a first rule, one file and Kafka were expected")
    first_rule(t, shell, replay)

    for line in lines_of(live):
        shell.type(line)
    log = Embedded(shell.folder / "shop.db")
    wait_for("run drains the log", lambda: is_drained(log), process=shell.following[0])
    shell.stop()
    t.check(len(log.read(OWN_TOPICS[0])) > 20, "verdicts stand in the log")

    if not shutil.which("kcat"):
        return t.note("skipped: on Kafka: no kcat: scripts/install --tests")
    try:
        on_kafka(t, shell, kafka)
    except Skipped as reason:
        t.note(f"skipped: on Kafka: {reason}")


main(test)
