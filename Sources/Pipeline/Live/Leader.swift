import Detection
import Telemetry

/// Judges what arrives and commits it, from where a ``Follower`` has come to; alone on its log, which it owns.
///
/// When is decided by ``WorkerPace``; here its steps are performed. Everything happens on the calling thread but the stages and the
/// commits.
final class Leader {
    let deployment: Deployment
    let log: any LogReader
    private let committer: Committer
    let options: WorkerOptions
    let clock: any WorkerClock
    let telemetry: Log
    private let mailbox: Mailbox
    let metrics: WorkerMetrics?
    private let committed: ((UnsafeRawBufferPointer) -> Void)?

    let processor: EpochProcessor
    let block: DecodedBlock
    private let assembler: OutputAssembler
    /// Those of the follower, and behind them the partitions that were added since, in the order in which they were found.
    private(set) var sources: [TopicPartition]
    var tracker: WatermarkTracker
    private(set) var intake: Intake
    private var pace: WorkerPace
    private(set) var facts = WorkerPace.Facts()
    /// Number of the next epoch.
    var epoch: Int64
    /// The chained digest of what those before it were given; nil: there are none, or their journal does not say.
    private var inputDigest: UInt64?
    let snapshots: SnapshotWriter?
    /// Of the last epoch that was judged; nil: none was.
    var lastRecord: JournalRecord?
    var captured: CapturedSnapshot?
    var capturedAt: Duration
    var captureSeconds = 0.0
    /// The last epoch of the snapshot given to be saved last; -1: none, or it failed.
    var savedEpoch: Int64 = -1
    /// Per source, the offset behind the last record judged.
    private(set) var judgedTo: [Int64]
    /// The same as of the last commit that was started; -1 before there was one.
    private var handedOverTo: [Int64]
    /// Per source, the offset from which nothing is read any more; nil: everything is.
    ///
    /// A stop drains what was in the log when it came, for a few seconds at most; what comes later waits for the next start.
    private(set) var stopEnds: [Int64]?
    /// When each source last gave an event, or said after an outage that it has none: who gives none for long is idle.
    private(set) var lastEvent: [Duration]
    /// What was read and is not committed.
    private var uncommitted: Uncommitted
    /// Sources that could not be asked, or had more to give, at the last look.
    private var isUnheard: [Bool]
    private let idle: Duration
    var watch: InputWatch
    /// Filled with the epochs judged since the last commit was started.
    private var filling = Commit()
    private var retryPause = RetryPause()
    private var refusedInputs = RefusedInputs()
    /// To be filled next: there are two, and one at most is under way.
    private var spare: Commit? = Commit()
    /// Scratch of ``judge()``: by source, whether it gave events; those that gave none for long; and the ranges of the epoch.
    private var gaveEvents: [Bool]
    /// The same: by source, whether it gave events behind the watermark for which nobody had waited.
    private var gaveAligned: [Bool]
    private var quiet: [Int] = []
    private var ranges: [JournalRecord.Range] = []

    /// Since it leads.
    private(set) var counts = EpochCounts()
    private(set) var transactions: Int64 = 0
    private(set) var ringsOpened = 0

    /// Takes over from a follower that has come to the journal's end.
    ///
    /// - Parameters:
    ///   - log: the one that the follower reads.
    ///   - committer: with the log's writer, so that nobody else leads; the caller stops it.
    ///   - committed: called after each commit with the verdicts' JSON of its epochs, one a line.
    init(
        _ follower: Follower,
        log: any LogReader,
        committer: Committer,
        snapshots: SnapshotWriter? = nil,
        options: WorkerOptions = WorkerOptions(),
        clock: any WorkerClock,
        telemetry: Log = .silent,
        mailbox: Mailbox = Mailbox(),
        metrics: WorkerMetrics? = nil,
        committed: ((UnsafeRawBufferPointer) -> Void)? = nil
    ) throws(LogError) {
        deployment = follower.deployment
        self.log = log
        self.committer = committer
        self.snapshots = snapshots
        self.options = options
        self.clock = clock
        self.telemetry = telemetry
        self.mailbox = mailbox
        self.metrics = metrics
        self.committed = committed
        processor = follower.processor
        block = follower.block
        assembler = OutputAssembler(follower.deployment)
        sources = follower.sources
        epoch = follower.nextEpoch
        inputDigest = follower.lastRecord?.proof?.inputDigest
        lastRecord = follower.lastRecord
        judgedTo = try follower.handOver()
        tracker = follower.tracker
        let now = clock.now
        capturedAt = now
        handedOverTo = [Int64](repeating: -1, count: sources.count)
        lastEvent = [Duration](repeating: now, count: sources.count)
        watch = InputWatch(from: now)
        uncommitted = Uncommitted(from: judgedTo)
        isUnheard = [Bool](repeating: false, count: sources.count)
        gaveEvents = [Bool](repeating: false, count: sources.count)
        gaveAligned = gaveEvents
        let time = deployment.description.time
        idle = .milliseconds(time.idleMilliseconds)
        let ends = try Leader.ends(of: sources, in: log)
        for s in sources.indices where tracker.clocks[s].reached == nil {
            // A partition that is empty has nothing to wait for.
            tracker.isIdle[s] = ends[s] <= judgedTo[s]
        }
        intake = Intake(
            epochRecords: options.epochRecords,
            idle: idle,
            lateness: time.latenessMilliseconds,
            now: now,
            next: judgedTo,
            ends: ends,
            reached: tracker.clocks.map(\.reached)
        )
        pace = WorkerPace(options: options, polledAt: now)
        metrics?.signals.lead(sources, from: judgedTo, epoch: epoch)
    }

