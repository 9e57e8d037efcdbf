public import RuleLanguage

/// Runs `body` once for each lane in `0..<lanes`, possibly in parallel, and returns when all have returned.
public typealias Fork = (_ lanes: Int, _ body: (Int) -> Void) -> Void

/// The pure engine: state and one epoch of events in, verdicts and new state out.
///
/// The stages AGGREGATE, RELATE, SCORE and DECIDE run one after the other over the epoch. State is split over ``slotCount`` slots by the
/// entity's seeded hash, work inside a stage over lanes; what passes a stage border is an array of records tagged with the event's index,
/// handled in that order. So results depend on the events, the watermark and the state alone, never on the number of lanes.
///
/// No clock, no lock, no allocation per event once warm. One caller at a time.
public final class Engine {
    /// Slots the state is split over; part of every snapshot's layout.
    public static let slotCount = 64
    /// Most entries that a key keeps in a window, whatever ``EngineConfiguration/entriesPerKey`` says.
    ///
    /// No sum of so many integers leaves the bits it is kept in; see ``WindowSum``.
    public static let entriesPerKeyMax = 1 << 20

    /// Keys of one kind that are kept when ``EngineConfiguration/keysPerTable`` says `limit`: whole slots, 16 keys each at least.
    public static func keysKept(limit: Int) -> Int { max(limit / slotCount, 16) * slotCount }

    public let configuration: EngineConfiguration
    let lanes: Int
    private let program: WindowProgram
    private let slots: UnsafeMutablePointer<WindowSlot>
    private let laneStates: UnsafeMutablePointer<Lane>
    let relations: Relations
    let scoring: Scoring

    // The epoch's rows, one per event; they grow to the largest epoch and stay.
    private var rows: UnsafeMutablePointer<Slot>
    private var signals: UnsafeMutablePointer<Slot>
    private var rowCapacity = 0
    let rowWidth: Int
    private let signalWidth: Int

    /// - Parameter lanes: parts a stage's work is split into, one per thread; does not change any result.
    public init(_ configuration: EngineConfiguration, lanes: Int) {
        self.configuration = configuration
        self.lanes = max(1, min(lanes, Engine.slotCount))
        rowWidth = max(1, configuration.rules.featureRowWidth)
        signalWidth = configuration.signals.width
        let plan = WindowPlan(
            features: configuration.rules.features, events: configuration.events, rowWidth: rowWidth,
            hash: configuration.hash)
        let program = WindowProgram(plan)
        self.program = program
        slots = .allocate(capacity: Engine.slotCount)
        for s in 0..<Engine.slotCount {
            (slots + s).initialize(
                to: WindowSlot(
                    program, entriesPerKey: configuration.entriesPerKey,
                    keysPerTable: Engine.keysKept(limit: configuration.keysPerTable) / Engine.slotCount))
        }
        laneStates = .allocate(capacity: self.lanes)
        for l in 0..<self.lanes { (laneStates + l).initialize(to: Lane(configuration)) }
        rows = .allocate(capacity: 1)
        signals = .allocate(capacity: 1)
        relations = Relations(configuration, lanes: self.lanes)
        scoring = Scoring(configuration)
    }

    deinit {
        slots.deinitialize(count: Engine.slotCount)
        slots.deallocate()
        laneStates.deinitialize(count: lanes)
        laneStates.deallocate()
        rows.deallocate()
        signals.deallocate()
    }

    /// Judges one epoch.
    ///
    /// - Parameters:
    ///   - events: in the order (time, topic, partition, offset).
    ///   - watermark: the one in force; `Int64.min` before there is one.
    ///   - wanted: lanes the work is worth, at most ``laneCount``.
    ///   - fork: runs lanes; see ``Fork``.
    public func process(_ events: UnsafeBufferPointer<Event>, watermark: Int64, lanes wanted: Int, fork: Fork) {
        relations.beginEpoch()
        guard let first = events.baseAddress, events.count > 0 else {
            for l in 0..<lanes { laneStates[l].output.removeAll() }
            relations.endEpoch(watermark: watermark)
            return
        }
        makeRoom(events.count)
        // Copies for the loops below: reading a class's properties costs a check each time.
        let rows = self.rows
        let signals = self.signals
        let laneStates = self.laneStates
        let relations = self.relations
        let scoring = self.scoring
        let used = min(wanted, lanes)
        let signalWidth = self.signalWidth
        let share = (events.count + used - 1) / used
        func range(_ lane: Int) -> Range<Int> {
            min(lane * share, events.count)..<min((lane + 1) * share, events.count)
        }

        // AGGREGATE: keys to slots by event ranges, then windows by slots.
        fork(used) { lane in
            let range = range(lane)
            for i in range.lowerBound * rowWidth..<range.upperBound * rowWidth { rows[i] = .missing }
            laneStates[lane].route(first, range, program, UnsafePointer(signals))
        }
        fork(used) { lane in
            for slot in stride(from: lane, to: Engine.slotCount, by: used) {
                for sender in 0..<used {
                    slots[slot].apply(
                        laneStates[sender].visits(of: slot), events: first, rows: rows, rowWidth: rowWidth,
                        signals: UnsafePointer(signals), watermark: watermark, evaluator: &laneStates[lane].evaluator)
                }
                slots[slot].sweep(watermark: watermark)
            }
        }
        scoring.beginEpoch(events: events.count)
        // RELATE reads the rings of earlier epochs and learns from this one; SCORE likewise.
        fork(used) { lane in
            for i in range(lane) {
                let row = signals + i * signalWidth
                relations.read(first[i], into: row)
                scoring.score(first[i], row: i, features: UnsafePointer(rows + i * rowWidth), into: row)
            }
        }
        relations.learn(events, lanes: used, fork: fork)
        scoring.endEpoch(lanes: used, fork: fork)

        // DECIDE by event ranges.
        for l in 0..<lanes { laneStates[l].output.removeAll() }
        fork(used) { lane in
            for i in range(lane) {
                laneStates[lane].decide(
                    first[i], row: UnsafePointer(rows + i * rowWidth),
                    signals: UnsafePointer(signals + i * signalWidth))
            }
        }
        relations.endEpoch(watermark: watermark)
    }

