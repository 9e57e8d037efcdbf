/// A user's mistake in a rule or topology file: where it stands, what is wrong, why, and what to write instead.
public struct Diagnostic: Error, Sendable, Equatable {
    /// A notice tells of something that is allowed and does nothing yet; `weir check` shows it, `weir run` does not.
    public enum Severity: String, Sendable { case error, warning, notice }

    public var severity: Severity
    /// The file, as the user named it.
    public var path: String
    /// From 1; column counts characters, from 1.
    public var line: Int
    public var column: Int
    /// Characters to underline, at least 1.
    public var length: Int
    /// What is wrong, one sentence without a period.
    public var message: String
    /// What to write instead, or nil.
    public var suggestion: String?
    /// The line of text it is about, without its end; empty when unknown.
    public var sourceLine: String

    public init(
        severity: Severity = .error,
        path: String,
        line: Int,
        column: Int,
        length: Int = 1,
        message: String,
        suggestion: String? = nil,
        sourceLine: String = ""
    ) {
        self.severity = severity
        self.path = path
        self.line = line
        self.column = column
        self.length = length
        self.message = message
        self.suggestion = suggestion
        self.sourceLine = sourceLine
    }

    /// The form people read, with the line and a caret.
    ///
    /// ```
    /// rules/coupons.weir:7:8: error: no field 'acount' in event 'coupon_redeemed'
    ///    7 |   when acount >= 4
    ///      |        ^~~~~~
    ///      = did you mean 'account'?
    /// ```
    public var rendered: String {
        var text = "\(path):\(line):\(column): \(severity.rawValue): \(message)\n"
        if !sourceLine.isEmpty {
            let number = String(line)
            let margin = String(repeating: " ", count: max(4, number.count))
            let gutter = String(repeating: " ", count: margin.count - number.count) + number
            let (shown, before) = aroundCaret
            // Tabs are kept in front of the caret, so that it stands below its character whatever their width.
            let lead = shown.prefix(before).map { $0 == "\t" ? "\t" : " " }.joined()
            let room = max(1, shown.count - before)
            text += "\(gutter) | \(shown)\n\(margin) | \(lead)^"
            text += String(repeating: "~", count: max(0, min(length, room) - 1)) + "\n"
        }
        if let suggestion { text += "     = \(suggestion)\n" }
        return text
    }

    /// Characters of a line that are shown; of a longer one those around the caret.
    static let shownMax = 160

    /// The part of the line that is shown, and how many of its characters stand before the caret.
    private var aroundCaret: (shown: String, before: Int) {
        let line = Array(sourceLine)
        let before = max(0, column - 1)
        guard line.count > Diagnostic.shownMax else { return (sourceLine, before) }
        let start = max(0, min(before - Diagnostic.shownMax / 2, line.count - Diagnostic.shownMax))
        let end = min(line.count, start + Diagnostic.shownMax)
        let head = start > 0 ? "…" : ""
        let tail = end < line.count ? "…" : ""
        return (head + String(line[start..<end]) + tail, before - start + head.count)
    }

    /// The known word closest to `word` by edit distance, if it is close enough to be meant (Damerau–Levenshtein, at most a third
    /// of the letters).
    public static func nearest(to word: String, among known: some Sequence<String>) -> String? {
        let a = Array(word.utf8)
        var best: (distance: Int, word: String)?
        for candidate in known {
            let b = Array(candidate.utf8)
            let allowed = max(1, max(a.count, b.count) / 3)
            guard abs(a.count - b.count) <= allowed else { continue }
            var rows = [[Int]](repeating: [Int](repeating: 0, count: b.count + 1), count: a.count + 1)
            for i in 0...a.count { rows[i][0] = i }
            for j in 0...b.count { rows[0][j] = j }
            for i in stride(from: 1, through: a.count, by: 1) {
                for j in stride(from: 1, through: b.count, by: 1) {
                    let cost = a[i - 1] == b[j - 1] ? 0 : 1
                    var d = min(rows[i - 1][j] + 1, rows[i][j - 1] + 1, rows[i - 1][j - 1] + cost)
                    if i > 1, j > 1, a[i - 1] == b[j - 2], a[i - 2] == b[j - 1] { d = min(d, rows[i - 2][j - 2] + 1) }
                    rows[i][j] = d
                }
            }
            let distance = rows[a.count][b.count]
            if distance <= allowed, distance < (best?.distance ?? .max) { best = (distance, candidate) }
        }
        return best?.word
    }
}

/// One or more diagnostics that stop a rule set or topology from loading.
public struct DiagnosticError: Error, Sendable {
    public var diagnostics: [Diagnostic]
    public init(_ diagnostics: [Diagnostic]) { self.diagnostics = diagnostics }
}
