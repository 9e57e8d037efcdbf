import CRdKafka

/// Adds headers to the record being produced.
public struct HeaderWriter: ~Copyable {
    let headers: OpaquePointer

    /// Headers filled by the body, for one record.
    static func headers(_ body: (borrowing HeaderWriter) -> Void) -> OpaquePointer? {
        guard let headers = rd_kafka_headers_new(8) else { return nil }
        body(HeaderWriter(headers: headers))
        return headers
    }

    /// Appends one header; name and value are copied.
    ///
    /// A nil value is a null header.
    public func add(_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer?) {
        _ = rd_kafka_header_add(
            headers,
            name.baseAddress?.assumingMemoryBound(to: CChar.self),
            name.count,
            value?.baseAddress,
            value?.count ?? 0
        )
    }

    /// Appends one header.
    public func add(_ name: String, _ value: String) {
        var name = name
        var value = value
        name.withUTF8 { name in
            value.withUTF8 { value in add(UnsafeRawBufferPointer(name), UnsafeRawBufferPointer(value)) }
        }
    }
}

/// One librdkafka producer with its topics: what the transactional and the plain producer share.
final class ProducerHandle {
    let client: ClientHandle
    private var topics: [OpaquePointer?] = []
    /// Something to point at for an empty key or value, which a null pointer would turn into none.
    private let somewhere: UnsafeMutableRawPointer
    private var isOpen = true
    /// The topic whose newest delivered offset is kept in the client's state.
    var trackedName: String?

    init(
        _ configuration: KafkaConfiguration,
        defaults: [(String, String)],
        fixed: [(String, String)],
        observer: KafkaObserver
    ) throws(KafkaError) {
        client = try ClientHandle(
            RD_KAFKA_PRODUCER,
            configuration,
            // murmur2_random is where Java's producers put a key; librdkafka's own default is another hash.
            defaults: [("partitioner", "murmur2_random")] + defaults,
            // A broker checks every record that comes uncompressed as an object of its own: with lz4 it collected garbage a fifth
            // to a third less often at 10,000 verdicts a second, and 99 of 100 were there about a tenth sooner. Left out where
            // librdkafka was built without.
            optional: [("compression.type", "lz4")],
            // Reports of failures only would make every flush sleep in steps of 10 ms.
            fixed: fixed + [("enable.idempotence", "true"), ("delivery.report.only.error", "false")],
            observer: observer
        )
        somewhere = .allocate(byteCount: 8, alignment: 8)
    }

    deinit { close() }

    private func topic(_ index: Int, name: String) throws(KafkaError) -> OpaquePointer {
        while topics.count <= index { topics.append(nil) }
        if let found = topics[index] { return found }
        guard let made = rd_kafka_topic_new(client.rk, name, nil) else {
            throw KafkaError(code: rd_kafka_last_error(), "use topic \(name)")
        }
        topics[index] = made
        if name == trackedName { client.state.trackedTopic = made }
        return made
    }

    /// Queues a record, which is copied, and takes the headers; waits up to `milliseconds` when the queue is full.
    package func produce(
        topic index: Int,
        name: String,
        partition: Int32,
        key: UnsafeRawBufferPointer?,
        value: UnsafeRawBufferPointer?,
        headers: OpaquePointer?,
        milliseconds: Double
    ) throws(KafkaError) {
        var isTaken = false
        // The headers are librdkafka's only after a success.
        defer { if !isTaken, let headers { rd_kafka_headers_destroy(headers) } }
        let topic = try topic(index, name: name)
        let keyPointer = key.map { $0.baseAddress ?? UnsafeRawPointer(somewhere) }
        let valuePointer = value.map {
            UnsafeMutableRawPointer(mutating: $0.baseAddress ?? UnsafeRawPointer(somewhere))
        }
        var deadline = 0.0
        while true {
            let code: rd_kafka_resp_err_t
            if let headers {
                code = produce(topic, partition, keyPointer, key?.count ?? 0, valuePointer, value?.count ?? 0, headers)
            } else {
                let failed = rd_kafka_produce(
                    topic,
                    partition,
                    ProducerHandle.copyFlag,
                    valuePointer,
                    value?.count ?? 0,
                    keyPointer,
                    key?.count ?? 0,
                    nil
                )
                code = failed == 0 ? RD_KAFKA_RESP_ERR_NO_ERROR : rd_kafka_last_error()
            }
            if code == RD_KAFKA_RESP_ERR_NO_ERROR {
                isTaken = true
                return
            }
            if code == RD_KAFKA_RESP_ERR__QUEUE_FULL {
                let now = Clock.milliseconds()
                if deadline == 0 { deadline = now + milliseconds }
                if now < deadline {
                    client.poll(milliseconds: 5)
                    continue
                }
            }
            let fatal = code == RD_KAFKA_RESP_ERR__FATAL ? client.fatalError("produce to \(name)") : nil
            if code == RD_KAFKA_RESP_ERR__STATE {
                // Something behind our back has ended the transaction; a failed delivery names it.
                client.poll()
                throw client.fatalError("produce to \(name)") ?? client.state.firstFailure ?? client.state.refusal
                    ?? KafkaError(
                        code: code,
                        "produce to \(name)",
                        text: "the transaction failed while it was written",
                        requiresAbort: true
                    )
            }
            let reason = String(cString: rd_kafka_err2str(code))
            throw fatal
                ?? KafkaError(
                    code: code,
                    "produce to \(name)",
                    text: "\(reason) (topic \(name), record of \(value?.count ?? 0) bytes)"
                )
        }
    }

