import CPlatform
import Detection

/// What became of one epoch's records.
public struct EpochCounts: Sendable, Equatable {
    /// Records read: events + dead letters + late.
    public var records: Int64 = 0
    /// Events judged.
    public var events: Int64 = 0
    public var verdicts: Int64 = 0
    public var silent: Int64 = 0
    public var deadLetters: Int64 = 0
    public var late: Int64 = 0

    static func += (a: inout EpochCounts, b: EpochCounts) {
        a.records += b.records
        a.events += b.events
        a.verdicts += b.verdicts
        a.silent += b.silent
        a.deadLetters += b.deadLetters
        a.late += b.late
    }
}

/// Runs epochs: puts the events of an epoch in their order, sets late ones aside, judges the rest.
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

    /// The last epoch's late events, in the epoch's order.
    private(set) var late: [Event] = []
    private(set) var counts = EpochCounts()
    private var sorter = EventSorter()

    init(_ deployment: Deployment, team: ThreadTeam, writesFeatures: Bool = false) {
        self.deployment = deployment
        self.team = team
        // The slots' memory grows by half again and again, all slots in turn.
        weir_map_large_blocks()
        engine = Engine(deployment.engineConfiguration(writesFeatures: writesFeatures), lanes: team.lanes)
    }

    /// Judges the events of an epoch; reorders them in place.
    ///
    /// - Parameters:
    ///   - watermark: the one in force; nil before there is one.
    ///   - triggers: decisions that come before the events.
    ///   - accepted: called with the index of each event, in the given order, that is not late: for the next watermark.
    func process(
        _ events: UnsafeMutableBufferPointer<Event>,
        rejected: Int,
        watermark: Int64?,
        triggers: [Trigger] = [],
        accepted: (Int) -> Void = { _ in }
    ) {
        late.removeAll(keepingCapacity: true)
        var kept = 0
        for i in events.indices {
            if let watermark, events[i].time < watermark {
                late.append(events[i])
                continue
            }
            accepted(i)
            if kept != i { events[kept] = events[i] }
            kept += 1
        }
        let inTime = UnsafeMutableBufferPointer(rebasing: events[0..<kept])
        sorter.sort(inTime)
        late.withUnsafeMutableBufferPointer { sorter.sort($0) }
        let input = EpochInput(
            triggers: triggers,
            events: UnsafeBufferPointer(inTime),
            watermark: watermark ?? .min
        )
        let lanes = team.lanes(for: kept)
        for engine in companions { engine.process(input, lanes: lanes) { team.run(lanes: $0, $1) } }
        engine.process(input, lanes: lanes) { team.run(lanes: $0, $1) }
        counts = EpochCounts()
        engine.forEachOutput { output in
            counts.verdicts += Int64(output.records.count)
            counts.silent += Int64(output.silent)
        }
        counts.events = Int64(kept)
        counts.late = Int64(late.count)
        counts.deadLetters = Int64(rejected)
        counts.records = counts.events + counts.late + counts.deadLetters
    }
}
