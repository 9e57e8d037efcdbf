import Detection
import Glibc
import RuleLanguage
import Synchronization
public import Telemetry

/// A worker's figures in a registry: how much was read and said, how long epochs and commits take, how much state there is.
///
/// Bumped once per epoch and transaction from counts the worker has anyway; the size of the state is asked for when somebody looks.
/// Any thread may render the registry; ``refresh()`` first brings what depends on the moment up to date. Labels are names of
/// topics, rules and codes; never an identifier of a person.
public final class WorkerMetrics: Sendable {
    private let registry: MetricsRegistry
    private let clock: any WorkerClock
    /// Whether it works at all.
    public let signals: WorkerSignals
    /// Per input topic.
    private let consumed: [Counter]
    private let topics: [String]
    /// Per ``Decision``.
    private let verdicts: [Counter]
    private let truncated: Counter
    private let silent: Counter
    /// Per input topic.
    private let ignored: [Counter]
    /// The same.
    private let displaced: [DisplacedMetrics]
    /// Per rule of the set.
    private let rules: [RuleMetrics]
    private let intake: IntakeMetrics
    private let epochs: Counter
    private let committedTransactions: Counter
    private let retriedTransactions: Counter
    private let failedTransactions: Counter
    private let commitSeconds: Histogram
    private let epochSeconds: Histogram
    private let recreations: Counter
    private let lastProcessed: Gauge
    private let stateBytes: Gauge
    private let windows: WindowMetrics
    /// By event type; nil for those without `dedupe`.
    private let duplicates: [DuplicateMetrics?]
    /// Targets, actors, pairs and rings forgotten, by ``forgotten``.
    private let ringEvictions: [(of: String, counter: Counter)]
    private let ringMembersDropped: Counter
    private let ringsOpen: Gauge
    /// Per ``RingStatus``: opened, updated, closed.
    private let ringChanges: [Counter]
    private let replayed: Counter
    private let resident: Gauge
    /// Milliseconds since 1970; `Int64.min` before there is one.
    private let watermark = Atomic<Int64>(.min)
    private let worker = Mutex<Mailbox?>(nil)

    /// Makes the instruments; all series that are known beforehand exist from the start, at 0.
    public init(_ registry: MetricsRegistry, _ deployment: Deployment, clock: any WorkerClock = SystemClock()) {
        self.registry = registry
        self.clock = clock
        signals = WorkerSignals(registry, clock)
        topics = deployment.description.topics
        consumed = topics.map {
            registry.counter("weir_events_consumed_total", help: "Records read from the inputs.", labels: ["topic": $0])
        }
        verdicts = Decision.allCases.map {
            registry.counter("weir_verdicts_total", help: "Verdicts by decision.", labels: ["decision": $0.name])
        }
        truncated = registry.counter(
            "weir_verdicts_truncated_total",
            help: "Verdicts of which something was left out, as a record has a longest length."
        )
        silent = registry.counter("weir_silent_total", help: "Events judged that left no verdict.")
        ignored = WorkerMetrics.ignored(registry, topics)
        displaced = topics.map { DisplacedMetrics(registry, $0) }
        rules = deployment.release.rules.rules.map { RuleMetrics(registry, $0) }
        intake = IntakeMetrics(registry, deployment)
        epochs = registry.counter("weir_epochs_total", help: "Epochs judged.")
        func transactions(_ result: String) -> Counter {
            registry.counter(
                "weir_transactions_total",
                help: "Attempts to commit: committed, retried after a fault, failed for good.",
                labels: ["result": result]
            )
        }
        committedTransactions = transactions("committed")
        retriedTransactions = transactions("retried")
        failedTransactions = transactions("failed")
        commitSeconds = registry.histogram("weir_commit_seconds", help: "Time of a commit, with its retries.")
        epochSeconds = registry.histogram("weir_epoch_seconds", help: "Time to judge an epoch, without its commit.")
        recreations = registry.counter(
            "weir_producer_recreated_total",
            help: "How often the transactional producers were thrown away and made anew."
        )
        lastProcessed = registry.gauge(
            "weir_last_record_processed_timestamp_seconds",
            help: "When records were last committed; 0 before that."
        )
        stateBytes = registry.gauge("weir_state_bytes", help: "Memory of ids, keys, windows, rings and models.")
        windows = WindowMetrics(registry)
        duplicates = deployment.description.events.map { $0.dedupe == nil ? nil : DuplicateMetrics(registry, $0.name) }
        // All are there from the start, so that an alert on their growth sees the first one.
        ringEvictions = deployment.description.kinds.forgotten.map {
            let counter = registry.counter(
                "weir_ring_evictions_total",
                help: "What ring detectors forgot before its time, as a table was full.",
                labels: ["of": $0]
            )
            return ($0, counter)
        }
        ringMembersDropped = registry.counter(
            "weir_ring_members_dropped_total",
            help: "Actors that ring detectors left out of a target, a pair or a ring, as its list was full."
        )
        ringsOpen = registry.gauge("weir_rings_open", help: "Rings open now.")
        ringChanges = WorkerMetrics.ringStatuses.map {
            registry.counter("weir_ring_changes_total", help: "New versions of rings.", labels: ["status": $0.rawValue])
        }
        replayed = registry.counter(
            "weir_replay_events_total",
            help: "Events judged again to rebuild the state at start."
        )
        resident = registry.gauge("weir_resident_memory_bytes", help: "Memory of the process in RAM.")
        registry.gauge(
            "weir_build_info",
            help: "Always 1; the labels say what runs.",
            labels: [
                "version": Deployment.engineVersion,
                "topology_digest": String(deployment.topologyDigest.prefix(16)),
                "release_digest": String(deployment.release.shortDigest),
            ]
        ).set(1)
    }

