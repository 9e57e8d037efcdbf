import Models
public import RuleLanguage

extension LockstepConfiguration: RingDetectorConfiguration {
    public static let forgets = ["target", "actor", "pair", "ring", "act"]

    public func makeDetector(_ columns: SignalLayout.Ring, hash: TextHash) -> any RingDetector {
        LockstepWork(self, columns, hash)
    }
}

/// A lockstep detector at work on the engine's events: finds their acts and looks their actors up.
final class LockstepWork: RingDetector {
    /// Where an event type has actor and target; -1 where it has none, or where the detector does not learn from the type.
    private struct Fields: BitwiseCopyable {
        var actor: Int
        var target: Int
    }

    /// In memory of its own: taking an act must not ask the runtime whether somebody else holds the property.
    private let detector: OwnedBuffer<LockstepDetector>
    private let columns: SignalLayout.Ring
    private let hash: TextHash
    private let fields: OwnedBuffer<Fields>
    private let references: EventReferences
    private let remembers: Bool
    /// The acts that are being learnt, and which events they are; grow to the largest part and stay.
    private var records = OwnedBuffer<LockstepRecord>(undefined: 4096)
    private var events = OwnedBuffer<UInt32>(undefined: 4096)

    private static let stages: [LockstepDetector.Stage] = [.tokens, .actors, .pairs]
    var rounds: Int { LockstepWork.stages.count }

    init(_ configuration: LockstepConfiguration, _ columns: SignalLayout.Ring, _ hash: TextHash) {
        detector = OwnedBuffer(count: 1) { _ in LockstepDetector(configuration, hash: hash) }
        self.columns = columns
        self.hash = hash
        references = configuration.references
        remembers = configuration.lookBack > 0
        fields = OwnedBuffer(
            zip(configuration.actorFields, configuration.targetFields).map { Fields(actor: $0, target: $1) }
        )
    }

    func read(_ epoch: EpochTable, _ events: Range<Int>) {
        let (fields, columns, hash) = (fields.base, columns, hash)
        for i in events {
            let field = fields[Int(epoch.events[i].type)].actor
            if field < 0 { continue }
            let actor = epoch.events[i].fields[field]
            if actor.isMissing { continue }
            guard let ring = detector[0].membership(ofActor: actor.bits) else { continue }
            columns.write(id: ring.ring, size: ring.size, score: ring.score, hash, to: epoch.signals(i))
        }
    }

    func begin(_ epoch: EpochTable, _ events: Range<Int>) {
        let acts = gather(epoch, events)
        if remembers { for act in acts.indices { remember(act, epoch) } }
        detector[0].begin(acts)
    }

    /// The acts among some events; changes nothing.
    private func gather(_ epoch: EpochTable, _ range: Range<Int>) -> UnsafeBufferPointer<LockstepRecord> {
        if records.count < range.count {
            records = OwnedBuffer(undefined: range.count)
            events = OwnedBuffer(undefined: range.count)
        }
        let (records, events, types) = (records.base, events.base, fields.base)
        var acts = 0
        for i in range {
            let event = epoch.events[i]
            let fields = types[Int(event.type)]
            guard fields.target >= 0 else { continue }
            let actor = event.fields[fields.actor]
            let target = event.fields[fields.target]
            if actor.isMissing || target.isMissing { continue }
            records[acts] = LockstepRecord(
                relation: 0,
                actor: actor.bits,
                target: target.bits,
                time: event.time,
                actorText: event.text + actor.textOffset,
                actorLength: actor.textLength,
                targetText: event.text + target.textOffset,
                targetLength: target.textLength
            )
            events[acts] = UInt32(truncatingIfNeeded: i)
            acts += 1
        }
        return UnsafeBufferPointer(start: records, count: acts)
    }

    private func remember(_ act: Int, _ epoch: EpochTable) {
        let event = Int(events[act])
        detector[0].remember(references.reference(to: epoch.events[event]), of: records[act].actor)
    }

    func run(round: Int, lane: Int, of lanes: Int) {
        detector[0].run(LockstepWork.stages[round], slots: Slots.share(lane, of: lanes))
    }

    func exchange(after round: Int) { detector[0].exchange(after: LockstepWork.stages[round]) }

    /// Events whose acts are looked ahead at together: their memory fits in the cache beside what they lead to.
    private static let block = 128

    /// Reads and learns small parts of ticks, a block of events at a time: their acts are gathered and their memory is loaded
    /// before the first of them is judged.
    func take(_ epoch: EpochTable, _ parts: ArraySlice<TickPart>) {
        // The events of consecutive parts follow each other; an end that a trigger brought has none.
        var ahead = parts.first(where: { !$0.events.isEmpty })?.events.lowerBound ?? 0
        let last = parts.last(where: { !$0.events.isEmpty })?.events.upperBound ?? 0
        var (acts, act) = (0, 0)
        var eventOf = events.base
        for part in parts {
            var at = part.events.lowerBound
            while at < part.events.upperBound {
                if at == ahead {
                    ahead = min(at + LockstepWork.block, last)
                    let gathered = gather(epoch, at..<ahead)
                    detector[0].lookAhead(gathered)
                    (acts, act) = (gathered.count, 0)
                    eventOf = events.base
                }
                let end = min(part.events.upperBound, ahead)
                read(epoch, at..<end)
                var first = act
                while act < acts, eventOf[act] < end { act += 1 }
                if remembers { for act in first..<act { remember(act, epoch) } }
                while first < act {
                    detector[0].take(ahead: first)
                    first += 1
                }
                at = end
            }
            if let watermark = part.end { endTick(watermark: watermark) }
        }
    }

    func endTick(watermark: Int64) { detector[0].endTick(watermark: watermark) }

    func beginEpoch() { detector[0].removeChanges() }

    var changes: [RingChange] { detector[0].changes }
    var changeTicks: [Int] { detector[0].changeTicks }

    var counters: DetectorCounters {
        let counted = detector[0].counters
        var counters = DetectorCounters()
        counters.forgotten = [
            "target": counted.evictedTargets, "actor": counted.evictedActors, "pair": counted.evictedPairs,
            "ring": counted.evictedRings, "act": counted.forgottenActs,
        ]
        counters.droppedMembers = counted.droppedMembers
        return counters
    }

    var stateBytes: Int { detector[0].stateBytes }

    func write(to writer: inout StateWriter) { detector[0].write(to: &writer) }
    func read(from reader: StateReader) throws(StateError) { try detector[0].read(from: reader) }
    func checkInvariants() throws(StateError) { try detector[0].checkInvariants() }
    func digest(into digest: inout UInt64) { detector[0].digest(into: &digest) }
}
