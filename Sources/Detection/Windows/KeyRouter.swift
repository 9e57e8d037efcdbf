import RuleLanguage

/// A lane's sender of the exchange into AGGREGATE: works out the keys that events visit and sorts the visits by slot.
struct KeyRouter: ~Copyable {
    /// One of each of the program's owners; they also evaluate filters and arguments of the windows that the lane applies.
    let evaluators: UnsafeMutablePointer<Evaluator>
    private let owners: Int
    private let hash: TextHash
    // Visits in event order, then the same sorted by slot.
    private var routed: UnsafeMutablePointer<KeyVisit>
    private var sorted: UnsafeMutablePointer<KeyVisit>
    private var capacity = 4096
    private var count = 0
    private let starts: UnsafeMutablePointer<Int>

    /// - Parameter ruleSets: among them those that the programs belong to.
    init(_ program: WindowProgram, _ ruleSets: [RuleSet], hash: TextHash) {
        owners = program.owners.count
        evaluators = .allocate(capacity: max(1, owners))
        for (number, stamp) in program.owners.enumerated() {
            guard let rules = ruleSets.first(where: { $0.stamp == stamp }) else {
                preconditionFailure("a program of a rule set that is not there")
            }
            (evaluators + number).initialize(to: Evaluator(rules))
        }
        self.hash = hash
        routed = .allocate(capacity: capacity)
        sorted = .allocate(capacity: capacity)
        starts = .allocate(capacity: Engine.slotCount + 1)
        starts.initialize(repeating: 0, count: Engine.slotCount + 1)
    }

    deinit {
        evaluators.deinitialize(count: owners).deallocate()
        routed.deallocate()
        sorted.deallocate()
        starts.deallocate()
    }

    /// The visits to one slot, in event order.
    func visits(of slot: Int) -> UnsafeBufferPointer<KeyVisit> {
        UnsafeBufferPointer(start: sorted + starts[slot], count: starts[slot + 1] - starts[slot])
    }

    /// Works out every key that the events of a range visit and sorts the visits by slot, keeping their order.
    mutating func route(_ epoch: EpochTable, _ range: Range<Int>, _ program: WindowProgram) {
        count = 0
        for s in 0...Engine.slotCount { starts[s] = 0 }
        for i in range {
            let touches = program.touchRanges[Int(epoch.events[i].type)]
            if count &+ touches.count > capacity { grow(count + touches.count) }
            for t in touches {
                let key = self.key(of: program.touches[t], epoch, i, program)
                // A key with a missing part is no key: nothing is counted, and what is read has no value.
                if key == 0 { continue }
                routed[count] = KeyVisit(
                    key: key, event: UInt32(truncatingIfNeeded: i), touch: UInt16(truncatingIfNeeded: t))
                count &+= 1
                starts[Int(truncatingIfNeeded: key) & (Engine.slotCount &- 1) &+ 1] &+= 1
            }
        }
        for s in 1...Engine.slotCount { starts[s] &+= starts[s - 1] }
        withUnsafeTemporaryAllocation(of: Int.self, capacity: Engine.slotCount) { next in
            for s in 0..<Engine.slotCount { next[s] = starts[s] }
            for v in 0..<count {
                let slot = Int(truncatingIfNeeded: routed[v].key) & (Engine.slotCount &- 1)
                sorted[next[slot]] = routed[v]
                next[slot] &+= 1
            }
        }
    }

    /// Hashed with the bits of a key's part that is no text: 7 as a number is another key than what some text hashes to.
    private static let numberSalt: UInt64 = 0x1F83_D9AB_FB41_BD6B

    /// The key's seeded hash, never 0, or 0 when a part is missing.
    @inline(__always)
    private mutating func key(
        of touch: WindowProgram.Touch, _ epoch: EpochTable, _ event: Int, _ program: WindowProgram
    ) -> UInt64 {
        var key: UInt64 = 0
        for k in 0..<touch.keyCount {
            let part = touch.keys[k]
            // A key's program reads the event's fields only; the rows are there and hold nothing yet.
            let slot =
                part.field >= 0
                ? epoch.events[event].fields[part.field]
                : evaluators[part.owner].evaluate(program.keyPrograms[part.program], epoch.input(event))
            if slot.isMissing { return 0 }
            let hashed = part.isText ? slot.bits : hash.combine(KeyRouter.numberSalt, slot.bits)
            key = k == 0 ? hashed : hash.combine(key, hashed)
        }
        return key
    }

    private mutating func grow(_ wanted: Int) {
        let larger = max(capacity * 2, wanted)
        let moved = UnsafeMutablePointer<KeyVisit>.allocate(capacity: larger)
        moved.update(from: routed, count: count)
        routed.deallocate()
        routed = moved
        sorted.deallocate()
        sorted = .allocate(capacity: larger)
        capacity = larger
    }
}
