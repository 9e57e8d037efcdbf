import Models
import RuleLanguage

/// Finds small groups of actors that act on the same few targets inside the same windows: CopyCatch (Beutel et al., WWW 2013) and
/// SynchroTrap (Cao et al., CCS 2014) made incremental.
///
/// Stages, each over 64 slots of its own key, joined by exchanges whose records are handled in the order of the events that caused
/// them:
/// ```
/// A tokens (target)   distinct actors per (relation, target, window); a token turns hot when their number is a surprise
/// B actors (actor)    an actor's hot tokens, pairwise
/// C pairs  (pair)     actors common to two tokens; accepted when their number is a surprise
/// D rings             actors of accepted pairs, joined; versioned rings
/// ```
/// What a tick teaches is seen when it ends, by ``membership(ofActor:)`` too. Few records are looked ahead at,
/// ``lookAhead(_:)``, and then taken one by one, ``take(ahead:)``; many are run over slots by several threads:
/// ```
/// begin(records)
/// run(.tokens, slots: part)   on each thread its part; then exchange(after: .tokens)
/// run(.actors, slots: part)                         then exchange(after: .actors)
/// run(.pairs, slots: part)                          then exchange(after: .pairs), which runs the ring stage
/// ```
/// and then, when the tick has ended, ``endTick(watermark:)``. Either way, in one run or in several, the state and the changes are
/// the same. Cost: 370–500 ns an event on a million acts of 200,000 actors on 50,000 targets (57 MB of state); no allocation once
/// warm. A ring on one target only is invisible here, and an honest crowd that buys the same *new* bundle inside one window looks
/// like a ring: name such sales in a rule's `unless`.
struct LockstepDetector: ~Copyable {
    /// The stages of a run in their order; inside one, slots are independent.
    enum Stage: Sendable {
        case tokens, actors, pairs
    }

    let configuration: LockstepConfiguration
    // Only the detector's own files touch these.
    let tokens: OwnedBuffer<LockstepTokenSlot>
    let actors: OwnedBuffer<LockstepActorSlot>
    let pairs: OwnedBuffer<LockstepPairSlot>
    var rings: LockstepRings
    var population: LockstepPopulation
    // A stage's run over some slots writes into the outbox numbered as the first of them; no two runs of a stage share a slot.
    private let tokenOutboxes = OwnedBuffer(count: Slots.count) { _ in LockstepOutbox<HotRecord>() }
    private let actorOutboxes = OwnedBuffer(count: Slots.count) { _ in LockstepOutbox<PairRecord>() }
    private let pairOutboxes = OwnedBuffer(count: Slots.count) { _ in Outbox<FlagRecord>() }
    private var hot = Exchange<HotRecord>()
    private var paired = Exchange<PairRecord>()
    private var flagged = Exchange<FlagRecord>()
    private var names = Exchange<NameRecord>()
    private let hash: WordHash

    /// What was last acted on before this time counts as forgotten, whether or not its slot was swept since.
    ///
    /// Which slot a key falls into is the secret's choice, and no result may depend on that.
    var forgotten: Int64 = .min
    // Old state is given back slot by slot, one for each 65,536th of the memory that the watermark has moved on: each slot is
    // looked at every 1,024th of the memory, and a tick costs no look at 192 slots.
    private let sweepStep: Int64
    var sweptTo: Int64 = .min
    var nextSwept = 0

    // The running run.
    private var records = UnsafeBufferPointer<LockstepRecord>(start: nil, count: 0)
    private var keys: [UInt64] = []
    /// Of each record looked ahead at.
    struct Ahead: BitwiseCopyable {
        var key: UInt64
        /// Of its actor's mark.
        var place: UInt32
        /// Of its target, or `.max`.
        ///
        /// For looking only: by the time the record is taken it may be another's.
        var row: UInt32
    }
    private var ahead = OwnedBuffer<Ahead>(undefined: 128)
    /// Keeps the early loads of ``lookAhead(_:)`` from being optimised away.
    private var warmth: UInt64 = 0
    /// Record numbers by the slot of their target, ascending in each.
    private var numbers: [UInt32] = []
    private let slots = SlotOrder()
    private var runPopulation = 0.0

