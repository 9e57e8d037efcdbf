import Glibc
import Testing

@testable import RuleLanguage

/// Figures, printed; run in release (`swift test -c release -Xswiftc -enable-testing --filter SpeedTests`).
///
/// What is asserted is the answer and that nothing is allocated.
@Suite(.serialized) struct SpeedTests {
    private func nanoseconds() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }

    /// Allocations on this thread so far; nil without the interposer (`Tests/Benchmarks/count-allocations.c`).
    private func allocations() -> Int? {
        guard let symbol = dlsym(nil, "weir_allocation_count") else { return nil }
        typealias Count = @convention(c) () -> Int
        return unsafeBitCast(symbol, to: Count.self)()
    }

    /// Allocations since an earlier count, which have to be none, in words.
    private func allocated(since before: Int?) -> String {
        guard let before, let after = allocations() else { return "allocations not counted" }
        #expect(after == before)
        return "\(after - before) allocations"
    }

    #if DEBUG
        private static let rounds = 5000
    #else
        private static let rounds = 1_000_000
    #endif

    private static let conditions: [(name: String, text: String, expected: Bool)] = [
        ("int compare", "amount > 100", true),
        ("text equality", "channel == \"web\"", true),
        ("double arithmetic", "weight * 1.2 + 3.0 > 10.0 && weight / 2.0 < 100.0", true),
        (
            "8 clauses",
            "amount > 100 && items < 50 && express && channel == \"web\" && weight > 1.5 && ring.size >= 0 && items != 7 && amount <= 500000",
            true
        ),
        ("60-way or", (0..<59).map { "items == \(1000 + $0)" }.joined(separator: " || ") + " || items == 12", true),
        ("in 40 texts", "channel in [" + (0..<39).map { "\"c\($0)\"" }.joined(separator: ", ") + ", \"web\"]", true),
        ("exists over 50", "coupons.exists(c, c == \"c49\")", true),
        ("matches", "email.matches(\"^[a-z]{5,8}[0-9]{4,}@\")", true),
    ]

    @Test func `conditions cost nanoseconds and no memory`() throws {
        let rows = Rows(
            Shop.order,
            [
                "amount": .int(12_000), "channel": .text("web"), "weight": .double(8.5), "items": .int(12),
                "express": .bool(true),
                "coupons": .texts((0..<50).map { "c\($0)" }), "email": .text("abcdef12345@example.org"),
            ],
            signals: [Slot(0.0), Slot(Int64(0)), Slot(0.0)]
        )
        for condition in SpeedTests.conditions {
            let set = try Shop.compile("rule r \"R\" { on order when \(condition.text) then block }")
            var evaluator = Evaluator(set)
            let rounds = SpeedTests.rounds
            let input = rows.input
            var fired = 0
            for _ in 0..<1000 where evaluator.judge(event: 0, input)[0].kind == .fired { fired += 1 }
            #expect(fired == (condition.expected ? 1000 : 0), "\(condition.name)")
            let before = allocations()
            var best = Double.infinity
            for _ in 0..<20 {
                let start = nanoseconds()
                for _ in 0..<rounds / 20 where evaluator.judge(event: 0, input)[0].kind == .fired { fired += 1 }
                best = min(best, Double(nanoseconds() - start) / Double(rounds / 20))
            }
            let memory = allocated(since: before)
            print("\(condition.name): \(best) ns per rule (best of 20), \(memory)")
        }
    }

    @Test func `a window's filter costs nanoseconds and no memory`() throws {
        let set = try Shop.compile(
            "feature f = sum(amount) of order where channel == \"web\" && amount > 0 by account over 1h"
        )
        var evaluator = Evaluator(set)
        let rows = Rows(Shop.order, ["amount": .int(12_000), "channel": .text("web")])
        let input = rows.input
        guard let filter = set.features[0].filter?.handle else {
            Issue.record("no filter")
            return
        }
        var counted = 0
        let before = allocations()
        var best = Double.infinity
        for _ in 0..<20 {
            let start = nanoseconds()
            for _ in 0..<SpeedTests.rounds / 20 where evaluator.isTrue(filter, input) { counted += 1 }
            best = min(best, Double(nanoseconds() - start) / Double(SpeedTests.rounds / 20))
        }
        let memory = allocated(since: before)
        #expect(counted == SpeedTests.rounds / 20 * 20)
        print("filter of two clauses: \(best) ns per event (best of 20), \(memory)")
    }

    @Test func `five hundred rules judge an event in microseconds`() throws {
        var text = ""
        for index in 0..<500 {
            text += """
                rule r\(index) "R" { on order
                  when amount > \(index * 1000) && channel == "\(index % 3 == 0 ? "web" : "app\(index)")"
                  when items < \(100 + index) && (weight > 2.0 || express)
                  when ring.score < 0.5 && items + \(index) > 3
                  then tag "t" }

                """
        }
        let set = try Shop.compile(text)
        var evaluator = Evaluator(set)
        let rows = Rows(
            Shop.order,
            [
                "amount": .int(138_000), "channel": .text("web"), "weight": .double(8.5), "items": .int(12),
                "express": .bool(true),
            ],
            signals: [Slot(0.0), Slot(Int64(0)), Slot(0.0)]
        )
        let input = rows.input
        var fired = 0
        let rounds = SpeedTests.rounds / 50
        let before = allocations()
        var best = Double.infinity
        for _ in 0..<20 {
            let start = nanoseconds()
            for _ in 0..<rounds / 20 {
                for outcome in evaluator.judge(event: 0, input) where outcome.kind == .fired { fired += 1 }
            }
            best = min(best, Double(nanoseconds() - start) / Double(rounds / 20))
        }
        let memory = allocated(since: before)
        #expect(fired == 46 * (rounds / 20) * 20)
        print("500 rules, 46 fire: \(best / 1000) us per event (best of 20), \(memory)")
    }
}
