import Glibc
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
    /// A start needs those behind its snapshot, and all of them where none fits: after the folder was lost, or windows changed.
    /// A topic that drops some is sound until that day, and from then on no start succeeds: so it is said before.
    mutating func retention(of topics: [String], _ log: any EventLog) {
        for topic in topics {
            do {
                guard let now = try log.settings(of: topic)?.values else { continue }
                let differing = InputTopics.kept.filter { now[$0.key] != nil && now[$0.key] != $0.value }
                if differing.isEmpty { continue }
                losesInputs = true
                if let policy = now["cleanup.policy"], policy.contains("compact") {
                    fail(
                        "inputs",
                        "\(topic) is compacted (cleanup.policy=\(policy)): records that were judged vanish from its middle, and weir "
                            + "run refuses to start",
                        log.commandToSet(["cleanup.policy": "delete"], of: topic),
                        .invalid
                    )
                }
                var how: [String] = []
                if let text = now["retention.ms"], differing["retention.ms"] != nil {
                    let since =
                        now["message.timestamp.type"] == "CreateTime" ? " after the time its producer gave it" : ""
                    how.append("deletes each \(Examination.duration(text))\(since) (retention.ms=\(text))")
                }
                if let text = now["retention.bytes"], differing["retention.bytes"] != nil {
                    how.append("deletes the oldest above \(text) bytes a partition (retention.bytes=\(text))")
                }
                if how.isEmpty { continue }
                warn(
                    "retention",
                    "\(topic) \(how.joined(separator: " and ")); weir run needs all records behind the snapshot that it goes on from, and where none fits all since epoch 0",
                    log.commandToSet(differing, of: topic)
                )
            } catch {
                losesInputs = true
                cannotRead(topic, error)
            }
        }
    }

    /// Whether transactions of producers hold inputs back: nothing behind their first record can be judged before they end.
    mutating func openTransactions(of topics: [String], _ log: any EventLog) {
        do {
            var sources: [TopicPartition] = []
            for topic in topics {
                for partition in try log.partitions(of: topic) ?? [] {
                    sources.append(TopicPartition(topic, partition))
                }
            }
            let first = try log.heldBack(sources)
            if first.isEmpty { return }
            // A transaction at work is over by then, or another one.
            usleep(UInt32(Examination.transactionSeconds) * 1_000_000)
            for held in try log.heldBack(first.map(\.source)) {
                guard first.contains(where: { $0.source == held.source && $0.from == held.from }) else { continue }
                warn(
                    "inputs",
                    "\(held.source): a transaction that has been open for more than \(Examination.transactionSeconds) s holds back what "
                        + "came since: \(held.to - held.from) offsets from \(held.from) on cannot be judged before it ends",
                    "kafka-transactions.sh --bootstrap-server \(log.name) find-hanging finds its producer; the broker ends it after the "
                        + "producer's transaction.timeout.ms"
                )
            }
        } catch {
            warn("inputs", "whether transactions hold them back cannot be seen: \(error)", nil)
        }
    }

    private static let transactionSeconds = 3

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
        return span(Double(milliseconds) / 1000)
    }
}