    private static func ignored(_ registry: MetricsRegistry, _ topics: [String]) -> [Counter] {
        topics.map {
            registry.counter(
                "weir_ignored_records_total",
                help: "Records that make no event and are nobody's concern, as the topology says.",
                labels: ["topic": $0]
            )
        }
    }

    private static let ringStatuses: [RingStatus] = [.opened, .updated, .closed]

    // MARK: Bumped by the worker

    /// An epoch was judged; its outputs and its block are still there.
    func judged(
        _ processor: EpochProcessor,
        _ block: DecodedBlock,
        sources: [TopicPartition],
        watermark: Int64?,
        seconds: Double
    ) {
        epochs.add()
        epochSeconds.observe(seconds)
        withUnsafeTemporaryAllocation(of: Int.self, capacity: verdicts.count) { byDecision in
            byDecision.initialize(repeating: 0)
            processor.engine.forEachOutput { output in
                for record in output.records {
                    byDecision[Int(record.decision.rawValue)] += 1
                    if record.isTruncated { truncated.add() }
                }
            }
            for (counter, count) in zip(verdicts, byDecision) where count > 0 { counter.add(count) }
        }
        processor.engine.forEachOutput { output in
            for (r, rule) in rules.enumerated() {
                rule.add(output.fired[r], output.undecided[r])
            }
        }
        silent.add(Int(processor.counts.silent))
        for record in block.ignored {
            if let topic = topics.firstIndex(of: sources[Int(record.source)].topic) { ignored[topic].add() }
        }
        for (metrics, count) in zip(displaced, processor.displaced) { metrics.add(count) }
        for (metrics, count) in zip(duplicates, processor.engine.duplicateCounts) where count > 0 {
            metrics?.found.add(count)
        }
        intake.judged(processor.engine, block, sources: sources)
        block.withStagedBySource { staged in
            for (source, count) in zip(sources, staged) {
                if count > 0, let topic = topics.firstIndex(of: source.topic) { consumed[topic].add(count) }
            }
        }
        keep(processor, watermark)
    }

    /// A journaled epoch was judged again at start.
    func rebuilt(_ processor: EpochProcessor, watermark: Int64?) {
        replayed.add(Int(processor.counts.events))
        signals.rebuilt()
        keep(processor, watermark)
    }

    private func keep(_ processor: EpochProcessor, _ watermark: Int64?) {
        processor.engine.forEachRing { change in
            if let status = WorkerMetrics.ringStatuses.firstIndex(of: change.status) { ringChanges[status].add() }
            if change.status == .opened { ringsOpen.add(1) }
            if change.status == .closed { ringsOpen.add(-1) }
        }
        if let watermark { self.watermark.store(watermark, ordering: .relaxed) }
    }

