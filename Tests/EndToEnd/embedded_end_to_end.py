#!/usr/bin/env python3
"""The whole way on the embedded log: simulate, run, tail, audit; killed three times, exactly once all the same."""
import json
import random

from support import (
    Embedded, TOPOLOGIES, check_audit, check_audit_after_tampering, check_bodies, check_counts, check_journal, check_verdicts, is_drained, main, wait_for)
from waiting import moment

MARKETPLACE = TOPOLOGIES / "marketplace"


def produced(log, topics):
    return sum(end - start for start, end in log.ends(topics).values())


def test(t):
    from support import INPUT_TOPICS

    events = 200_000 if t.is_long else 60_000
    log = Embedded(t.folder / "shop.db")
    run = ["run", "--topology", MARKETPLACE, *log.kind(), "--threads", 2]

    # Everything there before the start.
    t.run("simulate", "--events", events, "--seed", 11, *log.kind())
    t.equal(produced(log, INPUT_TOPICS), events, f"{events} events stand in the input topics")
    worker = t.start(*run, label="run")
    wait_for("run drains the log", lambda: is_drained(log), process=worker)
    t.equal(worker.terminate(), 143, "SIGTERM ends run with 143")
    t.check(not any(w in worker.err for w in ("Fatal", "weir: error", "level=error")), "and cleanly", worker.err)
    records = check_journal(t, log)
    found = check_counts(t, log, records, events)
    check_verdicts(t, found["weir.verdicts"], "marketplace", "weir/marketplace")
    tail = t.start("tail", *log.kind(), "--since", "1h", "--json", label="tail")
    wait_for("tail --since shows verdicts", lambda: tail.out.count("\n") >= len(found["weir.verdicts"]), process=tail)
    tail.terminate()
    shown = [json.loads(line) for line in tail.out.splitlines()]
    t.equal(len(shown), len(found["weir.verdicts"]), "tail --since 1h --json shows every verdict, each line JSON")
    high = t.start("tail", *log.kind(), "--since", "1h", "--severity", "high", label="tail")
    wanted = sum(any(r["severity"] in ("high", "critical") for r in v["reasons"] + v.get("shadow", [])) for v in shown)
    wait_for("tail --severity shows verdicts", lambda: high.out.count("\n") >= wanted, process=high)
    high.terminate()
    t.equal(high.out.count("\n"), wanted, f"tail --severity high shows {wanted} of {len(shown)}")
    t.check(0 < wanted < len(shown), "some of them, not all")
    check_audit(t, log, MARKETPLACE, len(found["weir.verdicts"]))

    # And again with SIGKILL at random moments while events come in.
    log = Embedded(t.folder / "crashed.db")
    run[4] = log.path
    rate = 6000
    simulate = t.start("simulate", "--events", events, "--seed", 12, "--rate", rate, *log.kind(), label="simulate")
    wait_for("simulate makes its topics", lambda: log.path.exists() and len(log.ends(INPUT_TOPICS)) == len(INPUT_TOPICS), process=simulate)
    chance = random.Random(5)
    kills = 20 if t.is_long else 3
    for n in range(kills):
        worker = t.start(*run, label="run")
        moment(chance, 0.2, 0.2 + events / rate / kills)
        worker.must_run()
        worker.kill()
    t.ok(f"run was killed {kills} times")
    worker = t.start(*run, label="run")
    t.equal(simulate.wait(), 0, "simulate filled the log beside it")
    wait_for("run drains the log after the last kill", lambda: is_drained(log), process=worker)
    t.equal(worker.terminate(), 143, "SIGTERM ends run with 143")
    t.equal(produced(log, INPUT_TOPICS), events, f"{events} events stand in the input topics")
    records = check_journal(t, log)
    found = check_counts(t, log, records, events)
    check_verdicts(t, found["weir.verdicts"], "marketplace", "weir/marketplace")
    check_bodies(t, log)
    check_audit(t, log, MARKETPLACE, len(found["weir.verdicts"]))
    check_audit_after_tampering(t, log, MARKETPLACE)


main(test)
