import RuleLanguage

/// A lane's sender of the exchange into AGGREGATE: works out the keys that events go to and sorts the accesses by slot.
struct KeyRouter: ~Copyable {
    /// One of each of the program's owners; they also evaluate filters and arguments of the windows that the lane applies.
    let evaluators: OwnedBuffer<Evaluator>
    private let hash: TextHash
    // Accesses in event order, then the same sorted by slot.
    private var routed = OwnedBuffer<RoutedAccess>(undefined: 4096)
    private var sorted = OwnedBuffer<RoutedAccess>(undefined: 4096)
    private var count = 0
    private let starts = OwnedBuffer<Int>(repeating: 0, count: Engine.slotCount + 1)

    /// - Parameter ruleSets: among them those that the programs belong to.
    init(_ program: WindowProgram, _ ruleSets: [RuleSet], hash: TextHash) {
        evaluators = OwnedBuffer(count: program.owners.count) { owner in
            guard let rules = ruleSets.first(where: { $0.stamp == program.owners[owner] }) else {
                preconditionFailure("a program of a rule set that is not there")
            }
            return Evaluator(rules)
        }
        self.hash = hash
    }

    /// The accesses to one slot, in event order.
    func accesses(of slot: Int) -> UnsafeBufferPointer<RoutedAccess> {
        UnsafeBufferPointer(start: sorted.base + starts[slot], count: starts[slot + 1] - starts[slot])
    }

    /// Works out every key that the events of a range go to and sorts the accesses by slot, keeping their order.
    mutating func route(_ epoch: EpochTable, _ range: Range<Int>, _ program: WindowProgram) {
        count = 0
        for s in 0...Engine.slotCount { starts[s] = 0 }
        for i in range {
            let accesses = program.accessRanges[Int(epoch.events[i].type)]
            if count &+ accesses.count > routed.count { grow(count + accesses.count) }
            for a in accesses {
                let key = self.key(of: program.accesses[a], epoch, i, program)
                // A key with a missing part is no key: nothing is counted, and what is read has no value.
                if key == 0 { continue }
                routed[count] = RoutedAccess(
                    key: key, event: UInt32(truncatingIfNeeded: i), access: UInt16(truncatingIfNeeded: a))
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
        of access: WindowProgram.KeyAccess, _ epoch: EpochTable, _ event: Int, _ program: WindowProgram
    ) -> UInt64 {
        var key: UInt64 = 0
        for k in 0..<access.keyCount {
            let part = access.keys[k]
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
        let larger = max(routed.count * 2, wanted)
        routed.grow(to: larger)
        sorted.grow(to: larger)
    }
}
