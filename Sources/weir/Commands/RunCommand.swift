import Pipeline
import RuleLanguage
import Telemetry

/// `weir run`: a topology on a log, until stopped.
enum RunCommand {
    static func run(_ arguments: ParsedArguments, _ terminal: Terminal) throws -> ExitCode {
        // Mistakes in it are told before anything is made.
        var deployment = try Deployment(folder: arguments.required("topology"))
        for warning in deployment.release.rules.warnings { terminal.show(warning) }
        try InputTopics.requireJSON(deployment)
        _ = try FolderReleases(deployment, former: arguments.strings("release"))
        var files = DistinctFiles()
        files.read("--kafka", arguments.string("kafka"))
        let key = HashKeyPlace(arguments, topology: deployment.description.name)
        files.read("the hash key", key?.file.path)
        files.write("--log", arguments.string("log"))
        files.write("--metrics", arguments.string("metrics"))
        try files.check()
        let folding = LogFolding()
        let telemetry = terminal.log(level: .info, json: arguments.isSet("json")).folded(by: folding)
        let registry = MetricsRegistry(labels: ["topology": deployment.description.name])
        let kafka =
            arguments.string("kafka") == nil ? nil : KafkaMetrics(registry, inputs: deployment.description.topics)
        let log = try LogOpening.require(
            arguments,
            .pipeline,
            application: LogOpening.application(deployment.description.name),
            terminal,
            telemetry: telemetry,
            metrics: kafka
        )
        defer { log.close() }
        StopSignal.install()
        deployment = try InputTopics.bound(deployment, to: log)
        try InputTopics.prepare(deployment, log, telemetry)
        deployment = try deployment.keyed(by: hashKey(arguments, deployment.description.name, telemetry))
        let releases = try FolderReleases(deployment, former: arguments.strings("release"))
        let metrics = WorkerMetrics(registry, deployment)
        var options = WorkerOptions()
        options.startsAnew = arguments.isSet("start-anew")
        keepSnapshots(arguments, deployment, log, &options, telemetry)
        let worker = Worker(
            deployment,
            log: log,
            threads: arguments.threads,
            options: options,
            releases: releases,
            metrics: metrics,
            snapshotMetrics: SnapshotMetrics(registry),
            telemetry: telemetry
        )
        let reporter = MetricsReporter(
            registry,
            metrics,
            kafka,
            file: arguments.string("metrics"),
            telemetry: telemetry,
            folding: folding
        )
        telemetry.info(
            "starting",
            [
                "topology": .string(deployment.description.name), "log": .string(log.name),
                "release": .string(String(deployment.release.shortDigest)), "threads": .int(arguments.threads),
                "hash_key": .string(deployment.keyFingerprint),
            ]
        )
        reporter.start()
        defer { reporter.stop() }
        try worker.run(shouldStop: { StopSignal.received != nil }) { milestone in
            switch milestone {
            case .leading: StopSignal.drains(orEndsWith: .unreachable)
            case .drained: StopSignal.hasDrained()
            }
        }
        StopSignal.leaves()
        return StopSignal.received ?? .ok
    }

    /// Says where snapshots are kept and how often, and warns on the first day of inputs that a start may miss some day.
    private static func keepSnapshots(
        _ arguments: ParsedArguments,
        _ deployment: Deployment,
        _ log: any EventLog,
        _ options: inout WorkerOptions,
        _ telemetry: Log
    ) {
        let seconds = arguments.int("snapshot-every") ?? 60
        options.snapshotFolder = StatePlace(arguments, topology: deployment.description.name)?.snapshots
        options.snapshotPace = seconds > 0 ? .every(seconds: Double(seconds)) : .never
        if options.snapshotFolder == nil {
            telemetry.warn(
                "no snapshots are kept, as no folder is known: every start replays all inputs",
                ["remedy": .string("--state DIR")]
            )
        }
        for topic in deployment.description.topics {
            // Who may not ask is told by weir doctor.
            guard let values = try? log.settings(of: topic)?.values else { continue }
            if options.snapshotPace != .never, options.snapshotFolder != nil {
                // A stop of a night or a weekend must not outlast the inputs.
                guard let kept = values["retention.ms"].flatMap({ Int64($0) }), kept >= 0, kept < retentionLeast else {
                    continue
                }
                telemetry.warn(
                    "an input topic keeps its records for less than three days: a stop that is longer leaves a snapshot without what came after it",
                    ["topic": .string(topic), "retention_hours": .int(Int(kept / 3_600_000))]
                )
            } else if InputTopics.kept.contains(where: { values[$0.key] != nil && values[$0.key] != $0.value }) {
                telemetry.warn(
                    "an input topic drops records and no snapshots are kept: from then on no start succeeds",
                    ["topic": .string(topic)]
                )
            }
        }
    }

