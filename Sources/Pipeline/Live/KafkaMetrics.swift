import KafkaClient
import Synchronization
public import Telemetry

/// librdkafka's statistics as metrics: lag per input partition, brokers, round trips, messages, transactions in error.
///
/// Several clients report, one after the other, by ``observe(_:)``. A client that has been silent for a while was closed: it no
/// longer counts. A client goes on reporting when no broker answers, with what it knew last; so nothing counts here that no broker
/// has confirmed for two periods of the reports: what is not known any more is left out.
public final class KafkaMetrics: Sendable {
    /// What one client said last.
    private struct Client {
        var sent = 0
        var received = 0
        var roundTripSeconds: Double?
        var transactionState: String?
        /// Addresses of the brokers that have a connection, and of those that leave a request unanswered.
        var connected: Set<String> = []
        var silent: Set<String> = []
        /// Number of the report, and when it came, in milliseconds since 1970.
        var heard = 0
        var time: Int64 = 0
    }
    /// What is known of one input partition.
    private struct Input {
        var state: KafkaStatistics.Partition
        /// When its broker last answered, in milliseconds since 1970.
        var time: Int64
    }
    /// After so many reports of others a client counts as closed; there are at most about five at a time.
    private static let silence = 32
    /// How often clients report, and after how long what they said is old: two reports.
    public static let reportMilliseconds = 5000
    private static let oldMilliseconds = Int64(2 * reportMilliseconds)

    private let registry: MetricsRegistry
    private let clock: any WorkerClock
    private let inputs: Set<String>
    private let patterns: [TopicPattern]
    private let roundTrip: Gauge
    private let sent: Counter
    private let received: Counter
    private let transactionErrors: Gauge
    private let brokersUp: Gauge
    private let lastContact: Gauge
    private struct Reports {
        var clients: [String: Client] = [:]
        var count = 0
        var inputs: [TopicPartition: Input] = [:]
        var contact: Int64?
        var largestLag: Int?
        /// By input topic, once a consumer has told of it.
        var unread: [String: [Int32]] = [:]
    }
    private let reports = Mutex(Reports())

    /// - Parameter inputs: the topics whose lag counts, or patterns of them.
    public init(_ registry: MetricsRegistry, inputs: [String], clock: any WorkerClock = SystemClock()) {
        self.registry = registry
        self.clock = clock
        self.inputs = Set(inputs)
        patterns = inputs.compactMap { TopicPattern($0) }
        roundTrip = registry.gauge(
            "weir_kafka_broker_rtt_seconds",
            help: "Longest median round trip to a broker; for a consumer with the time an empty fetch is held back."
        )
        func messages(_ direction: String) -> Counter {
            registry.counter(
                "weir_kafka_messages_total",
                help: "Messages sent to and received from the brokers.",
                labels: ["direction": direction]
            )
        }
        sent = messages("sent")
        received = messages("received")
        transactionErrors = registry.gauge(
            "weir_kafka_transaction_errors",
            help: "Transactional producers in an error state at their last report."
        )
        brokersUp = registry.gauge(
            "weir_brokers_up",
            help: "Brokers with a connection that leave no request unanswered for 10 s."
        )
        brokersUp.clear()
        lastContact = registry.gauge(
            "weir_last_contact_timestamp_seconds",
            help: "When a broker last said anything, since 1970; absent before that."
        )
        lastContact.clear()
    }

    private func isInput(_ topic: String) -> Bool {
        inputs.contains(topic) || patterns.contains { $0.matches(topic) }
    }

    /// Takes one client's report; what cannot be read is left aside.
    public func observe(_ json: UnsafeRawBufferPointer) {
        if let statistics = KafkaStatistics(json: json) { observe(statistics) }
    }

    func observe(_ statistics: KafkaStatistics) {
        // Reports wait until their client is served.
        let now = clock.wallMilliseconds
        let time = statistics.time.map { min(now, Int64(max(0, min($0, 1e12)) * 1000)) } ?? now
        reports.withLock { reports in
            reports.count += 1
            var client = reports.clients[statistics.name] ?? Client()
            sent.add(max(0, statistics.messagesSent - client.sent))
            received.add(max(0, statistics.messagesReceived - client.received))
            client.sent = statistics.messagesSent
            client.received = statistics.messagesReceived
            client.roundTripSeconds = statistics.roundTripSeconds ?? client.roundTripSeconds
            client.transactionState = statistics.transactionState
            client.heard = reports.count
            client.time = time
            client.connected = Set(statistics.brokers.filter(\.isConnected).map(\.address))
            client.silent = Set(statistics.brokers.filter(\.isSilent).map(\.address))
            reports.clients[statistics.name] = client
            let count = reports.count
            reports.clients = reports.clients.filter { count - $0.value.heard < KafkaMetrics.silence }
            roundTrip.set(reports.clients.values.compactMap(\.roundTripSeconds).max() ?? 0)
            transactionErrors.set(reports.clients.values.count { $0.transactionState?.hasSuffix("Error") == true })
            var answered: [Int32: Int64] = [:]
            for broker in statistics.brokers {
                guard let silence = broker.silence else { continue }
                let at = time - Int64(min(silence, 1e9) * 1000)
                answered[broker.id] = max(answered[broker.id] ?? .min, at)
                reports.contact = max(reports.contact ?? .min, at)
            }
            if statistics.isProducer { return }
            for partition in statistics.partitions where partition.isAssigned && isInput(partition.topic) {
                guard let at = partition.broker.flatMap({ answered[$0] }) else { continue }
                reports.inputs[TopicPartition(partition.topic, partition.partition)] = Input(state: partition, time: at)
            }
            for (topic, partitions) in unread(statistics.partitions) { reports.unread[topic] = partitions }
        }
    }

