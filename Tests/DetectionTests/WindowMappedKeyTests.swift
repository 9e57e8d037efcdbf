import Models
import Testing

@testable import Detection

/// A window read by another field of the very events it counts (`by account = country`): an event is counted at one key and reads
/// another, and now and then both are the same.
@Suite struct WindowMappedKeyTests {
    /// An aggregate as a rule writes it, and its value over the orders in the window, in their order.
    private struct Aggregate: Sendable {
        var text: String
        var value: @Sendable ([EngineBench.Order]) -> String?

        init(_ text: String, _ value: @escaping @Sendable ([EngineBench.Order]) -> String?) {
            self.text = text
            self.value = value
        }
    }

    private static let aggregates = [
        Aggregate("count()") { "\($0.count)" },
        Aggregate("sum(amount)") { "\($0.map(\.amount).reduce(0, +))" },
        Aggregate("avg(amount)") { $0.isEmpty ? nil : "\(Double($0.map(\.amount).reduce(0, +)) / Double($0.count))" },
        Aggregate("distinct(amount)") { "\(Set($0.map(\.amount)).count)" },
        Aggregate("min(amount)") { $0.map(\.amount).min().map { "\($0)" } },
        Aggregate("max(amount)") { $0.map(\.amount).max().map { "\($0)" } },
        Aggregate("first(amount)") { $0.first.map { "\($0.amount)" } },
        Aggregate("last(amount)") { $0.last.map { "\($0.amount)" } },
        Aggregate("sum(a)") { "\($0.compactMap(\.a).reduce(0, +))" },
        Aggregate("avg(a)") {
            let values = $0.compactMap(\.a)
            return values.isEmpty ? nil : "\(values.reduce(0, +) / Double(values.count))"
        },
        Aggregate("min(a)") { $0.compactMap(\.a).min().map { "\($0)" } },
        Aggregate("max(a)") { $0.compactMap(\.a).max().map { "\($0)" } },
        Aggregate("distinct(country)") { "\(Set($0.compactMap(\.country)).count)" },
        Aggregate("first(country)") { $0.compactMap(\.country).first.map { "\"\($0)\"" } },
        Aggregate("last(country)") { $0.compactMap(\.country).last.map { "\"\($0)\"" } },
    ]

    /// Epochs whose times overlap, so that many orders come out of order; inside an epoch they are in order, as the engine is given
    /// them.
    private static func epochs() -> [[EngineBench.Order]] {
        var random = SplitMix64(seed: 8)
        let keys = ["a", "b", "c", "d"]
        return (0..<3).map { epoch in
            (0..<260).map { _ in
                EngineBench.Order(
                    time: Int64(10_000 + epoch * 700) + Int64.random(in: 0..<1_000, using: &random),
                    account: keys.randomElement(using: &random) ?? "",
                    amount: .random(in: -9...9, using: &random),
                    a: Bool.random(using: &random) ? Double(Int.random(in: -9...9, using: &random)) / 4 : nil,
                    country: Int.random(in: 0..<6, using: &random) > 0 ? keys.randomElement(using: &random) : nil
                )
            }.sorted { $0.time < $1.time }
        }
    }

    @Test func `an order that reads the key it is counted at is left out of what excludes it`() throws {
        let bench = try EngineBench(
            """
            feature before = count() of order by account = country over 1h excluding this
            feature with   = count() of order by account = country over 1h
            """
        )
        let rows = bench.judge([
            .init(time: 1_000, account: "a", country: "a"), .init(time: 1_001, account: "a", country: "a"),
            .init(time: 1_002, account: "b", country: "a"), .init(time: 1_003, account: "b", country: "b"),
            .init(time: 1_004, account: "b"),
        ]).features
        #expect(rows.map { EngineBench.value("before", $0) } == ["0", "1", "2", "1", "null"])
        #expect(rows.map { EngineBench.value("with", $0) } == ["1", "2", "2", "2", "null"])
    }

    /// Four lanes share an epoch of 256 orders or more.
    @Test(arguments: [1, 4])
    func `every aggregate read by a mapped key equals its definition, with this order and without`(lanes: Int) throws {
        let over: Int64 = 400
        var rules = ""
        for (i, aggregate) in WindowMappedKeyTests.aggregates.enumerated() {
            rules += """
                feature before\(i)x = \(aggregate.text) of order by account = country over \(over)ms excluding this
                feature with\(i)x   = \(aggregate.text) of order by account = country over \(over)ms
                feature own\(i)x    = \(aggregate.text) of order by account over \(over)ms excluding this

                """
        }
        let bench = try EngineBench(rules, lanes: lanes)
        var history: [EngineBench.Order] = []
        var wrong: [String] = []
        for epoch in WindowMappedKeyTests.epochs() {
            for (order, row) in zip(epoch, bench.judge(epoch).features) {
                func inside(_ key: String?) -> [EngineBench.Order]? {
                    guard let key else { return nil }
                    return history.enumerated().filter {
                        $0.element.account == key && $0.element.time > order.time - over
                            && $0.element.time <= order.time
                    }
                    .sorted { ($0.element.time, $0.offset) < ($1.element.time, $1.offset) }.map(\.element)
                }
                // Equal times keep the order of arrival, so the order itself is the last of those it joins.
                let before = inside(order.country)
                let with = order.account == order.country ? before.map { $0 + [order] } : before
                let own = inside(order.account)
                history.append(order)
                for (i, aggregate) in WindowMappedKeyTests.aggregates.enumerated() {
                    for (name, orders) in [("before", before), ("with", with), ("own", own)] {
                        let want = orders.flatMap { aggregate.value($0) } ?? "null"
                        let got = EngineBench.value("\(name)\(i)x", row)
                        if got == want { continue }
                        // Numbers may be written in several ways.
                        if let a = Double(got), let b = Double(want), a == b { continue }
                        wrong.append("\(aggregate.text) \(name) at order \(history.count): \(got), not \(want)")
                    }
                }
            }
        }
        #expect(bench.engine.windowCounters.outOfOrder > 100)
        #expect(wrong.isEmpty, "\(wrong.count) values, first \(wrong.prefix(3))")
    }
}