    /// RD_KAFKA_MSG_F_COPY: the record's bytes are copied into librdkafka.
    private static let copyFlag: Int32 = 2

    private func produce(
        _ topic: OpaquePointer,
        _ partition: Int32,
        _ key: UnsafeRawPointer?,
        _ keyCount: Int,
        _ value: UnsafeMutableRawPointer?,
        _ valueCount: Int,
        _ headers: OpaquePointer
    ) -> rd_kafka_resp_err_t {
        withUnsafeTemporaryAllocation(of: rd_kafka_vu_t.self, capacity: 6) { parts in
            parts[0].vtype = RD_KAFKA_VTYPE_RKT
            parts[0].u.rkt = topic
            parts[1].vtype = RD_KAFKA_VTYPE_PARTITION
            parts[1].u.i32 = partition
            parts[2].vtype = RD_KAFKA_VTYPE_MSGFLAGS
            parts[2].u.i = ProducerHandle.copyFlag
            parts[3].vtype = RD_KAFKA_VTYPE_VALUE
            parts[3].u.mem.ptr = value
            parts[3].u.mem.size = valueCount
            parts[4].vtype = RD_KAFKA_VTYPE_KEY
            parts[4].u.mem.ptr = UnsafeMutableRawPointer(mutating: key)
            parts[4].u.mem.size = keyCount
            parts[5].vtype = RD_KAFKA_VTYPE_HEADERS
            parts[5].u.headers = headers
            guard let error = rd_kafka_produceva(client.rk, parts.baseAddress, 6) else {
                return RD_KAFKA_RESP_ERR_NO_ERROR
            }
            defer { rd_kafka_error_destroy(error) }
            return rd_kafka_error_code(error)
        }
    }

    /// Waits until every queued record is delivered or refused.
    ///
    /// - Throws: the first failed delivery since the last call of ``resetDeliveries()``, or `_TIMED_OUT`.
    package func flush(milliseconds: Int) throws(KafkaError) {
        let deadline = Clock.milliseconds() + Double(milliseconds)
        var code = RD_KAFKA_RESP_ERR_NO_ERROR
        repeat {
            let left = deadline - Clock.milliseconds()
            code = rd_kafka_flush(client.rk, Int32(max(0, min(250, left))))
            if code != RD_KAFKA_RESP_ERR_NO_ERROR { try client.state.observer.requireNoEnd("flush") }
        } while code == RD_KAFKA_RESP_ERR__TIMED_OUT && Clock.milliseconds() < deadline
        // What made the instance unusable (a newer owner, say) explains the failed deliveries, not the other way round.
        if let fatal = client.fatalError("flush") { throw fatal }
        if let failure = client.state.firstFailure { throw failure }
        if code != RD_KAFKA_RESP_ERR_NO_ERROR {
            if let refusal = client.state.refusal { throw refusal }
            throw KafkaError(code: code, "flush", text: "records not delivered within \(milliseconds) ms")
        }
    }

    package func resetDeliveries() {
        client.state.firstFailure = nil
        client.state.failed = 0
        client.state.delivered = 0
        client.state.resetTouched()
    }

    /// The partitions of the records since the last ``resetDeliveries()``, with the newest confirmed offset or -1.
    package func touched() -> [KafkaOffset] {
        client.state.touched.map {
            KafkaOffset(KafkaPartition(String(cString: rd_kafka_topic_name($0.topic)), $0.partition), $0.offset)
        }
    }

    /// Throws away what is queued or in flight, and waits for the reports of it.
    package func purge() {
        _ = rd_kafka_purge(client.rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT)
        rd_kafka_flush(client.rk, 1000)
    }

    /// Throws away what is queued or in flight and frees the producer; milliseconds.
    package func close() {
        if !isOpen { return }
        isOpen = false
        _ = rd_kafka_purge(client.rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT)
        client.poll()
        for topic in topics { if let topic { rd_kafka_topic_destroy(topic) } }
        topics.removeAll()
        client.close()
        somewhere.deallocate()
    }
}
