import KafkaClient

/// What a ``KafkaWriter`` asks the brokers beside writing: one thread's questions, to real brokers or to a simulator's.
protocol KafkaAsking: RangeReader {
    /// The partitions of a topic; nil when the broker does not know it, or not yet.
    func describe(topic: String) throws(KafkaError) -> [Int32]?
    /// The offset behind the last record, committed or not.
    func end(of partition: KafkaPartition) throws(KafkaError) -> Int64
    /// The last stable offset: behind the last record in front of any open transaction.
    func stableEnd(of partition: KafkaPartition) throws(KafkaError) -> Int64
    /// As ``end(of:)``, of those partitions that a broker answers for.
    func ends(of partitions: [KafkaPartition]) throws(KafkaError) -> [KafkaOffset]
    /// As ``stableEnd(of:)``, of those partitions that a broker answers for.
    func stableEnds(of partitions: [KafkaPartition]) throws(KafkaError) -> [KafkaOffset]
    /// Whose group gets the positions of a transaction.
    func member() throws(KafkaError) -> any GroupMember
    func mapped(_ error: KafkaError) -> LogError
    /// Nothing is read on behind the last range.
    func endReading()
    func close()
}

extension KafkaAsking {
    /// With the errors of a client as those of a log.
    func attempt<Result>(_ body: () throws(KafkaError) -> Result) throws(LogError) -> Result {
        do throws(KafkaError) { return try body() } catch { throw mapped(error) }
    }
}

extension KafkaQuestions: KafkaAsking {
    func describe(topic: String) throws(KafkaError) -> [Int32]? { try adminClient().describe(topic: topic)?.partitions }

    func end(of partition: KafkaPartition) throws(KafkaError) -> Int64 {
        try adminClient().watermarks(of: partition).high
    }

    func stableEnd(of partition: KafkaPartition) throws(KafkaError) -> Int64 {
        try sideConsumer().watermarks(of: partition).high
    }

    func ends(of partitions: [KafkaPartition]) throws(KafkaError) -> [KafkaOffset] {
        try adminClient().ends(of: partitions)
    }

    func stableEnds(of partitions: [KafkaPartition]) throws(KafkaError) -> [KafkaOffset] {
        try sideConsumer().ends(of: partitions)
    }

    func member() throws(KafkaError) -> any GroupMember { try sideConsumer() }
}
