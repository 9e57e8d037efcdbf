import Detection

/// Rebuilds a pipeline's state from its journal and inputs, outputs muted, and can go on as the journal grows.
///
/// Recovery is a follower that has caught up with the journal's end. A standby is one that goes on while another leads; once it
/// owns the log and has advanced a last time, a ``Leader`` takes over from it. It only reads. After an error the state is
/// undefined: make another.
///
/// The state is always the one of the deployment's release, whoever judged the epochs. Each is judged again by the release that the
/// journal names. Where that one is not to be found, or came later with windows or models that were not kept from the first epoch
/// on, the deployment's release judges in its place, for the state alone.
final class Follower {
    let deployment: Deployment
    /// Those that it was given, and behind them what was added to their topics and the journal takes.
    var sources: [TopicPartition] { replay.sources }
    let processor: EpochProcessor
    /// The epoch replayed last; its outputs and records are there until the next one.
    let block: DecodedBlock
    /// What decides the next watermark.
    private(set) var tracker: WatermarkTracker
    private let log: any LogReader
    private let replay: JournalReplay
    /// The last epoch of the snapshot that it started from; nil: from nothing.
    let snapshotRecord: JournalRecord?
    /// Epochs that were in the journal and in no snapshot at the start.
    let remainingEpochs: Int64

    /// Starts from the newest snapshot that the journal knows of and the deployment's release can go on from, or from nothing.
    ///
    /// - Parameters:
    ///   - processor: fresh; its engine becomes the snapshot's where there is one.
    ///   - releases: where those are that judged epochs of the journal; nil: the deployment has the only one.
    init(
        _ processor: EpochProcessor,
        log: any LogReader,
        sources: [TopicPartition],
        snapshots: (any SnapshotStore)?,
        releases: (any ReleaseSource)? = nil,
        clock: any WorkerClock
    ) throws(LogError) {
        let deployment = processor.deployment
        self.deployment = deployment
        self.log = log
        self.processor = processor
        let lanes = processor.team.lanes
        block = DecodedBlock(deployment, sources: sources, lanes: lanes)
        tracker = WatermarkTracker(
            sources: sources.count,
            latenessMilliseconds: deployment.description.time.latenessMilliseconds
        )
        var found: (snapshot: Snapshot, journalNext: Int64)?
        if let newest = try Journal(in: log).newest() {
            found = try snapshots.flatMap { store throws(LogError) in
                try Follower.snapshot(from: store, deployment, log, sources, newest: newest.epoch, lanes: lanes)
            }
            remainingEpochs = newest.epoch - (found?.snapshot.epoch ?? -1)
        } else {
            remainingEpochs = 0
        }
        let snapshot = found?.snapshot
        snapshotRecord = snapshot?.record
        if let snapshot {
            processor.engine = snapshot.engine
            let clocks = sources.map { source in
                snapshot.positions.firstIndex { $0.source == source }.map { snapshot.clocks[$0] }
            }
            tracker.resume(clocks: clocks, watermark: snapshot.watermark)
        }
        replay = try JournalReplay(
            log,
            deployment,
            sources: sources,
            block: block,
            processor: processor,
            releases: releases,
            after: snapshot,
            from: found?.journalNext,
            clock: clock
        )
    }

    /// The newest snapshot of this log, and where the journal goes on behind it.
    ///
    /// What another version of the program made of the inputs may be something else than this one would, so such a snapshot is used
    /// only where the inputs are not there any more.
    private static func snapshot(
        from store: any SnapshotStore,
        _ deployment: Deployment,
        _ log: any LogReader,
        _ sources: [TopicPartition],
        newest: Int64,
        lanes: Int
    ) throws(LogError) -> (snapshot: Snapshot, journalNext: Int64)? {
        for takesOtherEngines in [false, true] {
            let fit = JournalFit(log, newest: newest, takesOtherEngines: takesOtherEngines)
            let snapshot = try store.newest(of: deployment, atOrBefore: newest, lanes: lanes, misfit: fit.misfit)
            if let failure = fit.failure { throw failure }
            if let snapshot, let next = fit.next { return (snapshot, next) }
            guard fit.hasOtherEngine, try !fit.isRebuildable(sources) else { return nil }
        }
        return nil
    }

    /// Looks through what the journal holds beyond the last call; ``advance(epochDone:)`` does it too.
    ///
    /// - Returns: the releases named by the whole of it that are not to be found. Their epochs are replayed for the state alone.
    func survey() throws(LogError) -> [JournalSurvey.Entry] {
        try replay.survey()
        return replay.missingReleases
    }

    /// With the state that it leads with; the processor's may be another release's until then.
    var engine: Engine { replay.engine }
    /// Epochs replayed, without those that a snapshot stood for.
    var replayedEpochs: Int64 { replay.epochs }
    /// What other versions of the program have judged, and how many epochs are proven by counts alone.
    var otherEngines: JournalReplay.OtherEngines { replay.otherEngines }
    var unprovenEpochs: Int64 { replay.unproven }
    /// The last epoch in the state; nil: none.
    var lastRecord: JournalRecord? { replay.lastRecord }
    /// Number of the epoch that comes next.
    var nextEpoch: Int64 { replay.lastRecord.map { $0.epoch + 1 } ?? 0 }

    /// Replays what the journal holds beyond the last call.
    ///
    /// - Parameter epochDone: after each epoch; false ends the call, and the next one goes on behind this epoch.
    func advance(epochDone: (JournalRecord) throws(LogError) -> Bool) throws(LogError) {
        try replay.advance(seen: { source, time in
            if source >= tracker.clocks.count { takeIn() }
            tracker.see(source: source, time: time)
        }) { (record) throws(LogError) in
            takeIn()
            tracker.restore(watermark: record.watermark)
            return try epochDone(record)
        }
    }

    /// What the journal has taken of partitions that were added counts too.
    private func takeIn() {
        while tracker.clocks.count < sources.count { tracker.addSource(isIdle: false) }
    }

    /// Puts the deployment's release in force and makes the log go on behind the last replayed epoch, for who leads from here; the
    /// follower does not advance any more.
    ///
    /// - Returns: the next offset of each source.
    func handOver() throws(LogError) -> [Int64] {
        block.removeAll()
        replay.adoptDeployment()
        if lastRecord != nil {
            try replay.rewind()
            return replay.next
        }
        var positions: [SourcePosition] = []
        for source in sources {
            positions.append(SourcePosition(source: source, next: try log.bounds(of: source).start))
        }
        try log.assign(positions)
        return positions.map(\.next)
    }
}
