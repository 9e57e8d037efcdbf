import Models
import RuleLanguage

extension AnomalyConfiguration: ModelConfiguration {
    public func makeModel(column: Int, types: Int) -> any ScoreModel {
        AnomalyModel(self, column: column, types: types)
    }
}

/// Half-space trees at work on the engine's events: finds the numbers that the trees read.
final class AnomalyModel: ScoreModel {
    /// Where one of the numbers stands.
    private struct Input: BitwiseCopyable {
        var isFeature: Bool
        var isDouble: Bool
        var slot: Int
    }

    private var scorer: AnomalyScorer
    private let column: Int
    private var configuration: AnomalyConfiguration
    private var partStart = 0
    /// Per event type, where its inputs begin among ``inputs``; -1 where the type is not scored.
    private let starts: OwnedBuffer<Int>
    private let inputs: OwnedBuffer<Input>
    private let inputCount: Int

    init(_ configuration: AnomalyConfiguration, column: Int, types: Int) {
        scorer = AnomalyScorer(configuration)
        self.column = column
        self.configuration = configuration
        inputCount = configuration.features.count
        starts = OwnedBuffer(repeating: -1, count: types)
        inputs = OwnedBuffer(undefined: configuration.events.count * inputCount)
        locateInputs()
    }

    /// Finds where the numbers stand by the release in force.
    private func locateInputs() {
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
                inputs[position * inputCount + f] = input
            }
        }
    }

    func rebind(to configuration: any ModelConfiguration) -> Bool {
        guard let configuration = configuration as? AnomalyConfiguration else { return false }
        // Where a number stands is another matter in each release; what it means is not.
        func settings(_ configuration: AnomalyConfiguration) -> AnomalyConfiguration {
            var settings = configuration
            for f in settings.features.indices { settings.features[f].sources = [] }
            return settings
        }
        guard settings(configuration) == settings(self.configuration) else { return false }
        self.configuration = configuration
        locateInputs()
        return true
    }

    func begin(_ part: Range<Int>) {
        scorer.begin(rows: part.count)
        partStart = part.lowerBound
    }

    func score(_ epoch: EpochTable, _ events: Range<Int>) {
        let (starts, column, inputCount, partStart) = (starts.base, column, inputCount, partStart)
        for i in events {
            let start = starts[Int(epoch.events[i].type)]
            if start < 0 {
                epoch.signals(i)[column] = Slot(0.0)
                continue
            }
            let inputs = inputs.base + start
            let (fields, features) = (epoch.events[i].fields, epoch.features(i))
            let score = scorer.score(row: i - partStart) { into in
                for f in 0..<inputCount {
                    let slot = inputs[f].isFeature ? features[inputs[f].slot] : fields[inputs[f].slot]
                    into[f] = slot.isMissing ? .nan : inputs[f].isDouble ? slot.double : Double(slot.int)
                }
            }
            epoch.signals(i)[column] = Slot(score)
        }
    }

    func endTick(lanes: Int, fork: Fork) { scorer.endTick(lanes: lanes, fork: fork) }

    var stateBytes: Int { scorer.stateBytes }

    func write(to writer: inout StateWriter) { writer.section(section, layout: layoutText) { scorer.write(to: &$0) } }

    func read(from reader: StateReader) throws(StateError) {
        var source = try reader.open(section, layout: layoutText)
        try scorer.read(from: &source)
        try source.finish()
    }

    private var section: StateSection { StateSection(.model, owner: configuration.name) }

    /// By what a state means what it means: where the numbers stand in a release is not among it.
    private var layoutText: String {
        let inputs = configuration.features.map { "\($0.name) \($0.shape.rawValue) \($0.meaning)" }
        return """
            anomaly model 1: trees, ranges, open tick; \(configuration.trees) trees of depth \(configuration.depth), \
            windows of \(configuration.window), events \(configuration.events), reading \(inputs.joined(separator: ", "))
            """
    }

    func checkInvariants() throws(StateError) { try scorer.checkInvariants() }

    func digest(into digest: inout UInt64) { scorer.digest(into: &digest) }
}
