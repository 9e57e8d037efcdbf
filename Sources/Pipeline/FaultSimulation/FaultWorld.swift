import Detection
import Models

/// One simulated world: inputs, a broker, and the workers that come and go on it in one thread and in virtual time.
final class FaultWorld {
    static let lives = 3
    private static let sources = [
        TopicPartition("clicks", 0), TopicPartition("orders", 0), TopicPartition("orders", 1),
    ]
    private static let stepsMax = 3000

    private let deployment: Deployment
    private let plan: [Fault]
    private let mistake: FaultMistake?
    private let keepsTrace: Bool
    /// Of all workers: who owns fewer ids than the one before fences it in part.
    private let transactionalIDs: Int
    private let clock = ModelClock()
    private let broker: ModelBroker
    private var random: SplitMix64
    private var eventTime: Int64 = 1_767_600_000_000
    private(set) var findings: [String] = []
    private(set) var trace: [String] = []
    /// Of every point that was reached, in which life and when, whether the trace is kept or not.
    private(set) var digest: UInt64 = 0xcbf2_9ce4_8422_2325
    private(set) var fired: [String] = []
    private(set) var deaths = 0
    private(set) var events = 0
    private var overtakings = 0
    /// How often inputs were deleted behind a snapshot, and how often a start was refused for it.
    private(set) var cuts = 0
    private(set) var refusals = 0
    private let folder: ModelFolder
    /// All events in one partition by their time: then every way to cut them into epochs says the same of each.
    private let isOrdered: Bool
    private let losesInputs: Bool
    /// The journal's records, as of so many entries.
    private var parsed: (entries: Int, records: [JournalRecord]) = (-1, [])

    init(
        _ deployment: Deployment,
        seed: UInt64,
        plan: [Fault],
        folder: ModelFolder,
        mistake: FaultMistake?,
        keepsTrace: Bool
    ) {
        self.deployment = deployment
        self.folder = folder
        isOrdered = seed % 4 == 0
        losesInputs = seed % 3 == 0
        self.plan = plan
        self.mistake = mistake
        self.keepsTrace = keepsTrace
        transactionalIDs = 1 + Int(seed % 2)
        random = SplitMix64(seed: seed ^ 0x0DD5)
        broker = ModelBroker(clock)
        broker.create("clicks", partitions: 1)
        broker.create("orders", partitions: 2)
    }

    private func note(_ line: () -> String) {
        if keepsTrace { trace.append("\(Int64(clock.time.inSeconds * 1000)) ms \(line())") }
    }

    private func mark(_ parts: Int...) {
        for part in parts { digest = SplitMix64.mix(digest ^ UInt64(bitPattern: Int64(part))) }
    }

    /// Lives the world: faults in some lives, then none, until all that came in is judged; then looks whether all is right.
    func live() {
        for life in 0..<FaultWorld.lives {
            feed(3 + Int(random.next() % 10))
            runWorker(life)
            checkPositions()
            if losesInputs { cut() }
        }
        // From here on nothing goes wrong any more, but for what is under way.
        var healing = 0
        repeat {
            healing += 1
            runWorker(-healing)
        } while !isDone() && healing < 5
        clock.pause(for: .seconds(60))
        broker.advance()
        if !isDone() { found("inputs are left over after \(healing) workers that nothing happened to") }
        restore()
        check()
        if isOrdered { compareUndisturbed() }
    }

    /// Deletes the inputs that a snapshot stands for, as retention does.
    private func cut() {
        let journal = journal()
        let kept = folder.whole.filter { epoch in
            epoch > folder.cutEpoch && journal.contains { $0.epoch == epoch }
        }
        guard !kept.isEmpty else { return }
        let epoch = kept[Int(random.next() % UInt64(kept.count))]
        for record in journal where record.epoch <= epoch {
            for range in record.ranges { broker.cut(range.source, before: range.to) }
        }
        folder.cutEpoch = epoch
        cuts += 1
        note { "inputs are deleted up to the snapshot of epoch \(epoch)" }
    }

    /// Gives the inputs back, as an operator does who was told what is missing.
    private func restore() {
        for source in FaultWorld.sources { broker.restore(source) }
        folder.cutEpoch = -1
    }

    private func found(_ finding: String) {
        note { "! \(finding)" }
        findings.append(finding)
    }

