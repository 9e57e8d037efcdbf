public import RuleLanguage

/// Everything the engine must be told; built once from a topology.
public struct EngineConfiguration: Sendable {
    /// The name that verdict ids carry.
    public var topology: String
    public var events: [EventSchema]
    /// Input topics, by ``Event/topic``.
    public var topics: [String]
    public var rules: RuleSet
    public var hash: TextHash
    public var entriesPerKey: Int
    /// Most keys of one kind, over all slots; see ``Engine/keysKept(limit:)``.
    public var keysPerTable: Int
    public var detectors: [any RingDetectorConfiguration]
    public var models: [any ModelConfiguration]
    /// The verdict's `versions` object, as JSON.
    public var versions: String
    /// Writes the 36 characters of a verdict's id; the name it is made of is `topic/partition/offset/topology`.
    public var verdictIdentifier:
        @Sendable (_ name: UnsafeRawBufferPointer, _ into: UnsafeMutablePointer<UInt8>) -> Void
    /// Also writes every event's feature row.
    public var writesFeatures: Bool

    public init(
        topology: String, events: [EventSchema], topics: [String], rules: RuleSet, hash: TextHash, entriesPerKey: Int,
        keysPerTable: Int, detectors: [any RingDetectorConfiguration], models: [any ModelConfiguration],
        versions: String,
        verdictIdentifier: @escaping @Sendable (UnsafeRawBufferPointer, UnsafeMutablePointer<UInt8>) -> Void,
        writesFeatures: Bool
    ) {
        self.topology = topology
        self.events = events
        self.topics = topics
        self.rules = rules
        self.hash = hash
        self.entriesPerKey = entriesPerKey
        self.keysPerTable = keysPerTable
        self.detectors = detectors
        self.models = models
        self.versions = versions
        self.verdictIdentifier = verdictIdentifier
        self.writesFeatures = writesFeatures
    }

    /// What detectors and models say of an event, and where.
    public var signals: SignalLayout {
        SignalLayout(detectors: detectors.map(\.name), models: models.map(\.name))
    }
}