    /// The verdicts, feature rows and counts of the last epoch, lane by lane: the lanes follow each other in the epoch's order.
    public func forEachOutput(_ body: (borrowing EpochOutput) -> Void) {
        for l in 0..<lanes { body(laneStates[l].output) }
    }

    /// Lanes there are outputs of.
    public var laneCount: Int { lanes }

    /// One lane's output of the last epoch.
    public func withOutput(_ lane: Int, _ body: (borrowing EpochOutput) -> Void) { body(laneStates[lane].output) }

    /// Changes of rings in the last epoch, in a fixed order, each as a finished record.
    public var ringChanges: [RingRecord] { relations.changes }

    /// Bytes of state: keys, windows, rings and models.
    public var stateBytes: Int {
        var total = relations.stateBytes + scoring.stateBytes
        for s in 0..<Engine.slotCount { total += slots[s].stateBytes }
        return total
    }

    /// What the windows of all slots hold, expired and dropped so far.
    public var windowCounters: WindowCounters {
        var total = WindowCounters()
        for s in 0..<Engine.slotCount {
            total += slots[s].counters
            total.keys += slots[s].keyCount
        }
        return total
    }

    /// What the lockstep detectors have found, forgotten and left out so far.
    public var lockstepCounters: LockstepCounters { relations.counters }

    private func makeRoom(_ events: Int) {
        guard events > rowCapacity else { return }
        rowCapacity = max(4096, events)
        rows.deallocate()
        signals.deallocate()
        rows = .allocate(capacity: rowCapacity * rowWidth)
        signals = .allocate(capacity: rowCapacity * signalWidth)
    }
}

/// Everything the engine must be told; built once from a topology.
public struct EngineConfiguration: Sendable {
    /// The name that verdict ids carry.
    public var topology: String
    public var events: [EventSchema]
    /// Input topics, by ``Event/topic``.
    public var topics: [String]
    public var rules: RuleSet
    public var hash: TextHash
    public var entriesPerKey: Int
    /// Most keys of one kind, over all slots; see ``Engine/keysKept(limit:)``.
    public var keysPerTable: Int
    public var lockstep: [LockstepConfiguration]
    public var anomaly: [AnomalyConfiguration]
    /// The verdict's `versions` object, as JSON.
    public var versions: String
    /// Writes the 36 characters of a verdict's id; the name it is made of is `topic/partition/offset/topology`.
    public var verdictIdentifier:
        @Sendable (_ name: UnsafeRawBufferPointer, _ into: UnsafeMutablePointer<UInt8>) -> Void
    /// Also writes every event's feature row.
    public var writesFeatures: Bool

    public init(
        topology: String, events: [EventSchema], topics: [String], rules: RuleSet, hash: TextHash, entriesPerKey: Int,
        keysPerTable: Int, lockstep: [LockstepConfiguration], anomaly: [AnomalyConfiguration], versions: String,
        verdictIdentifier: @escaping @Sendable (UnsafeRawBufferPointer, UnsafeMutablePointer<UInt8>) -> Void,
        writesFeatures: Bool
    ) {
        self.topology = topology
        self.events = events
        self.topics = topics
        self.rules = rules
        self.hash = hash
        self.entriesPerKey = entriesPerKey
        self.keysPerTable = keysPerTable
        self.lockstep = lockstep
        self.anomaly = anomaly
        self.versions = versions
        self.verdictIdentifier = verdictIdentifier
        self.writesFeatures = writesFeatures
    }

    /// What detectors and models say of an event, and where.
    public var signals: SignalLayout {
        SignalLayout(detectors: lockstep.map(\.name), models: anomaly.map(\.name))
    }
}
