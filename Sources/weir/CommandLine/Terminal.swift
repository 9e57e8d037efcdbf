import Glibc
import RuleLanguage
import Synchronization
import Telemetry

/// The two streams of a command: stdout is data, stderr is for people.
///
/// Colour and moving progress lines appear only on a terminal, never with `NO_COLOR` (no-color.org) or `TERM=dumb`. Data is
/// buffered and written in blocks, or at each line when stdout is a terminal; a reader that goes away (`| head`) is no error and is
/// asked by ``outputIsClosed``. Any thread may write; each call is written as a whole.
final class Terminal: Sendable {
    /// Where text goes; the streams differ in colour and buffering.
    enum Stream: Sendable { case output, errors }

    let outputIsTerminal: Bool
    let errorsIsTerminal: Bool
    private let colourAllowed: Bool
    private let sinks: Mutex<Sinks>
    /// Whether what is for people is written as JSON lines.
    private let notesAreJSON = Atomic<Bool>(false)

    private struct Sinks {
        var output: Int32
        var errors: Int32
        var buffer: [UInt8] = []
        /// What memory terminals collect; nil for real streams.
        var captured: (output: [UInt8], errors: [UInt8])?
        /// The first error of writing to stdout.
        var outputError: Int32 = 0
        /// Columns of the progress line that stands on stderr now.
        var progressWidth = 0
    }

    /// The process's own streams.
    convenience init() {
        self.init(
            output: STDOUT_FILENO,
            errors: STDERR_FILENO,
            outputIsTerminal: isatty(STDOUT_FILENO) == 1,
            errorsIsTerminal: isatty(STDERR_FILENO) == 1
        ) { name in getenv(name).map { String(cString: $0) } }
    }

    /// Streams with these descriptors; `environment` is asked for `NO_COLOR` and `TERM`.
    init(
        output: Int32,
        errors: Int32,
        outputIsTerminal: Bool,
        errorsIsTerminal: Bool,
        environment: (String) -> String?
    ) {
        self.outputIsTerminal = outputIsTerminal
        self.errorsIsTerminal = errorsIsTerminal
        colourAllowed = (environment("NO_COLOR") ?? "").isEmpty && environment("TERM") != "dumb"
        sinks = Mutex(Sinks(output: output, errors: errors))
    }

    /// Keeps all text in memory; for tests.
    init(capturingAsTerminal isTerminal: Bool, environment: (String) -> String? = { _ in nil }) {
        outputIsTerminal = isTerminal
        errorsIsTerminal = isTerminal
        colourAllowed = (environment("NO_COLOR") ?? "").isEmpty && environment("TERM") != "dumb"
        sinks = Mutex(Sinks(output: -1, errors: -1, captured: ([], [])))
    }

    /// What a memory terminal has collected.
    var captured: (output: String, errors: String) {
        sinks.withLock {
            (
                String(decoding: $0.captured?.output ?? [], as: UTF8.self),
                String(decoding: $0.captured?.errors ?? [], as: UTF8.self)
            )
        }
    }

    /// True when nobody reads stdout any more, or it cannot be written: time to stop producing data.
    var outputIsClosed: Bool { sinks.withLock { $0.outputError != 0 } }

    /// Whether text on this stream may be coloured.
    func hasColour(_ stream: Stream) -> Bool {
        colourAllowed && (stream == .output ? outputIsTerminal : errorsIsTerminal)
    }

    /// Whether a line on stderr may be drawn over.
    var canRedraw: Bool { errorsIsTerminal && colourAllowed }

    // MARK: Data

    /// Writes text to stdout: to a terminal without what could steer it, but for our colours; elsewhere as it is.
    func write(_ text: String) { write(Array((outputIsTerminal ? Terminal.guarded(text) : text).utf8)) }

    /// Writes bytes to stdout as they are.
    func write(_ bytes: [UInt8]) {
        sinks.withLock { sinks in
            Terminal.clearProgress(&sinks)
            sinks.buffer.append(contentsOf: bytes)
            if outputIsTerminal || sinks.buffer.count >= 64 << 10 { Terminal.flush(&sinks) }
        }
    }

    /// Writes text and a line feed to stdout.
    func line(_ text: String) { write(text + "\n") }

    /// Writes a line of JSON and a line feed to stdout: on a terminal with what could steer it as `\u` escapes, which mean the
    /// same; elsewhere byte for byte.
    func json(_ line: some Collection<UInt8>) {
        guard outputIsTerminal else { return write(Array(line) + [UInt8(ascii: "\n")]) }
        write(TerminalText.escapedJSON(String(decoding: line, as: UTF8.self)) + "\n")
    }

    /// The same.
    func json(_ line: String) { json(line.utf8) }

