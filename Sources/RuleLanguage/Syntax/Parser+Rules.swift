/// The `rule` block: clauses, actions and the text of a reason.
extension Parser {
    mutating func rule(start: Int) throws(SyntaxFailure) -> RuleSyntax? {
        let id = try named("the rule's name")
        let title = try string("the rule's title in quotes")
        let brace = try expect(.leftBrace, "'{' before the rule's clauses")
        var rule = RuleSyntax(source: source, id: id, title: title.text, span: id.span, canonical: "")
        while current.kind != .rightBrace {
            guard current.kind != .end, !startsBlock() else {
                throw unclosed("rule '\(id.text)'", brace, last: "clause")
            }
            do throws(SyntaxFailure) {
                try clause(of: &rule)
            } catch {
                skipToClause()
                if sink.isFull { break }
            }
        }
        _ = accept(.rightBrace)
        rule.canonical = canonicalText(from: start)
        return rule
    }

    /// Moves to the next word that begins a clause, or to the end of the block.
    private mutating func skipToClause() {
        var depth = 0
        // An expression that lacks its end stops at the next clause's word itself.
        if current.kind == .identifier, swallowsClause(text(current), before: ahead(1)) { return }
        while current.kind != .end {
            switch current.kind {
            case .leftBrace: depth += 1
            case .rightBrace:
                if depth == 0 { return }
                depth -= 1
            case .identifier where depth == 0 && startsClause(): return
            case .identifier where startsBlock(): return
            default: break
            }
            _ = advance()
        }
    }

    /// A clause word that is not a part of an expression: what stands before it on the same line could end one, and no operator
    /// does.
    private func startsClause() -> Bool {
        guard Parser.clauseWords.contains(text(current)), at > 0 else { return false }
        switch tokens[at - 1].kind {
        case .dot, .comma, .plus, .minus, .star, .slash, .percent, .bang, .less, .lessOrEqual, .greater,
            .greaterOrEqual, .equal, .notEqual, .and, .or, .leftParenthesis, .leftBracket, .question, .colon:
            return false
        default:
            switch ahead(1).kind {
            case .identifier, .string, .int, .bang, .leftParenthesis, .duration, .double, .minus: return true
            default: return false
            }
        }
    }

    private mutating func clause(of rule: inout RuleSyntax) throws(SyntaxFailure) {
        guard current.kind == .identifier else {
            throw unexpectedInRule(&rule)
        }
        let word = current
        let name = text(word)
        guard Parser.clauseWords.contains(name) else { throw unexpectedInRule(&rule) }
        let repeatable = ["let", "when", "unless"].contains(name)
        _ = advance()
        if !repeatable, rule.seen[name] != nil {
            throw fail(
                "this rule has a second '\(name)'",
                suggestion: name == "then" ? "list all actions after one then, with commas" : "keep one of them",
                at: word.span
            )
        }
        rule.seen[name] = word.span
        switch name {
        case "owner": rule.owner = try string("the owner in quotes").text
        case "ticket": rule.ticket = try string("the ticket in quotes").text
        case "severity": rule.severity = try choice(RuleSeverity.allCases, "severity")
        case "tags":
            repeat { rule.tags.append(try string("a tag in quotes").text) } while accept(.comma)
        case "on":
            repeat { rule.events.append(try named("the name of an event")) } while accept(.comma)
        case "let":
            // Should its value be unreadable, the name still exists: whoever uses it is not to blame.
            if current.kind == .identifier { rule.letNames.insert(text(current)) }
            rule.lets.append(try letClause())
        case "sequence": throw fail("'sequence' is not supported yet", at: word.span)
        case "when", "unless":
            // Kept only when the clause ends well: a condition cut short would be judged for what it is not.
            let condition = try expression()
            try endOfClause(&rule)
            if name == "when" { rule.whens.append(condition) } else { rule.unlesses.append(condition) }
        case "then":
            repeat { rule.actions.append(try action()) } while accept(.comma)
        case "because": rule.because = try because()
        case "alert": rule.alert = try alert()
        case "missing": rule.missing = try choice(MissingPolicy.allCases, "missing")
        case "mode": rule.mode = try mode()
        default:
            // A lifetime would count from the deployment, which is in no journal: a replay could not tell when it ended.
            throw fail(
                "'\(name)' is not supported yet",
                suggestion: "take the rule out by hand, or give it mode shadow",
                at: word.span
            )
        }
        try endOfClause(&rule)
    }

