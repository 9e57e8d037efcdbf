import CRdKafka
import Glibc

/// Reads records: control on one queue, data on one forwarded queue per partition, in batches that lend the broker's
/// bytes without a copy.
///
/// Two ways to own partitions. *Assigned*: the caller names partitions and offsets with ``assign(_:)`` and no group
/// protocol runs. *Subscribed*: ``subscribe(to:)`` joins `group.id`, and ``serve()`` carries out rebalances, asking
/// ``onAssign`` for start offsets.
///
/// Always so, whatever the properties say: `read_committed` unless ``Options/readUncommitted``, no automatic commits,
/// and `auto.offset.reset=error`, because librdkafka's own resets skip data silently. One thread owns the object;
/// nothing waits but ``wait(milliseconds:)`` and the calls that ask the broker something, which say how long. Prefer
/// not polling a partition to pausing it: its queue limit is the back-pressure.
public final class Consumer {
    /// How a consumer reads.
    public struct Options {
        /// Also lends records of open and aborted transactions.
        public var readUncommitted = false
        /// Hears of the end of each partition, so that a position moves behind markers and aborted records too.
        public var partitionEnd = false
        /// The broker answers a fetch that found too little after this long; short makes ``partitionEnd`` prompt, long saves
        /// requests.
        public var fetchWaitMilliseconds = 50
        /// The broker answers a fetch earlier once it has so many bytes; more saves requests, and may cost the wait in latency.
        public var fetchMinimumBytes = 1
        /// How many bytes all partitions together may prefetch, and among how many it is shared out.
        public var prefetchBytes = 128 << 20
        public var expectedPartitions = 8
        /// Longest a question to the broker may take.
        public var callMilliseconds = 10_000
        public init() {}
    }

    /// What ``serve()`` did about the group.
    public enum GroupEvent: Sendable, Equatable {
        case assigned([KafkaOffset])
        /// `lost`: another member may own them already; commit nothing of them.
        case revoked([KafkaPartition], lost: Bool)
    }

    /// One partition being read: its queue and a batch not yet lent.
    private struct Source {
        var partition: KafkaPartition
        var queue: OpaquePointer
        /// The offset behind the last record lent.
        var next: Int64
        var batch: UnsafeMutablePointer<UnsafeMutablePointer<rd_kafka_message_t>?>
        var head = 0
        var tail = 0
        /// Something came since the assignment; before that librdkafka's position may be one of an earlier assignment.
        var hasBegun = false
    }
    private static let batchCapacity = 1024

    /// Start offsets for partitions the group gives us; without it, the group's committed offsets.
    public var onAssign: (([KafkaPartition]) -> [KafkaOffset])?
    /// Called before partitions are given back.
    public var onRevoke: (([KafkaPartition], _ lost: Bool) -> Void)?
    public let options: Options
    let handle: ClientHandle
    private let control: OpaquePointer
    private var sources: [Source] = []
    private var events: [GroupEvent] = []
    private var pending: KafkaError?
    private var wake: (read: Int32, write: Int32) = (-1, -1)
    private var isOpen = true
    private var isSubscribed = false

