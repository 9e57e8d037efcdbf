import Foundation
import Models
import RuleLanguage
import Testing

@testable import Detection

private func configuration(seed: UInt64) -> LockstepConfiguration {
    var configuration = LockstepConfiguration(name: "coupon_ring", seed: seed)
    configuration.targetsNoun = "coupons"
    configuration.verb = "redeemed"
    return configuration
}

private func digest(_ detector: borrowing LockstepDetector) -> UInt64 {
    var digest: UInt64 = 0
    detector.digest(into: &digest)
    return digest
}

/// Everybody who was ever named a member, and all changes.
private func run(_ detector: inout LockstepDetector, _ feed: LockstepFeed, tick: Int) -> (
    members: Set<UInt64>, changes: [RingChange]
) {
    var members: Set<UInt64> = []
    var changes: [RingChange] = []
    for records in feed.ticks(of: tick) {
        detector.tick(records)
        changes += detector.changes
        for change in detector.changes where change.status != .closed { members.formUnion(change.members.map(\.hash)) }
    }
    return (members, changes)
}

// MARK: - Oracle

/// The detector's definition over plain sets and unlimited memory, record by record, with every baseline recomputed from all closed
/// windows.
private final class Oracle {
    struct Token: Hashable {
        var target: UInt64
        var bucket: Int64
    }

    struct Hot {
        var token: Token
        var count: Int
        var time: Int64
    }

    let configuration: LockstepConfiguration
    let hash: WordHash
    var actors: [Token: [(actor: UInt64, time: Int64)]] = [:]
    var isHot: [Token: Int] = [:]
    var buckets: [UInt64: [Int64]] = [:]
    var hotTokens: [UInt64: [Hot]] = [:]
    var pairActors: [Set<Token>: [UInt64]] = [:]
    var pairCounts: [Set<Token>: [Token: Int]] = [:]
    var accepted: Set<Set<Token>> = []
    var targetsOf: [UInt64: Set<UInt64>] = [:]
    var groups: [Set<UInt64>] = []

    init(_ configuration: LockstepConfiguration) {
        self.configuration = configuration
        hash = WordHash(LockstepFeed.hash(configuration.seed))
    }

    func tail(_ n: Int, _ mean: Double) -> Double {
        guard mean > 0 else { return 0 }
        guard Double(n) > mean else { return 1 }
        return (n..<(n + 1000)).reversed().reduce(0) {
            $0 + exp(Double($1) * log(mean) - mean - lgamma(Double($1) + 1))
        }
    }

    func take(_ record: LockstepRecord, population: Double) {
        let key = hash.combine(record.target, UInt64(record.relation) + 1)
        let window = configuration.window
        let results = configuration.resultHash
        let text = results(record.targetText, count: Int(record.targetLength))
        let shift = Int64(bitPattern: results.combine(text, UInt64(record.relation)) & (.max >> 1)) % window
        let token = Token(target: key, bucket: Int64((Double(record.time + shift) / Double(window)).rounded(.down)))
        if actors[token] == nil { buckets[key, default: []].append(token.bucket) }
        if actors[token, default: []].contains(where: { $0.actor == record.actor }) { return }
        actors[token, default: []].append((record.actor, record.time))
        let members = actors[token] ?? []
        guard members.count >= configuration.minimumActors else { return }
        if isHot[token] != nil {
            emit(members[members.count - 1], token, record.target, members.count, population)
        } else {
            let limit = threshold(token)
            if members.count >= limit {
                isHot[token] = limit
                for member in members { emit(member, token, record.target, members.count, population) }
            }
        }
    }

    func threshold(_ token: Token) -> Int {
        let decay = exp(-Double(configuration.window) / Double(configuration.baselineLife))
        let all = buckets[token.target] ?? []
        var (sum, weight) = (0.0, 0.0)
        for bucket in (all.first ?? token.bucket)..<token.bucket {
            let closed = Token(target: token.target, bucket: bucket)
            let count = isHot[closed].map { $0 - 1 } ?? actors[closed]?.count ?? 0
            let faded = pow(decay, Double(token.bucket - 1 - bucket))
            sum += faded * Double(count)
            weight += faded
        }
        var n = configuration.minimumActors
        while weight > 0, tail(n, sum / weight) > configuration.hotChance { n += 1 }
        return n
    }