    /// - Parameter hash: by which actors and targets were hashed; decides no result.
    init(_ configuration: LockstepConfiguration, hash: TextHash) {
        precondition(
            configuration.window > 0 && configuration.memory >= configuration.window,
            "window > 0, memory >= window"
        )
        precondition((2...8).contains(configuration.minimumTargets), "2...8 targets")
        self.configuration = configuration
        population = LockstepPopulation(configuration)
        sweepStep = max(1, configuration.memory / 65_536)
        self.hash = WordHash(hash)
        tokens = OwnedBuffer(count: Slots.count) { _ in LockstepTokenSlot(configuration, hash) }
        actors = OwnedBuffer(count: Slots.count) { _ in LockstepActorSlot(configuration, hash) }
        pairs = OwnedBuffer(count: Slots.count) { _ in LockstepPairSlot(configuration) }
        rings = LockstepRings(configuration, hash)
    }

    /// The versions of rings made in the ticks that have ended since ``removeChanges()``, in the order of their making.
    var changes: [RingChange] { rings.changes }

    /// Of each of ``changes``, how many ticks had ended since ``removeChanges()`` before the one that made it.
    var changeTicks: [Int] { rings.changeTicks }

    /// Forgets ``changes``, keeping their memory.
    mutating func removeChanges() { rings.removeChanges() }

    /// The ring an actor belonged to when the last tick ended.
    ///
    /// Read-only; any thread.
    func membership(ofActor actor: UInt64) -> (ring: UInt64, score: Double, size: Int)? {
        rings.membership(ofActor: actor)
    }

    /// Remembers an act of the open tick, for records that name what the members of a ring did.
    ///
    /// In the order of the events; the same ones as are taken or run, and only where ``LockstepConfiguration/lookBack`` is not 0.
    mutating func remember(_ event: EventReference, of actor: UInt64) { rings.remember(event, of: actor) }

    /// N of the pair test in the open tick.
    var actorEstimate: Double { population.estimate() }

    // MARK: One by one

    /// Makes ready for ``take(ahead:)`` of each of some records, of this tick and later ones: loads what that will read, and
    /// changes nothing.
    ///
    /// Which target comes next is chance, and its memory far; the loads of several records do not depend on each other, so that
    /// they are waited for together: first texts, then cells, rows, and members.
    ///
    /// - Parameter records: in their order; they and their texts must stay readable until the last of them is taken.
    mutating func lookAhead(_ records: UnsafeBufferPointer<LockstepRecord>) {
        self.records = records
        if ahead.count < records.count { ahead = OwnedBuffer(undefined: records.count) }
        let ahead = UnsafeMutableBufferPointer(start: self.ahead.base, count: records.count)
        var warm: UInt64 = 0
        for i in records.indices { warm ^= UInt64(records[i].actorText.pointee) }
        for i in records.indices {
            ahead[i] = Ahead(key: key(of: records[i]), place: place(of: records[i]), row: .max)
        }
        for i in ahead.indices {
            warm ^= tokens[Slots.of(ahead[i].key)].lookAhead(cell: ahead[i].key) ^ population.word(of: ahead[i].place)
        }
        for i in ahead.indices {
            let (row, read) = tokens[Slots.of(ahead[i].key)].lookAhead(row: ahead[i].key)
            ahead[i].row = row
            warm ^= read
        }
        // Of the acts in what is hot by now, the actors too; a row is no longer needed, and says which they are.
        for i in ahead.indices where ahead[i].row != .max {
            let (isHot, read) = tokens[Slots.of(ahead[i].key)].lookAhead(members: ahead[i].row)
            warm ^= read
            if !isHot { ahead[i].row = .max }
        }
        for i in ahead.indices where ahead[i].row != .max {
            warm ^= actors[Slots.of(records[i].actor)].lookAhead(cell: records[i].actor)
        }
        for i in ahead.indices where ahead[i].row != .max {
            warm ^= actors[Slots.of(records[i].actor)].lookAhead(row: records[i].actor)
        }
        warmth = warm
    }

