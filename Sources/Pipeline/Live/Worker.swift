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

    public init() {}
}

/// One worker in fused mode: recovers from the journal, then judges what arrives, exactly once, until told to stop.
///
/// Everything happens on the calling thread but the stages, which the team shares, and the commits, which have a thread of their own. An
/// epoch's outputs, its journal record and the input positions are committed in one step by the log. State in memory runs ahead of what is
/// committed by one commit under way and the batch being filled; when a commit fails for good, the worker ends, and the next start rebuilds
/// the state from the journal.
public final class Worker {
    private let deployment: Deployment
    private let log: any EventLog
    private let options: WorkerOptions
    private let telemetry: Log
    private let clock: any WorkerClock
    private let team: ThreadTeam
    private let processor: EpochProcessor
    private let assembler: OutputAssembler
    /// Where recovery may begin, and what a clean stop leaves.
    var snapshots: any SnapshotStore = NoSnapshots()
    /// Called after each commit with the verdicts' JSON of its epochs, one a line; for `weir demo`.
    public var committed: ((UnsafeRawBufferPointer) -> Void)?
    /// Hears of every epoch and transaction, when there is one.
    public var metrics: WorkerMetrics?
    /// Has the log's writer; nil before the log is owned.
    private var committer: Committer?
    /// Filled with the epochs judged since the last commit was started.
    private var filling = Commit()
    /// To be filled next: there are two, and one at most is under way.
    private var spare: Commit? = Commit()

    private var sources: [TopicPartition] = []
    /// Per source, the offset behind the last record judged.
    private var judgedTo: [Int64] = []
    /// The same as of the last commit that was started; -1 before there was one.
    private var handedOverTo: [Int64] = []
    private var tracker = WatermarkTracker(sources: 0, latenessMilliseconds: 0)
    private var epoch: Int64 = 0
    /// When each source last gave an event: who gives none for long is idle.
    private var lastEvent: [Duration] = []
    /// Scratch of ``judge(_:_:)``, by source.
    private var gaveEvents: [Bool] = []
    private var ranges: [JournalRecord.Range] = []
    private var idle: Duration { .milliseconds(deployment.description.time.idleMilliseconds) }
    /// Recovered from the journal and judging what arrives.
    public private(set) var isReady = false
    /// Since the start of the process.
    public private(set) var counts = EpochCounts()
    public private(set) var transactions: Int64 = 0
    public private(set) var ringsOpened = 0
    public private(set) var replayedEpochs: Int64 = 0
    public var stateBytes: Int { processor.engine.stateBytes }

    /// - Parameter clock: paces the worker; a test's own makes hours of it in a moment.
    public init(
        _ deployment: Deployment, log: any EventLog, threads: Int, options: WorkerOptions = WorkerOptions(),
        telemetry: Log = .silent, clock: any WorkerClock = SystemClock()
    ) {
        self.deployment = deployment
        self.log = log
        self.options = options
        self.telemetry = telemetry
        self.clock = clock
        team = ThreadTeam(lanes: threads)
        processor = EpochProcessor(deployment, team: team)
        assembler = OutputAssembler(deployment)
    }

    deinit {
        committer?.stop()
        team.stop()
    }

    /// Runs until `shouldStop` returns true; then drains what it holds and commits.
    public func run(shouldStop: () -> Bool) throws(LogError) {
        // The log is the caller's again when this returns.
        defer { if let commit = committer?.finish(waiting: nil), commit.error == nil { take(back: commit) } }
        // First of all: another topology's log is left exactly as it is.
        try JournalRecord.requireJournal(of: deployment.description.name, in: log)
        try log.create(OutputTopics.requirements(partitions: options.verdictPartitions))
        sources = try Worker.sources(of: deployment, in: log)
        committer?.stop()
        committer = Committer(try log.takeOwnership(), clock)
        let block = DecodedBlock(deployment, sources: sources, lanes: team.lanes)
        tracker = WatermarkTracker(
            sources: sources.count, latenessMilliseconds: deployment.description.time.latenessMilliseconds)
        guard try recover(block, shouldStop) else { return }
        isReady = true
        try live(block, shouldStop)
    }

