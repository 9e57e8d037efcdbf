import Detection
import RuleLanguage

/// What a section `values:` says for the fields below it; nil where it says nothing.
struct ValueSettings {
    var coercions: Coercions?
    var nullWords: [String]?
    var roundsDecimals: Bool?
    /// The inner nil is UTC.
    var zone: TimeZoneTable??

    /// These, where they say nothing those around.
    func over(_ outer: ValueSettings) -> ValueSettings {
        var result = self
        result.coercions = coercions ?? outer.coercions
        result.nullWords = nullWords ?? outer.nullWords
        result.roundsDecimals = roundsDecimals ?? outer.roundsDecimals
        result.zone = zone ?? outer.zone
        return result
    }
}

extension TopologyReader {
    /// A section `values:` of the file or of an event.
    mutating func readValues(_ node: YAMLNode?, of what: String) -> ValueSettings {
        readValues(object(node, of: what, keys: TopologyKeys.values))
    }

    private mutating func readValues(_ keys: [String: YAMLNode]) -> ValueSettings {
        var values = ValueSettings()
        values.coercions = keys["coerce"].flatMap { readCoercions($0) }
        values.nullWords = keys["null_values"].flatMap { readNullWords($0) }
        values.roundsDecimals = keys["decimals"].flatMap { word($0, "decimals", among: ["reject", "round"]) }
            .map { $0 == "round" }
        if let node = keys["zone"], let name = text(node, "zone") {
            if name == "UTC" {
                values.zone = .some(nil)
            } else {
                switch zones.zone(name) {
                case .success(let zone): values.zone = zone
                case .failure(let problem): note(node.mark, problem.message, problem.remedy)
                }
            }
        }
        return values
    }

    /// The items of a list that may be empty, which switches off what is said further out.
    private mutating func items(_ node: YAMLNode, _ key: String, example: String) -> [YAMLNode] {
        if case .sequence(let items) = node.content, items.isEmpty { return [] }
        return list(node, key, example: example)
    }

    private mutating func readCoercions(_ node: YAMLNode) -> Coercions {
        var coercions: Coercions = []
        for item in items(node, "coerce", example: "coerce: [numbers, ids]") {
            guard let word = word(item, "coerce", among: Coercions.words.map(\.word)) else { continue }
            for known in Coercions.words where known.word == word { coercions.insert(known.coercion) }
        }
        return coercions
    }

    private mutating func readNullWords(_ node: YAMLNode) -> [String] {
        var words: [String] = []
        let items = items(node, "null_values", example: "null_values: [\"\", \"NULL\"]")
        for item in items {
            // The empty text is one, when it is written as "".
            guard case .scalar(let word, let isQuoted) = item.content, isQuoted || !item.isEmpty else {
                note(
                    item.mark,
                    "'null_values' must be texts, found \(describe(item))",
                    "quote it: \"null\", \"\""
                )
                continue
            }
            if words.contains(word) { note(item.mark, "'\(word)' stands twice in 'null_values'", "remove one") }
            words.append(word)
        }
        if words.count > ValueConversion.nullWordsMax {
            note(node.mark, "\(words.count) null values, more than \(ValueConversion.nullWordsMax)")
        }
        return words
    }

    /// `format` of a field: a word or a pattern.
    mutating func readTimeFormat(_ node: YAMLNode, _ owner: String) -> TimeFormat? {
        guard let written = text(node, "format") else { return nil }
        if let named = TimeFormat.named.first(where: { $0.name == written }) { return named }
        guard written.contains("%") else {
            note(
                node.mark,
                "unknown timestamp format '\(written)'",
                foreignFormats[written.lowercased()].map { "did you mean '\($0)'?" }
                    ?? meant(
                        written,
                        among: TimeFormat.named.map(\.name) + ["a pattern such as \"%d.%m.%Y %H:%M\""],
                        "known"
                    )
            )
            return nil
        }
        do throws(TimePatternFault) { return .pattern(try TimePattern(written)) } catch {
            note(node.mark, "the format of \(owner) \(error.reason)", error.remedy)
            return nil
        }
    }

