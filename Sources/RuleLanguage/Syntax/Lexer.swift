/// The kinds of token in a rule file: CEL's, and durations such as `24h` for the clauses.
enum TokenKind: Sendable, Equatable {
    case identifier, int, uint, double, string, bytes, duration, invalid, end
    case leftParenthesis, rightParenthesis, leftBracket, rightBracket, leftBrace, rightBrace
    case comma, colon, question, dot, plus, minus, star, slash, percent, bang
    case less, lessOrEqual, greater, greaterOrEqual, equal, notEqual, assign, and, or, ampersand, bar
}

/// One token; its text stays in the source.
struct Token: Sendable {
    var kind: TokenKind
    var span: Span
}

/// Cuts a source into tokens: CEL's lexical grammar (cel-spec `doc/langdef.md`, Syntax) with `//` comments.
///
/// Linear, not recursive; a bad character is reported and skipped, so that later mistakes are still found.
struct Lexer {
    let source: SourceText
    let sink: DiagnosticSink
    private var at: Int
    private let end: Int

    init(_ source: SourceText, _ sink: DiagnosticSink, range: Span? = nil) {
        self.source = source
        self.sink = sink
        at = range?.start ?? 0
        end = range?.end ?? source.bytes.count
    }

    /// All tokens, the last of kind `end`.
    mutating func tokens() -> [Token] {
        var result: [Token] = []
        while true {
            skipBlanks()
            guard at < end else { break }
            result.append(next())
        }
        result.append(Token(kind: .end, span: Span(start: end, end: end)))
        return result
    }

    private func peek(_ ahead: Int = 0) -> UInt8 { at + ahead < end ? source.bytes[at + ahead] : 0 }

    private mutating func skipBlanks() {
        while at < end {
            switch source.bytes[at] {
            case 0x20, 0x09, 0x0A, 0x0C, 0x0D: at += 1
            case UInt8(ascii: "/") where peek(1) == UInt8(ascii: "/"):
                while at < end, source.bytes[at] != 0x0A { at += 1 }
            case 0xEF where at == 0 && peek(1) == 0xBB && peek(2) == 0xBF: at += 3
            default: return
            }
        }
    }

    private mutating func symbol(_ kind: TokenKind, _ length: Int) -> Token {
        defer { at += length }
        return Token(kind: kind, span: Span(start: at, end: at + length))
    }

    private mutating func next() -> Token {
        let byte = peek()
        let following = peek(1)
        switch byte {
        case UInt8(ascii: "("): return symbol(.leftParenthesis, 1)
        case UInt8(ascii: ")"): return symbol(.rightParenthesis, 1)
        case UInt8(ascii: "["): return symbol(.leftBracket, 1)
        case UInt8(ascii: "]"): return symbol(.rightBracket, 1)
        case UInt8(ascii: "{"): return symbol(.leftBrace, 1)
        case UInt8(ascii: "}"): return symbol(.rightBrace, 1)
        case UInt8(ascii: ","): return symbol(.comma, 1)
        case UInt8(ascii: ":"): return symbol(.colon, 1)
        case UInt8(ascii: "?"): return symbol(.question, 1)
        case UInt8(ascii: "+"): return symbol(.plus, 1)
        case UInt8(ascii: "-"): return symbol(.minus, 1)
        case UInt8(ascii: "*"): return symbol(.star, 1)
        case UInt8(ascii: "/"): return symbol(.slash, 1)
        case UInt8(ascii: "%"): return symbol(.percent, 1)
        case UInt8(ascii: "!"): return following == UInt8(ascii: "=") ? symbol(.notEqual, 2) : symbol(.bang, 1)
        case UInt8(ascii: "<"): return following == UInt8(ascii: "=") ? symbol(.lessOrEqual, 2) : symbol(.less, 1)
        case UInt8(ascii: ">"): return following == UInt8(ascii: "=") ? symbol(.greaterOrEqual, 2) : symbol(.greater, 1)
        case UInt8(ascii: "="): return following == UInt8(ascii: "=") ? symbol(.equal, 2) : symbol(.assign, 1)
        case UInt8(ascii: "&"): return following == UInt8(ascii: "&") ? symbol(.and, 2) : symbol(.ampersand, 1)
        case UInt8(ascii: "|"): return following == UInt8(ascii: "|") ? symbol(.or, 2) : symbol(.bar, 1)
        case UInt8(ascii: "."): return Lexer.isDigit(following) ? number() : symbol(.dot, 1)
        case UInt8(ascii: "\""), UInt8(ascii: "'"): return string(prefix: 0)
        default: break
        }
        if Lexer.isDigit(byte) { return number() }
        if Lexer.isLetter(byte) {
            if let prefix = stringPrefix() { return string(prefix: prefix) }
            let start = at
            while at < end, Lexer.isLetter(peek()) || Lexer.isDigit(peek()) { at += 1 }
            return Token(kind: .identifier, span: Span(start: start, end: at))
        }
        let start = at
        at += 1
        while at < end, source.bytes[at] & 0xC0 == 0x80 { at += 1 }
        let span = Span(start: start, end: at)
        let shown = byte < 0x20 || byte == 0x7F ? "byte \(byte)" : "'\(source.text(span))'"
        let quotes: [String] = ["\u{201C}", "\u{201D}", "\u{2018}", "\u{2019}"]
        let isQuote = quotes.contains(source.text(span))
        sink.error(
            source,
            span,
            "\(shown) is not part of the language",
            suggestion: isQuote ? "write straight quotes: \" or '" : nil
        )
        return Token(kind: .invalid, span: span)
    }

