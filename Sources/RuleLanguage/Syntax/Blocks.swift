/// A word or text in a block with its place.
struct Named: Sendable {
    var text: String
    var span: Span
}

/// `key = path ["=" expr]` of a `by` clause.
struct KeySyntax: Sendable {
    var path: Named
    var reading: Expression?
}

/// `FN(expr) of EVENT where expr by keys over DUR excluding this`.
struct AggregateSyntax: Sendable {
    var function: AggregateFunction
    var span: Span
    var argument: Expression?
    var event: Named
    var filter: Expression?
    var keys: [KeySyntax]
    var windowMilliseconds: Int64
    var windowSpan: Span
    var excludesCurrent: Bool
}

/// `feature ID = agg`.
struct FeatureSyntax: Sendable {
    var source: SourceText
    var name: Named
    var aggregate: AggregateSyntax
}

/// `let ID = agg | expr`.
struct LetSyntax: Sendable {
    enum Value: Sendable {
        case aggregate(AggregateSyntax)
        case expression(Expression)
    }
    var name: Named
    var value: Value
}

/// A piece of a `because` text.
enum TextPart: Sendable {
    case text([UInt8])
    case hole(Expression)
}

/// A `rule` block as written.
struct RuleSyntax: Sendable {
    var source: SourceText
    var id: Named
    var title: String
    var span: Span
    /// The words of the block in their order, without blanks and comments.
    var canonical: String
    var owner: String?
    var ticket: String?
    var severity: RuleSeverity?
    var tags: [String] = []
    var events: [Named] = []
    var lets: [LetSyntax] = []
    /// Names after `let`, those of unreadable clauses included.
    var letNames: Set<String> = []
    var whens: [Expression] = []
    var unlesses: [Expression] = []
    var actions: [RuleAction] = []
    var because: [TextPart]?
    var alert: (keys: [Named], everyMilliseconds: Int64)?
    var missing: MissingPolicy?
    var mode: RuleMode?
    /// Clauses given, whether they could be read or not, so that a broken clause is not also reported as absent.
    var seen: [String: Span] = [:]
}

/// A `policy` block as written.
struct PolicySyntax: Sendable {
    var source: SourceText
    var name: Named
    var canonical: String
    var policy: Policy
}

/// A `test` block as written: checked for its form only, until there is something that runs it.
struct TestSyntax: Sendable {
    enum Step: Sendable {
        case send(event: Named, value: Expression, times: Int, vary: String?, everyMilliseconds: Int64)
        case expect(outcome: Named, on: Int?)
    }
    var source: SourceText
    var title: Named
    var rule: Named
    var steps: [Step]
}

/// All blocks of all files, in their order.
struct BlockSyntax: Sendable {
    var features: [FeatureSyntax] = []
    var rules: [RuleSyntax] = []
    var policies: [PolicySyntax] = []
    var tests: [TestSyntax] = []
}
