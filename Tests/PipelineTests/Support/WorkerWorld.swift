import Detection
import Glibc
import Models
import RuleLanguage
import Synchronization
import Testing

@testable import Pipeline

/// A test's whole randomness is its seed.
extension SplitMix64 {
    mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }
    mutating func chance(_ percent: Int) -> Bool { below(100) < percent }
}

/// A topology over three topics that uses windows over topics, a ring detector and an anomaly model.
enum WorkerTopology {
    static let text = """
        topology: world
        time: { lateness: 1m, idle: 1d }
        limits: { record_bytes: 2048 }
        events:
          order:
            topic: orders
            time: ts
            id: id
            subject: account
            emit: all
            fields:
              id: string
              ts: { type: timestamp, format: ms }
              account: { type: string, entity: account, required: true }
              amount: { type: money, scale: 2, required: true }
          click:
            topic: clicks
            time: ts
            subject: account
            emit: flagged
            fields:
              ts: { type: timestamp, format: ms }
              account: { type: string, entity: account, required: true }
              item: { type: string, entity: item }
          coupon_redeemed:
            topic: coupons
            time: ts
            subject: account
            emit: flagged
            fields:
              ts: { type: timestamp, format: ms }
              account: { type: string, entity: account, required: true }
              coupon: { type: string, entity: coupon, required: true }
        detectors:
          lockstep:
            - name: coupon_ring
              events: [coupon_redeemed]
              actor: account
              target: coupon
              window: 1h
              minimum_actors: 3
              minimum_targets: 2
              look_back: 3
        models:
          anomaly:
            events: [order]
            features: [orders_5m, clicks_5m, amount]
            trees: 5
            depth: 4
            window: 50

        """

    static let rules = """
        feature orders_5m = count() of order by account over 5m
        feature clicks_5m = count() of click by account over 5m

        rule spender "Much money in little time" {
          owner "test"  severity high
          on order
          let spent = sum(amount) of order by account over 2m
          when spent > 20000 && clicks_5m >= 1
          then review, score +40
          because "{spent} cents after {clicks_5m} clicks, anomaly {anomaly.score}"
        }

        rule clicker "Many clicks" {
          owner "test"  severity low
          on click
          let clicks = count() of click by account over 1m
          when clicks >= 3
          then review, score +5
          because "{clicks} clicks and {orders_5m} orders"
        }

        rule coupons "Coupons in a ring" {
          owner "test"  severity medium
          on coupon_redeemed
          let coupons = count() of coupon_redeemed by account over 10m
          when coupon_ring.size >= 3 || coupons >= 3
          then review, score +20
          because "{coupons} coupons, ring of {coupon_ring.size}"
        }

        """

    /// Loads a topology from text; a mistake in it fails the test that asked.
    static func load(_ topology: String = text, rules: String = rules) throws -> Deployment {
        let folder = TemporaryFolder()
        folder.write(topology, "topology.yaml")
        folder.makeFolder("rules")
        folder.write(rules, "rules/all.weir")
        return try withExtendedLifetime(folder) { try Deployment(folder: folder.path) }
    }

    static let standard = Result { try load() }
}

/// One store with its inputs, on which workers come and go.
final class WorkerWorld {
    static let topics = ["orders", "clicks", "coupons"]
    static let start: Int64 = 1_767_600_000_000

    let store: SimulatedStore
    /// Of workers that are started from here on.
    var deployment: Deployment
    /// What the folder was before, as far as workers, replay and audit are told.
    var former: [Deployment] = []
    private(set) var sources: [TopicPartition]
    var random: SplitMix64
    /// Where event time has come to, per source.
    private var now: [Int64]
    private var producer: SimulatedLog
    private let hasMarkers: Bool
    var threads = 1
    /// Of all its workers.
    let clock = VirtualClock()
    /// What the journal says, summed over all calls of ``findings(threads:allowLeftovers:)``: a test looks whether it tested
    /// something.
    private(set) var seen = EpochCounts()
    /// Input records so far.
    private(set) var records = 0

