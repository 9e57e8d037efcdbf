import Foundation
import Models
import RuleLanguage
import Testing

@testable import Detection
@testable import Pipeline

/// A small kind of detector and a small kind of model, made here: all that it takes is a line among the kinds.
@Suite struct SignalKindTests {
    private static let kinds = SignalKinds(
        detectors: SignalKinds.standard.detectors + [CrowdSettings.self],
        models: SignalKinds.standard.models + [LengthSettings.self]
    )

    private static let topology = """
        topology: world
        events:
          order:
            topic: orders
            time: ts
            subject: account
            emit: all
            fields:
              ts: { type: timestamp, format: ms }
              account: { type: string, entity: account, required: true }
              shop: { type: string, required: true }
              items: int
        detectors:
          lockstep:
            - { name: in_step, events: [order], actor: account, target: shop, window: 1h }
          crowd:
            - { name: crowd, events: [order], place: shop, least: 3 }
        models:
          length: { name: long_list, features: [items], events: [order], longest: 10 }
        """

    @Test func `a new kind of detector and of model is read, judged by and seen in verdicts and metrics`() throws {
        let folder = TemporaryFolder()
        folder.write(Self.topology, "topology.yaml")
        folder.makeFolder("rules")
        folder.write(
            """
            rule crowded "Crowded" { on order when crowd.size >= 3 && in_step.size == 0 then review because "{crowd.size} at once" }
            rule long "Long" { on order when long_list.score > 0.5 then tag "long" }
            """,
            "rules/a.weir"
        )
        let deployment = try withExtendedLifetime(folder) { try Deployment(folder: folder.path, kinds: Self.kinds) }
        #expect(deployment.description.canonicalText.contains("crowd crowd\n events [0]\n place shop\n least 3\n"))
        #expect(deployment.description.kinds.forgotten == ["target", "actor", "pair", "ring", "act", "place"])

        let store = SimulatedStore(clock: 1_767_700_000_000)
        let log = SimulatedLog(store)
        try log.create([TopicRequirement(name: "orders", partitions: 1)])
        for round in 0..<2 {
            for (n, account) in ["ada", "bob", "cyd", "dan"].enumerated() {
                store.append(
                    TopicPartition("orders", 0),
                    key: nil,
                    value: Array(
                        "{\"ts\":\(1_767_600_000_000 + round * 60_000 + n),\"account\":\"\(account)\",\"shop\":\"\(n < 3 ? "s" : "t")\",\"items\":\(4 * n)}"
                            .utf8
                    )
                )
            }
            let worker = Worker(deployment, log: SimulatedLog(store), threads: 1)
            try worker.run { worker.isReady }
        }
        var said: [String] = []
        for partition in Int32(0)..<4 {
            for record in store.records(of: TopicPartition(OutputTopics.verdicts, partition)) {
                let body = try #require(
                    try JSONSerialization.jsonObject(with: Data(record.value ?? [])) as? [String: Any]
                )
                guard let event = body["event"] as? [String: Any], let offset = event["offset"] as? Int, offset >= 4
                else { continue }
                let rings = (body["rings"] as? [[String: Any]] ?? []).map {
                    "\($0["detector"] ?? "") \($0["size"] ?? "")"
                }
                let scores = (body["scores"] as? [String: Double] ?? [:]).map { "\($0.key) \($0.value)" }
                let rules = (body["reasons"] as? [[String: Any]] ?? []).compactMap { $0["rule"] as? String }
                said.append("\(offset): \((rings + scores + rules).joined(separator: ", "))")
            }
        }
        #expect(
            said.sorted() == [
                "4: crowd 3, crowded", "5: crowd 3, long_list 0.4, crowded", "6: crowd 3, long_list 0.8, crowded, long",
                "7: long_list 1.0, long",
            ]
        )
    }

    @Test func `mistakes in a new kind are told like those of the others`() {
        func messages(_ old: String, _ new: String) -> [String] {
            do {
                _ = try TopologyDescription.read(
                    bytes: Array(Self.topology.replacing(old, with: new).utf8),
                    path: "t",
                    folder: "t",
                    files: FakeRuleFiles(),
                    kinds: Self.kinds
                )
                return []
            } catch { return error.diagnostics.map(\.message) }
        }
        #expect(messages("place: shop, ", "") == ["a crowd detector has no 'place'"])
        #expect(messages("least: 3", "last: 3") == ["unknown key 'last' in a crowd detector"])
        #expect(messages("least: 3", "least: 1") == ["'least' must be from 2 to 100, found 1"])
        #expect(messages("name: crowd", "name: in_step") == ["a second detector or model is called 'in_step'"])
        #expect(messages("crowd:\n", "crowds:\n") == ["unknown key 'crowds' in 'detectors'"])
    }
}

