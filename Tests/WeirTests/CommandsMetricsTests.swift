import ExpositionFormat
import Foundation
import Synchronization
import Telemetry
import Testing

@testable import Pipeline
@testable import weir

/// Lines of a log in memory.
private final class LogLines: Sendable {
    private let lines = Mutex<[String]>([])
    var all: [String] { lines.withLock { $0 } }
    var log: Log {
        Log(format: .logfmt, now: { 0 }) { line in
            self.lines.withLock { $0.append(String(decoding: line, as: UTF8.self)) }
        }
    }
}

@Suite struct CommandsMetricsTests {
    private let folder: Commands.Folder
    private let deployment: Deployment
    private let registry = MetricsRegistry()
    private let metrics: WorkerMetrics
    private let lines = LogLines()

    init() throws {
        folder = try Commands.Folder()
        deployment = try Deployment(folder: Commands.topology("quickstart"))
        metrics = WorkerMetrics(registry, deployment)
    }

    private func reporter(_ file: String?) -> MetricsReporter {
        MetricsReporter(registry, metrics, nil, file: file, telemetry: lines.log)
    }

    /// Judges the sample orders on an embedded log.
    private func judgeSamples() throws -> EpochCounts {
        let log = try EmbeddedLog(path: folder.path("shop.db"), application: "weir-quickstart")
        defer { log.close() }
        try log.create([TopicRequirement(name: "orders", partitions: 1)])
        let samples = try String(
            contentsOfFile: Commands.topology("quickstart") + "/samples/orders.jsonl",
            encoding: .utf8
        )
        for line in samples.split(separator: "\n") {
            try Commands.append(log, "orders", key: nil, value: Array(line.utf8))
        }
        let worker = Worker(deployment, log: log, threads: 1, metrics: metrics)
        try worker.run { worker.isReady }
        return worker.counts
    }

