/// A syntax error that has been reported already; parsing resumes at the next clause or block.
struct SyntaxFailure: Error {}

/// Reads tokens into expressions (here) and blocks (`Parser+Blocks.swift`).
///
/// CEL has no two expressions side by side, so an expression ends at the first token that cannot continue it, and clauses need no
/// separators. Nesting is limited to ``Expression/depthLimit`` levels, so recursion is bounded.
struct Parser {
    let source: SourceText
    let sink: DiagnosticSink
    var tokens: [Token]
    var at = 0
    private var nesting = 0

    init(_ source: SourceText, _ sink: DiagnosticSink, range: Span? = nil) {
        self.source = source
        self.sink = sink
        var lexer = Lexer(source, sink, range: range)
        tokens = lexer.tokens()
    }

    var current: Token { tokens[at] }
    func ahead(_ count: Int) -> Token { tokens[min(at + count, tokens.count - 1)] }
    func text(_ token: Token) -> String { source.text(token.span) }

    mutating func advance() -> Token {
        let token = tokens[at]
        if at < tokens.count - 1 { at += 1 }
        return token
    }

    mutating func accept(_ kind: TokenKind) -> Bool {
        guard current.kind == kind else { return false }
        _ = advance()
        return true
    }

    func isWord(_ word: String) -> Bool { current.kind == .identifier && text(current) == word }

    mutating func acceptWord(_ word: String) -> Bool {
        guard isWord(word) else { return false }
        _ = advance()
        return true
    }

    func describe(_ token: Token) -> String { token.kind == .end ? "the end of the file" : "'\(text(token))'" }

    /// Reports at the current token.
    ///
    /// A token the lexer has complained about is not reported twice.
    func fail(_ message: String, suggestion: String? = nil, at span: Span? = nil) -> SyntaxFailure {
        if span == nil, current.kind == .invalid { return SyntaxFailure() }
        sink.error(source, span ?? current.span, message, suggestion: suggestion)
        return SyntaxFailure()
    }

    mutating func expect(_ kind: TokenKind, _ what: String, suggestion: String? = nil) throws(SyntaxFailure) -> Token {
        guard current.kind == kind else {
            throw fail("expected \(what), found \(describe(current))", suggestion: suggestion)
        }
        return advance()
    }

    // MARK: Expressions

    /// `Expr = ConditionalOr ["?" ConditionalOr ":" Expr]`.
    mutating func expression() throws(SyntaxFailure) -> Expression {
        nesting += 1
        defer { nesting -= 1 }
        guard nesting <= Expression.depthLimit else { throw tooDeep() }
        let condition = try disjunction()
        guard accept(.question) else { return condition }
        if current.kind == .dot { throw fail("optional values are not part of the rule language") }
        let yes = try disjunction()
        _ = try expect(.colon, "':' between the two results of '?'")
        let no = try expression()
        return try checked(.conditional(condition, yes, no), condition.span.union(no.span))
    }

    private func tooDeep() -> SyntaxFailure {
        fail(
            "this expression is nested more than \(Expression.depthLimit) levels deep",
            suggestion: "name parts of it with let"
        )
    }

    private func checked(_ kind: Expression.Kind, _ span: Span) throws(SyntaxFailure) -> Expression {
        let expression = Expression(kind, span)
        if expression.depth > Expression.depthLimit { throw tooDeep() }
        return expression
    }

    private mutating func disjunction() throws(SyntaxFailure) -> Expression {
        let first = try conjunction()
        guard current.kind == .or else { return first }
        var items = [first]
        while accept(.or) { items.append(try conjunction()) }
        return try checked(.or(items), first.span.union(items[items.count - 1].span))
    }

    private mutating func conjunction() throws(SyntaxFailure) -> Expression {
        let first = try binary(level: 0)
        guard current.kind == .and else { return first }
        var items = [first]
        while accept(.and) { items.append(try binary(level: 0)) }
        return try checked(.and(items), first.span.union(items[items.count - 1].span))
    }

    /// Relations (level 0), sums (1) and products (2), all left-associative.
    private mutating func binary(level: Int) throws(SyntaxFailure) -> Expression {
        guard level < 3 else { return try unary() }
        var left = try binary(level: level + 1)
        while let operation = binaryOperator(level) {
            _ = advance()
            let right = try binary(level: level + 1)
            left = try checked(.binary(operation, left, right), left.span.union(right.span))
        }
        return left
    }

