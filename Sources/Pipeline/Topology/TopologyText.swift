import RuleLanguage

/// Calendar days as topologies write them.
enum DateText {
    /// Midnight UTC of a `YYYY-MM-DD`, in milliseconds since 1970, or nil when there is no such day.
    static func milliseconds(_ text: String) -> Int64? {
        let bytes = Array(text.utf8)
        guard bytes.count == 10, bytes[4] == UInt8(ascii: "-"), bytes[7] == UInt8(ascii: "-") else { return nil }
        func number(_ range: Range<Int>) -> Int64? {
            var value: Int64 = 0
            for byte in bytes[range] {
                guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) else { return nil }
                value = value * 10 + Int64(byte - UInt8(ascii: "0"))
            }
            return value
        }
        guard let year = number(0..<4), let month = number(5..<7), let day = number(8..<10) else { return nil }
        let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
        let lengths: [Int64] = [31, isLeap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
        guard (1...12).contains(month), day >= 1, day <= lengths[Int(month - 1)] else { return nil }
        // Days from 1970-01-01 in the proleptic Gregorian calendar, years counted from March so that the leap day comes last.
        let shifted = month <= 2 ? year - 1 : year
        let era = (shifted >= 0 ? shifted : shifted - 399) / 400
        let ofEra = shifted - era * 400
        let ofYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        let days = era * 146_097 + ofEra * 365 + ofEra / 4 - ofEra / 100 + ofYear - 719_468
        return days * 86_400_000
    }
}

/// The lines of a source file, by which a mark becomes a diagnostic.
struct SourceLines: Sendable {
    private var lines: [String]

    /// Splits where YAML ends a line: LF, CR, CR LF, NEL, LS and PS.
    init(_ text: String) {
        lines = []
        var current = String.UnicodeScalarView()
        var previous: Unicode.Scalar = "\0"
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\n" where previous == "\r": break
            case "\n", "\r", "\u{85}", "\u{2028}", "\u{2029}":
                lines.append(String(current))
                current = String.UnicodeScalarView()
            default: current.append(scalar)
            }
            previous = scalar
        }
        lines.append(String(current))
    }

    /// Longest line that a diagnostic repeats; a longer one would bury the message.
    static let longestShown = 300

    func diagnostic(path: String, mark: SourceMark, message: String, suggestion: String?) -> Diagnostic {
        var line = mark.line > 0 && mark.line <= lines.count ? lines[mark.line - 1] : ""
        // Marks count scalars, people see characters.
        let before = String(String.UnicodeScalarView(line.unicodeScalars.prefix(max(0, mark.column - 1))))
        let about = String(
            String.UnicodeScalarView(line.unicodeScalars.dropFirst(max(0, mark.column - 1)).prefix(max(1, mark.length)))
        )
        if line.utf8.count > SourceLines.longestShown { line = "" }
        return Diagnostic(
            path: path,
            line: max(1, mark.line),
            column: before.count + 1,
            length: max(1, about.count),
            message: message,
            suggestion: suggestion,
            sourceLine: line
        )
    }
}