    static func isDigit(_ byte: UInt8) -> Bool { byte >= 0x30 && byte <= 0x39 }
    static func isLetter(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: "_") || (byte | 0x20 >= UInt8(ascii: "a") && byte | 0x20 <= UInt8(ascii: "z"))
    }

    static func hexValue(_ byte: UInt8) -> UInt32? {
        if isDigit(byte) { return UInt32(byte - 0x30) }
        let lower = byte | 0x20
        return lower >= UInt8(ascii: "a") && lower <= UInt8(ascii: "f") ? UInt32(lower - UInt8(ascii: "a") + 10) : nil
    }

    private mutating func number() -> Token {
        let start = at
        var kind = TokenKind.int
        if peek() == UInt8(ascii: "0"), peek(1) | 0x20 == UInt8(ascii: "x"), Lexer.hexValue(peek(2)) != nil {
            at += 2
            while Lexer.hexValue(peek()) != nil { at += 1 }
        } else {
            while Lexer.isDigit(peek()) { at += 1 }
            if peek() == UInt8(ascii: "."), Lexer.isDigit(peek(1)) {
                kind = .double
                at += 1
                while Lexer.isDigit(peek()) { at += 1 }
            }
            if peek() | 0x20 == UInt8(ascii: "e") {
                let sign = peek(1) == UInt8(ascii: "+") || peek(1) == UInt8(ascii: "-") ? 1 : 0
                if Lexer.isDigit(peek(1 + sign)) {
                    kind = .double
                    at += 1 + sign
                    while Lexer.isDigit(peek()) { at += 1 }
                }
            }
        }
        let digitsEnd = at
        while Lexer.isLetter(peek()) || Lexer.isDigit(peek()) { at += 1 }
        let span = Span(start: start, end: at)
        guard at > digitsEnd else { return Token(kind: kind, span: span) }
        let suffix = source.text(Span(start: digitsEnd, end: at))
        if kind == .int, suffix == "u" || suffix == "U" { return Token(kind: .uint, span: span) }
        if kind == .int, ["ms", "s", "m", "h", "d", "w"].contains(suffix) { return Token(kind: .duration, span: span) }
        sink.error(
            source,
            span,
            "'\(source.text(span))' is neither a number nor a duration",
            suggestion: "durations are a whole number and ms, s, m, h, d or w: 90m"
        )
        return Token(kind: .invalid, span: span)
    }

    /// Length of a string prefix (`r`, `b`, `rb`, `br`) when a quote follows it.
    private func stringPrefix() -> Int? {
        func isQuote(_ byte: UInt8) -> Bool { byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "'") }
        let first = peek() | 0x20
        let second = peek(1) | 0x20
        let r = UInt8(ascii: "r")
        let b = UInt8(ascii: "b")
        if first == r || first == b, isQuote(peek(1)) { return 1 }
        if (first == r && second == b) || (first == b && second == r), isQuote(peek(2)) { return 2 }
        return nil
    }

    private mutating func string(prefix: Int) -> Token {
        let start = at
        var isRaw = false
        var kind = TokenKind.string
        for index in 0..<prefix {
            if peek(index) | 0x20 == UInt8(ascii: "r") { isRaw = true } else { kind = .bytes }
        }
        at += prefix
        let quote = peek()
        let isLong = peek(1) == quote && peek(2) == quote
        at += isLong ? 3 : 1
        while at < end {
            let byte = source.bytes[at]
            if byte == quote, !isLong || (peek(1) == quote && peek(2) == quote) {
                at += isLong ? 3 : 1
                return Token(kind: kind, span: Span(start: start, end: at))
            }
            if byte == 0x0A, !isLong { break }
            at += byte == UInt8(ascii: "\\") && !isRaw && at + 1 < end && source.bytes[at + 1] != 0x0A ? 2 : 1
        }
        let mark = String(decoding: [quote], as: UTF8.self)
        sink.error(
            source,
            Span(start: start, end: at),
            "this text never ends",
            suggestion: "close it with \(isLong ? mark + mark + mark : mark)"
        )
        return Token(kind: .invalid, span: Span(start: start, end: at))
    }
}
