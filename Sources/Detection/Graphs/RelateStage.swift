import RuleLanguage

/// The stage RELATE: the topology's lockstep detectors over the engine's events and lanes.
///
/// ``read(_:into:)`` reads the rings as of the end of the last epoch, on any thread; what ``learn(_:lanes:fork:)`` finds becomes visible in
/// ``endEpoch(watermark:)``. A detector's stages run over its 64 slots by lanes; the exchanges between them are
/// sequential and see only what is suspicious already.
final class Relations {
    /// Where an event type's actor stands for a detector.
    private struct Look: BitwiseCopyable {
        var detector: Int
        var field: Int
        var columns: SignalLayout.Ring
    }

    private let detectors: UnsafeMutablePointer<LockstepDetector>
    private let count: Int
    /// Looks of event type t: `looks[starts[t]..<starts[t + 1]]`.
    private let looks: UnsafeMutablePointer<Look>
    private let starts: UnsafeMutablePointer<Int>
    /// The signal row of an event of which nobody has anything to say.
    private let emptyRow: UnsafeMutablePointer<Slot>
    private let width: Int
    private let hash: TextHash
    /// Actor's and target's field by detector and event type; both -1 where the detector does not learn from the type.
    private let fields: [[(actor: Int, target: Int)]]
    /// The epoch's acts, by detector; grow to the largest epoch and stay.
    private let records: UnsafeMutablePointer<UnsafeMutableBufferPointer<LockstepRecord>>
    /// Versions of rings made in the last epoch, by detector, then in the order of their making.
    private(set) var changes: [RingRecord] = []

    init(_ configuration: EngineConfiguration, lanes: Int) {
        let types = configuration.events.count
        let lockstep = configuration.lockstep
        let layout = configuration.signals
        let empty = layout.emptyRow(configuration.hash)
        width = layout.width
        emptyRow = .allocate(capacity: width)
        emptyRow.initialize(from: empty, count: width)
        hash = configuration.hash
        count = lockstep.count
        detectors = .allocate(capacity: max(1, count))
        for d in 0..<count { (detectors + d).initialize(to: LockstepDetector(lockstep[d])) }
        looks = .allocate(capacity: max(1, count * types))
        starts = .allocate(capacity: types + 1)
        var next = 0
        for t in 0..<types {
            starts[t] = next
            for d in 0..<count where lockstep[d].actorFields[t] >= 0 {
                looks[next] = Look(detector: d, field: lockstep[d].actorFields[t], columns: layout.ring(d))
                next += 1
            }
        }
        starts[types] = next
        fields = lockstep.map { detector in
            (0..<types).map {
                detector.targetFields[$0] >= 0 ? (detector.actorFields[$0], detector.targetFields[$0]) : (-1, -1)
            }
        }
        records = .allocate(capacity: max(1, count))
        for d in 0..<count { (records + d).initialize(to: UnsafeMutableBufferPointer(start: nil, count: 0)) }
    }

    deinit {
        detectors.deinitialize(count: count).deallocate()
        for d in 0..<count { records[d].deallocate() }
        records.deallocate()
        emptyRow.deallocate()
        looks.deallocate()
        starts.deallocate()
    }

    func beginEpoch() {
        changes.removeAll(keepingCapacity: true)
        for d in 0..<count { detectors[d].removeChanges() }
    }

    // MARK: Reading

    /// Writes each detector's signals of the event: the ring of its actor as of the last epoch, and nothing where there is none.
    func read(_ event: Event, into signals: UnsafeMutablePointer<Slot>) {
        signals.update(from: emptyRow, count: width)
        for at in starts[Int(event.type)]..<starts[Int(event.type) + 1] {
            let actor = event.fields[looks[at].field]
            if actor.isMissing { continue }
            guard let ring = detectors[looks[at].detector].membership(ofActor: actor.bits) else { continue }
            let columns = looks[at].columns
            signals[columns.score] = Slot(ring.score)
            signals[columns.size] = Slot(Int64(ring.size))
            let text = UnsafeMutableRawPointer(signals + columns.text)
            RingChange.writeText(ofID: ring.ring, to: text)
            signals[columns.id] = Slot(
                hash: hash(text, count: RingChange.idLength), offset: columns.text * MemoryLayout<Slot>.stride,
                length: RingChange.idLength, bank: .signals)
        }
    }

    // MARK: Learning

    /// Finds the epoch's changes; nothing of it is visible before ``endEpoch(watermark:)``.
    ///
    /// The events' texts must stay readable for the call only.
    func learn(_ events: UnsafeBufferPointer<Event>, lanes: Int, fork: Fork) {
        guard count > 0 else { return }
        let detectors = self.detectors
        let count = self.count
        for d in 0..<count { detectors[d].begin(gather(events, d)) }
        for stage in [LockstepDetector.Stage.tokens, .actors, .pairs] {
            fork(lanes) { lane in
                let slots = lane * Lockstep.slots / lanes..<(lane + 1) * Lockstep.slots / lanes
                for d in 0..<count { detectors[d].run(stage, slots: slots) }
            }
            for d in 0..<count { detectors[d].exchange(after: stage) }
        }
    }

    /// The acts of an epoch on one detector; good until the next epoch.
    private func gather(_ events: UnsafeBufferPointer<Event>, _ detector: Int) -> UnsafeBufferPointer<LockstepRecord> {
        if records[detector].count < events.count {
            records[detector].deallocate()
            records[detector] = .allocate(capacity: max(4096, events.count))
        }
        guard let base = records[detector].baseAddress else { return UnsafeBufferPointer(start: nil, count: 0) }
        let fields = fields[detector]
        var acts = 0
        for i in events.indices {
            let event = events[i]
            let (actorField, targetField) = fields[Int(event.type)]
            guard targetField >= 0 else { continue }
            let actor = event.fields[actorField]
            let target = event.fields[targetField]
            if actor.isMissing || target.isMissing { continue }
            (base + acts).initialize(
                to: LockstepRecord(
                    relation: 0, actor: actor.bits, target: target.bits, time: event.time,
                    actorText: event.text + actor.textOffset, actorLength: actor.textLength,
                    targetText: event.text + target.textOffset, targetLength: target.textLength))
            acts += 1
        }
        return UnsafeBufferPointer(start: base, count: acts)
    }

    /// Makes what was learnt visible; an epoch without events still lets rings grow old.
    func endEpoch(watermark: Int64) {
        for d in 0..<count {
            detectors[d].endTick(watermark: watermark)
            for change in detectors[d].changes { changes.append(RingRecord(change)) }
        }
    }

    // MARK: Measures

    var stateBytes: Int {
        var total = 0
        for d in 0..<count { total += detectors[d].stateBytes }
        return total
    }

    /// What was dropped or forgotten, and how far the stages have come, over all detectors.
    var counters: LockstepCounters {
        var total = LockstepCounters()
        for d in 0..<count { total = total + detectors[d].counters }
        return total
    }
}
