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

    private var detector: LockstepDetector
    private let columns: SignalLayout.Ring
    private let hash: TextHash
    private let fields: OwnedBuffer<Fields>
    private let references: EventReferences
    /// The acts of the part that is being learnt; grow to the largest part and stay.
    private var records = OwnedBuffer<LockstepRecord>(undefined: 0)

    private static let stages: [LockstepDetector.Stage] = [.tokens, .actors, .pairs]
    var rounds: Int { LockstepWork.stages.count }

    init(_ configuration: LockstepConfiguration, _ columns: SignalLayout.Ring, _ hash: TextHash) {
        detector = LockstepDetector(configuration, hash: hash)
        self.columns = columns
        self.hash = hash
        references = configuration.references
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
            guard let ring = detector.membership(ofActor: actor.bits) else { continue }
            columns.write(id: ring.ring, size: ring.size, score: ring.score, hash, to: epoch.signals(i))
        }
    }

    func begin(_ epoch: EpochTable, _ events: Range<Int>) {
        detector.begin(gather(epoch, events))
    }

    /// The acts among some events, which come to be learnt once.
    private func gather(_ epoch: EpochTable, _ events: Range<Int>) -> UnsafeBufferPointer<LockstepRecord> {
        if records.count < events.count { records = OwnedBuffer(undefined: max(4096, events.count)) }
        let base = records.base
        let typeFields = fields.base
        var acts = 0
        let remembers = detector.configuration.lookBack > 0
        for i in events {
            let event = epoch.events[i]
            let fields = typeFields[Int(event.type)]
            guard fields.target >= 0 else { continue }
            let actor = event.fields[fields.actor]
            let target = event.fields[fields.target]
            if actor.isMissing || target.isMissing { continue }
            (base + acts).initialize(
                to: LockstepRecord(
                    relation: 0,
                    actor: actor.bits,
                    target: target.bits,
                    time: event.time,
                    actorText: event.text + actor.textOffset,
                    actorLength: actor.textLength,
                    targetText: event.text + target.textOffset,
                    targetLength: target.textLength
                )
            )
            acts += 1
            if remembers { detector.remember(references.reference(to: event), of: actor.bits) }
        }
        return UnsafeBufferPointer(start: base, count: acts)
    }

    func run(round: Int, lane: Int, of lanes: Int) {
        detector.run(LockstepWork.stages[round], slots: Slots.share(lane, of: lanes))
    }

    func exchange(after round: Int) { detector.exchange(after: LockstepWork.stages[round]) }

    func learn(_ epoch: EpochTable, _ events: Range<Int>) {
        for record in gather(epoch, events) { detector.take(record) }
    }

    func endTick(watermark: Int64) { detector.endTick(watermark: watermark) }

    func beginEpoch() { detector.removeChanges() }

    var changes: [RingChange] { detector.changes }
    var changeTicks: [Int] { detector.changeTicks }

    var counters: DetectorCounters {
        let counted = detector.counters
        var counters = DetectorCounters()
        counters.forgotten = [
            "target": counted.evictedTargets, "actor": counted.evictedActors, "pair": counted.evictedPairs,
            "ring": counted.evictedRings, "act": counted.forgottenActs,
        ]
        counters.droppedMembers = counted.droppedMembers
        return counters
    }

    var stateBytes: Int { detector.stateBytes }

    func write(to writer: inout StateWriter) { detector.write(to: &writer) }
    func read(from reader: StateReader) throws(StateError) { try detector.read(from: reader) }
    func checkInvariants() throws(StateError) { try detector.checkInvariants() }
    func digest(into digest: inout UInt64) { detector.digest(into: &digest) }
}
