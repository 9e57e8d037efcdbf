import Detection
public import Telemetry

/// How a worker cuts epochs and transactions.
public struct WorkerOptions: Sendable {
    /// An epoch closes after this many records.
    public var epochRecords = 4096
    /// An epoch closes this long after its first record, full or not.
    public var lingerMilliseconds = 1.0
    /// While there is a backlog, epochs share a transaction up to this long, or this many records or bytes of output.
    public var transactionMilliseconds = 200.0
    public var transactionRecords = 50_000
    public var transactionBytes = 16 << 20
    /// How long a stop goes on reading what was in the log when it came.
    public var drainMilliseconds: Int64 = 5000
    /// Partitions of the verdict topic when it is made.
    public var verdictPartitions = 4
    /// Takes an empty journal for a first one although positions are committed or verdicts are there: judges the inputs from their
    /// beginning, and says again what was said of them.
    public var startsAnew = false
    /// The folder that snapshots of the state are kept in; nil: none are kept, and a start replays the whole journal.
    public var snapshotFolder: String?
    /// When the state is kept; a start goes on from a snapshot that is there, however that may be.
    public var snapshotPace = SnapshotPace.atEnd

    /// When a worker keeps its state.
    public enum SnapshotPace: Sendable, Equatable {
        case never
        /// When it ends well.
        case atEnd
        /// While it runs too.
        case every(seconds: Double)
    }

    public init() {}
}

/// One worker in fused mode: recovers from the journal, then judges what arrives, exactly once, until told to stop.
///
/// A ``Follower`` rebuilds the state, then a ``Leader`` goes on from there. Everything happens on the calling thread but the
/// stages, which the team shares, and the commits, which have a thread of their own. An epoch's outputs, its journal record and the
/// input positions are committed in one step by the log. State in memory runs ahead of what is committed by one commit under way
/// and the batch being filled; when a commit fails for good, the worker ends, and the next start rebuilds the state from the
/// journal.
public final class Worker {
    private let deployment: Deployment
    private let log: any EventLog
    private let options: WorkerOptions
    private let telemetry: Log
    private let clock: any WorkerClock
    private let team: ThreadTeam
    private let processor: EpochProcessor
    /// Where recovery may begin; gets the state while the worker runs, and when it ends well.
    ///
    /// Nil: every start replays the whole journal.
    var snapshots: (any SnapshotStore)?
    /// Where recovery looks for the releases that judged what the journal holds.
    private let releases: any ReleaseSource
    /// Where other threads ask about the state.
    let mailbox = Mailbox()
    private let metrics: WorkerMetrics?
    private let snapshotMetrics: SnapshotMetrics?
    private let committed: ((UnsafeRawBufferPointer) -> Void)?
    /// Has the log's writer; nil before the log is owned.
    private var committer: Committer?
    private var follower: Follower?
    private var leader: Leader?

    /// Recovered from the journal and judging what arrives.
    var isReady: Bool { leader != nil }
    /// Of what was judged since the start, without what was judged again to recover.
    public var counts: EpochCounts { leader?.counts ?? EpochCounts() }
    /// Commits that succeeded.
    public var transactions: Int64 { leader?.transactions ?? 0 }
    /// Rings opened since the start.
    public var ringsOpened: Int { leader?.ringsOpened ?? 0 }
    /// Epochs judged again to recover.
    public var replayedEpochs: Int64 { follower?.replayedEpochs ?? 0 }
    /// Memory of keys, windows, rings and models.
    public var stateBytes: Int { engine.stateBytes }
    /// With the state of the deployment's release.
    private var engine: Engine { follower?.engine ?? processor.engine }

    /// - Parameters:
    ///   - releases: where those are that judged what the journal holds; nil: the deployment has the only one.
    ///   - metrics: hears of every epoch and transaction.
    ///   - snapshotMetrics: hears of every snapshot.
    ///   - clock: paces the worker; a test's own makes hours of it in a moment.
    ///   - committed: called after each commit with the verdicts' JSON of its epochs, one a line; for `weir demo`.
    public init(
        _ deployment: Deployment,
        log: any EventLog,
        threads: Int,
        options: WorkerOptions = WorkerOptions(),
        releases: (any ReleaseSource)? = nil,
        metrics: WorkerMetrics? = nil,
        snapshotMetrics: SnapshotMetrics? = nil,
        telemetry: Log = .silent,
        clock: any WorkerClock = SystemClock(),
        committed: ((UnsafeRawBufferPointer) -> Void)? = nil
    ) {
        self.deployment = deployment
        self.log = log
        self.options = options
        self.telemetry = telemetry
        self.clock = clock
        self.releases = releases ?? FolderReleases(deployment)
        self.metrics = metrics
        self.snapshotMetrics = snapshotMetrics
        self.committed = committed
        if let folder = options.snapshotFolder { snapshots = FolderSnapshots(folder: folder, telemetry: telemetry) }
        team = ThreadTeam(lanes: threads)
        processor = EpochProcessor(deployment, team: team)
    }