    init(
        seed: UInt64,
        markers: Bool = false,
        partitions: Int = 2,
        deployment: Deployment? = nil
    ) throws {
        random = SplitMix64(seed: seed)
        hasMarkers = markers
        // Appended long after they happened: no event lies in its append time's future.
        store = SimulatedStore(clock: WorkerWorld.start + 86_400_000, transactionMarkers: markers)
        self.deployment = try deployment ?? WorkerTopology.standard.get()
        var sources: [TopicPartition] = []
        for topic in WorkerWorld.topics { for p in 0..<partitions { sources.append(TopicPartition(topic, Int32(p))) } }
        self.sources = sources
        now = sources.map { _ in WorkerWorld.start }
        producer = SimulatedLog(store, application: "producer")
        _ = try producer.takeOwnership()
        try producer.create(WorkerWorld.topics.map { TopicRequirement(name: $0, partitions: partitions) })
    }

    /// Adds an empty partition to a topic, and returns it.
    func addPartition(to topic: String) -> TopicPartition {
        let number = store.content.withLock { content in
            content.topics[topic, default: []].append(SimulatedStore.Partition())
            return content.topics[topic, default: []].count - 1
        }
        sources.append(TopicPartition(topic, Int32(number)))
        // Whoever is given to it goes on where it was.
        now.append(now.max() ?? WorkerWorld.start)
        return TopicPartition(topic, Int32(number))
    }

    /// Appends events: mostly in order, some out of order, some far too late, some no events at all.
    ///
    /// With markers the records come in transactions of a few records, so that offsets have gaps.
    func produce(_ count: Int, into wanted: [Int]? = nil) throws {
        var batch = OutputBatch(topics: WorkerWorld.topics)
        for _ in 0..<count {
            let source = wanted.map { $0[random.below($0.count)] } ?? random.below(sources.count)
            let value = makeValue(source)
            records += 1
            if hasMarkers {
                let topic = WorkerWorld.topics.firstIndex(of: sources[source].topic) ?? 0
                batch.append(topic: topic, key: nil, value: value.map { value in { $0 += value } })
                if random.chance(30) {
                    try producer.commit(batch, positions: [])
                    batch.removeAll()
                }
            } else {
                store.append(sources[source], key: nil, value: value)
            }
        }
        if !batch.isEmpty { try producer.commit(batch, positions: []) }
    }

    private func makeValue(_ source: Int) -> [UInt8]? {
        switch random.below(100) {
        case 0: return nil
        case 1: return []
        case 2: return bytes("{\"ts\":12")
        case 3: return bytes("{\"ts\":\(now[source])}")
        case 4: return bytes("{\"pad\":\"" + String(repeating: "x", count: 3000) + "\"}")
        default: break
        }
        now[source] += Int64(random.below(3000))
        var time = now[source]
        if random.chance(20) { time -= Int64(random.below(40_000)) }
        if random.chance(4) { time -= Int64(random.below(600_000)) }
        let account = "a\(random.below(9))"
        switch sources[source].topic {
        case "orders":
            let id = random.next() % 1_000_000
            return bytes(
                "{\"id\":\"o\(id)\",\"ts\":\(time),\"account\":\"\(account)\",\"amount\":\(random.below(90)).\(10 + random.below(89))}"
            )
        case "clicks": return bytes("{\"ts\":\(time),\"account\":\"\(account)\",\"item\":\"i\(random.below(5))\"}")
        default:
            // Four accounts of one hand redeem the same two coupons, a crowd redeems many.
            let (account, coupon) =
                random.chance(30)
                ? ("r\(random.below(4))", "c\(random.below(2))") : ("b\(random.below(200))", "d\(random.below(100))")
            return bytes("{\"ts\":\(time),\"account\":\"\(account)\",\"coupon\":\"\(coupon)\"}")
        }
    }

    // MARK: Running

    /// Epochs and transactions whose size hangs on the records alone, never on the machine's speed.
    func options() -> WorkerOptions {
        var options = WorkerOptions()
        options.epochRecords = 1 + random.below(40)
        options.lingerMilliseconds = 0
        options.transactionMilliseconds = 1e9
        options.transactionRecords = 1 + random.below(100)
        options.verdictPartitions = 3
        return options
    }

