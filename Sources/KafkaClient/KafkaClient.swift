import CRdKafka

/// A topic and one of its partitions.
public struct KafkaPartition: Hashable, Sendable, Comparable, CustomStringConvertible {
    public var topic: String
    public var partition: Int32

    public init(_ topic: String, _ partition: Int32) {
        self.topic = topic
        self.partition = partition
    }

    public static func < (a: KafkaPartition, b: KafkaPartition) -> Bool {
        (a.topic, a.partition) < (b.topic, b.partition)
    }
    public var description: String { "\(topic)/\(partition)" }
}

/// A partition and an offset in it: the next record to read, unless said otherwise.
public struct KafkaOffset: Hashable, Sendable, CustomStringConvertible {
    /// The first record still there.
    public static let beginning: Int64 = -2
    /// Behind the last record.
    public static let end: Int64 = -1
    /// What the group committed.
    public static let committed: Int64 = -1000

    public var partition: KafkaPartition
    public var offset: Int64

    public init(_ partition: KafkaPartition, _ offset: Int64) {
        self.partition = partition
        self.offset = offset
    }

    public var description: String { "\(partition)@\(offset)" }
}

/// One line of librdkafka's own log.
public struct KafkaLogLine: Sendable {
    /// As in syslog: 3 error, 4 warning, 5 notice, 6 information, 7 debugging.
    public var level: Int
    /// librdkafka's short name for the subject, such as `FAIL`.
    public var facility: String
    public var text: String
}

/// Who hears what a client has to say beside the answers to calls.
///
/// Called on the thread that owns the client, from inside its calls; clients of different threads may share one.
public struct KafkaObserver: Sendable {
    public var log: @Sendable (KafkaLogLine) -> Void
    /// librdkafka's statistics as JSON, every `statistics.interval.ms`; lent for the call.
    public var statistics: @Sendable (UnsafeRawBufferPointer) -> Void
    /// Errors that belong to no call, such as a lost connection: information, since librdkafka goes on trying.
    public var error: @Sendable (KafkaError) -> Void
    /// Whether whatever waits for a broker should give up, with an error of the kind `stopped`: asked before each question and
    /// every 250 ms while one waits.
    public var isEndWanted: @Sendable () -> Bool

    public init(
        log: @escaping @Sendable (KafkaLogLine) -> Void = { _ in },
        statistics: @escaping @Sendable (UnsafeRawBufferPointer) -> Void = { _ in },
        error: @escaping @Sendable (KafkaError) -> Void = { _ in },
        isEndWanted: @escaping @Sendable () -> Bool = { false }
    ) {
        self.log = log
        self.statistics = statistics
        self.error = error
        self.isEndWanted = isEndWanted
    }

    func requireNoEnd(_ operation: String) throws(KafkaError) {
        if isEndWanted() { throw KafkaError(.stopped, operation, "stopped while waiting for Kafka") }
    }
}

/// What callbacks write down for the owner of a client; touched on the owner's thread only, as every callback runs
/// inside a poll.
final class ClientState {
    let observer: KafkaObserver
    /// The newest error of a connection, for the message when nothing answers in time.
    var connectionError: KafkaError?
    /// The newest log line about a lost connection: newer librdkafka tells some reasons nowhere else.
    var connectionLog: String?
    /// A connection that had been up was lost: whoever was at its other end may have forgotten what it was about to do.
    ///
    /// Seen by librdkafka's own words, the only place where it tells such a loss from an address that does not answer.
    var hasLostConnection = false
    /// A wrong password or a fatal state: no use in waiting any longer.
    var refusal: KafkaError?
    var delivered = 0
    var failed = 0
    var firstFailure: KafkaError?
    /// The topic whose newest delivered offset is kept.
    var trackedTopic: OpaquePointer?
    var trackedOffset: Int64 = -1
    /// Partitions that records since the last reset were sent to, with the newest confirmed offset or -1: few, so that
    /// a search costs less than hashing.
    private(set) var touched: [(topic: OpaquePointer, partition: Int32, offset: Int64)] = []
    private var lastTouched = 0

    func touch(_ topic: OpaquePointer, _ partition: Int32, _ offset: Int64) {
        if lastTouched >= touched.count || touched[lastTouched].topic != topic
            || touched[lastTouched].partition != partition
        {
            if let index = touched.firstIndex(where: { $0.topic == topic && $0.partition == partition }) {
                lastTouched = index
            } else {
                lastTouched = touched.count
                touched.append((topic, partition, -1))
            }
        }
        touched[lastTouched].offset = max(touched[lastTouched].offset, offset)
    }