    /// A commit failed; `counters` are the log's own totals.
    func failed(_ error: LogError, _ counters: LogCounters) {
        raise(to: counters)
        failedTransactions.add()
        if error.kind == .fenced { signals.fenced() }
    }

    private func raise(to counters: LogCounters) {
        recreations.raise(to: counters.producerRecreations)
        retriedTransactions.raise(to: counters.retriedCommits)
    }

    /// A commit succeeded; `counters` are the log's own totals.
    func committed(seconds: Double, _ counters: LogCounters) {
        raise(to: counters)
        committedTransactions.add()
        commitSeconds.observe(seconds)
        lastProcessed.set(Double(clock.wallMilliseconds) / 1000)
    }

    /// Takes the size of the state, a sum over its slots, on the worker's thread.
    func measure(_ engine: Engine) {
        stateBytes.set(engine.stateBytes)
        measure(engine.windowCounters, engine.detectorCounters)
        for (metrics, counters) in zip(duplicates, engine.idCounters) {
            if let counters { metrics?.measure(counters) }
        }
    }

    /// Takes the totals of what the engine holds and has given up.
    func measure(_ windows: WindowCounters, _ detectors: DetectorCounters) {
        self.windows.measure(windows)
        for (of, counter) in ringEvictions { counter.raise(to: Int(detectors.forgotten[of, default: 0])) }
        ringMembersDropped.raise(to: Int(detectors.droppedMembers))
    }

    // MARK: Read by others

    /// Where the worker is asked for the size of its state; nil before one runs.
    var mailbox: Mailbox? {
        get { worker.withLock { $0 } }
        set { worker.withLock { $0 = newValue } }
    }

    /// How long a worker that waits for brokers may let those wait who look at its figures.
    private static let patienceMilliseconds = 1000

    /// Brings up to date what depends on the moment: the size of the state, the watermark's lag and the process's memory.
    ///
    /// Call before rendering; any thread but the worker's. A worker that is busy for a second leaves the sizes as they were.
    public func refresh() {
        mailbox?.ask(waiting: WorkerMetrics.patienceMilliseconds) { self.measure($0.engine) }
        intake.refresh()
        if let seconds = watermarkLagSeconds {
            // The series begins with the first watermark: before it there is no lag to tell.
            registry.gauge(
                "weir_watermark_lag_seconds",
                help: "How far the watermark, in event time, lies behind the clock on the wall."
            ).set(seconds)
        }
        if let bytes = WorkerMetrics.residentBytes() { resident.set(bytes) }
    }

    /// How far the watermark lies behind the wall clock; nil before there is one.
    public var watermarkLagSeconds: Double? {
        let time = watermark.load(ordering: .relaxed)
        return time == .min ? nil : Double(clock.wallMilliseconds - time) / 1000
    }

    /// Records read since the start of the process.
    public var recordsConsumed: Int { consumed.reduce(0) { $0 + $1.value } }
    /// Verdicts since the start of the process.
    public var verdictsSaid: Int { verdicts.reduce(0) { $0 + $1.value } }
    /// What was not as it should be since the last call, of records and fields, and how rules ended.
    public func takeIntake() -> IntakeReport { intake.takeNew() }
    /// Since the start of the process, by input topic: events that were not judged at their own time in their turn.
    public var displacedEvents: [(topic: String, counts: [(word: String, count: Int)])] {
        zip(topics, displaced).map { ($0, $1.counts) }
    }
    /// Times of the commits.
    public var commits: Histogram { commitSeconds }

    /// Resident pages by `/proc/self/statm`.
    private static func residentBytes() -> Int? {
        guard let file = fopen("/proc/self/statm", "r") else { return nil }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 256)
        guard fgets(&line, Int32(line.count), file) != nil else { return nil }
        let words = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self).split(
            separator: " "
        )
        guard words.count > 1, let pages = Int(words[1]) else { return nil }
        return pages * Int(getpagesize())
    }
}

extension Counter {
    /// Follows a total that somebody else keeps; one thread.
    func raise(to total: Int) {
        if total > value { add(total - value) }
    }
}

/// Events of one topic that were not judged at their own time in their turn.
private struct DisplacedMetrics: Sendable {
    private let late: Counter
    private let setAside: Counter
    private let early: Counter
    private let aligned: Counter