    /// Runs one worker until it has had nothing to do twice, or dies.
    @discardableResult
    func run(
        _ faults: SimulatedFaults = SimulatedFaults(),
        options given: WorkerOptions? = nil,
        application: String = "weir",
        snapshots: (any SnapshotStore)? = nil,
        metrics: WorkerMetrics? = nil,
        over wrap: (SimulatedLog) -> any EventLog = { $0 },
        until isOver: ((SimulatedLog, _ step: Int) throws -> Bool)? = nil,
        step: (Int) throws -> Void = { _ in }
    ) throws -> (error: LogError?, log: SimulatedLog, worker: Worker) {
        let log = SimulatedLog(store, application: application, faults: faults)
        let worker = Worker(
            deployment,
            log: wrap(log),
            threads: threads,
            options: given ?? options(),
            releases: FolderReleases(deployment, former: former),
            metrics: metrics,
            clock: clock
        )
        worker.snapshots = snapshots
        var steps = 0
        var waitsBefore = 0
        var thrown: (any Error)?
        var error: LogError?
        do throws(LogError) {
            try worker.run {
                steps += 1
                do {
                    try step(steps)
                    if let isOver { return try isOver(log, steps) }
                } catch { thrown = error }
                // Recovery waits too, where polls give nothing.
                if !worker.isReady { waitsBefore = log.visits["wait", default: 0] }
                return log.visits["wait", default: 0] >= waitsBefore + 2 || steps > 100_000 || thrown != nil
            }
        } catch let failure { error = failure }
        if let thrown { throw thrown }
        return (error, log, worker)
    }

    /// Whether the journal covers every input record.
    func isDone() throws -> Bool {
        var next: [TopicPartition: Int64] = [:]
        for record in try journal() { for range in record.ranges { next[range.source] = range.to } }
        return sources.allSatisfy { source in
            guard let last = store.records(of: source).last else { return true }
            return next[source, default: 0] > last.offset
        }
    }

    func journal() throws -> [JournalRecord] {
        try store.records(of: TopicPartition(OutputTopics.journal, 0)).map { record in
            try (record.value ?? []).withUnsafeBytes { bytes throws(LogError) in try JournalRecord(parsing: bytes) }
        }
    }

    // MARK: What must hold

    /// Everything that is wrong with what stands in the log; empty when nothing is.
    func findings(threads: [Int] = [1], allowLeftovers: Bool = false) throws -> [String] {
        var found: [String] = []
        let journal = try journal()
        var next: [TopicPartition: Int64] = [:]
        var sums = EpochCounts()
        for (i, record) in journal.enumerated() {
            if record.epoch != Int64(i) { found.append("epoch \(record.epoch) stands at place \(i)") }
            for range in record.ranges {
                if range.from != next[range.source, default: 0] {
                    found.append("\(range.source): \(range.from) follows \(next[range.source, default: 0])")
                }
                next[range.source] = range.to
            }
            sums += record.counts
        }
        let inputs = sources.reduce(0) { $0 + store.records(of: $1).count }
        if try !allowLeftovers && !isDone() { found.append("inputs are left over") }
        if !allowLeftovers, sums.events + sums.setAside + sums.deadLetters != inputs || sums.records != inputs {
            found.append("\(inputs) records, but \(sums) in the journal")
        }
        seen += sums
        let written = outputs()
        for (topic, wanted) in [
            (OutputTopics.verdicts, sums.verdicts), (OutputTopics.deadLetters, sums.deadLetters),
            (OutputTopics.late, sums.setAside), (OutputTopics.journal, Int64(journal.count)),
        ] where written[topic, default: []].count != Int(wanted) {
            found.append("\(topic): \(written[topic, default: []].count) records, the journal says \(wanted)")
        }
        let ids = written[OutputTopics.verdicts, default: []].map { $0.value.prefix(51) }
        if Set(ids).count != ids.count { found.append("a verdict's id stands twice") }
        for lanes in threads {
            let replayed: (outputs: [String: [Output]], counts: EpochCounts)
            do throws(LogError) { replayed = try replay(threads: lanes) } catch {
                found.append("replay: \(error.message)")
                continue
            }
            if replayed.counts.events != replayed.counts.verdicts + replayed.counts.silent {
                found.append("an event is neither judged nor silent: \(replayed.counts)")
            }
            for topic in OutputTopics.all where topic != OutputTopics.journal {
                let same = written[topic, default: []].sorted() == replayed.outputs[topic, default: []].sorted()
                if !same { found.append("\(topic) is not what \(lanes) threads replay") }
            }
        }
        do throws(LogError) {
            let audit = try JournalAudit(
                deployment,
                log: SimulatedLog(store, application: "audit"),
                releases: FolderReleases(deployment, former: former),
                threads: 1
            ).run { _ in true }
            if !audit.isClean { found.append("audit: \(audit)") }
        } catch { found.append("audit: \(error.message)") }
        return found
    }

