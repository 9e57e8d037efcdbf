import RuleLanguage

/// What the rules of one lane lacked in an epoch so that they, or one of their exceptions, could not be decided.
struct RuleLacks {
    private struct Lack {
        var outcome: RuleOutcome?
        var event = 0
        var count = 0
    }

    /// ``most`` places for each rule, the used ones first.
    private var lacks: [Lack]
    /// Per rule, how often something else was lacking.
    private var others: [Int]

    /// Different things one rule may lack; what is more is not told apart.
    static let most = 8

    init(rules: Int) {
        lacks = [Lack](repeating: Lack(), count: rules * RuleLacks.most)
        others = [Int](repeating: 0, count: rules)
    }

    mutating func add(_ outcome: RuleOutcome, event: Int) {
        let first = Int(outcome.rule) * RuleLacks.most
        for place in first..<first + RuleLacks.most {
            if lacks[place].count == 0 { lacks[place] = Lack(outcome: outcome, event: event, count: 0) }
            guard let known = lacks[place].outcome, known.failure == outcome.failure, known.kind == outcome.kind,
                lacks[place].event == event
            else { continue }
            lacks[place].count += 1
            return
        }
        others[Int(outcome.rule)] += 1
    }

    /// Calls `body` with what a rule lacked: an outcome that says so, or nil for all others, its event type, and how often.
    func forEach(of rule: Int, _ body: (_ outcome: RuleOutcome?, _ event: Int, _ count: Int) -> Void) {
        for lack in lacks[rule * RuleLacks.most..<(rule + 1) * RuleLacks.most] {
            if lack.count == 0 { break }
            body(lack.outcome, lack.event, lack.count)
        }
        if others[rule] > 0 { body(nil, 0, others[rule]) }
    }

    /// Forgets what a rule lacked.
    mutating func removeAll(of rule: Int) {
        for place in rule * RuleLacks.most..<(rule + 1) * RuleLacks.most {
            if lacks[place].count == 0 { break }
            lacks[place].count = 0
        }
        others[rule] = 0
    }
}
