import RuleLanguage

/// AGGREGATE: the feature row of each event, from windows kept per key, exact and sequential per key.
///
/// One epoch is ``route(_:lane:)`` for each lane, which sends the events' keys to their slots, and when all have returned
/// ``apply(_:lane:)`` for each lane, which runs the windows of its slots over what was sent to them, in event order. Nothing is fed
/// back, so it takes the whole epoch at once.
struct AggregateStage: ~Copyable {
    private let program: WindowProgram
    private let slots: UnsafeMutablePointer<WindowSlot>
    private let routers: UnsafeMutablePointer<KeyRouter>
    private let lanes: Int

    init(_ configuration: EngineConfiguration, lanes: Int) {
        let rules = configuration.rules
        let program = WindowProgram(
            WindowPlan(
                features: rules.features, events: configuration.events, rowWidth: max(1, rules.featureRowWidth),
                hash: configuration.hash))
        self.program = program
        self.lanes = lanes
        slots = .allocate(capacity: Engine.slotCount)
        for s in 0..<Engine.slotCount {
            (slots + s).initialize(
                to: WindowSlot(
                    program, entriesPerKey: configuration.entriesPerKey,
                    keysPerTable: Engine.keysKept(limit: configuration.keysPerTable) / Engine.slotCount))
        }
        routers = .allocate(capacity: lanes)
        for l in 0..<lanes { (routers + l).initialize(to: KeyRouter(rules, hash: configuration.hash)) }
    }

    deinit {
        slots.deinitialize(count: Engine.slotCount).deallocate()
        routers.deinitialize(count: lanes).deallocate()
    }

    /// Empties the feature rows of a lane's events and sorts the keys they visit by slot.
    func route(_ epoch: EpochTable, lane: Int) {
        let range = epoch.range(lane)
        epoch.features(range.lowerBound).update(repeating: .missing, count: range.count * epoch.featureWidth)
        routers[lane].route(epoch, range, program)
    }

    /// Adds the visits that all lanes sent to this lane's slots, and writes what the events read into their feature rows.
    func apply(_ epoch: EpochTable, lane: Int) {
        guard let first = epoch.events.baseAddress else { return }
        for slot in stride(from: lane, to: Engine.slotCount, by: epoch.lanes) {
            for sender in 0..<epoch.lanes {
                slots[slot].apply(
                    routers[sender].visits(of: slot), events: first, rows: epoch.features(0),
                    rowWidth: epoch.featureWidth, signals: UnsafePointer(epoch.signals(0)),
                    watermark: epoch.watermark, evaluator: &routers[lane].evaluator)
            }
            slots[slot].sweep(watermark: epoch.watermark)
        }
    }

    /// What the windows of all slots hold, expired and dropped so far.
    var counters: WindowCounters {
        var total = WindowCounters()
        for s in 0..<Engine.slotCount {
            total += slots[s].counters
            total.keys += slots[s].keyCount
        }
        return total
    }

    var stateBytes: Int {
        var total = 0
        for s in 0..<Engine.slotCount { total += slots[s].stateBytes }
        return total
    }
}
