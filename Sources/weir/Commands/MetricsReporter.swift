import Glibc
import Pipeline
import Synchronization
import Telemetry

/// Gets the figures of a run out: a file in Prometheus' text format every 10 s, and a log line every 60 s.
///
/// On a thread of its own, so that the figures go on while the worker waits for brokers, and no slow disk holds the worker back.
/// The file appears as a whole: it is written beside itself and renamed. It stays after the end; whoever reads it sees by its time
/// that it is old (node_exporter: `node_textfile_mtime_seconds`).
///
/// `@unchecked Sendable`: `thread`, `wake` and what was said last are touched by the owner before the thread starts and after it
/// was joined, and by the thread between.
final class MetricsReporter: @unchecked Sendable {
    static let fileSeconds = 10.0
    static let lineSeconds = 60.0

    private let registry: MetricsRegistry
    private let metrics: WorkerMetrics
    private let kafka: KafkaMetrics?
    private let file: String?
    private let telemetry: Log
    private let wantsStop = Atomic<Bool>(false)
    private var thread: BackgroundThread?
    private var wake: (read: Int32, write: Int32) = (-1, -1)

    // Since the last line of progress.
    private var records = 0
    private var verdicts = 0
    private var commits: [Int] = []
    /// Per topic and word, how many events were told.
    private var displaced: [String: Int] = [:]
    /// Said once.
    private var unread: [TopicPartition] = []
    /// The file could not be written the last time; said once.
    private var isFailing = false

    /// - Parameter file: where the metrics go; nil: only log lines.
    init(_ registry: MetricsRegistry, _ metrics: WorkerMetrics, _ kafka: KafkaMetrics?, file: String?, telemetry: Log) {
        self.registry = registry
        self.metrics = metrics
        self.kafka = kafka
        self.file = file
        self.telemetry = telemetry
        commits = metrics.commits.cumulativeCounts
    }

    /// Writes the file for the first time and starts the thread; throws when the file cannot be written.
    func start() throws(CommandFailure) {
        if let file, let reason = write(to: file) {
            throw CommandFailure(
                .invalid,
                "cannot write metrics to \(file): \(reason)",
                hint: "name a file in a folder that we may write to"
            )
        }
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { return }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        wake = (ends[0], ends[1])
        thread = BackgroundThread(named: "weir-metrics") { self.work() }
    }

    /// Ends the thread and writes the file for the last time.
    func stop() {
        wantsStop.store(true, ordering: .releasing)
        var byte: UInt8 = 1
        if wake.write >= 0 { _ = Glibc.write(wake.write, &byte, 1) }
        thread?.join()
        thread = nil
        for end in [wake.read, wake.write] where end >= 0 { close(end) }
        wake = (-1, -1)
        writeFile()
    }

    private func work() {
        let started = ContinuousClock.now
        var file = MetricsReporter.fileSeconds
        var line = MetricsReporter.lineSeconds
        while true {
            let now = started.duration(to: .now).inSeconds
            var entry = pollfd(fd: wake.read, events: Int16(POLLIN), revents: 0)
            _ = poll(&entry, 1, Int32(max(1, (min(file, line) - now) * 1000)))
            if wantsStop.load(ordering: .acquiring) { return }
            let reached = started.duration(to: .now).inSeconds
            if reached >= file {
                writeFile()
                tellUnread()
                file = reached + MetricsReporter.fileSeconds
            }
            if reached >= line {
                report(seconds: reached - line + MetricsReporter.lineSeconds)
                line = reached + MetricsReporter.lineSeconds
            }
        }
    }

    // MARK: The line

    /// Says how it goes: the rates of the last `seconds`, how far behind, and how long commits took.
    func report(seconds: Double) {
        let records = metrics.recordsConsumed
        let verdicts = metrics.verdictsSaid
        let p99 = metrics.commits.quantile(0.99, since: commits)
        let lag = metrics.watermarkLagSeconds.map { LogValue.double($0.rounded(to: 1)) } ?? "unknown"
        let waiting = kafka.map { $0.largestLag.map { LogValue.int($0) } ?? "unknown" } ?? "none"
        telemetry.info(
            "progress",
            [
                "events_per_second": .double((Double(records - self.records) / max(seconds, 1e-9)).rounded(to: 1)),
                "verdicts_per_second": .double((Double(verdicts - self.verdicts) / max(seconds, 1e-9)).rounded(to: 1)),
                "consumer_lag": waiting, "watermark_lag_seconds": lag,
                "commit_p99_seconds": p99.map { LogValue.double($0.rounded(to: 4)) } ?? "none",
            ]
        )
        self.records = records
        self.verdicts = verdicts
        commits = metrics.commits.cumulativeCounts
        reportIntake()
    }

    /// Says what was not as it should be since the last time, if anything: at the level of an error where nothing could be read.
    private func reportIntake() {
        let text = IntakeText(report: metrics.takeIntake())
        let times = newTimes()
        if text.logTexts == nil, times.isEmpty { return }
        let (fields, dead, rules) = text.logTexts ?? ("none", "none", "none")
        if text.isAllDead {
            telemetry.error("every record was a dead letter", ["dead_letters": .string(dead)])
        } else {
            telemetry.info(
                "intake",
                [
                    "fields": .string(fields), "dead_letters": .string(dead), "rules": .string(rules),
                    "times": .string(times.isEmpty ? "none" : times),
                ]
            )
        }
    }

    /// Events since the last time that were not judged at their own time in their turn, such as `orders: 2 late, 1 early`.
    private func newTimes() -> String {
        metrics.displacedEvents.compactMap { topic, counts in
            let new = counts.compactMap { word, count -> String? in
                let key = "\(topic) \(word)"
                defer { displaced[key] = count }
                let more = count - displaced[key, default: 0]
                return more > 0 ? "\(more) \(word)" : nil
            }
            return new.isEmpty ? nil : "\(topic): \(new.joined(separator: ", "))"
        }.joined(separator: "; ")
    }

    /// Says which partitions of input topics nobody reads, when they become more.
    func tellUnread() {
        guard let found = kafka?.unreadPartitions, found != unread else { return }
        unread = found
        if found.isEmpty { return }
        telemetry.warn(
            "partitions were added to input topics: their records are judged from the next start on",
            ["partitions": .string(found.map(\.description).joined(separator: ", "))]
        )
    }

    // MARK: The file

    private func writeFile() {
        guard let file else { return }
        let reason = write(to: file)
        if let reason, !isFailing {
            telemetry.warn("metrics cannot be written", ["file": .string(file), "reason": .string(reason)])
        }
        isFailing = reason != nil
    }

    /// Replaces the file as a whole; returns what went wrong.
    private func write(to file: String) -> String? {
        metrics.refresh()
        let text = registry.render()
        // Beside the file, since a rename does not cross file systems; not *.prom, which the collector would read.
        let beside = "\(file).\(getpid()).tmp"
        let descriptor = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { return String(cString: strerror(errno)) }
        var at = 0
        var reason: String?
        text.withUnsafeBytes { bytes in
            while at < bytes.count, reason == nil {
                let count = Glibc.write(
                    descriptor,
                    UnsafeRawBufferPointer(rebasing: bytes[at...]).baseAddress,
                    bytes.count - at
                )
                if count >= 0 { at += count } else if errno != EINTR { reason = String(cString: strerror(errno)) }
            }
        }
        if close(descriptor) != 0, reason == nil { reason = String(cString: strerror(errno)) }
        if reason == nil, rename(beside, file) != 0 { reason = String(cString: strerror(errno)) }
        if reason != nil { unlink(beside) }
        return reason
    }
}
