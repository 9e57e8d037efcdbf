import Glibc

/// How a file's bytes part into records.
public enum RecordSplitter: Sendable, Equatable {
    /// One record per line (JSON Lines): ends at LF or CR LF; the last line may lack its end.
    case lines
    /// Comma-separated values by RFC 4180: a quoted field may hold line ends. The first record is the header.
    case csv
}

/// Finds the ends of records in a stretch of bytes, resumable at any byte.
struct RecordScanner {
    private enum State {
        case fieldStart, plain, quoted, quoteInQuoted
    }

    let splitter: RecordSplitter
    private var state = State.fieldStart

    init(_ splitter: RecordSplitter) { self.splitter = splitter }

    /// True while the record seen so far hangs in a quoted field.
    var isInQuotes: Bool { state == .quoted }

    /// Forgets the record in hand.
    mutating func restart() { state = .fieldStart }

    /// Index of the LF that ends the record, searched from `from`; nil when it lies behind `to`.
    mutating func end(in bytes: UnsafeRawPointer, from: Int, to: Int) -> Int? {
        guard from < to else { return nil }
        let line = memchr(bytes + from, 0x0a, to - from).map { UnsafeRawPointer($0) - bytes }
        if splitter == .lines { return line }
        // Most rows of most files hold no quote at all: two searches by the C library instead of a walk.
        if state == .fieldStart || state == .plain, let line, memchr(bytes + from, 0x22, line - from) == nil {
            state = .fieldStart
            return line
        }
        var state = state
        defer { self.state = state }
        for i in from..<to {
            let byte = bytes.load(fromByteOffset: i, as: UInt8.self)
            switch state {
            case .fieldStart:
                if byte == 0x0a { return i }
                state = byte == 0x22 ? .quoted : byte == 0x2c ? .fieldStart : .plain
            case .plain:
                if byte == 0x2c {
                    state = .fieldStart
                } else if byte == 0x0a {
                    state = .fieldStart
                    return i
                }
            case .quoted:
                if byte == 0x22 { state = .quoteInQuoted }
            case .quoteInQuoted:
                // A doubled quote stays inside; anything but a comma or a line end is no CSV, and the field's reader will say so.
                if byte == 0x0a {
                    state = .fieldStart
                    return i
                }
                state = byte == 0x22 ? .quoted : byte == 0x2c ? .fieldStart : .plain
            }
        }
        return nil
    }
}