    /// - Throws: ``KafkaError`` of kind `configuration` or `incompatible`; does not connect.
    public init(
        _ configuration: KafkaConfiguration,
        options: Options = Options(),
        observer: KafkaObserver = KafkaObserver()
    ) throws(KafkaError) {
        self.options = options
        // A full queue pauses fetching for one second below 2.2 (kept short by fetch.queue.backoff.ms since): there the
        // queue must hold what that second drains. Measured with 2.0.2: 36 partitions are as fast with 2 MiB each as with
        // 32; 4 partitions with 32 MiB each are as fast as with 128, with 16 a fifth slower, with 8 half as fast.
        let least = KafkaLibrary.version < KafkaLibrary.Version(2, 2, 0) ? 8 << 10 : 2 << 10
        let share = max(least, min(512 << 10, options.prefetchBytes / 1024 / max(1, options.expectedPartitions)))
        handle = try ClientHandle(
            RD_KAFKA_CONSUMER,
            configuration,
            defaults: [
                ("group.id", "weir-reader"), ("session.timeout.ms", "10000"), ("queued.min.messages", "1000000"),
                ("queued.max.messages.kbytes", String(share)),
                ("fetch.wait.max.ms", String(options.fetchWaitMilliseconds)),
                ("fetch.min.bytes", String(options.fetchMinimumBytes)),
                // By it a consumer hears of partitions that were added, and of a topic that was deleted while it is read.
                ("topic.metadata.refresh.interval.ms", "30000"),
            ],
            optional: [("fetch.queue.backoff.ms", "10")],
            fixed: [
                ("enable.auto.commit", "false"), ("enable.auto.offset.store", "false"), ("auto.offset.reset", "error"),
                ("isolation.level", options.readUncommitted ? "read_uncommitted" : "read_committed"),
                ("enable.partition.eof", options.partitionEnd ? "true" : "false"),
            ],
            events: RD_KAFKA_EVENT_REBALANCE | RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_STATS
                | RD_KAFKA_EVENT_OFFSET_COMMIT
                | RD_KAFKA_EVENT_LOG,
            observer: observer
        )
        rd_kafka_poll_set_consumer(handle.rk)
        guard let control = rd_kafka_queue_get_consumer(handle.rk) else {
            throw KafkaError(.other, "make a consumer", "no consumer queue")
        }
        self.control = control
        var ends: [Int32] = [-1, -1]
        if pipe(&ends) == 0 {
            wake = (ends[0], ends[1])
            for end in ends {
                _ = fcntl(end, F_SETFL, O_NONBLOCK)
                _ = fcntl(end, F_SETFD, FD_CLOEXEC)
            }
        }
        if wake.write >= 0 { rd_kafka_queue_io_event_enable(control, wake.write, "1", 1) }
    }

    deinit { close() }

    // MARK: Owning partitions

    /// The partitions being read, in the order of their indices.
    public var assignment: [KafkaPartition] { sources.map(\.partition) }

    /// Reads exactly these partitions from these offsets; replaces what was read before.
    ///
    /// Indices of the other calls follow this order.
    ///
    /// Give explicit offsets, asked with ``watermarks(of:)``: a start at ``KafkaOffset/beginning`` costs 500 ms on
    /// librdkafka 2.0.2. The broker says nothing about a topic that does not exist: ask for its partitions first.
    public func assign(_ offsets: [KafkaOffset]) throws(KafkaError) {
        rd_kafka_assign(handle.rk, nil)
        dropSources { _ in true }
        let list = try PartitionList(offsets)
        for item in offsets { try openSource(item) }
        try check(rd_kafka_assign(handle.rk, list.pointer), "assign partitions")
    }

    /// Reads one more partition, or one already read from another offset; the others go on undisturbed.
    ///
    /// Returns its index.
    public func add(_ offset: KafkaOffset) throws(KafkaError) -> Int {
        if let index = sources.firstIndex(where: { $0.partition == offset.partition }) {
            let list = try PartitionList([offset])
            release(&sources[index])
            if let error = rd_kafka_incremental_unassign(handle.rk, list.pointer) {
                throw KafkaError(consuming: error, "unassign \(offset.partition)")
            }
            sources.remove(at: index)
        }
        let list = try PartitionList([offset])
        try openSource(offset)
        if let error = rd_kafka_incremental_assign(handle.rk, list.pointer) {
            throw KafkaError(consuming: error, "assign \(offset.partition)")
        }
        return sources.count - 1
    }

    /// Joins the group of `group.id` for these topics.
    public func subscribe(to topics: [String]) throws(KafkaError) {
        let list = try PartitionList(topics.map { KafkaPartition($0, -1) })
        try check(rd_kafka_subscribe(handle.rk, list.pointer), "subscribe")
        isSubscribed = true
    }

    /// The group's protocol moves single partitions.
    private var isCooperative: Bool { String(cString: rd_kafka_rebalance_protocol(handle.rk)) == "COOPERATIVE" }

    private func openSource(_ start: KafkaOffset) throws(KafkaError) {
        guard let queue = rd_kafka_queue_get_partition(handle.rk, start.partition.topic, start.partition.partition)
        else {
            throw KafkaError(.other, "read \(start.partition)", "no queue for the partition")
        }
        // Before the assignment, or the first records land on the control queue.
        rd_kafka_queue_forward(queue, nil)
        if wake.write >= 0 { rd_kafka_queue_io_event_enable(queue, wake.write, "1", 1) }
        sources.append(
            Source(
                partition: start.partition,
                queue: queue,
                next: start.offset,
                batch: .allocate(capacity: Consumer.batchCapacity)
            )
        )
    }

