#!/usr/bin/env python3
"""`weir demo` needs nothing and shows the product: verdicts soon, a summary that lists each attack, exit 0."""
import json
import re
import time

from support import Embedded, check_audit, fail, main, wait_for, TOPOLOGIES

ATTACKS = ["coupon", "click", "brushing", "take"]


def simulated(text):
    """How many events of each attack the summary counts."""
    return dict(re.findall(r"^([a-z_]+) +(\d+) +\d+\.\d %", text, re.MULTILINE))


def test(t):
    demo = t.start("demo", "--events", 20_000)
    start = time.monotonic()
    wait_for("the first verdict", lambda: "\n" in demo.out, every=0.05, process=demo)
    # Promised are 5 s, for a machine that has nothing else to do.
    waited = time.monotonic() - start
    t.check(waited < 50, f"the first verdict comes after {waited:.1f} s; 5 s are promised")
    if demo.wait() != 0:
        fail(f"weir demo ended with {demo.process.returncode}: {demo.err}")
    text = demo.out + demo.err
    missing = [a for a in ATTACKS if a not in text.lower()]
    t.check(not missing, "the summary names every attack", f"without {missing}: {text}")
    for word, others in (("caught", []), ("missed", []), ("false", ["in error", "wrongly"])):
        t.check(any(w in text.lower() for w in [word, *others]), f"the summary says what was {word}", text)
    t.check("\x1b" not in text, "no colour where no terminal is")

    again = t.run("demo", "--events", 20_000, "--seed", 1)
    # Live, epochs are cut by the clock, so a ring may be known an event earlier or later; what is simulated is the same.
    t.equal(simulated(again.out), simulated(demo.out), f"seed 1 is what runs without a seed: {simulated(demo.out)}")

    path = t.folder / "kept.db"
    kept = t.run("demo", "--events", 20_000, "--seed", 7, "--log", path, "--json")
    for line in kept.out.splitlines():
        json.loads(line)
    t.ok(f"--json: {len(kept.out.splitlines())} lines, each JSON")
    summary = json.loads(kept.out.splitlines()[-1])
    caught = {a["attack"]: (a["caught"], a["missed"]) for a in summary["attacks"]}
    t.check(any(a > 0 for a, _ in caught.values()) and summary["honest"]["false"] < summary["honest"]["events"] // 20,
            f"--json tells what was caught and missed: {caught}, {summary['honest']['false']} false", summary)
    log = Embedded(path)
    verdicts = log.read("weir.verdicts")
    t.check(len(verdicts) > 50, f"{len(verdicts)} verdicts stand in the log that was kept")
    check_audit(t, log, TOPOLOGIES / "marketplace", len(verdicts))


main(test)