/// Everyone seen at a place that enough others were at in the same tick.
private struct CrowdSettings: DetectorSettings {
    static let kind = "crowd"
    static let keys = ["name", "events", "place", "least"]
    static let required = [(key: "place", suggestion: "add 'place: FIELD'")]
    var name: String
    var events: [Int]
    var place: String
    var least: Int

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
        place = keys["place"].flatMap { reader.readRole($0, "place", events, schemas) } ?? ""
        least = Int(keys["least"].flatMap { reader.integer($0, "least", 2...100) } ?? 2)
    }

    var canonical: [(key: String, value: String)] {
        [("events", "\(events)"), ("place", place), ("least", "\(least)")]
    }

    func configuration(schemas: [EventSchema], seed: UInt64) -> CrowdConfiguration {
        CrowdConfiguration(
            name: name,
            actors: schemas.map(\.subjectField),
            places: schemas.indices.map { events.contains($0) ? schemas[$0].field(named: place) : nil },
            least: least
        )
    }
}

private struct CrowdConfiguration: RingDetectorConfiguration {
    static let forgets = ["place"]
    var name: String
    var actors: [Int]
    var places: [Int?]
    var least: Int

    func makeDetector(_ columns: SignalLayout.Ring, hash: TextHash) -> any RingDetector {
        CrowdDetector(self, columns, hash)
    }
}

private final class CrowdDetector: RingDetector {
    let configuration: CrowdConfiguration
    let columns: SignalLayout.Ring
    let hash: TextHash
    /// Of the open tick; then of the one before.
    var open: [UInt64: Set<UInt64>] = [:]
    var crowds: [UInt64: (place: UInt64, size: Int)] = [:]

    init(_ configuration: CrowdConfiguration, _ columns: SignalLayout.Ring, _ hash: TextHash) {
        self.configuration = configuration
        self.columns = columns
        self.hash = hash
    }

    func read(_ epoch: EpochTable, _ events: Range<Int>) {
        for i in events {
            let actor = epoch.events[i].fields[configuration.actors[Int(epoch.events[i].type)]].bits
            guard let crowd = crowds[actor] else { continue }
            columns.write(id: crowd.place, size: crowd.size, score: 0.5, hash, to: epoch.signals(i))
        }
    }

    func take(_ epoch: EpochTable, _ parts: ArraySlice<TickPart>) {
        for part in parts {
            read(epoch, part.events)
            begin(epoch, part.events)
            if let watermark = part.end { endTick(watermark: watermark) }
        }
    }

    var rounds: Int { 0 }

    func begin(_ epoch: EpochTable, _ events: Range<Int>) {
        for i in events {
            let event = epoch.events[i]
            guard let place = configuration.places[Int(event.type)] else { continue }
            open[event.fields[place].bits, default: []].insert(
                event.fields[configuration.actors[Int(event.type)]].bits
            )
        }
    }

    func run(round: Int, lane: Int, of lanes: Int) {}
    func exchange(after round: Int) {}

    func endTick(watermark: Int64) {
        for (place, actors) in open where actors.count >= configuration.least {
            for actor in actors { crowds[actor] = (place, actors.count) }
        }
        open = [:]
    }

