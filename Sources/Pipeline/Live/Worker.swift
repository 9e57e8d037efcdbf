import Detection
import func Glibc.usleep
public import Telemetry

/// How a worker cuts epochs and transactions.
public struct WorkerOptions: Sendable {
    /// An epoch closes after this many records.
    public var epochRecords = 4096
    /// An epoch closes this long after its first record, full or not.
    public var lingerMilliseconds = 2.0
    /// While input keeps coming, epochs share a transaction up to this long.
    public var transactionMilliseconds = 20.0
    /// While there is a backlog a transaction lasts longer, up to this many records or bytes of output.
    public var transactionRecords = 50_000
    public var transactionBytes = 16 << 20
    /// How far a source with a backlog may run ahead of the others in event time.
    public var alignmentMilliseconds: Int64 = 30_000
    /// How long a stop goes on reading what was in the log when it came.
    public var drainMilliseconds: Int64 = 5000
    /// Partitions of the verdict topic when it is made.
    public var verdictPartitions = 4

    public init() {}
}

/// One worker in fused mode: recovers from the journal, then judges what arrives, exactly once, until told to stop.
///
/// Everything happens on the calling thread but the stages, which the team shares. An epoch's outputs, its journal record and the input
/// positions are committed in one step by the log; state in memory runs ahead of the commit only until it returns.
public final class Worker {
    private let deployment: Deployment
    private let log: any EventLog
    private let options: WorkerOptions
    private let telemetry: Log
    private let team: ThreadTeam
    private let processor: EpochProcessor
    private let assembler: OutputAssembler
    private let takeOwnership: () throws(LogError) -> Void
    /// Called after each commit with the verdicts' JSON of its epochs, one a line; for `weir demo`.
    public var committed: ((UnsafeRawBufferPointer) -> Void)?
    /// Hears of every epoch and transaction, when there is one.
    public var metrics: WorkerMetrics?
    /// Verdicts judged and not yet committed, for ``committed``.
    private var pendingVerdicts: [UInt8] = []

    private var sources: [TopicPartition] = []
    private var next: [Int64] = []
    private var tracker = WatermarkTracker(sources: 0, latenessMilliseconds: 0)
    private var pace = SourcePace(sources: 0)
    private var epoch: Int64 = 0
    /// When each source last gave an event: who gives none for long is idle.
    private var lastEvent: [ContinuousClock.Instant] = []
    /// Scratch of ``close(_:from:into:)``, by source.
    private var gaveEvents: [Bool] = []
    /// Scratch of the same and of ``commit(_:_:)``.
    private var ranges: [JournalRecord.Range] = []
    private var positions: [SourcePosition] = []
    private var idle: Duration { .milliseconds(deployment.description.time.idleMilliseconds) }
    /// Recovered from the journal and judging what arrives.
    public private(set) var isReady = false
    /// Since the start of the process.
    public private(set) var counts = EpochCounts()
    public private(set) var transactions: Int64 = 0
    public private(set) var ringsOpened = 0
    public private(set) var replayedEpochs: Int64 = 0
    public var stateBytes: Int { processor.engine.stateBytes }

    /// - Parameters:
    ///   - takeOwnership: fences a former self on the log; called before the journal is read.
    public init(
        _ deployment: Deployment, log: any EventLog, threads: Int, options: WorkerOptions = WorkerOptions(),
        telemetry: Log = .silent,
        takeOwnership: @escaping () throws(LogError) -> Void
    ) {
        self.deployment = deployment
        self.log = log
        self.options = options
        self.telemetry = telemetry
        self.takeOwnership = takeOwnership
        team = ThreadTeam(lanes: threads)
        processor = EpochProcessor(deployment, team: team)
        assembler = OutputAssembler(deployment)
    }

    deinit { team.stop() }

    /// Runs until `shouldStop` answers true; then drains what it holds and commits.
    public func run(shouldStop: () -> Bool) throws(LogError) {
        try log.create(OutputTopics.requirements(partitions: options.verdictPartitions))
        sources = try Worker.sources(of: deployment, in: log)
        try takeOwnership()
        let block: DecodedBlock
        do throws(CSVHeaderError) {
            block = try DecodedBlock(
                plan: deployment.decodePlan,
                sources: sources.map {
                    SourceDecoding(
                        topic: deployment.description.topics.firstIndex(of: $0.topic), partition: $0.partition, csv: nil
                    )
                }, lanes: team.lanes)
        } catch { throw LogError(.refused, error.description) }
        tracker = WatermarkTracker(
            sources: sources.count, latenessMilliseconds: deployment.description.time.latenessMilliseconds)
        pace = SourcePace(sources: sources.count)
        guard try recover(block, shouldStop) else { return }
        isReady = true
        try live(block, shouldStop)
    }

