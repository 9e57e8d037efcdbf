import Glibc

/// Structured log lines about transitions of the control plane: assigned, committed late, fenced, stopped.
///
/// Never one per event. Messages are constants, so that they can be searched and counted; what varies goes into fields. One call
/// gives one line to the sink. A line below ``level`` costs one comparison: its fields are not even built. Values are escaped, so
/// foreign text can neither break a line nor move a terminal's cursor; secrets travel as ``Redacted``.
public struct Log: Sendable {
    /// How much it matters, ascending.
    public enum Level: Int, Sendable, Comparable, CaseIterable {
        case debug, info, warn, error

        /// The name in the line.
        public var name: String {
            switch self {
            case .debug: "debug"
            case .info: "info"
            case .warn: "warn"
            case .error: "error"
            }
        }

        public static func < (a: Level, b: Level) -> Bool { a.rawValue < b.rawValue }
    }

    /// The form of a line.
    public enum Format: Sendable {
        /// `ts=2026-01-31T23:59:59.123Z level=warn msg="commit was slow" seconds=1.5`: for files and journals.
        case logfmt
        /// The same as one JSON object; its keys are in the same order.
        case json
        /// `23:59:59 warn  commit was slow seconds=1.5`: for somebody who watches.
        case terminal(colour: Bool)
    }

    /// Lines below it are not written.
    public var level: Level
    private let format: Format
    private var context: [(String, LogValue)] = []
    private var folding: LogFolding?
    private let now: @Sendable () -> Int64
    private let sink: @Sendable ([UInt8]) -> Void

    /// A log that gives finished lines, with their line feed, to `sink`; `now` returns milliseconds since 1970.
    public init(
        level: Level = .info,
        format: Format,
        now: @escaping @Sendable () -> Int64 = Log.wallClockMilliseconds,
        sink: @escaping @Sendable ([UInt8]) -> Void
    ) {
        self.level = level
        self.format = format
        self.now = now
        self.sink = sink
    }

    /// A log that writes nothing.
    public static let silent = Log(level: .error, format: .logfmt, now: { 0 }, sink: { _ in })

    /// The same log with a field that stands in every line, such as the component.
    public func with(_ key: String, _ value: LogValue) -> Log {
        var copy = self
        copy.context.append((key, value))
        return copy
    }

    /// The same log with warnings that repeat folded into one line a minute.
    public func folded(by folding: LogFolding) -> Log {
        var copy = self
        copy.folding = folding
        return copy
    }

    /// Writes a line that somebody must act on.
    public func error(_ message: StaticString, _ fields: @autoclosure () -> KeyValuePairs<String, LogValue> = [:]) {
        write(.error, message, fields)
    }

    /// Writes a line about something that is not as it should be but goes on.
    public func warn(_ message: StaticString, _ fields: @autoclosure () -> KeyValuePairs<String, LogValue> = [:]) {
        write(.warn, message, fields)
    }

    /// Writes a line about an ordinary transition.
    public func info(_ message: StaticString, _ fields: @autoclosure () -> KeyValuePairs<String, LogValue> = [:]) {
        write(.info, message, fields)
    }

    /// Writes a line for whoever looks for a fault.
    public func debug(_ message: StaticString, _ fields: @autoclosure () -> KeyValuePairs<String, LogValue> = [:]) {
        write(.debug, message, fields)
    }

    private func write(_ level: Level, _ message: StaticString, _ fields: () -> KeyValuePairs<String, LogValue>) {
        guard level >= self.level else { return }
        let time = now()
        let all = context + fields().map { ($0.key, $0.value) }
        guard level == .warn, let folding else { return put(level, message, all, time) }
        folding.take(message, all, time) { self.put(level, message, $0, $1) }
    }