    /// Takes the next of the records looked ahead at through all stages, which most of them leave after the first.
    ///
    /// The same as a run of this one record, without its exchanges.
    mutating func take(ahead number: Int) {
        let key = ahead[number].key
        population.see(ahead[number].place)
        tokens[Slots.of(key)].take(
            records[number],
            key: key,
            ordinal: 0,
            forgotten: forgotten,
            &tokenOutboxes[0]
        )
        if !tokenOutboxes[0].next.records.isEmpty { passOn() }
    }

    @inline(__always)
    private func key(of record: LockstepRecord) -> UInt64 { hash.combine(record.target, UInt64(record.relation) &+ 1) }

    @inline(__always)
    private func place(of record: LockstepRecord) -> UInt32 {
        population.place(of: record.actorText, count: Int(record.actorLength))
    }

    /// Takes what the token stage says of one record through the later stages.
    ///
    /// Depth first: each stage sees the order of the exchanges, and none looks at another's state.
    private mutating func passOn() {
        let population = population.estimate()
        let hot = tokenOutboxes.base
        let paired = actorOutboxes.base
        let flagged = pairOutboxes.base
        hot.pointee.names.forEach { rings.learnName($0.key, $1) }
        hot.pointee.next.forEach { record, name in
            actors[Slots.of(record.actor)].take(record, name: name, forgotten: forgotten, &paired.pointee)
            if paired.pointee.next.records.isEmpty { return }
            paired.pointee.names.forEach { rings.learnName($0.key, $1) }
            for i in paired.pointee.next.records.indices {
                let pair = paired.pointee.next.records[i]
                pairs[Slots.of(pair.pair)].take(pair, population: population, forgotten: forgotten, &flagged.pointee)
                if flagged.pointee.records.isEmpty { continue }
                for j in flagged.pointee.records.indices { rings.take(flagged.pointee.records[j]) }
                flagged.pointee.clear()
            }
            paired.pointee.clear()
        }
        hot.pointee.clear()
    }

    // MARK: Slots over threads

    /// Starts a run of some of the open tick's records: files them by the slot of their target.
    ///
    /// - Parameter records: in the tick's order; they and their texts must stay readable until the last exchange.
    mutating func begin(_ records: UnsafeBufferPointer<LockstepRecord>) {
        self.records = records
        keys.removeAll(keepingCapacity: true)
        numbers.removeAll(keepingCapacity: true)
        slots.clear()
        for record in records {
            population.see(place(of: record))
            let key = key(of: record)
            keys.append(key)
            numbers.append(0)
            slots.count(Slots.of(key))
        }
        slots.layOut()
        for (number, key) in keys.enumerated() { numbers[slots.place(Slots.of(key))] = UInt32(number) }
    }

    /// Runs one stage on some slots.
    ///
    /// Distinct slots may run on distinct threads at the same time.
    func run(_ stage: Stage, slots: Range<Int>) {
        precondition(slots.lowerBound >= 0 && slots.upperBound <= Slots.count, "slots that there are")
        for slot in slots {
            switch stage {
            case .tokens: runTokens(slot, &tokenOutboxes[slots.lowerBound])
            case .actors: runActors(slot, &actorOutboxes[slots.lowerBound])
            case .pairs: runPairs(slot, &pairOutboxes[slots.lowerBound])
            }
        }
    }

    private func runTokens(_ slot: Int, _ outbox: inout LockstepOutbox<HotRecord>) {
        for i in slots[slot] {
            let number = numbers[i]
            tokens[slot].take(
                records[Int(number)],
                key: keys[Int(number)],
                ordinal: number,
                forgotten: forgotten,
                &outbox
            )
        }
    }

