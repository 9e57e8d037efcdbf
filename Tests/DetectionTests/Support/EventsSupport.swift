import RuleLanguage

@testable import Detection

/// The event type most tests decode: every field type, nested paths, a limit of each kind.
let order = EventSchema(
    name: "order",
    topic: "orders",
    fields: [
        FieldSchema(name: "id", path: ["id"], type: .string),
        FieldSchema(name: "ts", path: ["ts"], type: .timestamp, isRequired: true),
        FieldSchema(
            name: "account",
            path: ["buyer", "id"],
            type: .string,
            isRequired: true,
            entity: "account",
            maximumLength: 64
        ),
        FieldSchema(name: "amount", path: ["amount"], type: .money, minimum: 0),
        FieldSchema(name: "channel", path: ["channel"], type: .string, allowedValues: ["web", "app"]),
        FieldSchema(name: "tags", path: ["tags"], type: .stringList),
        FieldSchema(name: "count", path: ["count"], type: .int, minimum: -1000, maximum: 1_000_000_000_000_000_000),
        FieldSchema(name: "ratio", path: ["buyer", "risk", "ratio"], type: .double),
        FieldSchema(name: "first", path: ["first"], type: .bool),
        FieldSchema(name: "created", path: ["buyer", "created"], type: .timestamp, timeFormat: .rfc3339),
        FieldSchema(name: "seconds", path: ["seconds"], type: .timestamp, timeFormat: .seconds),
        FieldSchema(name: "micros", path: ["micros"], type: .timestamp, timeFormat: .microseconds),
        FieldSchema(
            name: "an_identifier_of_more_than_sixteen_bytes",
            path: ["an_identifier_of_more_than_sixteen_bytes"],
            type: .string
        ),
        FieldSchema(name: "user_agent", path: ["user_agent"], type: .string),
    ],
    time: .field(1),
    idField: 0,
    subjectField: 2
)

/// What every record needs, to be put in front of the keys under test.
let needed = #""ts":1760000000000,"buyer":{"id":"a1"}"#

func plan(
    _ schemas: [EventSchema] = [order],
    limits: DecodeLimits = DecodeLimits(),
    pseudonymise: Pseudonymiser? = nil
) throws -> DecodePlan {
    try DecodePlan(
        schemas: schemas,
        topics: Set(schemas.flatMap(\.topics)).sorted(),
        limits: limits,
        hash: TextHash(key: .fixed),
        pseudonymise: pseudonymise
    )
}

/// A decoder with a batch, for tests.
struct Bench: ~Copyable {
    var decoder: EventDecoder
    var batch = EventBatch()

    init(_ plan: DecodePlan) { decoder = EventDecoder(plan: plan) }

    mutating func decode(_ bytes: [UInt8], topic: Int? = 0, appendTime: Int64? = nil) -> DecodeResult {
        bytes.withUnsafeBytes {
            decoder.decode(topic: topic, partition: 3, offset: 41, value: $0, appendTime: appendTime, into: &batch)
        }
    }

    mutating func decode(_ text: String, topic: Int? = 0, appendTime: Int64? = nil) -> DecodeResult {
        decode(Array(text.utf8), topic: topic, appendTime: appendTime)
    }

    /// The event's values as `name=value`, in the order of the fields, missing ones left out, then its marks; or the dead letter's
    /// code, path and place.
    mutating func outcome(_ text: String, topic: Int? = 0, appendTime: Int64? = nil) -> String {
        outcome(Array(text.utf8), topic: topic, appendTime: appendTime)
    }

    mutating func outcome(_ bytes: [UInt8], topic: Int? = 0, appendTime: Int64? = nil) -> String {
        switch decode(bytes, topic: topic, appendTime: appendTime) {
        case .events: return describe(batch.event(batch.count - 1), decoder.plan)
        case .rejected(let letter):
            return "\(letter.code.name) \(decoder.plan.path(of: letter) ?? "-") @\(letter.byteOffset)"
        case .ignored: return "ignored"
        case .full: return "full"
        }
    }
}

func csvDecoder(_ header: String, types: [Int], _ plan: DecodePlan) throws -> CSVDecoder {
    let dialect = plan.schemas[types[0]].csv
    let columns = try Array(header.utf8).withUnsafeBytes { try CSVDecoder.columnNames($0, dialect) }
    return try CSVDecoder(columns: columns, types: types, plan: plan)
}

func text(_ slot: Slot, _ event: Event) -> String {
    let bytes = UnsafeBufferPointer(start: event.text + slot.textOffset, count: slot.textLength)
    return String(decoding: bytes, as: UTF8.self)
}

func describe(_ event: Event, _ plan: DecodePlan) -> String {
    let schema = plan.schemas[Int(event.type)]
    var parts: [String] = []
    for (index, field) in schema.fields.enumerated() {
        let slot = event.fields[index]
        if slot.isMissing { continue }
        let value: String
        switch field.type {
        case .string:
            let content = text(slot, event)
            value = slot.bits == plan.hash(content) ? "'\(content)'" : "'\(content)' of a longer text"
        case .int, .money, .timestamp: value = "\(slot.int)"
        case .double: value = "\(slot.double)"
        case .bool: value = "\(slot.bool)"
        case .stringList:
            let elements = (0..<slot.listCount).map { text(event.lists[slot.listOffset + $0], event) }
            value = "[\(elements.joined(separator: " "))]"
        }
        parts.append("\(field.name)=\(value)")
    }
    event.forEachMark { mark in
        mark.forEachField { field in
            parts.append("\(mark.kind) \(schema.fields[field].name)" + (mark.code.map { " \($0.name)" } ?? ""))
        }
    }
    return parts.joined(separator: " ")
}
