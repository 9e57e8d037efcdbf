import KafkaClient
import Pipeline

/// Asks a broker about topics, with one client for all questions.
final class TopicQuestions {
    private let configuration: KafkaConfiguration
    private let milliseconds: Int
    private var client: AdminClient?

    /// Nil for a log that is not on Kafka; connects with the first question.
    init?(_ opened: OpenedLog) {
        guard let configuration = opened.configuration, let kafka = opened.kafka else { return nil }
        self.configuration = configuration
        milliseconds = kafka.options.connectMilliseconds
    }

    var servers: String { configuration.bootstrapServers }

    private func admin() throws(KafkaError) -> AdminClient {
        if let client { return client }
        let made = try AdminClient(configuration, milliseconds: milliseconds)
        client = made
        return made
    }

    /// The values in force, by name.
    func settings(of topic: String) throws(KafkaError) -> [String: String] {
        try admin().settings(ofTopic: topic).compactMapValues(\.value)
    }

    func replicas(of topic: String) throws(KafkaError) -> Int? { try admin().describe(topic: topic)?.replicationFactor }

    /// A line for the shell that changes settings of a topic.
    func commandToSet(_ settings: [String: String], of topic: String) -> String {
        let text = settings.keys.sorted().map { "\($0)=\(settings[$0] ?? "")" }.joined(separator: ",")
        return
            "kafka-configs.sh --bootstrap-server \(servers) --alter --entity-type topics --entity-name \(topic) --add-config \(text)"
    }

    func close() { client?.close() }
}

/// What `weir doctor` finds on Kafka besides the records.
extension Examination {
    /// Names what the properties file sets and Weir sets itself.
    mutating func properties(_ configuration: KafkaConfiguration) {
        for (name, value) in LogOpening.replacedProperties(in: configuration) {
            warn("properties", "\(name) is not used: \(value)", "remove it from the Kafka properties")
        }
    }

    /// Whether a topic of Weir's own has the settings that it is made with.
    mutating func settings(of topic: TopicRequirement, _ questions: TopicQuestions) {
        do {
            let now = try questions.settings(of: topic.name)
            for name in topic.settings.keys.sorted() {
                let wanted = topic.settings[name] ?? ""
                guard let value = now[name], value != wanted else { continue }
                warn(
                    "topics", "\(topic.name): \(name) is \(value), and should be \(wanted)",
                    questions.commandToSet([name: wanted], of: topic.name))
            }
            if try questions.replicas(of: topic.name) == 1 {
                warn(
                    "topics", "\(topic.name) has one replica: it is lost with its broker", "give it three in production"
                )
            }
        } catch {
            cannotRead(topic.name, error)
        }
    }

    /// Whether input topics keep their records for ever.
    ///
    /// Until there are snapshots the state is rebuilt from all of them at each start. A topic that drops some is sound until the day on
    /// which it does, and from then on no start succeeds: so it is said before.
    mutating func retention(of topics: [String], _ questions: TopicQuestions) {
        for topic in topics {
            do {
                let now = try questions.settings(of: topic)
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
                    questions.commandToSet(differing, of: topic))
            } catch {
                losesInputs = true
                cannotRead(topic, error)
            }
        }
    }

    private mutating func cannotRead(_ topic: String, _ error: KafkaError) {
        warn(
            "topics", "the settings of \(topic) cannot be read: \(error)", "grant DescribeConfigs to have them checked")
    }

    private static func duration(_ text: String) -> String {
        guard let milliseconds = Int64(text) else { return "after some time" }
        let hours = milliseconds / 3_600_000
        if hours >= 48 { return "\(hours / 24) days" }
        return hours >= 2 ? "\(hours) hours" : "\(milliseconds / 1000) seconds"
    }
}