    /// The partitions of all input topics, in the order of the topology's topics.
    static func sources(of deployment: Deployment, in log: any EventLog) throws(LogError) -> [TopicPartition] {
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

    /// Answers false when it was stopped before its end.
    private func recover(_ block: DecodedBlock, _ shouldStop: () -> Bool) throws(LogError) -> Bool {
        let replay = JournalReplay(log, deployment, sources: sources, block: block, processor: processor)
        let started = ContinuousClock.now
        var said = started
        var isStopped = false
        try replay.run(seen: { source, time in tracker.see(source: source, time: time) }) { record in
            tracker.restore(watermark: record.watermark)
            metrics?.rebuilt(processor, watermark: record.watermark)
            if said.duration(to: .now) > .seconds(10) {
                said = .now
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
        next = replay.next
        if let last = replay.lastRecord {
            epoch = last.epoch + 1
            if last.ruleSetDigest != deployment.ruleSetDigest {
                telemetry.warn("rules changed since the last epoch; their windows were rebuilt from the log", [:])
            } else if last.topologyDigest != deployment.topologyDigest || last.modelsDigest != deployment.modelsDigest {
                telemetry.warn("the topology changed since the last epoch; its state was rebuilt from the log", [:])
            }
            telemetry.info(
                "recovered from the journal",
                ["epochs": .int(Int(replay.epochs)), "seconds": .double(started.duration(to: .now).inSeconds)])
        } else {
            var positions: [SourcePosition] = []
            for (s, source) in sources.enumerated() {
                next[s] = try log.bounds(of: source).start
                positions.append(SourcePosition(source: source, next: next[s]))
            }
            try log.assign(positions)
        }
        for (s, source) in sources.enumerated() {
            // A partition that is empty has nothing to wait for.
            if tracker.highest[s] == nil { tracker.isIdle[s] = try log.bounds(of: source).end <= next[s] }
        }
        let different = try log.committedPositions(of: sources).filter { position in
            sources.firstIndex(of: position.source).map { next[$0] != position.next } ?? false
        }
        if let first = different.first {
            telemetry.warn(
                "committed positions differ from the journal; the journal counts",
                [
                    "sources": .int(different.count), "first": .string(first.source.description),
                    "committed": .int(Int(first.next)),
                ])
        }
        lastEvent = [ContinuousClock.Instant](repeating: .now, count: sources.count)
        gaveEvents = [Bool](repeating: false, count: sources.count)
        return true
    }

    // MARK: Live

    private func live(_ block: DecodedBlock, _ shouldStop: () -> Bool) throws(LogError) {
        var batch = OutputBatch(topics: OutputTopics.all)
        var batchRecords = 0
        var batchStart = ContinuousClock.now
        var firstRecord: ContinuousClock.Instant?
        // When each source's event time last rose.
        var peaks = tracker.highest
        var lastRise = lastEvent
        var round = ContinuousClock.now
        var from = next
        var turn = 0
        var hasBacklog = [Bool](repeating: false, count: sources.count)
        var endAtStart: [Int64] = []
        for source in sources { endAtStart.append(try log.bounds(of: source).end) }
        // A stop drains what was in the log when it came, for a few seconds at most; what comes later waits for the next start.
        var stopEnds: [Int64]?
        var stopDeadline = ContinuousClock.now
        telemetry.info("ready", ["sources": .int(sources.count), "epoch": .int(Int(epoch))])
        while true {
            let isStopping = shouldStop()
            if isStopping, stopEnds == nil {
                var ends: [Int64] = []
                for source in sources { ends.append(try log.bounds(of: source).end) }
                stopEnds = ends
                stopDeadline = .now + .milliseconds(options.drainMilliseconds)
            }
            let mayRead = !isStopping || ContinuousClock.now < stopDeadline
            // In a backlog the sources advance together in event time: who is ahead waits, so that windows across topics see each event's own
            // past. Sources without backlog are always asked; the turn rotates who comes first.
            // One whose time stands still for long (no events, a stuck clock, an end that is never reached) is waited for no longer.
            let isLate = round.duration(to: .now) > .seconds(1)
            round = .now
            if isLate {
                // A commit or the machine held us up: nobody was asked meanwhile, so nobody stood still.
                for s in sources.indices {
                    lastEvent[s] = round
                    lastRise[s] = round
                }
            }
            var floor: Int64?
            for s in sources.indices {
                if tracker.highest[s] != peaks[s] {
                    peaks[s] = tracker.highest[s]
                    lastRise[s] = round
                }
                guard hasBacklog[s] || next[s] < endAtStart[s], lastRise[s].duration(to: round) <= idle else {
                    continue
                }
                floor = min(floor ?? .max, tracker.highest[s] ?? .min)
            }
            let bound =
                floor.map { floor in
                    let (sum, overflow) = floor.addingReportingOverflow(options.alignmentMilliseconds)
                    return overflow ? .max : sum
                } ?? .max
            let eligible = sources.indices.count { (tracker.highest[$0] ?? .min) <= bound }
            let share = max(64, options.epochRecords / max(1, eligible))
            var got = 0
            for k in sources.indices
            where mayRead && block.stagedCount < options.epochRecords
                && block.stagedBytes < DecodedBlock.stagedBytesMax
            {
                let s = (k + turn) % sources.count
                if let time = tracker.highest[s], time > bound, hasBacklog[s] || next[s] < endAtStart[s] {
                    // Who waits for others is not idle.
                    lastEvent[s] = round
                    lastRise[s] = round
                    continue
                }
                if let stopEnds, next[s] >= stopEnds[s] { continue }
                let before = block.stagedCount
                var limit = min(share, options.epochRecords - block.stagedCount)
                if let floor, floor > .min { limit = min(limit, pace.records(of: s, ahead: bound)) }
                next[s] = try log.poll(source: s, limit: limit) { record in
                    block.stage(source: s, offset: record.offset, appendTime: record.appendTime, value: record.value)
                }
                hasBacklog[s] = block.stagedCount - before >= min(limit, 64)
                got += block.stagedCount - before
            }
            turn += 1
            let isFull = block.stagedCount >= options.epochRecords || block.stagedBytes >= DecodedBlock.stagedBytesMax
            if block.stagedCount > 0 {
                let now = ContinuousClock.now
                if firstRecord == nil { firstRecord = now }
                let age = (firstRecord ?? now).duration(to: now).inSeconds * 1000
                if !isFull, !isStopping, age < options.lingerMilliseconds {
                    // More may be on its way; an open transaction waits no longer for it than for the linger.
                    if got == 0 { try log.wait(milliseconds: 1) }
                    continue
                }
                if batch.isEmpty { batchStart = firstRecord ?? now }
                firstRecord = nil
                batchRecords += block.stagedCount
                try close(block, from: &from, into: &batch)
                let open = batchStart.duration(to: .now).inSeconds * 1000
                let isBacklog = isFull
                let isDue =
                    batchRecords >= options.transactionRecords || batch.bytes.count >= options.transactionBytes
                    || (!isBacklog) || open >= 10 * options.transactionMilliseconds
                if isDue {
                    try commit(&batch, shouldStop)
                    batchRecords = 0
                }
                continue
            }
            if !batch.isEmpty {
                try commit(&batch, shouldStop)
                batchRecords = 0
            }
            if isStopping { break }
            let asked = ContinuousClock.now
            try log.wait(milliseconds: 20)
            // Records of a source that waits for others end the waiting at once.
            if asked.duration(to: .now) < .milliseconds(1) { usleep(300) }
        }
        telemetry.info(
            "stopped",
            [
                "events": .int(Int(counts.events)), "verdicts": .int(Int(counts.verdicts)),
                "transactions": .int(Int(transactions)),
            ])
    }

    /// Judges what was staged as one epoch and gathers its outputs.
    private func close(_ block: DecodedBlock, from: inout [Int64], into batch: inout OutputBatch) throws(LogError) {
        let began = ContinuousClock.now
        block.decode(team)
        for source in block.eventSources { gaveEvents[Int(source)] = true }
        for s in sources.indices {
            if gaveEvents[s] {
                gaveEvents[s] = false
                lastEvent[s] = began
                tracker.isIdle[s] = false
            } else if !tracker.isIdle[s], lastEvent[s].duration(to: began) > idle {
                tracker.isIdle[s] = true
            }
        }
        let watermark = tracker.advance()
        processor.process(block.events, rejected: block.rejected.count, watermark: watermark) { i in
            tracker.see(source: Int(block.eventSources[i]), time: block.events[i].time)
            pace.see(source: Int(block.eventSources[i]), time: block.events[i].time)
        }
        counts += processor.counts
        assembler.appendVerdicts(processor.engine, recordedMilliseconds: Log.wallClockMilliseconds(), to: &batch)
        assembler.appendDeadLetters(block, sources: sources, to: &batch)
        assembler.appendLate(processor.late, watermark: watermark, to: &batch)
        ranges.removeAll(keepingCapacity: true)
        for s in sources.indices where next[s] > from[s] {
            ranges.append(JournalRecord.Range(source: sources[s], from: from[s], to: next[s]))
            from[s] = next[s]
        }
        let c = processor.counts
        assembler.appendJournal(
            JournalRecord(
                epoch: epoch, watermark: watermark, ranges: ranges, events: c.events, deadLetters: c.deadLetters,
                late: c.late,
                verdicts: c.verdicts, topologyDigest: deployment.topologyDigest,
                ruleSetDigest: deployment.ruleSetDigest,
                modelsDigest: deployment.modelsDigest), to: &batch)
        epoch += 1
        if committed != nil { processor.engine.forEachOutput { pendingVerdicts.append(contentsOf: $0.verdicts.bytes) } }
        ringsOpened += processor.engine.ringChanges.count { $0.isOpening }
        metrics?.judged(
            processor, block, sources: sources, watermark: watermark, seconds: began.duration(to: .now).inSeconds)
        block.removeAll()
    }

    /// Commits; while the log says that it may work later, tries again until told to stop.
    private func commit(_ batch: inout OutputBatch, _ shouldStop: () -> Bool) throws(LogError) {
        positions.removeAll(keepingCapacity: true)
        for s in sources.indices { positions.append(SourcePosition(source: sources[s], next: next[s])) }
        let began = ContinuousClock.now
        while true {
            do throws(LogError) {
                try log.commit(batch, positions: positions)
                break
            } catch {
                metrics?.committed(seconds: 0, succeeded: false, processor.engine, log.counters)
                guard error.kind == .transient, !shouldStop() else { throw error }
                telemetry.warn("the commit is tried again", ["reason": .string(error.message)])
                // The log has waited and tried several times itself; this only keeps one that answers at once from spinning.
                usleep(50_000)
            }
        }
        metrics?.committed(seconds: began.duration(to: .now).inSeconds, succeeded: true, processor.engine, log.counters)
        transactions += 1
        batch.removeAll()
        guard let committed else { return }
        pendingVerdicts.withUnsafeBytes { committed($0) }
        pendingVerdicts.removeAll(keepingCapacity: true)
    }
}

/// How densely each source's events lie in event time: how many records to ask for to reach a time, in a backlog.
private struct SourcePace {
    private struct Seen {
        var first: Int64
        var highest: Int64
        var events: Int64
    }
    private var seen: [Seen?]

    init(sources: Int) { seen = [Seen?](repeating: nil, count: sources) }

    mutating func see(source: Int, time: Int64) {
        guard var known = seen[source] else {
            seen[source] = Seen(first: time, highest: time, events: 1)
            return
        }
        known.first = min(known.first, time)
        known.highest = max(known.highest, time)
        known.events += 1
        // The recent past counts: traffic has a daily rhythm.
        if known.events > 4096 {
            known.first += (known.highest - known.first) / 2
            known.events /= 2
        }
        seen[source] = known
    }

    /// Records that lie between the source's highest event time and `ahead`, at least a few.
    func records(of source: Int, ahead: Int64) -> Int {
        guard let known = seen[source], known.highest > known.first, ahead > known.highest else { return 32 }
        let density = Double(known.events) / Double(known.highest - known.first)
        return Int(min(max(density * Double(ahead - known.highest), 16), 65_536))
    }
}

extension Duration {
    /// In seconds.
    var inSeconds: Double {
        let (whole, attoseconds) = components
        return Double(whole) + Double(attoseconds) * 1e-18
    }
}
