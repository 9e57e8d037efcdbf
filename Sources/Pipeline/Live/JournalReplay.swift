import Detection

/// Re-runs journaled epochs from the inputs: recovery does it with outputs muted, `weir audit` compares what comes out.
///
/// Input is read per partition in one sweep; each epoch takes exactly its ranges, in its order, under its watermark and after its
/// triggers.
final class JournalReplay {
    /// How long a range that the journal names may take to come.
    private static let patience = Duration.seconds(60)
    /// How long a partition may end before what was taken of it: a leader that has just been elected may not know its end yet.
    private static let endPatience = Duration.seconds(10)

    private let log: any LogReader
    private let clock: any WorkerClock
    private let deployment: Deployment
    /// As the caller named them; behind them those that were added to their topics since, as the journal took them.
    private(set) var sources: [TopicPartition]
    let block: DecodedBlock
    /// Next offset of each source, behind the last replayed range.
    private(set) var next: [Int64]
    private(set) var epochs: Int64 = 0
    /// The newest journaled epoch.
    var lastRecord: JournalRecord? { chain.last }
    /// Where the journal is read on; nil: at its beginning.
    private var journalNext: Int64?
    private var chain: JournalChain
    private let processor: EpochProcessor
    private let releases: any ReleaseSource
    private var surveyed: JournalSurvey
    private var engines: ReleaseEngines
    /// Whether the epoch replayed last was judged by the release that the journal names; else it is in the state all the same, and
    /// its verdicts mean nothing.
    private(set) var isJudgedAsNamed = false
    /// Whether the epoch replayed last says what the journal says was said; nil: the journal does not tell, or it was judged by
    /// another release or under another hash key.
    private(set) var saysTheSame: Bool?
    /// Whether other verdicts from the same inputs, release and engine end the replay: who goes on from the state may not; who
    /// compares what was said names them.
    private let refusesOtherVerdicts: Bool
    /// What other versions of the program have judged.
    private(set) var otherEngines = OtherEngines()
    /// Epochs whose record has no digests.
    private(set) var unproven: Int64 = 0
    private var isAssigned = false

    /// Epochs that another version of the program judged.
    struct OtherEngines {
        var epochs: Int64 = 0
        /// Of the last of them.
        var version: String?
        /// Of these, the ones that this program judges otherwise.
        var different: Int64 = 0
        var firstDifferent: Int64?
    }

    /// A record that came off the log behind the range that was wanted.
    private struct RecordAhead {
        var offset: Int64
        var appendTime: Int64?
        var value: [UInt8]?
        var beside: [UInt8]
        var digest: UInt64
    }
    /// Per source, what a later range takes first.
    ///
    /// A range has fewer records than offsets where transactions or compaction left gaps, so a
    /// poll for as many records as offsets may give the first of the next range.
    private var ahead: [RecordAhead?]

    /// The last epoch of the snapshot that the processor's engine comes from; nil: it is empty.
    private let snapshotRecord: JournalRecord?
    private var snapshotEpoch: Int64 { snapshotRecord?.epoch ?? -1 }

    /// - Parameters:
    ///   - releases: where those are that judged the epochs; nil: the deployment has the only one.
    ///   - survey: of this journal, as far as it was looked through; nil: not yet.
    ///   - snapshot: whose engine the processor has; its epochs and those before are passed over.
    ///   - journalNext: the journal's offset behind the snapshot's record, from where on it is read; nil: its beginning.
    ///   - refusesOtherVerdicts: false for who compares what was said.
    init(
        _ log: any LogReader,
        _ deployment: Deployment,
        sources: [TopicPartition],
        block: DecodedBlock,
        processor: EpochProcessor,
        releases: (any ReleaseSource)? = nil,
        survey: JournalSurvey? = nil,
        after snapshot: Snapshot? = nil,
        from journalNext: Int64? = nil,
        refusesOtherVerdicts: Bool = true,
        clock: any WorkerClock = SystemClock()
    ) throws(LogError) {
        self.log = log
        self.clock = clock
        self.deployment = deployment
        self.sources = sources
        self.block = block
        self.processor = processor
        self.refusesOtherVerdicts = refusesOtherVerdicts
        next = [Int64](repeating: -1, count: sources.count)
        ahead = [RecordAhead?](repeating: nil, count: sources.count)
        snapshotRecord = snapshot?.record
        self.journalNext = journalNext
        self.releases = releases ?? FolderReleases(deployment)
        surveyed =
            survey ?? JournalSurvey(after: snapshot?.epoch ?? -1, at: snapshot?.positions ?? [], from: journalNext)
        engines = ReleaseEngines(
            deployment,
            self.releases,
            engine: processor.engine,
            release: deployment.release.digest,
            isEmpty: snapshot == nil
        )
        let positions = snapshot?.positions ?? []
        chain = JournalChain(topology: deployment.description.name, after: snapshot?.epoch ?? -1, at: positions)
        // The journal has it too, which the caller has seen to.
        if let snapshot, journalNext != nil { try chain.accept(snapshot.record) }
        for position in positions {
            guard let source = sources.firstIndex(of: position.source) else { continue }
            next[source] = position.next
        }
    }

