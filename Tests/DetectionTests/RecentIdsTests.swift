import Models
import Testing

@testable import Detection

/// What is remembered of ids against a dictionary that remembers all of them: every answer, whatever the order of the sightings.
@Suite struct RecentIdsTests {
    /// The first sightings that count, by the definition.
    private struct Oracle {
        var over: Int64
        var first: [UInt64: Int64] = [:]

        mutating func see(_ key: UInt64, at time: Int64, watermark: Int64) -> Bool {
            let forgotten = watermark == .min ? .min : watermark - over
            if let known = first[key], known > forgotten, known > time - over { return true }
            if time > forgotten { first[key] = time }
            return false
        }
    }

    private struct Sighting {
        var key: UInt64
        var time: Int64
        var watermark: Int64
    }

    /// Sightings as a log brings them: most of the present, a fifth up to a minute late, some at the watermark, some long behind it
    /// as of a partition that was silent; half of them repetitions, of which many are about `over` apart.
    private struct Traffic {
        var random: SplitMix64
        let over: Int64
        /// Whether all ids want the first line or the last one.
        let isCrowded: Bool
        private var now: Int64 = 1_700_000_000_000
        private var watermark = Int64.min
        private var recent: [UInt64] = []
        private var next: UInt64 = 0

        init(seed: UInt64, over: Int64, isCrowded: Bool = false) {
            random = SplitMix64(seed: seed)
            self.over = over
            self.isCrowded = isCrowded
        }

        private mutating func below(_ bound: Int) -> Int { Int.random(in: 0..<bound, using: &random) }

        mutating func sighting() -> Sighting {
            // Of few lines searches are long, so there are fewer ids.
            now += Int64(below(isCrowded ? 400 : 40))
            // The watermark goes on now and then, as epochs begin.
            if below(50) == 0 { watermark = now - 60_000 }
            if below(400_000) == 0 { now += 3 * over }
            let key: UInt64
            if recent.isEmpty || below(2) == 0 {
                next += 1
                let hash = SplitMix64.mix(next)
                key = isCrowded ? (hash & 1 == 0 ? 0 : 0x3FF << 48) | next : hash | 1
                recent.append(key)
                // Those of about twice the time.
                if recent.count > Int(over / (isCrowded ? 200 : 20)) { recent.removeFirst(recent.count / 2) }
            } else {
                key = recent[below(recent.count)]
            }
            var time = now
            switch below(100) {
            case 0..<20: time -= Int64(below(60_000))
            case 20..<25 where watermark != .min: time = watermark
            case 25..<28: time -= Int64(below(Int(2 * over)))
            default: break
            }
            return Sighting(key: key, time: time, watermark: watermark)
        }
    }

    /// The first sighting of which a table says otherwise than the oracle; what both say to the others.
    private static func firstDifference(
        _ table: inout RecentIds,
        _ oracle: inout Oracle,
        _ traffic: inout Traffic,
        steps: Int,
        each: (Int, inout RecentIds) throws -> Void = { _, _ in }
    ) throws -> (step: Int?, repetitions: Int) {
        var repetitions = 0
        for step in 1...steps {
            let next = traffic.sighting()
            let said = table.see(next.key, at: next.time, watermark: next.watermark)
            if said != oracle.see(next.key, at: next.time, watermark: next.watermark) { return (step, repetitions) }
            if said { repetitions += 1 }
            try each(step, &table)
        }
        return (nil, repetitions)
    }

    private static func copy(of table: borrowing RecentIds) throws -> RecentIds {
        let bytes = OneSection.bytes { table.write(to: &$0) }
        var copy = RecentIds(over: table.over, limit: table.limit)
        try OneSection.read(bytes) { (section) throws(StateError) in try copy.read(from: &section) }
        #expect(OneSection.bytes { copy.write(to: &$0) } == bytes)
        #expect(digest(copy) == digest(table))
        return copy
    }

    private static func digest(_ table: borrowing RecentIds) -> UInt64 {
        var digest: UInt64 = 0
        table.digest(into: &digest)
        return digest
    }

