import CRdKafka

/// Looks after topics: what there is, what should be, what may go.
///
/// One thread owns the object; every call waits for its answer.
public final class AdminClient {
    /// A topic and its partitions.
    public struct TopicDescription: Sendable, Equatable {
        public var name: String
        /// In ascending order.
        public var partitions: [Int32]
        public var replicationFactor: Int
    }

    /// A topic to make.
    public struct NewTopic: Sendable, Equatable {
        public var name: String
        public var partitions: Int
        /// -1: the broker's default.
        public var replicationFactor: Int
        /// Topic settings such as `cleanup.policy`.
        public var settings: [String: String]

        public init(_ name: String, partitions: Int, replicationFactor: Int = -1, settings: [String: String] = [:]) {
            self.name = name
            self.partitions = partitions
            self.replicationFactor = replicationFactor
            self.settings = settings
        }
    }

    /// A setting in force.
    public struct Setting: Sendable, Equatable {
        public var value: String?
        /// Not set for this topic.
        public var isDefault: Bool
    }

    private let client: ClientHandle
    private let milliseconds: Int

    /// - Parameter milliseconds: longest any call waits for the brokers.
    /// - Throws: ``KafkaError`` of kind `configuration` or `incompatible`; does not connect.
    public init(
        _ configuration: KafkaConfiguration,
        milliseconds: Int = 30_000,
        observer: KafkaObserver = KafkaObserver()
    ) throws(KafkaError) {
        // A consumer underneath: a producer's questions about a topic could create it.
        client = try ClientHandle(
            RD_KAFKA_CONSUMER,
            configuration,
            fixed: [("isolation.level", "read_uncommitted"), ("enable.auto.commit", "false")],
            observer: observer
        )
        self.milliseconds = milliseconds
    }

    /// Waits until a broker answers.
    ///
    /// - Throws: ``KafkaError``: `unreachable` after the time limit, with the last thing heard; `authentication` at
    ///   once.
    public func connect() throws(KafkaError) {
        _ = try metadata("connect to the brokers", topic: nil, all: false) { _ in }
    }

    /// The topic's partitions; nil when there is no such topic.
    ///
    /// Never creates one.
    ///
    /// - Parameter limit: longest to wait, milliseconds; nil: as long as any call does.
    public func describe(topic name: String, waiting limit: Int? = nil) throws(KafkaError) -> TopicDescription? {
        guard let topic = rd_kafka_topic_new(client.rk, name, nil) else {
            throw KafkaError(code: rd_kafka_last_error(), "describe topic \(name)")
        }
        defer { rd_kafka_topic_destroy(topic) }
        var found: TopicDescription?
        let operation = "describe topic \(name)"
        try client.insist(operation, milliseconds: limit ?? milliseconds) { milliseconds throws(KafkaError) in
            // No entry, or one without a leader, is no answer yet: a broker that has just started gives such.
            var code = RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE
            let failure = self.metadata(operation, topic: topic, all: false, milliseconds) { answer in
                for index in 0..<Int(answer.topic_cnt) where String(cString: answer.topics[index].topic) == name {
                    code = answer.topics[index].err
                    found = code == RD_KAFKA_RESP_ERR_NO_ERROR ? AdminClient.description(answer.topics[index]) : nil
                }
            }
            if let failure { return failure }
            let isAnswer = code == RD_KAFKA_RESP_ERR_NO_ERROR || code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
            return isAnswer ? nil : KafkaError(code: code, operation)
        }
        return found
    }

    /// Every topic we may see, by name.
    public func topics() throws(KafkaError) -> [TopicDescription] {
        var found: [TopicDescription] = []
        try metadata("list topics", topic: nil, all: true) { answer in
            for index in 0..<Int(answer.topic_cnt) where answer.topics[index].err == RD_KAFKA_RESP_ERR_NO_ERROR {
                found.append(AdminClient.description(answer.topics[index]))
            }
        }
        return found.sorted { $0.name < $1.name }
    }

    private static func description(_ topic: rd_kafka_metadata_topic) -> TopicDescription {
        let partitions = (0..<Int(topic.partition_cnt)).map { topic.partitions[$0] }
        return TopicDescription(
            name: String(cString: topic.topic),
            partitions: partitions.map(\.id).sorted(),
            replicationFactor: partitions.map { Int($0.replica_cnt) }.min() ?? 0
        )
    }