    /// The partitions of all input topics, in the order of the topology's topics.
    static func sources(of deployment: Deployment, in log: any LogReader) throws(LogError) -> [TopicPartition] {
        var sources: [TopicPartition] = []
        for topic in deployment.description.topics {
            guard let partitions = try log.partitions(of: topic) else {
                throw LogError(
                    .refused,
                    "input topic '\(topic)' does not exist in the log: create it, or correct `topic:` in the topology")
            }
            for partition in partitions { sources.append(TopicPartition(topic, partition)) }
        }
        return sources
    }

    // MARK: Recovery

    /// Returns false when it was stopped before its end.
    private func recover(_ block: DecodedBlock, _ shouldStop: () -> Bool) throws(LogError) -> Bool {
        let newest = try JournalRecord.newest(in: log)
        let snapshot = try newest.flatMap { record throws(LogError) in
            try snapshots.newest(of: deployment, atOrBefore: record.epoch, lanes: team.lanes)
        }
        if let snapshot {
            processor.engine = snapshot.engine
            tracker = snapshot.tracker
        }
        let replay = JournalReplay(
            log, deployment, sources: sources, block: block, processor: processor, after: snapshot, clock: clock)
        let started = clock.now
        var said = started
        var isStopped = false
        try replay.run(seen: { source, time in tracker.see(source: source, time: time) }) { record in
            tracker.restore(watermark: record.watermark)
            metrics?.rebuilt(processor, watermark: record.watermark)
            if clock.now - said > .seconds(10) {
                said = clock.now
                telemetry.info("recovering", ["epochs": .int(Int(replay.epochs))])
            }
            isStopped = shouldStop()
            return !isStopped
        }
        if isStopped { return false }
        try replay.rewind()
        block.removeAll()
        metrics?.measure(processor.engine)
        replayedEpochs = replay.epochs
        judgedTo = replay.next
        if let last = replay.lastRecord {
            epoch = last.epoch + 1
            if last.topologyDigest != deployment.topologyDigest {
                telemetry.warn("the topology changed since the last epoch; its state was rebuilt from the log", [:])
            } else if last.releaseDigest != deployment.release.digest {
                telemetry.warn("the release changed since the last epoch; its windows were rebuilt from the log", [:])
            }
            telemetry.info(
                "recovered from the journal",
                ["epochs": .int(Int(replay.epochs)), "seconds": .double((clock.now - started).inSeconds)])
        } else {
            var positions: [SourcePosition] = []
            for (s, source) in sources.enumerated() {
                judgedTo[s] = try log.bounds(of: source).start
                positions.append(SourcePosition(source: source, next: judgedTo[s]))
            }
            try log.assign(positions)
        }
        for (s, source) in sources.enumerated() {
            // A partition that is empty has nothing to wait for.
            if tracker.clocks[s].reached == nil { tracker.isIdle[s] = try log.bounds(of: source).end <= judgedTo[s] }
        }
        let different = try log.committedPositions(of: sources).filter { position in
            sources.firstIndex(of: position.source).map { judgedTo[$0] != position.next } ?? false
        }
        if let first = different.first {
            telemetry.warn(
                "committed positions differ from the journal; the journal counts",
                [
                    "sources": .int(different.count), "first": .string(first.source.description),
                    "committed": .int(Int(first.next)),
                ])
        }
        lastEvent = [Duration](repeating: clock.now, count: sources.count)
        gaveEvents = [Bool](repeating: false, count: sources.count)
        handedOverTo = [Int64](repeating: -1, count: sources.count)
        return true
    }

    // MARK: Live

