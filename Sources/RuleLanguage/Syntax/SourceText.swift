/// The bytes of one rule file with its line table: turns byte ranges into diagnostics.
final class SourceText: Sendable {
    let path: String
    let bytes: [UInt8]
    private let lineStarts: [Int]

    init(path: String, text: String) {
        self.path = path
        bytes = Array(text.utf8)
        var starts = [0]
        for (index, byte) in bytes.enumerated() where byte == 0x0A { starts.append(index + 1) }
        lineStarts = starts
    }

    /// Index of the line that holds a byte offset.
    private func lineIndex(of offset: Int) -> Int {
        var low = 0
        var high = lineStarts.count
        while high - low > 1 {
            let middle = (low + high) / 2
            if lineStarts[middle] <= offset { low = middle } else { high = middle }
        }
        return low
    }

    func text(_ span: Span) -> String { String(decoding: bytes[span.start..<span.end], as: UTF8.self) }

    func diagnostic(
        _ severity: Diagnostic.Severity,
        at span: Span,
        _ message: String,
        suggestion: String? = nil
    ) -> Diagnostic {
        let line = lineIndex(of: min(span.start, bytes.count))
        let lineStart = lineStarts[line]
        var lineEnd = lineStart
        while lineEnd < bytes.count, bytes[lineEnd] != 0x0A { lineEnd += 1 }
        if lineEnd > lineStart, bytes[lineEnd - 1] == 0x0D { lineEnd -= 1 }
        let start = min(span.start, max(lineEnd, lineStart))
        let end = max(start, min(span.end, lineEnd))
        let column = String(decoding: bytes[lineStart..<start], as: UTF8.self).count + 1
        let length = max(1, String(decoding: bytes[start..<end], as: UTF8.self).count)
        return Diagnostic(
            severity: severity,
            path: path,
            line: line + 1,
            column: column,
            length: length,
            message: message,
            suggestion: suggestion,
            sourceLine: String(decoding: bytes[lineStart..<lineEnd], as: UTF8.self)
        )
    }
}

/// A range of bytes in a source.
struct Span: Sendable, Equatable {
    var start: Int
    var end: Int
    func union(_ other: Span) -> Span { Span(start: min(start, other.start), end: max(end, other.end)) }
}

/// Collects what a compilation has to say; the same mistake is told once, and no more than twenty of them.
final class DiagnosticSink {
    static let errorLimit = 20
    private(set) var errors: [Diagnostic] = []
    private(set) var warnings: [Diagnostic] = []
    private(set) var notices: [Diagnostic] = []
    /// While above zero nothing is recorded, only counted in ``mutedErrors``: for trying whether something type-checks.
    private var muted = 0
    private var mutedErrors = 0
    /// Every error reported so far, those beyond the limit included.
    private(set) var errorCount = 0

    var isFull: Bool { errors.count >= DiagnosticSink.errorLimit }

    func error(_ source: SourceText, _ span: Span, _ message: String, suggestion: String? = nil) {
        guard muted == 0 else {
            mutedErrors += 1
            return
        }
        errorCount += 1
        let diagnostic = source.diagnostic(.error, at: span, message, suggestion: suggestion)
        guard !isFull, !errors.contains(diagnostic) else { return }
        errors.append(diagnostic)
    }

    func warning(_ source: SourceText, _ span: Span, _ message: String, suggestion: String? = nil) {
        guard muted == 0 else { return }
        let diagnostic = source.diagnostic(.warning, at: span, message, suggestion: suggestion)
        guard warnings.count < 100, !warnings.contains(diagnostic) else { return }
        warnings.append(diagnostic)
    }

    func notice(_ source: SourceText, _ span: Span, _ message: String) {
        notices.append(source.diagnostic(.notice, at: span, message))
    }

    /// Runs `body` without recording; true when it reported no error.
    func attempt(_ body: () -> Void) -> Bool {
        let before = mutedErrors
        muted += 1
        body()
        muted -= 1
        return mutedErrors == before
    }
}