    private func binaryOperator(_ level: Int) -> Expression.Binary? {
        switch (level, current.kind) {
        case (0, .less): .less
        case (0, .lessOrEqual): .lessOrEqual
        case (0, .greater): .greater
        case (0, .greaterOrEqual): .greaterOrEqual
        case (0, .equal): .equal
        case (0, .notEqual): .notEqual
        case (0, .identifier) where text(current) == "in": .isIn
        case (1, .plus): .add
        case (1, .minus): .subtract
        case (2, .star): .multiply
        case (2, .slash): .divide
        case (2, .percent): .remainder
        default: nil
        }
    }

    private mutating func unary() throws(SyntaxFailure) -> Expression {
        let start = at
        let kind = current.kind
        guard kind == .bang || kind == .minus else {
            if isWord("not"), ahead(1).kind != .dot, ahead(1).kind != .leftParenthesis,
                [.identifier, .bang, .string, .int].contains(ahead(1).kind)
            {
                throw fail("'not' is not an operator", suggestion: "write !")
            }
            return try member()
        }
        while current.kind == kind { _ = advance() }
        var count = at - start
        var operand: Expression
        if kind == .minus, current.kind == .int || current.kind == .double {
            // The sign belongs to the literal, so that the smallest int can be written.
            operand = try member(negative: true, from: tokens[at - 1].span)
            count -= 1
        } else {
            operand = try member()
        }
        while count > 0 {
            count -= 1
            let span = tokens[start + count].span.union(operand.span)
            operand = try checked(.unary(kind == .bang ? .not : .negate, operand), span)
        }
        return operand
    }

    private mutating func member(negative: Bool = false, from sign: Span? = nil) throws(SyntaxFailure) -> Expression {
        var operand = try primary(negative: negative, sign: sign)
        while true {
            switch current.kind {
            case .dot:
                _ = advance()
                if current.kind == .question { throw fail("optional values are not part of the rule language") }
                let name = try expect(.identifier, "a name after '.'")
                if current.kind == .leftParenthesis {
                    let arguments = try self.arguments()
                    let span = Span(start: operand.span.start, end: tokens[at - 1].span.end)
                    operand = try call(target: operand, name, arguments, span)
                } else {
                    operand = try checked(.select(operand, text(name)), operand.span.union(name.span))
                }
            case .leftBracket:
                _ = advance()
                if current.kind == .question { throw fail("optional values are not part of the rule language") }
                let index = try expression()
                let close = try expect(.rightBracket, "']'")
                operand = try checked(.index(operand, index), operand.span.union(close.span))
            default: return operand
            }
        }
    }

    private mutating func arguments() throws(SyntaxFailure) -> [Expression] {
        _ = try expect(.leftParenthesis, "'('")
        var items: [Expression] = []
        if accept(.rightParenthesis) { return items }
        repeat { items.append(try expression()) } while accept(.comma)
        _ = try expect(.rightParenthesis, "',' or ')' after an argument")
        return items
    }

    private func call(
        target: Expression?,
        _ name: Token,
        _ arguments: [Expression],
        _ span: Span
    ) throws(SyntaxFailure) -> Expression {
        let word = text(name)
        if let target, let macro = Expression.Macro(rawValue: word), arguments.count >= 2 {
            let allowed = macro == .map ? 2...3 : 2...2
            guard case .identifier(let variable) = arguments[0].kind, allowed.contains(arguments.count) else {
                throw fail(
                    "'\(word)' takes the name of a variable and a condition over it",
                    suggestion: "list.\(word)(x, x == \"a\")",
                    at: name.span
                )
            }
            let body = Array(arguments.dropFirst())
            return try checked(.comprehension(macro, target, variable: variable, arguments: body), span)
        }
        if target == nil, word == "has" {
            guard arguments.count == 1, arguments[0].nameChain != nil else {
                throw fail("has() takes the name of one field", suggestion: "has(order.coupon)", at: span)
            }
            return try checked(.has(arguments[0]), span)
        }
        return try checked(.call(target: target, name: word, nameSpan: name.span, arguments: arguments), span)
    }

    private static let reserved: Set<String> = [
        "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop", "package",
        "namespace", "return", "var", "void", "while", "in",
    ]

