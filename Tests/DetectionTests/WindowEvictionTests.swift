import Models
import Testing

@testable import Detection

/// A table at its limit forgets keys, in the middle of an epoch: what it still says must be true of the key it is said of.
@Suite struct WindowEvictionTests {
    private static let direct = """
        feature n   = count() of order by account over 1d
        feature sum = sum(amount) of order by account over 1d
        feature who = distinct(account) of order by account over 1d
        """
    /// A second stream gives each key a record with the places of its streams.
    private static let withRecord =
        direct + "\nfeature even = count() of order where amount % 2 == 0 by account over 1d"

    /// Epochs of orders by more accounts than are kept; an order's amount is its account's number.
    private static func epochs() -> [[EngineBench.Order]] {
        var random = SplitMix64(seed: 5)
        return (0..<6).map { epoch in
            (0..<2_000).map { i in
                // A few busy accounts among many that come seldom.
                let number = Int64.random(in: 0..<(Bool.random(using: &random) ? 400 : 4_000), using: &random)
                return EngineBench.Order(
                    time: Int64(1_000_000 + epoch * 2_000 + i),
                    account: "a\(number)",
                    amount: number
                )
            }
        }
    }

    @Test(arguments: [direct, withRecord])
    func `a table that forgets keys never counts one key's events into another's window`(_ rules: String) throws {
        let bench = try EngineBench(rules, keys: 1)
        var orders: [String: Int] = [:]
        var wrong = 0
        var first = ""
        for epoch in WindowEvictionTests.epochs() {
            for (order, row) in zip(epoch, bench.judge(epoch).features) {
                orders[order.account, default: 0] += 1
                let count = Int64(EngineBench.value("n", row)) ?? 0
                let sum = Int64(EngineBench.value("sum", row))
                // Forgetting is allowed, so the count may be lower than the account's orders.
                if count < 1 || count > orders[order.account] ?? 0 || sum != count * order.amount
                    || EngineBench.value("who", row) != "1"
                {
                    wrong += 1
                    if wrong == 1 { first = "\(order.account) after \(orders[order.account] ?? 0) orders: \(row)" }
                }
            }
        }
        #expect(bench.engine.windowCounters.evictedKeys > 1_000)
        #expect(wrong == 0, "the first of them: \(first)")
    }

    @Test(arguments: [direct, withRecord])
    func `what a full table forgets does not depend on the number of lanes`(_ rules: String) throws {
        let epochs = WindowEvictionTests.epochs()
        let reference = try EngineBench(rules, keys: 1)
        let others = try [2, 4].map { try EngineBench(rules, keys: 1, lanes: $0) }
        for (number, epoch) in epochs.enumerated() {
            let expected = reference.judge(epoch).features
            for other in others {
                let features = other.judge(epoch).features
                let differing = zip(features, expected).filter { $0 != $1 }.count
                #expect(
                    differing == 0,
                    "epoch \(number) with \(other.engine.laneCount) lanes: \(differing) rows differ"
                )
            }
        }
        for other in others { #expect(other.engine.windowCounters == reference.engine.windowCounters) }
        #expect(reference.engine.windowCounters.evictedKeys > 1_000)
    }

    @Test func `a busy account keeps its window through a flood of new ones in its own epochs`() throws {
        let bench = try EngineBench(WindowEvictionTests.direct, keys: 1)
        func busy(_ time: Int64) -> EngineBench.Order { .init(time: time, account: "busy", amount: 1) }
        _ = bench.judge((0..<50).map { busy(Int64(1_000 + $0)) })
        for epoch in 0..<6 {
            let start = 2_000 + epoch * 1_000
            var orders = (0..<1_000).map {
                EngineBench.Order(time: Int64(start + $0), account: "new\(epoch)-\($0)", amount: 1)
            }
            orders.append(busy(Int64(start + 1_000)))
            let row = bench.judge(orders).features.last ?? ""
            #expect(EngineBench.value("n", row) == "\(51 + epoch)")
        }
        #expect(bench.engine.windowCounters.keys == 1_024)
        #expect(bench.engine.windowCounters.evictedKeys > 4_000)
    }
}
