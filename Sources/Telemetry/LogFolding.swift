import Synchronization

/// Folds warnings that repeat: the first of a kind is written at once, and of those that follow one a minute, with how many there
/// were and since when.
///
/// Of a kind are lines of one message whose fields differ in nothing but digits: attempts, ports and milliseconds. A fault that is
/// met seventeen times a second gives two lines in its first minute, and a disk that is full is not filled by telling so. Nothing
/// is lost in silence: what is held back is counted, and told by ``flush(at:all:)``, which somebody calls now and then and at the
/// end. Any thread may use it.
public final class LogFolding: Sendable {
    /// Kinds told apart at one time; beyond it a message is of one kind whatever its fields say.
    static let kindsMax = 256

    private struct Kind {
        /// When a line of it was written last.
        var written: Int64
        var held = 0
        var first: Int64 = 0
        /// The newest of those held back, to be written for all of them.
        var newest: [(String, LogValue)] = []
        var newestTime: Int64 = 0
        var write: @Sendable ([(String, LogValue)], Int64) -> Void
    }

    private let milliseconds: Int64
    private let kinds = Mutex<[String: Kind]>([:])

    /// - Parameter seconds: how long lines are held back.
    public init(seconds: Int64 = 60) { milliseconds = seconds * 1000 }

    /// Writes a line or holds it back; `now` in milliseconds since 1970.
    func take(
        _ message: StaticString,
        _ fields: [(String, LogValue)],
        _ now: Int64,
        write: @escaping @Sendable ([(String, LogValue)], Int64) -> Void
    ) {
        let isHeld = kinds.withLock { kinds -> Bool in
            var key = LogFolding.key(message, fields)
            if kinds[key] == nil, kinds.count >= LogFolding.kindsMax { key = message.description }
            guard var kind = kinds[key] else {
                kinds[key] = Kind(written: now, write: write)
                return false
            }
            if kind.held == 0 { kind.first = now }
            kind.held += 1
            kind.newest = fields
            kind.newestTime = now
            kinds[key] = kind
            return true
        }
        if isHeld { flush(at: now) } else { write(fields, now) }
    }

    /// Tells of what was held back for long enough, or, at the end, of all that is held back.
    public func flush(at now: Int64, all: Bool = false) {
        let due = kinds.withLock { kinds -> [Kind] in
            var due: [Kind] = []
            // A clock that was set back must hold nothing back for hours.
            for (key, kind) in kinds where all || now - kind.written >= milliseconds || now < kind.written {
                if kind.held > 0 { due.append(kind) }
                if kind.held == 0 || all {
                    kinds[key] = nil
                } else {
                    kinds[key]?.held = 0
                    kinds[key]?.written = now
                }
            }
            return due.sorted { $0.first < $1.first }
        }
        for kind in due {
            let since: (String, LogValue) = ("since", .string(Log.timestamp(milliseconds: kind.first)))
            kind.write(kind.newest + [("times", .int(kind.held)), since], kind.newestTime)
        }
    }

    /// The message and its fields, each run of digits as one.
    private static func key(_ message: StaticString, _ fields: [(String, LogValue)]) -> String {
        var key = message.description
        for (name, value) in fields {
            key += "\u{0}\(name)="
            guard case .string(let text) = value else { continue }
            var wasDigit = false
            for scalar in text.unicodeScalars {
                let isDigit = ("0"..."9").contains(scalar)
                if isDigit, wasDigit { continue }
                key.unicodeScalars.append(isDigit ? "#" : scalar)
                wasDigit = isDigit
            }
        }
        return key
    }
}