    func beginEpoch() {}
    var changes: [RingChange] { [] }
    var changeTicks: [Int] { [] }
    var counters: DetectorCounters { DetectorCounters() }
    var stateBytes: Int { crowds.count * 32 }

    private struct Mark: BitwiseCopyable {
        var actor: UInt64
        var place: UInt64
        /// 0 in the open tick.
        var size: Int
    }

    /// In an order of their own, as a dictionary has none.
    private var marks: [Mark] {
        let seen = open.flatMap { place, actors in actors.map { Mark(actor: $0, place: place, size: 0) } }
        return (seen + crowds.map { Mark(actor: $0, place: $1.place, size: $1.size) })
            .sorted { ($0.actor, $0.place, $0.size) < ($1.actor, $1.place, $1.size) }
    }

    private var section: StateSection { StateSection(.detector, owner: configuration.name) }
    private static let layout = "crowd 1: actor, place, size or 0 in the open tick"

    func write(to writer: inout StateWriter) {
        writer.section(section, layout: Self.layout) { $0.put(counted: marks) }
    }

    func read(from reader: StateReader) throws(StateError) {
        var source = try reader.open(section, layout: Self.layout)
        for mark in try source.takeCounted("marks", limit: 1 << 20, Mark.self) {
            if mark.size == 0 {
                open[mark.place, default: []].insert(mark.actor)
            } else {
                crowds[mark.actor] = (mark.place, mark.size)
            }
        }
        try source.finish()
        try checkInvariants()
    }

    func checkInvariants() throws(StateError) {
        try StateError.require(
            crowds.values.allSatisfy { $0.size >= configuration.least },
            "a crowd is too small"
        )
    }

    func digest(into digest: inout UInt64) {
        for mark in marks {
            for word in [mark.actor, mark.place, UInt64(mark.size)] { digest = SplitMix64.mix(digest ^ word) }
        }
    }
}

/// How long something is, of the longest.
private struct LengthSettings: ModelSettings {
    static let kind = "length"
    static let keys = ["name", "features", "events", "longest"]
    var name: String
    var inputs: ModelInputs
    var longest: Int

    init(name: String, inputs: ModelInputs, keys: [String: YAMLNode], reader: inout TopologyReader) {
        self.name = name
        self.inputs = inputs
        longest = Int(keys["longest"].flatMap { reader.integer($0, "longest", 1...1000) } ?? 100)
    }

    var canonical: [(key: String, value: String)] { [("longest", "\(longest)")] }

    func configuration(_ features: [AnomalyFeature], seed: UInt64) -> any ModelConfiguration {
        LengthConfiguration(name: name, sources: features[0].sources, longest: longest)
    }
}

private struct LengthConfiguration: ModelConfiguration {
    var name: String
    var sources: [AnomalyFeature.Source]
    var longest: Int

    func makeModel(column: Int, types: Int) -> any ScoreModel { LengthModel(self, column) }
}

private final class LengthModel: ScoreModel {
    let configuration: LengthConfiguration
    let column: Int

    init(_ configuration: LengthConfiguration, _ column: Int) {
        self.configuration = configuration
        self.column = column
    }

    func begin(_ part: Range<Int>) {}
    func rebind(to configuration: any ModelConfiguration) -> Bool { false }
    func score(_ epoch: EpochTable, _ events: Range<Int>) {
        guard case .field(let field, _) = configuration.sources[0] else { return }
        for i in events {
            let value = epoch.events[i].fields[field]
            epoch.signals(i)[column] = Slot(min(1, Double(value.int) / Double(configuration.longest)))
        }
    }
    func endTick(lanes: Int, fork: Fork) {}
    var stateBytes: Int { 0 }
    // It learns nothing.
    func write(to writer: inout StateWriter) {}
    func read(from reader: StateReader) {}
    func checkInvariants() {}
    func digest(into digest: inout UInt64) {}
}
