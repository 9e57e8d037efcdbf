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
/// What a tick teaches is seen when it ends, by ``membership(ofActor:)`` too. Few records are taken one by one, ``take(_:)``; many are
/// run over slots by several threads:
/// ```
/// begin(records)
/// run(.tokens, slots: part)   on each thread its part; then exchange(after: .tokens)
/// run(.actors, slots: part)                         then exchange(after: .actors)
/// run(.pairs, slots: part)                          then exchange(after: .pairs), which runs the ring stage
/// ```
/// and then, when the tick has ended, ``endTick(watermark:)``. Either way, in one run or in several, the state and the changes are the same.
/// Cost: 370–500 ns an event on a million acts of 200,000 actors on 50,000 targets (57 MB of state); no allocation once warm.
/// A ring on one target only is invisible here, and an honest crowd that buys the same *new* bundle inside one window looks like a ring: name
/// such sales in a rule's `unless`.
public struct LockstepDetector: ~Copyable {
    /// The stages of a run in their order; inside one, slots are independent.
    public enum Stage: Sendable {
        case tokens, actors, pairs
    }

    public let configuration: LockstepConfiguration
    private let tokens: UnsafeMutablePointer<LockstepTokenSlot>
    private let actors: UnsafeMutablePointer<LockstepActorSlot>
    private let pairs: UnsafeMutablePointer<LockstepPairSlot>
    private var rings: LockstepRings
    private var population: LockstepPopulation
    // A stage's run over some slots writes into the outbox numbered as the first of them; no two runs of a stage share a slot.
    private let tokenOutboxes = Outbox<HotRecord>.allocate()
    private let actorOutboxes = Outbox<PairRecord>.allocate()
    private let pairOutboxes = Outbox<FlagRecord>.allocate()
    private var hot = Exchange<HotRecord>()
    private var paired = Exchange<PairRecord>()
    private var flagged = Exchange<FlagRecord>()
    private var announced = Exchange<NameRecord>()
    private let hash: TextHash

    // Old state is forgotten slot by slot, one for each 65,536th of the memory that the watermark has moved on: each slot is looked at every
    // 1,024th of the memory, and a tick costs no look at 192 slots.
    private let sweepStep: Int64
    private var sweptTo: Int64 = .min
    private var nextSwept = 0

    // The running run.
    private var records = UnsafeBufferPointer<LockstepRecord>(start: nil, count: 0)
    private var keys: [UInt64] = []
    /// Record numbers by slot: those of slot s are `numbers[starts[s]..<starts[s + 1]]`, ascending.
    private var numbers: [UInt32] = []
    private var starts = [Int](repeating: 0, count: Lockstep.slots + 1)
    private var runPopulation = 0.0

    public init(_ configuration: LockstepConfiguration) {
        precondition(
            configuration.window > 0 && configuration.memory >= configuration.window, "window > 0, memory >= window")
        precondition((2...8).contains(configuration.minimumTargets), "2...8 targets")
        self.configuration = configuration
        population = LockstepPopulation(configuration)
        sweepStep = max(1, configuration.memory / 65_536)
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
    }

    deinit {
        tokens.deinitialize(count: Lockstep.slots).deallocate()
        actors.deinitialize(count: Lockstep.slots).deallocate()
        pairs.deinitialize(count: Lockstep.slots).deallocate()
        tokenOutboxes.deinitialize(count: Lockstep.slots).deallocate()
        actorOutboxes.deinitialize(count: Lockstep.slots).deallocate()
        pairOutboxes.deinitialize(count: Lockstep.slots).deallocate()
    }

    /// The versions of rings made in the ticks that have ended since ``removeChanges()``, in the order of their making.
    public var changes: [RingChange] { rings.changes }

    /// Of each of ``changes``, how many ticks had ended since ``removeChanges()`` before the one that made it.
    public var changeTicks: [Int] { rings.changeTicks }

    /// Forgets ``changes``, keeping their memory.
    public mutating func removeChanges() { rings.removeChanges() }

