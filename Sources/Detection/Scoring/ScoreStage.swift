import RuleLanguage

/// The SCORE stage: what the engine calls once per epoch and event, for all models of the topology.
///
/// Inside an epoch it only reads; all lanes may score distinct events at once. ``endEpoch(lanes:fork:)`` learns.
final class Scoring {
    /// Where a model finds one of its numbers.
    private struct Input: BitwiseCopyable {
        var isFeature: Bool
        var isDouble: Bool
        var slot: Int
    }
    private struct Model: ~Copyable {
        var scorer: AnomalyScorer
        /// Of its score, in the signal row.
        let column: Int
        /// Per event type, where its inputs begin among ``inputs``; -1 where the type is not scored.
        let starts: UnsafeMutablePointer<Int>
        let inputs: UnsafeMutablePointer<Input>
        let inputCount: Int

        init(_ configuration: AnomalyConfiguration, types: Int, column: Int, seed: UInt64) {
            scorer = AnomalyScorer(configuration, seed: seed)
            self.column = column
            inputCount = configuration.features.count
            starts = .allocate(capacity: max(1, types))
            starts.initialize(repeating: -1, count: types)
            inputs = .allocate(capacity: max(1, configuration.events.count * inputCount))
            for (position, event) in configuration.events.enumerated() {
                starts[event] = position * inputCount
                for (f, feature) in configuration.features.enumerated() {
                    let isNumber: Bool
                    let input: Input
                    switch feature.sources[position] {
                    case .feature(let column, let type):
                        isNumber = [.int, .double, .bool].contains(type)
                        input = Input(isFeature: true, isDouble: type == .double, slot: column)
                    case .field(let index, let type):
                        isNumber = [.int, .double, .money, .bool].contains(type)
                        input = Input(isFeature: false, isDouble: type == .double, slot: index)
                    }
                    precondition(isNumber, "a model reads numbers")
                    (inputs + position * inputCount + f).initialize(to: input)
                }
            }
        }

        deinit {
            starts.deallocate()
            inputs.deallocate()
        }
    }

    private let models: UnsafeMutablePointer<Model>
    private let count: Int

    init(_ configuration: EngineConfiguration) {
        count = configuration.anomaly.count
        models = .allocate(capacity: max(1, count))
        for (m, anomaly) in configuration.anomaly.enumerated() {
            (models + m).initialize(
                to: Model(
                    anomaly, types: configuration.events.count, column: configuration.signals.score(m),
                    seed: configuration.hash.seed))
        }
    }

    deinit { models.deinitialize(count: count).deallocate() }

    /// Starts an epoch of so many events.
    func beginEpoch(events: Int) { for m in 0..<count { models[m].scorer.begin(rows: events) } }

    /// Writes what the models say of the epoch's event number `index`, 0...1 each; 0 for types that are not scored and until a model is warm.
    func score(
        _ event: Event, row index: Int, features: UnsafePointer<Slot>, into signals: UnsafeMutablePointer<Slot>
    ) {
        let fields = event.fields
        for m in 0..<count {
            let start = models[m].starts[Int(event.type)]
            if start < 0 {
                signals[models[m].column] = Slot(0.0)
                continue
            }
            let inputs = models[m].inputs + start
            let inputCount = models[m].inputCount
            let score = models[m].scorer.score(row: index) { into in
                for f in 0..<inputCount {
                    let slot = inputs[f].isFeature ? features[inputs[f].slot] : fields[inputs[f].slot]
                    into[f] = slot.isMissing ? .nan : inputs[f].isDouble ? slot.double : Double(slot.int)
                }
            }
            signals[models[m].column] = Slot(score)
        }
    }

    /// Learns the epoch's scored events.
    func endEpoch(lanes: Int, fork: Fork) { for m in 0..<count { models[m].scorer.endTick(lanes: lanes, fork: fork) } }

    var stateBytes: Int {
        var total = 0
        for m in 0..<count { total += models[m].scorer.stateBytes }
        return total
    }

    /// Folds all that decides later scores; between epochs.
    func digest(into digest: inout UInt64) { for m in 0..<count { models[m].scorer.digest(into: &digest) } }
}
