import Models
import RuleLanguage

/// A lane's sender of the exchange into AGGREGATE: works out the keys that events go to and sorts the accesses by slot.
struct KeyRouter: ~Copyable {
    /// One of each of the program's owners; they also evaluate filters and arguments of the windows that the lane applies.
    let evaluators: OwnedBuffer<Evaluator>
    private let hash: WordHash
    // Accesses in event order, then the same sorted by slot.
    private var routed = OwnedBuffer<RoutedAccess>(undefined: 4096)
    private var sorted = OwnedBuffer<RoutedAccess>(undefined: 4096)
    private var count = 0
    private let slots = SlotOrder()

    /// - Parameter ruleSets: among them those that the programs belong to.
    init(_ program: WindowProgram, _ ruleSets: [RuleSet], hash: WordHash) {
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
        let places = slots[slot]
        return UnsafeBufferPointer(start: sorted.base + places.lowerBound, count: places.count)
    }

    /// Works out every key that the events of a range go to and sorts the accesses by slot, keeping their order.
    mutating func route(_ epoch: EpochTable, _ range: Range<Int>, _ program: WindowProgram) {
        count = 0
        slots.clear()
        for i in range {
            let accesses = program.accessRanges[Int(epoch.events[i].type)]
            if count &+ accesses.count > routed.count { grow(count + accesses.count) }
            for a in accesses {
                let key = self.key(of: program.accesses[a], epoch, i, program)
                // A key with a missing part is no key: nothing is counted, and what is read has no value.
                if key == 0 { continue }
                routed[count] = RoutedAccess(
                    key: key,
                    event: UInt32(truncatingIfNeeded: i),
                    access: UInt16(truncatingIfNeeded: a)
                )
                count &+= 1
                slots.count(Slots.of(key))
            }
        }
        slots.layOut()
        for v in 0..<count { sorted[slots.place(Slots.of(routed[v].key))] = routed[v] }
    }

    /// The key's hash, never 0, or 0 when a part is missing.
    @inline(__always)
    private mutating func key(
        of access: WindowProgram.KeyAccess,
        _ epoch: EpochTable,
        _ event: Int,
        _ program: WindowProgram
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
            let hashed = part.isText ? slot.bits : hash.number(slot.bits)
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
