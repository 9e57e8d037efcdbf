/// Where partitions begin and end, as the brokers say when they are asked.
extension Consumer {
    /// The first offset still there, and the end: the last stable offset (behind the last committed record and its
    /// marker), or the high watermark with ``Options/readUncommitted``.
    public func watermarks(of partition: KafkaPartition) throws(KafkaError) -> (low: Int64, high: Int64) {
        try handle.watermarks(
            of: partition,
            milliseconds: options.callMilliseconds,
            serve: { () throws(KafkaError) in try self.serveControl() }
        )
    }

    /// The ends as ``watermarks(of:)`` answers them, with one request per broker.
    ///
    /// - Parameter milliseconds: the longest wait, a second at least; nil: as the options say.
    public func ends(
        of partitions: [KafkaPartition],
        waiting milliseconds: Int? = nil
    ) throws(KafkaError) -> [KafkaOffset] {
        try offsets(partitions, at: KafkaOffset.end, waiting: milliseconds)
    }

    /// For each partition the first offset whose timestamp is at or after the given milliseconds since 1970, or its
    /// end.
    ///
    /// A hint for people ("since 15 minutes ago"), never for recovery: one late record moves it.
    public func offsets(
        _ partitions: [KafkaPartition],
        at milliseconds: Int64,
        waiting limit: Int? = nil
    ) throws(KafkaError) -> [KafkaOffset] {
        var answer = try handle.offsets(
            partitions,
            at: milliseconds,
            milliseconds: limit ?? options.callMilliseconds,
            serve: { () throws(KafkaError) in try self.serveControl() }
        )
        for index in answer.indices where answer[index].offset < 0 {
            answer[index].offset = try ends(of: [answer[index].partition]).first?.offset ?? -1
        }
        return answer
    }
}