    /// Performs what the pace decides.
    private func live(_ block: DecodedBlock, _ shouldStop: () -> Bool) throws(LogError) {
        var pace = WorkerPace(options: options, polledAt: clock.now)
        var facts = WorkerPace.Facts()
        // A stop drains what was in the log when it came, for a few seconds at most; what comes later waits for the next start.
        var stopEnds: [Int64]?
        var intake = Intake(
            epochRecords: options.epochRecords, idle: idle, lateness: deployment.description.time.latenessMilliseconds,
            now: clock.now, next: judgedTo, ends: try ends(), reached: tracker.clocks.map(\.reached))
        telemetry.info("ready", ["sources": .int(sources.count), "epoch": .int(Int(epoch))])
        while true {
            look(at: block, intake, &facts)
            switch pace.next(facts) {
            case .look:
                try finishCommit(waiting: 0, shouldStop)
                facts.isStopAsked = shouldStop()
            case .drain: stopEnds = try ends()
            case .leave: stopEnds = intake.next
            case .resume:
                intake.resume(facts.now)
                for s in sources.indices { lastEvent[s] = facts.now }
            case .poll: facts.got = try intake.gather(block, from: log, facts.now, until: stopEnds)
            case .wait(let milliseconds): try log.wait(milliseconds: milliseconds)
            case .pause: try pause()
            case .cut: facts.hasJudged = cut(block, &intake, until: stopEnds)
            case .commit: startCommit()
            case .awaitCommit(let milliseconds): try finishCommit(waiting: milliseconds, shouldStop)
            case .stop: return try leave()
            }
        }
    }

    /// Brings up to date what the pace decides by.
    private func look(at block: DecodedBlock, _ intake: Intake, _ facts: inout WorkerPace.Facts) {
        facts.now = clock.now
        facts.staged = block.stagedCount
        facts.isFull = block.isFull
        facts.hasBacklog = intake.hasBacklog
        facts.isHeldUp = intake.isHeldUp
        facts.isFilling = !filling.batch.isEmpty
        facts.filledRecords = filling.records
        facts.filledBytes = filling.batch.bytes.count
        facts.isCommitting = committer?.isBusy == true
    }

    /// A clean end: everything is committed.
    private func leave() throws(LogError) {
        if epoch > 0 {
            try snapshots.save(
                Snapshot(
                    epoch: epoch - 1,
                    positions: sources.indices.map { SourcePosition(source: sources[$0], next: judgedTo[$0]) },
                    tracker: tracker, engine: processor.engine), of: deployment)
        }
        telemetry.info(
            "stopped",
            [
                "events": .int(Int(counts.events)), "verdicts": .int(Int(counts.verdicts)),
                "transactions": .int(Int(transactions)),
            ])
    }

    /// Where each source ends now.
    private func ends() throws(LogError) -> [Int64] {
        var ends: [Int64] = []
        for source in sources { ends.append(try log.bounds(of: source).end) }
        return ends
    }

    /// Waits a little for records.
    private func pause() throws(LogError) {
        let asked = clock.now
        try log.wait(milliseconds: 20)
        // Records of a source that waits for others end the waiting at once.
        if clock.now - asked < .milliseconds(1) { clock.pause(for: .microseconds(300)) }
    }

    /// Decodes what is staged, and judges what need not wait for other sources; returns whether anything was judged.
    private func cut(_ block: DecodedBlock, _ intake: inout Intake, until stopEnds: [Int64]?) -> Bool {
        let came = clock.now
        block.decode(team)
        intake.align(block, came, until: stopEnds)
        if block.stagedCount > 0 {
            judge(block, &intake)
            return true
        }
        block.removeAll()
        return false
    }

