/// What to do about an event's subject, from harmless to final.
@frozen
public enum Decision: UInt8, Sendable, Comparable, CaseIterable {
    case allow = 0, tag, review, challenge, block

    @inlinable public static func < (a: Decision, b: Decision) -> Bool { a.rawValue < b.rawValue }

    /// The word used in rules and in verdicts.
    public var name: String {
        switch self {
        case .allow: "allow"
        case .tag: "tag"
        case .review: "review"
        case .challenge: "challenge"
        case .block: "block"
        }
    }

    public init?(name: String) {
        guard let found = Decision.allCases.first(where: { $0.name == name }) else { return nil }
        self = found
    }
}

/// How bad it is when the rule is right.
public enum RuleSeverity: String, Sendable, CaseIterable, Comparable {
    case low, medium, high, critical

    private var rank: Int {
        switch self {
        case .low: 0
        case .medium: 1
        case .high: 2
        case .critical: 3
        }
    }

    public static func < (a: RuleSeverity, b: RuleSeverity) -> Bool { a.rank < b.rank }
}

/// Whether a rule decides, only reports, or sleeps.
public enum RuleMode: String, Sendable, CaseIterable { case live, shadow, off }

/// What an undetermined rule does: nothing, what it would do when fired, or ask for a review.
public enum MissingPolicy: String, Sendable, CaseIterable, BitwiseCopyable { case skip, fire, review }

/// One action of a `then` clause.
public enum RuleAction: Sendable, Equatable {
    case allow
    case block
    case review
    case challenge(String)
    case tag(String)
    /// Points added to the event's score; may be negative.
    case score(Int)
    case queue(String)

    /// The decision it asks for; nil for score and queue.
    public var decision: Decision? {
        switch self {
        case .allow: .allow
        case .block: .block
        case .review: .review
        case .challenge: .challenge
        case .tag: .tag
        case .score, .queue: nil
        }
    }
}

/// `alert by keys every DUR`: how findings of a rule are grouped for people.
public struct RuleAlert: Sendable, Equatable {
    public var keys: [String]
    public var everyMilliseconds: Int64
}

/// A field of an event type, by their indices.
public struct RuleRead: Sendable, Hashable {
    public var event: Int
    public var field: Int
}

/// One compiled rule, as the engine and `weir check` see it.
public struct Rule: Sendable {
    public var id: String
    public var title: String
    /// Twelve hex digits that change when the rule's words or the windows it reads change.
    public var version: String
    public var owner: String?
    public var ticket: String?
    public var severity: RuleSeverity
    public var tags: [String]
    public var mode: RuleMode
    /// Indices of the event types it is evaluated on.
    public var events: [Int]
    public var actions: [RuleAction]
    /// The strongest decision among its actions; nil for a rule that only scores or queues.
    public var decision: Decision?
    /// Sum of its `score` actions.
    public var scoreWeight: Int
    public var missing: MissingPolicy
    public var alert: RuleAlert?
    /// Text of each `unless`, for explanations.
    public var exceptions: [String]
    /// Indices of the features it reads.
    public var features: [Int]
    /// The fields that its conditions depend on: those they read, and those of the windows that they read.
    public var reads: [RuleRead]
    /// Indices of the signals that its conditions read.
    public var signals: [Int]
    /// What can leave it undetermined, by name: fields that may be missing, and windows that may be empty.
    public var undeterminedBy: [String]
    /// The same of its exceptions, which then do not hold.
    public var undecidedBy: [String]
    /// Its words in a fixed form.
    public var canonicalText: String
}

/// From which score on which decision is taken.
public struct Policy: Sendable, Equatable {
    /// A decision and the score it begins at.
    public struct Threshold: Sendable, Equatable {
        public var decision: Decision
        public var score: Int
    }
    public var name: String
    /// Ascending by score.
    public var thresholds: [Threshold]
    /// Scores saturate here, at most 1000.
    public var cap: Int

    /// No thresholds: rules' own decisions only.
    public static var none: Policy { Policy(name: "none", thresholds: [], cap: 1000) }

    /// The line that decides at a score, the severest it reaches; nil below all of them.
    ///
    /// The score is limited to `0...cap` here.
    public func threshold(score: Int) -> Threshold? {
        let limited = min(max(score, 0), cap)
        var result: Threshold?
        for line in thresholds.indices where limited >= thresholds[line].score { result = thresholds[line] }
        return result
    }
}
