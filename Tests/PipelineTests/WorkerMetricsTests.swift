import Detection
import ExpositionFormat
import KafkaClient
import Synchronization
import Telemetry
import Testing

@testable import Pipeline

/// Time that stands where it was put.
private final class FixedClock: WorkerClock {
    private let time: Atomic<Int64>
    init(_ milliseconds: Int64) { time = Atomic(milliseconds) }
    func set(_ milliseconds: Int64) { time.store(milliseconds, ordering: .relaxed) }
    var now: Duration { .milliseconds(time.load(ordering: .relaxed)) }
    var wallMilliseconds: Int64 { time.load(ordering: .relaxed) }
    func pause(for duration: Duration) {}
}

/// A shop with orders and log-ins, two rules (one in shadow), and a store of its records.
private final class MeteredShop {
    let folder: TemporaryFolder
    let store = SimulatedStore(transactionMarkers: true)
    let deployment: Deployment

    init() throws {
        folder = TemporaryFolder()
        folder.makeFolder("rules")
        folder.write(
            """
            topology: metered
            version: 1
            time: { lateness: 1m }
            events:
              order:
                topic: orders
                time: ts
                id: id
                subject: account
                fields:
                  id: string
                  ts: { type: timestamp, format: ms }
                  account: { type: string, entity: account }
                  amount: { type: money, scale: 2 }
                  coupon: string
              login:
                topic: logins
                time: ts
                subject: account
                emit: all
                fields:
                  ts: { type: timestamp, format: ms }
                  account: { type: string, entity: account }
            """,
            "topology.yaml"
        )
        folder.write(
            """
            rule dear "A dear order" {
              owner "t" severity high
              on order
              when amount > 10000
              then review, score +40
              because "{amount}"
            }
            rule burst "Many orders in an hour" {
              owner "t" severity low mode shadow
              on order
              let orders = count() of order by account over 1h
              when orders > 1000
              then review, score +1
              because "{orders}"
            }
            rule couponed "An order with the coupon" {
              owner "t" severity low mode shadow
              on order
              when coupon == "FREE"
              then block, score +10
              because "a coupon"
            }
            """,
            "rules/a.weir"
        )
        deployment = try Deployment(folder: folder.path)
        try SimulatedLog(store).create([
            TopicRequirement(name: "orders", partitions: 2), TopicRequirement(name: "logins", partitions: 1),
        ])
    }

    func append(_ topic: String, _ json: String, partition: Int32 = 0) {
        store.append(TopicPartition(topic, partition), key: nil, value: Array(json.utf8))
    }

    /// Lets a worker judge what is there; returns it and the registry's text.
    func judge(_ registry: MetricsRegistry, epochRecords: Int = 4096) throws -> (
        worker: Worker, text: ExpositionChecker
    ) {
        let log = SimulatedLog(store)
        var options = WorkerOptions()
        options.epochRecords = epochRecords
        let metrics = WorkerMetrics(registry, deployment)
        let worker = Worker(deployment, log: log, threads: 2, options: options, metrics: metrics)
        var asked = 0
        // Stops when all is read, and is asked again until then.
        try worker.run {
            asked += 1
            return asked > 200
        }
        metrics.refresh()
        return (worker, ExpositionChecker(registry.render()))
    }
}

@Suite struct WorkerMetricsTests {
    @Test func `the registry holds what the worker counted, and Prometheus can read it`() throws {
        let shop = try MeteredShop()
        let start: Int64 = 1_700_000_000_000
        for i in 0..<300 as Range<Int64> {
            let coupon = i % 3 == 0 ? "" : ",\"coupon\":\"\(i % 3 == 1 ? "FREE" : "NONE")\""
            shop.append(
                "orders",
                "{\"id\":\"\(i)\",\"ts\":\(start + i * 1000),\"account\":\"a\(i % 7)\",\"amount\":\(i)\(coupon)}",
                partition: Int32(i % 2)
            )
        }
        for i in 0..<20 as Range<Int64> {
            shop.append("logins", "{\"ts\":\(start + i * 15_000),\"account\":\"a\(i % 7)\"}")
        }
        for _ in 0..<3 { shop.append("orders", "no json", partition: 1) }
        shop.append("orders", "{\"id\":\"x\",\"ts\":5,\"account\":\"a\",\"amount\":1}")
        shop.append("logins", "{\"ts\":\(start)}")
        let registry = MetricsRegistry()
        let (worker, text) = try shop.judge(registry, epochRecords: 64)
        let counts = worker.counts

        #expect(text.problems == [])
        #expect(counts.records == 325)
        let samples = text.samples
        func sum(_ name: String) -> Int64 {
            Int64(samples.filter { $0.key == name || $0.key.hasPrefix(name + "{") }.reduce(0) { $0 + $1.value })
        }
        #expect(sum("weir_events_consumed_total") == counts.records)
        #expect(samples["weir_events_consumed_total{topic=\"orders\"}"] == 304)
        #expect(samples["weir_events_consumed_total{topic=\"logins\"}"] == 21)
        #expect(sum("weir_verdicts_total") == counts.verdicts)
        #expect(sum("weir_silent_total") == counts.silent)
        #expect(sum("weir_dlq_records_total") == counts.deadLetters)
        #expect(sum("weir_late_events_total") == counts.late)
        #expect(
            sum("weir_verdicts_total") + sum("weir_silent_total") + sum("weir_dlq_records_total") == counts.records
        )
        #expect(samples["weir_dlq_records_total{code=\"invalid_json\",topic=\"orders\"}"] == 3)
        #expect(samples["weir_dlq_records_total{code=\"timestamp_out_of_range\",topic=\"orders\"}"] == 1)
        #expect(sum("weir_dlq_records_total") == 5 || counts.late > 0)

