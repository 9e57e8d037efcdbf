import Models
import RuleLanguage
import Testing

@testable import Detection

/// An engine that takes out repetitions says of the rest what one says that was never given them.
@Suite struct DuplicateStageTests {
    private typealias Order = EngineBench.Order

    private static let rules = """
        feature orders = count() of order by account over 1m
        feature spent = sum(amount) of order by account over 10m

        rule busy "Many orders" {
          owner "test"  severity low
          on order
          when orders >= 3
          then review, score +10
          because "{orders} orders, {spent}"
        }

        """
    private static let over: Int64 = 30_000

    /// By `country`, which may be missing, and `amount`.
    private static func bench(lanes: Int, emission: Emission = .flagged, limit: Int = 1 << 20) throws -> EngineBench {
        try EngineBench(
            rules,
            lanes: lanes,
            emission: emission,
            dedupe: DedupeSchema(fields: [5, 2], overMilliseconds: over),
            ids: limit
        )
    }

    /// Epochs of orders in the order of their times, some of them late, with the watermark of each; half of them repeat another.
    private static func traffic(seed: UInt64, epochs: Int) -> [(orders: [Order], watermark: Int64)] {
        var random = SplitMix64(seed: seed)
        var now: Int64 = 1_700_000_000_000
        return (0..<epochs).map { epoch in
            let watermark = epoch == 0 ? Int64.min : now - 10_000
            // Small ones are often without a repetition.
            let orders = (0..<Int.random(in: 1...(epoch % 3 == 0 ? 3 : 120), using: &random)).map { _ in
                now += Int64.random(in: 0..<300, using: &random)
                let isLate = Int.random(in: 0..<5, using: &random) == 0
                return Order(
                    time: isLate ? now - Int64.random(in: 0..<9_000, using: &random) : now,
                    account: "a\(Int.random(in: 0..<9, using: &random))",
                    amount: Int64.random(in: 0..<4, using: &random),
                    country: Int.random(in: 0..<20, using: &random) == 0
                        ? nil : "c\(Int.random(in: 0..<25, using: &random))"
                )
            }
            return (orders.sorted { $0.time < $1.time }, watermark)
        }
    }

    /// Which orders of an epoch repeat one, by the definition.
    private struct Oracle {
        var first: [String: Int64] = [:]

        mutating func repeats(_ orders: [Order], watermark: Int64) -> [Bool] {
            orders.map { order in
                guard let country = order.country else { return false }
                let id = "\(country) \(order.amount)"
                let forgotten = watermark == .min ? .min : watermark - DuplicateStageTests.over
                if let known = first[id], known > forgotten, known > order.time - DuplicateStageTests.over {
                    return true
                }
                if order.time > forgotten { first[id] = order.time }
                return false
            }
        }
    }

    @Test(arguments: [1, 2, 4]) func `repetitions are taken out before windows and rules, on any number of lanes`(
        lanes: Int
    ) throws {
        var bench = try DuplicateStageTests.bench(lanes: lanes)
        let plain = try EngineBench(DuplicateStageTests.rules)
        var oracle = Oracle()
        var (taken, clean, said) = (0, 0, 0)
        for (n, epoch) in DuplicateStageTests.traffic(seed: 7, epochs: 250).enumerated() {
            let repeats = oracle.repeats(epoch.orders, watermark: epoch.watermark)
            let number = repeats.count { $0 }
            // Those that are left keep their offsets.
            let left = zip(epoch.orders.indices, repeats).filter { !$0.1 }.map { i, _ in
                var order = epoch.orders[i]
                order.offset = Int64(i)
                return order
            }
            let expected = plain.judge(left, watermark: epoch.watermark)
            let found = bench.judge(epoch.orders, watermark: epoch.watermark)
            #expect(found == expected, "epoch \(n)")
            #expect(bench.engine.duplicateCounts == [number] && bench.engine.duplicatesTold == 0)
            taken += number
            clean += number == 0 ? 1 : 0
            said += found.verdicts.count
            if n % 50 == 30 {
                let next = try EngineBench(goingOn: bench)
                try next.engine.checkInvariants()
                #expect(next.engine.digest == bench.engine.digest && next.state() == bench.state())
                bench = next
            }
        }
        #expect(taken > 3_000 && clean > 10 && said > 1_000, "\(taken), \(clean), \(said)")
        let counters = try #require(bench.engine.idCounters[0])
        #expect(counters.ids > 10 && counters.evicted == 0)
    }

