import CPlatform
import Detection

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

    /// The last epoch's events that came late and are not judged, in the epoch's order.
    private(set) var setAside: [Event] = []
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
    ///   - records: how many the epoch took, dead letters and all.
    ///   - rejected: how many of them are dead letters.
    ///   - watermark: the one in force; nil before there is one.
    ///   - triggers: decisions that come before the events.
    ///   - accepted: called with the index of each event, in the given order, that is not late: for the next watermark.
    func process(
        _ events: UnsafeMutableBufferPointer<Event>,
        records: Int,
        rejected: Int,
        watermark: Int64?,
        triggers: [Trigger] = [],
        accepted: (Int) -> Void = { _ in }
    ) {
        setAside.removeAll(keepingCapacity: true)
        var kept = 0
        for i in events.indices {
            if let watermark, events[i].time < watermark {
                setAside.append(events[i])
                continue
            }
            accepted(i)
            if kept != i { events[kept] = events[i] }
            kept += 1
        }
        let inTime = UnsafeMutableBufferPointer(rebasing: events[0..<kept])
        sorter.sort(inTime)
        setAside.withUnsafeMutableBufferPointer { sorter.sort($0) }
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
        counts.records = Int64(records)
        counts.events = Int64(kept)
        counts.deadLetters = Int64(rejected)
        counts.setAside = Int64(setAside.count)
        for event in inTime where !event.flags.isEmpty {
            if event.flags.contains(.late) { counts.late += 1 }
            if event.flags.contains(.early) { counts.early += 1 }
            if event.flags.contains(.duplicate) { counts.duplicates += 1 }
        }
    }
}
