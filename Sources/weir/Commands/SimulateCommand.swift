import Glibc
import Pipeline
import Simulation
import Telemetry

/// `weir simulate`: synthetic traffic into a file, stdout or a log, with the truth beside it.
enum SimulateCommand {
    /// The command's body.
    static func run(_ arguments: ParsedArguments, _ terminal: Terminal) throws -> ExitCode {
        guard let scenario = SimulationScenario(rawValue: arguments.required("scenario")) else {
            throw CommandFailure.usage("unknown scenario '\(arguments.required("scenario"))'")
        }
        let events = arguments.int("events") ?? 0
        let start = try startTime(arguments.string("start"))
        let seed = UInt64(arguments.int("seed") ?? 1)
        var files = DistinctFiles()
        files.read("--kafka", arguments.string("kafka"))
        files.write("--log", arguments.string("log"))
        let isIntoLog = arguments.isSet("kafka") || arguments.isSet("log")
        files.write("--output", isIntoLog ? nil : arguments.string("output") ?? "-")
        files.write("--truth", arguments.string("truth"))
        try files.check()
        StopSignal.install()
        // Everything that can be refused is opened before the first event.
        let truth = try arguments.string("truth").map { path throws(LogError) in try LineWriter(path: path) }
        let target: Target
        if let log = try LogOpening.open(arguments, .producer, application: "weir-simulate", terminal) {
            if !arguments.isSet("yes") { try requireNobodyElse(log, name: arguments.string("kafka")) }
            try log.create(InputTopics.requirements(TrafficSimulator.topics, on: log))
            StopSignal.drains()
            target = .log(LogTarget(log, topics: TrafficSimulator.topics))
        } else {
            target = .lines(try LineWriter(path: arguments.string("output") ?? "-"))
        }
        var run = SimulationRun(
            simulator: TrafficSimulator(.init(scenario: scenario, events: events, seed: seed, start: start)),
            target: target,
            truth: truth,
            pace: FeedPace(arguments.int("rate").map { .rate($0) } ?? .unbounded),
            progress: ProgressReport(terminal, unit: "events", total: events)
        )
        do {
            try run.go()
            try target.close()
            try truth?.close()
        } catch {
            target.abandon()
            truth?.abandon()
            throw error
        }
        let seconds = Double(ProgressReport.monotonicNanoseconds() - run.pace.start) / 1e9
        terminal.note(
            "\(ProgressReport.grouped(run.count)) events in \(seconds.rounded(to: 2)) s, "
                + "\(ProgressReport.grouped(Int(Double(run.count) / max(seconds, 1e-9))))/s"
        )
        return StopSignal.received ?? .ok
    }

    /// When the traffic begins: a day, or now; nil: where it always does.
    static func startTime(
        _ text: String?,
        now: Int64 = Log.wallClockMilliseconds()
    ) throws(CommandFailure) -> Int64 {
        guard let text else { return TrafficSimulator.start }
        if text == "now" { return now }
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        if parts.count == 3, parts[0].utf8.count == 4, parts[1].utf8.count == 2, parts[2].utf8.count == 2,
            let year = Int32(parts[0]), let month = Int32(parts[1]), let day = Int32(parts[2]),
            (2000...2099).contains(year)
        {
            var date = tm()
            (date.tm_year, date.tm_mon, date.tm_mday) = (year - 1900, month - 1, day)
            let seconds = timegm(&date)
            // A day that does not exist comes back as another one.
            if date.tm_mon == month - 1, date.tm_mday == day { return Int64(seconds) * 1000 }
        }
        throw .usage("--start \(text) is no day", hint: "a day of 2000 to 2099 such as 2026-11-30, or now")
    }

    /// Refuses to write invented events where others keep theirs.
    private static func requireNobodyElse(_ log: any EventLog, name: String?) throws {
        guard let name else { return }
        let ours = Set(TrafficSimulator.topics).union(OutputTopics.all)
        let others = try log.topics().filter { !$0.hasPrefix("__") && !ours.contains($0) }
        guard let first = others.first else { return }
        let more = others.count > 1 ? " and \(others.count - 1) more" : ""
        throw CommandFailure(
            .invalid,
            "\(log.name) of \(name) holds topics of others (\(first)\(more)); this would write invented events into "
                + "\(TrafficSimulator.topics.joined(separator: ", "))",
            hint: "if that is what you want, say --yes"
        )
    }

    /// Where the events go.
    enum Target {
        case lines(LineWriter)
        case log(LogTarget)

        /// Sends what was added so far on its way; when it returns true, all of it is safe with its reader.
        func flush(isWanted: Bool) throws(LogError) -> Bool {
            switch self {
            case .lines(let writer):
                try writer.flush()
                return true
            case .log(let target): return try target.flush(isWanted: isWanted)
            }
        }

        func close() throws(LogError) {
            switch self {
            case .lines(let writer): try writer.close()
            case .log(let target):
                _ = try target.flush(isWanted: true)
                target.log.close()
            }
        }

        func abandon() {
            switch self {
            case .lines(let writer): writer.abandon()
            case .log(let target): target.log.close()
            }
        }