    func emit(
        _ member: (actor: UInt64, time: Int64),
        _ token: Token,
        _ target: UInt64,
        _ count: Int,
        _ population: Double
    ) {
        let held = hotTokens[member.actor] ?? []
        for other in held.suffix(16) where other.token.target != token.target {
            let pair: Set<Token> = [token, other.token]
            pairCounts[pair, default: [:]][token] = max(pairCounts[pair]?[token] ?? 0, count)
            pairCounts[pair, default: [:]][other.token] = max(pairCounts[pair]?[other.token] ?? 0, other.count)
            guard !(pairActors[pair] ?? []).contains(member.actor) else { continue }
            pairActors[pair, default: []].append(member.actor)
            let common = pairActors[pair] ?? []
            guard common.count >= configuration.minimumActors else { continue }
            let mean = (pairCounts[pair] ?? [:]).values.reduce(1.0) { $0 * Double($1) } / population
            if accepted.contains(pair) {
                join([common[0], member.actor], pair)
            } else if tail(common.count, mean) < configuration.pairChance {
                accepted.insert(pair)
                join(common, pair)
            }
        }
        hotTokens[member.actor, default: []].append(Hot(token: token, count: count, time: member.time))
    }

    func join(_ actors: [UInt64], _ pair: Set<Token>) {
        var union = Set(actors)
        groups.removeAll { group in
            guard !group.isDisjoint(with: union) else { return false }
            union.formUnion(group)
            return true
        }
        groups.append(union)
        for actor in actors { targetsOf[actor, default: []].formUnion(pair.map(\.target)) }
    }

    /// Rings as sets of members.
    var rings: Set<Set<UInt64>> {
        Set(
            groups.map { $0.filter { (targetsOf[$0]?.count ?? 0) >= configuration.minimumTargets } }
                .filter { $0.count >= configuration.minimumActors }
        )
    }
}

@Test(arguments: [1, 2, 3, 4, 5] as [UInt64])
func `rings equal those of a recomputation with plain sets`(seed: UInt64) {
    var traffic = LockstepTraffic(
        edges: LockstepTraffic.edges(actors: 400, targets: 60, count: 3000, seed: seed),
        days: 9,
        seed: seed
    )
    traffic.inject(rings: 3, actors: 12, targets: 5, density: 0.7, width: 2 * LockstepTraffic.hour)
    traffic.sort()
    let feed = LockstepFeed(traffic.acts, seed: seed)
    defer { feed.free() }
    var configuration = configuration(seed: seed)
    configuration.minimumTargets = seed.isMultiple(of: 2) ? 3 : 2
    var detector = LockstepDetector(configuration)
    let oracle = Oracle(configuration)
    for records in feed.ticks(of: 97) {
        // The population of the tick's start.
        let population = detector.actorEstimate
        detector.tick(records)
        for record in records { oracle.take(record, population: population) }
        var found: [UInt64: Set<UInt64>] = [:]
        for actor in Set(records.map(\.actor)).union(oracle.targetsOf.keys) {
            if let ring = detector.membership(ofActor: actor)?.ring { found[ring, default: []].insert(actor) }
        }
        #expect(Set(found.values) == oracle.rings)
    }
    #expect(!oracle.rings.isEmpty)
}

@Test func `small fast rings are found and no honest account is named`() {
    var traffic = LockstepTraffic(
        edges: LockstepTraffic.edges(actors: 6000, targets: 3000, count: 16_000, seed: 3),
        days: 20,
        seed: 3
    )
    var clean = traffic
    traffic.inject(rings: 6, actors: 50, targets: 20, density: 0.3, width: 3 * LockstepTraffic.hour)
    traffic.sort()
    clean.sort()
    let feed = LockstepFeed(traffic.acts, seed: 5)
    var detector = LockstepDetector(configuration(seed: 5))
    let found = run(&detector, feed, tick: 1024).members
    feed.free()
    let injected = Set(traffic.rings.flatMap { $0 }.map { feed.actor($0) })
    let hits = Double(found.intersection(injected).count)
    let f1 = 2 * hits / Double(found.count + injected.count)
    #expect(f1 >= 0.9, "F1 \(f1): \(found.count) found, \(injected.count) injected, \(hits) right")

    let cleanFeed = LockstepFeed(clean.acts, seed: 5)
    var cleanDetector = LockstepDetector(configuration(seed: 5))
    let falsePositives = run(&cleanDetector, cleanFeed, tick: 1024).members
    cleanFeed.free()
    #expect(falsePositives.isEmpty, "\(falsePositives.count) honest accounts named")
}

