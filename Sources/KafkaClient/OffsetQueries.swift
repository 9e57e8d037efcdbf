import CRdKafka

/// What consumers and the admin client ask about offsets.
///
/// A broker that no longer leads a partition answers that it does not, and librdkafka looks for the new leader by itself
/// only where it reads or writes; of other partitions it asks the former one for minutes. So whoever asks again first
/// asks who leads.
extension ClientHandle {
    typealias Serve = () throws(KafkaError) -> Void

    /// The first offset still there, and the end as the client's isolation level sees it.
    ///
    /// Asked as times: `rd_kafka_query_watermark_offsets` of librdkafka 2.0.2 waits for a broker that is away without any limit.
    func watermarks(of partition: KafkaPartition, milliseconds: Int, serve: Serve? = nil) throws(KafkaError)
        -> (low: Int64, high: Int64)
    {
        let operation = "ask for the offsets of \(partition)"
        func bound(_ which: Int64) throws(KafkaError) -> Int64 {
            try offsets([partition], at: which, milliseconds: milliseconds, serve: serve, operation).first?.offset ?? 0
        }
        // The first offset first: it only grows, and so does the end.
        return (try bound(KafkaOffset.beginning), try bound(KafkaOffset.end))
    }

    /// For each partition the first offset whose timestamp is at or after the given milliseconds since 1970, -1 where
    /// there is none; with ``KafkaOffset/end`` the ends.
    func offsets(
        _ partitions: [KafkaPartition],
        at time: Int64,
        milliseconds: Int,
        serve: Serve? = nil,
        _ operation: String = "ask for offsets by time"
    ) throws(KafkaError) -> [KafkaOffset] {
        var answer: [KafkaOffset] = []
        try ask(operation, partitions, milliseconds, serve) { limit, operation throws(KafkaError) in
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

    /// - Throws: ``KafkaError``; `unknownTopic` only when a broker has said so and none has said otherwise since.
    private func ask(
        _ operation: String,
        _ partitions: [KafkaPartition],
        _ milliseconds: Int,
        _ serve: Serve?,
        _ call: (Int32, String) throws(KafkaError) -> KafkaError?
    ) throws(KafkaError) {
        var isAgain = false
        var missing: KafkaPartition?
        do throws(KafkaError) {
            try insist(operation, milliseconds: milliseconds, serve: serve) { limit throws(KafkaError) in
                if isAgain { self.findLeaders(of: partitions, limit, &missing) }
                isAgain = true
                return try call(max(limit, 1000), operation)
            }
        } catch {
            guard let missing, error.kind == .unreachable else { throw error }
            throw KafkaError(code: RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, operation, text: "there is no \(missing)")
        }
    }

    /// Makes the client know who leads.
    ///
    /// - Parameter missing: becomes a partition that a broker says is not there, and nil where one says that it is. While none of
    ///   them says anything, it stays.
    private func findLeaders(of partitions: [KafkaPartition], _ milliseconds: Int32, _ missing: inout KafkaPartition?) {
        for name in Set(partitions.map(\.topic)).sorted() {
            guard let topic = rd_kafka_topic_new(rk, name, nil) else { continue }
            defer { rd_kafka_topic_destroy(topic) }
            var answer: UnsafePointer<rd_kafka_metadata>?
            _ = rd_kafka_metadata(rk, 0, topic, &answer, milliseconds)
            guard let answer else { continue }
            defer { rd_kafka_metadata_destroy(answer) }
            for index in 0..<Int(answer.pointee.topic_cnt) {
                let found = answer.pointee.topics[index]
                guard String(cString: found.topic) == name else { continue }
                let isGone = found.err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
                // With any other error the broker says nothing of partitions.
                guard isGone || found.err == RD_KAFKA_RESP_ERR_NO_ERROR else { continue }
                let known = isGone ? [] : Set((0..<Int(found.partition_cnt)).map { found.partitions[$0].id })
                if missing?.topic == name { missing = nil }
                missing = missing ?? partitions.first { $0.topic == name && !known.contains($0.partition) }
            }
        }
    }
}