    func resetTouched() { touched.removeAll(keepingCapacity: true) }

    init(observer: KafkaObserver) { self.observer = observer }

    func note(_ error: KafkaError) {
        if error.isFatal || error.kind == .authentication {
            if refusal == nil { refusal = error }
        } else if error.code != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN.rawValue {
            connectionError = error
            noteConnection(error.text)
        }
        observer.error(error)
    }

    func note(level: Int, facility: String, text: String) {
        // Says that a property is meant for the other kind of client: one file of settings serves both on purpose.
        if facility == "CONFWARN" { return }
        if facility == "FAIL" {
            connectionLog = text
            noteConnection(text)
        }
        observer.log(KafkaLogLine(level: level, facility: facility, text: text))
    }

    private func noteConnection(_ text: String) { if text.contains("in state UP") { hasLostConnection = true } }
}

/// A librdkafka instance and the state its callbacks write to.
///
/// The state is retained for librdkafka until after `rd_kafka_destroy`: an unretained pointer was seen to be freed by
/// ARC before the last callback.
final class ClientHandle {
    let rk: OpaquePointer
    let state: ClientState
    private let retained: Unmanaged<ClientState>
    private var isOpen = true

    /// - Parameter events: with it, errors, logs and statistics arrive as events on the main queue; without, through
    ///   callbacks from ``poll(milliseconds:)``.
    init(
        _ type: rd_kafka_type_t,
        _ configuration: KafkaConfiguration,
        defaults: [(String, String)] = [],
        optional: [(String, String)] = [],
        fixed: [(String, String)] = [],
        events: Int32? = nil,
        observer: KafkaObserver
    ) throws(KafkaError) {
        try KafkaLibrary.check(configuration, transactions: fixed.contains { $0.0 == "transactional.id" })
        let conf = try configuration.makeConf(
            // librdkafka's own 10 s would keep a client away that long after the broker is back.
            defaults: [("reconnect.backoff.max.ms", "2000")] + defaults,
            optional: optional,
            // Without the lines about closed connections nobody would hear that one was lost, as the producers' rule needs.
            fixed: fixed + [("log.queue", "true"), ("log.connection.close", "true")]
                + KafkaLibrary.pinnedRetries(configuration, defaults: defaults)
        )
        let state = ClientState(observer: observer)
        // Balanced in close(), after rd_kafka_destroy has returned.
        let retained = Unmanaged.passRetained(state)
        rd_kafka_conf_set_opaque(conf, retained.toOpaque())
        if let events {
            rd_kafka_conf_set_events(conf, events)
        } else {
            ClientHandle.setCallbacks(conf)
        }
        if type == RD_KAFKA_PRODUCER { ClientHandle.setDeliveryCallback(conf) }
        var reason = [CChar](repeating: 0, count: 512)
        guard let rk = rd_kafka_new(type, conf, &reason, reason.count) else {
            rd_kafka_conf_destroy(conf)
            retained.release()
            throw KafkaError(.configuration, "make a Kafka client", string(reason))
        }
        self.rk = rk
        self.state = state
        self.retained = retained
        rd_kafka_set_log_queue(rk, nil)
    }

    deinit { close() }

    /// Serves callbacks; any thread but librdkafka's own, one at a time.
    func poll(milliseconds: Int32 = 0) { rd_kafka_poll(rk, milliseconds) }

    func close(flags: Int32 = 0) {
        if !isOpen { return }
        isOpen = false
        // librdkafka 2.0.2 never ends a consumer whose topic was deleted while it was read. Then it is left as it is, with what its
        // threads may still call: who closes it is about to leave.
        if Destruction.isDone(rk, flags, milliseconds: closeMilliseconds) { retained.release() }
    }

    /// Longest wait for a client to end.
    var closeMilliseconds: Int { state.observer.isEndWanted() ? 1000 : 10_000 }

    /// The error behind `_FATAL`, which only says that there is one.
    func fatalError(_ operation: String) -> KafkaError? {
        var reason = [CChar](repeating: 0, count: 512)
        let code = rd_kafka_fatal_error(rk, &reason, reason.count)
        if code == RD_KAFKA_RESP_ERR_NO_ERROR { return nil }
        return KafkaError(code: code, operation, text: string(reason), isFatal: true)
    }

