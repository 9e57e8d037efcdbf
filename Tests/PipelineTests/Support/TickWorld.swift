import Detection
import KafkaClient
import KafkaTestBroker
import Models
import Testing

@testable import Pipeline

/// Traffic whose verdicts tell when what was learnt became visible, and every way to bring it to Weir: files, logs, batches of any
/// size.
///
/// Orders teach a model that scores the next ones, coupons form rings whose members drop in soon after, and events come now one by
/// one, now a thousand in a second.
struct TickWorld {
    static let topology = """
        topology: world
        time: { lateness: 1m, idle: 1d TICK }
        events:
          order:
            topic: shop
            when: { kind: order }
            time: ts
            id: id
            subject: account
            emit: all
            fields:
              id: string
              ts: { type: timestamp, format: ms }
              account: { type: string, entity: account, required: true }
              amount: { type: money, scale: 2, required: true }
          coupon:
            topic: shop
            when: { kind: coupon }
            time: ts
            id: id
            subject: account
            emit: all
            fields:
              id: string
              ts: { type: timestamp, format: ms }
              account: { type: string, entity: account, required: true }
              coupon: { type: string, entity: coupon, required: true }
          visit:
            topic: shop
            when: { kind: visit }
            time: ts
            id: id
            subject: account
            emit: all
            fields:
              id: string
              ts: { type: timestamp, format: ms }
              account: { type: string, entity: account, required: true }
              item: { type: string, entity: item, required: true }
        detectors:
          lockstep:
            - { name: coupon_ring, events: [coupon], actor: account, target: coupon, window: 1h, minimum_actors: 3, minimum_targets: 2 }
            - { name: visit_ring, events: [visit], actor: account, target: item, window: 1h, minimum_actors: 4, minimum_targets: 2 }
        models:
          anomaly:
            - { name: spending, events: [order], features: [orders_5m, amount], trees: 5, depth: 4, window: 50 }
            - { name: visiting, events: [visit, coupon], features: [visits_5m], trees: 5, depth: 4, window: 30 }

        """

    static let rules = """
        feature orders_5m = count() of order by account over 5m
        feature visits_5m = count() of visit by account over 5m

        rule ring "In a ring" {
          owner "test"  severity medium
          on visit, coupon
          when coupon_ring.size >= 3
          then review, score +20
          because "ring {coupon_ring.id} of {coupon_ring.size}, {coupon_ring.score}"
        }

        """

    static func deployment(tick: String? = nil) throws -> Deployment {
        try WorkerTopology.load(topology.replacing(" TICK", with: tick.map { ", tick: \($0)" } ?? ""), rules: rules)
    }

    /// Records in the order of their times, one event each; no two events have the same id.
    static func records(_ count: Int, seed: UInt64) -> [String] {
        var random = SplitMix64(seed: seed)
        var now: Int64 = 1_767_600_000_000
        return (0..<count).map { n in
            // A sale in between: more than a thousand events in a second.
            let isSale = (count / 3..<(count / 3 + 1300)).contains(n)
            now += isSale ? (n % 2 == 0 ? 1 : 0) : Int64([0, 0, 40, 300, 900, 4000][random.below(6)])
            // Six accounts at a time redeem three coupons of their own and look at three items.
            let campaign = n / 400
            let member = "ring\(campaign * 6 + random.below(6))"
            let honest = "honest\(random.below(400))"
            let head = "{\"id\":\"e\(n)\",\"ts\":\(now),\"kind\":"
            switch random.below(10) {
            case 0...3:
                let amount = random.chance(3) ? 90_000 : 100 + random.below(2000)
                return head + "\"order\",\"account\":\"\(honest)\",\"amount\":\(amount / 100).\(10 + amount % 90)}"
            case 4...5: return head + "\"coupon\",\"account\":\"\(honest)\",\"coupon\":\"own\(n)\"}"
            case 6:
                return head + "\"coupon\",\"account\":\"\(member)\",\"coupon\":\"S\(campaign)-\(random.below(3))\"}"
            case 7: return head + "\"visit\",\"account\":\"\(honest)\",\"item\":\"i\(random.below(3000))\"}"
            default:
                return head + "\"visit\",\"account\":\"\(member)\",\"item\":\"r\(campaign)-\(random.below(3))\"}"
            }
        }
    }

