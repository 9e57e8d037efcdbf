import Models
import RuleLanguage

/// Finds small groups of actors that act on the same few targets inside the same windows: CopyCatch (Beutel et al., WWW 2013) and
/// SynchroTrap (Cao et al., CCS 2014) made incremental.
///
/// Stages, each over 64 slots of its own key, joined by exchanges whose records are handled in the order of the events that caused them:
/// ```
/// A tokens (target)   distinct actors per (relation, target, window); a token turns hot when their number is a surprise
/// B actors (actor)    an actor's hot tokens, pairwise
/// C pairs  (pair)     actors common to two tokens; accepted when their number is a surprise
/// D rings             actors of accepted pairs, joined; versioned rings
/// ```
/// One epoch on one thread is ``process(_:watermark:)``, then, when nobody asks ``membership(ofActor:)`` for this epoch any more,
/// ``end()``. On several threads:
/// ```
/// begin(records, watermark)
/// run(.tokens, slots: part)   on each thread its part; then exchange(after: .tokens)
/// run(.actors, slots: part)                         then exchange(after: .actors)
/// run(.pairs, slots: part)                          then exchange(after: .pairs), which runs the ring stage
/// … decide …
/// end()
/// ```
/// Any split of the slots gives the same state and the same changes. Cost: 370–500 ns an event on a million acts of 200,000
/// actors on 50,000 targets (61 MB of state); no allocation once warm but for rings. A ring on one target only is invisible here, and an
/// honest crowd that buys the same *new* bundle inside one window looks like a ring: name such sales in a rule's `unless`.
public struct LockstepDetector: ~Copyable {
    /// The stages of an epoch in their order; inside one, slots are independent.
    public enum Stage: Sendable {
        case tokens, actors, pairs
    }

    public let configuration: LockstepConfiguration
    private let tokens: UnsafeMutablePointer<LockstepTokenSlot>
    private let actors: UnsafeMutablePointer<LockstepActorSlot>
    private let pairs: UnsafeMutablePointer<LockstepPairSlot>
    private var rings: LockstepRings
    // A run over some slots writes into the outbox numbered as the first of them; no two runs of a stage share a slot.
    private let tokenOutboxes = Outbox<HotRecord>.allocate()
    private let actorOutboxes = Outbox<PairRecord>.allocate()
    private let pairOutboxes = Outbox<FlagRecord>.allocate()
    private var hot = Exchange<HotRecord>()
    private var paired = Exchange<PairRecord>()
    private var flagged = Exchange<FlagRecord>()
    private var announced = Exchange<NameRecord>()
    private let hash: TextHash

    /// Registers of the actors seen in this and the previous period of ``LockstepConfiguration/memory``.
    private let current: UnsafeMutablePointer<UInt8>
    private let previous: UnsafeMutablePointer<UInt8>
    private var period: Int64 = .min
    private(set) var population: Double

    // The running epoch.
    private var records = UnsafeBufferPointer<LockstepRecord>(start: nil, count: 0)
    private var watermark: Int64 = .min
    private var keys: [UInt64] = []
    /// Record numbers by slot: those of slot s are `numbers[starts[s]..<starts[s + 1]]`, ascending.
    private var numbers: [UInt32] = []
    private var starts = [Int](repeating: 0, count: Lockstep.slots + 1)

    public init(_ configuration: LockstepConfiguration) {
        precondition(
            configuration.window > 0 && configuration.memory >= configuration.window, "window > 0, memory >= window")
        precondition((2...8).contains(configuration.minimumTargets), "2...8 targets")
        self.configuration = configuration
        population = configuration.smallestPopulation
        hash = TextHash(seed: configuration.seed)
        tokens = .allocate(capacity: Lockstep.slots)
        actors = .allocate(capacity: Lockstep.slots)
        pairs = .allocate(capacity: Lockstep.slots)
        for slot in 0..<Lockstep.slots {
            (tokens + slot).initialize(to: LockstepTokenSlot(configuration))
            (actors + slot).initialize(to: LockstepActorSlot(configuration))
            (pairs + slot).initialize(to: LockstepPairSlot(configuration))
        }
        rings = LockstepRings(configuration)
        current = .allocate(capacity: DistinctEstimate.registers)
        previous = .allocate(capacity: DistinctEstimate.registers)
        current.initialize(repeating: 0, count: DistinctEstimate.registers)
        previous.initialize(repeating: 0, count: DistinctEstimate.registers)
    }

