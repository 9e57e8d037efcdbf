import RuleLanguage

/// What is decided about one event.
struct Judgement: Equatable {
    /// Who decided; ties go to the rule that comes first, and to a rule before the policy.
    enum Decider: Equatable {
        /// Nobody asked for anything above `allow`.
        case nobody
        /// A rule's own action, by its index in the rule set.
        case rule(Int)
        /// The policy's line that begins at a score.
        case policy(score: Int)
        /// The rule whose `allow` overrules all others.
        case allowed(by: Int)
    }

    var decision = Decision.allow
    /// 0 to the policy's cap.
    var score = 0
    var decider = Decider.nobody
    /// The highest severity among the rules that spoke, live or in shadow; nil when none did.
    var severity: RuleSeverity?
    /// Which judgement of the event it is, where it was judged before: 0 for the first, as all are so far.
    var revision = 0
}

/// Makes one judgement of what the rules said: the severest of the live rules' own actions and of what the policy makes of their
/// scores, unless an `allow` overrules.
///
/// A pure function of outcomes and settings. Cost: some nanoseconds for each rule that spoke.
struct Fusion {
    /// What it needs of a rule, without its texts.
    private struct Effect {
        var isLive: Bool
        var severity: RuleSeverity
        var missing: MissingPolicy
        var decision: Decision?
        var allows: Bool
        var weight: Int
    }

    private let effects: [Effect]
    private let policy: Policy

    init(rules: [Rule], policy: Policy) {
        effects = rules.map {
            Effect(
                isLive: $0.mode == .live,
                severity: $0.severity,
                missing: $0.missing,
                decision: $0.decision,
                allows: $0.actions.contains(.allow),
                weight: $0.scoreWeight
            )
        }
        self.policy = policy
    }

    func judge(_ outcomes: UnsafeBufferPointer<RuleOutcome>) -> Judgement {
        var judgement = Judgement()
        var strongest: (decision: Decision, rule: Int)?
        var allowed: Int?
        var score = 0
        for outcome in outcomes where outcome.kind == .fired || outcome.kind == .undetermined {
            let rule = Int(outcome.rule)
            let effect = effects[rule]
            let asksForReview = outcome.kind == .undetermined && effect.missing == .review
            if outcome.kind == .undetermined && effect.missing == .skip { continue }
            judgement.severity = max(judgement.severity ?? effect.severity, effect.severity)
            guard effect.isLive else { continue }
            if let decision = asksForReview ? .review : effect.decision, decision > strongest?.decision ?? .allow {
                strongest = (decision, rule)
            }
            if asksForReview { continue }
            if effect.allows, allowed == nil { allowed = rule }
            score += effect.weight
        }
        judgement.score = min(max(score, 0), policy.cap)
        if let allowed {
            judgement.decider = .allowed(by: allowed)
            return judgement
        }
        if let strongest {
            judgement.decision = strongest.decision
            judgement.decider = .rule(strongest.rule)
        }
        if let line = policy.threshold(score: judgement.score), line.decision > judgement.decision {
            judgement.decision = line.decision
            judgement.decider = .policy(score: line.score)
        }
        return judgement
    }
}
