import Models
import Testing

@testable import RuleLanguage

/// The event types the tests speak of.
enum Shop {
    static let hash = TextHash(key: .fixed)

    static func field(
        _ name: String,
        _ type: FieldType,
        entity: String? = nil,
        personal: Bool = false,
        required: Bool = false,
        allowed: [String] = []
    ) -> FieldSchema {
        FieldSchema(
            name: name,
            path: FieldPath(keys: name.split(separator: ".").map(String.init)),
            type: type,
            isRequired: required,
            entity: entity,
            isPersonal: personal,
            allowedValues: allowed
        )
    }

    static let order = EventSchema(
        name: "order",
        topic: "orders",
        fields: [
            field("id", .string, required: true), field("ts", .timestamp, required: true),
            field("account", .string, entity: "account", personal: true, required: true),
            field("device.id", .string, entity: "device"), field("amount", .money), field("weight", .double),
            field("items", .int), field("express", .bool), field("channel", .string), field("coupons", .stringList),
            field("email", .string, personal: true), field("paid_at", .timestamp),
            field("status", .string, allowed: ["paid", "open", "cancelled"]),
        ],
        time: .field(1),
        idField: 0,
        subjectField: 2
    )

    static let click = EventSchema(
        name: "click",
        topic: "clicks",
        fields: [
            field("id", .string, required: true), field("ts", .timestamp, required: true),
            field("user", .string, entity: "account", required: true), field("item", .string, entity: "item"),
            field("device.id", .string, entity: "device"), field("position", .int),
        ],
        time: .field(1),
        idField: 0,
        subjectField: 2
    )

    /// Amounts in whatever currency another field names.
    static let transfer: EventSchema = {
        var amount = field("amount", .money)
        amount.conversion.currencyField = "currency"
        var fee = field("fee", .money)
        fee.conversion.currencyField = "fee_currency"
        var feeCurrency = field("fee_currency", .string, allowed: ["EUR"])
        feeCurrency.isClosed = true
        return EventSchema(
            name: "transfer",
            topic: "transfers",
            fields: [
                field("ts", .timestamp, required: true),
                field("account", .string, entity: "account", required: true),
                amount, field("currency", .string, allowed: ["EUR", "JPY"]), fee, feeCurrency, field("ok", .bool),
            ],
            time: .field(0),
            idField: nil,
            subjectField: 1
        )
    }()

    static let environment = environment([order, click])
    /// The same with one more event, for complaints that it makes.
    static let widerEnvironment = environment([order, click, transfer])

    private static func environment(_ events: [EventSchema]) -> RuleEnvironment {
        RuleEnvironment(
            events: events,
            signals: [
                .init(name: "ring.score", type: .double), .init(name: "ring.size", type: .int),
                .init(name: "anomaly.score", type: .double),
            ],
            maximumWindowMilliseconds: 90 * 86_400_000,
            hash: hash
        )
    }

    static func compile(_ text: String) throws -> RuleSet {
        do {
            return try RuleSet.compile([RuleSource(path: "test.weir", text: text)], in: environment)
        } catch {
            let shown = error.diagnostics.map(\.rendered).joined()
            Issue.record("\(shown)")
            throw error
        }
    }

    /// Everything `compile` complains about, as people read it.
    static func complaints(_ text: String, in environment: RuleEnvironment = widerEnvironment) -> String {
        do {
            let set = try RuleSet.compile([RuleSource(path: "test.weir", text: text)], in: environment)
            return (set.warnings + set.notices).map(\.rendered).joined()
        } catch {
            return error.diagnostics.map(\.rendered).joined()
        }
    }
}

/// A value for a row.
enum Cell {
    case int(Int64)
    case double(Double)
    case bool(Bool)
    case text(String)
    case texts([String])
}

/// One event's rows with their text.
///
/// The memory is never given back: an ``EvaluationInput`` lends pointers into it and a test may keep that longer than the rows.
final class Rows {
    private let fields: UnsafeMutablePointer<Slot>
    private let features: UnsafeMutablePointer<Slot>
    private let signals: UnsafeMutablePointer<Slot>
    private let text: UnsafeMutablePointer<UInt8>
    private let lists: UnsafeMutablePointer<Slot>
    private var textUsed = 0
    private var listUsed = 0

    init(_ schema: EventSchema, _ cells: [String: Cell], features values: [Slot] = [], signals given: [Slot] = []) {
        fields = .allocate(capacity: 128)
        fields.initialize(repeating: .missing, count: 128)
        features = .allocate(capacity: 128)
        features.initialize(repeating: .missing, count: 128)
        signals = .allocate(capacity: 8)
        signals.initialize(repeating: .missing, count: 8)
        var bytes = 1
        var elements = 1
        for cell in cells.values {
            if case .text(let value) = cell { bytes += value.utf8.count }
            guard case .texts(let values) = cell else { continue }
            elements += values.count
            bytes += values.reduce(0) { $0 + $1.utf8.count }
        }
        text = .allocate(capacity: bytes)
        lists = .allocate(capacity: elements)
        for (index, slot) in values.enumerated() { features[index] = slot }
        for (index, slot) in given.enumerated() { signals[index] = slot }
        for (name, cell) in cells {
            guard let index = schema.field(named: name) else {
                Issue.record("no field \(name)")
                continue
            }
            switch cell {
            case .int(let value): fields[index] = Slot(value)
            case .double(let value): fields[index] = Slot(value)
            case .bool(let value): fields[index] = Slot(value)
            case .text(let value): fields[index] = slot(value)
            case .texts(let values):
                let start = listUsed
                for value in values {
                    (lists + listUsed).initialize(to: slot(value))
                    listUsed += 1
                }
                fields[index] = Slot(bits: 0, aux: UInt64(start) << 32 | UInt64(values.count))
            }
        }
    }

    private func slot(_ value: String) -> Slot {
        let start = textUsed
        for byte in value.utf8 {
            text[textUsed] = byte
            textUsed += 1
        }
        return Slot(hash: Shop.hash(value), offset: start, length: textUsed - start, bank: .event)
    }

    var input: EvaluationInput {
        EvaluationInput(fields: fields, features: features, signals: signals, text: text, lists: lists)
    }
}

extension RuleSet {
    /// Per event type the indices of the features that can be read there.
    var readable: [[Int]] {
        environment.events.indices.map { event in features.indices.filter { features[$0].readers[event] != nil } }
    }
}

extension [UInt8] {
    var text: String { String(decoding: self, as: UTF8.self) }
}

/// Foundation has an `Expression` too.
typealias ParsedExpression = Expression

extension SplitMix64 {
    mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }
}