/// One way to bring a tick's records to the detector; all must come to the same.
private enum Way: CaseIterable {
    case oneByOne, oneRun, fourThreads, slotBySlot, mixed

    static let halves = [0..<32, 32..<64]
    static let quarters = [48..<64, 0..<16, 32..<48, 16..<32]
    static let slots = (0..<64).reversed().map { $0..<($0 + 1) }

    func feed(_ records: [LockstepRecord], to detector: inout LockstepDetector, _ random: inout SplitMix64) {
        switch self {
        case .oneByOne: detector.take(records[...])
        case .oneRun: detector.run(records[...], over: [0..<64])
        case .fourThreads: detector.run(records[...], over: Way.quarters)
        case .slotBySlot: detector.run(records[...], over: Way.slots)
        case .mixed:
            // Parts of any length, as epochs cut them, each in any way.
            var at = 0
            while at < records.count {
                let end = min(records.count, at + 1 + Int(random.next() % 60))
                switch random.next() % 3 {
                case 0: detector.take(records[at..<end])
                case 1: detector.run(records[at..<end], over: Way.halves)
                default: detector.run(records[at..<end], over: Way.quarters)
                }
                at = end
            }
        }
    }
}

/// Groups of twelve accounts on five targets of their own, one group after the other, some of them on a target of the group before:
/// rings that open, meet and close in small tables.
func lockstepWaves(seed: UInt64) -> [Act] {
    var random = SplitMix64(seed: seed)
    return (0..<3000).map { i in
        let group = i / 100
        return Act(
            time: Int64(i) * 20_000,
            actor: group * 12 + Int(random.next() % 12),
            target: (random.next() % 8 == 0 ? max(0, group - 1) : group) * 5 + Int(random.next() % 5)
        )
    }
}

let tightLockstep = {
    var configuration = configuration(seed: 9)
    configuration.memory = configuration.window
    configuration.limits.targets = 2
    configuration.limits.actors = 2
    configuration.limits.pairs = 2
    configuration.limits.names = 24
    configuration.limits.rings = 4
    configuration.limits.ringMembers = 30
    return configuration
}()