    /// Finds which releases judged what the journal holds; needs no input.
    func survey() throws(LogError) {
        try surveyed.advance(over: Journal(in: log))
        engines.prepare(for: surveyed)
    }

    /// Releases of this topology that the journal names and that are not to be found.
    var missingReleases: [JournalSurvey.Entry] { surveyed.missing(from: releases, for: deployment) }

    /// With the state of the deployment's release, whoever judged the last epoch.
    var engine: Engine { engines.own }

    /// Puts the deployment's release in force: the replay is over.
    func adoptDeployment() { engines.end(with: processor) }

    /// Lets the log go on behind the last replayed range, also where it has been read further.
    func rewind() throws(LogError) {
        if ahead.allSatisfy({ $0 == nil }) { return }
        for s in ahead.indices { ahead[s] = nil }
        try log.assign(sources.indices.map { SourcePosition(source: sources[$0], next: next[$0]) })
    }

    /// Replays what the journal holds beyond the last call: first from behind the snapshot on, then from behind the last replayed
    /// epoch.
    ///
    /// - Parameters:
    ///   - seen: per accepted event its source and time, for the next watermark.
    ///   - epochDone: after each epoch, while its outputs and its block are still there; false ends the call behind this epoch.
    func advance(
        seen: (_ source: Int, _ time: Int64) -> Void,
        epochDone: (JournalRecord) throws(LogError) -> Bool
    ) throws(LogError) {
        // What is to be judged by whom, before the first event comes into a state.
        try survey()
        try Journal(in: log).forEachRecord(from: &journalNext) { (record) throws(LogError) in
            try chain.accept(record)
            if record.epoch <= snapshotEpoch { return true }
            try replay(record, seen: seen)
            return try epochDone(record)
        }
        // What was journaled up to here is in the snapshot: the sources have not been opened yet.
        if !isAssigned, lastRecord != nil { try assign(first: nil) }
    }

    private func replay(_ record: JournalRecord, seen: (_ source: Int, _ time: Int64) -> Void) throws(LogError) {
        var ranges: [(source: Int, from: Int64, to: Int64)] = []
        for range in record.ranges {
            var known = sources.firstIndex(of: range.source)
            if known == nil { known = try takeIn(range.source) }
            guard let source = known else { throw absence(of: range.source, from: range.from, to: range.to) }
            // Of a source that was named before the chain has seen to it.
            if next[source] > range.from { throw JournalReplay.lost(range.source, range.from, next[source]) }
            if next[source] >= 0, next[source] != range.from {
                throw LogError(
                    .corrupt,
                    "epoch \(record.epoch) is the first to take \(range.source), from offset \(range.from), and leaves out "
                        + "what it holds from \(next[source]) on"
                )
            }
            ranges.append((source, range.from, range.to))
        }
        if !isAssigned { try assign(first: record) }
        block.removeAll()
        for range in ranges { try fill(range) }
        try requireInputs(of: record)
        block.decode(processor.team)
        isJudgedAsNamed = engines.judge(record, with: processor)
        processor.process(
            block.events,
            records: block.stagedCount,
            rejected: block.rejected.count,
            ignored: block.ignored.count,
            watermark: record.watermark,
            triggers: record.triggers,
            isAligned: { i in
                let source = sources[Int(block.eventSources[i])]
                return record.aligned.contains { $0.source == source && block.events[i].time >= $0.from }
            }
        ) { i in seen(Int(block.eventSources[i]), block.events[i].time) }
        epochs += 1
        try check(record)
    }

    /// Reads a partition too that was added to its topic after the sources were listed; nil: there is none.
    private func takeIn(_ source: TopicPartition) throws(LogError) -> Int? {
        guard deployment.description.topics.contains(source.topic),
            try log.partitions(of: source.topic)?.contains(source.partition) == true
        else { return nil }
        let start = isAssigned ? try log.bounds(of: source).start : -1
        if isAssigned { _ = try log.add(SourcePosition(source: source, next: start)) }
        sources.append(source)
        next.append(start)
        ahead.append(nil)
        block.add(SourceDecoding(source, of: deployment))
        return sources.count - 1
    }

