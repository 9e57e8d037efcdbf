import Models
import RuleLanguage
import Testing

@testable import Detection

/// An engine that goes over to other rules between two epochs, beside engines that had them all along.
@Suite struct ReleaseAdoptionTests {
    private static let hour: Int64 = 3_600_000

    private static func rule(_ name: String, _ lets: String, when condition: String) -> String {
        """
        rule \(name) "\(name)" {
          owner "me"  severity medium
          on order
          \(lets)
          when \(condition)
          then review
          because "{n}"
        }

        """
    }
    /// Aggregates of every kind of storage, one with a filter that is computed, one with a key that is.
    private static let orders = rule("orders", "let n = count() of order by account over 1h", when: "n > 1")
    private static let spent = rule(
        "spent",
        "let n = sum(amount) of order where amount > 2 by account over 2h",
        when: "n > 9"
    )
    private static let places = rule("places", "let n = distinct(country) of order by account over 1h", when: "n > 1")
    private static let last = rule("last", "let n = last(country) of order by account over 3h", when: "n != 'nl'")
    private static let largest = rule("largest", "let n = max(amount * 2) of order by account over 1h", when: "n > 8")

    private static func epochs(_ seed: UInt64) -> [[EngineBench.Order]] {
        var random = SplitMix64(seed: seed)
        var time: Int64 = 1_700_000_000_000
        return (0..<40).map { _ in
            (0..<30).map { _ in
                time += Int64.random(in: 0...120_000, using: &random)
                return EngineBench.Order(
                    time: time,
                    account: "a\(Int.random(in: 0..<12, using: &random))",
                    amount: Int64.random(in: 1...9, using: &random),
                    country: ["nl", "de", "fr", nil].randomElement(using: &random) ?? nil
                )
            }
        }
    }

    /// What a rule says in the verdicts of one epoch, with the event's offset.
    private static func words(of rule: String, _ verdicts: [String]) -> [String] {
        verdicts.compactMap { line in
            guard let at = line.firstRange(of: "{\"rule\":\"\(rule)\",\"version\"")?.lowerBound,
                let text = line[at...].firstRange(of: "\"text\":")?.upperBound,
                let offset = line.firstRange(of: "\"offset\":")?.upperBound
            else { return nil }
            return "\(line[offset...].prefix { $0 != "," }) \(line[text...].prefix { $0 != "}" })"
        }
    }

    @Test(arguments: [1, 3], [UInt64(1), 2, 3])
    func `rules that stay say the same whatever comes and goes beside them`(lanes: Int, seed: UInt64) throws {
        let first = Self.orders + Self.spent + Self.last
        let releases: [Int: String] = [
            8: Self.largest + Self.orders + Self.last + Self.places,  // spent goes, two come
            16: Self.places + Self.orders,  // last and largest go
            20: Self.spent + Self.orders + Self.places + Self.last,  // the two of the beginning come back
            28: Self.orders + Self.largest,
        ]
        let changing = try EngineBench(first, lanes: lanes)
        let constant = try EngineBench(first, lanes: 1)
        var spoke = [0, 0, 0]
        for (number, epoch) in Self.epochs(seed).enumerated() {
            if let rules = releases[number] { try changing.adopt(rules) }
            let watermark = epoch[0].time - Self.hour
            let got = changing.judge(epoch, watermark: watermark).verdicts
            let expected = constant.judge(epoch, watermark: watermark).verdicts
            #expect(Self.words(of: "orders", got) == Self.words(of: "orders", expected), "epoch \(number)")
            spoke[0] += Self.words(of: "orders", got).count
            // Windows that were counted on meanwhile are warm when their rule comes back.
            for (at, rule) in [(1, "spent"), (2, "last")] {
                guard number < 8 || (20..<28).contains(number) || (rule == "last" && number < 16) else {
                    #expect(Self.words(of: rule, got).isEmpty)
                    continue
                }
                #expect(Self.words(of: rule, got) == Self.words(of: rule, expected), "\(rule), epoch \(number)")
                spoke[at] += Self.words(of: rule, got).count
            }
        }
        #expect(spoke.allSatisfy { $0 > 20 }, "the rules spoke \(spoke) times")
    }

    @Test(arguments: [1, 3])
    func `a new rule's windows begin empty and are then those of an engine that began with it`(lanes: Int) throws {
        let changing = try EngineBench(Self.orders, lanes: lanes)
        let fresh = try EngineBench(Self.places + Self.largest, lanes: 1)
        var spoke = 0
        for (number, epoch) in Self.epochs(9).enumerated() {
            if number == 10 { try changing.adopt(Self.orders + Self.places + Self.largest) }
            let got = changing.judge(epoch).verdicts
            guard number >= 10 else { continue }
            let expected = fresh.judge(epoch).verdicts
            for rule in ["places", "largest"] {
                #expect(Self.words(of: rule, got) == Self.words(of: rule, expected), "\(rule), epoch \(number)")
                spoke += Self.words(of: rule, got).count
            }
        }
        #expect(spoke > 40)
    }

    @Test func `a state that other rules wrote goes on where those rules are at hand`() throws {
        let all = Self.orders + Self.spent + Self.last
        let (epochs, constant) = (Self.epochs(6), try EngineBench(all))
        for epoch in epochs[..<15] { _ = constant.judge(epoch) }
        let state = constant.state()
        // Windows that were opened together lie together, so the others cannot be found without them.
        #expect(throws: StateError.self) { try EngineBench(Self.orders + Self.places, from: state) }
        let changing = try EngineBench(Self.orders + Self.places, from: state, beside: [all])
        var spoke = [0, 0, 0]
        for (number, epoch) in epochs[15...].enumerated() {
            if number == 10 { try changing.adopt(all) }
            let got = changing.judge(epoch).verdicts
            let expected = constant.judge(epoch).verdicts
            // The windows of the rules that were gone have been counted on.
            let warm = number < 10 ? ["orders"] : ["orders", "spent", "last"]
            for (at, rule) in warm.enumerated() {
                #expect(Self.words(of: rule, got) == Self.words(of: rule, expected), "\(rule), epoch \(number)")
                spoke[at] += Self.words(of: rule, got).count
            }
        }
        #expect(spoke.allSatisfy { $0 > 20 }, "the rules spoke \(spoke) times")
    }

    @Test func `windows that nobody asks for are given back with all that were opened with them`() throws {
        let bench = try EngineBench(Self.orders)
        for epoch in Self.epochs(4) { _ = bench.judge(epoch) }
        let before = bench.engine.windowCounters.keys
        try bench.adopt(Self.orders + Self.places)
        for epoch in Self.epochs(4) { _ = bench.judge(epoch) }
        #expect(bench.engine.windowCounters.keys == 2 * before)
        try bench.adopt(Self.orders)
        #expect(bench.engine.windowCounters.keys == before)
        try bench.adopt("")
        #expect(bench.engine.windowCounters.keys == 0)
        #expect(bench.judge(Self.epochs(4)[0]).verdicts.isEmpty)
    }
}
