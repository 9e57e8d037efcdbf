import Detection
import RuleLanguage

/// One lockstep detector: actors that do the same things to the same targets within a window.
struct LockstepSettings: DetectorSettings, Equatable {
    static let kind = "lockstep"
    static let keys = ["name", "events", "actor", "target", "window", "minimum_actors", "minimum_targets", "look_back"]
    static let required = [
        (key: "actor", suggestion: "add 'actor: ENTITY', who acts, such as account"),
        (key: "target", suggestion: "add 'target: ENTITY', what is acted upon, such as item"),
        (key: "window", suggestion: "add 'window: 6h', within which the same actions count as together"),
    ]

    var name: String
    /// Indices into ``TopologyDescription/events``.
    var events: [Int]
    /// An entity or field; ``EventSchema/field(named:)`` finds its field, a string, in each of the events.
    var actor: String
    var target: String
    var windowMilliseconds: Int64
    var minimumActors: Int
    var minimumTargets: Int
    /// How many of each member's newest acts a ring's record names.
    var lookBack: Int

    init(
        name: String,
        events: [Int],
        keys: [String: YAMLNode],
        schemas: [EventSchema],
        limits: LimitSettings,
        reader: inout TopologyReader
    ) {
        self.name = name
        self.events = events
        actor = keys["actor"].flatMap { reader.readRole($0, "actor", events, schemas) } ?? ""
        target = keys["target"].flatMap { reader.readRole($0, "target", events, schemas) } ?? ""
        let (actor, target) = (actor, target)
        if !actor.isEmpty, let node = keys["target"],
            let event = events.first(where: { schemas[$0].field(named: actor) == schemas[$0].field(named: target) })
        {
            reader.note(node.mark, "actor and target are the same field of event '\(schemas[event].name)'")
        }
        windowMilliseconds =
            keys["window"].flatMap { reader.duration($0, "window", 1000...limits.windowMilliseconds) } ?? 0
        minimumActors = Int(keys["minimum_actors"].flatMap { reader.integer($0, "minimum_actors", 2...100_000) } ?? 3)
        lookBack = Int(keys["look_back"].flatMap { reader.integer($0, "look_back", 0...8) } ?? 0)
        minimumTargets = Int(
            keys["minimum_targets"].flatMap { reader.integer($0, "minimum_targets", 1...100_000) } ?? 2
        )
    }

    var canonical: [(key: String, value: String)] {
        [
            ("events", "\(events)"), ("actor", actor), ("target", target), ("window", "\(windowMilliseconds)"),
            ("minimum", "\(minimumActors) \(minimumTargets)"), ("look_back", "\(lookBack)"),
        ]
    }

    func configuration(schemas: [EventSchema], seed: UInt64) -> LockstepConfiguration {
        LockstepConfiguration(
            name: name,
            events: events,
            actor: actor,
            target: target,
            windowMilliseconds: windowMilliseconds,
            minimumActors: minimumActors,
            minimumTargets: minimumTargets,
            lookBack: lookBack,
            schemas: schemas,
            seed: seed
        )
    }
}
