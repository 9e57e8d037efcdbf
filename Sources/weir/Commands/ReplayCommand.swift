import Detection
import Pipeline
import RuleLanguage

/// `weir replay`: a topology over files.
enum ReplayCommand {
    static func run(_ arguments: ParsedArguments, _ terminal: Terminal) throws -> ExitCode {
        let deployment = try FileReplay.bound(
            Deployment(folder: arguments.required("topology"), hashKey: HashKeyPlace.givenOrFixed(arguments)),
            to: arguments.strings("input")
        )
        for warning in deployment.release.rules.warnings { terminal.show(warning) }
        var files = DistinctFiles()
        for input in arguments.strings("input") { files.read("--input", FileReplay.parts(of: input, deployment).path) }
        for flag in ["output", "features", "rings", "dead-letters"] { files.write("--\(flag)", arguments.string(flag)) }
        files.read("--hash-key-file", arguments.string("hash-key-file"))
        try files.check()
        func writer(_ flag: String) throws -> LineWriter? {
            try arguments.string(flag).map { try LineWriter(path: $0) }
        }
        let outputs = ReplayOutputs(
            verdicts: try writer("output"),
            features: try writer("features"),
            rings: try writer("rings"),
            deadLetters: try writer("dead-letters")
        )
        let writers = [outputs.verdicts, outputs.features, outputs.rings, outputs.deadLetters].compactMap { $0 }
        StopSignal.install()
        let started = ContinuousClock.now
        let summary: ReplaySummary
        do {
            summary = try FileReplay(
                deployment,
                inputs: arguments.strings("input"),
                outputs: outputs,
                threads: arguments.threads,
                shouldStop: { StopSignal.received != nil || writers.contains { $0.readerIsGone } },
                warn: { terminal.warn($0) }
            ).run()
            // A part of the verdicts must not stand where the whole ones stood.
            if summary.isComplete {
                // A full disk is told before the first of several files gets its name.
                for writer in writers { try writer.flush() }
                for writer in writers { try writer.close() }
            } else {
                for writer in writers { writer.abandon() }
            }
        } catch {
            for writer in writers { writer.abandon() }
            throw error
        }
        if !summary.isComplete {
            let files = writers.filter(\.isFile).map(\.path)
            let kept = files.isEmpty ? "" : "; not written: \(files.joined(separator: ", "))"
            let records = ProgressReport.grouped(Int(summary.counts.records))
            terminal.note("stopped before the end, after \(records) records\(kept)")
            if let stopped = StopSignal.received { return stopped }
        }
        let seconds = started.duration(to: .now).inSeconds
        let text =
            arguments.isSet("json")
            ? json(summary, seconds) : table(summary, seconds, deployment, savesDeadLetters: outputs.deadLetters != nil)
        let usesStdout = writers.contains { $0.path == "-" }
        if usesStdout {
            terminal.note(text)
        } else if arguments.isSet("json") {
            terminal.json(text)
        } else {
            terminal.line(text)
        }
        if summary.isAllDead {
            terminal.fail(
                "every record was a dead letter",
                hint: "the topology and the input do not fit: \(fitHint(arguments))"
            )
            return .invalid
        }
        let counts = summary.counts
        for warning in summary.intake.warnings(records: Int(counts.records), ignored: Int(counts.ignored)) {
            terminal.warn(warning)
        }
        return .ok
    }

    /// What tells what the records have and the topology lacks.
    private static func fitHint(_ arguments: ParsedArguments) -> String {
        "weir check \(arguments.required("topology")) --against \(arguments.strings("input").first ?? "FILE")"
    }

    private static func json(_ summary: ReplaySummary, _ seconds: Double) -> String {
        let c = summary.counts
        return
            "{\"records\":\(c.records),\"events\":\(c.events),\"verdicts\":\(c.verdicts),\"silent\":\(c.silent),\"dead_letters\":\(c.deadLetters),\"late\":\(c.late),\"early\":\(c.early),\"set_aside\":\(c.setAside),\"duplicates\":\(c.duplicates),\"ignored\":\(c.ignored),\"rings\":\(summary.ringsOpened),\"epochs\":\(summary.epochs),\"seconds\":\(seconds.rounded(to: 3)),\"events_per_second\":\(Int(Double(c.events) / max(seconds, 1e-9))),\"state_bytes\":\(summary.stateBytes),"
            + IntakeText(report: summary.intake).json + "}"
    }

