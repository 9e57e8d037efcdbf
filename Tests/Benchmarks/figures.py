"""What the benchmarks share: figures with their command, alternating pairs, CPU time of a child, one copy of each generated input."""
import json
import os
import pathlib
import shlex
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHARED = pathlib.Path(os.environ.get("WEIR_SHARED") or ROOT.parent / "shared")
# Inputs are made once and kept: the same seeds give the same files.
DATA = ROOT / ".build" / "benchmarks"


def figure(name, value, unit, command=""):
    print(f"{name:<44} {value:>14} {unit:<12} {command}", flush=True)


def note(text):
    print(f"  {text}", flush=True)


def wrong(text):
    sys.exit(f"error: {text}")


def shown(words, *temporary):
    """A command as one types it: the program by its name, the repository's files from its root, temporary ones by their names."""
    typed = []
    for word in map(str, words):
        path = pathlib.PurePath(word)
        if path.name == "weir" or any(word == str(t) for t in temporary):
            word = path.name
        elif word.startswith(f"{ROOT}/"):
            word = word[len(str(ROOT)) + 1:]
        typed.append(word)
    return shlex.join(typed)


class Run:
    """A finished child: its output, wall seconds and CPU seconds."""

    def __init__(self, words, environment=None):
        self.words = [str(w) for w in words]
        start = time.monotonic()
        process = subprocess.Popen(
            self.words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT,
            env={**os.environ, **(environment or {})})
        # Both streams are short: a summary and perhaps a message.
        self.out, self.err = (stream.read().decode("utf-8", "replace") for stream in (process.stdout, process.stderr))
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        self.wall = time.monotonic() - start
        self.cpu = usage.ru_utime + usage.ru_stime
        if process.returncode != 0:
            wrong(f"{shown(self.words)} ended with {process.returncode}: {self.err[-2000:]}{self.out[-500:]}")

    @property
    def json(self):
        return json.loads(self.out.strip().splitlines()[-1])


def made(name, *words):
    """A file under DATA that a command makes: `OUTPUT` among the words stands for its path."""
    path = DATA / name
    if not path.exists():
        DATA.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".partial")
        Run([str(partial) if w == "OUTPUT" else w for w in words])
        partial.rename(path)
    return path


def median(values):
    return statistics.median(values)
