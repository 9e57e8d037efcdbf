import Synchronization
import Testing

@testable import Telemetry

@Suite struct LogFoldingTests {
    private final class Lines: Sendable {
        private let state = Mutex<(now: Int64, lines: [String])>((0, []))
        let folding = LogFolding(seconds: 60)
        var all: [String] { state.withLock { $0.lines } }
        func at(_ now: Int64) { state.withLock { $0.now = now } }
        var log: Log {
            Log(format: .logfmt, now: { self.state.withLock { $0.now } }) { line in
                self.state.withLock { $0.lines.append(String(decoding: line, as: UTF8.self)) }
            }.folded(by: folding)
        }
    }

    @Test func `a warning that comes seventeen times a second gives two lines a minute, which count them all`() {
        let lines = Lines()
        for n in 0..<(17 * 120) as Range<Int64> {
            lines.at(n * 1000 / 17)
            lines.log.warn("the commit is tried again", ["reason": .string("the disk is full after \(n) ms")])
        }
        lines.folding.flush(at: 120_000, all: true)
        #expect(lines.all.count <= 4, "\(lines.all)")
        let held = lines.all.compactMap { line in
            line.firstRange(of: "times=").flatMap { Int(line[$0.upperBound...].prefix { $0.isNumber }) }
        }
        #expect(lines.all.count - held.count + held.reduce(0, +) == 17 * 120)
        #expect(lines.all.last?.contains("since=1970-01-01T00:0") == true, "\(lines.all)")
    }

    @Test func `lines of another kind, other levels and rare ones are written as they come`() {
        let lines = Lines()
        for n in 0..<3 as Range<Int64> {
            lines.at(n * 61_000)
            lines.folding.flush(at: n * 61_000)
            lines.log.warn("rare", ["text": "same"])
            lines.log.info("told", [:])
            lines.log.error("bad", [:])
        }
        lines.log.warn("rare", ["text": "other"])
        lines.folding.flush(at: 200_000, all: true)
        #expect(lines.all.count == 10 && !lines.all.contains { $0.contains("times=") }, "\(lines.all)")
    }

    @Test func `a gauge that is absent and its family are not in the text, and common labels are on all`() {
        let registry = MetricsRegistry(seriesMax: 2, labels: ["topology": "shop"])
        let gauge = registry.gauge("weir_lag_records", help: "Lag.", labels: ["topic": "orders"])
        gauge.clear()
        registry.counter("weir_events_total", help: "Events.").add(3)
        _ = registry.counter("weir_more_total", help: "More.")
        var text = String(decoding: registry.render(), as: UTF8.self)
        #expect(!text.contains("weir_lag_records"))
        #expect(text.contains("weir_events_total{topology=\"shop\"} 3\n"))
        #expect(text.contains("weir_metrics_dropped_series_total{topology=\"shop\"} 1\n"))
        gauge.set(5)
        text = String(decoding: registry.render(), as: UTF8.self)
        #expect(text.contains("weir_lag_records{topic=\"orders\",topology=\"shop\"} 5\n"))
    }
}
