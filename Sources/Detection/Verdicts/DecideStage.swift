import Models
import RuleLanguage

/// DECIDE: rules judge each event, and what is due about its subject is written.
///
/// Reads the event's fields, features and signals and nothing else, so it takes the whole epoch at once, lane by lane.
struct DecideStage: ~Copyable {
    private let lanes: OwnedBuffer<DecideLane>

    init(_ configuration: EngineConfiguration, lanes count: Int) {
        lanes = OwnedBuffer(count: count) { _ in DecideLane(configuration) }
    }

    /// Starts an epoch: forgets the outputs of the one before, of lanes that have no part in this one too.
    func begin() { for l in lanes.indices { lanes[l].output.removeAll() } }

    /// Judges a lane's events.
    func run(_ epoch: EpochTable, lane: Int) { for event in epoch.range(lane) { lanes[lane].decide(epoch, event) } }

    /// What the lanes have written, in the epoch's order.
    func forEachOutput(_ body: (borrowing EpochOutput) -> Void) { for l in lanes.indices { body(lanes[l].output) } }
}

/// What a lane of DECIDE owns: the rules' evaluator, the writers, and what they write.
struct DecideLane: ~Copyable {
    private var evaluator: Evaluator
    private let fusion: Fusion
    /// Where no rule has anything to say: most events.
    private let quiet: Judgement
    private var verdicts: VerdictWriter
    private let features: FeatureRowWriter
    private let writesFeatures: Bool
    /// Per event type.
    private let emitsAll: [Bool]
    fileprivate var output: EpochOutput

    init(_ configuration: EngineConfiguration) {
        evaluator = Evaluator(configuration.release.rules)
        fusion = Fusion(rules: configuration.release.rules.rules, policy: configuration.release.rules.policy)
        quiet = fusion.judge(UnsafeBufferPointer(start: nil, count: 0))
        verdicts = VerdictWriter(configuration)
        features = FeatureRowWriter(features: configuration.release.rules.features)
        writesFeatures = configuration.writesFeatures
        emitsAll = configuration.events.map { $0.emission == .all }
        output = EpochOutput(rules: configuration.release.rules.rules)
    }

    /// Judges one event by its type's rules and writes the verdict if one is due.
    mutating func decide(_ epoch: EpochTable, _ index: Int) {
        let event = epoch.events[index]
        let input = epoch.input(index)
        let outcomes = evaluator.judge(event: Int(event.type), input)
        var judgement = quiet
        if outcomes.contains(where: { $0.kind != .quiet }) {
            output.count(outcomes)
            judgement = fusion.judge(outcomes)
        }
        if judgement.severity != nil || judgement.decision > .allow || emitsAll[Int(event.type)] {
            verdicts.write(event, judgement, outcomes: outcomes, input: input, evaluator: &evaluator, to: &output)
        } else {
            output.silent += 1
        }
        if writesFeatures {
            features.write(event, row: input.features, identifiers: verdicts, to: &output.features)
        }
    }
}
