import Detection
import RuleLanguage

/// What `topology.yaml` says of one ring detector, one item of the list under its kind's key in `detectors:`.
///
/// To add a kind: a type of settings, a ``RingDetectorConfiguration`` with its ``RingDetector``, a line in
/// ``SignalKinds/standard``, and a section in `topologies/README.md`.
protocol DetectorSettings: Sendable {
    associatedtype Configuration: RingDetectorConfiguration

    /// The key under `detectors:`, also in "a KIND detector".
    static var kind: String { get }
    /// The keys of one of them; `name` and `events` are read for all kinds.
    static var keys: [String] { get }
    /// The keys that must be there, each with what to add; `name` and `events` besides.
    static var required: [(key: String, suggestion: String)] { get }

    var name: String { get }
    /// Everything that can change an output but the name, in a fixed order.
    var canonical: [(key: String, value: String)] { get }

    /// Notes what cannot be read.
    init(
        name: String,
        events: [Int],
        keys: [String: YAMLNode],
        schemas: [EventSchema],
        limits: LimitSettings,
        reader: inout TopologyReader
    )

    func configuration(schemas: [EventSchema], seed: UInt64) -> Configuration
}

/// What `topology.yaml` says of one model, under its kind's key in `models:`; see ``DetectorSettings`` for how to add a kind.
protocol ModelSettings: Sendable {
    /// The key under `models:`, and the name of the only model without a name.
    static var kind: String { get }
    /// The keys of one of them; `name`, `features` and `events` are read for all kinds.
    static var keys: [String] { get }

    var name: String { get }
    var inputs: ModelInputs { get }
    /// Everything that can change an output but name and inputs, in a fixed order.
    var canonical: [(key: String, value: String)] { get }

    /// Notes what cannot be read.
    init(name: String, inputs: ModelInputs, keys: [String: YAMLNode], reader: inout TopologyReader)

    /// - Parameters:
    ///   - features: the inputs with their names resolved.
    ///   - seed: the topology's.
    func configuration(_ features: [AnomalyFeature], seed: UInt64) -> any ModelConfiguration
}

/// The numbers that a model reads, and of which events.
struct ModelInputs: Sendable, Equatable {
    /// Declared features by name, or numeric fields.
    ///
    /// A name that is no field of ``events`` must be a declared feature: only the rule compiler can tell, so ``marks`` keeps where
    /// each one stands.
    var features: [String]
    var marks: [SourceMark]
    /// Indices into ``TopologyDescription/events``.
    var events: [Int]
}

/// The kinds of detectors and models that a topology may have.
struct SignalKinds: Sendable {
    var detectors: [any DetectorSettings.Type]
    var models: [any ModelSettings.Type]

    static let standard = SignalKinds(detectors: [LockstepSettings.self], models: [AnomalySettings.self])

    /// What detectors forget when a table is full, each word once: the label `of` of a metric.
    var forgotten: [String] {
        func words<Settings: DetectorSettings>(_ kind: Settings.Type) -> [String] { Settings.Configuration.forgets }
        var all: [String] = []
        for kind in detectors { all += words(kind).filter { !all.contains($0) } }
        return all
    }
}
