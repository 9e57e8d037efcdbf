import Glibc
import Pipeline
import Synchronization
import Telemetry

/// Gets the figures of a run out: a file in Prometheus' text format every 10 s, a log line every 60 s, and a line of its own when
/// an outage has lasted 15 s and when it is over.
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
    static let lookSeconds = 1.0

    private let registry: MetricsRegistry
    private let metrics: WorkerMetrics
    private let kafka: KafkaMetrics?
    private let file: String?
    private let telemetry: Log
    private let folding: LogFolding?
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
    private var outage = OutageWatch()
    private var wasReady = false
    /// When the worker was first seen to judge: before a broker's first report that is when one was last heard of.
    private var judgingSince: Int64?

    /// - Parameters:
    ///   - file: where the metrics go; nil: only log lines.
    ///   - folding: what holds repeated lines back; its counts are told in time.
    init(
        _ registry: MetricsRegistry,
        _ metrics: WorkerMetrics,
        _ kafka: KafkaMetrics?,
        file: String?,
        telemetry: Log,
        folding: LogFolding? = nil
    ) {
        self.folding = folding
        self.registry = registry
        self.metrics = metrics
        self.kafka = kafka
        self.file = file
        self.telemetry = telemetry
        commits = metrics.commits.cumulativeCounts
    }

    /// Writes the file for the first time and starts the thread; a file that cannot be written is warned of, as later: nobody's
    /// fraud goes unseen because of a monitor.
    func start() {
        writeFile()
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
        folding?.flush(at: Log.wallClockMilliseconds(), all: true)
    }

    private func work() {
        let started = ContinuousClock.now
        var file = MetricsReporter.fileSeconds
        var line = MetricsReporter.lineSeconds
        while true {
            var entry = pollfd(fd: wake.read, events: Int16(POLLIN), revents: 0)
            _ = poll(&entry, 1, Int32(MetricsReporter.lookSeconds * 1000))
            if wantsStop.load(ordering: .acquiring) { return }
            let reached = started.duration(to: .now).inSeconds
            let isReady = look(now: Log.wallClockMilliseconds())
            if reached >= file || isReady != wasReady {
                wasReady = isReady
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

    // MARK: Outages

    /// Says what has become of an outage, and what was held back; returns whether the worker is ready.
    @discardableResult
    func look(now: Int64) -> Bool {
        let reading = metrics.signals.reading
        let contact = contactAge(now)
        for news in outage.look(reading, contactAge: contact, now: now) { tell(news, reading, now) }
        folding?.flush(at: now)
        return reading.isWell(contactAge: contact)
    }

    /// How long ago a broker was last heard of, seconds; nil without brokers.
    private func contactAge(_ now: Int64) -> Double? {
        guard let kafka, metrics.signals.reading.phase == .judging else { return nil }
        if judgingSince == nil { judgingSince = now }
        let heard = max(kafka.contactMilliseconds ?? 0, judgingSince ?? 0)
        return Double(max(0, now - heard)) / 1000
    }

    private func tell(_ news: OutageWatch.News, _ reading: WorkerSignals.Reading, _ now: Int64) {
        func since(_ seconds: Double) -> LogValue {
            .string(Log.timestamp(milliseconds: now - Int64(seconds * 1000)))
        }
        let waiting = LogValue.int(reading.uncommitted)
        let oldest = reading.uncommittedAge > 0 ? since(reading.uncommittedAge) : "none"
        switch news {
        case .began(.contact, let seconds):
            telemetry.warn(
                "no broker has answered for 15 s",
                ["since": since(seconds), "uncommitted_records": waiting, "uncommitted_since": oldest]
            )
        case .began(.commit, let seconds):
            telemetry.warn(
                "a commit has not succeeded for 15 s",
                ["since": since(seconds), "uncommitted_records": waiting, "uncommitted_since": oldest]
            )
        case .began(.turn, let seconds):
            telemetry.warn(
                "the worker has stood still for 15 s",
                ["since": since(seconds), "uncommitted_records": waiting, "uncommitted_since": oldest]
            )
        case .ended(.contact, let seconds):
            telemetry.warn("brokers answer again", ["after_seconds": .double(seconds.rounded(to: 1))])
        case .ended(.commit, let seconds):
            telemetry.warn("commits succeed again", ["after_seconds": .double(seconds.rounded(to: 1))])
        case .ended(.turn, let seconds):
            telemetry.warn("the worker goes on", ["after_seconds": .double(seconds.rounded(to: 1))])
        }
    }

    // MARK: The line

    /// Says how it goes: the rates of the last `seconds`, how far behind, and how long commits took.
    func report(seconds: Double) {
        let records = metrics.recordsConsumed
        let verdicts = metrics.verdictsSaid
        let p99 = metrics.commits.quantile(0.99, since: commits)
        let lag = metrics.watermarkLagSeconds.map { LogValue.double($0.rounded(to: 1)) } ?? "unknown"
        let now = Log.wallClockMilliseconds()
        let reading = metrics.signals.reading
        kafka?.refresh(committed: metrics.signals.committedPositions)
        let intake = metrics.takeIntake()
        let times = newTimes()
        let waiting = kafka.map { $0.largestLag.map { LogValue.int($0) } ?? "unknown" } ?? "none"
        telemetry.info(
            "progress",
            [
                "events_per_second": .double((Double(records - self.records) / max(seconds, 1e-9)).rounded(to: 1)),
                "verdicts_per_second": .double((Double(verdicts - self.verdicts) / max(seconds, 1e-9)).rounded(to: 1)),
                "consumer_lag": waiting, "watermark_lag_seconds": lag,
                "commit_p99_seconds": p99.map { LogValue.double($0.rounded(to: 4)) } ?? "none",
                "uncommitted": .int(reading.uncommitted), "late": .int(times.late),
                "dead_letters": .int(intake.dead.reduce(0) { $0 + $1.count }),
                "undetermined": .int(intake.rules.reduce(0) { $0 + $1.undetermined }),
                "ready": .bool(reading.isWell(contactAge: contactAge(now))),
            ]
        )
        self.records = records
        self.verdicts = verdicts
        commits = metrics.commits.cumulativeCounts
        report(intake, times.text)
    }

    /// Says what was not as it should be since the last time, if anything: at the level of an error where nothing could be read.
    private func report(_ intake: IntakeReport, _ times: String) {
        let text = IntakeText(report: intake)
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

    /// Events since the last time that were not judged at their own time in their turn, such as `orders: 2 late, 1 early`, and how
    /// many were late, judged or set aside.
    private func newTimes() -> (text: String, late: Int) {
        var late = 0
        let text = metrics.displacedEvents.compactMap { topic, counts in
            let new = counts.compactMap { word, count -> String? in
                let key = "\(topic) \(word)"
                defer { displaced[key] = count }
                let more = count - displaced[key, default: 0]
                if word == "late" || word == "set aside" { late += more }
                return more > 0 ? "\(more) \(word)" : nil
            }
            return new.isEmpty ? nil : "\(topic): \(new.joined(separator: ", "))"
        }.joined(separator: "; ")
        return (text, late)
    }

    /// Says which partitions of input topics nobody reads, when they become more.
    func tellUnread() {
        guard let found = kafka?.unreadPartitions, found != unread else { return }
        unread = found
        if found.isEmpty { return }
        telemetry.info(
            "partitions were added to input topics: they are read within half a minute or so",
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
        metrics.signals.refresh(contactAge: contactAge(Log.wallClockMilliseconds()))
        kafka?.refresh(committed: metrics.signals.committedPositions)
        let text = registry.render()
        // Beside the file, since a rename does not cross file systems; not *.prom, which the collector would read. The rename
        // replaces a link and does not follow it.
        let (descriptor, beside) = LineWriter.makeTemporary(beside: file)
        guard descriptor >= 0 else { return String(cString: strerror(errno)) }
        // The collector is another user, and no figure is a secret.
        fchmod(descriptor, 0o644)
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