    struct Output: Comparable {
        var key: [UInt8]
        var value: [UInt8]
        var headers: [String]

        static func < (a: Output, b: Output) -> Bool {
            if a.key != b.key { return a.key.lexicographicallyPrecedes(b.key) }
            if a.value != b.value { return a.value.lexicographicallyPrecedes(b.value) }
            return a.headers.lexicographicallyPrecedes(b.headers)
        }
    }

    /// What stands in Weir's topics.
    func outputs() -> [String: [Output]] {
        var all: [String: [Output]] = [:]
        for topic in OutputTopics.all {
            for partition in 0..<Int32(4) {
                for record in store.records(of: TopicPartition(topic, partition)) {
                    all[topic, default: []].append(
                        Output(
                            key: record.key ?? [],
                            value: record.value ?? [],
                            headers: record.headers.map { "\($0.name)=\(String(decoding: $0.value, as: UTF8.self))" }
                        )
                    )
                }
            }
        }
        return all
    }

    /// Replays the journal from the inputs and returns what should stand in Weir's topics.
    ///
    /// Along the way the watermark is computed anew as one uninterrupted worker would whose sources are never idle.
    func replay(
        threads: Int,
        epochDone: (JournalRecord, _ watermark: Int64?, _ newest: Int64?) -> Void = { _, _, _ in }
    ) throws(LogError) -> (outputs: [String: [Output]], counts: EpochCounts) {
        let log = SimulatedLog(store, application: "replay")
        let team = ThreadTeam(lanes: threads)
        defer { team.stop() }
        let processor = EpochProcessor(deployment, team: team)
        let assembler = OutputAssembler(deployment)
        let block = DecodedBlock(deployment, sources: sources, lanes: team.lanes)
        let replay = try JournalReplay(
            log,
            deployment,
            sources: sources,
            block: block,
            processor: processor,
            releases: FolderReleases(deployment, former: former)
        )
        var tracker = WatermarkTracker(
            sources: sources.count,
            latenessMilliseconds: deployment.description.time.latenessMilliseconds
        )
        var watermark = tracker.advance()
        var newest: Int64?
        var all: [String: [Output]] = [:]
        var counts = EpochCounts()
        try replay.advance(seen: { tracker.see(source: $0, time: $1) }) { (record) throws(LogError) in
            counts += processor.counts
            epochDone(record, watermark, newest)
            watermark = max(tracker.advance() ?? .min, record.watermark ?? .min)
            if watermark == .min { watermark = nil }
            newest = tracker.clocks.compactMap(\.reached).max()
            let outputs = try outputs(of: processor, block, assembler, record)
            for (topic, outputs) in outputs { all[topic, default: []] += outputs }
            return true
        }
        return (all, counts)
    }

    /// What the epoch that was processed last gives for Weir's topics.
    func outputs(
        of processor: EpochProcessor,
        _ block: DecodedBlock,
        _ assembler: OutputAssembler,
        _ epoch: JournalRecord
    ) throws(LogError) -> [String: [Output]] {
        var all: [String: [Output]] = [:]
        var batch = OutputBatch(topics: OutputTopics.all)
        assembler.appendVerdicts(processor.engine, epoch: epoch.epoch, to: &batch)
        assembler.appendDeadLetters(block, sources: sources, to: &batch)
        assembler.appendLate(processor.setAside, watermark: epoch.watermark, to: &batch)
        try batch.withParts { (record, key, value, _) throws(LogError) in
            var headers: [String] = []
            batch.forEachHeader(record) { name, value in
                headers.append("\(String(decoding: name, as: UTF8.self))=\(String(decoding: value, as: UTF8.self))")
            }
            all[OutputTopics.all[record.topic], default: []].append(
                Output(key: key.map { [UInt8]($0) } ?? [], value: value.map { [UInt8]($0) } ?? [], headers: headers)
            )
        }
        return all
    }
}
