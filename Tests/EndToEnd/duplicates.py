#!/usr/bin/env python3
"""Events that repeat another: in files, where they change nothing of what is said of the others, and on the embedded log, where everything is
sent twice while the worker is killed between."""
import json
import random

from support import Embedded, check_audit, check_counts, check_journal, is_drained, lines, main, objects, wait_for
from traffic import orders


def replay(t, topology, inputs, name, threads=2):
    outputs = [t.folder / f"{name}.{kind}" for kind in ("verdicts", "features")]
    done = t.run("replay", "--topology", topology, "--input", *inputs, "--output", outputs[0], "--features", outputs[1], "--threads", threads, "--json")
    return json.loads(done.out), lines(outputs[0]), lines(outputs[1])


def files(t):
    """Half of the orders once more in a file of their own, so that the offsets of the first ones stay."""
    subject = "    subject: account\n"
    topology = t.topology("deduped", replacing=[(subject, subject + "    dedupe: { by: id, over: 1d }\n")])
    firsts, seconds, hour = t.folder / "1-firsts.jsonl", t.folder / "2-seconds.jsonl", 3_600_000
    made, chance = list(orders(20_000)), random.Random(9)
    firsts.write_bytes(b"".join(line + b"\n" for line in made))
    again = []
    for line in made:
        order = json.loads(line)
        if chance.random() < .5:
            # As it was, or with the clock of who sends it again.
            order["ts"] += chance.choice([0, 0, chance.randrange(hour)])
            again.append(order)
    again.sort(key=lambda order: order["ts"])
    seconds.write_text("".join(json.dumps(order) + "\n" for order in again))

    once, verdicts, features = replay(t, topology, [firsts], "once")
    t.check(once["verdicts"] > 100, f"{once['verdicts']} verdicts on {once['events']} orders")
    for threads in (1, 2, 4):
        twice = replay(t, topology, [firsts, seconds], f"twice-{threads}", threads)
        t.equal(twice[0]["events"], len(made) + len(again), f"{threads} threads: {len(again)} orders come once more")
        t.equal(twice[0]["silent"], once["silent"] + len(again), "and leave no verdict")
        t.check(twice[1:] == (verdicts, features), "and every byte of the others' verdicts and features is as if they had not come")
        t.equal(twice[0]["duplicates"], len(again), "and are counted")
    said = t.run("replay", "--topology", topology, "--input", firsts, "--input", seconds).out
    t.check(f"duplicates    {len(again)}  (not judged again)" in said, "and a person is told", said)
    plain = t.topology("plain")
    counted = replay(t, plain, [firsts, seconds], "plain")[0]
    t.check(counted["verdicts"] > once["verdicts"], "without dedupe they would be counted")

    told = t.topology("told", replacing=[(subject, subject + "    emit: all\n    dedupe: { by: id, over: 1d }\n")])
    found, _, _ = replay(t, told, [firsts, seconds], "told")
    t.equal(found["silent"], 0, "with emit: all every event has its verdict")
    both = objects(t.folder / "told.verdicts")
    repeated = [v for v in both if v["event"].get("duplicate")]
    t.equal(len(repeated), len(again), "those on repetitions say so")
    t.equal({(v["decision"], v["score"], len(v["reasons"])) for v in repeated}, {("allow", 0, 0)}, "and allow without a reason")
    first = [v for v in both if not v["event"].get("duplicate")]
    t.equal([v["event"]["offset"] for v in first], list(range(len(made))), "the others are the first ones")
    times = [v["event"]["time"].rstrip("Z") for v in both]
    t.equal(times, sorted(times), "all in the order of their times")


def log(t):
    """The same simulated traffic twice into one log, by a shop that is not sure."""
    topology = t.topology("shop", "marketplace", replacing=[
        ("    emit: flagged\n", "    emit: flagged\n    dedupe: { by: id, over: 90d }\n"), ("lateness: 5m", "lateness: 60d")])
    events = 20_000
    said = {}
    for name, times in (("once", 1), ("twice", 2)):
        shop = Embedded(t.folder / f"{name}.db")
        run = ["run", "--topology", topology, *shop.kind(), "--threads", 2]
        for n in range(times):
            t.run("simulate", "--events", events, "--seed", 21, *shop.kind())
            worker = t.start(*run, label=f"run-{name}")
            wait_for("run drains the log", lambda: is_drained(shop), process=worker)
            # The next one rebuilds from the log what it knows of what came before.
            worker.kill()
        records = check_journal(t, shop)
        found = check_counts(t, shop, records, times * events)["weir.verdicts"]
        said[name] = sorted((v["event"]["type"], v["event"]["id"], v["decision"], v["score"]) for v in (json.loads(r.value) for r in found))
        repeated = sum(r.get("duplicates", 0) for r in records)
        t.equal(repeated, (times - 1) * events, f"{name}: the journal counts {repeated} repetitions")
        check_audit(t, shop, topology, len(found))
    t.check(len(said["once"]) > 100 and said["twice"] == said["once"], f"sent twice, the same {len(said['once'])} verdicts")


def test(t):
    files(t)
    log(t)


main(test)