    /// What late means and what to do; empty where nothing is late.
    private static func lateHint(_ counts: EpochCounts, _ deployment: Deployment) -> String {
        if counts.late + counts.setAside == 0 { return "" }
        let lateness = deployment.description.time.latenessMilliseconds
        let handled = counts.setAside > 0 ? "not judged" : "judged as the oldest that may be"
        return "  (\(handled): more than \(lateness / 1000) s older than events before them)\n"
            + "              the input is not in order of time: `replay: { sort: true }` in \(deployment.description.path) sorts it"
    }

    private static func table(
        _ summary: ReplaySummary,
        _ seconds: Double,
        _ deployment: Deployment,
        savesDeadLetters: Bool
    ) -> String {
        let c = summary.counts
        var lines = [
            "records       \(c.records)", "events        \(c.events)", "verdicts      \(c.verdicts)",
            "silent        \(c.silent)",
        ]
        if c.duplicates > 0 { lines.append("duplicates    \(c.duplicates)  (not judged again)") }
        if c.ignored > 0 { lines.append("ignored       \(c.ignored)  (without an event, as the topology says)") }
        lines += [
            "dead letters  \(c.deadLetters)", "late          \(c.late + c.setAside)\(lateHint(c, deployment))",
            "rings         \(summary.ringsOpened)", "epochs        \(summary.epochs)",
            "seconds       \(seconds.rounded(to: 3)) (\(Int(Double(c.events) / max(seconds, 1e-9))) events/s)",
            "state         \(summary.stateBytes) bytes, \(summary.windows.keys) keys",
        ]
        let intake = IntakeText(report: summary.intake)
        lines += intake.lines(savesDeadLetters: savesDeadLetters)
        let rules = deployment.release.rules.rules
        if !rules.isEmpty {
            let width = rules.map(\.id.count).max() ?? 0
            lines.append("rules")
            for (r, rule) in rules.enumerated() {
                let name = rule.id + String(repeating: " ", count: width - rule.id.count)
                lines.append("  \(name)  \(intake.outcome(of: rule, r))")
            }
        }
        return lines.joined(separator: "\n")
    }
}

extension ReplayCommand: Command {
    static var definition: CommandDefinition {
        CommandDefinition(
            name: "replay",
            summary: "run a topology over files: verdicts, features, rings and dead letters",
            discussion: """
                Inputs are JSON Lines or CSV as the topology says, plain, .gz or .zst; several are merged by event time. The same
                input gives the same output bytes, whatever the number of threads. An output named - is standard output. A file
                gets its name at the end: a replay that fails or is stopped leaves what stood there before.

                The summary goes to stderr, or to stdout when no output is stdout. It tells of each field how often it was missing,
                damaged, cut, coerced or an unknown word, of dead letters each reason with the first place and a masked example, and
                of each rule how often it fired, was excepted or could not be decided, and for lack of what. Fields that were never
                there, rules that could never be decided and more than a tenth of dead letters are warned about; where every record
                is a dead letter the exit code is 3. With --json it is one object with the keys records, events (those judged),
                verdicts, silent, dead_letters, late, early, set_aside, duplicates, ignored, rings, epochs, seconds,
                events_per_second, state_bytes, fields, dead and rules.
                """,
            flags: [
                .topology,
                .option(
                    "input",
                    "FILE",
                    .file,
                    required: true,
                    list: true,
                    "events to read; - is standard input, and TOPIC=FILE says which topic's records a file holds"
                ),
                .option("output", "FILE", .file, "write verdicts as JSON Lines"),
                .option(
                    "features",
                    "FILE",
                    .file,
                    "write for every event one flat JSON object: its id, every declared feature by name and the signals of detectors and models; dead letters, and late events that are set aside, have no row"
                ),
                .option("rings", "FILE", .file, "write each change of a ring as JSON Lines, as weir.rings has them"),
                .option("dead-letters", "FILE", .file, "write what could not be read, with the reason, as JSON Lines"),
                .threads, .hashKeyFile,
                .json("the summary as JSON"),
            ],
            examples: [
                .init(
                    line:
                        "weir replay --topology topologies/quickstart --input topologies/quickstart/samples/orders.jsonl --output -",
                    effect: "what would these rules have said?"
                ),
                .init(
                    line:
                        "weir replay --topology topologies/marketplace --input mon.jsonl.gz tue.jsonl.gz --output - | jq .decision",
                    effect: "two days in order of time, verdicts into a pipe"
                ),
            ],
            exitCodes: [.failure, .invalid] + ExitCode.ofStops
        )
    }
}
