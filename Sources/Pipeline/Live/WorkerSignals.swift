import Synchronization
import Telemetry

/// What tells whether a worker works: that it goes round, what it has not committed yet, how long a commit takes, and how long an
/// event takes to its verdict.
///
/// Stored by the worker's thread as it goes round, in a few atomic stores; any thread may read. Nothing here is taken for well
/// because nothing was heard: a worker that stands still shows by its own time standing still.
public final class WorkerSignals: Sendable {
    /// How far a worker has come.
    public enum Phase: Int, Sendable { case starting, recovering, judging, ended }

    /// What is known at one moment.
    public struct Reading: Sendable, Equatable {
        public var phase = Phase.starting
        /// How long ago the worker last went round, seconds.
        public var turnAge = 0.0
        /// How long the commit under way has taken so far, seconds; nil: none is.
        public var commitAge: Double?
        /// How long ago the oldest record was read that is not committed, seconds; 0: there is none.
        public var uncommittedAge = 0.0
        /// Records read and not committed.
        public var uncommitted = 0

        public init() {}
    }

    /// After so long without a round, or with one commit, a worker is not ready.
    public static let patience = 15.0
    /// After so long without a word of any broker, it is not ready: two periods of statistics, and less than 15 s with the time
    /// that it takes to notice.
    public static let contactPatience = 10.0

    private let clock: any WorkerClock
    private let phase = Atomic<Int>(Phase.starting.rawValue)
    /// Milliseconds since 1970; 0: never, or none.
    private let turned = Atomic<Int64>(0)
    private let committingSince = Atomic<Int64>(0)
    private let uncommittedSince = Atomic<Int64>(0)
    private let uncommittedRecords = Atomic<Int>(0)
    private let positions = Mutex<(sources: [TopicPartition], next: [Int64])>(([], []))

    private let ready: Gauge
    private let recovering: Gauge
    private let heartbeat: Gauge
    private let oldest: Gauge
    private let waiting: Gauge
    private let lastEpoch: Gauge
    private let replayedEpochs: Counter
    private let fencings: Counter
    private let eventToVerdict: Histogram

    /// From a broker's append to the commit: what waited through an outage counts too.
    private static let verdictBounds: [Double] = [
        0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200,
    ]

    init(_ registry: MetricsRegistry, _ clock: any WorkerClock) {
        self.clock = clock
        registry.gauge("weir_start_time_seconds", help: "When the process started to judge, since 1970.")
            .set(Double(clock.wallMilliseconds) / 1000)
        ready = registry.gauge(
            "weir_ready",
            help:
                "1: recovered, going round, committing, and the brokers answer; 0: one of these has not been so for 10 to 15 s."
        )
        recovering = registry.gauge("weir_recovering", help: "1 while the state is rebuilt from the journal.")
        heartbeat = registry.gauge(
            "weir_heartbeat_timestamp_seconds",
            help: "When the worker last went round: took back commits, polled its inputs and judged what came."
        )
        heartbeat.clear()
        oldest = registry.gauge(
            "weir_oldest_uncommitted_seconds",
            help: "How long ago the oldest record was read that is not committed yet; 0: there is none."
        )
        waiting = registry.gauge("weir_uncommitted_records", help: "Records read and not committed yet.")
        lastEpoch = registry.gauge("weir_last_committed_epoch", help: "Number of the newest epoch committed.")
        lastEpoch.clear()
        replayedEpochs = registry.counter(
            "weir_replayed_epochs_total",
            help: "Epochs judged again at start to rebuild the state."
        )
        fencings = registry.counter(
            "weir_fenced_total",
            help: "How often another worker of the same name took over; this one ends then."
        )
        eventToVerdict = registry.histogram(
            "weir_event_to_verdict_seconds",
            help: "From the log's taking a record to the commit of what came of it, by the log's own times.",
            bounds: WorkerSignals.verdictBounds
        )
    }

    // MARK: Stored by the worker

    /// The worker went round.
    func turn() { turned.store(clock.wallMilliseconds, ordering: .relaxed) }

    /// An epoch was judged again.
    func rebuilt() {
        phase.store(Phase.recovering.rawValue, ordering: .relaxed)
        replayedEpochs.add()
        turn()
    }

