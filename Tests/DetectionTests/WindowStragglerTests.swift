import Models
import Testing

@testable import Detection

/// Events that come late at a busy key: right to the last value, and at a cost that does not grow with their number.
@Suite struct WindowStragglerTests {
    private typealias Order = EngineBench.Order

    /// An aggregate as a rule writes it, the orders it counts, and its value over them in the order of their times.
    private struct Aggregate: Sendable {
        var text: String
        /// Aggregates with the same one share a ring, and its limit.
        var stream: Int
        var value: @Sendable ([EngineBench.Order]) -> String?

        init(_ stream: Int, _ text: String, _ value: @escaping @Sendable ([EngineBench.Order]) -> String?) {
            self.text = text
            self.stream = stream
            self.value = value
        }
    }

    /// Which orders belong to a stream.
    private static let streams: [@Sendable (EngineBench.Order) -> Bool] = [
        { _ in true }, { $0.a != nil }, { $0.country != nil }, { $0.amount % 2 == 0 },
    ]

    private static let aggregates = [
        Aggregate(0, "count() of order") { "\($0.count)" },
        Aggregate(0, "sum(amount) of order") { "\($0.map(\.amount).reduce(0, +))" },
        Aggregate(0, "avg(amount) of order") {
            $0.isEmpty ? nil : "\(Double($0.map(\.amount).reduce(0, +)) / Double($0.count))"
        },
        Aggregate(0, "distinct(amount) of order") { "\(Set($0.map(\.amount)).count)" },
        Aggregate(0, "min(amount) of order") { $0.map(\.amount).min().map { "\($0)" } },
        Aggregate(0, "max(amount) of order") { $0.map(\.amount).max().map { "\($0)" } },
        Aggregate(0, "first(amount) of order") { $0.first.map { "\($0.amount)" } },
        Aggregate(0, "last(amount) of order") { $0.last.map { "\($0.amount)" } },
        Aggregate(1, "sum(a) of order") { "\($0.compactMap(\.a).reduce(0, +))" },
        Aggregate(1, "max(a) of order") { $0.compactMap(\.a).max().map { "\($0)" } },
        Aggregate(1, "min(a) of order") { $0.compactMap(\.a).min().map { "\($0)" } },
        Aggregate(2, "distinct(country) of order") { "\(Set($0.compactMap(\.country)).count)" },
        Aggregate(2, "first(country) of order") { $0.compactMap(\.country).first.map { "\"\($0)\"" } },
        Aggregate(2, "last(country) of order") { $0.compactMap(\.country).last.map { "\"\($0)\"" } },
        Aggregate(3, "count() of order where amount % 2 == 0") { "\($0.count)" },
    ]

    private static let windows: [Int64] = [90, 2_000]

    private static func rules() -> String {
        var text = ""
        for (i, aggregate) in aggregates.enumerated() {
            for (w, over) in windows.enumerated() {
                text += "feature with\(i)w\(w)x = \(aggregate.text) by account over \(over)ms\n"
                text += "feature before\(i)w\(w)x = \(aggregate.text) by account over \(over)ms excluding this\n"
            }
        }
        return text
    }

    /// The definition, with its limit: a key's entries in order of time and then arrival, of which the oldest goes when one more is
    /// added than it may keep; that is before the event reads its window, unless newer ones are kept.
    private struct Definition {
        let limit: Int
        private var kept: [String: [[Order]]] = [:]
        private(set) var truncated = 0

        init(limit: Int) { self.limit = limit }

        /// Value by name of feature.
        mutating func judge(_ order: Order) -> [String: String] {
            var values: [String: String] = [:]
            var streams = kept[order.account] ?? WindowStragglerTests.streams.map { _ in [] }
            for (s, belongs) in WindowStragglerTests.streams.enumerated() {
                func read(_ name: String) {
                    for (w, over) in WindowStragglerTests.windows.enumerated() {
                        let inside = streams[s].filter { $0.time > order.time - over && $0.time <= order.time }
                        for (i, aggregate) in WindowStragglerTests.aggregates.enumerated() where aggregate.stream == s {
                            values["\(name)\(i)w\(w)x"] = aggregate.value(inside) ?? "null"
                        }
                    }
                }
                read("before")
                if belongs(order) {
                    let at = streams[s].firstIndex { $0.time > order.time } ?? streams[s].count
                    let isNewest = at == streams[s].count
                    streams[s].insert(order, at: at)
                    let isAbove = streams[s].count > limit
                    if isAbove { truncated += 1 }
                    if isAbove, isNewest { streams[s].removeFirst() }
                    read("with")
                    if isAbove, !isNewest { streams[s].removeFirst() }
                } else {
                    read("with")
                }
            }
            kept[order.account] = streams
            return values
        }
    }