    private func metadata(
        _ operation: String,
        topic: OpaquePointer?,
        all: Bool,
        _ body: (rd_kafka_metadata) -> Void
    ) throws(KafkaError) {
        try client.insist(operation, milliseconds: milliseconds) { milliseconds throws(KafkaError) in
            self.metadata(operation, topic: topic, all: all, milliseconds, body)
        }
    }

    private func metadata(
        _ operation: String,
        topic: OpaquePointer?,
        all: Bool,
        _ milliseconds: Int32,
        _ body: (rd_kafka_metadata) -> Void
    ) -> KafkaError? {
        var answer: UnsafePointer<rd_kafka_metadata>?
        let code = rd_kafka_metadata(client.rk, all ? 1 : 0, topic, &answer, max(milliseconds, 250))
        guard code == RD_KAFKA_RESP_ERR_NO_ERROR, let answer else {
            return KafkaError(code: code, operation, isRetriable: true)
        }
        body(answer.pointee)
        rd_kafka_metadata_destroy(answer)
        return nil
    }

    /// Makes topics; those that exist are left as they are.
    ///
    /// Returns the names of those made.
    ///
    /// - Throws: ``KafkaError`` of the first topic refused, with the broker's reason; the others may have been made.
    @discardableResult
    public func create(_ topics: [NewTopic]) throws(KafkaError) -> [String] {
        if topics.isEmpty { return [] }
        var reason = [CChar](repeating: 0, count: 512)
        var wanted: [OpaquePointer?] = []
        defer { for topic in wanted { if let topic { rd_kafka_NewTopic_destroy(topic) } } }
        for topic in topics {
            guard
                let made = rd_kafka_NewTopic_new(
                    topic.name,
                    Int32(clamping: topic.partitions),
                    Int32(clamping: topic.replicationFactor),
                    &reason,
                    reason.count
                )
            else { throw KafkaError(.configuration, "create topic \(topic.name)", string(reason)) }
            wanted.append(made)
            for name in topic.settings.keys.sorted() {
                let code = rd_kafka_NewTopic_set_config(made, name, topic.settings[name])
                if code != RD_KAFKA_RESP_ERR_NO_ERROR { throw KafkaError(code: code, "create topic \(topic.name)") }
            }
        }
        var made: [String] = []
        try request(RD_KAFKA_ADMIN_OP_CREATETOPICS, "create topics") { options, queue in
            rd_kafka_CreateTopics(self.client.rk, &wanted, wanted.count, options, queue)
        } answer: { event throws(KafkaError) in
            var count = 0
            guard let result = rd_kafka_event_CreateTopics_result(event),
                let entries = rd_kafka_CreateTopics_result_topics(result, &count)
            else { return }
            for index in 0..<count {
                guard let entry = entries[index] else { continue }
                let name = String(cString: rd_kafka_topic_result_name(entry))
                let code = rd_kafka_topic_result_error(entry)
                if code == RD_KAFKA_RESP_ERR_NO_ERROR {
                    made.append(name)
                } else if code != RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS {
                    throw KafkaError(
                        code: code,
                        "create topic \(name)",
                        text: rd_kafka_topic_result_error_string(entry).map { String(cString: $0) }
                    )
                }
            }
        }
        // The brokers answer before all of them know: whoever asks next should find what was made.
        let deadline = Clock.milliseconds() + Double(milliseconds)
        for topic in topics where made.contains(topic.name) {
            while try (describe(topic: topic.name)?.partitions.count ?? 0) < topic.partitions,
                Clock.milliseconds() < deadline
            {
                Clock.sleep(milliseconds: 10)
            }
        }
        return made
    }

