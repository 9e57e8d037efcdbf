import Models
import RuleLanguage

/// SCORE: what the topology's models say of each event.
///
/// Inside a tick models are read-only, so all lanes may score distinct events at once; they learn when it ends, in event order.
/// Small parts of ticks are one model's on one thread.
struct ScoreStage: ~Copyable {
    private var models: [any ScoreModel]

    init(_ configuration: EngineConfiguration) {
        let layout = configuration.signals
        models = configuration.release.models.enumerated().map { number, model in
            model.makeModel(column: layout.score(number), types: configuration.events.count)
        }
    }

    /// Goes over to what the models read by the release in force; a model that cannot is made anew.
    mutating func adopt(_ configuration: EngineConfiguration) {
        for (number, model) in configuration.release.models.enumerated() where !models[number].rebind(to: model) {
            models[number] = model.makeModel(
                column: configuration.signals.score(number),
                types: configuration.events.count
            )
        }
    }

    var count: Int { models.count }

    /// Runs one model over small parts of ticks, on one thread; distinct models may run at the same time.
    func take(_ epoch: EpochTable, _ parts: ArraySlice<TickPart>, model: Int) { models[model].take(epoch, parts) }

    /// Takes up a large part of a tick, to be scored by lanes.
    func begin(_ part: TickPart) { for model in models { model.begin(part.events) } }

    /// Scores a lane's share of the part taken up last.
    func run(_ epoch: EpochTable, _ part: TickPart, lane: Int) {
        for model in models { model.score(epoch, epoch.share(of: part.events, lane)) }
    }

    /// Ends the part: where its tick ends, models learn what was scored in it.
    func end(_ epoch: EpochTable, _ part: TickPart, fork: Fork) {
        guard part.end != nil else { return }
        for model in models { model.endTick(lanes: epoch.lanes, fork: fork) }
    }

    var stateBytes: Int { models.reduce(0) { $0 + $1.stateBytes } }

    func write(to writer: inout StateWriter) { for model in models { model.write(to: &writer) } }

    func read(from reader: StateReader) throws(StateError) { for model in models { try model.read(from: reader) } }

    func checkInvariants() throws(StateError) { for model in models { try model.checkInvariants() } }

    /// Folds all that decides later scores, of the open tick too.
    func digest(into digest: inout UInt64) { for model in models { model.digest(into: &digest) } }
}
