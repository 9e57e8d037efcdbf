import KafkaClient
import Synchronization
public import Telemetry

/// librdkafka's statistics as metrics: lag per input topic, round trips, messages, transactions in error.
///
/// Several clients report, one after the other, by ``observe(_:)``. A client that has been silent for a while was closed: it no
/// longer counts.
public final class KafkaMetrics: Sendable {
    /// What one client said last.
    private struct Client {
        var sent = 0
        var received = 0
        var roundTripSeconds: Double?
        var transactionState: String?
        var heard = 0
    }
    /// After so many reports of others a client counts as closed; there are at most about five at a time.
    private static let silence = 32

    private let registry: MetricsRegistry
    private let inputs: Set<String>
    private let patterns: [TopicPattern]
    private let roundTrip: Gauge
    private let sent: Counter
    private let received: Counter
    private let transactionErrors: Gauge
    private struct Reports {
        var clients: [String: Client] = [:]
        var count = 0
        var largestLag: Int?
        /// By input topic, once a consumer has told of it.
        var unread: [String: [Int32]] = [:]
    }
    private let reports = Mutex(Reports())

    /// - Parameter inputs: the topics whose lag counts, or patterns of them.
    public init(_ registry: MetricsRegistry, inputs: [String]) {
        self.registry = registry
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
    }

    private func isInput(_ topic: String) -> Bool {
        inputs.contains(topic) || patterns.contains { $0.matches(topic) }
    }

    /// Takes one client's report; what cannot be read is left aside.
    public func observe(_ json: UnsafeRawBufferPointer) {
        if let statistics = KafkaStatistics(json: json) { observe(statistics) }
    }

    func observe(_ statistics: KafkaStatistics) {
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
            reports.clients[statistics.name] = client
            let now = reports.count
            reports.clients = reports.clients.filter { now - $0.value.heard < KafkaMetrics.silence }
            roundTrip.set(reports.clients.values.compactMap(\.roundTripSeconds).max() ?? 0)
            transactionErrors.set(reports.clients.values.count { $0.transactionState?.hasSuffix("Error") == true })
            if statistics.isProducer { return }
            reports.largestLag = lag(statistics.partitions) ?? reports.largestLag
            for (topic, partitions) in unread(statistics.partitions) { reports.unread[topic] = partitions }
        }
    }

    /// Sets the lag of each input topic that the report names; returns the largest.
    private func lag(_ partitions: [KafkaStatistics.Partition]) -> Int? {
        var byTopic: [String: Int] = [:]
        for partition in partitions where isInput(partition.topic) {
            guard let lag = partition.lag else { continue }
            byTopic[partition.topic] = max(byTopic[partition.topic] ?? 0, Int(lag))
        }
        for (topic, lag) in byTopic {
            // The series begins with the first report: before it the lag is not known, and 0 would say that there is none.
            registry.gauge(
                "weir_kafka_consumer_lag",
                help:
                    "Records not read yet: committed end minus position, in the topic's partition with the most of them.",
                labels: ["topic": topic]
            ).set(lag)
        }
        return byTopic.values.max()
    }

    /// Sets how many partitions of each input topic nobody reads, as they were added after the start; returns which.
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
                    "Partitions that were added to an input topic after the start; they are read from the next one on.",
                labels: ["topic": topic]
            ).set(new.count)
        }
        return unread
    }

    /// Partitions of input topics whose records wait for the next start, as they were added after this one.
    public var unreadPartitions: [TopicPartition] {
        reports.withLock { reports in
            reports.unread.flatMap { topic, partitions in partitions.map { TopicPartition(topic, $0) } }.sorted()
        }
    }

    /// The lag of the input partition furthest behind, records; nil before the first report.
    public var largestLag: Int? { reports.withLock { $0.largestLag } }
}