@Test(arguments: [1, 2, 3] as [UInt64], [false, true])
func `however a tick's records come, the state and the rings are the same`(seed: UInt64, isTight: Bool) {
    var traffic = LockstepTraffic(
        edges: LockstepTraffic.edges(actors: 500, targets: 100, count: 2500, seed: seed),
        days: 6,
        seed: seed
    )
    traffic.inject(rings: 3, actors: 15, targets: 6, density: 0.6, width: 2 * LockstepTraffic.hour)
    traffic.sort()
    let feed = LockstepFeed(isTight ? lockstepWaves(seed: seed) : traffic.acts, seed: isTight ? 9 : seed)
    defer { feed.free() }
    let configuration = isTight ? tightLockstep : configuration(seed: seed)
    var random = SplitMix64(seed: seed)
    let sizes = feed.acts.map { _ in 1 + Int(random.next() % (random.next() % 8 == 0 ? 600 : 20)) }
    var outcomes: [[UInt64]] = []
    var json: [[[UInt8]]] = []
    for way in Way.allCases {
        var detector = LockstepDetector(configuration)
        var digests: [UInt64] = []
        var out: [[UInt8]] = []
        for records in feed.ticks(of: sizes) {
            way.feed(records, to: &detector, &random)
            detector.endTick(watermark: (records.last?.time ?? 0) - 60_000)
            out += detector.changes.map(bytes(of:))
            detector.removeChanges()
            digests.append(digest(detector))
        }
        outcomes.append(digests)
        json.append(out)
        let counters = detector.counters
        if isTight { #expect(counters.evictedRings > 0 && counters.evictedActors > 0 && counters.evictedPairs > 0) }
    }
    for other in 1..<outcomes.count { #expect(outcomes[other] == outcomes[0] && json[other] == json[0]) }
    #expect(json[0].count > 2)
    if isTight { #expect(json[0].contains { String(decoding: $0, as: UTF8.self).contains("closed") }) }
}

@Test func `one more tick border changes what is found, so the comparison of ways can fail`() {
    var traffic = LockstepTraffic(
        edges: LockstepTraffic.edges(actors: 500, targets: 100, count: 2500, seed: 1),
        days: 6,
        seed: 1
    )
    traffic.inject(rings: 3, actors: 15, targets: 6, density: 0.6, width: 2 * LockstepTraffic.hour)
    traffic.sort()
    let feed = LockstepFeed(traffic.acts, seed: 1)
    defer { feed.free() }
    let outcomes = [256, 64].map { size in
        var detector = LockstepDetector(configuration(seed: 1))
        return run(&detector, feed, tick: size).changes.map { "\($0.version) \($0.score) \($0.size)" }
    }
    #expect(outcomes[0] != outcomes[1])
}

@Test func `old state is forgotten within a thousandth of the memory, whatever the ticks`() {
    let hour = LockstepTraffic.hour
    for pace in [1000, 60_000, 20 * hour] {
        let acts = (0..<500).map { Act(time: Int64($0), actor: $0, target: $0) }
        let feed = LockstepFeed(acts, seed: 4)
        defer { feed.free() }
        var configuration = configuration(seed: 4)
        configuration.memory = 10 * hour
        var forgetful = LockstepDetector(configuration)
        var empty = LockstepDetector(configuration)
        forgetful.tick(feed.ticks(of: 500)[0], watermark: 0)
        empty.tick([], watermark: 0)
        let before = forgetful.targetCount
        #expect(before == 500)
        var watermark: Int64 = 0
        while watermark < 10 * hour + 10 * hour / 1000 + 500 {
            watermark += pace
            forgetful.tick([], watermark: watermark)
        }
        let after = forgetful.targetCount
        #expect(after == 0)
    }
}

@Test func `four threads give the same state and the same rings as one`() {
    var traffic = LockstepTraffic(
        edges: LockstepTraffic.edges(actors: 500, targets: 100, count: 2500, seed: 6),
        days: 6,
        seed: 6
    )
    traffic.inject(rings: 3, actors: 15, targets: 6, density: 0.6, width: 2 * LockstepTraffic.hour)
    traffic.sort()
    let feed = LockstepFeed(traffic.acts, seed: 6)
    defer { feed.free() }
    var single = LockstepDetector(configuration(seed: 6))
    var many = LockstepDetector(configuration(seed: 6))
    for records in feed.ticks(of: 512) {
        single.tick(records)
        many.removeChanges()
        records.withUnsafeBufferPointer { many.begin($0) }
        for stage in [LockstepDetector.Stage.tokens, .actors, .pairs] {
            withUnsafePointer(to: many) { many in
                // Each thread runs slots of its own, which is what the detector asks for.
                nonisolated(unsafe) let many = many
                DispatchQueue.concurrentPerform(iterations: 4) {
                    many.pointee.run(stage, slots: (16 * $0)..<(16 * $0 + 16))
                }
            }
            many.exchange(after: stage)
        }
        many.endTick(watermark: records.last?.time ?? 0)
        let (one, four) = (single.changes, many.changes)
        #expect(one == four)
    }
    let (one, four) = (digest(single), digest(many))
    #expect(one == four)
    let opened = single.counters.ringsOpened
    #expect(opened > 0)
}

@Test func `state stays inside its limits under a flood and the flood is counted`() {
    var configuration = configuration(seed: 1)
    configuration.limits.targets = 32
    configuration.limits.targetMemberWords = 2048
    configuration.limits.nameBytes = 1024
    configuration.limits.actors = 16
    configuration.limits.actorTokenWords = 1024
    configuration.limits.pairs = 32
    configuration.limits.pairMemberWords = 512
    configuration.limits.names = 64
    configuration.limits.rings = 8
    configuration.limits.ringMembers = 64
    configuration.limits.membersPerRing = 16
    var random = SplitMix64(seed: 4)
    var acts: [Act] = []
    for i in 0..<20_000 {
        // Groups of ten thousand accounts on many targets, in bursts.
        let group = i / 200
        acts.append(
            Act(
                time: Int64(i) * 1000,
                actor: group * 40 + Int(random.next() % 40),
                target: group * 8 + Int(random.next() % 8)
            )
        )
    }
    for i in 0..<10_000 {
        acts.append(
            Act(
                time: 20_000_000 + Int64(i),
                actor: 1_000_000 + Int(random.next() % 9000),
                target: Int(random.next() % 5000)
            )
        )
    }
    let feed = LockstepFeed(acts, seed: 1)
    defer { feed.free() }
    var detector = LockstepDetector(configuration)
    var peak = 0
    var half = 0
    for (i, records) in feed.ticks(of: 500).enumerated() {
        detector.tick(records)
        peak = max(peak, detector.stateBytes)
        if i == 19 { half = peak }
    }
    let counters = detector.counters
    #expect(
        counters.evictedTargets > 0 && counters.evictedActors > 0 && counters.evictedPairs > 0
            && counters.evictedRings > 0
    )
    #expect(counters.droppedMembers > 0 && counters.records == 30_000)
    #expect(peak < 8 << 20)
    #expect(peak - half < 1 << 20)
}

@Test func `a ring opens, grows, is visible from the next tick and closes when it falls silent`() throws {
    let hour = LockstepTraffic.hour
    var acts: [Act] = []
    // Honest actors first, so that the population is not only the ring.
    for i in 0..<500 { acts.append(Act(time: Int64(i) * 60_000, actor: i, target: 1000 + i)) }
    for actor in 0..<6 {
        acts.append(Act(time: 40_000_000 + Int64(actor) * 1000, actor: 9000 + actor, target: 1))
        acts.append(Act(time: 40_100_000 + Int64(actor) * 1000, actor: 9000 + actor, target: 2))
    }
    acts.sort { $0.time < $1.time }
    let grown = [Act(time: 40_200_000, actor: 9007, target: 1), Act(time: 40_200_001, actor: 9007, target: 2)]
    let silent = [Act(time: 40_200_000 + 15 * 24 * hour, actor: 1, target: 77)]
    let all = LockstepFeed(acts + grown + silent, seed: 2)
    defer { all.free() }
    let records = all.ticks(of: acts.count + 3)[0]
    var detector = LockstepDetector(configuration(seed: 2))

    detector.take(records[0..<acts.count])
    let early = detector.changes
    let before = detector.membership(ofActor: all.actor(9001))
    #expect(before == nil && early.isEmpty)
    detector.endTick(watermark: 40_110_000)
    let opened = detector.changes
    #expect(opened.map(\.status) == [.opened] && opened.map(\.version) == [1])
    let ring = try #require(opened.first)
    #expect(ring.size == 6 && ring.targetCount == 2)
    #expect(Set(ring.members.map { String(decoding: $0.text, as: UTF8.self) }) == Set((0..<6).map { "u\(9000 + $0)" }))
    #expect(Set(ring.targets.map { String(decoding: $0.text, as: UTF8.self) }) == ["i1", "i2"])
    #expect(ring.evidence.hasPrefix("6 accounts redeemed the same 2 coupons inside the same 6 h windows (chance "))
    let visible = detector.membership(ofActor: all.actor(9001))
    let after = try #require(visible)
    #expect(after.ring == ring.id && after.size == 6 && after.score == ring.score && ring.score > 0.5 && ring.score < 1)

    detector.tick(Array(records[acts.count..<(acts.count + 2)]))
    let updated = detector.changes
    #expect(updated.map(\.status) == [.updated] && updated.first?.id == ring.id)
    #expect(updated.first?.version == 2 && updated.first?.size == 7)
    let joined = detector.membership(ofActor: all.actor(9007))
    #expect(joined?.ring == ring.id)

    detector.tick(Array(records[(acts.count + 2)...]))
    let closed = detector.changes
    #expect(closed.map(\.status) == [.closed] && closed.first?.version == 3)
    let gone = detector.membership(ofActor: all.actor(9001))
    #expect(gone == nil)
}

private func bytes(of change: RingChange) -> [UInt8] {
    var records = RingRecords()
    records.append(change)
    var out: [UInt8] = []
    records.forEach { out += $0.value }
    return out
}

private func evidence(size: Int, targets: Int, strength: Double) -> String {
    // What stood there before is gone.
    var text = String(repeating: "x", count: 300)
    LockstepRings.writeEvidence(
        configuration(seed: 0),
        size: size,
        targets: targets,
        strength: strength,
        to: &text
    )
    return text
}

@Test func `records of rings lie one behind the other, each with the ring's id as its key`() {
    var records = RingRecords()
    for round in 1...2 {
        var change = RingChange(detector: "d", windowLength: 1000)
        for n in 0..<5 {
            change.id = UInt64(16 * round + n)
            change.status = n == 0 ? .opened : .updated
            records.append(change)
        }
        var keys: [String] = []
        records.forEach { record in
            keys.append(String(decoding: record.key, as: UTF8.self))
            #expect(record.value.first == UInt8(ascii: "{") && record.value.last == UInt8(ascii: "}"))
            #expect(record.isOpening == record.key.elementsEqual("\(String(repeating: "0", count: 14))\(round)0".utf8))
        }
        #expect(keys == (0..<5).map { String(repeating: "0", count: 14) + "\(round)\($0)" })
        records.removeAll()
    }
}

@Test func `a ring record is one JSON object with its keys in fixed order`() {
    let change = RingChange(
        id: 0xAB,
        version: 2,
        status: .closed,
        detector: "coupon \"ring\"",
        score: 0.793103,
        strength: 22.7,
        size: 17,
        members: [RingName(hash: 1, text: Array("a\n1".utf8)), RingName(hash: 0x1F, text: [])],
        targetCount: 3,
        targets: [RingName(hash: 2, text: Array("SAVE10".utf8))],
        windowStarts: [1000],
        windowLength: 500,
        firstTime: 1100,
        lastTime: 1400,
        mergedInto: 0xCD,
        evidence: evidence(size: 17, targets: 3, strength: 22.7)
    )
    let expected = #"""
        {"ring_id":"00000000000000ab","version":2,"status":"closed","detector":"coupon \"ring\"","score":0.793103,"size":17,"target_count":3,"members":["a\n1","#2"],"targets":["SAVE10"],"first_time":"1970-01-01T00:00:01.100Z","last_time":"1970-01-01T00:00:01.400Z","window":"500 ms","windows":[{"from":"1970-01-01T00:00:01Z","to":"1970-01-01T00:00:01.500Z"}],"p_value":2e-23,"text":"17 accounts redeemed the same 3 coupons inside the same 6 h windows (chance 2e-23)","merged_into":"00000000000000cd"}
        """#
    #expect(String(decoding: bytes(of: change), as: UTF8.self) == expected)
}

@Test func `the longest ring record stays far below what a broker takes`() {
    // Names are kept to 64 bytes, and every byte of these is written as an escape.
    let name = RingName(hash: 1, text: [UInt8](repeating: 1, count: TextLog.longest))
    let change = RingChange(
        id: .max,
        version: .max,
        status: .updated,
        detector: String(repeating: "d", count: 64),
        score: 1,
        strength: 300,
        size: .max,
        members: [RingName](repeating: name, count: Lockstep.namesPerRecord),
        targetCount: .max,
        targets: [RingName](repeating: name, count: Lockstep.targetsPerRing),
        windowStarts: [Int64](repeating: 1, count: Lockstep.windowsPerRing),
        windowLength: 86_399_999,
        firstTime: 1,
        lastTime: 1,
        mergedInto: .max,
        evidence: evidence(size: .max, targets: .max, strength: 300)
    )
    let length = bytes(of: change).count
    #expect(length > 250 * 64 * 6 && length < 110_000)
}