    /// The same with records among them that are no events.
    static func withDeadLetters(_ records: [String], seed: UInt64) -> [String] {
        var random = SplitMix64(seed: seed)
        return records.flatMap { record in
            [String](repeating: random.chance(50) ? "no JSON" : "{\"kind\":\"order\"}", count: random.below(4)) + [
                record
            ]
        }
    }

    /// What was said: verdicts by the event's id and versions of rings in their order, both without what tells where the records
    /// stood.
    struct Said: Equatable {
        var verdicts: [String: String] = [:]
        /// Nil: nobody asked.
        var rings: [String]?

        mutating func add(verdict: String) {
            // {"verdict_id":"36 characters" … "partition":0,"offset":12,"id":"e12" …
            guard let place = verdict.firstRange(of: ",\"partition\":"), let id = verdict.firstRange(of: ",\"id\":\"e")
            else { return }
            let number = String(verdict[id.upperBound...].prefix { $0 != "\"" })
            #expect(verdicts[number] == nil, "a second verdict on e\(number)")
            verdicts[number] = String(verdict[..<place.lowerBound].dropFirst(51)) + String(verdict[id.lowerBound...])
        }

        /// Events whose verdict names a ring of one of the detectors, or a score of one of the models.
        func count(naming name: String) -> Int { verdicts.values.count { $0.contains("\"\(name)\"") } }

        /// What is different between two, in words; nil when nothing is.
        ///
        /// - Parameter tail: verdicts are compared up to it.
        func difference(from other: Said, but tail: String = "\n") -> String? {
            func head(_ text: String?) -> Substring? {
                text.map { $0[..<($0.firstRange(of: tail)?.lowerBound ?? $0.endIndex)] }
            }
            if verdicts.count != other.verdicts.count {
                return "\(verdicts.count) verdicts in place of \(other.verdicts.count)"
            }
            for n in verdicts.keys.sorted(by: { (Int($0) ?? 0) < (Int($1) ?? 0) })
            where head(verdicts[n]) != head(other.verdicts[n]) {
                return "e\(n): \(verdicts[n] ?? "") in place of \(other.verdicts[n] ?? "nothing")"
            }
            if let rings, let others = other.rings, rings != others {
                let at = zip(rings, others).prefix { $0 == $1 }.count
                return "\(rings.count) and \(others.count) rings, from number \(at)"
            }
            return nil
        }
    }

    // MARK: Ways

    /// `weir replay`.
    static func replay(_ records: [String], _ deployment: Deployment, threads: Int) throws -> Said {
        let folder = TemporaryFolder()
        return try withExtendedLifetime(folder) {
            folder.write(records.joined(separator: "\n") + "\n", "in.jsonl")
            let replayed = try Replayed(deployment, [folder.file("in.jsonl")], threads: threads)
            return replayed.said
        }
    }

