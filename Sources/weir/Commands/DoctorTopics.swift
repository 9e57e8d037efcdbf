import Pipeline
import RuleLanguage

/// What `weir doctor` finds in the settings of topics, where a log has some.
extension Examination {
    /// Whether a topic of Weir's own has the settings that it is made with.
    mutating func settings(of topic: TopicRequirement, _ log: any EventLog) {
        do {
            guard let found = try log.settings(of: topic.name) else { return }
            for name in topic.settings.keys.sorted() {
                let wanted = topic.settings[name] ?? ""
                guard let value = found.values[name], value != wanted else { continue }
                warn(
                    "topics",
                    "\(topic.name): \(name) is \(value), and should be \(wanted)",
                    log.commandToSet([name: wanted], of: topic.name)
                )
            }
            if found.replicas == 1 {
                warn(
                    "topics",
                    "\(topic.name) has one replica: it is lost with its broker",
                    "give it three in production"
                )
            }
        } catch {
            cannotRead(topic.name, error)
        }
    }

    /// Whether input topics keep their records for ever.
    ///
    /// Until there are snapshots the state is rebuilt from all of them at each start. A topic that drops some is sound until the
    /// day on which it does, and from then on no start succeeds: so it is said before.
    mutating func retention(of topics: [String], _ log: any EventLog) {
        for topic in topics {
            do {
                guard let now = try log.settings(of: topic)?.values else { continue }
                let differing = InputTopics.kept.filter { now[$0.key] != nil && now[$0.key] != $0.value }
                if differing.isEmpty { continue }
                losesInputs = true
                var how: [String] = []
                if let policy = now["cleanup.policy"], differing["cleanup.policy"] != nil {
                    how.append("compacts them (cleanup.policy=\(policy))")
                }
                if let text = now["retention.ms"], differing["retention.ms"] != nil {
                    let since =
                        now["message.timestamp.type"] == "CreateTime" ? " after the time its producer gave it" : ""
                    how.append("deletes each \(Examination.duration(text))\(since) (retention.ms=\(text))")
                }
                if let text = now["retention.bytes"], differing["retention.bytes"] != nil {
                    how.append("deletes the oldest above \(text) bytes a partition (retention.bytes=\(text))")
                }
                warn(
                    "retention",
                    "\(topic) \(how.joined(separator: " and ")); weir run rebuilds its state from all records since epoch 0, and cannot start without them",
                    log.commandToSet(differing, of: topic)
                )
            } catch {
                losesInputs = true
                cannotRead(topic, error)
            }
        }
    }

    /// Whether input topics tell when the log took a record: of others nobody knows that a client's clock is ahead.
    ///
    /// Where events have no other time than that, ``InputTopics/withoutAppendTime(_:_:but:)`` refuses the topic.
    mutating func producersTimes(of deployment: Deployment, _ log: any EventLog, but missing: [String]) {
        let timed = Set(deployment.description.events.filter { $0.time.fieldIndex != nil }.flatMap(\.topics))
        for topic in timed.sorted() where !missing.contains(topic) {
            do {
                let kind = try log.settings(of: topic)?.values["message.timestamp.type"]
                guard let kind, kind != "LogAppendTime" else { continue }
                warn(
                    "time",
                    "\(topic) keeps its producers' times (message.timestamp.type=\(kind)): an event from the future is judged at the time that its client's clock says, whatever time.future is",
                    log.commandToSet(["message.timestamp.type": "LogAppendTime"], of: topic)
                )
            } catch {
                cannotRead(topic, error)
            }
        }
    }

    private mutating func cannotRead(_ topic: String, _ error: LogError) {
        warn(
            "topics",
            "the settings of \(topic) cannot be read: \(error.message)",
            error.kind == .notAuthorised ? "with that right they are checked" : nil
        )
    }

    private static func duration(_ text: String) -> String {
        guard let milliseconds = Int64(text) else { return "after some time" }
        let hours = milliseconds / 3_600_000
        if hours >= 48 { return "\(hours / 24) days" }
        return hours >= 2 ? "\(hours) hours" : "\(milliseconds / 1000) seconds"
    }
}
