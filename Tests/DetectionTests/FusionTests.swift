import Testing

@testable import Detection
@testable import RuleLanguage

/// What rules' outcomes become, as a table.
@Suite struct FusionTests {
    private static let rules = """
        rule scores "S" { on order when true then score +40 }
        rule takes "T" { on order when true then score -15 }
        rule tags "T" { on order when true then tag "seen", score +5 }
        rule reviews "R" { on order when true then review }
        rule reviews_too "R" { on order severity high when true then review, score +20 }
        rule blocks "B" { on order severity critical when true then block, score +60 }
        rule allows "A" { on order severity low when true then allow, score +1 }
        rule watches "W" { on order mode shadow severity critical when true then block, score +900 }
        rule asks "Q" { on order missing review when true then block, score +60 }
        rule insists "I" { on order missing fire when true then challenge "otp", score +60 }
        rule watches_and_asks "W" { on order mode shadow missing review when true then block, score +60 }
        policy shop { score tag at 30, review at 50, block at 100 cap 200 }
        """

    /// Outcomes as `rule`, `rule?` where undetermined, `rule!` where excepted; what comes out as `decision score by severity`.
    private static let table: [(outcomes: String, judgement: String)] = [
        ("", "allow 0 nobody -"),
        ("scores", "tag 40 policy 30 medium"),
        ("takes", "allow 0 nobody medium"),
        ("scores takes", "allow 25 nobody medium"),
        ("tags", "tag 5 tags medium"),
        // A rule's own action comes before the policy's line of the same weight, and the first rule before the next.
        ("scores reviews", "review 40 reviews medium"),
        ("reviews reviews_too scores", "review 60 reviews high"),
        ("reviews_too reviews scores", "review 60 reviews_too high"),
        ("tags scores reviews_too", "review 65 reviews_too high"),
        ("tags scores takes reviews_too", "review 50 reviews_too high"),
        ("scores tags", "tag 45 tags medium"),
        ("scores scores reviews", "review 80 reviews medium"),
        ("scores scores scores reviews", "block 120 policy 100 medium"),
        ("blocks", "block 60 blocks critical"),
        ("blocks blocks blocks blocks", "block 200 blocks critical"),
        ("blocks allows", "allow 61 allowed by allows critical"),
        ("allows", "allow 1 allowed by allows low"),
        ("scores! blocks!", "allow 0 nobody -"),
        ("watches", "allow 0 nobody critical"),
        ("watches scores", "tag 40 policy 30 critical"),
        ("blocks?", "allow 0 nobody -"),
        ("asks?", "review 0 asks medium"),
        ("asks", "block 60 asks medium"),
        ("insists?", "challenge 60 insists medium"),
        ("watches_and_asks?", "allow 0 nobody medium"),
        ("asks? blocks", "block 60 blocks critical"),
    ]

    @Test func `the severest of the rules and of the policy decides, and says who it was`() throws {
        let set = try RuleSet.compile(
            [RuleSource(path: "rules/test.weir", text: Self.rules)],
            in: RuleEnvironment(
                events: [EngineBench.schema],
                signals: [],
                maximumWindowMilliseconds: 1 << 40,
                hash: TextHash(key: .fixed)
            )
        )
        let fusion = Fusion(rules: set.rules, policy: set.policy)
        for (written, expected) in Self.table {
            let outcomes = try written.split(separator: " ").map { word in
                let name = word.filter { $0 != "?" && $0 != "!" }
                let rule = try #require(set.rules.firstIndex { $0.id == name }, "\(name)")
                return RuleOutcome(
                    rule: Int32(rule),
                    kind: word.hasSuffix("?") ? .undetermined : word.hasSuffix("!") ? .excepted : .fired,
                    exception: 0,
                    failure: 0
                )
            }
            let judgement = outcomes.withUnsafeBufferPointer { fusion.judge($0) }
            let decider =
                switch judgement.decider {
                case .nobody: "nobody"
                case .rule(let rule): set.rules[rule].id
                case .policy(let score): "policy \(score)"
                case .allowed(let rule): "allowed by \(set.rules[rule].id)"
                }
            #expect(
                "\(judgement.decision.name) \(judgement.score) \(decider) \(judgement.severity?.rawValue ?? "-")"
                    == expected,
                "\(written)"
            )
        }
    }
}