    private func runActors(_ slot: Int, _ outbox: inout LockstepOutbox<PairRecord>) {
        hot.forEach(to: slot) { actors[slot].take($0, name: $1, forgotten: forgotten, &outbox) }
    }

    private func runPairs(_ slot: Int, _ outbox: inout Outbox<FlagRecord>) {
        paired.forEach(to: slot) { pair, _ in
            pairs[slot].take(pair, population: runPopulation, forgotten: forgotten, &outbox)
        }
    }

    /// Carries a stage's records to the next one; sequential.
    ///
    /// After `.pairs` it also runs the ring stage.
    mutating func exchange(after stage: Stage) {
        switch stage {
        case .tokens:
            for number in tokenOutboxes.indices { hot.gather(tokenOutboxes[number].next) }
            hot.deliver()
        case .actors:
            for number in actorOutboxes.indices {
                paired.gather(actorOutboxes[number].next)
                names.gather(tokenOutboxes[number].names)
                names.gather(actorOutboxes[number].names)
            }
            paired.deliver()
            // In the order of the records that brought them, a target's before its actors', as `take` does.
            names.deliver()
            names.forEach(to: 0) { rings.learnName($0.key, $1) }
            if !paired.isEmpty { runPopulation = population.estimate() }
        case .pairs:
            for number in pairOutboxes.indices { flagged.gather(pairOutboxes[number]) }
            flagged.deliver()
            flagged.forEach(to: 0) { flag, _ in rings.take(flag) }
            endRun()
        }
    }

    private mutating func endRun() {
        records = UnsafeBufferPointer(start: nil, count: 0)
        for number in 0..<Slots.count {
            tokenOutboxes[number].clear()
            actorOutboxes[number].clear()
            pairOutboxes[number].clear()
        }
        hot.clear()
        paired.clear()
        flagged.clear()
        names.clear()
    }

    // MARK: Ticks

    /// Ends the tick: what it taught becomes visible, and what is older than ``LockstepConfiguration/memory`` is forgotten.
    ///
    /// A few comparisons where nothing suspicious happened.
    ///
    /// - Parameter watermark: the tick's, ms; it never falls.
    mutating func endTick(watermark: Int64) {
        // Far from the ends of the type, so that subtracting the memory cannot overflow.
        let watermark = min(max(watermark, .min / 4), .max / 4)
        rings.endTick(watermark: watermark)
        population.endTick(watermark: watermark)
        forgotten = max(forgotten, watermark - configuration.memory)
        sweep(watermark)
    }

    private mutating func sweep(_ watermark: Int64) {
        guard watermark - max(sweptTo, .min / 4) >= sweepStep else { return }
        let due = sweptTo == .min ? 64 : (watermark - sweptTo) / sweepStep
        for _ in 0..<min(due, 64) {
            tokens[nextSwept].expire(watermark: watermark)
            actors[nextSwept].expire(watermark: watermark)
            pairs[nextSwept].expire(watermark: watermark)
            nextSwept = (nextSwept + 1) % Slots.count
        }
        sweptTo = due >= 64 ? watermark : sweptTo + due * sweepStep
    }

    /// Sums over all slots and stages since the start.
    var counters: LockstepCounters {
        var sum = rings.counters
        for slot in 0..<Slots.count {
            sum = sum + tokens[slot].counters + actors[slot].counters + pairs[slot].counters
        }
        return sum
    }

    /// Targets with a baseline.
    var targetCount: Int {
        var sum = 0
        for slot in 0..<Slots.count { sum += tokens[slot].targetCount }
        return sum
    }

    /// Bytes held, all slots and stages.
    var stateBytes: Int {
        var sum = rings.bytes + population.bytes + Slots.count * configuration.limits.nameBytes
        for slot in 0..<Slots.count { sum += tokens[slot].bytes + actors[slot].bytes + pairs[slot].bytes }
        return sum
    }
}

// `@unchecked Sendable`: the struct owns its buffers; between `begin` and the exchanges threads only call `run` on slots of their
// own, and `membership`.
extension LockstepDetector: @unchecked Sendable {}