    /// Repeats a call with short timeouts until it answers, a refusal arrives as an event, an end is wanted, or the time is over.
    ///
    /// Only events name a wrong password; the calls themselves just time out.
    ///
    /// - Parameter call: one attempt of at most the given milliseconds; nil when it succeeded.
    func insist(
        _ operation: String,
        milliseconds: Int,
        serve: (() throws(KafkaError) -> Void)? = nil,
        _ call: (Int32) throws(KafkaError) -> KafkaError?
    ) throws(KafkaError) {
        let deadline = Clock.milliseconds() + Double(milliseconds)
        while true {
            try state.observer.requireNoEnd(operation)
            let left = deadline - Clock.milliseconds()
            let error = try call(Int32(max(1, min(250, left))))
            if let serve { try serve() } else { poll() }
            guard let error else { return }
            if let refusal = state.refusal {
                var refusal = refusal
                refusal.operation = operation
                throw refusal
            }
            if error.disposition != .retry { throw error }
            if Clock.milliseconds() >= deadline {
                var last = state.connectionError ?? error
                last.operation = operation
                let heard = state.connectionError?.text ?? state.connectionLog ?? error.text
                last.text = "no answer within \(Double(milliseconds) / 1000) s; last heard: \(heard)"
                last.kind = .unreachable
                throw last
            }
            // Errors that come back at once must not turn this into a busy loop.
            if left - (deadline - Clock.milliseconds()) < 20 { Clock.sleep(milliseconds: 20) }
        }
    }

    private static func setCallbacks(_ conf: OpaquePointer) {
        rd_kafka_conf_set_error_cb(conf) { rk, code, reason, opaque in
            guard let opaque, let rk else { return }
            let state = Unmanaged<ClientState>.fromOpaque(opaque).takeUnretainedValue()
            state.note(clientError(rk, rd_kafka_resp_err_t(code), reason.map { String(cString: $0) }))
        }
        rd_kafka_conf_set_log_cb(conf) { rk, level, facility, text in
            guard let rk, let opaque = rd_kafka_opaque(rk), let facility, let text else { return }
            Unmanaged<ClientState>.fromOpaque(opaque).takeUnretainedValue()
                .note(level: Int(level), facility: String(cString: facility), text: String(cString: text))
        }
        rd_kafka_conf_set_stats_cb(conf) { _, json, count, opaque in
            guard let opaque, let json else { return 0 }
            Unmanaged<ClientState>.fromOpaque(opaque).takeUnretainedValue().observer
                .statistics(UnsafeRawBufferPointer(start: json, count: count))
            return 0
        }
    }

    private static func setDeliveryCallback(_ conf: OpaquePointer) {
        rd_kafka_conf_set_dr_msg_cb(conf) { _, message, opaque in
            guard let opaque, let message else { return }
            let state = Unmanaged<ClientState>.fromOpaque(opaque).takeUnretainedValue()
            let isDelivered = message.pointee.err == RD_KAFKA_RESP_ERR_NO_ERROR
            // One that failed may have been written all the same, unless it was never sent.
            if let topic = message.pointee.rkt, message.pointee.partition >= 0,
                isDelivered || rd_kafka_message_status(message) != RD_KAFKA_MSG_STATUS_NOT_PERSISTED
            {
                state.touch(topic, message.pointee.partition, isDelivered ? message.pointee.offset : -1)
            }
            if isDelivered {
                state.delivered += 1
                if let tracked = state.trackedTopic, tracked == message.pointee.rkt {
                    state.trackedOffset = max(state.trackedOffset, message.pointee.offset)
                }
                return
            }
            state.failed += 1
            // A purge is our own doing and comes after what caused it.
            if state.firstFailure == nil {
                let topic = message.pointee.rkt.map { String(cString: rd_kafka_topic_name($0)) } ?? "?"
                let code = message.pointee.err
                let reason = String(cString: rd_kafka_err2str(code))
                state.firstFailure = KafkaError(
                    code: code,
                    "deliver to \(topic)",
                    text: "\(reason) (topic \(topic), record of \(message.pointee.len) bytes)",
                    requiresAbort: true
                )
            }
        }
    }
}

/// An error event or callback as a typed error; `_FATAL` is replaced by what is behind it.
func clientError(_ rk: OpaquePointer, _ code: rd_kafka_resp_err_t, _ text: String?) -> KafkaError {
    if code == RD_KAFKA_RESP_ERR__FATAL {
        var reason = [CChar](repeating: 0, count: 512)
        let real = rd_kafka_fatal_error(rk, &reason, reason.count)
        return KafkaError(code: real, "run the client", text: string(reason), isFatal: true)
    }
    return KafkaError(code: code, "talk to the broker", text: text)
}
