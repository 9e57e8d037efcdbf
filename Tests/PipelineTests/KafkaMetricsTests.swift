import ExpositionFormat
import KafkaClient
import KafkaTestBroker
import Synchronization
import Telemetry
import Testing
import Waiting

@testable import Pipeline

@Suite(.serialized, .enabled(if: TestBroker.isAvailable, "\(TestBroker.absence)"))
struct KafkaMetricsTests {
    @Test func `on a real broker the statistics tell the lag of the input and the messages of both directions`() throws
    {
        let input = TestBroker.unique("input")
        let journal = TestBroker.unique("journal")
        let registry = MetricsRegistry()
        let metrics = KafkaMetrics(registry, inputs: [input])
        let names = Mutex(Set<String>())
        var options = KafkaLog.Options(application: TestBroker.unique("app"))
        options.journalTopic = journal
        options.statisticsMilliseconds = 100
        options.observer = KafkaObserver(statistics: { json in
            metrics.observe(json)
            if let statistics = KafkaStatistics(json: json) {
                names.withLock { _ = $0.insert(statistics.name) }
            }
        })
        let log = try KafkaLog(configuration: try TestBroker.configuration(), options: options)
        defer { log.close() }
        try log.create([TopicRequirement(name: input, partitions: 1), TopicRequirement(name: journal, partitions: 1)])
        var batch = OutputBatch(topics: [input, journal])
        for i in 0..<500 { batch.append(topic: 0, key: nil, value: { $0 += Array("\(i)".utf8) }) }
        try log.append(batch)
        try log.writer.takeOwnership()
        let source = TopicPartition(input, 0)
        try log.assign([SourcePosition(source: source, next: 0)])

        var next: Int64 = 0
        /// Serves the log until the lag is so, as far as patience goes.
        func serve(untilLag lag: ClosedRange<Int>) throws {
            let deadline = ContinuousClock.now + .seconds(Waiting.limit)
            repeat {
                try log.wait(milliseconds: 20)
                metrics.refresh(committed: [SourcePosition(source: source, next: next)])
            } while !lag.contains(metrics.largestLag ?? -1) && ContinuousClock.now < deadline
            #expect(lag.contains(metrics.largestLag ?? -1), "\(metrics.largestLag ?? -1) is not in \(lag)")
        }
        func read(to end: Int64) throws {
            let deadline = ContinuousClock.now + .seconds(Waiting.limit)
            while next < end, ContinuousClock.now < deadline {
                next = try log.poll(source: 0, limit: Int(end - next)) { _ in true }
                try log.wait(milliseconds: 5)
            }
        }
        try serve(untilLag: 500...500)
        try read(to: 100)
        try serve(untilLag: 400...400)
        try read(to: 500)
        try serve(untilLag: 0...0)

        batch.removeAll()
        batch.append(topic: 1, key: nil, value: { $0 += JournalRecord.stub(0) })
        batch.epochs = 0...0
        try log.writer.commit(batch, positions: [SourcePosition(source: source, next: next)])
        let sent = "weir_kafka_messages_total{direction=\"sent\"}"
        try Waiting.until {
            try log.wait(milliseconds: 20)
            return ExpositionChecker(registry.render()).samples[sent] == 3 && names.withLock { $0.count } >= 3
        }

        let text = ExpositionChecker(registry.render())
        #expect(text.problems == [])
        #expect(text.samples["weir_input_lag_records{partition=\"0\",topic=\"\(input)\"}"] == 0)
        #expect(text.samples["weir_input_unstable_records{partition=\"0\",topic=\"\(input)\"}"] == 0)
        #expect(text.samples["weir_brokers_up"] == 1)
        let contact = text.samples["weir_last_contact_timestamp_seconds"] ?? 0
        #expect(abs(contact - Double(Log.wallClockMilliseconds()) / 1000) < 60)
        #expect(text.samples["weir_kafka_messages_total{direction=\"received\"}"] == 500)
        // The epoch, and when ownership was taken a probe of the journal by each of the two transactional ids.
        #expect(text.samples[sent] == 3)
        #expect((text.samples["weir_kafka_broker_rtt_seconds"] ?? 0) > 0)
        #expect(text.samples["weir_kafka_transaction_errors"] == 0)
        #expect(log.writer.counters == LogCounters())
        // Clients that are only asked now and then would pile reports up: they make none.
        let reporters = names.withLock { $0 }
        #expect(reporters.count { $0.contains("#consumer-") } == 1, "\(reporters)")
        #expect(reporters.count { $0.contains("#producer-") } == 2, "\(reporters)")
    }
}
