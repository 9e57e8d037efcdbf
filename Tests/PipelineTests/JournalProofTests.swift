import Detection
import Models
import Synchronization
import Testing

@testable import Pipeline

/// What the journal's digests prove: that an epoch is judged again from what it was made from, and says what it said.
@Suite struct JournalProofTests {
    private static let journal = TopicPartition(OutputTopics.journal, 0)

    /// A world of some epochs over all topics.
    private static func world(_ seed: UInt64, markers: Bool = false, threads: Int = 1, events: Int = 300) throws
        -> WorkerWorld
    {
        let world = try WorkerWorld(seed: seed, markers: markers)
        world.threads = threads
        for _ in 0..<3 {
            try world.produce(events / 3)
            var faults = SimulatedFaults(seed: seed)
            faults.tornPolls = 0.3
            #expect(try world.run(faults).error == nil)
        }
        return world
    }

    /// What the world's folder becomes when a rule changes.
    private static let otherRules = Result {
        try WorkerTopology.load(rules: WorkerTopology.rules.replacing("score +40", with: "score +41"))
    }

    private static func change(
        _ world: WorkerWorld,
        _ source: TopicPartition,
        _ body: (inout [SimulatedStore.Record]) -> Void
    ) {
        world.store.content.withLock { content in
            body(&content.topics[source.topic, default: []][Int(source.partition)].records)
        }
    }

    /// Writes the journal anew, each record as the body makes it.
    private static func rewrite(_ world: WorkerWorld, _ body: (inout JournalRecord) -> Void) throws {
        let records = try world.journal()
        change(world, journal) { stored in
            for (i, record) in records.enumerated() {
                var record = record
                body(&record)
                var bytes: [UInt8] = []
                record.write(to: &bytes)
                stored[i].value = bytes
            }
        }
    }

    private static func audit(_ world: WorkerWorld) throws(LogError) -> JournalAudit.Result {
        try JournalAudit(
            world.deployment,
            log: SimulatedLog(world.store, application: "audit"),
            releases: FolderReleases(world.deployment, former: world.former),
            threads: 1
        ).run { _ in true }
    }

    // MARK: What the digests are of