    private func release(_ source: inout Source) {
        for index in source.head..<source.tail {
            if let message = source.batch[index] { rd_kafka_message_destroy(message) }
        }
        source.head = 0
        source.tail = 0
        source.batch.deallocate()
        if wake.write >= 0 { rd_kafka_queue_io_event_enable(source.queue, -1, nil, 0) }
        rd_kafka_queue_destroy(source.queue)
    }

    private func dropSources(_ condition: (KafkaPartition) -> Bool) {
        var kept: [Source] = []
        for var source in sources {
            if condition(source.partition) { release(&source) } else { kept.append(source) }
        }
        sources = kept
    }

    // MARK: Reading

    /// Lends up to `limit` records of one partition in offset order, without waiting, and returns how many.
    ///
    /// - Parameters:
    ///   - until: records at this offset and behind stay for the next call.
    ///   - body: returns false to stop after the record it was given.
    /// - Throws: ``KafkaError``: kind `outOfRange` when the next offset is not there any more, `authorisation` when
    ///   reading was forbidden; records before the error have been lent.
    @discardableResult
    public func poll(_ index: Int, limit: Int, until: Int64 = .max, _ body: (ConsumedRecord) -> Bool) throws(KafkaError)
        -> Int
    {
        var lent = 0
        while lent < limit {
            if sources[index].head == sources[index].tail {
                guard try refill(index, limit: limit - lent) else { break }
            }
            let head = sources[index].head
            guard let message = sources[index].batch[head] else {
                sources[index].head += 1
                continue
            }
            if message.pointee.err != RD_KAFKA_RESP_ERR_NO_ERROR {
                let code = message.pointee.err
                let offset = message.pointee.offset
                let text = message.pointee.payload == nil ? nil : String(cString: rd_kafka_message_errstr(message))
                rd_kafka_message_destroy(message)
                sources[index].head += 1
                if code == RD_KAFKA_RESP_ERR__PARTITION_EOF {
                    sources[index].next = max(sources[index].next, offset)
                    continue
                }
                throw Consumer.said(code, "read \(sources[index].partition)", text)
            }
            let offset = message.pointee.offset
            if offset >= until { break }
            sources[index].head += 1
            // Left over from an assignment before this one.
            if offset < sources[index].next {
                rd_kafka_message_destroy(message)
                continue
            }
            sources[index].next = offset + 1
            let goOn = body(ConsumedRecord(message))
            rd_kafka_message_destroy(message)
            lent += 1
            if !goOn { break }
        }
        return lent
    }

    /// Takes a batch off the partition's queue; false when there was nothing.
    private func refill(_ index: Int, limit: Int) throws(KafkaError) -> Bool {
        let wanted = min(max(limit, 1), Consumer.batchCapacity)
        // A timeout above 0 would wait until the batch is full.
        let count = rd_kafka_consume_batch_queue(sources[index].queue, 0, sources[index].batch, wanted)
        if count < 0 { throw KafkaError(code: rd_kafka_last_error(), "read \(sources[index].partition)") }
        sources[index].head = 0
        sources[index].tail = count
        if count > 0 { sources[index].hasBegun = true }
        return count > 0
    }

    /// The offset behind the last record lent, or the start.
    public func next(_ index: Int) -> Int64 { sources[index].next }

    /// The offset behind everything lent or stepped over (transaction markers, aborted records): the one to commit.
    public func position(_ index: Int) throws(KafkaError) -> Int64 {
        // librdkafka's own position counts what was taken off its queue, so it is ours only when the batch is used up.
        if sources[index].hasBegun, sources[index].head == sources[index].tail {
            let list = try PartitionList([sources[index].partition])
            try check(rd_kafka_position(handle.rk, list.pointer), "ask for the position")
            sources[index].next = max(sources[index].next, list.pointer.pointee.elems[0].offset)
        }
        return sources[index].next
    }

