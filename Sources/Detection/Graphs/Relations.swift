import RuleLanguage

/// One lockstep detector as a topology declares it: which events it watches, and where actor and target stand in each.
public struct LockstepWatch: Sendable {
    /// One event type's part.
    public struct Source: Sendable {
        public var event: Int
        /// Slots of string fields.
        public var actorField: Int
        public var targetField: Int
        public init(event: Int, actorField: Int, targetField: Int) {
            self.event = event
            self.actorField = actorField
            self.targetField = targetField
        }
    }
    public var configuration: LockstepConfiguration
    public var sources: [Source]
    public init(configuration: LockstepConfiguration, sources: [Source]) {
        self.configuration = configuration
        self.sources = sources
    }
}

/// A ring's new version as a finished record of the topic of rings.
public struct RingRecord: Sendable {
    /// The ring's id: 16 hexadecimal digits.
    public var key: [UInt8]
    /// JSON.
    public var value: [UInt8]
    public var status: RingStatus
    /// Whether this is the ring's first version.
    public var isOpening: Bool { status == .opened }
}

/// The ring an event's actor belongs to.
struct RingMembership {
    var identifier: String
    var size: Int
    var score: Double
}

/// The RELATE stage: the topology's lockstep detectors, and what they know of an event's actor.
///
/// What an epoch teaches becomes visible in the next one: ``read(_:into:)`` and ``membership(of:)`` see the rings of ended epochs only.
final class Relations {
    private struct Actor {
        var detector: Int
        var field: Int
        var targetField: Int
    }
    private let detectors: UnsafeMutablePointer<LockstepDetector>
    private let count: Int
    /// Per event type, the detectors that watch it and where the actor stands.
    private let actors: [[Actor]]
    private var records: [[LockstepRecord]]

    init(_ configuration: EngineConfiguration, lanes: Int) {
        count = configuration.lockstep.count
        detectors = .allocate(capacity: max(1, count))
        var actors = [[Actor]](repeating: [], count: configuration.events.count)
        for (d, watch) in configuration.lockstep.enumerated() {
            (detectors + d).initialize(to: LockstepDetector(watch.configuration))
            for source in watch.sources {
                actors[source.event].append(Actor(detector: d, field: source.actorField, targetField: source.targetField))
            }
        }
        self.actors = actors
        records = [[LockstepRecord]](repeating: [], count: count)
    }

    deinit {
        detectors.deinitialize(count: count)
        detectors.deallocate()
    }

    /// Writes what the rings say of an event's actor into its signal row: the strongest ring it is in.
    func read(_ event: Event, into signal: UnsafeMutablePointer<Slot>) {
        signal[Signals.ringScore] = Slot(0.0)
        signal[Signals.ringSize] = Slot(Int64(0))
        if let found = strongest(event) {
            signal[Signals.ringScore] = Slot(found.score)
            signal[Signals.ringSize] = Slot(Int64(found.size))
        }
    }

    /// The strongest ring of an event's actor, for its verdict.
    func membership(of event: Event) -> RingMembership? {
        strongest(event).map { RingMembership(identifier: RingChange.text(ofID: $0.ring), size: $0.size, score: $0.score) }
    }

    private func strongest(_ event: Event) -> (ring: UInt64, score: Double, size: Int)? {
        var best: (ring: UInt64, score: Double, size: Int)?
        for actor in actors[Int(event.type)] {
            let slot = event.fields[actor.field]
            if slot.isMissing { continue }
            // An actor may be in rings of several detectors, whichever event it acts in now.
            for d in 0..<count {
                guard let found = detectors[d].membership(ofActor: slot.bits) else { continue }
                if found.score > best?.score ?? -1 { best = found }
            }
            return best
        }
        return best
    }

    /// Learns from an epoch's events, in their order; sub-stages run by slots on all lanes.
    func learn(_ events: UnsafeBufferPointer<Event>, watermark: Int64, lanes: Int, fork: Fork) {
        for d in 0..<count { records[d].removeAll(keepingCapacity: true) }
        for (index, event) in events.enumerated() {
            for actor in actors[Int(event.type)] {
                let who = event.fields[actor.field]
                let what = event.fields[actor.targetField]
                if who.isMissing || what.isMissing { continue }
                records[actor.detector].append(
                    LockstepRecord(
                        eventIndex: index, relation: Int(event.type), actor: who.bits, target: what.bits, time: event.time,
                        actorText: event.text + who.textOffset, actorLength: who.textLength, targetText: event.text + what.textOffset,
                        targetLength: what.textLength))
            }
        }
        for d in 0..<count {
            records[d].withUnsafeBufferPointer { records in
                let detector = detectors + d
                detector.pointee.begin(records, watermark: watermark)
                for stage in [LockstepDetector.Stage.tokens, .actors, .pairs] {
                    let used = records.count < 512 ? 1 : lanes
                    fork(used) { lane in
                        let share = (Lockstep.slots + used - 1) / used
                        detector.pointee.run(stage, slots: min(lane * share, Lockstep.slots)..<min((lane + 1) * share, Lockstep.slots))
                    }
                    detector.pointee.exchange(after: stage)
                }
            }
        }
    }

    /// Makes the epoch's rings visible to the next; its changes can be asked for until the next ``learn(_:watermark:lanes:fork:)``.
    func endEpoch() {
        changes.removeAll(keepingCapacity: true)
        for d in 0..<count {
            for change in detectors[d].changes {
                var value: [UInt8] = []
                change.appendJSON(to: &value)
                changes.append(
                    RingRecord(key: Array(RingChange.text(ofID: change.id).utf8), value: value, status: change.status))
            }
            detectors[d].end()
        }
    }

    /// The versions of rings that the last epoch made, in a fixed order.
    private(set) var changes: [RingRecord] = []

    var stateBytes: Int {
        var total = 0
        for d in 0..<count { total += detectors[d].stateBytes }
        return total
    }

    /// Folds all that decides later results; between epochs.
    func digest(into digest: inout UInt64) { for d in 0..<count { detectors[d].digest(into: &digest) } }
}
