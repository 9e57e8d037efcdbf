import Models
import RuleLanguage

/// RELATE: who acts together, by the topology's ring detectors.
///
/// Inside a tick it only reads; what it learns of the tick's events, in one part or several, becomes visible when the tick ends.
/// Small parts of ticks are one detector's on one thread, ``take(_:_:detector:)``. A large one is read by lanes,
/// ``read(_:_:lane:)``, and learnt in rounds over slots, ``learn(_:_:fork:)``: one fork for the same round of all detectors.
struct RelateStage: ~Copyable {
    private let detectors: [any RingDetector]
    private let rounds: Int
    /// The signal row of an event of which nobody has anything to say.
    private let emptyRow: OwnedBuffer<Slot>
    private var records: RingRecords
    /// Per detector, how many of its changes are among the records.
    private var taken: [Int]

    init(_ configuration: EngineConfiguration) {
        let layout = configuration.signals
        detectors = configuration.detectors.enumerated().map { number, detector in
            detector.makeDetector(layout.ring(number), hash: configuration.hash)
        }
        records = RingRecords(
            RingRecords.Names(
                topics: configuration.topics.map { Array($0.utf8) },
                types: configuration.events.map { Array($0.name.utf8) }
            )
        )
        taken = [Int](repeating: 0, count: detectors.count)
        rounds = detectors.map(\.rounds).max() ?? 0
        emptyRow = OwnedBuffer(layout.emptyRow(configuration.hash))
    }

    /// Starts an epoch: forgets the changes of the one before.
    mutating func begin() {
        records.removeAll()
        for detector in detectors { detector.beginEpoch() }
    }

    var count: Int { detectors.count }

    /// Empties the signal rows of a lane's events: of them nobody has said anything yet.
    func clear(_ epoch: EpochTable, lane: Int) {
        let (row, width) = (emptyRow.base, emptyRow.count)
        for event in epoch.range(lane) { epoch.signals(event).update(from: row, count: width) }
    }

    /// Runs one detector over small parts of ticks, on one thread; distinct detectors may run at the same time.
    func take(_ epoch: EpochTable, _ parts: ArraySlice<TickPart>, detector: Int) {
        detectors[detector].take(epoch, parts)
    }

    /// Writes the rings of a lane's share of a large part, as of the last tick.
    func read(_ epoch: EpochTable, _ part: TickPart, lane: Int) {
        for detector in detectors { detector.read(epoch, epoch.share(of: part.events, lane)) }
    }

    /// Learns a large part of a tick; nothing of it is visible before the tick's end.
    func learn(_ epoch: EpochTable, _ part: TickPart, fork: Fork) {
        for detector in detectors { detector.begin(epoch, part.events) }
        for round in 0..<rounds {
            fork(epoch.lanes) { lane in
                for detector in detectors where round < detector.rounds {
                    detector.run(round: round, lane: lane, of: epoch.lanes)
                }
            }
            for detector in detectors where round < detector.rounds { detector.exchange(after: round) }
        }
        guard let watermark = part.end else { return }
        for detector in detectors { detector.endTick(watermark: watermark) }
    }

    /// Ends the epoch: writes what its ticks have changed.
    ///
    /// In the order of ticks, so that the topic of rings is the same wherever epochs are cut.
    mutating func end() {
        for d in detectors.indices { taken[d] = 0 }
        while true {
            var first: (detector: Int, tick: Int)?
            for (d, detector) in detectors.enumerated() where taken[d] < detector.changeTicks.count {
                let tick = detector.changeTicks[taken[d]]
                if let known = first, known.tick <= tick { continue }
                first = (d, tick)
            }
            guard let first else { return }
            records.append(detectors[first.detector].changes[taken[first.detector]])
            taken[first.detector] += 1
        }
    }

    /// Lends the epoch's records of rings: by tick, then by detector, then in the order of their making.
    func forEachRing(_ body: (RingRecord) -> Void) { records.forEach(body) }

    /// What was dropped or forgotten, over all detectors.
    var counters: DetectorCounters {
        var total = DetectorCounters()
        for detector in detectors { total += detector.counters }
        return total
    }

    func write(to writer: inout StateWriter) { for detector in detectors { detector.write(to: &writer) } }

    func read(from reader: StateReader) throws(StateError) {
        for detector in detectors { try detector.read(from: reader) }
    }

    func checkInvariants() throws(StateError) { for detector in detectors { try detector.checkInvariants() } }

    /// Folds all that decides later rings, of the open tick too.
    func digest(into digest: inout UInt64) { for detector in detectors { detector.digest(into: &digest) } }

    var stateBytes: Int { detectors.reduce(0) { $0 + $1.stateBytes } }
}