    /// Whether every record before the offset has been lent.
    public func isBehind(_ index: Int, _ offset: Int64) throws(KafkaError) -> Bool {
        let source = sources[index]
        if source.head < source.tail, let message = source.batch[source.head],
            message.pointee.err == RD_KAFKA_RESP_ERR_NO_ERROR
        {
            return message.pointee.offset >= offset || source.next >= offset
        }
        return try position(index) >= offset
    }

    /// Waits until some partition may have records, the group has news, or the time is over.
    ///
    /// - Returns: whether a partition has something to poll.
    /// - Throws: what ``serve()`` throws.
    @discardableResult
    public func wait(milliseconds: Int) throws(KafkaError) -> Bool {
        try serveControl()
        if hasRecords { return true }
        if milliseconds <= 0 { return false }
        if wake.read < 0 {
            Clock.sleep(milliseconds: min(milliseconds, 5))
        } else {
            // Bounded and checked again by queue length: librdkafka may merge wake-ups, so none is relied on.
            var entry = pollfd(fd: wake.read, events: Int16(POLLIN), revents: 0)
            if Glibc.poll(&entry, 1, Int32(clamping: milliseconds)) > 0 {
                var sink: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
                while read(wake.read, &sink, 32) == 32 {}
            }
        }
        try serveControl()
        return hasRecords
    }

    private var hasRecords: Bool {
        for source in sources where source.head < source.tail || rd_kafka_queue_length(source.queue) > 0 { return true }
        return false
    }

    // MARK: Control

    /// Serves rebalances, errors, logs and statistics, and returns what happened in the group since the last call.
    ///
    /// Call it between transactions only: a rebalance inside one would take partitions whose offsets are still to be
    /// sent.
    ///
    /// - Throws: ``KafkaError`` when the broker refuses us (password, group or topic rights, unknown topic, fenced
    ///   member). Lost connections are no error here: librdkafka goes on trying.
    public func serve() throws(KafkaError) -> [GroupEvent] {
        try serveControl()
        defer { events.removeAll() }
        return events
    }

    func serveControl(milliseconds: Int32 = 0) throws(KafkaError) {
        var wait = milliseconds
        while let event = rd_kafka_queue_poll(control, wait) {
            wait = 0
            defer { rd_kafka_event_destroy(event) }
            switch rd_kafka_event_type(event) {
            case RD_KAFKA_EVENT_REBALANCE: try rebalance(event)
            case RD_KAFKA_EVENT_LOG:
                var facility: UnsafePointer<CChar>?
                var text: UnsafePointer<CChar>?
                var level: Int32 = 0
                if rd_kafka_event_log(event, &facility, &text, &level) == 0, let facility, let text {
                    handle.state.note(
                        level: Int(level),
                        facility: String(cString: facility),
                        text: String(cString: text)
                    )
                }
            case RD_KAFKA_EVENT_STATS:
                if let json = rd_kafka_event_stats(event) {
                    handle.state.observer.statistics(UnsafeRawBufferPointer(start: json, count: strlen(json)))
                }
            case RD_KAFKA_EVENT_ERROR:
                note(
                    clientError(
                        handle.rk,
                        rd_kafka_event_error(event),
                        rd_kafka_event_error_string(event).map { String(cString: $0) }
                    )
                )
            case RD_KAFKA_EVENT_FETCH:
                // Only errors come here: data has its own queues.
                while let message = rd_kafka_event_message_next(event) {
                    let code = message.pointee.err
                    if code != RD_KAFKA_RESP_ERR_NO_ERROR {
                        note(Consumer.said(code, "consume", String(cString: rd_kafka_message_errstr(message))))
                    }
                }
            default: break
            }
        }
        if let error = pending {
            pending = nil
            throw error
        }
    }

    /// An error of a partition that is read: librdkafka calls one unknown there only when a broker has said so.
    private static func said(_ code: rd_kafka_resp_err_t, _ operation: String, _ text: String?) -> KafkaError {
        let isGone = code == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC || code == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION
        return KafkaError(code: isGone ? RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART : code, operation, text: text)
    }

    private func note(_ error: KafkaError) {
        handle.state.note(error)
        switch error.kind {
        case .authentication, .authorisation, .fenced, .unknownTopic: if pending == nil { pending = error }
        default: if error.isFatal, pending == nil { pending = error }
        }
    }