    /// Performs what the pace decides, until `shouldStop` returns true and what was there then is judged and committed.
    ///
    /// - Throws: ``LogError``; of an input that moved otherwise than by growing, what became of it (``InputState``).
    func run(shouldStop: () -> Bool) throws(LogError) {
        do throws(LogError) { try lead(shouldStop) } catch { throw cause(of: error) }
    }

    private func lead(_ shouldStop: () -> Bool) throws(LogError) {
        // The log is the caller's again when this returns.
        defer { if let commit = committer.finish(waiting: nil), commit.error == nil { take(back: commit) } }
        while true {
            look()
            switch pace.next(facts) {
            case .look:
                tellTurn()
                try finishCommit(waiting: 0, shouldStop)
                facts.isStopAsked = shouldStop()
                try lookAfterInputs()
            case .drain: stopEnds = endsAtStop()
            case .leave: stopEnds = intake.next
            case .serve: mailbox.serve(WorkerView(engine: processor.engine, epochs: epoch))
            case .resume:
                intake.resume(facts.now)
                for s in sources.indices { lastEvent[s] = facts.now }
            case .poll:
                facts.got = try intake.gather(block, from: log, facts.now, until: stopEnds)
                if facts.got > 0, let metrics {
                    uncommitted.read(to: intake.next, now: clock.wallMilliseconds)
                    metrics.signals.wait(uncommitted)
                }
            case .wait(let milliseconds): try log.wait(milliseconds: milliseconds)
            case .pause: try pause()
            case .cut: facts.hasJudged = cut()
            case .endTick: endTick()
            case .commit: startCommit()
            case .awaitCommit(let milliseconds): try finishCommit(waiting: milliseconds, shouldStop)
            case .stop: return
            }
        }
    }

    /// Tells those who watch that the worker goes round: one that may not read its inputs does not.
    private func tellTurn() {
        let isRefused = refusedInputs.look(log.refusal, telemetry)
        guard let metrics else { return }
        if !isRefused { metrics.signals.turn() }
        // A position may move where no record came, past markers of transactions.
        if block.stagedCount == 0, filling.batch.isEmpty, !committer.isBusy, !uncommitted.isEmpty {
            uncommitted.settle()
            metrics.signals.wait(uncommitted)
        }
    }

    /// Brings up to date what the pace decides by.
    private func look() {
        facts.now = clock.now
        facts.hasMail = mailbox.hasMail
        facts.staged = block.stagedCount
        facts.isFull = block.isFull
        facts.hasBacklog = intake.hasBacklog
        facts.isHeldUp = intake.isHeldUp
        facts.isSilent = isSilent
        facts.isFilling = !filling.batch.isEmpty
        facts.filledRecords = filling.records
        facts.filledBytes = filling.batch.bytes.count
        facts.isCommitting = committer.isBusy
    }

    /// Whether a tick is open and all sources have been silent for as long as makes them idle.
    ///
    /// An event that is read and not judged is no silence, be it held back or behind others of its source.
    private var isSilent: Bool {
        processor.engine.openTickEnd != nil && block.stagedCount == 0 && !intake.hasBacklog
            && lastEvent.allSatisfy { facts.now - $0 > idle }
    }

    /// Where each source ended when a stop was asked for: one whose end nobody tells is left where it is.
    private func endsAtStop() -> [Int64] {
        var asked = log.askEnds(sources)
        // A broker that is busy may need longer than one question waits.
        for _ in 0..<2 where asked.contains(.unknown) { asked = log.askEnds(sources) }
        return zip(intake.next, asked).map { next, end in
            if case .at(let offset) = end { offset } else { next }
        }
    }