    /// After a clause stands another clause or `}`; everything else is a mistake with a likely meaning.
    private func endOfClause(_ rule: inout RuleSyntax) throws(SyntaxFailure) {
        if current.kind == .rightBrace || current.kind == .end || startsBlock() { return }
        if current.kind == .identifier, Parser.clauseWords.contains(text(current)) { return }
        throw unexpectedInRule(&rule)
    }

    /// Clauses that were meant are marked as seen, so that they are not also reported as absent.
    private func unexpectedInRule(_ rule: inout RuleSyntax) -> SyntaxFailure {
        switch current.kind {
        case .assign: return fail("'=' does not compare", suggestion: "write ==")
        case .ampersand: return fail("'&' is not an operator", suggestion: "write &&")
        case .bar: return fail("'|' is not an operator", suggestion: "write ||")
        case .leftBrace: return fail("message literals are not part of the rule language")
        case .identifier:
            switch text(current) {
            case "and", "AND": return fail("'\(text(current))' is not an operator", suggestion: "write &&")
            case "or", "OR": return fail("'\(text(current))' is not an operator", suggestion: "write ||")
            case "not", "NOT": return fail("'\(text(current))' is not an operator", suggestion: "write !")
            case "is": return fail("'is' is not an operator", suggestion: "write ==")
            case "if": return fail("unknown clause 'if'", suggestion: "write when")
            default: break
            }
            let known = ["block", "review", "challenge", "tag", "score", "queue"]
            if known.contains(text(current)) {
                rule.seen["then"] = current.span
                return fail(
                    "'\(text(current))' is an action and stands after 'then'",
                    suggestion: "then \(text(current)) …"
                )
            }
            let nearest = Diagnostic.nearest(to: text(current), among: Parser.clauses)
            if let nearest { rule.seen[nearest] = current.span }
            return fail(
                "unknown clause '\(text(current))'",
                suggestion: nearest.map { "did you mean '\($0)'?" }
                    ?? "clauses are \(Parser.clauses.joined(separator: ", "))"
            )
        default: return fail("expected a clause or '}', found \(describe(current))")
        }
    }

    private mutating func choice<T: RawRepresentable<String>>(
        _ all: [T],
        _ clause: String
    ) throws(SyntaxFailure) -> T {
        let token = current
        let names = all.map(\.rawValue)
        guard token.kind == .identifier || token.kind == .string else {
            throw fail("expected a word after '\(clause)'", suggestion: "one of \(names.joined(separator: ", "))")
        }
        guard let value = T(rawValue: text(token)) else {
            let bare = String(text(token).drop { $0 == "\"" || $0 == "'" }.prefix { $0 != "\"" && $0 != "'" })
            let suggestion =
                T(rawValue: bare) != nil
                ? "write it without quotes: \(bare)"
                : Diagnostic.nearest(to: bare, among: names).map { "did you mean '\($0)'?" }
                    ?? "one of \(names.joined(separator: ", "))"
            throw fail("unknown \(clause) \(describe(token))", suggestion: suggestion)
        }
        _ = advance()
        return value
    }

    private mutating func letClause() throws(SyntaxFailure) -> LetSyntax {
        let name = try named("a name after 'let'")
        _ = try expect(.assign, "'=' after the name")
        if startsAggregate() { return LetSyntax(name: name, value: .aggregate(try aggregate())) }
        return LetSyntax(name: name, value: .expression(try expression()))
    }

    private mutating func mode() throws(SyntaxFailure) -> RuleMode {
        if isWord("canary") {
            let error = fail("'mode canary' is not supported yet", suggestion: "write mode shadow or mode live")
            throw error
        }
        return try choice(RuleMode.allCases, "mode")
    }

    private mutating func alert() throws(SyntaxFailure) -> (keys: [Named], everyMilliseconds: Int64) {
        var keys: [Named] = []
        if acceptWord("by") {
            repeat { keys.append(try dottedName("a key")) } while accept(.comma)
        }
        try word("every", "alert by account every 1h")
        return (keys, try duration("how often to alert"))
    }

