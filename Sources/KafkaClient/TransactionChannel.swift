import CRdKafka

/// Who reads as a member of a consumer group, so that a transaction can move the group's positions.
public protocol GroupMember: AnyObject {
    /// What the group knows the member by, an `rd_kafka_consumer_group_metadata_t` that the caller destroys; nil: there is no
    /// group.
    func groupMetadata() -> OpaquePointer?
}

extension Consumer: GroupMember {}

/// One producer of one transactional id, as ``TransactionalProducer`` uses it: librdkafka's, or a simulator's.
///
/// Each call returns when the broker has answered, or throws what librdkafka would say.
package protocol TransactionChannel: AnyObject {
    /// The newest offset of the tracked topic that a broker has confirmed; -1 before the first.
    var trackedOffset: Int64 { get }
    /// Whether a connection broke since the channel was made.
    var hasLostConnection: Bool { get }
    /// What a broker refused us for, and which explains later errors.
    var refusal: KafkaError? { get }

    /// Owns the id: fences who had it, and waits until the open transaction has ended.
    func initialise(_ operation: String, milliseconds: Int) throws(KafkaError)
    func begin() throws(KafkaError)
    /// Queues a record, and takes the headers (an `rd_kafka_headers_t`).
    func produce(
        topic: Int,
        name: String,
        partition: Int32,
        key: UnsafeRawBufferPointer?,
        value: UnsafeRawBufferPointer?,
        headers: OpaquePointer?,
        milliseconds: Double
    ) throws(KafkaError)
    /// Waits until every queued record is delivered or refused.
    func flush(milliseconds: Int) throws(KafkaError)
    /// Sends positions of the member's group.
    func send(_ offsets: [KafkaOffset], of member: any GroupMember, milliseconds: Int) throws(KafkaError)
    func commit(milliseconds: Int) throws(KafkaError)
    func abort(milliseconds: Int) throws(KafkaError)

    /// Forgets which records were delivered.
    func resetDeliveries()
    /// The partitions of the records since the last ``resetDeliveries()``, with the newest confirmed offset or -1.
    func touched() -> [KafkaOffset]
    /// Throws away what is queued or in flight.
    func purge()
    /// Hears what there is to hear.
    func serve()
    func close()
}

extension ProducerHandle: TransactionChannel {
    package var trackedOffset: Int64 { client.state.trackedOffset }
    package var hasLostConnection: Bool { client.state.hasLostConnection }
    package var refusal: KafkaError? { client.state.refusal }

    package func initialise(_ operation: String, milliseconds: Int) throws(KafkaError) {
        try client.insist(operation, milliseconds: milliseconds) { milliseconds throws(KafkaError) in
            guard let error = rd_kafka_init_transactions(self.client.rk, milliseconds) else { return nil }
            return KafkaError(consuming: error, operation)
        }
    }

    package func begin() throws(KafkaError) {
        try check(rd_kafka_begin_transaction(client.rk), "begin transaction")
    }

    package func send(_ offsets: [KafkaOffset], of member: any GroupMember, milliseconds: Int) throws(KafkaError) {
        guard let group = member.groupMetadata() else {
            throw KafkaError(.configuration, "send offsets", "the consumer has no group.id")
        }
        defer { rd_kafka_consumer_group_metadata_destroy(group) }
        let list = try PartitionList(offsets)
        let error = rd_kafka_send_offsets_to_transaction(client.rk, list.pointer, group, Int32(milliseconds))
        try check(error, "send offsets to the transaction")
    }

    package func commit(milliseconds: Int) throws(KafkaError) {
        try check(rd_kafka_commit_transaction(client.rk, Int32(milliseconds)), "commit transaction")
    }

    package func abort(milliseconds: Int) throws(KafkaError) {
        try check(rd_kafka_abort_transaction(client.rk, Int32(milliseconds)), "abort transaction")
    }

    package func serve() { client.poll() }

    private func check(_ error: OpaquePointer?, _ operation: String) throws(KafkaError) {
        if let error { throw KafkaError(consuming: error, operation) }
    }
}

extension HeaderWriter {
    /// Takes headers apart and frees them: what a channel does that keeps its own.
    package static func take(_ headers: OpaquePointer?) -> [(name: String, value: [UInt8]?)] {
        guard let headers else { return [] }
        defer { rd_kafka_headers_destroy(headers) }
        var taken: [(name: String, value: [UInt8]?)] = []
        var name: UnsafePointer<CChar>?
        var value: UnsafeRawPointer?
        var count = 0
        while rd_kafka_header_get_all(headers, taken.count, &name, &value, &count) == RD_KAFKA_RESP_ERR_NO_ERROR {
            guard let name else { break }
            let bytes = value.map { [UInt8](UnsafeRawBufferPointer(start: $0, count: count)) }
            taken.append((String(cString: name), bytes))
        }
        return taken
    }
}