    private func feed(_ count: Int) {
        for _ in 0..<count {
            let source = FaultWorld.sources[isOrdered ? 1 : Int(random.next() % 3)]
            eventTime += Int64(random.next() % 4000)
            events += 1
            let late = !isOrdered && random.next() % 12 == 0 ? Int64(random.next() % 200_000) : 0
            var text = "{\"id\":\"e\(events)\",\"ts\":\(eventTime - late),\"account\":\"a\(random.next() % 3)\""
            if source.topic == "orders" { text += ",\"amount\":\(random.next() % 90).5" }
            // Now and then what is no event.
            broker.append(Array((random.next() % 15 == 0 ? "{" : text + "}").utf8), to: source)
        }
    }

    // MARK: Workers

    private func life(_ number: Int) -> FaultedLife {
        FaultedLife(
            number,
            plan,
            clock,
            broker,
            note: { [unowned self] line in note { "[\(number)] \(line())" } },
            mark: { [unowned self] life, point, visit in mark(Int(clock.time.inSeconds * 1e6), life, point, visit) },
            takeover: { [unowned self] in
                overtakings += 1
                runWorker(1000 + overtakings)
            }
        )
    }

    private func runWorker(_ number: Int) {
        let life = life(number)
        let log = ModelKafka(life, transactionalIDs: transactionalIDs, mistake: mistake)
        defer { log.close() }
        var options = WorkerOptions()
        options.epochRecords = 1 + Int(random.next() % 5)
        options.lingerMilliseconds = 0
        options.transactionRecords = 1 + Int(random.next() % 5)
        options.verdictPartitions = 2
        let paces: [WorkerOptions.SnapshotPace] = [.never, .atEnd, .every(seconds: 0.05), .every(seconds: 0.5)]
        options.snapshotPace = paces[Int(random.next() % 4)]
        let snapshots = ModelSnapshots(folder, life)
        let (overtakingsBefore, expirationsBefore) = (overtakings, broker.expirations)
        let worker = Worker(deployment, log: log, threads: 1, options: options, clock: clock)
        worker.snapshots = snapshots
        var steps = 0
        var waitsBefore = 0
        do throws(LogError) {
            try worker.run {
                steps += 1
                if !worker.isReady { waitsBefore = log.waits }
                return log.waits >= waitsBefore + 2 || steps > FaultWorld.stepsMax
            }
            if steps > FaultWorld.stepsMax { found("life \(number) does not come to rest") }
            note { "[\(number)] stopped after \(worker.counts.events) events" }
        } catch {
            deaths += 1
            func isOvertaken() -> Bool {
                overtakings > overtakingsBefore || broker.expirations > expirationsBefore
            }
            note { "[\(number)] ended: \(error.message.prefix(160))" }
            let wasStale = life.fired.contains { $0 == "stale at bounds" || $0 == "stale at committed" }
            let isExpected =
                switch error.kind {
                case _ where life.hasCrashed: true
                // What is gone is missed, and nothing else is said of it.
                case .outOfRange:
                    (!snapshots.couldGoOn || wasStale)
                        && error.message.contains("is needed to rebuild the state, but the log begins at")
                case .fenced, .corrupt: wasStale || error.kind == .fenced && isOvertaken()
                // Who is asked to stop while the brokers fail may give the commit up.
                case .transient, .unreachable: !life.fired.isEmpty
                default: false
                }
            if !isExpected { found("life \(number) ended as \(error.kind): \(error.message.prefix(200))") }
            if error.kind == .outOfRange {
                refusals += 1
                restore()
            }
        }
        if worker.isReady, !snapshots.couldGoOn {
            found("life \(number) went on although inputs are gone and no snapshot was whole")
        }
        fired += life.fired
    }

    // MARK: What must hold

    private func journal() -> [JournalRecord] {
        var records: [JournalRecord] = []
        guard let partition = broker.partition(TopicPartition(OutputTopics.journal, 0)) else { return [] }
        // Between two markers nothing becomes visible.
        if parsed.entries == partition.entries.count { return parsed.records }
        for entry in partition.entries where entry.isVisible {
            guard let value = entry.value else { continue }
            do { records.append(try value.withUnsafeBytes { try JournalRecord(parsing: $0) }) } catch {
                found("a record of the journal cannot be read: \(error)")
            }
        }
        parsed = (partition.entries.count, records)
        return records
    }

    /// How far the journal has come in each source.
    private func judged() -> [TopicPartition: Int64] {
        var next: [TopicPartition: Int64] = [:]
        for record in journal() { for range in record.ranges { next[range.source] = range.to } }
        return next
    }

