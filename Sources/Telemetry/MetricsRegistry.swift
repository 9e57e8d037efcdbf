import Synchronization

/// All metrics of a process, and their text in Prometheus' exposition format 0.0.4.
///
/// Instruments are made at set-up with fixed names and labels and are then bumped without any lock; the registry's lock guards
/// creation and rendering only. Asking again for the same name and labels gives the same instrument. Names follow Prometheus'
/// practice: base units, `_total` for counters, `_seconds` for durations, and never an identifier of a person as a label. A wrong
/// name is a mistake in our code, so it is a precondition.
///
/// The number of series is bounded by ``seriesMax``: beyond it an instrument works but is not rendered, and
/// `weir_metrics_dropped_series_total` counts it, so that a flood of label values can exhaust neither us nor the Prometheus server.
///
/// Format: prometheus.io/docs/instrumenting/exposition_formats.
public final class MetricsRegistry: Sendable {
    /// Most series this registry renders.
    public let seriesMax: Int

    /// Labels of every series, such as whose figures they are where several processes' files meet.
    private let common: [(key: String, value: String)]
    private let families = Mutex<[String: Family]>([:])
    private let dropped = Counter()

    private enum Kind: String {
        case counter, gauge, histogram
    }

    private enum Instrument {
        case counter(Counter)
        case gauge(Gauge)
        case histogram(Histogram)
    }

    private struct Family {
        var kind: Kind
        var help: String
        /// By rendered labels, such as `topic="orders"`, which is also their order in the output.
        var series: [String: Instrument] = [:]
    }

    /// An empty registry; `labels` stand on every series, and no instrument may have one of their names.
    public init(seriesMax: Int = 10_000, labels: KeyValuePairs<String, String> = [:]) {
        self.seriesMax = seriesMax
        common = labels.map { ($0.key, $0.value) }
    }

    /// The counter of this name and these labels; the name must end in `_total`.
    public func counter(_ name: String, help: String, labels: KeyValuePairs<String, String> = [:]) -> Counter {
        precondition(name.hasSuffix("_total"), "the name of a counter ends in _total: \(name)")
        let made = instrument(name, .counter, help, labels) { .counter(Counter()) }
        guard case .counter(let counter) = made else { preconditionFailure("\(name) is not a counter") }
        return counter
    }

    /// The gauge of this name and these labels.
    public func gauge(_ name: String, help: String, labels: KeyValuePairs<String, String> = [:]) -> Gauge {
        precondition(!name.hasSuffix("_total"), "only the name of a counter ends in _total: \(name)")
        let made = instrument(name, .gauge, help, labels) { .gauge(Gauge()) }
        guard case .gauge(let gauge) = made else { preconditionFailure("\(name) is not a gauge") }
        return gauge
    }

    /// The histogram of this name and these labels; all of one name share the bounds of the first.
    public func histogram(
        _ name: String,
        help: String,
        bounds: [Double] = Histogram.secondsBounds,
        labels: KeyValuePairs<String, String> = [:]
    ) -> Histogram {
        precondition(
            !["_total", "_bucket", "_sum", "_count"].contains(where: name.hasSuffix),
            "reserved ending: \(name)"
        )
        precondition(!labels.contains { $0.key == "le" }, "le is the histogram's own label: \(name)")
        let made = instrument(name, .histogram, help, labels) { .histogram(Histogram(bounds: bounds)) }
        guard case .histogram(let histogram) = made else { preconditionFailure("\(name) is not a histogram") }
        return histogram
    }

    private func instrument(
        _ name: String,
        _ kind: Kind,
        _ help: String,
        _ labels: KeyValuePairs<String, String>,
        make: () -> Instrument
    ) -> Instrument {
        precondition(MetricsRegistry.isName(name, colon: true), "not a metric name: \(name)")
        let labels = common + labels.map { ($0.key, $0.value) }
        for (label, _) in labels {
            precondition(
                MetricsRegistry.isName(label, colon: false) && !label.hasPrefix("__"),
                "not a label name: \(label)"
            )
        }
        precondition(Set(labels.map(\.key)).count == labels.count, "a label is given twice: \(name)")
        let key = MetricsRegistry.rendered(labels)
        return families.withLock { families in
            var family = families[name] ?? Family(kind: kind, help: help)
            precondition(family.kind == kind, "\(name) is already a \(family.kind.rawValue)")
            if let known = family.series[key] { return known }
            let made = make()
            guard families.values.reduce(0, { $0 + $1.series.count }) < seriesMax else {
                dropped.add()
                return made
            }
            family.series[key] = made
            families[name] = family
            return made
        }
    }

