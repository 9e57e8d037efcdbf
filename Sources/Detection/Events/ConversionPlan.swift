import Models
import RuleLanguage

/// What the converted fields of a plan may be written as, beside the strict form of their types.
///
/// A field with any ``ValueConversion`` has the kind `.converted` and its entry here, so that strict fields take no look at it.
struct ConversionPlan: ~Copyable {
    struct Entry {
        var coercions: Coercions
        var roundsDecimals: Bool
        /// Slot of the field that names the currency, or -1.
        var currencySlot: Int32
        /// Sorted, in `nullWords`.
        var firstNullWord: Int32
        var nullWordCount: Int32
        var format: Format
        /// Of a pattern, in `steps`.
        var firstStep: Int32 = 0
        var stepCount: Int32 = 0
        /// In `zones`, or -1 for UTC.
        var zone: Int32
        /// Of an amount in the minor units of its currency, in `bounds`.
        var firstBound: Int32
    }

    /// How a time is written as text.
    enum Format: UInt8 { case rfc3339, iso8601, pattern }

    /// The lowest and the highest amount, both included.
    struct Bounds {
        var minimum: Int64
        var maximum: Int64
    }

    /// Where the tables begin.
    struct Tables {
        var entries: UnsafePointer<Entry>
        /// Each as if nothing were to be converted.
        var strict: UnsafePointer<DecodePlan.Field>
        /// Hashes.
        var nullWords: UnsafePointer<UInt64>
        var steps: UnsafePointer<TimePattern.Step>
        /// Per amount with a currency: by its digits, 0 to ``CurrencyDigits/digitsMax``.
        var bounds: UnsafePointer<Bounds>
        /// Fields of amounts that wait for their currency until the record has been read, type by type.
        var amounts: UnsafePointer<Int32>
    }

    /// One.
    let tables: OwnedBuffer<Tables>
    let entries: OwnedBuffer<Entry>
    let strict: OwnedBuffer<DecodePlan.Field>
    let nullWords: OwnedBuffer<UInt64>
    let steps: OwnedBuffer<TimePattern.Step>
    let bounds: OwnedBuffer<Bounds>
    let amounts: OwnedBuffer<Int32>
    let zones: [TimeZoneTable]

    /// Marks the converted ones of the fields, and the keys and types by which they are found; tells types whose time no field
    /// holds where it comes from.
    init(
        _ schemas: [EventSchema],
        _ hash: TextHash,
        _ plan: inout PlanBuilder
    ) {
        var builder = Builder(hash: hash)
        for (type, schema) in schemas.enumerated() {
            if case .rows(let first, let step) = schema.time {
                plan.types[type].firstTime = first
                plan.types[type].timeStep = step
            }
            plan.types[type].firstAmount = Int32(builder.amounts.count)
            for (index, field) in schema.fields.enumerated() {
                let place = Int(plan.types[type].firstField) + index
                guard let entry = builder.entry(field, in: schema) else { continue }
                builder.strict.append(plan.fields[place])
                plan.fields[place].kind = .converted
                plan.fields[place].conversion = Int32(builder.entries.count)
                builder.entries.append(entry)
                if entry.currencySlot >= 0 { builder.amounts.append(Int32(place)) }
            }
            plan.types[type].amountCount = Int32(builder.amounts.count) - plan.types[type].firstAmount
        }
        for (twin, field) in plan.twins {
            plan.fields[twin].kind = plan.fields[field].kind
            plan.fields[twin].conversion = plan.fields[field].conversion
        }
        for key in plan.keys.indices where plan.keys[key].textSlot >= 0 {
            let field = plan.fields[Int(plan.keys[key].field)]
            // A text may be a null word; one in whose place a number may stand is a text like any other.
            if field.kind == .converted, builder.entries[Int(field.conversion)].nullWordCount > 0 {
                plan.keys[key].textSlot = -1
            }
        }
        entries = OwnedBuffer(builder.entries)
        strict = OwnedBuffer(builder.strict)
        nullWords = OwnedBuffer(builder.nullWords)
        steps = OwnedBuffer(builder.steps)
        bounds = OwnedBuffer(builder.bounds)
        amounts = OwnedBuffer(builder.amounts)
        zones = builder.zones
        tables = OwnedBuffer([
            Tables(
                entries: entries.base,
                strict: strict.base,
                nullWords: nullWords.base,
                steps: steps.base,
                bounds: bounds.base,
                amounts: amounts.base
            )
        ])
    }

    private struct Builder {
        let hash: TextHash
        var entries: [Entry] = []
        var strict: [DecodePlan.Field] = []
        var nullWords: [UInt64] = []
        var steps: [TimePattern.Step] = []
        var bounds: [Bounds] = []
        var amounts: [Int32] = []
        var zones: [TimeZoneTable] = []

        /// Nil for a field that is read in the strict form of its type alone.
        mutating func entry(_ field: FieldSchema, in schema: EventSchema) -> Entry? {
            let conversion = field.conversion
            let isOtherFormat =
                field.type == .timestamp && !field.timeFormat.isNumber && field.timeFormat != .rfc3339
            if conversion == .strict, !isOtherFormat { return nil }
            let currency = conversion.currencyField.flatMap { name in schema.fields.firstIndex { $0.name == name } }
            var entry = Entry(
                coercions: conversion.coercions,
                roundsDecimals: conversion.roundsDecimals,
                currencySlot: Int32(currency ?? -1),
                firstNullWord: Int32(nullWords.count),
                nullWordCount: Int32(conversion.nullWords.count),
                format: .rfc3339,
                zone: -1,
                firstBound: Int32(bounds.count)
            )
            nullWords += conversion.nullWords.map { hash($0) }.sorted()
            if currency != nil {
                var unit = 1.0
                for _ in 0...CurrencyDigits.digitsMax {
                    bounds.append(
                        Bounds(
                            minimum: field.minimum.map { Int64(clampingUp: $0 * unit) } ?? .min,
                            maximum: field.maximum.map { Int64(clampingDown: $0 * unit) } ?? .max
                        )
                    )
                    unit *= 10
                }
            }
            switch field.timeFormat {
            case .iso8601: entry.format = .iso8601
            case .pattern(let pattern):
                entry.format = .pattern
                entry.firstStep = Int32(steps.count)
                entry.stepCount = Int32(pattern.steps.count)
                steps += pattern.steps
            default: break
            }
            if let zone = conversion.zone {
                entry.zone = Int32(zones.firstIndex(of: zone) ?? zones.count)
                if entry.zone == zones.count { zones.append(zone) }
            }
            return entry
        }
    }
}
