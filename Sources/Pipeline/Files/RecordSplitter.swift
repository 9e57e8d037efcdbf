import Glibc
public import RuleLanguage

/// How a file's bytes part into records.
public enum RecordSplitter: Sendable, Equatable {
    /// One record per line (JSON Lines): ends at LF or CR LF; the last line may lack its end.
    case lines
    /// Rows of columns: a quoted column may hold line ends. The first row is the header unless the dialect names the columns.
    case csv(CSVDialect)
}

/// Finds the ends of records in a stretch of bytes, resumable at any byte.
struct RecordScanner {
    private enum State {
        case recordStart, fieldStart, plain, quoted, quoteInQuoted, comment
    }

    /// True where every line is a record: none of them holds a line end.
    let partsAtLines: Bool
    private let delimiter: UInt8
    private let quote: UInt8
    /// A blank and a tab stand between columns.
    private let partsAtBlanks: Bool
    /// A quote behind blanks opens a column too.
    private let trims: Bool
    private let comment: UInt8?
    private var state = State.recordStart

    init(_ splitter: RecordSplitter) {
        var dialect = CSVDialect.standard
        if case .csv(let given) = splitter { dialect = given }
        partsAtLines = splitter == .lines || dialect.quote == nil
        partsAtBlanks = dialect.delimiter == .blanks
        if case .byte(let byte) = dialect.delimiter { delimiter = byte } else { delimiter = 0x20 }
        quote = dialect.quote ?? 0
        trims = dialect.trims || partsAtBlanks
        comment = dialect.comment
    }

    /// True while the record seen so far hangs in a quoted field.
    var isInQuotes: Bool { state == .quoted }

    /// Forgets the record in hand.
    mutating func restart() { state = .recordStart }

    /// Index of the LF that ends the record, searched from `from`; nil when it lies behind `to`.
    mutating func end(in bytes: UnsafeRawPointer, from: Int, to: Int) -> Int? {
        guard from < to else { return nil }
        let line = memchr(bytes + from, 0x0a, to - from).map { UnsafeRawPointer($0) - bytes }
        if partsAtLines { return line }
        // Most rows of most files hold no quote at all: two searches by the C library instead of a walk.
        if state != .quoted, state != .quoteInQuoted, let line,
            memchr(bytes + from, Int32(quote), line - from) == nil
        {
            state = .recordStart
            return line
        }
        return walk(bytes, from: from, to: to)
    }

    /// The same byte by byte; runs of bytes that change nothing are loops of their own.
    private mutating func walk(_ bytes: UnsafeRawPointer, from: Int, to: Int) -> Int? {
        let (delimiter, quote) = (delimiter, quote)
        let otherDelimiter = partsAtBlanks ? 0x09 : delimiter
        var state = state
        defer { self.state = state }
        var i = from
        func byte() -> UInt8 { bytes.load(fromByteOffset: i, as: UInt8.self) }
        while i < to {
            switch state {
            case .quoted:
                while i < to, byte() != quote { i += 1 }
                if i == to { return nil }
                state = .quoteInQuoted
            case .plain:
                while i < to, byte() != delimiter, byte() != otherDelimiter, byte() != 0x0a { i += 1 }
                if i == to { return nil }
                if byte() != 0x0a { state = .fieldStart }
            case .comment:
                while i < to, byte() != 0x0a { i += 1 }
                if i == to { return nil }
            case .recordStart where byte() == comment:
                // What quotes a comment holds, nobody closes.
                state = .comment
            case .recordStart, .fieldStart:
                state = behindDelimiter(byte())
            case .quoteInQuoted:
                // A doubled quote stays inside; anything but a delimiter or a line end is no CSV, and the field's reader will
                // say so.
                state = byte() == quote ? .quoted : endsColumn(byte()) ? .fieldStart : .plain
            }
            if state != .quoted, byte() == 0x0a {
                state = .recordStart
                return i
            }
            i += 1
        }
        return nil
    }

    @inline(__always)
    private func endsColumn(_ byte: UInt8) -> Bool {
        byte == delimiter || partsAtBlanks && byte == 0x09
    }

    /// The state behind a byte that follows a delimiter.
    @inline(__always)
    private func behindDelimiter(_ byte: UInt8) -> State {
        if byte == quote { return .quoted }
        if endsColumn(byte) || trims && (byte == 0x20 || byte == 0x09) { return .fieldStart }
        return .plain
    }
}