    @Test func `the metrics file appears as a whole and holds at the end what was counted`() throws {
        let file = folder.path("weir.prom")
        let reporter = reporter(file)
        reporter.start()
        var text = ExpositionChecker(Array(try folder.text("weir.prom").utf8))
        #expect(text.problems == [])
        #expect(
            text.samples["weir_events_consumed_total{topic=\"orders\"}"] == 0,
            "every series is there from the start"
        )
        let counts = try judgeSamples()
        reporter.stop()
        text = ExpositionChecker(Array(try folder.text("weir.prom").utf8))
        #expect(text.problems == [])
        #expect(counts.records > 0)
        #expect(text.samples["weir_events_consumed_total{topic=\"orders\"}"] == Double(counts.records))
        #expect(
            text.samples["weir_rule_hits_total{mode=\"live\",rule=\"order_burst\"}"] == Double(counts.verdicts)
        )
        #expect(text.samples["weir_verdicts_total{decision=\"review\"}"] == Double(counts.verdicts))
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.url.path)
        #expect(!names.contains { $0.hasSuffix(".tmp") })
        #expect(lines.all == [])
    }

    @Test func `a metrics file that cannot be written at the start is warned of, and the work begins`() {
        let reporter = reporter("/nowhere/weir.prom")
        reporter.start()
        reporter.stop()
        #expect(lines.all.count == 1)
        #expect(
            lines.all.first?.contains("level=warn msg=\"metrics cannot be written\" file=/nowhere/weir.prom") == true
        )
    }

    @Test func `a link in the metrics file's place is replaced and not followed`() throws {
        let secret = try folder.write("secret", "mine")
        try FileManager.default.createSymbolicLink(
            atPath: folder.path("weir.prom"),
            withDestinationPath: folder.path("secret")
        )
        let reporter = reporter(folder.path("weir.prom"))
        reporter.start()
        reporter.stop()
        _ = secret
        #expect(try folder.text("secret") == "mine")
        #expect(try folder.text("weir.prom").contains("weir_ready 0"))
        let mode = try FileManager.default.attributesOfItem(atPath: folder.path("weir.prom"))[.posixPermissions]
        #expect(mode as? Int == 0o644)
    }

    @Test func `an outage is told once when it has lasted 15 seconds, and once when it is over`() {
        var watch = OutageWatch()
        var reading = WorkerSignals.Reading()
        // Before it judges nothing is told.
        #expect(watch.look(reading, contactAge: 100, now: 0) == [])
        reading.phase = .judging
        #expect(watch.look(reading, contactAge: nil, now: 0) == [], "there are no brokers")
        #expect(watch.look(reading, contactAge: 14.9, now: 0) == [])
        // The commit that waits for the brokers is no outage of its own.
        reading.commitAge = 16
        #expect(watch.look(reading, contactAge: 15, now: 15_000) == [.began(.contact, seconds: 15)])
        #expect(watch.look(reading, contactAge: 60, now: 60_000) == [])
        #expect(watch.look(reading, contactAge: 1, now: 61_000) == [.ended(.contact, seconds: 61)])
        #expect(watch.look(reading, contactAge: 1, now: 62_000) == [.began(.commit, seconds: 16)])
        reading.commitAge = nil
        #expect(watch.look(reading, contactAge: 1, now: 63_000) == [.ended(.commit, seconds: 17)])
        reading.turnAge = 20
        #expect(watch.look(reading, contactAge: 1, now: 64_000) == [.began(.turn, seconds: 20)])
    }

    @Test func `a worker is ready while it judges, goes round, commits and hears of brokers`() {
        var reading = WorkerSignals.Reading()
        for phase in [WorkerSignals.Phase.starting, .recovering, .ended] {
            reading.phase = phase
            #expect(!reading.isWell(contactAge: 0))
        }
        reading.phase = .judging
        #expect(reading.isWell(contactAge: nil) && reading.isWell(contactAge: 9) && !reading.isWell(contactAge: 10))
        reading.commitAge = 14
        #expect(reading.isWell(contactAge: nil))
        reading.commitAge = 15
        #expect(!reading.isWell(contactAge: nil))
        reading.commitAge = nil
        reading.turnAge = 15
        #expect(!reading.isWell(contactAge: nil))
    }

    @Test func `a metrics file that can no longer be written is said once, and the work goes on`() throws {
        let reporter = reporter(folder.path("gone/weir.prom"))
        try FileManager.default.createDirectory(atPath: folder.path("gone"), withIntermediateDirectories: false)
        reporter.start()
        try FileManager.default.removeItem(atPath: folder.path("gone"))
        reporter.stop()
        reporter.stop()
        #expect(lines.all.count == 1)
        #expect(lines.all.first?.contains("metrics cannot be written") == true)
    }

    @Test func `the line of progress tells rates, lag and the commits of its own time`() throws {
        let reporter = reporter(nil)
        reporter.report(seconds: 60)
        let counts = try judgeSamples()
        reporter.report(seconds: 2)
        reporter.report(seconds: 2)
        #expect(lines.all.count == 3)
        let first = try #require(lines.all.first)
        #expect(first.contains("msg=progress events_per_second=0.0"))
        #expect(first.contains("consumer_lag=none watermark_lag_seconds=unknown commit_p99_seconds=none"))
        #expect(lines.all[1].contains("events_per_second=\(Double(counts.records) / 2)"))
        #expect(!lines.all[1].contains("commit_p99_seconds=none"))
        #expect(lines.all[2].contains("events_per_second=0.0"))
        #expect(lines.all[2].contains("commit_p99_seconds=none"))
        #expect(first.contains("uncommitted=0 late=0 dead_letters=0 undetermined=0 ready=false"))
    }

    @Test func `what came late is told by topic, once`() throws {
        let reporter = reporter(nil)
        _ = try judgeSamples()
        reporter.report(seconds: 1)
        let log = try EmbeddedLog(path: folder.path("shop.db"), application: "weir-quickstart")
        defer { log.close() }
        for n in 0..<2 {
            let old = "{\"id\":\"old\(n)\",\"ts\":1600000000000,\"account\":\"a\",\"amount\":1}"
            try Commands.append(log, "orders", key: nil, value: Array(old.utf8))
        }
        let worker = Worker(deployment, log: log, threads: 1, metrics: metrics)
        try worker.run { worker.isReady }
        #expect(worker.counts.late == 2)
        for _ in 0..<2 { reporter.report(seconds: 1) }
        let told = lines.all.filter { $0.contains("times=") && !$0.contains("times=none") }
        #expect(told.count == 1 && told.first?.contains("times=\"orders: 2 late\"") == true, "\(lines.all)")
    }

    @Test func `partitions that nobody reads are told once, and again when they are more`() throws {
        let kafka = KafkaMetrics(registry, inputs: ["orders"])
        let reporter = MetricsReporter(registry, metrics, kafka, file: nil, telemetry: lines.log)
        for partitions in [
            "\"0\":{\"desired\":true}", "\"0\":{\"desired\":true},\"1\":{\"desired\":false}",
            "\"0\":{\"desired\":true},\"1\":{},\"2\":{}",
        ] {
            let report =
                "{\"name\":\"w\",\"type\":\"consumer\",\"topics\":{\"orders\":{\"partitions\":{\(partitions)}}}}"
            Array(report.utf8).withUnsafeBytes { kafka.observe($0) }
            for _ in 0..<2 { reporter.tellUnread() }
        }
        #expect(lines.all.count == 2, "\(lines.all)")
        #expect(lines.all.first?.contains("level=info") == true)
        #expect(lines.all.first?.contains("partitions=orders/1\n") == true, "\(lines.all)")
        #expect(lines.all.last?.contains("partitions=\"orders/1, orders/2\"") == true, "\(lines.all)")
    }

    @Test func `the page for operators names every metric of a run, and no other`() throws {
        _ = KafkaMetrics(registry, inputs: [])
        _ = SnapshotMetrics(registry)
        // Some are there only with what they count.
        let quickstart = try String(contentsOfFile: Commands.topology("quickstart") + "/topology.yaml", encoding: .utf8)
        let deduped = quickstart.replacing("    id: id\n", with: "    id: id\n    dedupe: { by: id, over: 1h }\n")
        _ = try folder.write("deduped/topology.yaml", deduped)
        _ = WorkerMetrics(registry, try Deployment(folder: folder.path("deduped")))
        metrics.refresh()
        let made = Set(
            String(decoding: registry.render(), as: UTF8.self).split(separator: "\n").filter { $0.hasPrefix("# TYPE ") }
                .map { String($0.split(separator: " ")[2]) }
        ).union([
            "weir_watermark_lag_seconds", "weir_input_lag_records", "weir_input_unstable_records",
            "weir_kafka_unread_partitions", "weir_brokers_up", "weir_last_contact_timestamp_seconds",
            "weir_heartbeat_timestamp_seconds", "weir_last_committed_epoch",
            "weir_dlq_records_total",
            "weir_field_values_total",
            "weir_rule_undetermined_total",
        ])
        let page = try String(
            contentsOf: Commands.root.appendingPathComponent("Sources/weir/README.md"),
            encoding: .utf8
        )
        let rows = page.split(separator: "\n").filter { $0.hasPrefix("| `weir_") }
        let named = Set(rows.map { String($0.dropFirst(3).prefix { $0 != "`" && $0 != "{" }) })
        #expect(named == made)
    }
}