    /// The field's own keys before those of its event and of the file; of the latter only what means something for its type.
    ///
    /// - Parameter isFormatKnown: false: how the field's times are written could not be read, and that was told.
    mutating func readConversion(
        _ keys: [String: YAMLNode],
        _ owner: String,
        _ field: inout FieldSchema,
        isFormatKnown: Bool
    ) {
        var keys = keys
        // A zone that has no meaning is to be removed, whatever its name, and not to be corrected first.
        if let node = keys["zone"], hasNoMeaning(zone: node, owner, field, isFormatKnown) { keys["zone"] = nil }
        let own = readValues(keys)
        checkConversion(keys, own, owner, field)
        let values = own.over(eventValues)
        var conversion = ValueConversion()
        conversion.coercions = (values.coercions ?? []).intersection(Coercions.useful(for: field.type))
        conversion.nullWords = values.nullWords ?? []
        conversion.roundsDecimals = [.int, .money].contains(field.type) && values.roundsDecimals ?? false
        if field.type == .timestamp, field.timeFormat.needsZone { conversion.zone = values.zone ?? nil }
        if let node = keys["currency"], field.type == .money, let name = text(node, "currency") {
            conversion.currencyField = name
            currencyMarks[field.name] = node.mark
        }
        field.conversion = conversion
    }

    /// Whether a field of its kind has no use for a zone, which is noted.
    private mutating func hasNoMeaning(
        zone node: YAMLNode,
        _ owner: String,
        _ field: FieldSchema,
        _ isFormatKnown: Bool
    ) -> Bool {
        if field.type != .timestamp {
            note(node.mark, "'zone' of \(owner) is for timestamps, but it is \(article(field.type))")
            return true
        }
        if !isFormatKnown || field.timeFormat.needsZone { return false }
        note(
            node.mark,
            "'zone' of \(owner) has no meaning: its format '\(field.timeFormat.name)' says how far each time is from UTC",
            "remove it; it is for rfc3339, iso8601 and patterns without '%z'"
        )
        return true
    }

    /// Keys of the field itself that can have no effect.
    private mutating func checkConversion(
        _ keys: [String: YAMLNode],
        _ own: ValueSettings,
        _ owner: String,
        _ field: FieldSchema
    ) {
        if let node = keys["coerce"] {
            let useless = (own.coercions ?? []).subtracting(Coercions.useful(for: field.type))
            for known in Coercions.words where useless.contains(known.coercion) {
                let types = FieldType.allCases.filter { Coercions.useful(for: $0).contains(known.coercion) }
                note(
                    node.mark,
                    "'\(known.word)' in 'coerce' of \(owner) is for \(types.map(\.rawValue).joined(separator: ", ")), but it is \(article(field.type))",
                    "remove it"
                )
            }
        }
        if let node = keys["decimals"], ![.int, .money].contains(field.type) {
            note(node.mark, "'decimals' of \(owner) is for money and int, but it is \(article(field.type))")
        }
        if let node = keys["currency"] {
            if field.type != .money {
                note(node.mark, "'currency' of \(owner) is for money, but it is \(article(field.type))")
            } else if keys["scale"] != nil {
                note(
                    node.mark,
                    "'scale' and 'currency' of \(owner) exclude each other",
                    "remove 'scale': a currency has its own"
                )
            }
        }
    }

    /// The fields that name currencies, once all are known.
    mutating func checkCurrencies(_ fields: [Declared], what: String) {
        for field in fields.map(\.schema) {
            guard let name = field.conversion.currencyField, let mark = currencyMarks[field.name],
                !unreadableFields.contains(name)
            else { continue }
            guard let currency = fields.map(\.schema).first(where: { $0.name == name }) else {
                note(
                    mark,
                    "'currency' of field '\(field.name)' names '\(name)', but \(what) has no such field",
                    meant(name, among: fields.map(\.schema.name), "its fields")
                )
                continue
            }
            if currency.type != .string {
                note(
                    mark,
                    "the currency '\(name)' of field '\(field.name)' is \(article(currency.type)), not a string",
                    "declare '\(name): string', such as EUR"
                )
            } else if currency.isPseudonymised {
                note(
                    mark,
                    "the currency '\(name)' of field '\(field.name)' is pseudonymised, so that nobody can read it",
                    "remove 'pseudonymise'"
                )
            }
        }
    }
}

/// Other names of the formats, each with ours.
private let foreignFormats: [String: String] = [
    "iso": "iso8601", "iso-8601": "iso8601", "iso_8601": "iso8601", "rfc-3339": "rfc3339", "millis": "ms",
    "milliseconds": "ms", "epoch": "s", "unix": "s", "seconds": "s", "sec": "s", "micros": "us", "microseconds": "us",
    "date": "iso8601", "datetime": "iso8601",
]

extension Coercions {
    /// Those that a field of this type may have.
    fileprivate static func useful(for type: FieldType) -> Coercions {
        switch type {
        case .int, .double, .money, .timestamp: .numbers
        case .bool: .booleans
        case .string, .stringList: .ids
        }
    }
}