    deinit {
        tokens.deinitialize(count: Lockstep.slots).deallocate()
        actors.deinitialize(count: Lockstep.slots).deallocate()
        pairs.deinitialize(count: Lockstep.slots).deallocate()
        tokenOutboxes.deinitialize(count: Lockstep.slots).deallocate()
        actorOutboxes.deinitialize(count: Lockstep.slots).deallocate()
        pairOutboxes.deinitialize(count: Lockstep.slots).deallocate()
        current.deallocate()
        previous.deallocate()
    }

    /// The versions of rings made in the last epoch, in a fixed order.
    public var changes: [RingChange] { rings.changes }

    /// The ring an actor belonged to when the last *ended* epoch closed.
    ///
    /// Read-only; any thread.
    public func membership(ofActor actor: UInt64) -> (ring: UInt64, score: Double, size: Int)? {
        rings.membership(ofActor: actor)
    }

    /// All stages of one epoch on the calling thread; ``end()`` must follow before the next.
    public mutating func process(_ records: [LockstepRecord], watermark: Int64) {
        records.withUnsafeBufferPointer { records in
            begin(records, watermark: watermark)
            for stage in [Stage.tokens, .actors, .pairs] {
                run(stage, slots: 0..<Lockstep.slots)
                exchange(after: stage)
            }
        }
    }

    /// Starts an epoch: files the records by the slot of their target.
    ///
    /// - Parameters:
    ///   - records: in the order of the epoch; they and their texts must stay readable until the last exchange.
    ///   - watermark: of this epoch, ms; state older than ``LockstepConfiguration/memory`` before it is forgotten.
    public mutating func begin(_ records: UnsafeBufferPointer<LockstepRecord>, watermark: Int64) {
        self.records = records
        // Far from the ends of the type, so that subtracting the memory cannot overflow.
        self.watermark = max(watermark, .min / 4)
        keys.removeAll(keepingCapacity: true)
        numbers.removeAll(keepingCapacity: true)
        for s in 0...Lockstep.slots { starts[s] = 0 }
        for record in records {
            let key = hash.combine(record.target, UInt64(record.relation) &+ 1)
            keys.append(key)
            numbers.append(0)
            starts[Lockstep.slot(key) + 1] += 1
        }
        for s in 0..<Lockstep.slots { starts[s + 1] += starts[s] }
        withUnsafeTemporaryAllocation(of: Int.self, capacity: Lockstep.slots) { at in
            for s in 0..<Lockstep.slots { at[s] = starts[s] }
            for (number, key) in keys.enumerated() {
                let slot = Lockstep.slot(key)
                numbers[at[slot]] = UInt32(number)
                at[slot] += 1
            }
        }
        for number in 0..<Lockstep.slots {
            tokenOutboxes[number].clear()
            actorOutboxes[number].clear()
            pairOutboxes[number].clear()
        }
        hot.clear()
        paired.clear()
        flagged.clear()
        announced.clear()
        rings.begin()
    }

    /// Runs one stage on some slots.
    ///
    /// Distinct slots may run on distinct threads at the same time.
    public func run(_ stage: Stage, slots: Range<Int>) {
        precondition(slots.lowerBound >= 0 && slots.upperBound <= Lockstep.slots, "there are 64 slots")
        for slot in slots {
            switch stage {
            case .tokens: runTokens(slot, &tokenOutboxes[slots.lowerBound])
            case .actors: runActors(slot, &actorOutboxes[slots.lowerBound])
            case .pairs: runPairs(slot, &pairOutboxes[slots.lowerBound])
            }
        }
    }

    private func runTokens(_ slot: Int, _ outbox: inout Outbox<HotRecord>) {
        tokens[slot].begin()
        for i in starts[slot]..<starts[slot + 1] {
            let number = numbers[i]
            tokens[slot].take(records[Int(number)], key: keys[Int(number)], ordinal: number, &outbox)
        }
        tokens[slot].expire(watermark: watermark)
    }

    private func runActors(_ slot: Int, _ outbox: inout Outbox<PairRecord>) {
        for i in hot.starts[slot]..<hot.starts[slot + 1] {
            let record = hot.delivered[i]
            tokenOutboxes[Int(record.sender)].text.withUnsafeBufferPointer { text in
                let start = Int(record.textOffset)
                actors[slot].take(
                    record, name: UnsafeBufferPointer(rebasing: text[start..<(start + Int(record.textLength))]), &outbox
                )
            }
        }
        actors[slot].expire(watermark: watermark)
    }