    /// Brings up to date what depends on the moment: lag, brokers and contact.
    ///
    /// Call before rendering; any thread may.
    ///
    /// - Parameter committed: where the newest commit left the inputs.
    public func refresh(committed: [SourcePosition]) {
        let now = clock.wallMilliseconds
        reports.withLock { reports in
            var largest: Int?
            for position in committed {
                guard let input = reports.inputs[position.source] else { continue }
                let lag = gauge(
                    "weir_input_lag_records",
                    "Records behind the last committed position: end of the partition minus position; absent when no broker has said it for 10 s.",
                    position.source
                )
                let unstable = gauge(
                    "weir_input_unstable_records",
                    "Records that an open transaction of their producer holds back: end minus last stable offset; absent likewise.",
                    position.source
                )
                guard now - input.time <= KafkaMetrics.oldMilliseconds, let end = input.state.end else {
                    lag.clear()
                    unstable.clear()
                    continue
                }
                let records = Int(max(0, end - input.state.passed(position.next)))
                lag.set(records)
                largest = max(largest ?? 0, records)
                if let stable = input.state.stableEnd { unstable.set(Int(max(0, end - stable))) }
            }
            reports.largestLag = largest
            let fresh = reports.clients.values.filter { now - $0.time <= KafkaMetrics.oldMilliseconds }
            // A client that asks a broker nothing does not notice that it is silent; one that does counts.
            let silent = fresh.reduce(into: Set<String>()) { $0.formUnion($1.silent) }
            let answering = fresh.reduce(into: Set<String>()) { $0.formUnion($1.connected) }.subtracting(silent)
            if reports.clients.isEmpty { brokersUp.clear() } else { brokersUp.set(answering.count) }
            if let contact = reports.contact { lastContact.set(Double(contact) / 1000) }
        }
    }

    private func gauge(_ name: String, _ help: String, _ source: TopicPartition) -> Gauge {
        // The series begins with the first report: before it the value is not known, and 0 would say that there is none.
        registry.gauge(name, help: help, labels: ["topic": source.topic, "partition": String(source.partition)])
    }

    /// Sets how many partitions of each input topic nobody reads, as they were added a moment ago; returns which.
    private func unread(_ partitions: [KafkaStatistics.Partition]) -> [String: [Int32]] {
        var unread: [String: [Int32]] = [:]
        // Whoever reads a topic was assigned all partitions that it had.
        let read = Set(partitions.filter(\.isAssigned).map(\.topic).filter { isInput($0) })
        for topic in read {
            let new = partitions.filter { $0.topic == topic && !$0.isAssigned }.map(\.partition).sorted()
            unread[topic] = new
            registry.gauge(
                "weir_kafka_unread_partitions",
                help:
                    "Partitions of an input topic that nobody reads: those that were added within the last half minute, as a rule.",
                labels: ["topic": topic]
            ).set(new.count)
        }
        return unread
    }

    /// Partitions of input topics that nobody reads yet, as they were added a moment ago.
    public var unreadPartitions: [TopicPartition] {
        reports.withLock { reports in
            reports.unread.flatMap { topic, partitions in partitions.map { TopicPartition(topic, $0) } }.sorted()
        }
    }

    /// The lag of the input partition furthest behind, records, as of the last refresh; nil when nobody knows.
    public var largestLag: Int? { reports.withLock { $0.largestLag } }

    /// When a broker last said anything, in milliseconds since 1970; nil before that.
    public var contactMilliseconds: Int64? { reports.withLock { $0.contact } }
}

extension KafkaStatistics.Broker {
    /// A request has waited for an answer for long.
    ///
    /// A broker of which nothing is asked says nothing, and is well; one that was stopped keeps its connections for a minute.
    fileprivate var isSilent: Bool { isAwaited && silence ?? .infinity > WorkerSignals.contactPatience }
}

extension KafkaStatistics.Partition {
    /// Up to where all is committed: where all that was fetched was taken, and all that was taken is committed, what is between the
    /// last record and where fetching stands is no record.
    fileprivate func passed(_ committed: Int64) -> Int64 {
        guard let fetched, taken ?? .min <= committed, fetched > committed else { return committed }
        return fetched
    }
}
