import CPlatform
import Detection
import RuleLanguage

/// Runs epochs: finds which events came late, puts all in their order and judges them.
///
/// An event behind the watermark is judged at the watermark and marked, so that a wrong clock is no way around the rules; or it is
/// set aside, where the topology says so. Where nobody had waited for its source it is not late, and is judged at its own time.
///
/// State lives in its engine. Used alike by `run`, `replay`, `demo`, recovery and `audit`: that they give the same bytes is a
/// property of this one path.
final class EpochProcessor {
    let deployment: Deployment
    /// Whose outputs count.
    ///
    /// Another one only when the first epoch is still to come (a snapshot's), or where a journal is replayed that several releases
    /// have written; see ``ReleaseEngines``.
    var engine: Engine
    /// Engines of other releases that take every epoch too, for their state alone.
    var companions: [Engine] = []
    let team: ThreadTeam

    /// The last epoch's events that came late and are not judged, in the epoch's order.
    private(set) var setAside: [Event] = []
    private(set) var counts = EpochCounts()
    /// What one input topic gave that was not judged at its own time and in its turn.
    struct Displaced {
        var late = 0
        var setAside = 0
        var early = 0
        var aligned = 0
    }
    /// The last epoch's, by the topic's index.
    private(set) var displaced: [Displaced]
    private let setsLateAside: Bool
    /// Per event type, the field that holds its time.
    private let timeFields: [Int?]
    private var sorter = EventSorter()

    init(_ deployment: Deployment, team: ThreadTeam, writesFeatures: Bool = false) {
        self.deployment = deployment
        self.team = team
        setsLateAside = deployment.description.time.setsLateAside
        timeFields = deployment.description.events.map(\.time.fieldIndex)
        displaced = [Displaced](repeating: Displaced(), count: deployment.description.topics.count)
        // The slots' memory grows by half again and again, all slots in turn.
        weir_set_up_heap()
        engine = Engine(deployment.engineConfiguration(writesFeatures: writesFeatures), lanes: team.lanes)
    }

    /// Judges the events of an epoch; reorders them in place.
    ///
    /// - Parameters:
    ///   - records: how many the epoch took, dead letters and all.
    ///   - rejected: how many dead letters that gave: one of several events may give several.
    ///   - ignored: how many of them hold no event, and need not.
    ///   - watermark: the one in force; nil before there is one.
    ///   - triggers: decisions that come before the events.
    ///   - isAligned: asked of an event behind the watermark, by its index in the given order: whether nobody had waited for its
    ///     source.
    ///   - accepted: called with the index of each event, in the given order, that is not late: for the next watermark.
    func process(
        _ events: UnsafeMutableBufferPointer<Event>,
        records: Int,
        rejected: Int,
        ignored: Int = 0,
        watermark: Int64?,
        triggers: [Trigger] = [],
        isAligned: (Int) -> Bool = { _ in false },
        accepted: (Int) -> Void = { _ in }
    ) {
        setAside.removeAll(keepingCapacity: true)
        counts = EpochCounts()
        for topic in displaced.indices { displaced[topic] = Displaced() }
        var kept = 0
        // A source that nobody had waited for finds in windows what it gave itself, as long as no window has to forget it.
        var retained = watermark ?? .min
        for i in events.indices {
            if let watermark, events[i].time < watermark {
                if isAligned(i) {
                    counts.aligned += 1
                    displaced[Int(events[i].topic)].aligned += 1
                    retained = min(retained, events[i].time)
                    accepted(i)
                } else if setsLateAside {
                    displaced[Int(events[i].topic)].setAside += 1
                    setAside.append(events[i])
                    continue
                } else {
                    events[i].place(at: watermark, .late, field: timeFields[Int(events[i].type)])
                }
            } else {
                accepted(i)
            }
            if !events[i].flags.isEmpty { count(events[i]) }
            if kept != i { events[kept] = events[i] }
            kept += 1
        }
        let inTime = UnsafeMutableBufferPointer(rebasing: events[0..<kept])
        sorter.sort(inTime)
        setAside.withUnsafeMutableBufferPointer { sorter.sort($0) }
        let input = EpochInput(
            triggers: triggers,
            events: UnsafeBufferPointer(inTime),
            watermark: retained
        )
        let lanes = team.lanes(for: kept)
        for engine in companions { engine.process(input, lanes: lanes) { team.run(lanes: $0, $1) } }
        engine.process(input, lanes: lanes) { team.run(lanes: $0, $1) }
        engine.forEachOutput { output in
            counts.verdicts += Int64(output.records.count)
            counts.silent += Int64(output.silent)
        }
        counts.records = Int64(records)
        counts.events = Int64(kept)
        counts.deadLetters = Int64(rejected)
        counts.ignored = Int64(ignored)
        counts.setAside = Int64(setAside.count)
        counts.duplicates = Int64(engine.duplicateCounts.reduce(0, +))
        // Of those that are told of the engine has written a verdict.
        counts.silent += counts.duplicates - Int64(engine.duplicatesTold)
    }

    /// Counts an event that is not judged as it came.
    private func count(_ event: Event) {
        if event.flags.contains(.late) {
            counts.late += 1
            displaced[Int(event.topic)].late += 1
        }
        if event.flags.contains(.early) {
            counts.early += 1
            displaced[Int(event.topic)].early += 1
        }
    }
}