    /// Hands buffered data to the operating system, so that a reader sees it now.
    func flush() { sinks.withLock { Terminal.flush(&$0) } }

    /// Flushes at the end of a command; returns what to report when data was lost.
    ///
    /// A closed pipe is not reported.
    func finish() -> CommandFailure? {
        sinks.withLock { sinks in
            Terminal.clearProgress(&sinks)
            Terminal.flush(&sinks)
            guard sinks.outputError != 0, sinks.outputError != EPIPE else { return nil }
            let reason = String(cString: strerror(sinks.outputError))
            return CommandFailure(
                .failure,
                "cannot write to standard output: \(reason)",
                hint: "the data before it is incomplete"
            )
        }
    }

    // MARK: People

    /// A log on stderr: short lines on a terminal, logfmt elsewhere, JSON on request.
    func log(level: Log.Level = .info, json: Bool = false) -> Log {
        let format: Log.Format = json ? .json : errorsIsTerminal ? .terminal(colour: hasColour(.errors)) : .logfmt
        return Log(level: level, format: format) { line in
            self.sinks.withLock { sinks in
                Terminal.clearProgress(&sinks)
                Terminal.put(line, on: .errors, &sinks)
            }
        }
    }

    /// From now on each line on stderr is a JSON object, as a log shipper wants it: also what is said before a log is there, and
    /// why the command ends.
    func writeNotesAsJSON() { notesAreJSON.store(true, ordering: .relaxed) }

    /// Nil where what is for people is written for people.
    private var noteLog: Log? { notesAreJSON.load(ordering: .relaxed) ? log(json: true) : nil }

    /// Writes a line of ours to stderr; whatever in it could steer a terminal shows as an escape.
    func note(_ text: String, style: Style? = nil) {
        if let noteLog { return noteLog.info("note", ["text": .string(text)]) }
        put(note: styled(Terminal.escaped(text, keepingLines: true), style, on: .errors))
    }

    private func put(note text: String) {
        sinks.withLock { sinks in
            Terminal.clearProgress(&sinks)
            Terminal.put(Array((text + "\n").utf8), on: .errors, &sinks)
        }
    }

    /// Says that something is wrong but goes on.
    func warn(_ message: String) {
        if let noteLog { return noteLog.warn("warning", ["text": .string(message)]) }
        put(note: styled("weir: warning: ", .yellow, on: .errors) + Terminal.escaped(message))
    }

    /// Says why the command ends, and what to do.
    func fail(_ message: String, hint: String?) {
        if let noteLog {
            guard let hint else { return noteLog.error("error", ["text": .string(message)]) }
            return noteLog.error("error", ["text": .string(message), "hint": .string(hint)])
        }
        put(note: styled("weir: error: ", .red, on: .errors) + Terminal.escaped(message, keepingLines: true))
        if let hint { put(note: "  " + Terminal.escaped(hint, keepingLines: true)) }
    }

    /// Shows a mistake in a rule or topology file with its line and caret.
    func show(_ diagnostic: Diagnostic) {
        if let noteLog { return Terminal.log(diagnostic, to: noteLog) }
        var text = Terminal.escaped(diagnostic.rendered, keepingLines: true)
        while text.hasSuffix("\n") { text.removeLast() }
        put(note: text)
    }

    private static func log(_ diagnostic: Diagnostic, to log: Log) {
        let fields: KeyValuePairs<String, LogValue> = [
            "path": .string(diagnostic.path), "line": .int(diagnostic.line), "column": .int(diagnostic.column),
            "text": .string(diagnostic.message), "hint": .string(diagnostic.suggestion ?? ""),
        ]
        switch diagnostic.severity {
        case .error: log.error("diagnostic", fields)
        case .warning: log.warn("diagnostic", fields)
        case .notice: log.info("diagnostic", fields)
        }
    }

    /// Draws the progress line over the one before; nothing where lines cannot be drawn over.
    func drawProgress(_ text: String) {
        guard canRedraw else { return }
        sinks.withLock { sinks in
            let shown = String(text.prefix(79))
            let blank = String(repeating: " ", count: max(0, sinks.progressWidth - shown.count))
            Terminal.put(Array("\r\(shown)\(blank)".utf8), on: .errors, &sinks)
            sinks.progressWidth = shown.count
        }
    }

    // MARK: Colour

    /// SGR codes of the eight colours every terminal has; bright ones differ too much between themes.
    enum Style: String, Sendable, CaseIterable {
        case bold = "1"
        case dim = "2"
        case red = "31"
        case green = "32"
        case yellow = "33"
        case magenta = "35"
        case cyan = "36"
        case boldRed = "1;31"
    }