    @Test(arguments: [(UInt64(1), Int64(90_000)), (2, 1_000), (3, 1_000_000)])
    func `what is said of every sighting is what a dictionary of them all says`(seed: UInt64, over: Int64) throws {
        var table = RecentIds(over: over, limit: 1 << 20)
        var oracle = Oracle(over: over)
        var traffic = Traffic(seed: seed, over: over)
        let result = try RecentIdsTests.firstDifference(&table, &oracle, &traffic, steps: 400_000) { step, table in
            if step % 20_000 == 0 { try table.checkInvariants() }
            if step % 50_000 == 25_000 { table = try RecentIdsTests.copy(of: table) }
        }
        #expect(result.step == nil && result.repetitions > 50_000, "\(result)")
        #expect(table.evicted == 0)
        if over < 1_000_000 { #expect(table.count < oracle.first.count / 2, "what is forgotten gives its place back") }
    }

    @Test func `few lines that all ids want are searched to their end, round the table's end too`() throws {
        for seed in UInt64(1)...6 {
            var table = RecentIds(over: 20_000, limit: 2_000)
            var oracle = Oracle(over: 20_000)
            var traffic = Traffic(seed: seed, over: 20_000, isCrowded: true)
            let result = try RecentIdsTests.firstDifference(&table, &oracle, &traffic, steps: 12_000) { step, table in
                if step % 40 == 0 { try table.checkInvariants() }
                if step % 3_000 == 0 { table = try RecentIdsTests.copy(of: table) }
            }
            #expect(result.step == nil && result.repetitions > 1_000 && table.evicted == 0, "\(seed): \(result)")
        }
    }

    @Test(arguments: [(Int64(20_000), 2_000, true), (20_000, 1 << 20, false), (1_000_000, 1_000, false)])
    func `searches that are begun together end as those that are begun one by one`(
        over: Int64,
        limit: Int,
        isCrowded: Bool
    ) throws {
        var table = RecentIds(over: over, limit: limit)
        var single = RecentIds(over: over, limit: limit)
        var traffic = Traffic(seed: 5, over: over, isCrowded: isCrowded)
        var (moved, ahead) = (0, 0)
        for _ in 0..<(isCrowded ? 400 : 4_000) {
            let sightings = (0..<32).map { _ in traffic.sighting() }
            let moves = table.moves
            let lines = sightings.enumerated().map { n, sighting in
                // Some stop before they have come to their end.
                (0..<n % 4).reduce(table.start(sighting.key)) { line, _ in table.ahead(sighting.key, line) }
            }
            for (sighting, line) in zip(sightings, lines) {
                if line != table.start(sighting.key) { ahead += 1 }
                if table.moves != moves { moved += 1 }
                let from = table.moves == moves ? line : table.start(sighting.key)
                let said = table.see(sighting.key, at: sighting.time, watermark: sighting.watermark, from: from)
                try #require(said == single.see(sighting.key, at: sighting.time, watermark: sighting.watermark))
            }
        }
        try table.checkInvariants()
        #expect(OneSection.bytes { table.write(to: &$0) } == OneSection.bytes { single.write(to: &$0) })
        #expect(moved > 50 && ahead > 500, "\(moved), \(ahead)")
    }

    @Test(arguments: [-1, 1]) func `a memory one millisecond off is found out, so the comparison can fail`(
        off: Int64
    ) throws {
        var table = RecentIds(over: 90_000 + off, limit: 1 << 20)
        var oracle = Oracle(over: 90_000)
        var traffic = Traffic(seed: 1, over: 90_000)
        let result = try RecentIdsTests.firstDifference(&table, &oracle, &traffic, steps: 400_000)
        #expect(result.step != nil)
    }

    @Test func `the first sighting's time stays, and what is late repeats it too`() {
        var table = RecentIds(over: 100, limit: 1000)
        func see(_ time: Int64, _ watermark: Int64 = .min) -> Bool { table.see(7, at: time, watermark: watermark) }
        #expect(!see(1_000))
        #expect(see(1_099) && see(1_000) && see(400))
        #expect(!see(1_100), "the window is open at its end, and later repetitions have not moved it")
        #expect(see(1_199) && !see(1_200))
        #expect(!see(1_050, 1_300), "it is behind the watermark by more than the memory's length")
        #expect(!see(1_199, 1_300) && !see(1_199, 1_300), "nothing is remembered for a time that is over")
        #expect(!see(1_201, 1_300) && see(1_202, 1_300))
    }

    @Test(arguments: [UInt64(1), 2]) func `a full table forgets the eldest, so many as it counts, and nobody else`(
        seed: UInt64
    ) throws {
        let limit = 1_000
        var table = RecentIds(over: 1_000_000, limit: limit)
        var oracle = Oracle(over: 1_000_000)
        var traffic = Traffic(seed: seed, over: 1_000_000)
        var (repetitions, rounds) = (0, 0)
        for _ in 0..<60_000 {
            let next = traffic.sighting()
            let before = table.evicted
            let said = table.see(next.key, at: next.time, watermark: next.watermark)
            #expect(said == oracle.see(next.key, at: next.time, watermark: next.watermark))
            repetitions += said ? 1 : 0
            #expect(table.count <= limit)
            guard table.evicted > before else { continue }
            rounds += 1
            try table.checkInvariants()
            var left: [UInt64: Int64] = [:]
            table.forEach { left[$0.key] = $0.time }
            #expect(left.allSatisfy { oracle.first[$0.key] == $0.value })
            // What has gone though its time was not over; the one that it went for may be older than it.
            let forgotten = next.watermark == .min ? .min : next.watermark - table.over
            let gone = oracle.first.filter { left[$0.key] == nil && $0.value > forgotten }
            #expect(gone.count == table.evicted - before && gone.count <= limit / 8)
            let eldest = left.filter { $0.key != next.key && $0.value > forgotten }.values.min() ?? .min
            #expect(gone.allSatisfy { $0.value <= eldest })
            oracle.first = left
        }
        #expect(repetitions > 500 && rounds > 50, "\(repetitions), \(rounds)")
    }

    @Test func `of equal age those go that go wherever they stand`() throws {
        func filled(_ keys: some Sequence<UInt64>) throws -> RecentIds {
            var table = RecentIds(over: 1_000, limit: 640)
            let repetitions = keys.count { table.see(SplitMix64.mix($0), at: 5, watermark: 0) }
            #expect(repetitions == 0 && table.evicted == 80)
            return table
        }
        func kept(_ table: borrowing RecentIds) -> Set<UInt64> {
            var keys: Set<UInt64> = []
            table.forEach { keys.insert($0.key) }
            return keys
        }
        let last: UInt64 = 641
        let up = try filled(1...last)
        let down = try filled(Array((1..<last).reversed()) + [last])
        #expect(kept(up) == kept(down) && kept(up).count == 561)
        try up.checkInvariants()
        try down.checkInvariants()
    }

    @Test func `an id costs at most 24 bytes however many there are, and the full table less`() {
        var table = RecentIds(over: 1 << 40, limit: 160_000)
        var most = 0.0
        for key in UInt64(1)...200_000 {
            _ = table.see(SplitMix64.mix(key) | 1, at: Int64(key), watermark: 0)
            if table.count > 2_000 { most = max(most, Double(table.bytes) / Double(table.count)) }
        }
        #expect(most <= 24, "\(most)")
        #expect(table.bytes <= 160_000 * 19 && table.evicted == 40_000, "\(table.bytes), \(table.evicted)")
    }

    @Test func `a state with a fault is refused`() throws {
        var table = RecentIds(over: 1_000, limit: 200)
        for key in UInt64(1)...150 { _ = table.see(SplitMix64.mix(key), at: Int64(key), watermark: 0) }
        let bytes = OneSection.bytes { table.write(to: &$0) }
        var (refused, told) = (0, 0)
        for bit in 0..<bytes.count * 2 {
            var copy = RecentIds(over: 1_000, limit: 200)
            do throws(StateError) {
                try OneSection.read(FaultyState.resealed(bytes, flipping: bit * 7)) { (section) throws(StateError) in
                    try copy.read(from: &section)
                }
                try copy.checkInvariants()
                if RecentIdsTests.digest(copy) != RecentIdsTests.digest(table) { told += 1 }
            } catch {
                refused += 1
            }
        }
        #expect(refused > 100 && told > 100, "\(refused), \(told)")
        var smaller = RecentIds(over: 1_000, limit: 100)
        #expect(throws: StateError.self) {
            try OneSection.read(bytes) { (section) throws(StateError) in try smaller.read(from: &section) }
        }
    }
}