    /// Judges what was decoded and not held back as one epoch, and gathers its outputs.
    private func judge(_ block: DecodedBlock, _ intake: inout Intake) {
        let began = clock.now
        for source in block.eventSources { gaveEvents[Int(source)] = true }
        for s in sources.indices {
            // Whose events are held back, or not even read yet, waits for others.
            if gaveEvents[s] || block.heldFrom[s] != nil || intake.hasBacklog(s) {
                gaveEvents[s] = false
                lastEvent[s] = began
                tracker.isIdle[s] = false
            } else if !tracker.isIdle[s], began - lastEvent[s] > idle {
                tracker.isIdle[s] = true
            }
        }
        let watermark = tracker.advance { intake.heldTime(of: $0, in: block) }
        processor.process(block.events, rejected: block.rejected.count, watermark: watermark) { i in
            tracker.see(source: Int(block.eventSources[i]), time: block.events[i].time)
            intake.see(source: Int(block.eventSources[i]), time: block.events[i].time)
        }
        counts += processor.counts
        assembler.appendVerdicts(
            processor.engine, epoch: epoch, recordedMilliseconds: clock.wallMilliseconds, to: &filling.batch)
        assembler.appendDeadLetters(block, sources: sources, to: &filling.batch)
        assembler.appendLate(processor.late, watermark: watermark, to: &filling.batch)
        ranges.removeAll(keepingCapacity: true)
        for s in sources.indices {
            let to = block.heldFrom[s] ?? intake.next[s]
            if to <= judgedTo[s] { continue }
            ranges.append(JournalRecord.Range(source: sources[s], from: judgedTo[s], to: to))
            judgedTo[s] = to
        }
        let c = processor.counts
        assembler.appendJournal(
            JournalRecord(
                epoch: epoch, topologyName: deployment.description.name, watermark: watermark, ranges: ranges,
                events: c.events, deadLetters: c.deadLetters, late: c.late,
                verdicts: c.verdicts, topologyDigest: deployment.topologyDigest,
                releaseDigest: deployment.release.digest), to: &filling.batch)
        epoch += 1
        filling.records += Int(c.records)
        if committed != nil {
            processor.engine.forEachOutput { filling.verdicts.append(contentsOf: $0.verdicts.bytes) }
        }
        processor.engine.forEachRing { if $0.isOpening { ringsOpened += 1 } }
        metrics?.judged(
            processor, block, sources: sources, watermark: watermark, seconds: (clock.now - began).inSeconds)
        block.removeAll()
    }

    /// Hands over what was judged; the commit before must have ended.
    private func startCommit() {
        guard let empty = spare else { preconditionFailure("a commit is under way: finish it first") }
        spare = nil
        for s in sources.indices where judgedTo[s] != handedOverTo[s] {
            filling.positions.append(SourcePosition(source: sources[s], next: judgedTo[s]))
            handedOverTo[s] = judgedTo[s]
        }
        committer?.start(filling)
        filling = empty
    }

    /// Counts a commit that succeeded, and keeps it to be filled again.
    private func take(back commit: Commit) {
        metrics?.committed(seconds: commit.seconds, succeeded: true, processor.engine, commit.counters)
        transactions += 1
        if let committed { commit.verdicts.withUnsafeBytes { committed($0) } }
        commit.removeAll()
        spare = commit
    }

    /// Takes back the commit under way if it ends within the time; one that failed and may succeed later is tried again until told to stop.
    ///
    /// - Parameter milliseconds: nil: waits until it has ended well.
    private func finishCommit(waiting milliseconds: Int?, _ shouldStop: () -> Bool) throws(LogError) {
        while let commit = committer?.finish(waiting: milliseconds) {
            guard let error = commit.error else {
                take(back: commit)
                return
            }
            metrics?.committed(seconds: 0, succeeded: false, processor.engine, commit.counters)
            guard error.kind == .transient, !shouldStop() else { throw error }
            telemetry.warn("the commit is tried again", ["reason": .string(error.message)])
            // The log has waited and tried several times itself; this only keeps one that answers at once from spinning.
            clock.pause(for: .milliseconds(50))
            committer?.start(commit)
        }
    }
}