    private func rebalance(_ event: OpaquePointer) throws(KafkaError) {
        let list = rd_kafka_event_topic_partition_list(event)
        let partitions = PartitionList.offsets(of: list).map(\.partition)
        let isAssign = rd_kafka_event_error(event) == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS
        let isCooperative = isCooperative
        if isAssign {
            let starts = if let onAssign { onAssign(partitions) } else { try committedOrFirst(partitions) }
            for item in starts { try openSource(item) }
            let wanted = try PartitionList(starts)
            if isCooperative {
                if let error = rd_kafka_incremental_assign(handle.rk, wanted.pointer) {
                    throw KafkaError(consuming: error, "assign partitions")
                }
            } else {
                try check(rd_kafka_assign(handle.rk, wanted.pointer), "assign partitions")
            }
            events.append(.assigned(starts))
        } else {
            let lost = rd_kafka_assignment_lost(handle.rk) != 0
            onRevoke?(partitions, lost)
            let gone = Set(partitions)
            dropSources { gone.contains($0) }
            if isCooperative {
                if let error = rd_kafka_incremental_unassign(handle.rk, list) {
                    throw KafkaError(consuming: error, "unassign partitions")
                }
            } else {
                try check(rd_kafka_assign(handle.rk, nil), "unassign partitions")
            }
            events.append(.revoked(partitions, lost: lost))
        }
    }

    // MARK: Questions

    /// The group's committed offsets; partitions without one are left out.
    public func committed(_ partitions: [KafkaPartition]) throws(KafkaError) -> [KafkaOffset] {
        if partitions.isEmpty { return [] }
        var answer: [KafkaOffset] = []
        try insist("ask for committed offsets") { milliseconds throws(KafkaError) in
            let list = try PartitionList(partitions)
            let code = rd_kafka_committed(self.handle.rk, list.pointer, max(milliseconds, 1000))
            if code != RD_KAFKA_RESP_ERR_NO_ERROR { return KafkaError(code: code, "ask for committed offsets") }
            answer = try list.offsets("ask for committed offsets")
            return nil
        }
        return answer.filter { $0.offset >= 0 }
    }

    /// Where a member starts when nobody says otherwise: at the committed offset, else at the first record.
    private func committedOrFirst(_ partitions: [KafkaPartition]) throws(KafkaError) -> [KafkaOffset] {
        let known = try committed(partitions)
        return partitions.map { partition in
            known.first { $0.partition == partition } ?? KafkaOffset(partition, KafkaOffset.beginning)
        }
    }

    /// Our membership as a transaction needs it; ask anew for each transaction, and only when subscribed is there a
    /// generation to check.
    public func groupMetadata() -> OpaquePointer? { rd_kafka_consumer_group_metadata(handle.rk) }

    private func insist(_ operation: String, _ call: (Int32) throws(KafkaError) -> KafkaError?) throws(KafkaError) {
        try handle.insist(
            operation,
            milliseconds: options.callMilliseconds,
            serve: { () throws(KafkaError) in try self.serveControl() },
            call
        )
    }

    private func check(_ code: rd_kafka_resp_err_t, _ operation: String) throws(KafkaError) {
        if code != RD_KAFKA_RESP_ERR_NO_ERROR { throw KafkaError(code: code, operation) }
    }

    /// Leaves the group and frees everything; a second call does nothing.
    ///
    /// Takes milliseconds; when the broker is gone at most 10 s, or one where an end is wanted.
    public func close() {
        if !isOpen { return }
        isOpen = false
        dropSources { _ in true }
        if wake.write >= 0 { rd_kafka_queue_io_event_enable(control, -1, nil, 0) }
        if let error = rd_kafka_consumer_close_queue(handle.rk, control) { rd_kafka_error_destroy(error) }
        let deadline = Clock.milliseconds() + Double(handle.closeMilliseconds)
        while rd_kafka_consumer_closed(handle.rk) == 0 && Clock.milliseconds() < deadline {
            do { try serveControl(milliseconds: 20) } catch { continue }
        }
        let isClosed = rd_kafka_consumer_closed(handle.rk) != 0
        rd_kafka_queue_destroy(control)
        handle.close(flags: isClosed ? 0 : RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE)
        if wake.read >= 0 {
            _ = Glibc.close(wake.read)
            _ = Glibc.close(wake.write)
            wake = (-1, -1)
        }
    }
}
