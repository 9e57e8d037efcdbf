extension Parser {
    static let blocks = ["feature", "rule", "policy", "test"]
    static let actions = ["allow", "block", "review", "challenge", "tag", "score", "queue"]
    static let clauses = [
        "owner", "ticket", "severity", "tags", "on", "let", "when", "unless", "then", "because", "alert", "missing",
        "mode",
    ]
    /// Words of later versions: refused by name, so that nobody relies on what does not happen.
    static let laterBlocks = ["hotfix", "list"]
    static let laterClauses = ["sequence", "expires"]
    static let laterActions = ["label", "unlabel", "hold", "list", "notify", "delay"]
    static let laterAggregates = ["stddev", "quantile"]
    static let blockWords = blocks + laterBlocks
    static let clauseWords = clauses + laterClauses

    /// Reads a whole file; after a mistake goes on at the next clause or block.
    mutating func file(into blocks: inout BlockSyntax) {
        while current.kind != .end, !sink.isFull {
            do throws(SyntaxFailure) {
                try block(into: &blocks)
            } catch {
                skipToBlock()
            }
        }
    }

    private mutating func block(into blocks: inout BlockSyntax) throws(SyntaxFailure) {
        guard current.kind == .identifier else {
            throw fail(
                "expected a block, found \(describe(current))",
                suggestion: "a file holds rule, feature, policy and test blocks"
            )
        }
        let start = at
        let word = advance()
        switch text(word) {
        case "feature": blocks.features.append(try feature())
        case "rule": if let rule = try rule(start: start) { blocks.rules.append(rule) }
        case "hotfix":
            throw fail(
                "'hotfix' is not supported yet",
                suggestion: "write a rule, and take it out again by hand",
                at: word.span
            )
        case "policy": blocks.policies.append(try policy(start: start))
        case "test": blocks.tests.append(try test())
        case "list": throw fail("lists come with a later version", at: word.span)
        default:
            let nearest = Diagnostic.nearest(to: text(word), among: Parser.blocks)
            throw fail(
                "unknown block '\(text(word))'",
                suggestion: nearest.map { "did you mean '\($0)'?" }
                    ?? "a file holds rule, feature, policy and test blocks",
                at: word.span
            )
        }
    }

    /// Moves to the next word that begins a block: at brace depth zero, or `rule ID STRING` at any depth.
    private mutating func skipToBlock() {
        var depth = 0
        while current.kind != .end {
            switch current.kind {
            case .leftBrace: depth += 1
            case .rightBrace: depth = max(0, depth - 1)
            case .identifier where startsBlock(depth): return
            default: break
            }
            _ = advance()
        }
    }

    func startsBlock(_ depth: Int = 1) -> Bool {
        guard current.kind == .identifier, Parser.blockWords.contains(text(current)) else { return false }
        switch text(current) {
        case "rule", "hotfix": return ahead(1).kind == .identifier && ahead(2).kind == .string
        case "feature": return ahead(1).kind == .identifier && ahead(2).kind == .assign
        case "policy": return ahead(1).kind == .identifier && ahead(2).kind == .leftBrace
        case "test": return ahead(1).kind == .string && ahead(2).kind == .identifier
        default: return depth == 0 && ahead(2).kind == .colon
        }
    }

    // MARK: Small parts

    /// A block without its end, shown where it opens: the end of a file has no line to point at, and the next block is not to
    /// blame.
    func unclosed(_ block: String, _ brace: Token, last part: String) -> SyntaxFailure {
        fail("\(block) is not closed", suggestion: "write } after its last \(part)", at: brace.span)
    }

    mutating func named(_ what: String) throws(SyntaxFailure) -> Named {
        let token = try expect(.identifier, what)
        return Named(text: text(token), span: token.span)
    }

    mutating func dottedName(_ what: String) throws(SyntaxFailure) -> Named {
        var name = try named(what)
        while current.kind == .dot {
            _ = advance()
            let part = try named("a name after '.'")
            name = Named(text: name.text + "." + part.text, span: name.span.union(part.span))
        }
        return name
    }

    mutating func string(_ what: String) throws(SyntaxFailure) -> Named {
        guard current.kind == .string else {
            let suggestion = current.kind == .identifier ? "write it in quotes: \"\(text(current))\"" : nil
            throw fail("expected \(what), found \(describe(current))", suggestion: suggestion)
        }
        let token = advance()
        guard let bytes = Literals.stringBytes(of: token, in: source, sink) else { throw SyntaxFailure() }
        return Named(text: String(decoding: bytes, as: UTF8.self), span: token.span)
    }

    mutating func duration(_ what: String) throws(SyntaxFailure) -> Int64 {
        let token = try durationToken(what)
        guard let value = DurationText.milliseconds(text(token)), value > 0 else {
            throw fail(
                "'\(text(token))' is not a usable duration",
                suggestion: "from 1ms to 15250284452w",
                at: token.span
            )
        }
        return value
    }

    /// A window's length; what is beyond 64 bits is as long as can be, as the topology bounds it.
    private mutating func windowLength() throws(SyntaxFailure) -> Int64 {
        DurationText.milliseconds(text(try durationToken("the window's length"))) ?? .max
    }

    private mutating func durationToken(_ what: String) throws(SyntaxFailure) -> Token {
        guard current.kind == .duration else {
            let suggestion =
                current.kind == .int
                ? "write the unit: \(text(current))s, \(text(current))m, \(text(current))h or \(text(current))d"
                : "for example 24h"
            throw fail("expected \(what), found \(describe(current))", suggestion: suggestion)
        }
        return advance()
    }

    mutating func wholeNumber(_ what: String) throws(SyntaxFailure) -> Int {
        let token = try expect(.int, what)
        guard let value = Int(text(token)), value <= RuleLimits.number else {
            throw fail(
                "'\(text(token))' is too large here",
                suggestion: "at most \(RuleLimits.number)",
                at: token.span
            )
        }
        return value
    }

    func canonicalText(from start: Int) -> String {
        tokens[start..<at].map { text($0) }.joined(separator: " ")
    }

    // MARK: feature and aggregates

    private mutating func feature() throws(SyntaxFailure) -> FeatureSyntax {
        let name = try named("the feature's name")
        _ = try expect(.assign, "'=' after the feature's name")
        guard startsAggregate() else {
            throw fail(
                "a feature is an aggregate over a window",
                suggestion: "feature \(name.text) = count() of order by account over 1h"
            )
        }
        let syntax = FeatureSyntax(source: source, name: name, aggregate: try aggregate())
        guard current.kind == .end || startsBlock() else {
            if current.kind == .identifier, Parser.blockWords.contains(text(current)) { return syntax }
            throw fail("expected a new block after the feature, found \(describe(current))")
        }
        return syntax
    }

    /// An aggregate's function and its parentheses with `of` behind them.
    func startsAggregate() -> Bool {
        guard current.kind == .identifier, ahead(1).kind == .leftParenthesis else { return false }
        let word = text(current)
        if AggregateFunction(rawValue: word) != nil || Parser.laterAggregates.contains(word) { return true }
        var depth = 0
        var index = at + 1
        while index < tokens.count {
            switch tokens[index].kind {
            case .leftParenthesis: depth += 1
            case .rightParenthesis:
                depth -= 1
                if depth == 0 { return index + 1 < tokens.count && text(tokens[index + 1]) == "of" }
            case .end: return false
            default: break
            }
            index += 1
        }
        return false
    }

    mutating func word(_ expected: String, _ hint: String) throws(SyntaxFailure) {
        guard acceptWord(expected) else {
            throw fail("expected '\(expected)', found \(describe(current))", suggestion: hint)
        }
    }

    mutating func aggregate() throws(SyntaxFailure) -> AggregateSyntax {
        let start = advance()
        let name = text(start)
        guard let function = AggregateFunction(rawValue: name) else {
            if Parser.laterAggregates.contains(name) {
                throw fail("the aggregate '\(name)' is not supported yet", at: start.span)
            }
            let nearest = Diagnostic.nearest(to: name, among: AggregateFunction.allCases.map(\.rawValue))
            throw fail(
                "unknown aggregate '\(name)'",
                suggestion: nearest.map { "did you mean '\($0)'?" }
                    ?? "one of count, sum, avg, min, max, distinct, first, last",
                at: start.span
            )
        }
        let shape = "\(name)(…) of EVENT by KEY over 1h"
        _ = try expect(.leftParenthesis, "'('")
        var argument: Expression?
        if current.kind != .rightParenthesis { argument = try expression() }
        _ = try expect(.rightParenthesis, "')'")
        try word("of", shape)
        let event = try named("the name of the counted event")
        var filter: Expression?
        if acceptWord("where") { filter = try expression() }
        try word("by", shape)
        var keys: [KeySyntax] = []
        repeat {
            let path = try dottedName("a key")
            var reading: Expression?
            if accept(.assign) { reading = try expression() }
            keys.append(KeySyntax(path: path, reading: reading))
        } while accept(.comma)
        try word("over", shape)
        let windowToken = current.span
        let window = try windowLength()
        var excludes = false
        if isWord("excluding") {
            _ = advance()
            try word("this", "excluding this")
            excludes = true
        }
        return AggregateSyntax(
            function: function,
            span: start.span.union(tokens[at - 1].span),
            argument: argument,
            event: event,
            filter: filter,
            keys: keys,
            windowMilliseconds: window,
            windowSpan: windowToken,
            excludesCurrent: excludes
        )
    }

    // MARK: policy

    private mutating func policy(start: Int) throws(SyntaxFailure) -> PolicySyntax {
        let name = try named("the policy's name")
        let brace = try expect(.leftBrace, "'{'")
        try word("score", "score review at 40, block at 80 cap 100")
        var thresholds: [Policy.Threshold] = []
        repeat {
            let token = try expect(.identifier, "a decision")
            guard let decision = Decision(name: text(token)), decision != .allow else {
                throw fail(
                    "unknown decision '\(text(token))'",
                    suggestion: "one of tag, review, challenge, block",
                    at: token.span
                )
            }
            try word("at", "score review at 40")
            thresholds.append(Policy.Threshold(decision: decision, score: try wholeNumber("a score")))
        } while accept(.comma)
        try word("cap", "cap 100")
        let capToken = current
        let cap = try wholeNumber("the highest score")
        guard cap >= 1, cap <= RuleLimits.cap else {
            throw fail("the cap is between 1 and \(RuleLimits.cap)", at: capToken.span)
        }
        if current.kind == .end || startsBlock() { throw unclosed("policy '\(name.text)'", brace, last: "number") }
        _ = try expect(.rightBrace, "'}'")
        thresholds.sort { ($0.score, $0.decision) < ($1.score, $1.decision) }
        for pair in zip(thresholds, thresholds.dropFirst()) where pair.0.decision >= pair.1.decision {
            sink.error(
                source,
                name.span,
                "policy '\(name.text)' asks for less at a higher score",
                suggestion: "thresholds rise: tag, review, challenge, block"
            )
        }
        return PolicySyntax(
            source: source,
            name: name,
            canonical: canonicalText(from: start),
            policy: Policy(name: name.text, thresholds: thresholds, cap: cap)
        )
    }

    // MARK: test

    private mutating func test() throws(SyntaxFailure) -> TestSyntax {
        let title = try string("the test's title in quotes")
        try word("for", "test \"…\" for RULE { … }")
        let rule = try named("the rule's name")
        let brace = try expect(.leftBrace, "'{'")
        var steps: [TestSyntax.Step] = []
        while !accept(.rightBrace) {
            if current.kind == .end || startsBlock() { throw unclosed("test '\(title.text)'", brace, last: "step") }
            if acceptWord("send") {
                let event = try named("the name of an event")
                let value = try expression()
                var times = 1
                var vary: String?
                var every: Int64 = 0
                if acceptWord("times") { times = try wholeNumber("how many times") }
                if acceptWord("vary") { vary = try dottedName("a field").text }
                if acceptWord("every") { every = try duration("the time between them") }
                steps.append(.send(event: event, value: value, times: times, vary: vary, everyMilliseconds: every))
            } else if acceptWord("expect") {
                let outcome = try named("an outcome")
                var on: Int?
                if acceptWord("on") { on = try wholeNumber("the number of the event") }
                steps.append(.expect(outcome: outcome, on: on))
            } else {
                throw fail("expected 'send', 'expect' or '}', found \(describe(current))")
            }
        }
        return TestSyntax(source: source, title: title, rule: rule, steps: steps)
    }
}