    private func put(_ level: Level, _ message: StaticString, _ all: [(String, LogValue)], _ milliseconds: Int64) {
        let time = Log.timestamp(milliseconds: milliseconds)
        var line = ""
        switch format {
        case .logfmt:
            line = "ts=\(time) level=\(level.name) msg=\(Log.logfmt(.string(message.description)))"
            for (key, value) in all { line += " \(Log.logfmtKey(key))=\(Log.logfmt(value))" }
        case .json:
            line = #"{"ts":"\#(time)","level":"\#(level.name)","msg":\#(Log.quoted(message.description))"#
            for (key, value) in all { line += ",\(Log.quoted(key)):\(Log.json(value))" }
            line += "}"
        case .terminal(let colour):
            let name = level.name + String(repeating: " ", count: 5 - level.name.count)
            line = "\(time.dropFirst(11).prefix(8)) \(colour ? Log.coloured(name, level) : name) \(message.description)"
            for (key, value) in all { line += " \(Log.logfmtKey(key))=\(Log.logfmt(value))" }
        }
        line += "\n"
        sink(Array(line.utf8))
    }

    // MARK: Forms of values

    private static func logfmt(_ value: LogValue) -> String {
        switch value {
        case .string(let text):
            let isPlain =
                !text.isEmpty
                && text.unicodeScalars.allSatisfy {
                    $0 != " " && $0 != "=" && $0 != "\"" && $0 != "\\" && !TerminalText.canSteer($0)
                }
            return isPlain ? text : quoted(text)
        case .int(let number): return String(number)
        case .double(let number): return number.description
        case .bool(let flag): return flag ? "true" : "false"
        case .redacted: return "[redacted]"
        }
    }

    private static func json(_ value: LogValue) -> String {
        switch value {
        case .string(let text): quoted(text)
        case .double(let number) where !number.isFinite: quoted(number.description)
        case .redacted: "\"[redacted]\""
        case .int, .double, .bool: logfmt(value)
        }
    }

    /// Keys are ours, but a space in one must not break the line.
    private static func logfmtKey(_ key: String) -> String {
        String(
            String.UnicodeScalarView(key.unicodeScalars.map { $0.value > 0x20 && $0 != "=" && $0 != "\"" ? $0 : "_" })
        )
    }

    /// A JSON string, which is also the quoted form of logfmt.
    private static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\r": result += "\\r"
            case "\t": result += "\\t"
            case _ where TerminalText.canSteer(scalar): result += TerminalText.escape(scalar)
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }

    private static func coloured(_ text: String, _ level: Level) -> String {
        switch level {
        case .error: "\u{1b}[31m\(text)\u{1b}[0m"
        case .warn: "\u{1b}[33m\(text)\u{1b}[0m"
        case .info: text
        case .debug: "\u{1b}[2m\(text)\u{1b}[0m"
        }
    }

    // MARK: Time

    /// Milliseconds since 1970 by the wall clock; for log lines only, never for a result.
    public static func wallClockMilliseconds() -> Int64 {
        var now = timespec()
        unsafe clock_gettime(CLOCK_REALTIME, &now)
        return Int64(now.tv_sec) * 1_000 + Int64(now.tv_nsec) / 1_000_000
    }

    /// RFC 3339 in UTC with milliseconds, such as `2026-01-31T23:59:59.123Z`.
    ///
    /// The calendar is Howard Hinnant's `civil_from_days` (howardhinnant.github.io/date_algorithms.html): exact for all years, no
    /// tables.
    public static func timestamp(milliseconds: Int64) -> String {
        func floored(_ a: Int64, _ b: Int64) -> (quotient: Int64, remainder: Int64) {
            let (quotient, remainder) = a.quotientAndRemainder(dividingBy: b)
            return remainder < 0 ? (quotient - 1, remainder + b) : (quotient, remainder)
        }
        func digits(_ value: Int64, _ count: Int) -> String {
            let text = String(value)
            return String(repeating: "0", count: max(0, count - text.count)) + text
        }
        let (days, inDay) = floored(milliseconds, 86_400_000)
        // Counted from 1 March of year 0, in eras of 400 years.
        let (era, dayOfEra) = floored(days + 719_468, 146_097)
        let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shifted = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * shifted + 2) / 5 + 1
        let month = shifted < 10 ? shifted + 3 : shifted - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        let date = "\(digits(year, 4))-\(digits(month, 2))-\(digits(day, 2))"
        let clock = "\(digits(inDay / 3_600_000, 2)):\(digits(inDay / 60_000 % 60, 2)):\(digits(inDay / 1_000 % 60, 2))"
        return "\(date)T\(clock).\(digits(inDay % 1_000, 3))Z"
    }
}