    /// The text in this style where the stream shows colour, else unchanged.
    func styled(_ text: String, _ style: Style?, on stream: Stream) -> String {
        guard let style, hasColour(stream) else { return text }
        return "\u{1b}[\(style.rawValue)m\(text)\u{1b}[0m"
    }

    /// The colour of a rule's severity; nil for one that needs none.
    static func style(forSeverity severity: String) -> Style? {
        switch severity {
        case "critical": .boldRed
        case "high": .red
        case "medium": .yellow
        case "low": .cyan
        default: nil
        }
    }

    /// The colour of a decision.
    static func style(forDecision decision: String) -> Style? {
        switch decision {
        case "block": .red
        case "challenge": .magenta
        case "review": .yellow
        case "tag": .cyan
        case "allow": .green
        default: nil
        }
    }

    // MARK: Foreign text

    /// Foreign text made harmless for a terminal: what could move the cursor, hide or reorder text is shown as an escape.
    ///
    /// Which those are: ``TerminalText``. With `keepingLines`, line feeds and tabs stay.
    static func escaped(_ text: String, keepingLines: Bool = false) -> String {
        guard text.unicodeScalars.contains(where: TerminalText.canSteer) else { return text }
        var result = ""
        result.reserveCapacity(text.utf8.count + 16)
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\n", "\t":
                result += keepingLines ? String(scalar) : (scalar == "\n" ? "\\n" : "\\t")
            case "\r": result += "\\r"
            case _ where TerminalText.canSteer(scalar):
                let hex = String(scalar.value, radix: 16)
                result += scalar.value <= 0xFF ? "\\x" + (hex.count < 2 ? "0" : "") + hex : "\\u{\(hex)}"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }

    /// Text of ours with colours: whatever else could steer a terminal is escaped, so that foreign text that nobody thought of does
    /// no harm.
    private static func guarded(_ text: String) -> String {
        guard text.unicodeScalars.contains(where: { $0 != "\n" && $0 != "\t" && TerminalText.canSteer($0) }) else {
            return text
        }
        var result = ""
        var rest = text[...]
        while let escape = rest.unicodeScalars.firstIndex(of: "\u{1b}") {
            result += escaped(String(rest[..<escape]), keepingLines: true)
            let sequence = rest[escape...]
            let colour = colours.first { sequence.utf8.starts(with: $0.utf8) } ?? ""
            result += colour.isEmpty ? escaped("\u{1b}") : colour
            rest =
                sequence[
                    sequence.utf8.index(sequence.startIndex, offsetBy: colour.isEmpty ? 1 : colour.utf8.count)...
                ]
        }
        return result + escaped(String(rest), keepingLines: true)
    }

    private static let colours = (["0"] + Style.allCases.map(\.rawValue)).map { "\u{1b}[\($0)m" }

    /// The same for bytes that may not be UTF-8: what is not valid shows as U+FFFD.
    static func escaped(_ bytes: some Collection<UInt8>) -> String { escaped(String(decoding: bytes, as: UTF8.self)) }

    // MARK: Descriptors

    private static func clearProgress(_ sinks: inout Sinks) {
        guard sinks.progressWidth > 0 else { return }
        put(Array(("\r" + String(repeating: " ", count: sinks.progressWidth) + "\r").utf8), on: .errors, &sinks)
        sinks.progressWidth = 0
    }

    private static func flush(_ sinks: inout Sinks) {
        guard !sinks.buffer.isEmpty else { return }
        put(sinks.buffer, on: .output, &sinks)
        sinks.buffer.removeAll(keepingCapacity: true)
    }

    private static func put(_ bytes: [UInt8], on stream: Stream, _ sinks: inout Sinks) {
        if sinks.captured != nil {
            if stream == .output { sinks.captured?.output += bytes } else { sinks.captured?.errors += bytes }
            return
        }
        if stream == .output, sinks.outputError != 0 { return }
        let error = writeAll(bytes, to: stream == .output ? sinks.output : sinks.errors)
        // A message that cannot be shown has nowhere to be reported.
        if stream == .output { sinks.outputError = error }
    }

    /// Writes all bytes; returns 0 or the errno.
    private static func writeAll(_ bytes: [UInt8], to descriptor: Int32) -> Int32 {
        bytes.withUnsafeBytes { all in
            var rest = all[...]
            while !rest.isEmpty {
                let count = Glibc.write(descriptor, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
                if count >= 0 {
                    rest = rest.dropFirst(count)
                } else if errno == EAGAIN {
                    // Somebody made the shared descriptor non-blocking; wait as a blocking one would.
                    var wanted = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                    _ = poll(&wanted, 1, -1)
                } else if errno != EINTR {
                    return errno
                }
            }
            return 0
        }
    }
}
