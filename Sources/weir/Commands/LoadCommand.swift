import Detection
import Pipeline
import Telemetry

/// `weir load`: files of events into the topics of a log, from where a pipeline judges them.
enum LoadCommand {
    static func run(_ arguments: ParsedArguments, _ terminal: Terminal) throws -> ExitCode {
        let inputs = arguments.strings("input")
        let deployment = try FileReplay.bound(Deployment(folder: arguments.required("topology")), to: inputs)
        try InputTopics.requireJSON(deployment)
        if let pattern = deployment.description.topicPatterns.first {
            throw CommandFailure(
                .invalid,
                "the topology reads the topics that are named like '\(pattern)', and no input says which of them it is for",
                hint: "--input TOPIC=FILE says it"
            )
        }
        var files = DistinctFiles()
        for input in inputs { files.read("--input", FileReplay.parts(of: input, deployment).path) }
        files.read("--kafka", arguments.string("kafka"))
        files.write("--log", arguments.string("log"))
        try files.check()
        StopSignal.install()
        // Everything that can be refused is opened before the first record.
        let records = try InputRecords(
            deployment,
            inputs: inputs,
            shouldStop: { StopSignal.received != nil },
            warn: { terminal.warn($0) }
        )
        let log = try LogOpening.require(arguments, .producer, application: "weir-load", terminal)
        defer { log.close() }
        try InputTopics.prepare(deployment, log, .silent, creating: arguments.isSet("create"))
        StopSignal.drains()
        var pace = FeedPace(
            arguments.int("rate").map { .rate($0) } ?? arguments.int("speed").map { .speed($0) } ?? .unbounded
        )
        let target = LogTarget(log, topics: deployment.description.topics)
        let progress = ProgressReport(terminal, unit: "records", total: nil)
        let count = try send(records, to: target, &pace, progress)
        let seconds = Double(ProgressReport.monotonicNanoseconds() - pace.start) / 1e9
        let left = records.withoutTopic + records.tooLong
        if records.withoutTopic > 0 {
            terminal.warn(
                "\(counted(records.withoutTopic, "record")) not loaded: no event could be read, in a file of several topics; "
                    + "weir replay --dead-letters names them, and --input TOPIC=FILE says which topic a file is for"
            )
        }
        if records.tooLong > 0 {
            terminal.warn("\(counted(records.tooLong, "record")) not loaded: longer than `limits.record_bytes`")
        }
        if count == 0, left > 0 { throw CommandFailure(.invalid, "no record could be loaded") }
        if arguments.isSet("json") {
            terminal.line(
                "{\"records\":\(count),\"unreadable\":\(records.unreadable),\"ignored\":\(records.ignored),"
                    + "\"without_topic\":\(records.withoutTopic),"
                    + "\"too_long\":\(records.tooLong),\"seconds\":\(seconds.rounded(to: 3))}"
            )
        } else {
            let among =
                (records.unreadable > 0 ? ", \(ProgressReport.grouped(records.unreadable)) unreadable among them" : "")
                + (records.ignored > 0 ? ", \(ProgressReport.grouped(records.ignored)) without an event" : "")
            terminal.note(
                "\(ProgressReport.grouped(count)) records in \(seconds.rounded(to: 2)) s, "
                    + "\(ProgressReport.grouped(Int(Double(count) / max(seconds, 1e-9))))/s\(among)"
            )
        }
        return StopSignal.received ?? .ok
    }

    /// Sends all records, or those until a signal; returns how many.
    private static func send(
        _ records: InputRecords,
        to target: LogTarget,
        _ pace: inout FeedPace,
        _ progress: consuming ProgressReport
    ) throws(LogError) -> Int {
        var count = 0
        var next = try nextRecord(records)
        while let waiting = next, StopSignal.received == nil {
            let wanted = pace.isDue(waiting.time) ? pace.due(after: count) : 0
            if wanted == 0 {
                pace.wait(after: count, for: waiting.time)
                continue
            }
            var taken = 0
            while let record = next, taken < wanted, !target.isFull, pace.isDue(record.time) {
                record.value.withUnsafeBytes { value in
                    if let key = record.key {
                        key.withUnsafeBytes { target.add(topic: record.topic, key: $0, value: value) }
                    } else {
                        target.add(topic: record.topic, key: nil, value: value)
                    }
                }
                taken += 1
                next = try nextRecord(records)
            }
            _ = try target.flush(isWanted: false)
            count += taken
            progress.update(count)
        }
        _ = try target.flush(isWanted: true)
        return count
    }

    /// A signal while an input keeps its reader waiting is an end too.
    private static func nextRecord(_ records: InputRecords) throws(LogError) -> InputRecords.Record? {
        do throws(LogError) { return try records.next() } catch {
            if error.kind == .stopped { return nil }
            throw error
        }
    }
}

extension LoadCommand: Command {
    static var definition: CommandDefinition {
        CommandDefinition(
            name: "load",
            summary: "put files of events into the topics of a log",
            discussion: """
                Inputs are JSON Lines, plain, .gz or .zst; several are merged by event time. Each record goes, byte for byte, to the
                topic of its event type, with the text of its subject as the key. Records that cannot be read are loaded too, so
                that weir run says what is wrong with them, where TOPIC=FILE or the topology tells their topic. A topology with
                format: csv is refused: the records of a log are JSON.

                In an embedded log missing topics are made; on Kafka only with --create. A load that is stopped or fails has
                written a part: loading again writes it once more.
                With --json the summary is one object with the keys records, unreadable, ignored, without_topic, too_long and
                seconds.
                """,
            flags: [
                .topology,
                .option(
                    "input",
                    "FILE",
                    .file,
                    required: true,
                    list: true,
                    "events to load; - is standard input, and TOPIC=FILE says which topic's records a file holds"
                ),
            ] + FlagDefinition.logs + [
                .toggle("create", "make the input topics that are missing on Kafka, with records that stay"),
                .option(
                    "rate",
                    "N",
                    .integer(1...100_000_000),
                    "at most this many records per second (without it: as fast as it goes)"
                ),
                .option("speed", "X", .integer(1...1_000_000), "as the events' times say, X times as fast"),
                .json("the summary as JSON"),
            ],
            alternatives: [
                .log(required: true, "where the events go"),
                FlagAlternative(names: ["rate", "speed"], isRequired: false, purpose: "how fast they go"),
            ],
            examples: [
                .init(
                    line:
                        "weir load --topology topologies/quickstart --input topologies/quickstart/samples/orders.jsonl --log shop.db",
                    effect: "events to try weir run, weir tail and weir audit with"
                ),
                .init(
                    line:
                        "weir load --topology topologies/marketplace --input monday.jsonl.gz --kafka kafka.properties --speed 60",
                    effect: "an hour of monday in a minute"
                ),
            ],
            exitCodes: [.invalid] + ExitCode.ofLogs + ExitCode.ofStops
        )
    }
}
