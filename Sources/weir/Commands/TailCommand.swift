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
    /// How long nothing may come before the log is asked whether there is nothing.
    private static let doubtSeconds = 5.0

    /// The command's body.
    static func run(_ arguments: ParsedArguments, _ terminal: Terminal) throws -> ExitCode {
        let log = try LogOpening.require(arguments, .reader, application: "weir-reader", terminal)
        defer { log.close() }
        StopSignal.install()
        var found = try log.partitions(of: OutputTopics.verdicts)
        // A topic that is made while we wait is new: all of it is.
        var since = arguments.durationMilliseconds("since") ?? (arguments.isSet("last") ? .max : nil)
        let follows = !arguments.isSet("no-follow")
        if found == nil {
            terminal.note("no topic \(OutputTopics.verdicts) yet\(follows ? "; waiting until weir run makes it" : "")")
            since = .max
        }
        while found == nil {
            if !follows { return .ok }
            if let stopped = StopSignal.wait(milliseconds: 500) { return stopped }
            found = try log.partitions(of: OutputTopics.verdicts)
        }
        let sources = (found ?? []).map { TopicPartition(OutputTopics.verdicts, $0) }
        var positions = try start(log, sources, since: since)
        let ends = try sources.map { try log.bounds(of: $0).end }
        try log.assign(positions)
        var printer = TailPrinter(arguments, terminal)
        var silence = TailSilence(after: doubtSeconds)
        let started = ProgressReport.monotonicNanoseconds()
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
            for record in got { printer.take(record.value, committed: record.time) }
            if printer.isBacklog,
                zip(positions, ends).allSatisfy({ $0.next >= $1 })
                    || got.isEmpty && log.areEnds(positions).allSatisfy(\.self)
            {
                printer.endBacklog()
                if !follows { break }
            }
            if got.isEmpty {
                printer.settle()
                terminal.flush()
                try log.wait(milliseconds: 100)
                silence.nothing { log.areEnds(positions).allSatisfy(\.self) }.map { terminal.note($0) }
            } else {
                terminal.flush()
                silence.something().map { terminal.note($0) }
            }
        }
        printer.endBacklog()
        printer.settle()
        let seconds = Double(ProgressReport.monotonicNanoseconds() - started) / 1e9
        terminal.note("\(printer.summary) in \(seconds.rounded(to: 1)) s")
        return StopSignal.received ?? .ok
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

/// Whether a log that gives nothing has nothing.
///
/// A night without fraud and a log that is away look alike to who only waits for verdicts: so the log is asked, and what it does
/// not say is told.
struct TailSilence {
    private let nanoseconds: UInt64
    private var heard: UInt64
    private var asked: UInt64
    /// When nothing could be heard any more, as told.
    private var lostSince: UInt64?

    init(after seconds: Double, now: UInt64 = ProgressReport.monotonicNanoseconds()) {
        nanoseconds = UInt64(seconds * 1e9)
        heard = now
        asked = now
    }

    /// Takes note that nothing came; asks from time to time.
    ///
    /// - Parameter isAtEnd: whether the log says that there is nothing; false also where it says nothing.
    /// - Returns: a line to show.
    mutating func nothing(now: UInt64 = ProgressReport.monotonicNanoseconds(), _ isAtEnd: () -> Bool) -> String? {
        guard now - asked >= nanoseconds else { return nil }
        asked = now
        if isAtEnd() { return something(now: now) }
        guard lostSince == nil, now - heard >= 2 * nanoseconds else { return nil }
        lostSince = heard
        return "gap: the log has not answered for \(seconds(now - heard)) s; verdicts of this time come when it is back"
    }

    /// Takes note that the log was heard.
    ///
    /// - Returns: a line to show.
    mutating func something(now: UInt64 = ProgressReport.monotonicNanoseconds()) -> String? {
        heard = now
        asked = now
        guard let since = lostSince else { return nil }
        lostSince = nil
        return "the log is back after \(seconds(now - since)) s"
    }

    private func seconds(_ nanoseconds: UInt64) -> Int { Int(nanoseconds / 1_000_000_000) }
}

/// Chooses verdicts and prints them as lines.
///
/// What was there at the start is all shown, or its last ones where so many are asked for. What comes then is limited on a terminal
/// to what somebody can read: of more in a second the less severe are counted instead.
struct TailPrinter {
    static let linesPerSecond = 50
    let terminal: Terminal
    private let least: RuleSeverity?
    private let subject: String?
    private let rule: String?
    private let isJSON: Bool
    private let isLimited: Bool
    private let last: Int?
    private let tags: SubjectTags
    /// What was there at the start has not been taken whole yet.
    private(set) var isBacklog = true
    private var kept: [(time: Int64, value: [UInt8])] = []
    private var second: UInt64 = 0
    private var thisSecond = 0
    private var hidden = 0
    private var seen = 0
    private var chosen = 0
    private var shown = 0

