import RuleLanguage

/// AGGREGATE: the feature row of each event, from windows kept per key, exact and sequential per key.
///
/// One epoch is ``route(_:lane:)`` for each lane, which sends the events' keys to their slots, and when all have returned
/// ``apply(_:lane:)`` for each lane, which runs the windows of its slots over what was sent to them, in event order. Nothing is fed
/// back, so it takes the whole epoch at once.
///
/// **What crosses its border.** To the slot of a key (``Slots``) goes a ``RoutedAccess`` for each event and key: the key's hash,
/// the event's index in the epoch, and which of the program's accesses it is; with it, were the slot on another machine, the
/// event's time and those of its fields that the access's filters and arguments read. Back comes a part of the event's feature row
/// for each access: the columns of the windows it reads, with a value or missing. Each column of a row is one access's, so parts
/// may come in any order, and a row is whole when those of all its accesses are there. In one process both directions are places in
/// memory: slots read the epoch's events and write into its feature rows, and no two slots write the same column.
struct AggregateStage: ~Copyable {
    var groups: [WindowGroup]
    let configuration: EngineConfiguration
    let lanes: Int
    /// Slots of a feature row: those of the release in force, and behind them those of features that only go on being counted.
    var featureWidth: Int

    init(_ configuration: EngineConfiguration, lanes: Int) {
        self.configuration = configuration
        self.lanes = lanes
        let release = configuration.release
        featureWidth = release.featureWidth
        groups = [
            WindowGroup(
                release.rules.features,
                of: [release.rules],
                rowWidth: featureWidth,
                configuration,
                lanes: lanes
            )
        ]
    }

    /// Goes over to another release: windows that are kept already stay as they are, new ones are opened empty.
    ///
    /// A window that nobody asks for any more is counted on as long as others were opened with it, and given back when none of them
    /// is asked for, so that a rule that comes back finds its windows warm. Cost: some milliseconds, whatever the state.
    mutating func adopt(_ rules: RuleSet) {
        let asked = Set(rules.features.map(\.canonical))
        groups.removeAll { group in !group.features.contains { asked.contains($0.canonical) } }
        var new = rules.features
        var width = max(1, rules.featureRowWidth)
        let bound = groups.map { group in
            group.features.map { old in
                new.firstIndex { $0.canonical == old.canonical }.map { new.remove(at: $0) }
                    ?? AggregateStage.retired(old, &width)
            }
        }
        featureWidth = width
        for (group, features) in zip(groups, bound) { group.bind(features, of: rules, rowWidth: width) }
        if !new.isEmpty {
            groups.append(WindowGroup(new, of: [rules], rowWidth: width, configuration, lanes: lanes))
        }
    }

    /// A feature that nobody reads and that goes on being counted: its value stands behind those of the release.
    static func retired(_ feature: Feature, _ width: inout Int) -> Feature {
        var retired = feature
        retired.readers = feature.readers.map { _ in nil }
        retired.column = width
        width += feature.columnWidth
        return retired
    }

    /// Empties the feature rows of a lane's events and sorts the keys they go to by slot.
    func route(_ epoch: EpochTable, lane: Int) {
        let range = epoch.range(lane)
        epoch.features(range.lowerBound).update(repeating: .missing, count: range.count * epoch.featureWidth)
        for group in groups { group.route(epoch, lane: lane) }
    }

    /// Serves the accesses that all lanes sent to this lane's slots, and writes what the events read into their feature rows.
    func apply(_ epoch: EpochTable, lane: Int) { for group in groups { group.apply(epoch, lane: lane) } }

    /// What the windows hold, expired and dropped so far; of windows given back what they dropped is forgotten.
    var counters: WindowCounters {
        var total = WindowCounters()
        for group in groups { total += group.counters }
        return total
    }

    var stateBytes: Int { groups.reduce(0) { $0 + $1.stateBytes } }
}
