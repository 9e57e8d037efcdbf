/// The values of literal tokens.
enum Literals {
    /// The inside of a string or bytes token: its first byte, and how it is to be read.
    struct StringForm {
        var body: Span
        var isRaw: Bool
        var isBytes: Bool
    }

    static func form(of token: Token, in source: SourceText) -> StringForm {
        var start = token.span.start
        var isRaw = false
        var isBytes = false
        while Lexer.isLetter(source.bytes[start]) {
            if source.bytes[start] | 0x20 == UInt8(ascii: "r") { isRaw = true } else { isBytes = true }
            start += 1
        }
        let quote = source.bytes[start]
        var width = 1
        if token.span.end - start >= 6, source.bytes[start + 1] == quote, source.bytes[start + 2] == quote { width = 3 }
        return StringForm(body: Span(start: start + width, end: token.span.end - width), isRaw: isRaw, isBytes: isBytes)
    }

    /// The bytes a string or bytes token stands for; nil after a reported error.
    static func stringBytes(of token: Token, in source: SourceText, _ sink: DiagnosticSink) -> [UInt8]? {
        let form = form(of: token, in: source)
        let bytes = source.bytes
        var out: [UInt8] = []
        var at = form.body.start
        func fail(_ length: Int, _ message: String) -> [UInt8]? {
            sink.error(
                source,
                Span(start: at, end: min(at + length, form.body.end)),
                message,
                suggestion: "write \\\\ for a backslash, or a raw text: r\"...\""
            )
            return nil
        }
        while at < form.body.end {
            let byte = bytes[at]
            guard byte == UInt8(ascii: "\\"), !form.isRaw else {
                // CEL reads CR and CR LF inside a text as LF.
                if byte == 0x0D {
                    out.append(0x0A)
                    at += at + 1 < form.body.end && bytes[at + 1] == 0x0A ? 2 : 1
                    continue
                }
                out.append(byte)
                at += 1
                continue
            }
            guard at + 1 < form.body.end else { return fail(1, "a text cannot end in a backslash") }
            let code = bytes[at + 1]
            switch code {
            case UInt8(ascii: "a"): out.append(7)
            case UInt8(ascii: "b"): out.append(8)
            case UInt8(ascii: "f"): out.append(12)
            case UInt8(ascii: "n"): out.append(10)
            case UInt8(ascii: "r"): out.append(13)
            case UInt8(ascii: "t"): out.append(9)
            case UInt8(ascii: "v"): out.append(11)
            case UInt8(ascii: "\\"), UInt8(ascii: "?"), UInt8(ascii: "\""), UInt8(ascii: "'"), UInt8(ascii: "`"):
                out.append(code)
            case UInt8(ascii: "x"), UInt8(ascii: "X"), UInt8(ascii: "u"), UInt8(ascii: "U"):
                let digits = code == UInt8(ascii: "u") ? 4 : code == UInt8(ascii: "U") ? 8 : 2
                var value: UInt32 = 0
                guard at + 2 + digits <= form.body.end else { return fail(2, "this escape needs \(digits) hex digits") }
                for index in 0..<digits {
                    guard let digit = Lexer.hexValue(bytes[at + 2 + index]) else {
                        return fail(2 + digits, "this escape needs \(digits) hex digits")
                    }
                    value = value << 4 | digit
                }
                if form.isBytes {
                    guard digits == 2 else { return fail(2 + digits, "bytes have no \\u and \\U escapes") }
                    out.append(UInt8(value))
                } else {
                    guard let scalar = Unicode.Scalar(value) else {
                        return fail(2 + digits, "this is not a Unicode character")
                    }
                    out.append(contentsOf: Array(String(Character(scalar)).utf8))
                }
                at += digits
            case UInt8(ascii: "0")...UInt8(ascii: "3"):
                var value: UInt32 = 0
                guard at + 4 <= form.body.end else { return fail(2, "an octal escape needs 3 digits") }
                for index in 0..<3 {
                    let digit = bytes[at + 1 + index]
                    guard digit >= 0x30, digit <= 0x37 else { return fail(4, "an octal escape needs 3 digits") }
                    value = value << 3 | UInt32(digit - 0x30)
                }
                if form.isBytes {
                    out.append(UInt8(value))
                } else {
                    out.append(contentsOf: Array(String(Character(Unicode.Scalar(UInt8(value)))).utf8))
                }
                at += 2
            default: return fail(2, "unknown escape '\(source.text(Span(start: at, end: min(at + 2, form.body.end))))'")
            }
            at += 2
        }
        return out
    }

    /// An unsigned magnitude, decimal or `0x`; nil when it needs more than 64 bits.
    static func magnitude(_ text: String) -> UInt64? {
        let digits = text.last == "u" || text.last == "U" ? String(text.dropLast()) : text
        if digits.hasPrefix("0x") || digits.hasPrefix("0X") { return UInt64(digits.dropFirst(2), radix: 16) }
        return UInt64(digits)
    }
}