    init(_ registry: MetricsRegistry, _ topic: String) {
        func lateEvents(_ handled: String) -> Counter {
            registry.counter(
                "weir_late_events_total",
                help: "Events that came behind the watermark: judged there, or set aside.",
                labels: ["topic": topic, "handled": handled]
            )
        }
        late = lateEvents("judged")
        setAside = lateEvents("set_aside")
        early = registry.counter(
            "weir_early_events_total",
            help:
                "Events whose time lies too far ahead of the time at which the log took them, and that are judged then.",
            labels: ["topic": topic]
        )
        aligned = registry.counter(
            "weir_aligned_events_total",
            help: "Events behind the watermark that are not late, as nobody had waited for their partition.",
            labels: ["topic": topic]
        )
    }

    /// In words, with how many.
    var counts: [(word: String, count: Int)] {
        [("late", late.value), ("set aside", setAside.value), ("early", early.value), ("aligned", aligned.value)]
    }

    func add(_ count: EpochProcessor.Displaced) {
        if count.late > 0 { late.add(count.late) }
        if count.setAside > 0 { setAside.add(count.setAside) }
        if count.early > 0 { early.add(count.early) }
        if count.aligned > 0 { aligned.add(count.aligned) }
    }
}

/// What became of one rule.
private struct RuleMetrics: Sendable {
    private let fired: Counter
    private let undecided: Counter

    init(_ registry: MetricsRegistry, _ rule: Rule) {
        fired = registry.counter(
            "weir_rule_hits_total",
            help: "How often a rule fired.",
            labels: ["rule": rule.id, "mode": rule.mode.rawValue]
        )
        undecided = registry.counter(
            "weir_rule_undecided_total",
            help: "How often a rule fired though one of its exceptions could not be decided.",
            labels: ["rule": rule.id]
        )
    }

    func add(_ fired: Int, _ undecided: Int) {
        if fired > 0 { self.fired.add(fired) }
        if undecided > 0 { self.undecided.add(undecided) }
    }
}

/// Repetitions of one event type, and what it takes to know them.
private struct DuplicateMetrics: Sendable {
    let found: Counter
    private let ids: Gauge
    private let evictions: Counter

    init(_ registry: MetricsRegistry, _ event: String) {
        let labels: KeyValuePairs = ["event": event]
        found = registry.counter(
            "weir_duplicates_total",
            help: "Events that repeated another of their type and were not judged.",
            labels: labels
        )
        ids = registry.gauge(
            "weir_dedupe_ids",
            help: "Identities remembered to know repetitions by.",
            labels: labels
        )
        evictions = registry.counter(
            "weir_dedupe_evictions_total",
            help: "Identities forgotten before their time because of limits.dedupe_ids.",
            labels: labels
        )
    }

    func measure(_ counters: IdCounters) {
        ids.set(counters.ids)
        evictions.raise(to: counters.evicted)
    }
}

/// What the windows hold and have given up.
private struct WindowMetrics: Sendable {
    private let keys: Gauge
    private let evictions: Counter
    private let truncations: Counter
    private let outOfOrder: Counter
    private let movedEntries: Counter

    init(_ registry: MetricsRegistry) {
        keys = registry.gauge("weir_window_keys", help: "Keys held in windows.")
        evictions = registry.counter(
            "weir_state_evictions_total",
            help: "Keys given up inside their window because of limits.keys."
        )
        truncations = registry.counter(
            "weir_window_truncations_total",
            help: "Entries given up inside their window because of limits.entries_per_key."
        )
        outOfOrder = registry.counter(
            "weir_window_out_of_order_total",
            help: "Events slipped into a window before newer ones of their key, which costs more."
        )
        movedEntries = registry.counter(
            "weir_window_moved_entries_total",
            help: "Entries taken out of a window and put back for such events: a key's newer ones once per epoch."
        )
    }

    func measure(_ windows: WindowCounters) {
        keys.set(windows.keys)
        evictions.raise(to: windows.evictedKeys)
        truncations.raise(to: windows.truncatedEntries)
        outOfOrder.raise(to: windows.outOfOrder)
        movedEntries.raise(to: windows.movedEntries)
    }
}