    @Test func `digests follow from the records of the ranges alone, and each from the one before`() throws {
        for seed in 0..<6 as Range<UInt64> {
            let world = try Self.world(seed, markers: seed % 2 == 0)
            var former: UInt64?
            var records = 0
            for record in try world.journal() {
                for range in record.ranges {
                    var digest = ContentDigest()
                    for one in world.store.records(of: range.source) where (range.from..<range.to).contains(one.offset)
                    {
                        var content = ContentDigest()
                        content.add(one.offset, one.appendTime)
                        content.add(-1, Int64(one.value?.count ?? -1))
                        if let value = one.value { value.withUnsafeBytes { content.addUncounted($0) } }
                        digest.add(content.value, 0)
                        records += 1
                    }
                    #expect(
                        range.digest == InputDigest(content: digest.value),
                        "epoch \(record.epoch), \(range.source)"
                    )
                }
                let proof = try #require(record.proof)
                #expect(proof.engine == Deployment.engineVersion)
                #expect(proof.inputDigest == record.chainedInputDigest(after: former))
                former = proof.inputDigest
            }
            #expect(records == world.records)
        }
    }

    @Test func `any number of threads writes the same journal, and reads it with the same digests`() throws {
        func journal(_ threads: Int, _ seed: UInt64) throws -> [JournalRecord] {
            let world = try Self.world(seed, threads: threads, events: 900)
            // Followers and audit hold every digest against their own.
            #expect(try world.findings(threads: [1, 2, 4]).isEmpty, "\(threads) threads")
            return try world.journal()
        }
        for seed in 20..<23 as Range<UInt64> {
            let one = try journal(1, seed)
            #expect(try journal(2, seed) == one)
            #expect(try journal(4, seed) == one)
            #expect(Set(one.compactMap(\.proof?.verdictDigest)).count > 3, "something was said")
        }
    }

    // MARK: Inputs that are others

    struct Change: Sendable, CustomTestStringConvertible {
        var testDescription: String
        /// Applied to the records of one partition; gives the offset of the first one changed, nil where there is none to change.
        var apply: @Sendable (inout [SimulatedStore.Record], inout SplitMix64) -> Int64?

        /// Changes one record that the condition holds for.
        static func one(
            _ name: String,
            where isMeant: @escaping @Sendable (SimulatedStore.Record) -> Bool = { $0.value?.count ?? 0 > 20 },
            _ body: @escaping @Sendable (inout SimulatedStore.Record) -> Void
        ) -> Change {
            Change(testDescription: name) { records, random in
                let all = records.indices.filter { isMeant(records[$0]) }
                if all.isEmpty { return nil }
                let i = all[random.below(all.count)]
                body(&records[i])
                return records[i].offset
            }
        }
    }

    static let changes: [Change] = [
        .one("a digit of a value") { $0.value?[10] ^= 1 },
        .one("the last byte of a dead letter that is too long", where: { $0.value?.count ?? 0 > 2048 }) {
            if let last = $0.value?.indices.last { $0.value?[last] ^= 1 }
        },
        .one("a byte of a dead letter that is no JSON", where: { $0.value?.count == 8 }) { $0.value?[6] ^= 1 },
        .one("a tombstone is an empty value", where: { $0.value == nil }) { $0.value = [] },
        .one("a key where there was none") { $0.key = [] },
        .one("the time at which the log took it") { $0.appendTime += 1 },
        Change(testDescription: "one is gone and another is there twice") { records, random in
            let i = 1 + random.below(records.count - 2)
            records[i].value = records[i - 1].value
            return records[i].offset
        },
        Change(testDescription: "two have changed places") { records, random in
            let i = random.below(records.count - 1)
            (records[i].value, records[i + 1].value) = (records[i + 1].value, records[i].value)
            return records[i].value == records[i + 1].value ? nil : records[i].offset
        },
        Change(testDescription: "one is gone, as compaction takes it") { records, random in
            records.remove(at: random.below(records.count)).offset
        },
    ]

    @Test(arguments: changes, [false, true])
    func `records that are others are named and refused, whatever rules judge them`(_ change: Change, _ isOther: Bool)
        throws
    {
        var tried = 0
        for seed in 40..<44 as Range<UInt64> {
            let world = try Self.world(seed)
            var random = SplitMix64(seed: seed)
            let source = world.sources[random.below(world.sources.count)]
            var changed: Int64?
            Self.change(world, source) { changed = change.apply(&$0, &random) }
            guard let offset = changed else { continue }
            tried += 1
            let epoch = try #require(
                try world.journal().first { record in
                    record.ranges.contains { $0.source == source && ($0.from..<$0.to).contains(offset) }
                }
            )
            let before = world.outputs()
            if isOther { world.deployment = try Self.otherRules.get() }
            for _ in 0..<2 {
                let error = try world.run().error
                #expect(error?.kind == .corrupt)
                let message = error?.message ?? ""
                #expect(
                    message.contains("\(source): offsets") && message.contains("epoch \(epoch.epoch) was made from"),
                    "\(message)"
                )
            }
            #expect(world.outputs() == before)
            world.former = [try WorkerTopology.standard.get()]
            #expect(logError { _ = try Self.audit(world) }?.message.contains("\(source): offsets") == true)
        }
        #expect(tried > 0)
    }

    @Test func `a header that the topology reads counts, and one that it does not read does not`() throws {
        let source = TopicPartition("hooks", 0)
        let deployment = try WorkerTopology.load(
            """
            topology: world
            events:
              delivered:
                topic: hooks
                time: ts
                subject: shop
                emit: all
                fields:
                  ts: { type: timestamp, format: ms }
                  shop: { type: string, entity: shop, path: "@headers.shop" }

            """,
            rules: HeaderFieldTests.rules
        )
        let store = SimulatedStore(clock: 1_767_600_000_000)
        try SimulatedLog(store).create([TopicRequirement(name: "hooks", partitions: 1)])
        for n in 0..<9 {
            store.append(
                source,
                key: nil,
                value: Array("{\"ts\":\(1_767_600_000_000 + n)}".utf8),
                headers: ["shop", "trace"].map { .init(name: $0, value: Array("s\(n)".utf8)) }
            )
        }
        func run() -> LogError? {
            let worker = Worker(deployment, log: SimulatedLog(store), threads: 1)
            return logError { try worker.run { worker.isReady } }
        }
        #expect(run() == nil)
        func change(_ header: Int) {
            store.content.withLock { $0.topics["hooks"]?[0].records[4].headers[header].value = [0x78] }
        }
        change(1)
        #expect(run() == nil)
        change(0)
        #expect(run()?.message.contains("hooks/0: offsets") == true)
    }

    // MARK: The journal itself

    @Test func `a record that was changed, or is of another history, is no next one`() throws {
        let world = try Self.world(60)
        let records = try world.journal()
        let middle = try #require(records.indices.first { $0 > 3 && !records[$0].ranges.isEmpty })
        let other = try Self.world(61).journal()
        let changes: [(JournalRecord) -> JournalRecord] = [
            { record in
                var record = record
                record.watermark = (record.watermark ?? 0) + 1
                return record
            },
            { record in
                var record = record
                record.ranges[0].digest?.content ^= 1
                return record
            },
            { record in
                var record = record
                record.proof?.inputDigest ^= 1
                return record
            },
            { record in
                var record = record
                record.proof?.inputDigest = other[Int(record.epoch)].proof?.inputDigest ?? 0
                return record
            },
        ]
        for change in changes {
            var chain = JournalChain(topology: nil, after: -1)
            for record in records[..<middle] { try chain.accept(record) }
            var tried = chain
            let error = logError { try tried.accept(change(records[middle])) }
            #expect(error?.kind == .corrupt)
            #expect(
                error?.message.contains("epoch \(middle) does not go on where epoch \(middle - 1)") == true,
                "\(error?.message ?? "")"
            )
            try chain.accept(records[middle])
        }
        var begin = JournalChain(topology: nil, after: -1)
        #expect(logError { try begin.accept(changes[2](records[0])) }?.kind == .corrupt)
        // What came before the first of a journal's end nobody knows.
        var end = JournalChain(topology: nil, after: nil)
        for record in records[middle...] { try end.accept(record) }
    }

    @Test
    func
        `a digest of verdicts that the replay does not give ends a recovery, and the audit tells it from changed verdicts`()
        throws
    {
        let world = try Self.world(62)
        let last = try #require(world.journal().last { $0.counts.verdicts > 0 }).epoch
        try Self.rewrite(world) { if $0.epoch == last { $0.proof?.verdictDigest ^= 1 } }
        let error = try world.run().error
        #expect(error?.kind == .corrupt)
        #expect(error?.message.contains("epoch \(last) gives other verdicts") == true, "\(error?.message ?? "")")
        let result = try Self.audit(world)
        #expect(!result.isClean && result.otherwiseEpochs == 1 && result.faults == 0 && !result.mayBeByKey)

        // Other rules do not say the same, and nobody expects it.
        world.deployment = try Self.otherRules.get()
        #expect(try world.run().error == nil)
    }

    @Test func `a verdict that was changed in the log is different, and the epoch says what it said`() throws {
        let world = try Self.world(63)
        Self.change(world, TopicPartition(OutputTopics.verdicts, 1)) { $0[3].value?[60] ^= 1 }
        let result = try Self.audit(world)
        #expect(result.different == 1 && result.otherwiseEpochs == 0 && !result.isClean)
        #expect(try world.run().error == nil)
    }

    // MARK: Other versions

    @Test func `epochs of another version of the program are named, and not called corrupt`() throws {
        let world = try Self.world(64)
        let count = Int64(try world.journal().count)
        let judged = try #require(world.journal().first { $0.counts.verdicts > 1 }).epoch
        // As version 0.0.9 would have written it, which counted one event otherwise and gave one verdict otherwise.
        try Self.rewrite(world) { record in
            record.proof?.engine = "0.0.9"
            if record.epoch == judged {
                record.counts.late += 1
                record.proof?.verdictDigest ^= 1
            }
        }
        var isChanged = false
        for partition in 0..<3 as Range<Int32> {
            Self.change(world, TopicPartition(OutputTopics.verdicts, partition)) { records in
                for i in records.indices {
                    let text = String(decoding: records[i].value ?? [], as: UTF8.self)
                    var older = text.replacing(
                        "\"engine\":\"\(Deployment.engineVersion)\"",
                        with: "\"engine\":\"0.0.9\""
                    )
                    #expect(older != text)
                    if !isChanged, records[i].headers.contains(.init(name: "ce_epoch", value: Array("\(judged)".utf8)))
                    {
                        older = older.replacing("\"score\":", with: "\"score\":1")
                        isChanged = true
                    }
                    records[i].value = Array(older.utf8)
                }
            }
        }
        try #require(isChanged)
        let result = try Self.audit(world)
        #expect(result.isClean && result.otherEngine == "0.0.9" && result.otherEngineEpochs == count)
        #expect(result.different == 1 && result.otherEngineDifferences == 1 && result.missing == 0)

        let follower = try Follower(
            EpochProcessor(world.deployment, team: ThreadTeam(lanes: 1)),
            log: SimulatedLog(world.store),
            sources: world.sources,
            snapshots: nil,
            clock: world.clock
        )
        defer { follower.processor.team.stop() }
        try follower.advance { _ in true }
        #expect(follower.otherEngines.version == "0.0.9" && follower.otherEngines.epochs == count)
        #expect(follower.otherEngines.different == 1 && follower.otherEngines.firstDifferent == judged)
        // It goes on, and this version's epochs are compared as ever.
        try world.produce(60)
        #expect(try world.run().error == nil)
        #expect(try Self.audit(world).otherEngineEpochs == count)
        // Its inputs are proven whoever judged them.
        Self.change(world, world.sources[0]) { $0[5].value = bytes("{}") }
        #expect(try world.run().error?.kind == .corrupt)
    }

    @Test func `a journal of version 4 goes on in version 5, and what is not proven is said`() throws {
        let world = try Self.world(65)
        try Self.rewrite(world) { record in
            record.proof = nil
            for i in record.ranges.indices { record.ranges[i].digest = nil }
        }
        let count = try world.journal().count
        #expect(
            world.store.records(of: Self.journal).allSatisfy {
                $0.value?.starts(with: bytes("{\"version\":4,")) == true
            }
        )
        try world.produce(100)
        #expect(try world.run().error == nil)
        try world.produce(100)
        #expect(try world.run().error == nil)
        let journal = try world.journal()
        #expect(journal.count > count && journal[count...].allSatisfy { $0.proof != nil })
        #expect(try world.findings(threads: [1, 2]).isEmpty)
        let result = try Self.audit(world)
        #expect(result.isClean && result.unprovenEpochs == count)

        // Another byte goes unseen where nothing proves it, and a record less does not, under other rules neither.
        world.deployment = try Self.otherRules.get()
        Self.change(world, world.sources[0]) { _ = $0.remove(at: 2) }
        let error = try world.run().error
        #expect(
            error?.kind == .corrupt && error?.message.contains("records, and the log gives") == true,
            "\(error?.message ?? "")"
        )
    }

    @Test func `an older program's record behind a newer one is refused`() throws {
        let world = try Self.world(66)
        let last = try #require(world.journal().last).epoch
        try Self.rewrite(world) { if $0.epoch == last { $0.proof = nil } }
        #expect(logError { _ = try Self.audit(world) }?.kind == .corrupt)
        #expect(try world.run().error?.kind == .corrupt)
    }
}