    private static func rendered(_ labels: [(key: String, value: String)]) -> String {
        labels.sorted { $0.key < $1.key }.map { "\($0.key)=\"\(escapedLabel($0.value))\"" }.joined(separator: ",")
    }

    /// All metrics as UTF-8 text, sorted by name and labels, so that two renderings are easy to compare.
    ///
    /// Values of different series are read one after the other while others write: each is right by itself.
    public func render() -> [UInt8] {
        var text = ""
        families.withLock { families in
            for (name, family) in families.sorted(by: { $0.key < $1.key }) {
                var series = ""
                for (labels, instrument) in family.series.sorted(by: { $0.key < $1.key }) {
                    MetricsRegistry.render(name, labels, instrument, into: &series)
                }
                if series.isEmpty { continue }
                text +=
                    "# HELP \(name) \(MetricsRegistry.escapedHelp(family.help))\n# TYPE \(name) \(family.kind.rawValue)\n"
                text += series
            }
        }
        if dropped.value > 0 {
            let name = "weir_metrics_dropped_series_total"
            let labels = MetricsRegistry.rendered(common)
            text +=
                "# HELP \(name) Series not shown because of the limit.\n# TYPE \(name) counter\n"
                + "\(name)\(labels.isEmpty ? "" : "{\(labels)}") \(dropped.value)\n"
        }
        return Array(text.utf8)
    }

    private static func render(_ name: String, _ labels: String, _ instrument: Instrument, into text: inout String) {
        let braces = labels.isEmpty ? "" : "{\(labels)}"
        switch instrument {
        case .counter(let counter): text += "\(name)\(braces) \(counter.value)\n"
        case .gauge(let gauge): if !gauge.isAbsent { text += "\(name)\(braces) \(number(gauge.value))\n" }
        case .histogram(let histogram):
            let lead = labels.isEmpty ? "" : labels + ","
            let counts = histogram.cumulativeCounts
            for (bound, count) in zip(histogram.bounds, counts) {
                text += "\(name)_bucket{\(lead)le=\"\(number(bound))\"} \(count)\n"
            }
            // The last bucket and the count are one reading, so that they agree as the format demands.
            let all = counts.last ?? 0
            text += "\(name)_bucket{\(lead)le=\"+Inf\"} \(all)\n"
            text += "\(name)_sum\(braces) \(number(histogram.sum))\n\(name)_count\(braces) \(all)\n"
        }
    }

    /// As Go's `ParseFloat` reads it; whole numbers without a point.
    private static func number(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
        if value == value.rounded(), abs(value) < 9_007_199_254_740_992 { return String(Int(value)) }
        return value.description
    }

    private static func isName(_ name: String, colon: Bool) -> Bool {
        guard let first = name.utf8.first, !(UInt8(ascii: "0")...UInt8(ascii: "9")).contains(first) else {
            return false
        }
        return name.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "_"),
                UInt8(ascii: "0")...UInt8(ascii: "9"):
                true
            case UInt8(ascii: ":"): colon
            default: false
            }
        }
    }

    private static func escapedHelp(_ text: String) -> String {
        escaped(text) { $0 == "\\" ? "\\\\" : $0 == "\n" ? "\\n" : nil }
    }

    private static func escapedLabel(_ text: String) -> String {
        escaped(text) { $0 == "\\" ? "\\\\" : $0 == "\n" ? "\\n" : $0 == "\"" ? "\\\"" : nil }
    }

    private static func escaped(_ text: String, _ replacement: (Unicode.Scalar) -> String?) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            if let escape = replacement(scalar) { result += escape } else { result.unicodeScalars.append(scalar) }
        }
        return result
    }
}