        // What was said, from the verdicts themselves.
        let said = (0..<4).flatMap { shop.store.records(of: TopicPartition("weir.verdicts", $0)) }
            .map { String(decoding: $0.value ?? [], as: UTF8.self) }
        #expect(Int64(said.count) == counts.verdicts)
        for decision in ["allow", "tag", "review", "challenge", "block"] {
            let expected = said.count { $0.contains("\"decision\":\"\(decision)\",\"score\"") }
            #expect(samples["weir_verdicts_total{decision=\"\(decision)\"}"] == Double(expected), "\(decision)")
        }
        #expect(samples["weir_rule_hits_total{mode=\"live\",rule=\"dear\"}"] == 199 - late(counts))
        #expect(samples["weir_rule_hits_total{mode=\"shadow\",rule=\"couponed\"}"] == 100 - late(counts))
        #expect((samples["weir_rule_undetermined_total{lacks=\"coupon\",rule=\"couponed\"}"] ?? 0) > 0)
        #expect(!samples.keys.contains { $0.hasPrefix("weir_rule_undetermined_total") && $0.contains("dear") })
        #expect(
            samples["weir_field_values_total{event=\"order\",field=\"coupon\",state=\"missing\"}"]
                == samples["weir_rule_undetermined_total{lacks=\"coupon\",rule=\"couponed\"}"]
        )
        #expect(
            samples["weir_rule_excepted_total{rule=\"dear\"}"] == 0
                && samples["weir_rule_cut_total{rule=\"dear\"}"] == 0
        )

        let journal = shop.store.records(of: TopicPartition("weir.journal", 0)).count
        #expect(sum("weir_epochs_total") == Int64(journal))
        #expect(samples["weir_epoch_seconds_count"] == Double(journal))
        #expect(samples["weir_transactions_total{result=\"committed\"}"] == Double(worker.transactions))
        #expect(samples["weir_transactions_total{result=\"failed\"}"] == 0)
        #expect(samples["weir_commit_seconds_count"] == Double(worker.transactions))
        #expect(samples["weir_state_bytes"] == Double(worker.stateBytes))
        #expect(samples["weir_replay_events_total"] == 0)
        #expect((samples["weir_resident_memory_bytes"] ?? 0) > 1_000_000)
        #expect((samples["weir_last_record_processed_timestamp_seconds"] ?? 0) > 1_700_000_000)
        #expect((samples["weir_watermark_lag_seconds"] ?? 0) > 0)
        #expect(samples.contains { $0.key.hasPrefix("weir_build_info{") && $0.value == 1 })
        // Accounts appear in no label.
        #expect(!samples.keys.contains { $0.contains("\"a1\"") })
    }

    /// Nothing is late in this traffic: the sources are read in step and lateness is a minute.
    private func late(_ counts: EpochCounts) -> Double {
        #expect(counts.late == 0, "the counts of rules below assume it")
        return 0
    }

    @Test func `a restart counts what it judges again apart from what is new`() throws {
        let shop = try MeteredShop()
        let start: Int64 = 1_700_000_000_000
        for i in 0..<50 as Range<Int64> {
            shop.append("orders", "{\"id\":\"\(i)\",\"ts\":\(start + i),\"account\":\"a\",\"amount\":500}")
        }
        _ = try shop.judge(MetricsRegistry())
        shop.append("orders", "{\"id\":\"new\",\"ts\":\(start + 60),\"account\":\"a\",\"amount\":500}")
        let (worker, text) = try shop.judge(MetricsRegistry())
        #expect(text.problems == [])
        #expect(worker.counts.records == 1)
        #expect(text.samples["weir_replay_events_total"] == 50)
        #expect(text.samples["weir_events_consumed_total{topic=\"orders\"}"] == 1)
        #expect(text.samples["weir_verdicts_total{decision=\"review\"}"] == 1)
    }

    @Test func `what was given up for lack of room is counted by what it was`() throws {
        let registry = MetricsRegistry()
        let metrics = WorkerMetrics(registry, try MeteredShop().deployment)
        func samples() -> [String: Double] {
            let text = ExpositionChecker(registry.render())
            #expect(text.problems == [])
            return text.samples
        }
        let names = [
            "weir_window_keys", "weir_state_evictions_total", "weir_window_truncations_total",
            "weir_window_out_of_order_total", "weir_window_moved_entries_total",
            "weir_ring_evictions_total{of=\"target\"}",
            "weir_ring_evictions_total{of=\"actor\"}", "weir_ring_evictions_total{of=\"pair\"}",
            "weir_ring_evictions_total{of=\"ring\"}", "weir_ring_members_dropped_total",
        ]
        // All are there from the start, so that an alert on their growth sees the first one.
        #expect(names.map { samples()[$0] } == names.map { _ in 0 })
        var windows = WindowCounters()
        (windows.keys, windows.evictedKeys, windows.truncatedEntries, windows.outOfOrder) = (9, 1, 2, 3)
        windows.movedEntries = 10
        var detectors = DetectorCounters()
        detectors.forgotten = ["target": 4, "actor": 5, "pair": 6, "ring": 7]
        detectors.droppedMembers = 8
        // Totals, so saying them twice changes nothing.
        for _ in 0..<2 { metrics.measure(windows, detectors) }
        #expect(names.map { samples()[$0] } == [9, 1, 2, 3, 10, 4, 5, 6, 7, 8])
    }

    @Test func `events that come out of order for their key are counted`() throws {
        let shop = try MeteredShop()
        let start: Int64 = 1_700_000_000_000
        for i in 0..<200 as Range<Int64> {
            // Every tenth is five seconds older than the one before it: not late, but out of order where epochs are short.
            let time = start + i * 1000 - (i % 10 == 9 ? 5_000 : 0)
            shop.append("orders", "{\"id\":\"\(i)\",\"ts\":\(time),\"account\":\"a\",\"amount\":500}")
        }
        let (worker, text) = try shop.judge(MetricsRegistry(), epochRecords: 1)
        #expect(worker.counts.late == 0)
        #expect(text.samples["weir_window_out_of_order_total"] == 20)
    }

    @Test func `partitions that a consumer knows of and was not assigned are named until they are read`() throws {
        let registry = MetricsRegistry()
        let metrics = KafkaMetrics(registry, inputs: ["orders", "clicks"])
        func observe(_ kind: String, orders: [Bool], others: String = "") throws {
            let partitions = orders.enumerated().map { "\"\($0)\":{\"desired\":\($1)}" }.joined(separator: ",")
            let text =
                "{\"name\":\"w\",\"type\":\"\(kind)\",\"topics\":{\"orders\":{\"partitions\":{\(partitions)}}\(others)}}"
            metrics.observe(try #require(Array(text.utf8).withUnsafeBytes { KafkaStatistics(json: $0) }))
        }
        func count(_ topic: String) -> Double? {
            ExpositionChecker(registry.render()).samples["weir_kafka_unread_partitions{topic=\"\(topic)\"}"]
        }
        #expect(metrics.unreadPartitions == [] && count("orders") == nil)
        // Who only asks about a topic, or writes to it, reads none of it.
        try observe("consumer", orders: [false, false])
        try observe("producer", orders: [true, false])
        #expect(metrics.unreadPartitions == [] && count("orders") == nil)
        try observe("consumer", orders: [true, true])
        #expect(metrics.unreadPartitions == [] && count("orders") == 0)
        let journal = ",\"weir.journal\":{\"partitions\":{\"0\":{\"desired\":true},\"1\":{\"desired\":false}}}"
        try observe("consumer", orders: [true, true, false, false], others: journal)
        #expect(metrics.unreadPartitions == [TopicPartition("orders", 2), TopicPartition("orders", 3)])
        #expect(count("orders") == 2 && count("clicks") == nil && count("weir.journal") == nil)
        try observe("consumer", orders: [true, true, true, true])
        #expect(metrics.unreadPartitions == [] && count("orders") == 0)
    }

    @Test func `reports of several Kafka clients become one set of metrics`() throws {
        func report(_ name: String, _ type: String, _ rest: String) -> KafkaStatistics? {
            Array("{\"name\":\"\(name)\",\"type\":\"\(type)\",\(rest)}".utf8).withUnsafeBytes {
                KafkaStatistics(json: $0)
            }
        }
        let registry = MetricsRegistry()
        let clock = FixedClock(1_000_000)
        let metrics = KafkaMetrics(registry, inputs: ["orders", "clicks"], clock: clock)
        func lag(_ partition: Int) -> String { "weir_input_lag_records{partition=\"\(partition)\",topic=\"orders\"}" }
        #expect(metrics.largestLag == nil)
        let consumer =
            #""txmsgs":1,"rxmsgs":%,"brokers":{"b":{"nodeid":1,"nodename":"b:9092","source":"learned","state":"UP","waitresp_cnt":1,"rxidle":%%,"rtt":{"p50":20000,"cnt":4}}},"topics":{"orders":{"partitions":{"0":{"desired":true,"leader":1,"app_offset":97,"ls_offset":98,"hi_offset":100},"1":{"desired":true,"leader":1,"app_offset":50,"next_offset":52,"fetchq_cnt":0,"ls_offset":57,"hi_offset":57},"-1":{"app_offset":0,"hi_offset":900}}},"weir.journal":{"partitions":{"0":{"desired":true,"leader":1,"app_offset":0,"hi_offset":5000}}}}"#
        for received in ["40", "70"] {
            let text = consumer.replacing("%%", with: "10000").replacing("%", with: received)
            metrics.observe(try #require(report("w#consumer-1", "consumer", text)))
        }
        metrics.observe(
            try #require(
                report(
                    "w#producer-2",
                    "producer",
                    #""txmsgs":7,"rxmsgs":0,"brokers":{"b":{"rtt":{"p50":900,"cnt":2}}},"eos":{"txn_state":"AbortableError"}"#
                )
            )
        )
        let committed = [
            SourcePosition(source: TopicPartition("orders", 0), next: 90),
            SourcePosition(source: TopicPartition("orders", 1), next: 50),
            SourcePosition(source: TopicPartition("clicks", 0), next: 0),
        ]
        metrics.refresh(committed: committed)
        var text = ExpositionChecker(registry.render())
        #expect(text.problems == [])
        #expect(text.samples[lag(0)] == 10, "of the end, and from what is committed instead of what was taken")
        #expect(text.samples[lag(1)] == 5, "what lies between the last record and where fetching stands is a marker")
        #expect(text.samples["weir_input_unstable_records{partition=\"0\",topic=\"orders\"}"] == 2)
        #expect(text.samples["weir_input_lag_records{partition=\"0\",topic=\"clicks\"}"] == nil)
        #expect(text.samples["weir_brokers_up"] == 1)
        #expect(text.samples["weir_last_contact_timestamp_seconds"] == 999.99)
        #expect(!text.samples.keys.contains { $0.contains("journal") })
        #expect(metrics.largestLag == 10)
        #expect(text.samples["weir_kafka_messages_total{direction=\"received\"}"] == 70)
        #expect(text.samples["weir_kafka_messages_total{direction=\"sent\"}"] == 8)
        #expect(text.samples["weir_kafka_broker_rtt_seconds"] == 0.02)
        #expect(text.samples["weir_kafka_transaction_errors"] == 1)
        // The producer is made anew under another name: its figures begin at 0 and add to what was.
        metrics.observe(try #require(report("w#producer-3", "producer", #""txmsgs":2,"eos":{"txn_state":"Ready"}"#)))
        for _ in 0..<40 { metrics.observe(try #require(report("w#consumer-1", "consumer", #""rxmsgs":70"#))) }
        text = ExpositionChecker(registry.render())
        #expect(text.samples["weir_kafka_messages_total{direction=\"sent\"}"] == 10)
        #expect(text.samples["weir_kafka_messages_total{direction=\"received\"}"] == 70)
        #expect(text.samples["weir_kafka_transaction_errors"] == 0, "the closed producer no longer counts")
        // A client goes on reporting what it knew, and no broker has said it for twelve seconds.
        clock.set(1_012_000)
        let frozen = consumer.replacing("%%", with: "12000000").replacing("%", with: "70")
        metrics.observe(try #require(report("w#consumer-1", "consumer", frozen)))
        metrics.refresh(committed: committed)
        text = ExpositionChecker(registry.render())
        #expect(text.problems == [])
        #expect(!text.samples.keys.contains { $0.hasPrefix("weir_input_") }, "a lag that nobody knows is not told")
        #expect(metrics.largestLag == nil)
        #expect(text.samples["weir_brokers_up"] == 0, "it is connected, and leaves a request unanswered")
        #expect(text.samples["weir_last_contact_timestamp_seconds"] == 1000)
    }
}
