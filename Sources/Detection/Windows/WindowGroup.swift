import Models
import RuleLanguage

/// Features whose windows were opened together: one plan, 64 slots, and what each lane needs to fill them.
///
/// A release that is adopted later changes nothing in what a group keeps: features it no longer asks for go on being counted,
/// features it asks for anew get a group of their own. What a feature is called is its canonical text. An engine made anew has one
/// group again.
final class WindowGroup {
    /// In the order in which they were planned, which decides the layout; with the columns and programs of the release in force.
    private(set) var features: [Feature]
    private var ruleSets: [RuleSet]
    private(set) var program: WindowProgram
    let slots: OwnedBuffer<WindowSlot>
    private let routers: OwnedBuffer<KeyRouter>
    private let rewinds: OwnedBuffer<WindowRewinds>
    private let configuration: EngineConfiguration

    /// - Parameter ruleSets: those that the features' programs belong to, among others.
    init(
        _ features: [Feature],
        of ruleSets: [RuleSet],
        rowWidth: Int,
        _ configuration: EngineConfiguration,
        lanes: Int
    ) {
        self.features = features
        self.configuration = configuration
        let program = WindowProgram(
            WindowPlan(features: features, events: configuration.events, rowWidth: rowWidth, hash: configuration.hash)
        )
        self.program = program
        self.ruleSets = ruleSets.filter { program.owners.contains($0.stamp) }
        slots = OwnedBuffer(count: Slots.count) { _ in
            WindowSlot(
                program,
                entriesPerKey: configuration.entriesPerKey,
                keysPerTable: Engine.keysKept(limit: configuration.keysPerTable) / Slots.count
            )
        }
        routers = OwnedBuffer(count: lanes) { _ in KeyRouter(program, ruleSets, hash: WordHash(configuration.hash)) }
        rewinds = OwnedBuffer(count: lanes) { _ in WindowRewinds() }
    }

    /// Goes over to another release: same features in the same order, hence the same layout, with other columns, readers and
    /// programs.
    ///
    /// - Parameters:
    ///   - features: as many as there are, each with the canonical text of the one it stands for.
    ///   - rules: the release's; those that programs of features it does not have belong to are kept.
    func bind(_ features: [Feature], of rules: RuleSet, rowWidth: Int) {
        precondition(features.elementsEqual(self.features) { $0.canonical == $1.canonical }, "the same features")
        let program = WindowProgram(
            WindowPlan(features: features, events: configuration.events, rowWidth: rowWidth, hash: configuration.hash)
        )
        self.features = features
        self.program = program
        ruleSets = (ruleSets + [rules]).filter { program.owners.contains($0.stamp) }
        for s in slots.indices { slots[s].program = program }
        for l in routers.indices { routers[l] = KeyRouter(program, ruleSets, hash: WordHash(configuration.hash)) }
    }

    /// Sorts the keys that a lane's events go to by slot.
    func route(_ epoch: EpochTable, lane: Int) { routers[lane].route(epoch, epoch.range(lane), program) }

    /// Serves the accesses that all lanes sent to this lane's slots, and writes what the events read into their feature rows.
    func apply(_ epoch: EpochTable, lane: Int) {
        guard let first = epoch.events.baseAddress else { return }
        for slot in stride(from: lane, to: Slots.count, by: epoch.lanes) {
            for sender in 0..<epoch.lanes {
                slots[slot].apply(
                    routers[sender].accesses(of: slot),
                    events: first,
                    rows: epoch.features(0),
                    rowWidth: epoch.featureWidth,
                    signals: UnsafePointer(epoch.signals(0)),
                    watermark: epoch.watermark,
                    evaluators: routers[lane].evaluators.base,
                    rewinds: &rewinds[lane]
                )
            }
            slots[slot].endRewinds(&rewinds[lane])
            slots[slot].sweep(watermark: epoch.watermark)
        }
    }

    /// What the windows of all slots hold, expired and dropped so far.
    var counters: WindowCounters {
        var total = WindowCounters()
        for s in slots.indices {
            total += slots[s].counters
            total.keys += slots[s].keyCount
        }
        return total
    }

    var stateBytes: Int {
        var total = 0
        for s in slots.indices { total += slots[s].stateBytes }
        return total
    }
}
