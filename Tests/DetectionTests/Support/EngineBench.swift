import RuleLanguage

@testable import Detection

/// An engine that judges orders by rules of a test's own, epoch by epoch, and shows what it says as text.
struct EngineBench {
    struct Order {
        var time: Int64
        var account: String
        var amount: Int64 = 1
        var a: Double?
        var b: Double?
        var country: String?
        /// Else its place in the epoch.
        var offset: Int64?
    }

    static let schema = EventSchema(
        name: "order",
        topic: "orders",
        fields: [
            FieldSchema(name: "ts", path: ["ts"], type: .timestamp, isRequired: true),
            FieldSchema(name: "account", path: ["account"], type: .string, isRequired: true, entity: "account"),
            FieldSchema(name: "amount", path: ["amount"], type: .int, isRequired: true),
            FieldSchema(name: "a", path: ["a"], type: .double), FieldSchema(name: "b", path: ["b"], type: .double),
            FieldSchema(name: "country", path: ["country"], type: .string),
        ],
        time: .field(0),
        idField: nil,
        subjectField: 1
    )

    private let hash = TextHash(key: HashKey(11, 11))
    let engine: Engine

    /// What a text of rules is as a release.
    private static func release(_ rules: String, _ hash: TextHash) throws -> EngineRelease {
        let set = try RuleSet.compile(
            [RuleSource(path: "rules/test.weir", text: rules)],
            in: RuleEnvironment(
                events: [EngineBench.schema],
                signals: [],
                maximumWindowMilliseconds: 1 << 40,
                hash: hash
            )
        )
        return EngineRelease(rules: set, models: [], versions: "{}")
    }

    /// Puts other rules in force.
    func adopt(_ rules: String) throws { engine.adopt(try EngineBench.release(rules, hash)) }

    /// A bench of an engine that is there already.
    init(_ engine: Engine) { self.engine = engine }

    init(
        _ rules: String,
        entries: Int = 1 << 20,
        keys: Int = 1 << 20,
        lanes: Int = 1,
        emission: Emission = .flagged,
        dedupe: DedupeSchema? = nil,
        ids: Int = 1 << 20
    ) throws {
        var configuration = try EngineBench.configuration(rules, hash, entries: entries, keys: keys)
        configuration.events[0].emission = emission
        configuration.events[0].dedupe = dedupe
        configuration.idsPerEvent = ids
        engine = Engine(configuration, lanes: lanes)
    }

    /// Goes on from the state of another one, as it was told.
    init(goingOn other: EngineBench) throws {
        engine = try other.state().withUnsafeBytes {
            try Engine(other.engine.configuration, lanes: other.engine.laneCount, from: StateReader($0))
        }
    }

    /// Goes on from a state; `beside` are rules that it was written under.
    init(
        _ rules: String,
        from state: [UInt8],
        beside: [String] = [],
        dedupe: DedupeSchema? = nil,
        ids: Int = 1 << 20
    ) throws {
        let hash = hash
        var configuration = try EngineBench.configuration(rules, hash)
        configuration.events[0].dedupe = dedupe
        configuration.idsPerEvent = ids
        let known = try beside.map { try EngineBench.release($0, hash).rules }
        engine = try state.withUnsafeBytes {
            try Engine(configuration, lanes: 1, from: StateReader($0), beside: known)
        }
    }

    private static func configuration(
        _ rules: String,
        _ hash: TextHash,
        entries: Int = 1 << 20,
        keys: Int = 1 << 20
    ) throws -> EngineConfiguration {
        EngineConfiguration(
            topology: "test",
            events: [EngineBench.schema],
            topics: ["orders"],
            hash: hash,
            ticks: TickClock(tick: 1000, lateness: 0),
            entriesPerKey: entries,
            keysPerTable: keys,
            detectors: [],
            release: try EngineBench.release(rules, hash),
            verdictIdentifier: { _, text in text.update(repeating: UInt8(ascii: "0"), count: 36) },
            writesFeatures: true
        )
    }

    func state() -> [UInt8] {
        var writer = StateWriter()
        engine.write(to: &writer)
        return writer.finish()
    }

    /// Judges one epoch; the lanes run one after the other, the last first, so that whoever depends on their order shows.
    func judge(_ orders: [Order], watermark: Int64 = .min) -> (features: [String], verdicts: [String]) {
        var text: [UInt8] = []
        var slots: [Slot] = []
        func slot(_ value: String) -> Slot {
            let start = text.count
            text += value.utf8
            return Slot(hash: hash(value), offset: start, length: value.utf8.count, bank: .event)
        }
        for order in orders {
            slots += [
                Slot(order.time), slot(order.account), Slot(order.amount), order.a.map { Slot($0) } ?? .missing,
                order.b.map { Slot($0) } ?? .missing, order.country.map { slot($0) } ?? .missing,
            ]
        }
        text += [UInt8](repeating: 0, count: 64)
        text.withUnsafeBufferPointer { text in
            slots.withUnsafeBufferPointer { slots in
                guard let bytes = text.baseAddress, let fields = slots.baseAddress else { return }
                let events = orders.indices.map { i in
                    Event(
                        fields: fields + 6 * i,
                        text: bytes,
                        lists: fields,
                        time: orders[i].time,
                        offset: orders[i].offset ?? Int64(i),
                        partition: 0,
                        topic: 0,
                        type: 0,
                        recordOffset: 0,
                        recordLength: 0
                    )
                }
                events.withUnsafeBufferPointer { events in
                    let input = EpochInput(events: events, watermark: watermark)
                    engine.process(input, lanes: engine.laneCount) { lanes, body in
                        for lane in (0..<lanes).reversed() { body(lane) }
                    }
                }
            }
        }
        var features: [String] = []
        var verdicts: [String] = []
        engine.forEachOutput { output in
            features += String(decoding: output.features.bytes, as: UTF8.self).split(separator: "\n").map(String.init)
            verdicts += String(decoding: output.verdicts.bytes, as: UTF8.self).split(separator: "\n").map(String.init)
        }
        return (features, verdicts)
    }

    /// The value of a feature as it stands in a row's JSON; texts must not hold a comma or a brace.
    static func value(_ name: String, _ row: String) -> String {
        guard let start = row.firstRange(of: "\"\(name)\":")?.upperBound else { return "no such feature" }
        return String(row[start...].prefix { $0 != "," && $0 != "}" })
    }
}
