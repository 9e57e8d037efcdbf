import Detection

/// Replays the whole journal from the inputs and compares every committed verdict with what comes out: `weir audit`.
///
/// Key, value and headers must be equal byte for byte. It reads committed records only, owns nothing and writes nothing, and so
/// may run beside the pipeline: verdicts of epochs behind the journal's end as it was found are left out. What is compared, and
/// how: ``VerdictComparison``.
public final class JournalAudit {
    /// What was found.
    public struct Result: Sendable, Equatable {
        /// Epochs in the journal.
        public var epochs: Int64 = 0
        /// Records its ranges hold.
        public var inputs: Int64 = 0
        /// Committed verdicts about them in the log.
        public var verdicts: Int64 = 0
        /// Of these, those that revise the verdict of an earlier epoch, as the replay does; nothing is judged again yet, so none.
        public var revisions: Int64 = 0
        /// Verdicts that the replay gives and the log does not hold.
        public var missing: Int64 = 0
        /// Verdicts that the log holds again under the same epoch.
        public var repeated: Int64 = 0
        /// Verdicts with other bytes than the replay's, or that the replay does not give in their epoch.
        public var different: Int64 = 0
        /// Some of them, at most ``JournalAudit/findingsMax``, the same in every run: what the log holds as it comes in the log,
        /// then what is missing by its id.
        public var findings: [Finding] = []
        /// False when the audit was stopped before its end.
        public var isComplete = true
        /// Epochs whose record names another hash key than the deployment's, and one of those keys by its fingerprint.
        ///
        /// Their verdicts are the same but for what tables forgot when they were full.
        public var otherKeyEpochs: Int64 = 0
        public var otherKey: String?
        /// Of the missing and the different verdicts, those of such epochs.
        public var otherKeyDifferences: Int64 = 0
        /// Epochs that another version of the program judged, and one of those versions; what of their verdicts is missing or
        /// different, which is no fault of the log.
        public var otherEngineEpochs: Int64 = 0
        public var otherEngine: String?
        public var otherEngineDifferences: Int64 = 0
        /// Epochs whose release is not to be found, which ones in words, and verdicts in the log about them: not compared.
        public var otherReleaseEpochs: Int64 = 0
        public var otherReleases = ""
        public var notCompared: Int64 = 0
        /// Epochs whose record has no digests: that their inputs are the ones that were judged is proven by counts alone.
        public var unprovenEpochs: Int64 = 0
        /// Epochs of this version and release in which the replay says otherwise than the journal's digest: not the log's verdicts
        /// changed, but who judges.
        public var otherwiseEpochs: Int64 = 0
        /// Verdicts that the replay gives and that are older than what the log still holds of their partition.
        public var expired: Int64 = 0
        /// Partitions of the verdict topic whose beginning is gone, with the first offset there.
        public var shortened: [SourcePosition] = []

        /// Verdicts that are not as they should be, for no reason but that they are not.
        public var faults: Int64 { missing + repeated + different - otherKeyDifferences - otherEngineDifferences }
        /// Whether log and replay agree in everything that can be compared.
        public var isClean: Bool { faults == 0 && otherKeyDifferences == 0 && otherwiseEpochs == 0 }
        /// Whether all that differs may do so for the hash key alone: under the run's own key it would be known.
        public var mayBeByKey: Bool { faults == 0 && otherKeyDifferences > 0 && otherwiseEpochs == 0 }
    }

    /// One verdict that is not as it should be.
    public struct Finding: Sendable, Equatable {
        /// The verdict's id, or `partition/offset` where the record is no verdict.
        public var verdict: String
        /// Why, for people.
        public var reason: String
    }

    /// Most findings that a result lists.
    public static let findingsMax = 20

    private let deployment: Deployment
    private let releases: any ReleaseSource
    private let log: any LogReader
    private let team: ThreadTeam
    private let assembler: OutputAssembler
    private var batch = OutputBatch(topics: OutputTopics.all)
    private var comparison = VerdictComparison(findingsMax: JournalAudit.findingsMax)
    private var result = Result()

    /// - Parameters:
    ///   - log: only read from.
    ///   - releases: where those are that judged the journal's epochs; nil: the deployment has the only one.
    ///   - threads: do not change the result.
    public init(_ deployment: Deployment, log: any LogReader, releases: (any ReleaseSource)? = nil, threads: Int) {
        self.deployment = deployment
        self.releases = releases ?? FolderReleases(deployment)
        self.log = log
        team = ThreadTeam(lanes: threads)
        assembler = OutputAssembler(deployment)
    }

    deinit { team.stop() }

    /// Runs the audit; takes about as long as a recovery and one reading of the verdicts.
    ///
    /// - Parameter goOn: asked once per epoch with the number of epochs done, and now and then while verdicts are read; false stops
    ///   the audit.
    /// - Throws: ``LogError``: `refused` when another topology wrote the journal; `incompatible` when no epoch was judged by a
    ///   release that is to be found; `outOfRange` when journal or inputs have lost their beginning; `corrupt` when the journal
    ///   contradicts itself or its inputs.
    public func run(goOn: (_ epochs: Int64) -> Bool) throws(LogError) -> Result {
        result = Result()
        let journal = Journal(in: log)
        guard try journal.exists() else {
            throw LogError(
                .refused,
                "the log has no topic \(OutputTopics.journal): nothing ran on it yet. Check which log was named"
            )
        }
        // Before the replay, which with another topology would fail in less clear words.
        var survey = JournalSurvey()
        try survey.advance(over: journal) { (record) throws(LogError) in try check(record) }
        let missing = survey.missing(from: releases, for: deployment)
        if !missing.isEmpty {
            // Nothing at all could be compared.
            if missing.count == survey.entries.count { throw notFound(missing) }
            result.otherReleases = named(missing)
        }
        comparison = VerdictComparison(
            findingsMax: JournalAudit.findingsMax,
            partitions: try log.partitions(of: OutputTopics.verdicts)?.count ?? 1
        )
        let sources = try Worker.sources(of: deployment, in: log)
        let last = try replay(sources, survey, goOn)
        if result.isComplete { try compare(replayed: last, goOn) }
        if result.isComplete { comparison.finish(shortened: Set(result.shortened.map(\.source.partition))) }
        let counts = comparison.counts
        (result.verdicts, result.revisions) = (counts.verdicts, counts.revisions)
        (result.missing, result.repeated, result.different) = (counts.missing, counts.repeated, counts.different)
        (result.otherKeyDifferences, result.otherEngineDifferences) = (counts.doubted, counts.byEngine)
        (result.expired, result.notCompared) = (counts.expired, counts.notCompared)
        result.findings = comparison.findings
        return result
    }

