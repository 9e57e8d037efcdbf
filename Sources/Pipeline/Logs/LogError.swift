/// Why a log could not do what was asked.
public struct LogError: Error, Sendable, CustomStringConvertible {
    /// What a caller does about it; the command line maps each to an exit code.
    public enum Kind: Sendable, Equatable {
        /// The log cannot be reached, or another process holds it for long, or it did not take what a stopped worker had read
        /// (exit 5).
        case unreachable
        /// It, or the file system, refuses us (exit 6); the message names the missing right.
        case notAuthorised
        /// Another process owns our identity; stop (exit 1).
        case fenced
        /// A range that must be read again is gone (exit 7).
        case outOfRange
        /// What is stored contradicts itself (exit 7).
        case corrupt
        /// The log's version or the library's is too old (exit 8).
        case incompatible
        /// Our request is wrong: an unknown topic, an unwritable output file (exit 3).
        case refused
        /// It may work later; the log itself has already tried again.
        case transient
        /// Somebody asked for an end meanwhile: nothing is wrong, and who asked knows what to say.
        case stopped
    }
    public var kind: Kind
    /// What happened and what to do, one or two sentences.
    public var message: String
    public init(_ kind: Kind, _ message: String) {
        self.kind = kind
        self.message = message
    }
    public var description: String { message }
}

extension LogError {
    /// A stop came before the log had taken what was judged last, for this reason; others than that the log is away stay as they
    /// are.
    init(undrained error: LogError) {
        guard error.kind == .transient || error.kind == .stopped else {
            self = error
            return
        }
        self.init(
            .unreachable,
            "stopped before what was read last could be committed: the next start judges it again. \(error.message)"
        )
    }

    /// A batch that would leave epochs out of the journal, or write some twice: nothing of it was written.
    init(discontinuous first: Int64, after newest: Int64) {
        self.init(
            .corrupt,
            "epoch \(first) does not follow the journal, whose newest is \(newest): the journal was changed while it was written"
        )
    }
}
