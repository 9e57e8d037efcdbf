import CRdKafka

/// A plain producer: idempotent (no duplicates or reordering from retries), without transactions.
///
/// For traffic generators and tools. Records are copied into librdkafka's queue and sent in batches, compressed with lz4
/// unless the configuration says otherwise; ``flush()`` waits for them. One thread owns the object.
public final class Producer {
    private let handle: ProducerHandle
    private var names: [String] = []
    private let flushMilliseconds: Int

    /// - Parameter flushMilliseconds: longest ``flush()`` and a ``produce(topic:partition:key:value:headers:)`` on a
    ///   full queue may take.
    public init(
        _ configuration: KafkaConfiguration,
        flushMilliseconds: Int = 30_000,
        observer: KafkaObserver = KafkaObserver()
    ) throws(KafkaError) {
        handle = try ProducerHandle(configuration, defaults: [("linger.ms", "5")], fixed: [], observer: observer)
        self.flushMilliseconds = flushMilliseconds
    }

    /// The number by which ``produce(topic:partition:key:value:headers:)`` knows a topic.
    public func topic(named name: String) -> Int {
        if let index = names.firstIndex(of: name) { return index }
        names.append(name)
        return names.count - 1
    }

    /// Queues a record; nil value = tombstone; partition -1 = by key (murmur2, as Java's producers).
    ///
    /// - Throws: ``KafkaError``: `tooLarge` at once; queue still full after the time limit; an earlier delivery that
    ///   failed for good.
    public func produce(
        topic: Int,
        partition: Int32 = -1,
        key: UnsafeRawBufferPointer?,
        value: UnsafeRawBufferPointer?,
        headers: (borrowing HeaderWriter) -> Void
    ) throws(KafkaError) {
        try produce(topic: topic, partition: partition, key: key, value: value, headers: HeaderWriter.headers(headers))
    }

    /// Queues a record without headers.
    public func produce(
        topic: Int,
        partition: Int32 = -1,
        key: UnsafeRawBufferPointer?,
        value: UnsafeRawBufferPointer?
    ) throws(KafkaError) {
        try produce(topic: topic, partition: partition, key: key, value: value, headers: nil)
    }

    private func produce(
        topic: Int,
        partition: Int32,
        key: UnsafeRawBufferPointer?,
        value: UnsafeRawBufferPointer?,
        headers: OpaquePointer?
    ) throws(KafkaError) {
        try handle.produce(
            topic: topic,
            name: names[topic],
            partition: partition,
            key: key,
            value: value,
            headers: headers,
            milliseconds: Double(flushMilliseconds)
        )
        handle.client.poll()
        if let failure = handle.client.state.firstFailure { throw failure }
    }

    /// Waits until everything queued is delivered.
    public func flush() throws(KafkaError) { try handle.flush(milliseconds: flushMilliseconds) }

    /// Records delivered so far.
    public var delivered: Int { handle.client.state.delivered }

    /// Frees the producer; what was not flushed is lost.
    ///
    /// A second call does nothing.
    public func close() { handle.close() }
}
