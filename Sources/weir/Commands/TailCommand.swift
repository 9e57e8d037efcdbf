import Glibc
import Pipeline
import RuleLanguage
import Telemetry

/// `weir tail`: follows the committed verdicts, one line each.
///
/// It assigns partitions itself and joins no group, so production never notices it.
enum TailCommand {
    /// Verdicts taken from one partition before the others get their turn.
    private static let share = 500

    /// The command's body.
    static func run(_ arguments: ParsedArguments, _ terminal: Terminal) throws -> ExitCode {
        let log = try LogOpening.require(arguments, .reader, application: "weir-reader", terminal)
        defer { log.close() }
        StopSignal.install()
        let least = arguments.string("severity").flatMap(RuleSeverity.init(rawValue:))
        let isJSON = arguments.isSet("json")
        var found = try log.partitions(of: OutputTopics.verdicts)
        // A topic that is made while we wait is new: all of it is.
        var since = arguments.durationMilliseconds("since")
        if found == nil {
            terminal.note("no topic \(OutputTopics.verdicts) yet; waiting until weir run makes it")
            since = .max
        }
        while found == nil {
            if let stopped = StopSignal.wait(milliseconds: 500) { return stopped }
            found = try log.partitions(of: OutputTopics.verdicts)
        }
        let sources = (found ?? []).map { TopicPartition(OutputTopics.verdicts, $0) }
        var positions = try start(log, sources, since: since)
        try log.assign(positions)
        var printer = TailPrinter(terminal, isLimited: terminal.outputIsTerminal && !isJSON)
        let started = ProgressReport.monotonicNanoseconds()
        var seen = 0
        var shown = 0
        var got: [(time: Int64, value: [UInt8])] = []
        while StopSignal.received == nil, !terminal.outputIsClosed {
            got.removeAll(keepingCapacity: true)
            for index in sources.indices {
                do throws(LogError) {
                    positions[index].next = try log.poll(source: index, limit: share) { record in
                        if let value = record.value { got.append((record.timestamp ?? 0, [UInt8](value))) }
                        return true
                    }
                } catch {
                    guard error.kind == .outOfRange else { throw error }
                    try skipGap(log, &positions, terminal)
                }
            }
            // Partitions are polled in turn; what they give is shown in the order in which it was committed.
            if sources.count > 1 { got.sort { $0.time < $1.time } }
            for (_, value) in got {
                seen += 1
                if isJSON, least == nil {
                    shown += 1
                    terminal.write(dataLine(value))
                    continue
                }
                let verdict = value.withUnsafeBytes { VerdictView(json: $0) }
                if let least, (verdict?.severity).map({ $0 < least }) ?? true { continue }
                shown += 1
                if isJSON {
                    terminal.write(dataLine(value))
                } else {
                    printer.print(verdict.map { $0.line(terminal) } ?? "?  " + Terminal.escaped(value))
                }
            }
            if got.isEmpty {
                printer.settle()
                terminal.flush()
                try log.wait(milliseconds: 100)
            } else {
                terminal.flush()
            }
        }
        printer.settle()
        let seconds = Double(ProgressReport.monotonicNanoseconds() - started) / 1e9
        terminal.note(
            "\(ProgressReport.grouped(shown)) of \(ProgressReport.grouped(seen)) verdicts shown in \(seconds.rounded(to: 1)) s"
        )
        return StopSignal.received ?? .ok
    }

    /// A record as one line of data: a verdict unchanged; what is none may hold control characters, and shows them escaped.
    private static func dataLine(_ value: [UInt8]) -> [UInt8] {
        let isOneLine = value.allSatisfy { $0 >= 0x20 && $0 != 0x7F }
        return (isOneLine ? value : Array(Terminal.escaped(value).utf8)) + [UInt8(ascii: "\n")]
    }

    // MARK: Where to begin

    private static func start(_ log: any LogReader, _ sources: [TopicPartition], since: Int64?) throws
        -> [SourcePosition]
    {
        guard let since else {
            return try sources.map { SourcePosition(source: $0, next: try log.bounds(of: $0).end) }
        }
        if since == .max {
            return try sources.map { SourcePosition(source: $0, next: try log.bounds(of: $0).start) }
        }
        let time = Log.wallClockMilliseconds() - since
        return try sources.map { SourcePosition(source: $0, next: try log.offset(of: $0, appendedSince: time)) }
    }

    /// Goes on where the log begins now, and says what was missed.
    private static func skipGap(_ log: any LogReader, _ positions: inout [SourcePosition], _ terminal: Terminal) throws
    {
        for index in positions.indices {
            let start = try log.bounds(of: positions[index].source).start
            guard start > positions[index].next else { continue }
            terminal.warn(
                "gap: \(positions[index].source) offsets \(positions[index].next) to \(start - 1) were deleted before they were read here"
            )
            positions[index].next = start
        }
        try log.assign(positions)
    }
}

/// Prints lines, on a terminal at most so many a second: what nobody can read is counted instead.
private struct TailPrinter {
    static let linesPerSecond = 50
    let terminal: Terminal
    let isLimited: Bool
    private var second: UInt64 = 0
    private var shown = 0
    private var hidden = 0

    init(_ terminal: Terminal, isLimited: Bool) {
        self.terminal = terminal
        self.isLimited = isLimited
    }

    mutating func print(_ line: String) {
        if isLimited {
            settle()
            if shown >= TailPrinter.linesPerSecond {
                hidden += 1
                return
            }
            shown += 1
        }
        terminal.line(line)
    }

    /// Tells of the hidden lines when their second is over.
    mutating func settle() {
        let now = ProgressReport.monotonicNanoseconds() / 1_000_000_000
        guard now != second else { return }
        second = now
        shown = 0
        if hidden > 0 {
            terminal.line(terminal.styled("… \(ProgressReport.grouped(hidden)) more", .dim, on: .output))
            hidden = 0
        }
    }
}

extension TailCommand: Command {
    static var definition: CommandDefinition {
        CommandDefinition(
            name: "tail",
            summary: "follow the verdicts, one line each",
            discussion: """
                Prints time, severity, decision, score, subject, rules and reason of each committed verdict, coloured by severity
                on a terminal, and follows until stopped. It joins no consumer group, so it never disturbs production. Control
                characters in foreign text are shown escaped.
                """,
            flags: FlagDefinition.logs + [
                .option("since", "DURATION", .duration, "begin this long ago, such as 15m (without it: now)"),
                .option(
                    "severity",
                    "LEVEL",
                    .choice(["low", "medium", "high", "critical"]),
                    "only verdicts of this severity or higher"
                ),
                .json("verdicts as JSON Lines"),
            ],
            alternatives: [.log(required: true, "where the verdicts are")],
            examples: [
                .init(
                    line: "weir tail --kafka kafka.properties --since 15m --severity high",
                    effect: "what woke me up?"
                ),
                .init(line: "weir tail --log demo.db --since 7d --json | jq .subject", effect: "as data"),
            ],
            exitCodes: [.invalid] + ExitCode.ofLogs + ExitCode.ofStops
        )
    }
}