    /// Why a source that the journal names is none of those that are read.
    private func absence(of source: TopicPartition, from: Int64, to: Int64) -> LogError {
        if deployment.description.topics.contains(source.topic),
            let error = InputState.gone.error(source, next: from, taken: to)
        {
            return error
        }
        return LogError(
            .refused,
            "the journal names \(source), which the topology does not read: use the topology this journal was written with"
        )
    }

    /// Checks that what was read is what the epoch was made from, whoever judges it now.
    private func requireInputs(of record: JournalRecord) throws(LogError) {
        guard record.proof != nil else {
            unproven += 1
            if block.stagedCount == record.counts.records { return }
            throw LogError(
                .corrupt,
                "epoch \(record.epoch) was made from \(record.counts.records) records, and the log gives \(block.stagedCount): "
                    + JournalReplay.otherInputs
            )
        }
        try requireDigests(of: record)
    }

    private func requireDigests(of record: JournalRecord) throws(LogError) {
        let digests = block.takeInputDigests()
        let isOurTopology = record.topologyDigest == deployment.topologyDigest
        for range in record.ranges {
            guard let source = sources.firstIndex(of: range.source), let journaled = range.digest else { continue }
            let found = digests[source]
            // Which headers are read is the topology's matter.
            if found.content == journaled.content, !isOurTopology || found.headers == journaled.headers { continue }
            throw LogError(
                .corrupt,
                "\(range.source): offsets \(range.from) to \(range.to) hold other records than those that epoch \(record.epoch) was made from: "
                    + JournalReplay.otherInputs
            )
        }
    }

    private static let otherInputs =
        "the topic was deleted and made anew, compacted, cut or restored from elsewhere since. Restore it as it was, or start anew "
        + "(weir run --start-anew) with an empty journal"

    /// Holds what the epoch gave against what the journal says of it.
    private func check(_ record: JournalRecord) throws(LogError) {
        saysTheSame = nil
        guard record.topologyDigest == deployment.topologyDigest else { return }
        let counts = processor.counts
        // How many events there are is the topology's matter, how many verdicts the release's, and where a table was full the hash
        // key's too: what it forgets follows from the key.
        let isOurKey = record.keyFingerprint ?? deployment.keyFingerprint == deployment.keyFingerprint
        let isSame = isJudgedAsNamed && isOurKey
        let wrong = EpochCounts.journaled.filter {
            counts[keyPath: $0.count] != record.counts[keyPath: $0.count] && ($0.cause != .release || isSame)
        }
        if isSame, let proof = record.proof {
            saysTheSame = wrong.isEmpty && OutputAssembler.verdictDigest(of: processor.engine) == proof.verdictDigest
        }
        if let engine = record.proof?.engine, engine != Deployment.engineVersion {
            note(engine, of: record, isSame: wrong.isEmpty && saysTheSame != false)
            return
        }
        if !wrong.isEmpty {
            throw LogError(
                .corrupt,
                "epoch \(record.epoch) gives "
                    + wrong.map { "\(counts[keyPath: $0.count]) \($0.words)" }.joined(separator: ", ")
                    + ", but the journal says "
                    + wrong.map { "\(record.counts[keyPath: $0.count])" }.joined(separator: ", ")
                    + (record.proof == nil
                        ? ": the inputs are not those it was made from, or another version of weir judged it"
                        : ": the inputs are those it was made from, and this program judges them otherwise than the one of the same "
                            + "version that wrote the journal")
            )
        }
        guard saysTheSame == false, refusesOtherVerdicts else { return }
        throw LogError(
            .corrupt,
            """
            epoch \(record.epoch) gives other verdicts than it gave when it was judged, from the same inputs, topology, release and \
            version \(Deployment.engineVersion): the program, the machine or the journal is not what it was. Keep the log as it is; \
            weir audit names the verdicts
            """
        )
    }

    /// Counts an epoch that another version of the program judged: that it judges otherwise is what versions are for.
    private func note(_ engine: String, of record: JournalRecord, isSame: Bool) {
        otherEngines.epochs += 1
        otherEngines.version = engine
        if isSame { return }
        otherEngines.different += 1
        if otherEngines.firstDifferent == nil { otherEngines.firstDifferent = record.epoch }
    }