    /// The features of a row, by name; no text in it holds a comma.
    private static func values(_ row: String) -> [Substring: Substring] {
        var values: [Substring: Substring] = [:]
        for pair in row.split(whereSeparator: { ",{}".contains($0) }) {
            guard let colon = pair.firstIndex(of: ":") else { continue }
            values[pair[..<colon].dropFirst().dropLast()] = pair[pair.index(after: colon)...]
        }
        return values
    }

    /// Epochs of any length, in order inside: some orders are as much as `late` behind.
    private static func epochs(
        _ random: inout SplitMix64,
        orders: Int,
        keys: Int,
        late: Int64,
        share: Int
    ) -> [[EngineBench.Order]] {
        var now: Int64 = 1_000_000
        var left = orders
        var epochs: [[Order]] = []
        while left > 0 {
            let length = min(left, [1, 7, 60, 300, 700].randomElement(using: &random) ?? 1)
            left -= length
            let epoch = (0..<length).map { _ in
                now += Int64.random(in: 0...3, using: &random)
                let isLate = Int.random(in: 0..<100, using: &random) < share
                return Order(
                    time: now - (isLate ? Int64.random(in: 0...late, using: &random) : 0),
                    account: "k\(Int.random(in: 0..<keys, using: &random))",
                    amount: .random(in: -30...30, using: &random),
                    a: Bool.random(using: &random) ? Double(Int.random(in: -9...9, using: &random)) / 4 : nil,
                    country: Bool.random(using: &random) ? "c\(Int.random(in: 0..<30, using: &random))" : nil
                )
            }
            // Stable, so orders of one time keep their order.
            epochs.append(
                epoch.enumerated().sorted { ($0.element.time, $0.offset) < ($1.element.time, $1.offset) }.map(\.element)
            )
        }
        return epochs
    }