    deinit {
        committer?.stop()
        team.stop()
    }

    /// How far a run has come.
    public enum Milestone: Sendable {
        /// Recovered: from here on a stop drains.
        case leading
        /// Stopped, and all that was read is committed; only the state is still to be kept.
        case drained
    }

    /// Runs until `shouldStop` returns true, then drains what it holds and commits; once in its life.
    ///
    /// - Throws: ``LogError``; `unreachable` also where a stop came and the log did not take what was read.
    public func run(shouldStop: () -> Bool, reaching: (Milestone) -> Void = { _ in }) throws(LogError) {
        precondition(follower == nil, "a worker runs once: its state is of one log at one time")
        // First of all: another topology's log is left exactly as it is.
        try Journal(in: log).require(topology: deployment.description.name)
        try log.create(OutputTopics.requirements(partitions: options.verdictPartitions))
        let checks = StartChecks(log: log)
        if let unread = try checks.requireJournalTopic() {
            telemetry.warn(
                "the settings of the journal's topic cannot be read: whether it keeps its records is not known",
                ["topic": .string(OutputTopics.journal), "reason": .string(unread.message)]
            )
        }
        let sources = try Worker.sources(of: deployment, in: log)
        try checks.requireKeptInputs(deployment.description.topics)
        let committer = Committer(try log.takeOwnership(), clock)
        self.committer = committer
        metrics?.mailbox = mailbox
        mailbox.open()
        defer {
            // Who asks from now on finds what was measured last.
            mailbox.close()
            metrics?.measure(engine)
            metrics?.signals.end()
        }
        let follower = try Follower(
            processor,
            log: log,
            sources: sources,
            snapshots: snapshots,
            releases: releases,
            clock: clock
        )
        self.follower = follower
        tell(of: follower)
        guard try recover(follower, shouldStop) else { return }
        let kept = options.snapshotPace == .never ? nil : snapshots
        let snapshotWriter = kept.map {
            SnapshotWriter($0, isThreaded: !committer.isImmediate, clock, snapshotMetrics)
        }
        defer { snapshotWriter?.stop() }
        let leader = try Leader(
            follower,
            log: log,
            committer: committer,
            snapshots: snapshotWriter,
            options: options,
            clock: clock,
            telemetry: telemetry,
            mailbox: mailbox,
            metrics: metrics,
            committed: committed
        )
        let different = try checks.requireWholeJournal(
            newest: follower.lastRecord,
            sources: leader.sources,
            judgedTo: leader.judgedTo,
            startsAnew: options.startsAnew
        )
        if options.startsAnew, follower.lastRecord != nil {
            telemetry.warn(
                "the journal is not empty, so nothing starts anew: take --start-anew away, or a journal lost later is taken for a first one",
                ["epochs": .int(Int(follower.nextEpoch))]
            )
        }
        if let first = different.first {
            telemetry.warn(
                "committed positions differ from the journal; the journal counts",
                [
                    "sources": .int(different.count), "first": .string(first.source.description),
                    "committed": .int(Int(first.next)),
                ]
            )
        }
        self.leader = leader
        telemetry.info("ready", ["sources": .int(leader.sources.count), "epoch": .int(Int(follower.nextEpoch))])
        reaching(.leading)
        try leader.run(shouldStop: shouldStop)
        reaching(.drained)
        leader.keepLast()
        telemetry.info(
            "stopped",
            [
                "events": .int(Int(counts.events)), "verdicts": .int(Int(counts.verdicts)),
                "transactions": .int(Int(transactions)),
            ]
        )
    }

    /// The partitions of all input topics, in the order of the topology's topics.
    static func sources(of deployment: Deployment, in log: any LogReader) throws(LogError) -> [TopicPartition] {
        var sources: [TopicPartition] = []
        for topic in deployment.description.topics {
            guard let partitions = try log.partitions(of: topic) else {
                throw LogError(
                    .refused,
                    "input topic '\(topic)' does not exist in the log: create it, or correct `topic:` in the topology"
                )
            }
            for partition in partitions { sources.append(TopicPartition(topic, partition)) }
        }
        return sources
    }