        var readerIsGone: Bool {
            if case .lines(let writer) = self { return writer.readerIsGone }
            return false
        }
    }
}

/// One run of the simulator: batches, pace, stop.
private struct SimulationRun {
    /// Between two waits for all deliveries, so that the truth can follow.
    static let truthBeat: UInt64 = 500_000_000

    var simulator: TrafficSimulator
    let target: SimulateCommand.Target
    let truth: LineWriter?
    private(set) var pace: FeedPace
    var progress: ProgressReport
    var count = 0
    /// Per topic of the simulator its index.
    private let topics = Dictionary(uniqueKeysWithValues: TrafficSimulator.topics.enumerated().map { ($1, $0) })
    private var flushed: UInt64 = 0

    init(
        simulator: TrafficSimulator,
        target: SimulateCommand.Target,
        truth: LineWriter?,
        pace: FeedPace,
        progress: ProgressReport
    ) {
        self.simulator = simulator
        self.target = target
        self.truth = truth
        self.pace = pace
        self.progress = progress
    }

    mutating func go() throws(LogError) {
        var line: [UInt8] = []
        var truthLine: [UInt8] = []
        var isOver = false
        while !isOver, StopSignal.received == nil, !target.readerIsGone {
            let wanted = pace.due(after: count)
            if wanted == 0 {
                pace.wait(after: count)
                continue
            }
            for _ in 0..<wanted {
                guard let event = simulator.next(into: &line) else {
                    isOver = true
                    break
                }
                switch target {
                case .lines(let writer): try writer.writeLine(line)
                case .log(let log): add(event, line, to: log)
                }
                if let truth {
                    TruthLine.write(event, into: &truthLine)
                    try truth.writeLine(truthLine)
                }
                count += 1
            }
            // Events first: a truth about an event that nobody can see would be the worse half.
            let isWatched = if case .log = target { true } else { pace.isPaced }
            if isWatched {
                let now = ProgressReport.monotonicNanoseconds()
                let isWanted = truth != nil && now - flushed > SimulationRun.truthBeat
                if try target.flush(isWanted: isWanted) {
                    try truth?.flush()
                    flushed = now
                }
            }
            progress.update(count)
        }
    }

    private func add(_ event: SimulatedEvent, _ line: [UInt8], to log: LogTarget) {
        guard let topic = topics[event.topic] else { preconditionFailure("the simulator names its topics") }
        var key = event.key
        key.withUTF8 { key in
            line.withUnsafeBytes { log.add(topic: topic, key: UnsafeRawBufferPointer(key), value: $0) }
        }
    }
}

extension LineWriter {
    fileprivate func writeLine(_ line: [UInt8]) throws(LogError) {
        try line.withUnsafeBufferPointer { (bytes) throws(LogError) in try writeLine(UnsafeRawBufferPointer(bytes)) }
    }
}

extension SimulateCommand: Command {
    static var definition: CommandDefinition {
        CommandDefinition(
            name: "simulate",
            summary: "make synthetic traffic, with the truth about who attacks",
            discussion: """
                Scenario marketplace: honest shoppers with daily rhythm and uneven popularity, and among them a coupon ring, a
                click farm, a brushing ring and an account take-over. Scenario honest: the same without the attacks. Same
                scenario, number and seed: same bytes.

                Events go to --output, or into the topics of a log; without either, to standard output. The truth file has one
                JSON object per event: id, attack (null or its name), ring (null or its name), accounts (those to blame).
                """,
            flags: [
                .option(
                    "scenario",
                    "NAME",
                    .choice(["marketplace", "honest"]),
                    default: "marketplace",
                    "what happens"
                ),
                .option("events", "N", .integer(1...1_000_000_000), default: "100000", "how many events"),
                .seed,
                .option(
                    "start",
                    "DAY",
                    .text,
                    "when the traffic begins: a day such as 2026-11-30 (UTC), or now (without it: 2026-01-05); a second run into the same log must not begin before the end of the first, or all of it is late"
                ),
                .option("output", "FILE", .file, "write events as JSON Lines; - is standard output"),
                .option("truth", "FILE", .file, "write who attacked, as JSON Lines"),
            ] + FlagDefinition.logs + [
                .option(
                    "rate",
                    "N",
                    .integer(1...100_000_000),
                    "at most this many events per second (without it: as fast as it goes)"
                ),
                .toggle("yes", "write into a cluster that holds other topics too"),
            ],
            alternatives: [
                FlagAlternative(
                    names: ["output"] + FlagDefinition.logs.map(\.name),
                    isRequired: false,
                    purpose: "where the events go"
                )
            ],
            examples: [
                .init(
                    line:
                        "weir simulate --scenario marketplace --events 1000000 --seed 7 --output events.jsonl --truth truth.jsonl",
                    effect: "a test set with answers"
                ),
                .init(
                    line:
                        "weir simulate --scenario honest --events 600000 --seed 7 --kafka kafka.properties --rate 10000",
                    effect: "a minute of steady load on a broker"
                ),
            ],
            exitCodes: [.invalid] + ExitCode.ofLogs + ExitCode.ofStops
        )
    }
}