    /// Epochs of 256 orders or more are shared by four lanes.
    @Test(arguments: [
        (seed: 1, keys: 1, late: 400, share: 10, limit: 1 << 20),
        (seed: 2, keys: 3, late: 3_000, share: 30, limit: 1 << 20),
        (seed: 3, keys: 2, late: 100, share: 90, limit: 1 << 20), (seed: 4, keys: 1, late: 400, share: 20, limit: 1),
        (seed: 5, keys: 2, late: 900, share: 10, limit: 3), (seed: 6, keys: 1, late: 400, share: 30, limit: 5),
        (seed: 7, keys: 2, late: 90, share: 20, limit: 17), (seed: 8, keys: 1, late: 800, share: 10, limit: 64),
        (seed: 9, keys: 1, late: 2_500, share: 30, limit: 100), (seed: 10, keys: 1, late: 800, share: 20, limit: 1000),
    ])
    func `every aggregate equals its definition, at its limit too, with any lanes and epochs`(
        _ c: (seed: Int, keys: Int, late: Int, share: Int, limit: Int)
    ) throws {
        var random = SplitMix64(seed: UInt64(c.seed))
        let engines = try [1, 2, 4].map { try EngineBench(WindowStragglerTests.rules(), entries: c.limit, lanes: $0) }
        var definition = Definition(limit: c.limit)
        var wrong: [String] = []
        var number = 0
        var furthest = Int64.min
        for epoch in WindowStragglerTests.epochs(
            &random,
            orders: 1_500,
            keys: c.keys,
            late: Int64(c.late),
            share: c.share
        ) {
            let watermark = furthest == .min ? .min : furthest - Int64(c.late)
            let judged = engines.map { $0.judge(epoch, watermark: watermark).features }
            furthest = max(furthest, epoch.map(\.time).max() ?? .min)
            #expect(judged.allSatisfy { $0 == judged[0] }, "lanes differ at order \(number + 1) or later")
            for (order, row) in zip(epoch, judged[0]) {
                number += 1
                let got = WindowStragglerTests.values(row)
                for (name, want) in definition.judge(order) {
                    let got = got[name[...]] ?? "none"
                    if got == want { continue }
                    // Numbers may be written in several ways.
                    if let a = Double(got), let b = Double(want), a == b { continue }
                    wrong.append("\(name) at order \(number): \(got), not \(want)")
                }
                if wrong.count > 3 { break }
            }
            for bench in engines { try bench.engine.checkInvariants() }
            if wrong.count > 3 { break }
        }
        #expect(wrong.isEmpty, "\(wrong.prefix(4))")
        let counters = engines[0].engine.windowCounters
        #expect(counters.outOfOrder > 100 && counters.movedEntries > 0)
        // What has expired makes room, so the limit is met less often than by the definition, which forgets nothing.
        #expect(counters.truncatedEntries <= definition.truncated)
        #expect((counters.truncatedEntries > 0) == (c.limit < 1 << 20))
        for bench in engines { #expect(bench.engine.windowCounters == counters) }
    }

    // MARK: Cost

    /// The gate of the cost, as a count: of a key's entries those newer than its first late order move, once an epoch.
    @Test func `a busy key's newer entries move once an epoch, not once for each late order`() throws {
        var random = SplitMix64(seed: 77)
        let bench = try EngineBench(
            """
            feature n    = count() of order by account over 10m
            feature sum  = sum(amount) of order by account over 10m
            feature who  = distinct(country) of order by account over 10m
            feature most = max(amount) of order by account over 10m
            """
        )
        var times: [String: [Int64]] = [:]
        var (once, each, late) = (0, 0, 0)
        var now: Int64 = 1_000_000
        for _ in 0..<10 {
            let epoch = (0..<1_000).map { _ in
                now += 1
                let isLate = Int.random(in: 0..<10, using: &random) == 0
                return Order(
                    time: now - (isLate ? Int64.random(in: 1...5_000, using: &random) : 0),
                    account: Bool.random(using: &random) ? "a" : "b",
                    amount: .random(in: 0...9, using: &random),
                    country: "c\(Int.random(in: 0..<9, using: &random))"
                )
            }.sorted { $0.time < $1.time }
            var seen: Set<String> = []
            for order in epoch {
                // Two streams: the country need not be there, so what counts by it has its own.
                let newer = 2 * (times[order.account] ?? []).count { $0 > order.time }
                if newer > 0 {
                    late += 1
                    each += newer
                    if seen.insert(order.account).inserted { once += newer }
                }
                times[order.account, default: []].append(order.time)
            }
            _ = bench.judge(epoch)
        }
        let counters = bench.engine.windowCounters
        #expect(counters.outOfOrder == 2 * late && late > 500)
        #expect(counters.movedEntries == once)
        // Moved for each late order they would be many more, so the trace can tell.
        #expect(each > 20 * once, "\(each) and \(once)")
    }

    // MARK: Evictions

    /// While streams are rewound, tables are full: keys that are given up have some of their entries out.
    @Test(arguments: ["", "feature even = count() of order where amount % 2 == 0 by account over 1d"])
    func `a key that is forgotten while it is rewound leaves nothing behind`(_ more: String) throws {
        let rules = """
            feature n    = count() of order by account over 1d
            feature sum  = sum(amount) of order by account over 1d
            feature who  = distinct(account) of order by account over 1d
            feature text = last(account) of order by account over 1d
            \(more)
            """
        let engines = try [1, 2, 4].map { try EngineBench(rules, keys: 1, lanes: $0) }
        var random = SplitMix64(seed: 6)
        var orders: [String: Int] = [:]
        var wrong = 0
        var first = ""
        for number in 0..<6 {
            let epoch = (0..<2_000).map { i in
                let account = Int64.random(in: 0..<(Bool.random(using: &random) ? 400 : 4_000), using: &random)
                let behind = Bool.random(using: &random) ? Int64.random(in: 0..<6_000, using: &random) : 0
                return Order(
                    time: Int64(1_000_000 + number * 2_000 + i) - behind,
                    account: "a\(account)",
                    amount: account
                )
            }.sorted { $0.time < $1.time }
            let rows = engines.map { $0.judge(epoch).features }
            for (i, (order, row)) in zip(epoch, rows[0]).enumerated() {
                orders[order.account, default: 0] += 1
                let count = Int64(EngineBench.value("n", row)) ?? 0
                if count < 1 || count > orders[order.account] ?? 0
                    || Int64(EngineBench.value("sum", row)) != count * order.amount
                    || EngineBench.value("who", row) != "1"
                    || EngineBench.value("text", row) != "\"\(order.account)\""
                    || rows.contains(where: { $0[i] != row })
                {
                    wrong += 1
                    if wrong == 1 { first = "\(order.account) after \(orders[order.account] ?? 0) orders: \(row)" }
                }
            }
            for bench in engines { try bench.engine.checkInvariants() }
        }
        #expect(wrong == 0, "the first of them: \(first)")
        let counters = engines[0].engine.windowCounters
        #expect(counters.evictedKeys > 1_000 && counters.movedEntries > 1_000)
        for bench in engines { #expect(bench.engine.windowCounters == counters) }
    }
}