    /// The worker begins to judge what arrives, from these positions on.
    func lead(_ sources: [TopicPartition], from next: [Int64], epoch: Int64) {
        positions.withLock { $0 = (sources, next) }
        if epoch > 0 { lastEpoch.set(Double(epoch - 1)) }
        turn()
        phase.store(Phase.judging.rawValue, ordering: .relaxed)
    }

    /// The worker reads a source more, from this position on.
    func add(_ position: SourcePosition) {
        positions.withLock { positions in
            positions.sources.append(position.source)
            positions.next.append(position.next)
        }
    }

    /// The worker has ended.
    func end() { phase.store(Phase.ended.rawValue, ordering: .relaxed) }

    /// Something was read, or nothing waits any more.
    func wait(_ uncommitted: borrowing Uncommitted) {
        uncommittedSince.store(uncommitted.since ?? 0, ordering: .relaxed)
        uncommittedRecords.store(uncommitted.records, ordering: .relaxed)
    }

    /// A commit was handed over.
    func committing() { committingSince.store(clock.wallMilliseconds, ordering: .relaxed) }

    /// It succeeded: all up to the positions is committed.
    ///
    /// - Parameters:
    ///   - epoch: the newest in it.
    ///   - appended: when the log took its records, milliseconds since 1970, and how many at that time.
    ///   - ended: when it ended.
    func committed(_ uncommitted: borrowing Uncommitted, epoch: Int64, _ appended: [AppendTime], ended: Int64) {
        committingSince.store(0, ordering: .relaxed)
        positions.withLock { positions in
            for s in positions.next.indices { positions.next[s] = uncommitted.committed[s] }
        }
        wait(uncommitted)
        lastEpoch.set(Double(epoch))
        // A broker's clock may be a little ahead of ours.
        for one in appended {
            eventToVerdict.observe(Double(max(0, ended - one.milliseconds)) / 1000, times: one.count)
        }
    }

    /// Another worker took over.
    func fenced() { fencings.add() }

    // MARK: Read by others

    /// Where the newest commit left the inputs; empty before the worker judges.
    public var committedPositions: [SourcePosition] {
        positions.withLock { positions in
            zip(positions.sources, positions.next).map { SourcePosition(source: $0, next: $1) }
        }
    }

    /// What is known now.
    public var reading: Reading {
        let now = clock.wallMilliseconds
        func age(_ time: Int64) -> Double? { time == 0 ? nil : Double(max(0, now - time)) / 1000 }
        var reading = Reading()
        reading.phase = Phase(rawValue: phase.load(ordering: .relaxed)) ?? .starting
        reading.turnAge = age(turned.load(ordering: .relaxed)) ?? 0
        reading.commitAge = age(committingSince.load(ordering: .relaxed))
        reading.uncommittedAge = age(uncommittedSince.load(ordering: .relaxed)) ?? 0
        reading.uncommitted = uncommittedRecords.load(ordering: .relaxed)
        return reading
    }

    /// Brings the gauges up to date; returns whether the worker is ready.
    ///
    /// - Parameter contactAge: how long ago a broker was last heard of, seconds; nil: there are none, or nobody knows.
    @discardableResult
    public func refresh(contactAge: Double?) -> Bool {
        let reading = reading
        let isReady = reading.isWell(contactAge: contactAge)
        ready.set(isReady ? 1 : 0)
        recovering.set(reading.phase == .recovering ? 1 : 0)
        let time = turned.load(ordering: .relaxed)
        if time > 0 { heartbeat.set(Double(time) / 1000) } else { heartbeat.clear() }
        oldest.set(reading.uncommittedAge)
        waiting.set(reading.uncommitted)
        return isReady
    }
}

extension WorkerSignals.Reading {
    /// Whether the worker does its work, as far as this tells.
    ///
    /// - Parameter contactAge: how long ago a broker was last heard of, seconds; nil: there are none, or nobody knows.
    public func isWell(contactAge: Double?) -> Bool {
        phase == .judging && turnAge < WorkerSignals.patience && commitAge ?? 0 < WorkerSignals.patience
            && contactAge ?? 0 < WorkerSignals.contactPatience
    }
}

/// So many records that a log took at one time, milliseconds since 1970.
struct AppendTime: Equatable {
    var milliseconds: Int64
    var count: Int
}