    @Test(arguments: [(1, Int64(0)), (1, 6), (2, 6)])
    func `tables that grow and forget between the events of a block find what they would one by one`(
        lanes: Int,
        step: Int64
    ) throws {
        let bench = try DuplicateStageTests.bench(lanes: lanes)
        var oracle = Oracle()
        var random = SplitMix64(seed: 9)
        var number = 0
        for _ in 0..<20 {
            let orders = (number..<number + 1_000).map { i in
                // Every second one is new; the others repeat one of the last few, mostly in the same block.
                let back = i % 2 == 0 ? 0 : Int.random(in: 0..<min(12, i / 2 + 1), using: &random)
                let time = 1_700_000_000_000 + Int64(i) * step
                return Order(time: time, account: "a", amount: Int64(i / 2 - back), country: "c")
            }
            let watermark = (orders.first?.time ?? 0) - 10_000
            let repeats = oracle.repeats(orders, watermark: watermark).count { $0 }
            _ = bench.judge(orders, watermark: watermark)
            try #require(bench.engine.duplicateCounts == [repeats] && repeats == 500)
            try bench.engine.checkInvariants()
            number += 1_000
        }
        let counters = try #require(bench.engine.idCounters[0])
        #expect(step == 0 ? counters.ids == 10_000 : counters.ids < 9_000, "\(counters)")
    }

    @Test(arguments: [1, 2, 4]) func `where every event has its verdict a repetition has one that says so and allows`(
        lanes: Int
    ) throws {
        let bench = try DuplicateStageTests.bench(lanes: lanes, emission: .all)
        var oracle = Oracle()
        var taken = 0
        for epoch in DuplicateStageTests.traffic(seed: 8, epochs: 60) {
            let repeats = oracle.repeats(epoch.orders, watermark: epoch.watermark)
            let found = bench.judge(epoch.orders, watermark: epoch.watermark)
            try #require(found.verdicts.count == epoch.orders.count)
            #expect(found.features.count == repeats.count { !$0 })
            for (offset, verdict) in found.verdicts.enumerated() {
                #expect(verdict.contains("\"offset\":\(offset),"), "in the order of the events")
                #expect(verdict.contains("\"duplicate\":true") == repeats[offset])
                if repeats[offset] {
                    taken += 1
                    #expect(
                        verdict.contains("\"decision\":\"allow\",\"score\":0,") && verdict.contains("\"reasons\":[]")
                    )
                }
            }
        }
        #expect(taken > 500)
    }

    @Test func `an epoch of nothing but repetitions judges nothing, and says so where each has its verdict`() throws {
        for lanes in [1, 2, 4] {
            let bench = try DuplicateStageTests.bench(lanes: lanes, emission: .all)
            let order = Order(time: 1_700_000_000_000, account: "a", country: "x")
            #expect(bench.judge([order]).verdicts.count == 1)
            let digest = bench.engine.digest
            let found = bench.judge([Order](repeating: order, count: 3))
            #expect(found.verdicts.count { $0.contains("\"duplicate\":true") } == 3 && found.features.isEmpty)
            #expect(bench.engine.duplicatesTold == 3 && bench.engine.digest == digest, "nobody has learnt of them")
        }
    }

    @Test func `what is forgotten stays so when an epoch looks further back`() throws {
        let bench = try DuplicateStageTests.bench(lanes: 1)
        let (start, over) = (Int64(1_700_000_000_000), DuplicateStageTests.over)
        func repeats(_ country: String, at time: Int64, watermark: Int64) -> Bool {
            _ = bench.judge([Order(time: time, account: "a", country: country)], watermark: watermark)
            return bench.engine.duplicateCounts == [1]
        }
        #expect(!repeats("x", at: start, watermark: start - 1) && repeats("x", at: start + 1, watermark: start - 1))
        #expect(!repeats("y", at: start + over, watermark: start + over))
        #expect(!repeats("x", at: start + 2, watermark: start - 1), "its place is still there")
        let next = try EngineBench(goingOn: bench)
        _ = next.judge([Order(time: start + over - 1, account: "a", country: "y")], watermark: start - 1)
        #expect(next.engine.duplicateCounts == [1] && next.engine.duplicates.watermark == start + over)
    }

    @Test func `a state of another identity, memory or bound is refused in words`() throws {
        let bench = try DuplicateStageTests.bench(lanes: 1)
        _ = bench.judge([Order(time: 1_700_000_000_000, account: "a", country: "x")])
        func refusal(_ dedupe: DedupeSchema?, ids: Int = 1 << 20) throws -> String {
            let error = #expect(throws: StateError.self) {
                try EngineBench(DuplicateStageTests.rules, from: bench.state(), dedupe: dedupe, ids: ids)
            }
            return error.map { "\($0)" } ?? ""
        }
        let over = DuplicateStageTests.over
        #expect(try refusal(DedupeSchema(fields: [5], overMilliseconds: over)).contains("by country, amount: ids 1"))
        #expect(try refusal(DedupeSchema(fields: [5, 2], overMilliseconds: over + 1)).contains("over 30001 ms"))
        #expect(try refusal(DedupeSchema(fields: [5, 2], overMilliseconds: over), ids: 6400).contains("100 a slot"))
        #expect(try refusal(nil).contains("ids of order"))
    }
}