    private mutating func action() throws(SyntaxFailure) -> RuleAction {
        let names = Parser.actions
        guard current.kind == .identifier else {
            throw fail(
                "expected an action, found \(describe(current))",
                suggestion: "one of \(names.joined(separator: ", "))"
            )
        }
        let token = advance()
        switch text(token) {
        case "allow":
            if isWord("override") { throw fail("'allow override' is not supported yet") }
            return .allow
        case "block": return .block
        case "review": return .review
        case "challenge": return .challenge(try string("the challenge in quotes").text)
        case "tag": return .tag(try string("the tag in quotes").text)
        case "queue": return .queue(try string("the queue in quotes").text)
        case "score":
            guard current.kind == .plus || current.kind == .minus else {
                throw fail(
                    "a score is added or taken away",
                    suggestion: "write score +\(current.kind == .int ? text(current) : "40")"
                )
            }
            let isNegative = advance().kind == .minus
            let points = try wholeNumber("the points")
            return .score(isNegative ? -points : points)
        case let word where Parser.laterActions.contains(word):
            throw fail("the action '\(text(token))' is not supported yet", at: token.span)
        default:
            let nearest = Diagnostic.nearest(to: text(token), among: names)
            throw fail(
                "unknown action '\(text(token))'",
                suggestion: nearest.map { "did you mean '\($0)'?" } ?? "one of \(names.joined(separator: ", "))",
                at: token.span
            )
        }
    }

    /// Cuts a text at its `{expr}` holes; `{{` and `}}` stand for braces.
    private mutating func because() throws(SyntaxFailure) -> [TextPart] {
        guard current.kind == .string else { _ = try string("the reason in quotes"); throw SyntaxFailure() }
        let token = advance()
        let form = Literals.form(of: token, in: source)
        let bytes = source.bytes
        var parts: [TextPart] = []
        var index = form.body.start
        var literal = index
        func literalText(_ end: Int) throws(SyntaxFailure) {
            guard end > literal else { return }
            // The piece is read as a text of its own, so that escapes mean what they mean elsewhere.
            var piece = Array(bytes[literal..<end])
            if !form.isRaw {
                let quoted = SourceText(
                    path: source.path,
                    text: "\"\"\"" + String(decoding: piece, as: UTF8.self) + "\"\"\""
                )
                let whole = Token(kind: .string, span: Span(start: 0, end: quoted.bytes.count))
                let quiet = DiagnosticSink()
                guard let decoded = Literals.stringBytes(of: whole, in: quoted, quiet) else {
                    throw fail("a bad escape in this text", suggestion: quiet.errors.first?.suggestion, at: token.span)
                }
                piece = decoded
            }
            parts.append(.text(piece))
        }
        while index < form.body.end {
            let byte = bytes[index]
            if byte == UInt8(ascii: "\\"), !form.isRaw {
                index += 2
                continue
            }
            let isDoubled = index + 1 < form.body.end && bytes[index + 1] == byte
            if byte == UInt8(ascii: "{") || byte == UInt8(ascii: "}"), isDoubled {
                try literalText(index + 1)
                index += 2
                literal = index
                continue
            }
            guard byte == UInt8(ascii: "{") else {
                if byte == UInt8(ascii: "}") {
                    throw fail(
                        "'}' without '{'",
                        suggestion: "write }} for a brace",
                        at: Span(start: index, end: index + 1)
                    )
                }
                index += 1
                continue
            }
            try literalText(index)
            var close = index + 1
            while close < form.body.end, bytes[close] != UInt8(ascii: "}"), bytes[close] != UInt8(ascii: "\\") {
                close += 1
            }
            guard close < form.body.end, bytes[close] == UInt8(ascii: "}") else {
                throw fail(
                    "this '{' has no '}'",
                    suggestion: "close it with }, or write {{ for a brace; no backslash inside",
                    at: Span(start: index, end: index + 1)
                )
            }
            let hole = Span(start: index + 1, end: close)
            var inner = Parser(source, sink, range: hole)
            if inner.current.kind == .end {
                throw fail(
                    "an empty hole",
                    suggestion: "write a name between the braces",
                    at: Span(start: index, end: close + 1)
                )
            }
            parts.append(.hole(try inner.expression()))
            guard inner.current.kind == .end else {
                throw inner.fail("expected '}' here, found \(inner.describe(inner.current))")
            }
            index = close + 1
            literal = index
        }
        try literalText(form.body.end)
        return parts
    }
}
