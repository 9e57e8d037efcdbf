import Pipeline
import RuleLanguage
import Telemetry

/// The topics that a topology reads: what they must be before a pipeline starts on a log.
enum InputTopics {
    /// Refuses (exit 3) a topology for files: the records of a log are read as JSON, and those of a CSV file would all be dead
    /// letters.
    static func requireJSON(_ deployment: Deployment) throws(CommandFailure) {
        if let reason = reasonAgainstLog(deployment) {
            throw CommandFailure(
                .invalid,
                reason,
                hint: "run it over files: weir replay --topology \(deployment.description.folder) --input FILE"
            )
        }
    }

    /// Why a topology cannot run on a log; nil when it can.
    static func reasonAgainstLog(_ deployment: Deployment) -> String? {
        guard let event = deployment.description.events.first(where: { $0.format == .csv }) else { return nil }
        return
            "topology '\(deployment.description.name)' reads CSV (`format: csv` of event '\(event.name)'), and the records of a log are JSON"
    }

    /// The deployment with the topics of the log in place of its patterns.
    ///
    /// - Throws: ``CommandFailure`` (exit 3) for a pattern by which no topic is named: nothing would be read by it.
    static func bound(_ deployment: Deployment, to log: any EventLog) throws -> Deployment {
        if deployment.description.topicPatterns.isEmpty { return deployment }
        let bound = try deployment.bound(to: log.topics())
        if let pattern = bound.description.topicPatterns.first {
            throw CommandFailure(
                .invalid,
                "no topic of \(log.name) is named like '\(pattern)'",
                hint: "create it, or correct `topic:` in \(deployment.description.path)"
            )
        }
        return bound
    }

    /// The topics among these that the log does not have.
    static func missing(_ topics: [String], in log: any LogReader) throws(LogError) -> [String] {
        var missing: [String] = []
        for topic in topics where try log.partitions(of: topic) == nil { missing.append(topic) }
        return missing
    }

    /// Sees to it that all input topics are there.
    ///
    /// In a file nobody but Weir can make them, so a first start does; on Kafka they belong to those who write to them, and a slip
    /// in a name must not become a topic: the message (exit 3) has the lines to type.
    ///
    /// - Parameter creating: makes them on Kafka too.
    static func prepare(
        _ deployment: Deployment,
        _ log: any EventLog,
        _ telemetry: Log,
        creating: Bool = false
    ) throws {
        // First of all: another topology's log is left exactly as it is.
        try Journal(in: log).require(topology: deployment.description.name)
        let missing = try missing(deployment.description.topics, in: log)
        let refusals = try withoutAppendTime(deployment, log, but: missing)
        if !refusals.isEmpty {
            let remedies = refusals.compactMap(\.remedy).joined(separator: "\n  ")
            throw CommandFailure(
                .invalid,
                refusals.map(\.reason).joined(separator: "; "),
                hint: remedies.isEmpty ? nil : remedies
            )
        }
        let lines = missing.compactMap { log.commandToCreate($0) }
        if missing.isEmpty { return }
        if lines.isEmpty || creating {
            try log.create(requirements(missing, on: log))
            telemetry.info(
                "made the input topics, which are empty: somebody must write to them",
                ["topics": .string(missing.joined(separator: ", "))]
            )
            return
        }
        let names = missing.map { "'\($0)'" }.joined(separator: ", ")
        throw CommandFailure(
            .invalid,
            missing.count == 1
                ? "the input topic \(names) does not exist on \(log.name)"
                : "the input topics \(names) do not exist on \(log.name)",
            hint: (["create what is missing, or correct `topic:` in \(deployment.description.path):"] + lines)
                .joined(separator: "\n  ")
        )
    }

    /// The topics of events whose time is the log's append time that do not keep one.
    static func withoutAppendTime(_ deployment: Deployment, _ log: any EventLog, but missing: [String]) throws(LogError)
        -> [(reason: String, remedy: String?)]
    {
        let wanted = ["message.timestamp.type": "LogAppendTime"]
        var refusals: [(reason: String, remedy: String?)] = []
        for event in deployment.description.events where event.time == .append {
            for topic in event.topics where !missing.contains(topic) {
                guard let kept = try log.settings(of: topic)?.values["message.timestamp.type"], kept != "LogAppendTime"
                else { continue }
                refusals.append(
                    (
                        "event '\(event.name)' takes its time from the log (`time: append`), but topic '\(topic)' keeps that of its producers (message.timestamp.type=\(kept))",
                        log.commandToSet(wanted, of: topic)
                    )
                )
            }
        }
        return refusals
    }

    /// How Weir makes input topics where it does.
    ///
    /// Nothing expires: where no snapshot fits the state is rebuilt from all that was read since the first epoch.
    static func requirements(_ topics: [String], on log: any LogAdministration) -> [TopicRequirement] {
        topics.map {
            TopicRequirement(
                name: $0,
                partitions: log.suggestedPartitions,
                settings: kept.merging(["message.timestamp.type": "LogAppendTime"]) { $1 }
            )
        }
    }

    /// The settings of a topic whose records stay.
    static let kept = ["cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"]
}
