import Pipeline
import Telemetry

/// `weir status`: what a log says of the worker that judges it.
///
/// It joins no group, owns nothing and commits nothing.
enum StatusCommand {
    static func run(_ arguments: ParsedArguments, _ terminal: Terminal) throws -> ExitCode {
        var deployment = try Deployment(folder: arguments.required("topology"))
        StopSignal.install()
        let name = deployment.description.name
        let log = try LogOpening.require(arguments, .reader, application: LogOpening.application(name), terminal)
        defer { log.close() }
        try Journal(in: log).require(topology: name)
        deployment = try InputTopics.bound(deployment, to: log)
        let apart = arguments.int("apart") ?? 3
        guard
            let (before, standing) = try twoLooks(log, deployment.description.topics, secondsApart: apart)
        else { return StopSignal.received ?? .interrupted }
        let report = try StatusReport(
            standing,
            since: before,
            limit: arguments.durationMilliseconds("behind") ?? LogStanding.recent,
            deployment,
            log,
            snapshotFolder: StatePlace(arguments, topology: name)?.snapshots
        )
        if arguments.isSet("json") { terminal.json(report.json) } else { terminal.write(report.text(terminal)) }
        return report.code
    }

    /// Looks at a log, and again some seconds later where one look tells too little; nil: was stopped.
    static func twoLooks(
        _ log: any EventLog,
        _ topics: [String],
        taken: [TopicPartition: Int64]? = nil,
        secondsApart: Int
    ) throws(LogError) -> (before: LogStanding, standing: LogStanding)? {
        let before = try LogStanding.look(at: log, topics: topics, taken: taken, now: Log.wallClockMilliseconds())
        if !before.isOpen { return (before, before) }
        if StopSignal.wait(milliseconds: Int32(secondsApart * 1000)) != nil { return nil }
        let standing = try LogStanding.look(at: log, topics: topics, taken: taken, now: Log.wallClockMilliseconds())
        return (before, standing)
    }
}

extension StatusCommand: Command {
    static var definition: CommandDefinition {
        CommandDefinition(
            name: "status",
            summary: "tell from the log alone whether a worker runs, how far it is and what waits",
            discussion: """
                Looks at the journal, the committed positions and the ends of the inputs, and a few seconds later again where records
                wait. It joins no consumer group and commits nothing, and needs neither the worker nor its metrics.

                It tells the newest epoch and when it was committed, release and version that judged it, the watermark, what waits by
                topic and since when, whether that grows, partitions that nobody reads, what a producer's open transaction holds back,
                when retention deletes what waits, and how old the newest snapshot is (from its file's time).

                A worker leaves a trace in the log only when it commits. Where nothing waits and the newest commit is older than a
                minute, nobody can tell: exit 11, as where records have waited for a few seconds only. Exit 0: a worker has
                committed within that minute, which one that ended since looks like too, and keeps up. Exit 4: it is behind, as
                the lag grows or a record waits for longer than --behind, or there are partitions that it does not read. Exit 10:
                nothing is committed though records wait (none runs, or one still recovers), or nothing was ever judged. Exit 7:
                records were deleted before they were judged.

                With --json it prints one object: state (judging, idle, behind, unread, stopped, unclear, never_ran, lost), running
                (true as exit 0 and 4 mean it, false or null), exit_code, and what the lines say.
                """,
            flags: [.topology] + FlagDefinition.logs + [
                .state,
                .option(
                    "apart",
                    "SECONDS",
                    .integer(1...60),
                    default: "3",
                    "how long after the first look the second is taken"
                ),
                .option(
                    "behind",
                    "DURATION",
                    .duration,
                    default: "1m",
                    "how long a record may wait before the worker is behind"
                ),
                .json("the result as one JSON object"),
            ],
            alternatives: [.log(required: true, "which log to look at")],
            examples: [
                .init(
                    line: "weir status --topology topologies/marketplace --kafka kafka.properties",
                    effect: "is it running, and is it caught up?"
                ),
                .init(
                    line: "weir status --topology topologies/marketplace --log shop.db --json | jq .lag",
                    effect: "as data"
                ),
            ],
            exitCodes: [.invalid, .thresholdMissed] + ExitCode.ofLogs + [.notRunning, .undetermined] + ExitCode.ofStops
        )
    }
}