    // MARK: What there should be

    private func check(_ record: JournalRecord) throws(LogError) {
        try record.requireTopology(deployment.description.name)
        if record.topologyDigest == deployment.topologyDigest { return }
        throw LogError(
            .incompatible,
            "epoch \(record.epoch) was judged with topology \(record.topologyDigest.prefix(16)) and the folder has "
                + "\(deployment.topologyDigest.prefix(16)): audit with the folder as it was then (weir check shows a folder's digests)"
        )
    }

    /// Epochs without their release, in words.
    private func named(_ missing: [JournalSurvey.Entry]) -> String {
        var named = missing.prefix(JournalAudit.findingsMax).map {
            "\($0.text) with release \($0.releaseDigest.prefix(16))"
        }
        if missing.count > named.count { named.append("others with \(missing.count - named.count) more") }
        return "\(named.joined(separator: ", ")). Looked in: \(releases.places)"
    }

    private func notFound(_ missing: [JournalSurvey.Entry]) -> LogError {
        LogError(
            .incompatible,
            "the journal has epochs whose release is not to be found, and no others: \(named(missing)). "
                + "Name each folder as it was then with --release (weir check shows a folder's digests)"
        )
    }

    /// Replays the journal and keeps what it gives; returns the last epoch, -1 when there is none.
    private func replay(
        _ sources: [TopicPartition],
        _ survey: JournalSurvey,
        _ goOn: (Int64) -> Bool
    ) throws(LogError) -> Int64 {
        let block = DecodedBlock(deployment, sources: sources, lanes: team.lanes)
        let processor = EpochProcessor(deployment, team: team)
        let replay = try JournalReplay(
            log,
            deployment,
            sources: sources,
            block: block,
            processor: processor,
            releases: releases,
            survey: survey,
            refusesOtherVerdicts: false
        )
        try replay.advance(seen: { _, _ in }) { (record) throws(LogError) in
            // The journal may have grown since it was looked through.
            try check(record)
            result.epochs += 1
            result.inputs += processor.counts.records
            let standing = standing(of: record, replay)
            comparison.begin(epoch: record.epoch, standing)
            if !standing.contains(.otherRelease) { try expect(processor.engine, epoch: record.epoch) }
            if goOn(result.epochs) { return true }
            result.isComplete = false
            return false
        }
        result.unprovenEpochs = replay.unproven
        return replay.lastRecord?.epoch ?? -1
    }

    /// How far the epoch that was replayed last can be compared; counts it.
    private func standing(of record: JournalRecord, _ replay: JournalReplay) -> VerdictComparison.Standing {
        var standing: VerdictComparison.Standing = []
        if !replay.isJudgedAsNamed {
            result.otherReleaseEpochs += 1
            standing.insert(.otherRelease)
        }
        if let engine = record.proof?.engine, engine != Deployment.engineVersion {
            result.otherEngineEpochs += 1
            result.otherEngine = engine
            standing.insert(.otherEngine)
        } else if replay.saysTheSame == false {
            result.otherwiseEpochs += 1
        }
        if let key = record.keyFingerprint, key != deployment.keyFingerprint {
            result.otherKeyEpochs += 1
            result.otherKey = key
            standing.insert(.otherKey)
        }
        return standing
    }

    private func expect(_ engine: Engine, epoch: Int64) throws(LogError) {
        batch.removeAll()
        assembler.appendVerdicts(engine, epoch: epoch, to: &batch)
        try batch.withParts { (record, key, value, _) throws(LogError) in
            guard record.topic == OutputTopics.verdictsIndex, let value else { return }
            comparison.expect(key: key, value: value) { digest in
                batch.forEachHeader(record) { digest.addHeader($0, $1) }
            }
        }
    }

    // MARK: What there is

    private func compare(replayed: Int64, _ goOn: (Int64) -> Bool) throws(LogError) {
        for partition in try log.partitions(of: OutputTopics.verdicts) ?? [] {
            let source = TopicPartition(OutputTopics.verdicts, partition)
            let (start, end) = try log.bounds(of: source)
            if start > 0 { result.shortened.append(SourcePosition(source: source, next: start)) }
            // Verdicts are committed with their epoch's record: the journal, asked later, knows of every one up to `end`.
            let journaled = try Journal(in: log).newest()?.epoch ?? -1
            var count = 0
            try log.read(source, from: start, to: end) { record, headers in
                if !record.isSettling {
                    comparison.compare(
                        key: record.key,
                        value: record.value,
                        headers: headers,
                        in: partition,
                        at: "\(source)/\(record.offset)",
                        epochs: (replayed, journaled)
                    )
                }
                count += 1
                if count % 4096 == 0, !goOn(result.epochs) { result.isComplete = false }
                return result.isComplete
            }
            if !result.isComplete { return }
        }
    }
}
