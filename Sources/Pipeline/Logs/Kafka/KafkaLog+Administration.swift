import KafkaClient

/// Topics, their settings, and how they are made from a shell.
extension KafkaLog {
    /// The brokers.
    public var name: String { configuration.bootstrapServers }

    /// librdkafka's properties that Weir sets itself whatever the file says, and what it sets.
    public static let replacedProperties: KeyValuePairs<String, String> = [
        "group.id": "the group is weir-TOPOLOGY",
        "group.instance.id": "partitions are assigned, and nobody joins the group",
        "transactional.id": "the ids are weir-TOPOLOGY-0-0 and weir-TOPOLOGY-0-1",
        "transaction.timeout.ms": "a transaction lives as long as a commit is tried",
        "isolation.level": "only committed records are read",
        "auto.offset.reset": "the journal says where to go on, and what is gone ends with exit 7",
        "enable.auto.commit": "positions are committed in the transaction",
        "enable.auto.offset.store": "positions are committed in the transaction",
        "enable.partition.eof": "set by who reads",
        "enable.idempotence": "always on",
        "delivery.report.only.error": "every delivery is reported",
        "log.queue": "librdkafka's lines go into Weir's own log",
        "log.connection.close": "a lost connection must be heard of",
    ]

    static func unusedProperties(of configuration: KafkaConfiguration) -> [(name: String, reason: String)] {
        replacedProperties.filter { configuration[$0.key] != nil }.map { ($0.key, $0.value) }
    }

    public func topics() throws(LogError) -> [String] {
        try questions.attempt { () throws(KafkaError) in try self.questions.adminClient().topics().map(\.name) }
    }

    public func create(_ topics: [TopicRequirement]) throws(LogError) {
        try questions.attempt { () throws(KafkaError) in
            let admin = try self.questions.adminClient()
            var missing: [AdminClient.NewTopic] = []
            for topic in topics where try admin.describe(topic: topic.name) == nil {
                var settings = topic.settings
                // Event time never becomes the record's timestamp: brokers refuse future ones, and retention deletes
                // old ones at once.
                if settings["message.timestamp.type"] == nil { settings["message.timestamp.type"] = "LogAppendTime" }
                missing.append(AdminClient.NewTopic(topic.name, partitions: topic.partitions, settings: settings))
            }
            try admin.create(missing)
        }
        writer.know(topics.map(\.name))
    }

    /// Four let a few threads share the reading.
    public var suggestedPartitions: Int { 4 }

    /// Input topics belong to those who write to them, and a slip in a name must not become a topic.
    ///
    /// With the broker's time of each record: without it nobody can tell that a client's clock is ahead.
    public func commandToCreate(_ topic: String) -> String? {
        "kafka-topics.sh --bootstrap-server \(name) --create --topic \(topic) --partitions \(suggestedPartitions) "
            + "--config retention.ms=-1 --config retention.bytes=-1 --config message.timestamp.type=LogAppendTime"
    }

    public func settings(of topic: String) throws(LogError) -> TopicSettings? {
        try questions.attempt { () throws(KafkaError) in
            let admin = try self.questions.adminClient()
            return TopicSettings(
                values: try admin.settings(ofTopic: topic).compactMapValues(\.value),
                replicas: try admin.describe(topic: topic)?.replicationFactor
            )
        }
    }

    /// By the last stable offset, and the high watermark as who reads uncommitted records sees it.
    public func heldBack(_ sources: [TopicPartition]) throws(LogError)
        -> [(source: TopicPartition, from: Int64, to: Int64)]
    {
        var found: [(source: TopicPartition, from: Int64, to: Int64)] = []
        for source in sources {
            // The last stable offset first: it only grows, and what is written meanwhile is no transaction that stands still.
            let stable = try questions.bounds(of: source).end
            let end = try questions.attempt { () throws(KafkaError) in
                try self.questions.adminClient().watermarks(of: KafkaPartition(source)).high
            }
            if end > stable { found.append((source, stable, end)) }
        }
        return found
    }

    public func commandToSet(_ settings: [String: String], of topic: String) -> String? {
        let text = settings.keys.sorted().map { "\($0)=\(settings[$0] ?? "")" }.joined(separator: ",")
        return
            "kafka-configs.sh --bootstrap-server \(name) --alter --entity-type topics --entity-name \(topic) --add-config \(text)"
    }
}