    private mutating func primary(negative: Bool, sign: Span?) throws(SyntaxFailure) -> Expression {
        let token = current
        let span = sign.map { $0.union(token.span) } ?? token.span
        switch token.kind {
        case .int:
            _ = advance()
            let limit = UInt64(Int64.max) + (negative ? 1 : 0)
            guard let value = Literals.magnitude(text(token)), value <= limit else {
                throw fail("this number does not fit in 64 bits", at: span)
            }
            return Expression(.int(negative ? Int64(truncatingIfNeeded: 0 &- value) : Int64(value)), span)
        case .uint:
            _ = advance()
            guard let value = Literals.magnitude(text(token)) else {
                throw fail("this number does not fit in 64 bits", at: span)
            }
            return Expression(.uint(value), span)
        case .double:
            _ = advance()
            guard let value = Double(text(token)), value.isFinite else {
                throw fail("this number is too large for a double", at: span)
            }
            return Expression(.double(negative ? -value : value), span)
        case .string, .bytes:
            _ = advance()
            guard let bytes = Literals.stringBytes(of: token, in: source, sink) else { throw SyntaxFailure() }
            return Expression(token.kind == .string ? .string(bytes) : .bytes(bytes), span)
        case .duration:
            let unit = text(token)
            throw fail(
                "'\(unit)' is a duration of the clauses, not of expressions",
                suggestion: "write duration(\"\(Parser.celDuration(unit))\")"
            )
        case .leftParenthesis:
            _ = advance()
            let inner = try expression()
            let close = try expect(.rightParenthesis, "')'")
            return Expression(inner.kind, token.span.union(close.span))
        case .leftBracket:
            _ = advance()
            var items: [Expression] = []
            while current.kind != .rightBracket {
                if current.kind == .question { throw fail("optional values are not part of the rule language") }
                items.append(try expression())
                guard accept(.comma) else { break }
            }
            let close = try expect(.rightBracket, "',' or ']' in a list")
            return try checked(.list(items), token.span.union(close.span))
        case .leftBrace:
            _ = advance()
            var entries: [(key: Expression, value: Expression)] = []
            while current.kind != .rightBrace {
                if current.kind == .question { throw fail("optional values are not part of the rule language") }
                let key = try expression()
                _ = try expect(.colon, "':' after a key")
                entries.append((key, try expression()))
                guard accept(.comma) else { break }
            }
            let close = try expect(.rightBrace, "',' or '}' in a map")
            return try checked(.map(entries), token.span.union(close.span))
        case .dot where ahead(1).kind == .identifier:
            _ = advance()
            return try name(advance())
        case .identifier: return try name(advance())
        case .assign: throw fail("'=' is not an operator", suggestion: "write == to compare")
        case .ampersand: throw fail("'&' is not an operator", suggestion: "write &&")
        case .bar: throw fail("'|' is not an operator", suggestion: "write ||")
        default: throw fail("expected an expression, found \(describe(token))")
        }
    }

    /// Whether a clause's word stands where a name should: a name is never followed by another word or a text.
    func swallowsClause(_ word: String, before next: Token) -> Bool {
        guard Parser.clauseWords.contains(word) else { return false }
        switch next.kind {
        case .string, .int, .duration: return true
        case .identifier: return text(next) != "in" && !Parser.clauseWords.contains(text(next))
        default: return false
        }
    }

    private mutating func name(_ token: Token) throws(SyntaxFailure) -> Expression {
        let word = text(token)
        switch word {
        case "true": return Expression(.bool(true), token.span)
        case "false": return Expression(.bool(false), token.span)
        case "null": return Expression(.null, token.span)
        default: break
        }
        guard !Parser.reserved.contains(word) else {
            throw fail("expected an expression, found the word '\(word)'", at: token.span)
        }
        if swallowsClause(word, before: current) {
            at -= 1
            throw fail("expected an expression, found the clause '\(word)'")
        }
        guard current.kind == .leftParenthesis else { return Expression(.identifier(word), token.span) }
        let arguments = try self.arguments()
        return try call(
            target: nil,
            token,
            arguments,
            Span(start: token.span.start, end: tokens[at - 1].span.end)
        )
    }

    /// A clause's duration in CEL's notation, which ends at hours.
    static func celDuration(_ text: String) -> String {
        guard let milliseconds = DurationText.milliseconds(text) else { return text }
        if text.hasSuffix("d") || text.hasSuffix("w") { return "\(milliseconds / 3_600_000)h" }
        return text
    }
}
