public import RuleLanguage

/// What is in force: rules, what models read, and what verdicts say of both.
///
/// An engine adopts another one between two epochs; see ``Engine/adopt(_:)``.
public struct EngineRelease: Sendable {
    public var rules: RuleSet
    /// The topology's models, in its order, each with what it reads by this release.
    public var models: [any ModelConfiguration]
    /// The verdict's `versions` object, as JSON.
    public var versions: String

    public init(rules: RuleSet, models: [any ModelConfiguration], versions: String) {
        self.rules = rules
        self.models = models
        self.versions = versions
    }

    /// Slots of a feature row that its rules read.
    var featureWidth: Int { max(1, rules.featureRowWidth) }
}

/// Everything the engine must be told; built once from a topology and a release.
public struct EngineConfiguration: Sendable {
    /// The name that verdict ids carry.
    public var topology: String
    public var events: [EventSchema]
    /// Input topics, by ``Event/topic``.
    public var topics: [String]
    public var hash: TextHash
    /// Cuts the events into ticks.
    public var ticks: TickClock
    public var entriesPerKey: Int
    /// Most keys of one kind, over all slots; see ``Engine/keysKept(limit:)``.
    public var keysPerTable: Int
    /// Most ids that are remembered of an event type, over all slots; see ``EventSchema/dedupe``.
    public var idsPerEvent: Int
    public var detectors: [any RingDetectorConfiguration]
    /// In force at the start; see ``Engine/adopt(_:)``.
    public internal(set) var release: EngineRelease
    /// Writes the 36 characters of a verdict's id; the name it is made of is `topic/partition/offset/topology`.
    public var verdictIdentifier:
        @Sendable (_ name: UnsafeRawBufferPointer, _ into: UnsafeMutablePointer<UInt8>) -> Void
    /// Also writes every event's feature row.
    public var writesFeatures: Bool

    public init(
        topology: String,
        events: [EventSchema],
        topics: [String],
        hash: TextHash,
        ticks: TickClock,
        entriesPerKey: Int,
        keysPerTable: Int,
        idsPerEvent: Int = 10_000_000,
        detectors: [any RingDetectorConfiguration],
        release: EngineRelease,
        verdictIdentifier: @escaping @Sendable (UnsafeRawBufferPointer, UnsafeMutablePointer<UInt8>) -> Void,
        writesFeatures: Bool
    ) {
        self.topology = topology
        self.events = events
        self.topics = topics
        self.hash = hash
        self.ticks = ticks
        self.entriesPerKey = entriesPerKey
        self.keysPerTable = keysPerTable
        self.idsPerEvent = idsPerEvent
        self.detectors = detectors
        self.release = release
        self.verdictIdentifier = verdictIdentifier
        self.writesFeatures = writesFeatures
    }

    /// What detectors and models say of an event, and where.
    public var signals: SignalLayout {
        SignalLayout(detectors: detectors.map(\.name), models: release.models.map(\.name))
    }
}