    /// Assigns every source behind the snapshot or at its first journaled offset; sources that neither names yet wait at their
    /// start.
    ///
    /// A snapshot stands for inputs that need not be there any more, and so for none that could be compared; but what is there of
    /// its last epoch must be what it was: a topic that was made anew under the same name is not gone on with.
    private func assign(first: JournalRecord?) throws(LogError) {
        // The cause before its effects: what is left of a topic made anew holds other records too.
        for (source, taken) in surveyed.taken.sorted(by: { $0.key < $1.key }) where !sources.contains(source) {
            guard try takeIn(source) != nil else { throw absence(of: source, from: taken, to: taken) }
        }
        var positions: [SourcePosition] = []
        var again: [JournalRecord.Range] = []
        for (s, source) in sources.enumerated() {
            let (start, _) = try log.bounds(of: source)
            try requireEnd(of: source)
            let named = next[s] >= 0 ? next[s] : first?.ranges.first { $0.source == source }?.from
            if let named, named < start { throw JournalReplay.lost(source, named, start) }
            var at = named ?? start
            // What is left of the snapshot's last epoch is read once more.
            if let range = snapshotRecord?.ranges.first(where: { $0.source == source }), range.to == named,
                range.from >= start
            {
                at = range.from
                again.append(range)
            }
            next[s] = at
            positions.append(SourcePosition(source: source, next: at))
        }
        try log.assign(positions)
        isAssigned = true
        if again.isEmpty { return }
        block.removeAll()
        for range in again {
            guard let source = sources.firstIndex(of: range.source) else { continue }
            try fill((source, range.from, range.to))
        }
        if var record = snapshotRecord {
            record.ranges = again
            try requireDigests(of: record)
        }
        block.removeAll()
    }

    /// Checks that a source reaches as far as the journal took it.
    private func requireEnd(of source: TopicPartition) throws(LogError) {
        guard let taken = surveyed.taken[source] else { return }
        let asked = clock.now
        while true {
            let end = try log.bounds(of: source).end
            if end >= taken { return }
            if clock.now - asked > JournalReplay.endPatience,
                let error = InputState.shortened(end: end).error(source, next: taken, taken: taken)
            {
                throw error
            }
            clock.pause(for: .milliseconds(200))
        }
    }

    private static func lost(_ source: TopicPartition, _ wanted: Int64, _ start: Int64) -> LogError {
        LogError(
            .outOfRange,
            "\(source): offset \(wanted) is needed to rebuild the state, but the log begins at \(start): raise the topic's retention. Restore the topic, or start anew (weir run --start-anew) with an empty journal"
        )
    }

    private func fill(_ range: (source: Int, from: Int64, to: Int64)) throws(LogError) {
        var position = range.from
        if let record = ahead[range.source] {
            func stage(_ value: UnsafeRawBufferPointer?) {
                block.stage(
                    source: range.source,
                    offset: record.offset,
                    appendTime: record.appendTime,
                    value: value,
                    beside: record.beside,
                    digest: record.digest
                )
            }
            if record.offset < range.to {
                if let value = record.value { value.withUnsafeBytes { stage($0) } } else { stage(nil) }
                ahead[range.source] = nil
                position = record.offset + 1
            } else {
                position = range.to
            }
        }
        var progress = clock.now
        while position < range.to {
            let before = position
            position = try log.poll(
                source: range.source,
                limit: Int(min(range.to - position, 65_536)),
                withHeaders: block.wantsHeaders
            ) { record in
                if record.offset < range.to {
                    block.stage(record, source: range.source)
                } else {
                    ahead[range.source] = RecordAhead(
                        offset: record.offset,
                        appendTime: record.appendTime,
                        value: record.value.map { [UInt8]($0) },
                        beside: block.partsBeside(record),
                        digest: ContentDigest.of(record)
                    )
                }
                return record.offset < range.to
            }
            let now = clock.now
            if position > before {
                progress = now
                continue
            }
            if now - progress > JournalReplay.patience {
                let source = sources[range.source]
                let state = try InputState.look(at: source, next: position, taken: range.to, in: log)
                if let error = state.error(source, next: position, taken: range.to) { throw error }
                throw LogError(
                    .transient,
                    "\(sources[range.source]): offsets \(position) to \(range.to) are in the journal, but the log gave nothing for a minute"
                )
            }
            try log.wait(milliseconds: 50)
            // Records of other sources end the wait at once, whatever this one does.
            if clock.now - now < .milliseconds(1) { clock.pause(for: .milliseconds(1)) }
        }
        next[range.source] = range.to
    }
}
