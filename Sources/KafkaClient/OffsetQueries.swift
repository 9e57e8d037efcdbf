import CRdKafka

/// What consumers and the admin client ask about offsets.
///
/// A broker that no longer leads a partition answers that it does not, and librdkafka looks for the new leader by itself
/// only where it reads or writes; of other partitions it asks the former one for minutes. So whoever asks again first
/// asks who leads.
extension ClientHandle {
    typealias Serve = () throws(KafkaError) -> Void

    /// The first offset still there, and the end as the client's isolation level sees it.
    func watermarks(of partition: KafkaPartition, milliseconds: Int, serve: Serve? = nil) throws(KafkaError)
        -> (low: Int64, high: Int64)
    {
        var low: Int64 = 0
        var high: Int64 = 0
        try ask("ask for the offsets of \(partition)", [partition], milliseconds, serve) { limit, operation in
            let code = rd_kafka_query_watermark_offsets(
                self.rk,
                partition.topic,
                partition.partition,
                &low,
                &high,
                limit
            )
            return code == RD_KAFKA_RESP_ERR_NO_ERROR ? nil : KafkaError(code: code, operation)
        }
        return (low, high)
    }

    /// For each partition the first offset whose timestamp is at or after the given milliseconds since 1970, -1 where
    /// there is none; with ``KafkaOffset/end`` the ends.
    func offsets(_ partitions: [KafkaPartition], at time: Int64, milliseconds: Int, serve: Serve? = nil)
        throws(KafkaError) -> [KafkaOffset]
    {
        var answer: [KafkaOffset] = []
        try ask("ask for offsets by time", partitions, milliseconds, serve) { limit, operation throws(KafkaError) in
            let list = try PartitionList(partitions, offset: time)
            let code = rd_kafka_offsets_for_times(self.rk, list.pointer, limit)
            if code != RD_KAFKA_RESP_ERR_NO_ERROR { return KafkaError(code: code, operation) }
            do throws(KafkaError) { answer = try list.offsets(operation) } catch {
                if error.disposition == .retry { return error }
                throw error
            }
            return nil
        }
        return answer
    }

    private func ask(
        _ operation: String,
        _ partitions: [KafkaPartition],
        _ milliseconds: Int,
        _ serve: Serve?,
        _ call: (Int32, String) throws(KafkaError) -> KafkaError?
    ) throws(KafkaError) {
        var isAgain = false
        try insist(operation, milliseconds: milliseconds, serve: serve) { limit throws(KafkaError) in
            if isAgain { self.findLeaders(of: partitions, limit) }
            isAgain = true
            return try call(max(limit, 1000), operation)
        }
    }

    private func findLeaders(of partitions: [KafkaPartition], _ milliseconds: Int32) {
        for name in Set(partitions.map(\.topic)).sorted() {
            guard let topic = rd_kafka_topic_new(rk, name, nil) else { continue }
            defer { rd_kafka_topic_destroy(topic) }
            var answer: UnsafePointer<rd_kafka_metadata>?
            _ = rd_kafka_metadata(rk, 0, topic, &answer, milliseconds)
            if let answer { rd_kafka_metadata_destroy(answer) }
        }
    }
}
