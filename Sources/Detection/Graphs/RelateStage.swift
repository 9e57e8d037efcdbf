import RuleLanguage

/// RELATE: who acts together, by the topology's ring detectors.
///
/// Inside a tick it only reads, ``read(_:lane:)``; what ``learn(_:_:fork:)`` finds in the tick's events, in one call or several, becomes
/// visible with ``endTick(watermark:)``. Detectors run their rounds side by side: one fork for the same round of all of them.
struct RelateStage: ~Copyable {
    private let detectors: [any RingDetector]
    private let rounds: Int
    /// The signal row of an event of which nobody has anything to say.
    private let emptyRow: UnsafeMutablePointer<Slot>
    private let width: Int
    /// Versions of rings made in the epoch, by detector, then in the order of their making.
    private(set) var changes: [RingRecord] = []

    init(_ configuration: EngineConfiguration) {
        let layout = configuration.signals
        detectors = configuration.detectors.enumerated().map { number, detector in
            detector.makeDetector(layout.ring(number), hash: configuration.hash)
        }
        rounds = detectors.map(\.rounds).max() ?? 0
        width = layout.width
        emptyRow = .allocate(capacity: width)
        emptyRow.initialize(from: layout.emptyRow(configuration.hash), count: width)
    }

    deinit { emptyRow.deallocate() }

    /// Starts an epoch: forgets the changes of the one before.
    mutating func begin() {
        changes.removeAll(keepingCapacity: true)
        for detector in detectors { detector.beginEpoch() }
    }

    /// Fills the signal rows of a lane's events: their actors' rings as of the last tick, and nothing where there is none.
    func read(_ epoch: EpochTable, lane: Int) {
        let range = epoch.range(lane)
        for event in range { epoch.signals(event).update(from: emptyRow, count: width) }
        for detector in detectors { detector.read(epoch, range) }
    }

    /// Learns events of the open tick; nothing of it is visible before its end.
    func learn(_ epoch: EpochTable, _ events: Range<Int>, fork: Fork) {
        if epoch.lanes == 1 {
            for detector in detectors { detector.learn(epoch, events) }
            return
        }
        guard !events.isEmpty else { return }
        for detector in detectors { detector.begin(epoch, events) }
        for round in 0..<rounds {
            fork(epoch.lanes) { lane in
                for detector in detectors where round < detector.rounds {
                    detector.run(round: round, lane: lane, of: epoch.lanes)
                }
            }
            for detector in detectors where round < detector.rounds { detector.exchange(after: round) }
        }
    }

    /// Ends the tick; one without events still lets rings grow old.
    func endTick(watermark: Int64) { for detector in detectors { detector.endTick(watermark: watermark) } }

    /// Ends the epoch: gathers what its ticks have changed.
    mutating func end() {
        for detector in detectors { detector.forEachChange { changes.append(RingRecord($0)) } }
    }

    /// What was dropped or forgotten, over all detectors.
    var counters: DetectorCounters {
        var total = DetectorCounters()
        for detector in detectors { total += detector.counters }
        return total
    }

    var stateBytes: Int { detectors.reduce(0) { $0 + $1.stateBytes } }

    /// Folds all that decides later results; between ticks.
    func digest(into digest: inout UInt64) { for detector in detectors { detector.digest(into: &digest) } }
}
