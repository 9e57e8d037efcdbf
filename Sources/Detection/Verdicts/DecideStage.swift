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

    /// Judges a lane's events, and writes what there is to say of those `repeated` ones that lie among them.
    func run(_ epoch: EpochTable, _ repeated: UnsafeBufferPointer<RepeatedEvent>, lane: Int) {
        let range = epoch.range(lane)
        guard !repeated.isEmpty else {
            for event in range { lanes[lane].decide(epoch, event) }
            return
        }
        // Those behind all that are judged are the last lane's.
        let end = lane == epoch.lanes - 1 ? Int.max : range.upperBound
        var next = repeated.firstIndex { $0.place >= range.lowerBound } ?? repeated.count
        func tell(before place: Int) {
            while next < repeated.count, repeated[next].place < min(place, end) {
                lanes[lane].tell(repeated[next].event)
                next += 1
            }
        }
        for event in range {
            tell(before: event + 1)
            lanes[lane].decide(epoch, event)
        }
        tell(before: .max)
    }

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
    /// The signal row of an event that nobody looks at.
    private let noSignals: OwnedBuffer<Slot>
    /// Per event type.
    private let emitsAll: [Bool]
    fileprivate var output: EpochOutput

    init(_ configuration: EngineConfiguration) {
        evaluator = Evaluator(configuration.release.rules)
        fusion = Fusion(rules: configuration.release.rules.rules, policy: configuration.release.rules.policy)
        quiet = fusion.judge(UnsafeBufferPointer(start: nil, count: 0))
        verdicts = VerdictWriter(configuration)
        features = FeatureRowWriter(
            features: configuration.release.rules.features,
            signals: configuration.signals.declarations
        )
        writesFeatures = configuration.writesFeatures
        noSignals = OwnedBuffer(configuration.signals.emptyRow(configuration.hash))
        emitsAll = configuration.events.map { $0.emission == .all }
        output = EpochOutput(rules: configuration.release.rules.rules, events: configuration.events)
    }

    /// Writes the verdict on an event that repeats another: nothing was judged, so it allows and gives no reason.
    fileprivate mutating func tell(_ event: Event) {
        verdicts.write(
            event,
            Judgement(),
            outcomes: UnsafeBufferPointer(start: nil, count: 0),
            input: EvaluationInput(
                fields: event.fields,
                features: UnsafePointer(noSignals.base),
                signals: UnsafePointer(noSignals.base),
                text: event.text,
                lists: event.lists
            ),
            evaluator: &evaluator,
            to: &output
        )
    }

    /// Judges one event by its type's rules and writes the verdict if one is due.
    mutating func decide(_ epoch: EpochTable, _ index: Int) {
        let event = epoch.events[index]
        let input = epoch.input(index)
        output.census.see(event)
        let outcomes = evaluator.judge(event: Int(event.type), input)
        var judgement = quiet
        if outcomes.contains(where: { $0.kind != .quiet }) {
            output.count(outcomes, event: Int(event.type))
            judgement = fusion.judge(outcomes)
        }
        if judgement.severity != nil || judgement.decision > .allow || emitsAll[Int(event.type)] {
            verdicts.write(event, judgement, outcomes: outcomes, input: input, evaluator: &evaluator, to: &output)
        } else {
            output.silent += 1
        }
        if writesFeatures {
            features.write(event, input, identifiers: verdicts, to: &output.features)
        }
    }
}
