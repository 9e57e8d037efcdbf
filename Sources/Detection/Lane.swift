import RuleLanguage

/// What one lane of a stage owns: its evaluator, the visits it sends to the slots, and what it writes.
struct Lane: ~Copyable {
    var evaluator: Evaluator
    var output: EpochOutput
    private let hash: TextHash
    private let ruleSet: RuleSet
    private let fusion: Fusion
    /// Per event type.
    private let emitsAll: [Bool]

    // Visits in event order, then the same sorted by slot: the exchange into AGGREGATE.
    private var routed: UnsafeMutablePointer<KeyVisit>
    private var sorted: UnsafeMutablePointer<KeyVisit>
    private var capacity = 4096
    private var count = 0
    private let starts: UnsafeMutablePointer<Int>

    init(_ configuration: EngineConfiguration) {
        evaluator = Evaluator(configuration.rules)
        output = EpochOutput(configuration)
        hash = configuration.hash
        ruleSet = configuration.rules
        emitsAll = configuration.events.map { $0.emission == .all }
        fusion = Fusion(rules: ruleSet.rules, policy: ruleSet.policy)
        routed = .allocate(capacity: capacity)
        sorted = .allocate(capacity: capacity)
        starts = .allocate(capacity: Engine.slotCount + 1)
        starts.initialize(repeating: 0, count: Engine.slotCount + 1)
    }

    deinit {
        routed.deallocate()
        sorted.deallocate()
        starts.deallocate()
    }

    /// The visits to one slot, in event order.
    func visits(of slot: Int) -> UnsafeBufferPointer<KeyVisit> {
        UnsafeBufferPointer(start: sorted + starts[slot], count: starts[slot + 1] - starts[slot])
    }

    /// Works out every key that the events of a range visit and sorts the visits by slot, keeping their order.
    mutating func route(
        _ events: UnsafePointer<Event>, _ range: Range<Int>, _ program: WindowProgram, _ signals: UnsafePointer<Slot>
    ) {
        count = 0
        for s in 0...Engine.slotCount { starts[s] = 0 }
        for i in range {
            let event = events[i]
            let touches = program.touchRanges[Int(event.type)]
            if count &+ touches.count > capacity { grow(count + touches.count) }
            for t in touches {
                let key = self.key(of: program.touches[t], event, program, signals)
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

    /// The key's seeded hash, never 0, or 0 when a part is missing.
    @inline(__always)
    private mutating func key(
        of touch: WindowProgram.Touch, _ event: Event, _ program: WindowProgram, _ signals: UnsafePointer<Slot>
    ) -> UInt64 {
        var key: UInt64 = 0
        for k in 0..<touch.keyCount {
            let part = touch.keys[k]
            let slot: Slot
            if part.field >= 0 {
                slot = event.fields[part.field]
            } else {
                let input = EvaluationInput(
                    fields: event.fields, features: signals, signals: signals, text: event.text, lists: event.lists)
                slot = evaluator.evaluate(program.keyPrograms[part.program], input)
            }
            if slot.isMissing { return 0 }
            let hashed = part.isText ? slot.bits : hash.combine(0x1F83_D9AB_FB41_BD6B, slot.bits)
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

    // MARK: DECIDE

    /// Judges one event by its type's rules and writes the verdict if one is due.
    mutating func decide(_ event: Event, row: UnsafePointer<Slot>, signals: UnsafePointer<Slot>) {
        let type = Int(event.type)
        let input = EvaluationInput(
            fields: event.fields, features: row, signals: signals, text: event.text, lists: event.lists)
        let outcomes = evaluator.judge(event: type, input)
        for outcome in outcomes {
            if outcome.kind == .fired { output.fired[Int(outcome.rule)] += 1 }
            if outcome.kind == .undetermined { output.undetermined[Int(outcome.rule)] += 1 }
        }
        let judgement = fusion.judge(outcomes)
        if judgement.severity != nil || judgement.decision > .allow || emitsAll[type] {
            output.verdictWriter.write(
                event, judgement, outcomes: outcomes, input: input, evaluator: &evaluator, to: &output)
        } else {
            output.silent += 1
        }
        if let writer = output.featureWriter {
            writer.write(event, row: row, identifiers: output.verdictWriter, to: &output.features)
        }
    }
}
