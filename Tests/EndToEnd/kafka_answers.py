#!/usr/bin/env python3
"""Requests and answers of a transaction that are lost, cut, or arrive when a later transaction is open: EXACT all the same.

A delayed request acts on whatever transaction its producer has open then, and every call says OK. Which of the client's rules keeps that
from doing harm, and that the same delays tear transactions without it, is tested in Tests/PipelineTests/KafkaLogDelay*.swift.
"""
import time

import proxy as network
from exact import Exact
from proxy import Proxy
from signals import Metrics
from support import Broker, main, wait_for
from waiting import until

#: What the recipe calls it; what is hit, how, and before which request of the same transactional id it is delivered late.
CASES = [
    ("A, a decision delayed into the next transaction", network.END_TXN, network.HOLD, network.ADD_OFFSETS),
    ("C, the same where the connection is cut, and the client asks again", network.END_TXN, network.CUT, network.ADD_OFFSETS),
    ("D, a decision delayed to before the next one's records", network.END_TXN, network.HOLD, network.PRODUCE),
    ("E, positions delayed to the next decision", network.TXN_OFFSET_COMMIT, network.HOLD, network.END_TXN),
    ("E, the same where the connection is cut", network.TXN_OFFSET_COMMIT, network.CUT, network.END_TXN),
    ("F, the answer to a decision lost", network.END_TXN, network.DROP_ANSWER, None),
    ("F, the connection cut where the answer should come", network.END_TXN, network.CUT_ANSWER, None),
]


def test(t):
    with Broker(t.folder) as broker, Proxy(broker.bootstrap) as proxy:
        shop = Exact(t, broker)
        # A request runs out of time after a second, and the client asks again within the same call.
        properties = shop.properties(
            "behind", proxy.bootstrap, {"socket.timeout.ms": 1000, "retry.backoff.ms": 200, "reconnect.backoff.max.ms": 200})
        metrics = Metrics(t.folder / "weir.prom")
        worker = shop.start(properties, "--metrics", metrics.path)
        shop.send()
        shop.judged("before", worker)
        for name, kind, fault, late in CASES:
            strike(shop, proxy, worker, name, kind, fault, late)
        # B is a decision to abort that is delayed: it has no place here.
        t.equal(proxy.aborts, 0, "B: of the decisions none was to abort, which is what a delayed one could do to the next transaction")
        storm(shop, proxy, worker, metrics, 10_000 if t.is_long else 40)
        shop.judged("after", worker)
        wait_for("the producers made anew are told", lambda: metrics("weir_producer_recreated_total"), process=worker)
        t.equal(worker.terminate(), 143, "SIGTERM ends run with 143")
        t.check(metrics("weir_producer_recreated_total") >= len(CASES), "the producers were made anew for each",
                metrics("weir_producer_recreated_total"))
        t.note(f"{proxy.seen[network.END_TXN]} decisions, {proxy.late} delivered late, "
               f"producers made anew {metrics('weir_producer_recreated_total'):.0f} times")
        shop.check("answers and requests lost, cut and late")


def strike(shop, proxy, worker, name, kind, fault, late):
    """One case of the recipe, between transactions that go well."""
    struck, delivered = proxy.faults[kind], proxy.late[kind]

    def happens(condition):
        """Sends orders until it is so; transactions follow one another only where there is something to judge."""
        if condition():
            return True
        shop.send(20)
        return False

    proxy.arm(kind, fault)
    wait_for(f"{name}: it happens", lambda: happens(lambda: proxy.faults[kind] > struck), process=worker)
    if late is not None:
        wait_for(f"{name}: it is kept", lambda: proxy.held, every=0.01, process=worker)
        proxy.release_before(late)
        wait_for(f"{name}: it is delivered late", lambda: happens(lambda: proxy.late[kind] > delivered), process=worker)
    shop.send(100)
    shop.judged(name, worker)
    shop.t.ok(name)


def storm(shop, proxy, worker, metrics, commits):
    """The random loop: requests of transactions are cut and delivered a quarter to over half a second later."""
    limit = 1200
    committed = lambda: metrics("weir_transactions_total", result="committed") or 0
    first, late, begin = committed(), sum(proxy.late.values()), time.monotonic()
    proxy.storm([network.END_TXN, network.TXN_OFFSET_COMMIT], share=0.12, least=0.25, most=0.6)

    def enough():
        worker.must_run()
        shop.send(5)
        return committed() - first >= commits

    until(enough, limit, every=0.02)
    proxy.calm()
    wait_for("what was delayed is delivered", lambda: not proxy.held)
    shop.t.check(sum(proxy.late.values()) > late, f"{committed() - first:.0f} commits in the random loop of "
                 f"{time.monotonic() - begin:.0f} s, {sum(proxy.late.values()) - late} requests delivered late")


if __name__ == "__main__":
    main(test)