    init(_ arguments: ParsedArguments, _ terminal: Terminal) {
        self.terminal = terminal
        least = arguments.string("severity").flatMap(RuleSeverity.init(rawValue:))
        subject = arguments.string("subject")
        rule = arguments.string("rule")
        isJSON = arguments.isSet("json")
        isLimited = terminal.outputIsTerminal && !isJSON
        last = arguments.int("last")
        tags = arguments.isSet("unmask") ? .none : .ofThisRun()
    }

    /// Of what was taken: shown, chosen and all.
    var summary: String {
        let all = ProgressReport.grouped(seen)
        let rest = chosen - shown
        return "\(ProgressReport.grouped(shown)) of \(all) verdicts shown"
            + (chosen < seen ? ", \(ProgressReport.grouped(seen - chosen)) not asked for" : "")
            + (rest > 0 ? ", \(ProgressReport.grouped(rest)) left out" : "")
    }

    /// Takes a record, whatever it holds.
    mutating func take(_ value: [UInt8], committed time: Int64) {
        seen += 1
        let needsView = !isJSON || least != nil || subject != nil || rule != nil
        let verdict = needsView ? value.withUnsafeBytes { VerdictView(json: $0) } : nil
        if let least, (verdict?.severity).map({ $0 < least }) ?? true { return }
        if let subject, verdict?.subjectID != subject { return }
        if let rule, verdict?.names(rule: rule) != true { return }
        chosen += 1
        guard isBacklog, let last else {
            print(value, verdict)
            return
        }
        kept.append((time, value))
        if kept.count > 2 * last { keepLast(last) }
    }

    /// Shows what was kept of the backlog.
    mutating func endBacklog() {
        guard isBacklog else { return }
        if let last { keepLast(last) }
        for (_, value) in kept { print(value, isJSON ? nil : value.withUnsafeBytes { VerdictView(json: $0) }) }
        kept = []
        isBacklog = false
    }

    /// Tells of the hidden lines when their second is over.
    mutating func settle() {
        let now = ProgressReport.monotonicNanoseconds() / 1_000_000_000
        guard now != second else { return }
        second = now
        thisSecond = 0
        if hidden > 0 {
            terminal.line(terminal.styled("… \(ProgressReport.grouped(hidden)) more", .dim, on: .output))
            hidden = 0
        }
    }

    private mutating func keepLast(_ count: Int) {
        // Partitions come in parts: those of one may be older than what another gave before.
        kept.sort { $0.time < $1.time }
        kept.removeFirst(max(0, kept.count - count))
    }

    private mutating func print(_ value: [UInt8], _ verdict: VerdictView?) {
        if isLimited, !isBacklog {
            settle()
            let isSevere = (verdict?.severity).map { $0 >= .high } ?? false
            if thisSecond >= TailPrinter.linesPerSecond, !isSevere {
                hidden += 1
                return
            }
            thisSecond += 1
        }
        shown += 1
        if isJSON {
            terminal.json(TailPrinter.dataLine(value))
        } else {
            terminal.line(verdict.map { $0.line(terminal, tags) } ?? "?  " + Terminal.escaped(value))
        }
    }

    /// A record as one line of data: a verdict unchanged; what is none may hold control characters, and shows them escaped.
    private static func dataLine(_ value: [UInt8]) -> [UInt8] {
        let isOneLine = value.allSatisfy { $0 >= 0x20 && $0 != 0x7F }
        return isOneLine ? value : Array(Terminal.escaped(value).utf8)
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
                characters in foreign text are shown escaped. Times are wall time here (TZ=UTC for UTC). A subject is shown as a
                tag that is the same for the same subject as long as this command runs, and says nothing else; --unmask shows its
                id. On a terminal at most 50 lines a second are shown of what comes, those of severity high and critical always;
                what is left out is counted. A log that does not answer for ten seconds is told of, and when it is back.
                """,
            flags: FlagDefinition.logs + [
                .option("since", "DURATION", .duration, "begin this long ago, such as 15m (without it: now)"),
                .option(
                    "severity",
                    "LEVEL",
                    .choice(["low", "medium", "high", "critical"]),
                    "only verdicts of this severity or higher"
                ),
                .option("subject", "ID", .text, "only verdicts about this subject, by its whole id"),
                .option("rule", "ID", .text, "only verdicts that this rule gave a reason for, in shadow too"),
                .option(
                    "last",
                    "N",
                    .integer(1...100_000),
                    "of what is there at the start only the newest so many (without --since: of all)"
                ),
                .toggle("no-follow", "end where the log ends now"),
                .toggle("unmask", "show subjects by their ids"),
                .json("verdicts as JSON Lines"),
            ],
            alternatives: [.log(required: true, "where the verdicts are")],
            examples: [
                .init(
                    line: "weir tail --kafka kafka.properties --since 15m --severity high",
                    effect: "what woke me up?"
                ),
                .init(
                    line: "weir tail --log shop.db --since 7d --last 20 --no-follow",
                    effect: "the twenty newest of the week"
                ),
                .init(line: "weir tail --log demo.db --since 7d --json | jq .subject", effect: "as data"),
            ],
            exitCodes: [.invalid] + ExitCode.ofLogs + ExitCode.ofStops
        )
    }
}