    private func isDone() -> Bool {
        let next = judged()
        return FaultWorld.sources.allSatisfy { next[$0, default: 0] >= broker.partition($0)?.end ?? 0 }
    }

    private func checkPositions() {
        // What is decided and lacks its marker there is not seen yet; the next owner ends it before it reads.
        if let journal = broker.partition(TopicPartition(OutputTopics.journal, 0)), journal.stableEnd < journal.end {
            return
        }
        let next = judged()
        for (source, position) in broker.positions.sorted(by: { $0.key < $1.key })
        where source.topic != OutputTopics.journal && position > next[source, default: 0] {
            found("the position of \(source) is \(position), the journal is at \(next[source, default: 0])")
        }
    }

    private func check() {
        checkPositions()
        var next: [TopicPartition: Int64] = [:]
        var sums = EpochCounts()
        let journal = journal()
        for (i, record) in journal.enumerated() {
            if record.epoch != Int64(i) { found("epoch \(record.epoch) stands in the journal's place \(i)") }
            for range in record.ranges {
                if range.from != next[range.source, default: 0] {
                    found("\(range.source): an epoch from \(range.from) follows \(next[range.source, default: 0])")
                }
                next[range.source] = range.to
            }
            sums += record.counts
        }
        for source in FaultWorld.sources where broker.positions[source, default: 0] != next[source, default: 0] {
            found(
                "the position of \(source) is \(broker.positions[source, default: 0]), not \(next[source, default: 0])"
            )
        }
        for (topic, wanted) in [
            (OutputTopics.verdicts, sums.verdicts), (OutputTopics.deadLetters, sums.deadLetters),
            (OutputTopics.late, sums.setAside),
        ] {
            let seen = broker.topics[topic, default: []].reduce(0) {
                $0 + $1.entries.count { $0.isVisible && $0.value != nil }
            }
            if seen != Int(wanted) { found("\(topic) has \(seen) records, the journal says \(wanted)") }
        }
        for (topic, partitions) in broker.topics.sorted(by: { $0.key < $1.key })
        where partitions.contains(where: { $0.stableEnd < $0.end }) {
            found("a transaction is open for ever in \(topic)")
        }
        do throws(LogError) {
            let life = FaultedLife(-100, [], clock, broker, note: { _ in }, mark: { _, _, _ in }, takeover: {})
            let result = try JournalAudit(
                deployment,
                log: ModelKafka(life, transactionalIDs: 1, mistake: nil),
                threads: 1
            ).run { _ in true }
            if !result.isClean { found("audit: \(result.findings.map(\.reason).joined(separator: ", "))") }
        } catch { found("audit: \(error.message)") }
    }

    /// Lets one worker that nothing happens to judge the same inputs, and compares what is said of each event.
    private func compareUndisturbed() {
        let clock = ModelClock()
        let other = ModelBroker(clock)
        other.create("clicks", partitions: 1)
        other.create("orders", partitions: 2)
        for source in FaultWorld.sources {
            for entry in broker.partition(source)?.entries ?? [] { other.append(entry.value, to: source) }
        }
        let life = FaultedLife(-200, [], clock, other, note: { _ in }, mark: { _, _, _ in }, takeover: {})
        let log = ModelKafka(life, transactionalIDs: 1, mistake: nil)
        defer { log.close() }
        var options = WorkerOptions()
        options.verdictPartitions = 2
        let worker = Worker(deployment, log: log, threads: 1, options: options, clock: clock)
        do throws(LogError) { try worker.run { worker.isReady && log.waits >= 2 } } catch {
            found("an undisturbed run ended: \(error.message)")
        }
        let (said, wanted) = (FaultWorld.verdicts(broker), FaultWorld.verdicts(other))
        let different = wanted.count { said[$0.key] != $0.value }
        if said.count != wanted.count || different > 0 {
            found(
                "\(different) of \(wanted.count) verdicts are not those of an undisturbed run; there are \(said.count)"
            )
        }
    }

    /// What was said, by the verdicts' ids.
    private static func verdicts(_ broker: ModelBroker) -> [[UInt8]: [UInt8]] {
        var verdicts: [[UInt8]: [UInt8]] = [:]
        for partition in broker.topics[OutputTopics.verdicts, default: []] {
            for entry in partition.entries where entry.isVisible {
                entry.value?.withUnsafeBytes { value in
                    let id = VerdictRecord.identifier(in: value).map { [UInt8]($0) } ?? []
                    verdicts[id] = [UInt8](VerdictRecord.judgement(in: value))
                }
            }
        }
        return verdicts
    }
}