    /// The ring an actor belonged to when the last tick ended.
    ///
    /// Read-only; any thread.
    public func membership(ofActor actor: UInt64) -> (ring: UInt64, score: Double, size: Int)? {
        rings.membership(ofActor: actor)
    }

    /// N of the pair test in the open tick.
    var actorEstimate: Double { mutating get { population.estimate() } }

    // MARK: One by one

    /// Takes the next record of the open tick through all stages, which most of them leave after the first.
    ///
    /// The same as a run of this one record, without its exchanges.
    public mutating func take(_ record: LockstepRecord) {
        population.see(record.actor)
        let key = hash.combine(record.target, UInt64(record.relation) &+ 1)
        tokens[Lockstep.slot(key)].take(record, key: key, ordinal: 0, &tokenOutboxes[0])
        if !tokenOutboxes[0].records.isEmpty { passOn() }
    }

    /// Takes what the token stage says of one record through the later stages.
    ///
    /// Depth first: each stage sees the order of the exchanges, and none looks at another's state.
    private mutating func passOn() {
        let population = population.estimate()
        tokenOutboxes[0].text.withUnsafeBufferPointer { text in
            for name in tokenOutboxes[0].announced { rings.learnName(name.key, name.text(in: text)) }
            for hot in tokenOutboxes[0].records {
                actors[Lockstep.slot(hot.actor)].take(hot, name: hot.name(in: text), &actorOutboxes[0])
                actorOutboxes[0].text.withUnsafeBufferPointer { text in
                    for name in actorOutboxes[0].announced { rings.learnName(name.key, name.text(in: text)) }
                }
                for pair in actorOutboxes[0].records {
                    pairs[Lockstep.slot(pair.pair)].take(pair, population: population, &pairOutboxes[0])
                    for flag in pairOutboxes[0].records { rings.take(flag) }
                    pairOutboxes[0].clear()
                }
                actorOutboxes[0].clear()
            }
        }
        tokenOutboxes[0].clear()
    }

    // MARK: Slots over threads

