/// Swift source with comments and the contents of string literals and raw identifiers blanked out, so that rules see code only.
///
/// A small lexer, not a parser: nested block comments, raw and multi-line strings, interpolations (which are code) and back-ticked
/// names. Bare-slash regular expressions are not understood; this code base compiles its patterns elsewhere.
struct SwiftText {
    /// Lines as written.
    let lines: [String]
    /// The same lines with blanks instead of comments and text; same length in bytes.
    let code: [String]

    init(_ text: String) {
        lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        var lexer = Lexer(bytes: Array(text.utf8))
        lexer.scanCode(insideInterpolation: false)
        code = lexer.masked.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
            .map { String(decoding: $0, as: UTF8.self) }
    }

    private struct Lexer {
        let bytes: [UInt8]
        var masked: [UInt8]
        var at = 0

        init(bytes: [UInt8]) {
            self.bytes = bytes
            masked = bytes
        }

        func matches(_ text: StaticString, at position: Int) -> Bool {
            let wanted = Array(text.description.utf8)
            return position + wanted.count <= bytes.count
                && Array(bytes[position..<(position + wanted.count)]) == wanted
        }

        mutating func blank() {
            if at < bytes.count, bytes[at] != UInt8(ascii: "\n") { masked[at] = UInt8(ascii: " ") }
            at += 1
        }

        mutating func scanCode(insideInterpolation: Bool) {
            var depth = 0
            while at < bytes.count {
                switch bytes[at] {
                case UInt8(ascii: "/") where matches("//", at: at):
                    while at < bytes.count, bytes[at] != UInt8(ascii: "\n") { blank() }
                case UInt8(ascii: "/") where matches("/*", at: at): scanBlockComment()
                case UInt8(ascii: "\""): scanString(pounds: 0)
                case UInt8(ascii: "#"):
                    let pounds = bytes[at...].prefix { $0 == UInt8(ascii: "#") }.count
                    at += pounds
                    if at < bytes.count, bytes[at] == UInt8(ascii: "\"") { scanString(pounds: pounds) }
                case UInt8(ascii: "`"):
                    at += 1
                    while at < bytes.count, bytes[at] != UInt8(ascii: "`"), bytes[at] != UInt8(ascii: "\n") { blank() }
                    at += 1
                case UInt8(ascii: "("):
                    depth += 1
                    at += 1
                case UInt8(ascii: ")"):
                    at += 1
                    if insideInterpolation, depth == 0 { return }
                    depth -= 1
                default: at += 1
                }
            }
        }

        mutating func scanBlockComment() {
            var depth = 0
            repeat {
                if matches("/*", at: at) {
                    depth += 1
                    blank()
                } else if matches("*/", at: at) {
                    depth -= 1
                    blank()
                }
                blank()
            } while depth > 0 && at < bytes.count
        }

        mutating func scanString(pounds: Int) {
            let isLong = matches("\"\"\"", at: at)
            at += isLong ? 3 : 1
            while at < bytes.count {
                if bytes[at] == UInt8(ascii: "\\"), hasPounds(pounds, at: at + 1) {
                    let next = at + 1 + pounds
                    let isInterpolation = next < bytes.count && bytes[next] == UInt8(ascii: "(")
                    while at <= next { blank() }
                    if isInterpolation { scanCode(insideInterpolation: true) }
                } else if matches(isLong ? "\"\"\"" : "\"", at: at), hasPounds(pounds, at: at + (isLong ? 3 : 1)) {
                    at += (isLong ? 3 : 1) + pounds
                    return
                } else if !isLong, bytes[at] == UInt8(ascii: "\n") {
                    return
                } else {
                    blank()
                }
            }
        }

        func hasPounds(_ count: Int, at position: Int) -> Bool {
            position + count <= bytes.count
                && bytes[position..<(position + count)].allSatisfy { $0 == UInt8(ascii: "#") }
        }
    }
}

extension String {
    /// Whether `needle` occurs with no identifier character directly before and after it.
    func hasWord(_ needle: String) -> Bool {
        let text = Array(utf8)
        let word = Array(needle.utf8)
        guard let first = word.first, let last = word.last, text.count >= word.count else { return false }
        for start in 0...(text.count - word.count)
        where text[start] == first && text[start..<(start + word.count)] == word[...] {
            let end = start + word.count
            let isFree =
                (start == 0 || !(text[start - 1].isIdentifier && first.isIdentifier))
                && (end == text.count || !(text[end].isIdentifier && last.isIdentifier))
            if isFree { return true }
        }
        return false
    }
}

extension UInt8 {
    /// Letters, digits, underscore, and all bytes of characters outside ASCII.
    var isIdentifier: Bool {
        switch self {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"),
            UInt8(ascii: "_"), 0x80...0xFF:
            true
        default: false
        }
    }
}
