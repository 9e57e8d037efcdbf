import RuleLanguage
import Testing

@testable import Detection

/// An event whose fields stand beside its value, but for the account.
private let webhook = EventSchema(
    name: "webhook",
    topic: "hooks",
    discriminator: (path: FieldPath(origin: .header("type")), value: "order"),
    fields: [
        FieldSchema(
            name: "ts",
            path: FieldPath(origin: .header("time")),
            type: .timestamp,
            isRequired: true,
            timeFormat: .rfc3339
        ),
        FieldSchema(name: "account", path: ["account"], type: .string, isRequired: true, entity: "account"),
        FieldSchema(name: "shop", path: FieldPath(origin: .recordKey), type: .string, entity: "shop"),
        FieldSchema(name: "attempt", path: FieldPath(origin: .header("attempt")), type: .int),
        FieldSchema(name: "test", path: FieldPath(origin: .header("test")), type: .bool),
    ],
    time: .field(0),
    idField: nil,
    subjectField: 1
)

/// The parts of a record in the order the plan wants them; nil is one that is not there.
private func parts(_ plan: DecodePlan, key: String?, _ headers: [String: String]) -> [UInt8] {
    var bytes: [UInt8] = []
    for origin in plan.partsBeside {
        let text = if case .header(let name) = origin { headers[name] } else { key }
        withUnsafeBytes(of: Int32(text?.utf8.count ?? -1).littleEndian) { bytes.append(contentsOf: $0) }
        bytes.append(contentsOf: Array((text ?? "").utf8))
    }
    return bytes
}

@Suite struct BesideFieldsTests {
    private func outcome(key: String?, _ headers: [String: String], _ value: String = #"{"account":"ada"}"#) throws
        -> String
    {
        let plan = try plan([webhook])
        var decoder = EventDecoder(plan: plan)
        var batch = EventBatch()
        let result = Array(value.utf8).withUnsafeBytes { value in
            parts(plan, key: key, headers).withUnsafeBytes {
                decoder.decode(topic: 0, partition: 0, offset: 0, value: value, beside: $0, into: &batch)
            }
        }
        switch result {
        case .events: return describe(batch.event(0), plan)
        case .rejected(let letter): return "\(letter.code.name) \(plan.path(of: letter) ?? "-")"
        case .ignored: return "ignored"
        case .full: return "full"
        }
    }

    private static let headers = ["type": "order", "time": "2026-01-05T08:00:00Z", "attempt": "2", "test": "true"]

    @Test func `key and headers are fields like others, the type and the time among them`() throws {
        #expect(
            try outcome(key: "s1", Self.headers)
                == "ts=1767600000000 account='ada' shop='s1' attempt=2 test=true"
        )
    }

    @Test func `what a record does not have is missing, and dead where it is needed`() throws {
        var headers = Self.headers
        headers["attempt"] = nil
        headers["test"] = ""
        #expect(try outcome(key: nil, headers) == "ts=1767600000000 account='ada'")
        headers["time"] = nil
        #expect(try outcome(key: nil, headers) == "missing_field @headers.time")
        headers["type"] = "refund"
        #expect(try outcome(key: nil, headers) == "unknown_event_type -")
        headers["type"] = nil
        #expect(try outcome(key: nil, headers) == "unknown_event_type -")
    }

    @Test func `what they hold is converted as strictly as a text of the value`() throws {
        for (name, text, code) in [
            ("attempt", "2x", "wrong_type"), ("time", "yesterday", "invalid_timestamp"),
            ("test", "maybe", "wrong_type"),
        ] {
            var headers = Self.headers
            headers[name] = text
            let rest = name == "attempt" ? "test=true" : "attempt=2"
            #expect(
                try outcome(key: nil, headers)
                    == (name == "time"
                        ? "\(code) @headers.time" : "ts=1767600000000 account='ada' \(rest) damaged \(name) \(code)")
            )
        }
    }

    // MARK: What stands before the JSON

    private func outcome(_ prefix: [UInt8], framed: Bool, _ value: String = "{\(needed)}") throws -> String {
        var reading = TopicReading()
        reading.isFramed = framed
        var bench = Bench(
            try DecodePlan(
                schemas: [order],
                topics: ["orders"],
                readings: ["orders": reading],
                hash: TextHash(key: .fixed)
            )
        )
        return bench.outcome(prefix + Array(value.utf8))
    }

    @Test func `a byte order mark is passed over, and places count from the record's start`() throws {
        let mark: [UInt8] = [0xEF, 0xBB, 0xBF]
        #expect(try outcome(mark, framed: false) == outcome([], framed: false))
        #expect(try outcome(mark, framed: false, "{]").hasSuffix("@4"))
        #expect(try outcome([0xEF, 0xBB], framed: false).hasPrefix("invalid_json"))
    }

    @Test func `a schema registry's bytes are passed over where they are declared, and named where not`() throws {
        let frame: [UInt8] = [0, 0, 0, 1, 7]
        #expect(try outcome(frame, framed: true) == outcome([], framed: false))
        #expect(try outcome(frame + [0xEF, 0xBB, 0xBF], framed: true) == outcome([], framed: false))
        #expect(try outcome([], framed: true) == outcome([], framed: false), "a record without them is read as it is")
        #expect(try outcome(frame, framed: false) == "registry_framing - @5")
        #expect(try outcome(frame, framed: true, "\u{2}Avro") == "registry_framing - @0")
        #expect(try outcome(frame, framed: false, "\u{2}Avro") == "registry_framing - @0")
        #expect(try outcome([0, 1], framed: true).hasPrefix("registry_framing"))
    }

    @Test func `the two forms of a framed record are told in words`() throws {
        let plan = try plan()
        #expect(plan.explanation(of: DeadLetter(.registryFraming, byteOffset: 5)).contains("framing: registry"))
        #expect(plan.explanation(of: DeadLetter(.registryFraming)).contains("Avro"))
    }
}