    /// Starts a run of some of the open tick's records: files them by the slot of their target.
    ///
    /// - Parameter records: in the tick's order; they and their texts must stay readable until the last exchange.
    public mutating func begin(_ records: UnsafeBufferPointer<LockstepRecord>) {
        self.records = records
        keys.removeAll(keepingCapacity: true)
        numbers.removeAll(keepingCapacity: true)
        for s in 0...Lockstep.slots { starts[s] = 0 }
        for record in records {
            population.see(record.actor)
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
        for i in starts[slot]..<starts[slot + 1] {
            let number = numbers[i]
            tokens[slot].take(records[Int(number)], key: keys[Int(number)], ordinal: number, &outbox)
        }
    }

    private func runActors(_ slot: Int, _ outbox: inout Outbox<PairRecord>) {
        for i in hot.starts[slot]..<hot.starts[slot + 1] {
            let record = hot.delivered[i]
            tokenOutboxes[Int(record.sender)].text.withUnsafeBufferPointer { text in
                actors[slot].take(record, name: record.name(in: text), &outbox)
            }
        }
    }

    private func runPairs(_ slot: Int, _ outbox: inout Outbox<FlagRecord>) {
        let population = runPopulation
        for i in paired.starts[slot]..<paired.starts[slot + 1] {
            pairs[slot].take(paired.delivered[i], population: population, &outbox)
        }
    }

    /// Carries a stage's records to the next one; sequential.
    ///
    /// After `.pairs` it also runs the ring stage.
    public mutating func exchange(after stage: Stage) {
        switch stage {
        case .tokens:
            for number in 0..<Lockstep.slots { hot.gather(tokenOutboxes[number].records) }
            hot.deliver()
        case .actors:
            for number in 0..<Lockstep.slots {
                paired.gather(actorOutboxes[number].records)
                announced.gather(tokenOutboxes[number].announced)
                announced.gather(actorOutboxes[number].announced)
            }
            paired.deliver()
            learnNames()
            if !paired.delivered.isEmpty { runPopulation = population.estimate() }
        case .pairs:
            for number in 0..<Lockstep.slots { flagged.gather(pairOutboxes[number].records) }
            flagged.deliver()
            for record in flagged.delivered { rings.take(record) }
            endRun()
        }
    }

    /// Learns the names in the order of the records that brought them, a target's before its actors', as ``take(_:)`` does.
    private mutating func learnNames() {
        announced.deliver()
        for record in announced.delivered {
            let sender = Int(record.sender)
            if sender < Lockstep.slots {
                tokenOutboxes[sender].text.withUnsafeBufferPointer {
                    rings.learnName(record.key, record.text(in: $0))
                }
            } else {
                actorOutboxes[sender - Lockstep.slots].text.withUnsafeBufferPointer {
                    rings.learnName(record.key, record.text(in: $0))
                }
            }
        }
    }

    private mutating func endRun() {
        records = UnsafeBufferPointer(start: nil, count: 0)
        for number in 0..<Lockstep.slots {
            tokenOutboxes[number].clear()
            actorOutboxes[number].clear()
            pairOutboxes[number].clear()
        }
        hot.clear()
        paired.clear()
        flagged.clear()
        announced.clear()
    }

    // MARK: Ticks

    /// Ends the tick: what it taught becomes visible, and what is older than ``LockstepConfiguration/memory`` is forgotten.
    ///
    /// A few comparisons where nothing suspicious happened.
    ///
    /// - Parameter watermark: the tick's, ms; it never falls.
    public mutating func endTick(watermark: Int64) {
        // Far from the ends of the type, so that subtracting the memory cannot overflow.
        let watermark = min(max(watermark, .min / 4), .max / 4)
        rings.endTick(watermark: watermark)
        population.endTick(watermark: watermark)
        sweep(watermark)
    }

    private mutating func sweep(_ watermark: Int64) {
        guard watermark - max(sweptTo, .min / 4) >= sweepStep else { return }
        let due = sweptTo == .min ? 64 : (watermark - sweptTo) / sweepStep
        for _ in 0..<min(due, 64) {
            tokens[nextSwept].expire(watermark: watermark)
            actors[nextSwept].expire(watermark: watermark)
            pairs[nextSwept].expire(watermark: watermark)
            nextSwept = (nextSwept + 1) % Lockstep.slots
        }
        sweptTo = due >= 64 ? watermark : sweptTo + due * sweepStep
    }

    /// Sums over all slots and stages since the start.
    public var counters: LockstepCounters {
        var sum = rings.counters
        for slot in 0..<Lockstep.slots {
            sum = sum + tokens[slot].counters + actors[slot].counters + pairs[slot].counters
        }
        return sum
    }

    /// Targets with a baseline.
    var targetCount: Int {
        var sum = 0
        for slot in 0..<Lockstep.slots { sum += tokens[slot].targetCount }
        return sum
    }

    /// Bytes held, all slots and stages.
    public var stateBytes: Int {
        var sum = rings.bytes + population.bytes + Lockstep.slots * configuration.limits.nameBytes
        for slot in 0..<Lockstep.slots { sum += tokens[slot].bytes + actors[slot].bytes + pairs[slot].bytes }
        return sum
    }

    /// Folds all that decides later results; between ticks.
    public func digest(into digest: inout UInt64) {
        for slot in 0..<Lockstep.slots {
            tokens[slot].digest(into: &digest)
            actors[slot].digest(into: &digest)
            pairs[slot].digest(into: &digest)
        }
        rings.digest(into: &digest)
        population.digest(into: &digest)
        digest = SplitMix64.mix(digest ^ UInt64(bitPattern: sweptTo) ^ UInt64(nextSwept) << 58)
    }
}

// `@unchecked Sendable`: the struct owns its buffers; between `begin` and the exchanges threads only call `run` on slots of their own, and `membership`.
extension LockstepDetector: @unchecked Sendable {}
