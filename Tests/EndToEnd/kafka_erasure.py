#!/usr/bin/env python3
"""A person's records are erased from an input, by tombstones and compaction: each later start and audit names it, none brings them back."""
import collections
import json
import shutil

from exact import INPUT, Exact
from shop import administer, alter
from support import Broker, is_drained, main, wait_for

PERSON = "hot0"


def test(t):
    with Broker(t.folder) as broker:
        shop = Exact(t, broker)
        worker = shop.start()
        shop.send(3000)
        shop.judged("all", worker)
        t.equal(worker.terminate(), 143, "SIGTERM ends run with 143")
        before = said(broker)
        t.check(any(account == PERSON for account, _ in before), f"verdicts name {PERSON}")
        erase(t, broker, shop)
        flags = ["--topology", shop.topology, *broker.kind()]
        for what in ("from a snapshot", "from the journal's beginning"):
            if what != "from a snapshot":
                shutil.rmtree(t.folder / "state" / "weir" / "quickstart" / "snapshots")
            for command in ("run", "audit"):
                result = t.run(command, *flags, code=7)
                t.check("hold other records than those that epoch" in result.err and f"{INPUT}/" in result.err,
                        f"{command} {what} names partition, offsets and epoch, exit 7", result.err)
        t.equal(said(broker), before, "and nothing is said")
        # The one way on: what is left is judged anew.
        administer(broker, lambda client: client.delete_topics(["weir.journal"], operation_timeout=60))
        worker = t.start("run", *flags, "--start-anew", label="run")
        wait_for("what is left is judged anew", lambda: is_drained(broker, [INPUT]), process=worker)
        t.equal(worker.terminate(), 143, "SIGTERM ends run with 143")
        after = said(broker)
        t.equal({name: after[name] for name in after if name[0] == PERSON}, {name: before[name] for name in before if name[0] == PERSON},
                f"nothing more is said of {PERSON}")
        t.equal({name: after[name] for name in after if name[0] != PERSON}, {name: 2 for name in before if name[0] != PERSON},
                "and the same as before of all others")


def said(broker):
    """How often each verdict stands in the log, by account and id."""
    bodies = [json.loads(r.value) for r in broker.read("weir.verdicts") if r.value is not None]
    return collections.Counter((body["subject"]["id"], body["verdict_id"]) for body in bodies)


def erase(t, broker, shop):
    """As an administrator does who switches compaction on for the occasion."""
    mine = lambda: [r for r in broker.read(INPUT) if r.value and json.loads(r.value)["account"] == PERSON]
    erased = mine()
    alter(broker, INPUT, {"cleanup.policy": "compact", "segment.ms": "1000", "min.cleanable.dirty.ratio": "0.01"})
    broker.produce([(INPUT, r.partition, r.key, None, None) for r in erased])

    def gone():
        # Only what is written closes the segment that the cleaner leaves alone.
        broker.produce([(INPUT, n, b"nobody", None, None) for n in range(shop.partitions)])
        return not mine()

    wait_for(f"{len(erased)} records of {PERSON} are erased", gone, every=1)
    alter(broker, INPUT, {"cleanup.policy": "delete"})
    t.check(erased, f"{len(erased)} records of {PERSON} are erased")


if __name__ == "__main__":
    main(test)
