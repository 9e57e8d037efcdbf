import RuleLanguage

/// SCORE: what the topology's models say of each event.
///
/// Inside a tick models are read-only, so all lanes may score distinct events at once; they learn when it ends, in event order.
struct ScoreStage: ~Copyable {
    private var models: [any ScoreModel]

    init(_ configuration: EngineConfiguration) {
        let layout = configuration.signals
        models = configuration.release.models.enumerated().map { number, model in
            model.makeModel(
                column: layout.score(number), types: configuration.events.count, seed: configuration.hash.seed)
        }
    }

    /// Goes over to what the models read by the release in force; a model that cannot is made anew.
    mutating func adopt(_ configuration: EngineConfiguration) {
        for (number, model) in configuration.release.models.enumerated() where !models[number].rebind(to: model) {
            models[number] = model.makeModel(
                column: configuration.signals.score(number), types: configuration.events.count,
                seed: configuration.hash.seed)
        }
    }

    /// Takes up a part of the open tick, by its place among the epoch's events.
    func begin(_ part: Range<Int>) { for model in models { model.begin(part) } }

    /// Scores a lane's events, of the part taken up last.
    func run(_ epoch: EpochTable, lane: Int) { for model in models { model.score(epoch, epoch.range(lane)) } }

    /// Ends the tick: learns what was scored in it.
    func endTick(lanes: Int, fork: Fork) { for model in models { model.endTick(lanes: lanes, fork: fork) } }

    var stateBytes: Int { models.reduce(0) { $0 + $1.stateBytes } }

    /// Folds all that decides later scores; between ticks.
    func digest(into digest: inout UInt64) { for model in models { model.digest(into: &digest) } }
}