    /// Follows the journal to its end; returns false when it was stopped before.
    private func recover(_ follower: Follower, _ shouldStop: () -> Bool) throws(LogError) -> Bool {
        let started = clock.now
        try warn(missing: follower.survey())
        var said = started
        var isStopped = false
        try follower.advance { record in
            metrics?.rebuilt(processor, watermark: record.watermark)
            if mailbox.hasMail { mailbox.serve(WorkerView(engine: follower.engine, epochs: record.epoch + 1)) }
            if clock.now - said > .seconds(10) {
                said = clock.now
                telemetry.info("recovering", ["epochs": .int(Int(follower.replayedEpochs))])
            }
            isStopped = shouldStop()
            return !isStopped
        }
        guard !isStopped, let last = follower.lastRecord else { return !isStopped }
        if last.topologyDigest != deployment.topologyDigest {
            telemetry.warn("the topology changed since the last epoch; its state was rebuilt from the log", [:])
        } else if last.releaseDigest != deployment.release.digest {
            telemetry.warn("the release changed since the last epoch; its windows were rebuilt from the log", [:])
        }
        if let former = last.keyFingerprint, former != deployment.keyFingerprint {
            telemetry.warn(
                "the hash key is not that of the last epoch; the state was rebuilt under this one; only what full tables forget follows from it",
                ["hash_key": .string(deployment.keyFingerprint), "last_epoch": .string(former)]
            )
        }
        warn(of: follower)
        telemetry.info(
            "recovered from the journal",
            [
                "epochs": .int(Int(follower.replayedEpochs)),
                "seconds": .double(((clock.now - started).inSeconds * 1000).rounded() / 1000),
            ]
        )
        return true
    }

    /// Says where the state comes from and how much is to be judged again.
    private func tell(of follower: Follower) {
        guard snapshots != nil else { return }
        guard let record = follower.snapshotRecord else {
            if follower.remainingEpochs > 0 {
                telemetry.info(
                    "no snapshot is of use; the state is rebuilt from the journal's beginning",
                    ["epochs": .int(Int(follower.remainingEpochs))]
                )
            }
            return
        }
        telemetry.info(
            "going on from a snapshot",
            ["epoch": .int(Int(record.epoch)), "epochs_behind_it": .int(Int(follower.remainingEpochs))]
        )
        if let engine = record.proof?.engine, engine != Deployment.engineVersion {
            telemetry.warn(
                "the inputs from before the snapshot are gone, so the state goes on as another version of weir left it",
                ["written_by": .string(engine), "version": .string(Deployment.engineVersion)]
            )
        }
    }

    /// Says of which epochs more is believed than proven, or is otherwise by this program.
    private func warn(of follower: Follower) {
        let others = follower.otherEngines
        if let version = others.version {
            telemetry.warn(
                others.different == 0
                    ? "epochs were judged by another version of weir; this one says the same of them"
                    : "epochs were judged by another version of weir, and this one judges some otherwise; the state is this one's",
                [
                    "epochs": .int(Int(others.epochs)), "judged_by": .string(version),
                    "version": .string(Deployment.engineVersion), "different": .int(Int(others.different)),
                    "first_different": .int(Int(others.firstDifferent ?? -1)),
                ]
            )
        }
        if follower.unprovenEpochs > 0 {
            telemetry.warn(
                "epochs were journaled by an earlier version, without digests: of their inputs only the numbers are proven",
                ["epochs": .int(Int(follower.unprovenEpochs))]
            )
        }
    }

    /// Says which epochs are not judged again by the release that judged them.
    ///
    /// Their events go into the state all the same, and what is said of them is muted. Rules feed nothing back into the state, so
    /// what is judged from here on is exact; what is lost is the check that their verdicts are as many as the journal says.
    private func warn(missing: [JournalSurvey.Entry]) {
        guard let first = missing.first else { return }
        telemetry.warn(
            "releases that the journal names are not to be found; their epochs are replayed for the state alone",
            [
                "releases": .int(missing.count), "first": .string(String(first.releaseDigest.prefix(16))),
                "judged": .string(first.text), "looked_in": .string(releases.places),
            ]
        )
    }
}
