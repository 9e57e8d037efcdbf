import Testing

@testable import RuleLanguage

/// Each limit of rules is met by one that keeps it, and told of by one that does not.
@Suite struct LimitTests {
    /// A rule set at the limit, one beyond it, and what is said of that.
    private struct Bound {
        var name: String
        var within: String
        var beyond: String
        var message: String

        /// - Parameter text: a rule set of that size.
        init(_ name: String, _ bound: Int, _ message: String, _ text: (Int) -> String) {
            self.name = name
            self.message = message
            within = text(bound)
            beyond = text(bound + 1)
        }
    }

    private static func rule(_ condition: String, _ clauses: String = "") -> String {
        "rule r \"R\" { on order \(clauses) when \(condition) then block }"
    }

    private static func list(_ count: Int, _ separator: String, _ item: (Int) -> String) -> String {
        (0..<count).map(item).joined(separator: separator)
    }

    private static let bounds: [Bound] = [
        Bound("bytes of a rule file", RuleLimits.fileBytes, "a rule file has at most 1 MiB") { bytes in
            let text = rule("true") + "//"
            return text + String(repeating: "x", count: bytes - text.utf8.count)
        },
        Bound(
            "characters of the name of a rule or policy",
            RuleLimits.nameCharacters,
            "the name of a rule has at most 128 characters"
        ) { "rule \(String(repeating: "r", count: $0)) \"R\" { on order when true then block }" },
        Bound("`let` clauses of a rule", RuleLimits.lets, "a rule has at most 64 lets") { count in
            rule(list(count, " && ") { "l\($0)" }, list(count, " ") { "let l\($0) = items > \($0)" })
        },
        Bound("keys of a window", RuleLimits.keys, "a window has at most 8 keys") { count in
            let keys = ["id", "account", "device.id", "items", "express", "channel", "email", "status", "amount"]
            let names = keys[..<count].joined(separator: ", ")
            return rule("n > 1", "let n = count() of order by \(names) over 1h")
        },
        Bound("levels of an expression", RuleLimits.depth, "nested more than 250 levels deep") { depth in
            // The comparison and its operands are two.
            rule("items > \(String(repeating: "-(", count: depth - 2))items\(String(repeating: ")", count: depth - 2))")
        },
        Bound("constants of a rule", RuleLimits.constants, "more than 8192 constants or intermediate values") { count in
            rule(list(count, " || ") { "items == \($0)" })
        },
        Bound("constants of a rule", 4095, "more than 8192 constants or intermediate values") { count in
            rule("items in [\(list(count, ", ") { String($0) })]")
        },
        Bound("values of all windows", RuleLimits.windowValues / Feature.stringWidth, "more than 8192 feature values") {
            list($0, "\n") { "feature f\($0) = last(channel) of order by account over \($0 + 1)ms" }
        },
        Bound("bytes of a pattern", RuleLimits.patternBytes, "a pattern has at most 1024 bytes") { bytes in
            rule("channel.matches(\"\(String(repeating: "x", count: bytes))\")")
        },
        Bound("patterns of a rule set", RuleLimits.patterns, "a rule set has at most 2000 patterns") { count in
            rule(list(count, " || ") { "channel.matches(\"x\($0)\")" })
        },
        Bound("a number in `score`, `at` or `cap`", RuleLimits.number, "is too large here") { points in
            "rule r \"R\" { on order when true then score +\(points) }"
        },
        Bound("the `cap` of a policy", RuleLimits.cap, "the cap is between 1 and 1000") { cap in
            "policy p { score review at 40 cap \(cap) }"
        },
    ]

    @Test func `a rule set at each limit compiles, and one beyond it is refused with the limit`() throws {
        for bound in Self.bounds {
            let said = Shop.complaints(bound.within)
            #expect(!said.contains("error"), "\(bound.name): \(said.prefix(300))")
            let refused = Shop.complaints(bound.beyond)
            #expect(refused.contains(bound.message), "\(bound.name): \(refused.prefix(300))")
        }
    }

    /// A condition on a list of so many coupons, or a channel of so many bytes.
    private func kinds(_ rules: String, _ cells: [String: Cell]) throws -> [String] {
        let set = try Shop.compile(rules)
        var evaluator = Evaluator(set)
        return evaluator.judge(event: 0, Rows(Shop.order, cells).input).map {
            $0.kind == .undetermined ? set.undeterminedField($0, event: 0) : "\($0.kind)"
        }
    }

    private func coupons(_ count: Int) -> [String: Cell] { ["coupons": .texts((0..<count).map { "c\($0)" })] }

    private func channel(_ bytes: Int) -> [String: Cell] { ["channel": .text(String(repeating: "x", count: bytes))] }

    /// 140 rounds of 140 are 19,740 units of work, 141 of 141 are 20,022.
    private static let work = rule("coupons.all(a, coupons.all(b, a != \"z\" && b != \"z\"))")

    @Test func `a rule at its limit of work speaks, and beyond it is undetermined`() throws {
        #expect(RuleLimits.ruleWork == 20_000)
        #expect(try kinds(Self.work, coupons(140)) == ["fired"])
        #expect(try kinds(Self.work, coupons(141)) == ["limit"])
        // An exception that costs too much is none.
        let exception =
            "rule r \"R\" { on order when true unless !coupons.all(a, coupons.all(b, a != \"z\")) then block }"
        #expect(try kinds(exception, coupons(200)) == ["fired"])
    }

    @Test func `all rules on an event share a limit of work`() throws {
        #expect(RuleLimits.eventWork == 200_000)
        let rules = (0..<12).map { Self.work.replacing("rule r ", with: "rule r\($0) ") }.joined(separator: "\n")
        #expect(try kinds(rules, coupons(140)) == Array(repeating: "fired", count: 10) + ["limit", "limit"])
    }

    @Test func `texts and lists that a rule makes have a limit`() throws {
        let text = Self.rule("(channel + channel).size() > 0")
        #expect(try kinds(text, channel(RuleLimits.textBytes / 2)) == ["fired"])
        #expect(try kinds(text, channel(RuleLimits.textBytes / 2 + 1)) == ["limit"])
        let list = Self.rule("coupons.map(c, c).size() > 0")
        #expect(try kinds(list, coupons(RuleLimits.listElements)) == ["fired"])
        #expect(try kinds(list, coupons(RuleLimits.listElements + 1)) == ["limit"])
    }

    @Test func `no limit is without its test`() {
        let tested =
            Self.bounds.map(\.name) + [
                "units of work of a rule on one event", "units of work of all rules on one event",
                "bytes of the texts that a rule makes", "elements of the lists that a rule makes",
            ]
        #expect(Set(tested) == Set(RuleLimits.all.map(\.name)))
    }
}