    /// Epochs of a fixed length, each but the first after a trigger that ends the open tick.
    static func epochs(of length: Int, _ records: [String], _ deployment: Deployment) throws -> Said {
        let team = ThreadTeam(lanes: 1)
        defer { team.stop() }
        let processor = EpochProcessor(deployment, team: team)
        let block = DecodedBlock(deployment, sources: [TopicPartition("shop", 0)], lanes: 1)
        var said = Said()
        var newest: Int64?
        for start in stride(from: 0, to: records.count, by: length) {
            block.removeAll()
            for n in start..<min(start + length, records.count) {
                Array(records[n].utf8).withUnsafeBytes {
                    block.stage(source: 0, offset: Int64(n), appendTime: nil, value: $0, fullLength: $0.count)
                }
            }
            block.decode(team)
            let triggers = newest.map { [Trigger.endTick(at: $0)] } ?? []
            newest = block.events.map(\.time).max()
            processor.process(
                block.events,
                records: block.stagedCount,
                rejected: 0,
                watermark: nil,
                triggers: triggers
            )
            processor.engine.forEachOutput { output in
                for line in String(decoding: output.verdicts.bytes, as: UTF8.self).split(separator: "\n") {
                    said.add(verdict: String(line))
                }
            }
        }
        return said
    }

    /// `weir run` on a log, in three sessions that each recover from the journal, with epochs and transactions of random length.
    ///
    /// - Parameter append: adds records to partition 0 of topic `shop`.
    static func run(
        _ records: [String],
        _ deployment: Deployment,
        seed: UInt64,
        threads: Int,
        open: () throws -> any EventLog,
        append: (ArraySlice<String>, any EventLog) throws -> Void
    ) throws -> Said {
        var random = SplitMix64(seed: seed)
        var at = 0
        var said = Said(rings: [])
        for session in 0..<3 {
            let log = try open()
            defer { log.close() }
            if session == 0 { try log.create([TopicRequirement(name: "shop", partitions: 1)]) }
            let end = session == 2 ? records.count : at + random.below(records.count - at)
            try append(records[at..<end], log)
            at = end
            var options = WorkerOptions()
            options.epochRecords = 1 + random.below([20, 300, 4000][session])
            options.lingerMilliseconds = Double(random.below(3))
            options.transactionMilliseconds = Double(random.below(20))
            options.transactionRecords = 1 + random.below(3000)
            let worker = Worker(deployment, log: log, threads: threads, options: options)
            try worker.run { worker.isReady }
            if session < 2 { continue }
            #expect(worker.replayedEpochs > 3)
            for partition in try log.partitions(of: OutputTopics.verdicts) ?? [] {
                try read(log, TopicPartition(OutputTopics.verdicts, partition)) { said.add(verdict: $0) }
            }
            try read(log, TopicPartition(OutputTopics.rings, 0)) { said.rings?.append($0) }
        }
        return said
    }

    private static func read(_ log: any EventLog, _ source: TopicPartition, _ body: (String) -> Void) throws {
        let (start, end) = try log.bounds(of: source)
        try log.read(source, from: start, to: end) { record, _ in
            if let value = record.value { body(String(decoding: value, as: UTF8.self)) }
            return true
        }
    }

    private static func batch(_ records: ArraySlice<String>) -> OutputBatch {
        var batch = OutputBatch(topics: ["shop"])
        for record in records { batch.append(topic: 0, key: nil, value: { $0.append(contentsOf: record.utf8) }) }
        return batch
    }

    static func embedded(_ records: [String], _ deployment: Deployment, seed: UInt64, threads: Int) throws -> Said {
        let folder = TemporaryFolder()
        return try withExtendedLifetime(folder) {
            try run(records, deployment, seed: seed, threads: threads) {
                try EmbeddedLog(path: folder.file("weir.db"), application: "world")
            } append: { records, log in
                try (log as? EmbeddedLog)?.append(batch(records))
            }
        }
    }

    /// - Parameter broker: of its own, as Weir's topics have fixed names.
    static func kafka(
        _ records: [String],
        _ deployment: Deployment,
        seed: UInt64,
        threads: Int,
        broker: String
    ) throws -> Said {
        try run(records, deployment, seed: seed, threads: threads) {
            try KafkaLog(
                configuration: KafkaConfiguration(["bootstrap.servers": broker]),
                options: KafkaLog.Options(application: "world")
            )
        } append: { records, log in
            try (log as? KafkaLog)?.append(batch(records))
        }
    }
}