    /// Where each source ends now.
    private static func ends(of sources: [TopicPartition], in log: any LogReader) throws(LogError) -> [Int64] {
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

    /// Reads a source more, between two epochs.
    ///
    /// - Parameter bounds: of what it holds now, all of which is a backlog.
    func add(_ source: TopicPartition, _ bounds: (start: Int64, end: Int64)) throws(LogError) {
        let index = try log.add(SourcePosition(source: source, next: bounds.start))
        precondition(index == sources.count, "a source is added behind the others")
        block.add(SourceDecoding(source, of: deployment))
        sources.append(source)
        tracker.addSource(isIdle: bounds.end <= bounds.start)
        intake.addSource(from: bounds.start, end: bounds.end, facts.now)
        judgedTo.append(bounds.start)
        handedOverTo.append(-1)
        lastEvent.append(facts.now)
        uncommitted.addSource(at: bounds.start)
        isUnheard.append(false)
        gaveEvents.append(false)
        gaveAligned.append(false)
        metrics?.signals.add(SourcePosition(source: source, next: bounds.start))
    }

    // MARK: Epochs

    /// Decodes what is staged, and judges what need not wait for other sources; returns whether anything was judged.
    private func cut() -> Bool {
        let came = clock.now
        block.decode(processor.team)
        intake.align(block, came, until: stopEnds)
        if block.stagedCount > 0 {
            judge()
            return true
        }
        block.removeAll()
        return false
    }

    /// Ends the open tick where no event ends it: what its events taught is seen and said, in an epoch without events.
    ///
    /// Event time has come to the tick's end by that, and no further: a tick that is empty is not ended, however long it is silent.
    private func endTick() {
        guard let end = processor.engine.openTickEnd else { return }
        quiet.removeAll(keepingCapacity: true)
        quiet.append(contentsOf: sources.indices)
        if askQuiet() { judge(triggers: [.endTick(at: end)]) }
    }

    /// Judges what was decoded and not held back as one epoch, and gathers its outputs.
    ///
    /// - Parameter triggers: decisions that come before the events.
    private func judge(triggers: [Trigger] = []) {
        let began = clock.now
        findIdle(began)
        let watermark = tracker.advance { intake.heldTime(of: $0, in: block) }
        let alignedFrom = tracker.behindFrom
        processor.process(
            block.events,
            records: block.stagedCount,
            rejected: block.rejected.count,
            ignored: block.ignored.count,
            watermark: watermark,
            triggers: triggers,
            isAligned: { i in
                let source = Int(block.eventSources[i])
                guard let from = alignedFrom[source], block.events[i].time >= from else { return false }
                gaveAligned[source] = true
                return true
            }
        ) { i in
            tracker.see(source: Int(block.eventSources[i]), time: block.events[i].time)
            intake.see(source: Int(block.eventSources[i]), time: block.events[i].time)
        }
        counts += processor.counts
        assembler.appendVerdicts(processor.engine, epoch: epoch, to: &filling.batch)
        assembler.appendDeadLetters(block, sources: sources, to: &filling.batch)
        assembler.appendLate(processor.setAside, watermark: watermark, to: &filling.batch)
        takeRanges()
        let c = processor.counts
        var record = JournalRecord(
            epoch: epoch,
            topologyName: deployment.description.name,
            watermark: watermark,
            triggers: triggers,
            aligned: takeAligned(alignedFrom),
            ranges: ranges,
            counts: c,
            topologyDigest: deployment.topologyDigest,
            releaseDigest: deployment.release.digest,
            keyFingerprint: deployment.keyFingerprint
        )
        let digest = record.chainedInputDigest(after: inputDigest)
        record.proof = JournalRecord.Proof(
            engine: Deployment.engineVersion,
            inputDigest: digest,
            verdictDigest: OutputAssembler.verdictDigest(of: processor.engine)
        )
        inputDigest = digest
        lastRecord = record
        assembler.appendJournal(record, to: &filling.batch)
        epoch += 1
        filling.records += Int(c.records)
        if metrics != nil { block.addAppendTimes(to: &filling.appended) }
        if committed != nil {
            processor.engine.forEachOutput { filling.verdicts.append(contentsOf: $0.verdicts.bytes) }
        }
        processor.engine.forEachRing { if $0.isOpening { ringsOpened += 1 } }
        metrics?.judged(
            processor,
            block,
            sources: sources,
            watermark: watermark,
            seconds: (clock.now - began).inSeconds
        )
        block.removeAll()
    }

    /// Finds which sources hold the watermark back no longer, as they have given no event for long.
    private func findIdle(_ now: Duration) {
        for source in block.eventSources { gaveEvents[Int(source)] = true }
        quiet.removeAll(keepingCapacity: true)
        for s in sources.indices {
            // Whose events are held back, or not even read yet, waits for others.
            if gaveEvents[s] || block.heldFrom[s] != nil || intake.hasBacklog(s) {
                gaveEvents[s] = false
                isUnheard[s] = false
                lastEvent[s] = now
                tracker.isIdle[s] = false
            } else if !tracker.isIdle[s], now - lastEvent[s] > idle {
                quiet.append(s)
            }
        }
        askQuiet()
    }

    /// Asks the log whether the sources that gave nothing for long have nothing to give; returns whether all are idle by that.
    ///
    /// Of the others, be it that the log is away, nobody knows, and their silence begins with the next answer. Without it brokers
    /// that were away for as long as makes a source idle would be taken for shops in which nothing happened.
    @discardableResult
    private func askQuiet() -> Bool {
        if quiet.isEmpty { return true }
        let isEnd = log.areEnds(quiet.map { SourcePosition(source: sources[$0], next: intake.next[$0]) })
        let now = clock.now
        var areIdle = true
        for (s, isEnd) in zip(quiet, isEnd) {
            if isEnd, !isUnheard[s] {
                tracker.isIdle[s] = true
                continue
            }
            areIdle = false
            isUnheard[s] = !isEnd
            lastEvent[s] = now
        }
        return areIdle
    }

    /// Finds what the epoch takes of each source.
    private func takeRanges() {
        ranges.removeAll(keepingCapacity: true)
        let digests = block.takeInputDigests()
        for s in sources.indices {
            let to = block.heldFrom[s] ?? intake.next[s]
            if to <= judgedTo[s] { continue }
            ranges.append(JournalRecord.Range(source: sources[s], from: judgedTo[s], to: to, digest: digests[s]))
            judgedTo[s] = to
        }
    }

    /// Finds the sources whose events were judged at their own time behind the watermark.
    ///
    /// - Parameter from: per source, the least time of such events; nil: it has none.
    private func takeAligned(_ from: [Int64?]) -> [JournalRecord.Aligned] {
        if processor.counts.aligned == 0 { return [] }
        defer { for s in gaveAligned.indices { gaveAligned[s] = false } }
        return sources.indices.compactMap { s in
            gaveAligned[s] ? from[s].map { JournalRecord.Aligned(source: sources[s], from: $0) } : nil
        }
    }

    // MARK: Commits

    /// Hands over what was judged; the commit before must have ended.
    private func startCommit() {
        guard let empty = spare else { preconditionFailure("a commit is under way: finish it first") }
        spare = nil
        for s in sources.indices where judgedTo[s] != handedOverTo[s] {
            filling.positions.append(SourcePosition(source: sources[s], next: judgedTo[s]))
            handedOverTo[s] = judgedTo[s]
        }
        metrics?.signals.committing()
        committer.start(filling)
        filling = empty
        captureIfDue()
    }

    /// Counts a commit that succeeded, and keeps it to be filled again.
    private func take(back commit: Commit) {
        if let metrics {
            // One commit at a time, so these are its positions.
            uncommitted.commit(to: handedOverTo)
            metrics.committed(seconds: commit.seconds, commit.counters)
            let epoch = commit.batch.epochs?.upperBound ?? epoch - 1
            metrics.signals.committed(uncommitted, epoch: epoch, commit.appended, ended: commit.ended)
        }
        transactions += 1
        retryPause.succeeded()
        if let committed { commit.verdicts.withUnsafeBytes { committed($0) } }
        commit.removeAll()
        spare = commit
        if let captured {
            snapshots?.start(captured)
            savedEpoch = captured.epoch
            self.captured = nil
        }
    }

    /// Takes back the commit under way if it ends within the time; one that failed and may succeed later is tried again until told
    /// to stop.
    ///
    /// - Parameter milliseconds: nil: waits until it has ended well.
    private func finishCommit(waiting milliseconds: Int?, _ shouldStop: () -> Bool) throws(LogError) {
        while let commit = committer.finish(waiting: milliseconds) {
            guard let error = commit.error else {
                take(back: commit)
                return
            }
            metrics?.failed(error, commit.counters)
            if shouldStop() { throw LogError(undrained: error) }
            guard error.kind == .transient else { throw error }
            telemetry.warn("the commit is tried again", ["reason": .string(error.message)])
            retryPause.wait(by: clock, salt: epoch, shouldStop)
            committer.start(commit)
        }
    }
}