    /// The settings in force for a topic, by name.
    public func settings(ofTopic name: String) throws(KafkaError) -> [String: Setting] {
        var resources: [OpaquePointer?] = [rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, name)]
        defer { for resource in resources { if let resource { rd_kafka_ConfigResource_destroy(resource) } } }
        var found: [String: Setting] = [:]
        try request(RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, "describe the settings of \(name)") { options, queue in
            rd_kafka_DescribeConfigs(self.client.rk, &resources, 1, options, queue)
        } answer: { event throws(KafkaError) in
            var count = 0
            guard let result = rd_kafka_event_DescribeConfigs_result(event),
                let answers = rd_kafka_DescribeConfigs_result_resources(result, &count), count > 0,
                let resource = answers[0]
            else { return }
            let code = rd_kafka_ConfigResource_error(resource)
            if code != RD_KAFKA_RESP_ERR_NO_ERROR {
                throw KafkaError(
                    code: code,
                    "describe the settings of \(name)",
                    text: rd_kafka_ConfigResource_error_string(resource).map { String(cString: $0) }
                )
            }
            var entries = 0
            guard let list = rd_kafka_ConfigResource_configs(resource, &entries) else { return }
            for index in 0..<entries {
                guard let entry = list[index] else { continue }
                found[String(cString: rd_kafka_ConfigEntry_name(entry))] = Setting(
                    value: rd_kafka_ConfigEntry_value(entry).map { String(cString: $0) },
                    isDefault: rd_kafka_ConfigEntry_is_default(entry) != 0
                )
            }
        }
        return found
    }

    /// Deletes every record before each offset, at once and for good.
    public func deleteRecords(before offsets: [KafkaOffset]) throws(KafkaError) {
        let list = try PartitionList(offsets)
        var wanted: [OpaquePointer?] = [rd_kafka_DeleteRecords_new(list.pointer)]
        defer { for entry in wanted { if let entry { rd_kafka_DeleteRecords_destroy(entry) } } }
        try request(RD_KAFKA_ADMIN_OP_DELETERECORDS, "delete records") { options, queue in
            rd_kafka_DeleteRecords(self.client.rk, &wanted, 1, options, queue)
        } answer: { event throws(KafkaError) in
            guard let result = rd_kafka_event_DeleteRecords_result(event),
                let list = rd_kafka_DeleteRecords_result_offsets(result)
            else {
                return
            }
            for index in 0..<Int(list.pointee.cnt) {
                let entry = list.pointee.elems[index]
                if entry.err != RD_KAFKA_RESP_ERR_NO_ERROR {
                    throw KafkaError(
                        code: entry.err,
                        "delete records of \(String(cString: entry.topic))/\(entry.partition)"
                    )
                }
            }
        }
    }

    /// The first offset still there and the high watermark: behind the last record, whether committed or not.
    public func watermarks(of partition: KafkaPartition) throws(KafkaError) -> (low: Int64, high: Int64) {
        try client.watermarks(of: partition, milliseconds: milliseconds)
    }

    /// The high watermarks: behind the last record of each partition, whether committed or not; one request per broker.
    public func ends(of partitions: [KafkaPartition]) throws(KafkaError) -> [KafkaOffset] {
        try offsets(partitions, at: KafkaOffset.end)
    }

    /// For each partition the first offset whose timestamp is at or after the given milliseconds since 1970; -1 where
    /// there is none.
    public func offsets(_ partitions: [KafkaPartition], at time: Int64) throws(KafkaError) -> [KafkaOffset] {
        try client.offsets(partitions, at: time, milliseconds: milliseconds)
    }

    private func request(
        _ kind: rd_kafka_admin_op_t,
        _ operation: String,
        _ send: (OpaquePointer, OpaquePointer) -> Void,
        answer: (OpaquePointer) throws(KafkaError) -> Void
    ) throws(KafkaError) {
        // First a broker that answers: the request itself would only time out and not say why.
        try connect()
        guard let queue = rd_kafka_queue_new(client.rk), let options = rd_kafka_AdminOptions_new(client.rk, kind) else {
            throw KafkaError(.other, operation, "out of memory")
        }
        defer {
            rd_kafka_AdminOptions_destroy(options)
            rd_kafka_queue_destroy(queue)
        }
        _ = rd_kafka_AdminOptions_set_request_timeout(options, Int32(clamping: milliseconds), nil, 0)
        send(options, queue)
        let deadline = Clock.milliseconds() + Double(milliseconds) + 1000
        while Clock.milliseconds() < deadline {
            client.poll()
            try client.state.observer.requireNoEnd(operation)
            guard let event = rd_kafka_queue_poll(queue, 100) else { continue }
            defer { rd_kafka_event_destroy(event) }
            let code = rd_kafka_event_error(event)
            if code != RD_KAFKA_RESP_ERR_NO_ERROR {
                throw KafkaError(
                    code: code,
                    operation,
                    text: rd_kafka_event_error_string(event).map { String(cString: $0) }
                )
            }
            try answer(event)
            return
        }
        throw KafkaError(code: RD_KAFKA_RESP_ERR__TIMED_OUT, operation)
    }

    /// Frees the client; a second call does nothing.
    public func close() { client.close() }
}