    private func runPairs(_ slot: Int, _ outbox: inout Outbox<FlagRecord>) {
        for i in paired.starts[slot]..<paired.starts[slot + 1] {
            pairs[slot].take(paired.delivered[i], population: population, &outbox)
        }
        pairs[slot].expire(watermark: watermark)
    }

    /// Carries a stage's records to the next one; sequential.
    ///
    /// After `.pairs` it also runs the ring stage.
    public mutating func exchange(after stage: Stage) {
        switch stage {
        case .tokens:
            countPopulation()
            for number in 0..<Lockstep.slots {
                hot.gather(tokenOutboxes[number].records)
                announced.gather(tokenOutboxes[number].announced)
            }
            hot.deliver()
            learnNames()
        case .actors:
            for number in 0..<Lockstep.slots {
                paired.gather(actorOutboxes[number].records)
                announced.gather(actorOutboxes[number].announced)
            }
            paired.deliver()
            learnNames()
        case .pairs:
            for number in 0..<Lockstep.slots { flagged.gather(pairOutboxes[number].records) }
            flagged.deliver()
            for record in flagged.delivered { rings.take(record) }
            rings.finish(watermark: watermark)
            records = UnsafeBufferPointer(start: nil, count: 0)
        }
    }

    private mutating func learnNames() {
        announced.deliver()
        for record in announced.delivered {
            let sender = Int(record.sender)
            let range = Int(record.textOffset)..<(Int(record.textOffset) + Int(record.textLength))
            if sender < Lockstep.slots {
                tokenOutboxes[sender].text.withUnsafeBufferPointer {
                    rings.learnName(record.key, UnsafeBufferPointer(rebasing: $0[range]))
                }
            } else {
                actorOutboxes[sender - Lockstep.slots].text.withUnsafeBufferPointer {
                    rings.learnName(record.key, UnsafeBufferPointer(rebasing: $0[range]))
                }
            }
        }
        announced.clear()
    }

    /// N of the pair test: actors of this and the previous period, this epoch's included.
    private mutating func countPopulation() {
        var changed = false
        for slot in 0..<Lockstep.slots where tokens[slot].registersChanged {
            tokens[slot].copyRegisters(into: current)
            changed = true
        }
        guard changed else { return }
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: DistinctEstimate.registers) { both in
            guard let base = both.baseAddress else { return }
            for i in 0..<DistinctEstimate.registers { base[i] = max(current[i], previous[i]) }
            population = max(configuration.smallestPopulation, DistinctEstimate.estimate(base))
        }
    }

    /// Ends the epoch: its memberships become visible.
    public mutating func end() {
        rings.publish()
        guard watermark > .min / 4 else { return }
        let now = watermark >= 0 ? watermark / configuration.memory : -1
        if period == .min { period = now }
        if now > period {
            period = now
            previous.update(from: current, count: DistinctEstimate.registers)
            current.update(repeating: 0, count: DistinctEstimate.registers)
            for slot in 0..<Lockstep.slots { tokens[slot].clearRegisters() }
        }
    }

    /// Sums over all slots and stages since the start.
    public var counters: LockstepCounters {
        var sum = rings.counters
        for slot in 0..<Lockstep.slots {
            sum = sum + tokens[slot].counters + actors[slot].counters + pairs[slot].counters
        }
        return sum
    }

    /// Bytes held, all slots and stages.
    public var stateBytes: Int {
        var sum = rings.bytes + 66 * DistinctEstimate.registers + Lockstep.slots * configuration.limits.nameBytes
        for slot in 0..<Lockstep.slots { sum += tokens[slot].bytes + actors[slot].bytes + pairs[slot].bytes }
        return sum
    }

    /// Folds all that decides later results; between epochs.
    public func digest(into digest: inout UInt64) {
        for slot in 0..<Lockstep.slots {
            tokens[slot].digest(into: &digest)
            actors[slot].digest(into: &digest)
            pairs[slot].digest(into: &digest)
        }
        rings.digest(into: &digest)
        SplitMix64.fold(UnsafeRawBufferPointer(start: current, count: DistinctEstimate.registers), into: &digest)
        SplitMix64.fold(UnsafeRawBufferPointer(start: previous, count: DistinctEstimate.registers), into: &digest)
        digest = SplitMix64.mix(digest ^ population.bitPattern) ^ UInt64(bitPattern: period)
    }
}

// `@unchecked Sendable`: the struct owns its buffers; between `begin` and `end` threads only call `run` on slots of their own, and `membership`.
extension LockstepDetector: @unchecked Sendable {}
