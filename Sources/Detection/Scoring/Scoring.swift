import RuleLanguage

/// The SCORE stage: what the engine calls once per epoch and event; without a model every score is 0.
///
/// Inside an epoch it only reads; all lanes may score distinct events at once. ``endEpoch(lanes:fork:)`` learns.
final class Scoring {
    private struct Input {
        enum Kind: UInt8 { case integer, double }
        var isFeature: Bool
        var slot: Int
        var kind: Kind
    }

    private var scorer: AnomalyScorer?
    /// Per event type, one input per feature; empty where the type is not scored.
    private let inputs: [[Input]]

    init(_ configuration: EngineConfiguration) {
        var inputs = [[Input]](repeating: [], count: configuration.events.count)
        if let anomaly = configuration.anomaly {
            for (position, event) in anomaly.events.enumerated() {
                inputs[event] = anomaly.features.map { feature in
                    switch feature.sources[position] {
                    case .feature(let column, let type):
                        precondition([.int, .double, .bool].contains(type), "a model reads numbers")
                        return Input(isFeature: true, slot: column, kind: type == .double ? .double : .integer)
                    case .field(let index, let type):
                        precondition([.int, .double, .money, .bool].contains(type), "a model reads numbers")
                        return Input(isFeature: false, slot: index, kind: type == .double ? .double : .integer)
                    }
                }
            }
            scorer = AnomalyScorer(anomaly, seed: configuration.hash.seed)
        }
        self.inputs = inputs
    }

    /// Starts an epoch of so many events.
    func beginEpoch(events: Int) { scorer?.begin(rows: events) }

    /// The score of the epoch's event number `row`, 0...1; 0 for types that are not scored and until the model is warm.
    func score(_ event: Event, row index: Int, features: UnsafePointer<Slot>) -> Slot {
        let inputs = inputs[Int(event.type)]
        guard !inputs.isEmpty, scorer != nil else { return Slot(0.0) }
        let fields = event.fields
        return inputs.withUnsafeBufferPointer { inputs in
            let score = scorer?.score(row: index) { into in
                for f in 0..<inputs.count {
                    let input = inputs[f]
                    let slot = input.isFeature ? features[input.slot] : fields[input.slot]
                    into[f] = slot.isMissing ? .nan : input.kind == .double ? slot.double : Double(slot.int)
                }
            }
            return Slot(score ?? 0)
        }
    }

    /// Learns the epoch's scored events.
    func endEpoch(lanes: Int, fork: Fork) { scorer?.end(lanes: lanes, fork: fork) }

    var stateBytes: Int { scorer?.stateBytes ?? 0 }

    /// Folds all that decides later scores; between epochs.
    func digest(into digest: inout UInt64) { scorer?.digest(into: &digest) }
}
