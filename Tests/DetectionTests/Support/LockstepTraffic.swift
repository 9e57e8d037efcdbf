import Models
import RuleLanguage

@testable import Detection

/// One act, before it becomes a record.
struct Act {
    var time: Int64
    var actor: Int
    var target: Int
}

/// Honest shoppers and injected rings after the protocol of small temporal rings: diurnal times over some days, some items with a
/// natural one-day promotion burst, ring campaigns per item, camouflage on items picked as honest shoppers pick them.
struct LockstepTraffic {
    static let hour: Int64 = 3_600_000
    var acts: [Act] = []
    /// Ring members, by ring.
    var rings: [Set<Int>] = []
    var days: Int
    private var random: SplitMix64
    private var edges: [(Int, Int)]
    private var promotions: [Int: Int64] = [:]

    init(edges: [(Int, Int)], days: Int, seed: UInt64) {
        random = SplitMix64(seed: seed)
        self.days = days
        self.edges = edges
        for target in Set(edges.map(\.1)).sorted() where random.unit() < 0.3 {
            promotions[target] = Int64(random.unit() * Double(days - 1)) * 24 * Self.hour
        }
        for (actor, target) in edges { acts.append(Act(time: honestTime(target), actor: actor, target: target)) }
    }

    /// Synthetic edges: activity and popularity by Zipf's law.
    static func edges(actors: Int, targets: Int, count: Int, seed: UInt64) -> [(Int, Int)] {
        var random = SplitMix64(seed: seed)
        func zipf(_ n: Int) -> Int { min(n - 1, Int(Elementary.exp(random.unit() * Elementary.log(Double(n)))) - 1) }
        return (0..<count).map { _ in (Int(random.unit() * Double(actors)), zipf(targets)) }
    }

    private mutating func diurnal() -> Int64 {
        // Twice as busy at noon as at midnight.
        while true {
            let hour = random.unit() * 24
            if random.unit() < 0.5 + 0.5 * (1 - (hour - 12).magnitude / 12) { return Int64(hour * Double(Self.hour)) }
        }
    }

    private mutating func honestTime(_ target: Int) -> Int64 {
        if let start = promotions[target], random.unit() < 0.5 { return start + diurnal() }
        return Int64(random.unit() * Double(days)) * 24 * Self.hour + diurnal()
    }

    /// Adds rings of new actors on targets of their own choice; each target's campaign is `width` ms long, somewhere in 10 days.
    mutating func inject(
        rings count: Int,
        actors: Int,
        targets: Int,
        density: Double,
        width: Int64,
        camouflage: Int = 1
    ) {
        let items = Set(edges.map(\.1)).sorted()
        var next = 10_000_000 + rings.count * 10_000
        for _ in 0..<count {
            var members: Set<Int> = []
            let spread = Int64(min(10, days - 1)) * 24 * Self.hour
            let first = Int64(random.unit() * Double(Int64(days) * 24 * Self.hour - spread - width))
            for _ in 0..<targets {
                let target = items[Int(random.unit() * Double(items.count))]
                let start = first + Int64(random.unit() * Double(spread))
                for actor in next..<(next + actors) where random.unit() < density {
                    members.insert(actor)
                    acts.append(Act(time: start + Int64(random.unit() * Double(width)), actor: actor, target: target))
                    for _ in 0..<camouflage {
                        let other = edges[Int(random.unit() * Double(edges.count))].1
                        acts.append(Act(time: honestTime(other), actor: actor, target: other))
                    }
                }
            }
            rings.append(members)
            next += 10_000
        }
    }

    /// In time order, ties in order of creation.
    mutating func sort() {
        acts = acts.enumerated().sorted { ($0.element.time, $0.offset) < ($1.element.time, $1.offset) }.map(\.element)
    }
}

/// Feeds acts to a detector in ticks.
struct LockstepFeed {
    let hash: TextHash
    /// The names, kept alive for the records' pointers.
    let text: UnsafeMutablePointer<UInt8>
    static let nameRoom = 16
    let acts: [Act]

    init(_ acts: [Act], seed: UInt64) { self.init(acts, hash: LockstepFeed.hash(seed)) }

    /// A key for each seed, so that tests run under several.
    static func hash(_ seed: UInt64) -> TextHash { TextHash(key: HashKey(seed, ~seed)) }

    init(_ acts: [Act], hash: TextHash) {
        self.hash = hash
        self.acts = acts
        text = .allocate(capacity: 2 * acts.count * Self.nameRoom + 1)
        for (i, act) in acts.enumerated() {
            for (side, name) in ["u\(act.actor)", "i\(act.target)"].enumerated() {
                for (k, byte) in name.utf8.enumerated() { text[(2 * i + side) * Self.nameRoom + k] = byte }
            }
        }
    }

    func free() { text.deallocate() }

    func actor(_ number: Int) -> UInt64 { hash("u\(number)") }

    func record(_ i: Int) -> LockstepRecord {
        let (a, t) = (text + 2 * i * Self.nameRoom, text + (2 * i + 1) * Self.nameRoom)
        let (an, tn) = ("u\(acts[i].actor)".utf8.count, "i\(acts[i].target)".utf8.count)
        return LockstepRecord(
            relation: 0,
            actor: hash(a, count: an),
            target: hash(t, count: tn),
            time: acts[i].time,
            actorText: a,
            actorLength: an,
            targetText: t,
            targetLength: tn
        )
    }

    func ticks(of size: Int) -> [[LockstepRecord]] { ticks(of: [Int](repeating: size, count: acts.count / size + 1)) }

    func ticks(of sizes: [Int]) -> [[LockstepRecord]] {
        var ticks: [[LockstepRecord]] = []
        var from = 0
        for size in sizes where from < acts.count {
            ticks.append((from..<min(from + size, acts.count)).map { record($0) })
            from += size
        }
        return ticks
    }
}