    private static let retentionLeast: Int64 = 3 * 86_400_000

    /// The deployment's secret, made at its first start.
    private static func hashKey(_ arguments: ParsedArguments, _ topology: String, _ telemetry: Log) throws -> HashKey {
        guard let place = HashKeyPlace(arguments, topology: topology) else {
            throw CommandFailure.usage(
                "there is no place to keep the hash key: neither XDG_STATE_HOME nor HOME is set",
                hint: "--state DIR names a folder, --hash-key-file FILE a key that somebody else keeps"
            )
        }
        let (key, isNew) = try place.readOrMake()
        if isNew {
            telemetry.info(
                "made the hash key of this deployment",
                ["file": .string(place.file.path), "hash_key": .string(key.fingerprint)]
            )
        }
        return key
    }
}

extension RunCommand: Command {
    static var definition: CommandDefinition {
        CommandDefinition(
            name: "run",
            summary: "run a topology on Kafka or on the embedded log until stopped",
            discussion: """
                Reads the topology's topics, decides about every event and commits verdicts, rings, dead letters, journal
                and input positions in one transaction. Makes its own topics (weir.*) where they are missing, and in an embedded
                log the input topics too; on Kafka those are for their producers to make. After a crash it goes on at the last
                commit: nothing is lost and nothing is said twice to readers of committed records.
                The records of a log are JSON: a topology with format: csv is for weir replay.
                One log belongs to one topology: another one's is refused (exit 3) before anything is written to it.

                At the start the state is rebuilt by the folder's rules, so that changed ones are warm at once. Epochs whose
                release is given with --release are judged again by it, and their counts held against the journal; of others
                a warning names the release.

                What the journal says was judged is believed. One that has lost its end or everything, as the positions committed with
                it or the verdicts show, is refused (exit 7), as going on would say verdicts again; so is one whose topic does not keep
                it whole and in order (exit 3). --start-anew accepts an empty one: the inputs are judged from their beginning, and
                subscribers get every verdict of theirs again, under the ids it had if rules and windows are the same.

                The state is kept as a snapshot every minute and at a clean end (--snapshot-every), and a start goes on from the newest
                one that fits: whole, of this log, topology, windows, hash key and version of weir. One that does not is named and
                passed over, for an older one or the journal's beginning. Inputs from before the oldest snapshot are not needed any
                more. Snapshots are in the folder `snapshots` beside the hash key, three at a time, for the owner alone.

                Identifiers are told apart by a keyed hash, so that nobody can choose one that is taken for another. The key is made
                at the first start and kept as hash-key in --state, for the owner alone. Without --state that is beside the
                embedded log (FILE.db.hash-key), or in $STATE_DIRECTORY, $XDG_STATE_HOME/weir or ~/.local/state/weir, in a
                folder named as the topology. Only what full tables forget follows from it.

                SIGTERM or Ctrl-C drains and commits, then leaves, within 10 s whatever Kafka does; a second one ends at once. Where
                what was read could not be committed any more the exit code is 5, and nothing is lost: the next start judges it again.
                """,
            flags: [.topology, .former] + FlagDefinition.logs + [
                .state, .hashKeyFile, .threads,
                .toggle(
                    "start-anew",
                    "take an empty journal for a first one though verdicts are there: judges the inputs from their beginning, says all again"
                ),
                .option(
                    "snapshot-every",
                    "SECONDS",
                    .integer(0...86_400),
                    default: "60",
                    "how often the state is kept for the next start; 0: never, and a start still goes on from a snapshot that is there"
                ),
                .option(
                    "metrics",
                    "FILE",
                    .file,
                    "write metrics in Prometheus' text format to this file every 10 s, for node_exporter's textfile collector"
                ),
                .json("log lines on stderr as JSON instead of logfmt"),
            ],
            alternatives: [.log(required: true, "which log to run on")],
            examples: [
                .init(
                    line: "weir run --topology topologies/marketplace --kafka kafka.properties",
                    effect: "production: Kafka, one thread per core"
                ),
                .init(
                    line: "weir run --topology topologies/marketplace --log shop.db --threads 1",
                    effect:
                        "a laptop or a small shop: one file, nothing to install; weir simulate --log shop.db fills it"
                ),
                .init(
                    line:
                        "weir run --topology topologies/marketplace --kafka kafka.properties --metrics /var/lib/node_exporter/weir.prom",
                    effect: "with metrics for Prometheus"
                ),
            ],
            exitCodes: [.invalid] + ExitCode.ofLogs + ExitCode.ofStops
        )
    }
}
