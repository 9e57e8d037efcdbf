import Detection
import RuleLanguage

/// Other systems' names of the types, each with ours.
private let foreignTypes: [String: String] = [
    "integer": "int", "long": "int", "int32": "int", "int64": "int", "number": "double", "float": "double",
    "decimal": "money",
    "currency": "money", "price": "money", "str": "string", "text": "string", "varchar": "string", "boolean": "bool",
    "datetime": "timestamp", "date": "timestamp", "time": "timestamp", "list": "list<string>", "array": "list<string>",
    "list<str>": "list<string>", "[string]": "list<string>", "string[]": "list<string>",
]

extension TopologyReader {
    typealias Declared = (schema: FieldSchema, mark: SourceMark, isOptional: Bool)

    mutating func readFields(
        _ node: YAMLNode,
        event: String,
        format: InputFormat,
        limits: LimitSettings,
        hasKeyFile: Bool
    ) -> [Declared] {
        let what = "event '\(event)'"
        unreadableFields = []
        currencyMarks = [:]
        toleranceMarks = [:]
        guard let entries = mapping(node, "'fields'") else { return [] }
        if entries.isEmpty { note(node.mark, "\(what) has no fields", "add one 'name: type' per line") }
        if entries.count > Self.maximumFields {
            note(
                node.mark,
                "\(what) has \(entries.count) fields, more than \(Self.maximumFields)",
                "declare only the fields that rules, windows and models read; others are ignored"
            )
            return []
        }
        var fields: [Declared] = []
        for entry in entries {
            guard let field = readField(entry, what: what, format: format, limits: limits, hasKeyFile: hasKeyFile)
            else {
                unreadableFields.insert(entry.key)
                continue
            }
            for other in fields.map(\.schema) where other.path.overlaps(field.schema.path) {
                let names = "fields '\(other.name)' and '\(field.schema.name)' of \(what)"
                let place = (other.path.steps.count < field.schema.path.steps.count ? other : field.schema).path
                if other.path != field.schema.path {
                    note(
                        entry.mark,
                        "\(names) need '\(place)' to be a value and an object at once",
                        "remove one, or give it another 'path'"
                    )
                } else if other.type == field.schema.type, other.entity == field.schema.entity {
                    // One value may be read twice on purpose, as another type or as another entity; the same twice is a slip.
                    note(entry.mark, "\(names) are the same value, '\(place)'", "remove one, or give it another 'path'")
                }
            }
            fieldMarks["\(event) \(field.schema.name)"] = entry.mark
            fields.append(field)
        }
        checkCurrencies(fields, what: what)
        return fields
    }

    private mutating func readField(
        _ entry: YAMLEntry,
        what: String,
        format: InputFormat,
        limits: LimitSettings,
        hasKeyFile: Bool
    ) -> Declared? {
        let name = entry.key
        let parts = name.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        if !parts.allSatisfy(isIdentifier) || name.utf8.count > 128 {
            note(
                entry.mark,
                "'\(name)' is no name for a field",
                "use letters, digits and '_', parts joined by dots; 'path' says where it stands in the input"
            )
        } else if let word = parts.first(where: { Self.reservedWords.contains($0) }) {
            note(
                entry.mark,
                "a field cannot be called '\(word)', a word of the expression language",
                "choose another name and add 'path: \(name)'"
            )
        }
        let owner = "field '\(name)'"
        let types = FieldType.allCases.map(\.rawValue).joined(separator: ", ")
        if entry.value.isEmpty {
            note(entry.mark, "\(owner) has no type", "write one of \(types) behind the colon")
            return nil
        }
        var typeNode = entry.value
        var keys: [String: YAMLNode] = [:]
        if case .mapping = entry.value.content {
            keys = object(entry.value, of: owner, keys: TopologyKeys.field)
            guard let node = keys["type"] else {
                if !misspelt.contains("type") {
                    note(entry.mark, "\(owner) has no type", "add 'type: TYPE', one of \(types)")
                }
                return nil
            }
            typeNode = node
        }
        guard let type = readType(typeNode, owner) else { return nil }
        var field = FieldSchema(name: name, path: format == .csv ? [name] : FieldPath(keys: parts), type: type)
        if let node = keys["path"], let path = readPath(node, format: format) {
            field.path = path
            check(path, at: node, of: owner, type)
        }
        if let node = keys["entity"], let entity = text(node, "entity") {
            if !isIdentifier(entity) {
                note(
                    node.mark,
                    "'\(entity)' is no name for an entity",
                    "use letters, digits and '_', such as 'account'"
                )
            }
            if ![.string, .int].contains(type) {
                note(node.mark, "\(owner) is \(article(type)); only a string or int can name an entity")
            }
            field.entity = entity
        }
        field.isRequired = keys["required"].flatMap { boolean($0, "required") } ?? false
        field.isPersonal = keys["personal"].flatMap { boolean($0, "personal") } ?? false
        field.isPseudonymised = keys["pseudonymise"].flatMap { boolean($0, "pseudonymise") } ?? false
        if field.isPseudonymised, let node = keys["pseudonymise"] {
            if type != .string && type != .stringList {
                note(node.mark, "\(owner) is \(article(type)); only text can be pseudonymised")
            } else if !hasKeyFile {
                note(
                    node.mark,
                    "\(owner) is pseudonymised, but the topology names no key file",
                    "add 'identifiers: { key_file: PATH }' at the top level"
                )
            }
        }
        readEnum(keys["enum"], owner, type, &field)
        readFaults(keys, owner, &field)
        readBounds(keys, owner, type, &field)
        field.maximumLength = min(field.maximumLength, limits.textBytes)
        if let node = keys["max_length"] {
            if type != .string && type != .stringList {
                note(node.mark, "'max_length' of \(owner) is for strings, but it is \(article(type))")
            } else if let length = integer(node, "max_length", 1...Int64(limits.textBytes)) {
                field.maximumLength = Int(length)
            }
        }
        var isFormatKnown = true
        if let node = keys["format"] {
            if type != .timestamp {
                note(node.mark, "'format' of \(owner) is for timestamps, but it is \(article(type))")
            } else if let format = readTimeFormat(node, owner) {
                field.timeFormat = format
            } else {
                isFormatKnown = false
            }
        }
        readConversion(keys, owner, &field, isFormatKnown: isFormatKnown)
        let isOptional = keys["required"] != nil && !field.isRequired
        return (field, entry.mark, isOptional)
    }

    private mutating func readType(_ node: YAMLNode, _ owner: String) -> FieldType? {
        guard let word = text(node, "type") else { return nil }
        if let type = FieldType(rawValue: word) { return type }
        let known = FieldType.allCases.map(\.rawValue)
        let suggestion =
            foreignTypes[word.lowercased()].map { "did you mean '\($0)'?" } ?? meant(word, among: known, "types")
        note(node.mark, "unknown type '\(word)' of \(owner)", suggestion)
        return nil
    }

    /// What a path gives and what the field takes must agree.
    private mutating func check(_ path: FieldPath, at node: YAMLNode, of owner: String, _ type: FieldType) {
        var (path, head) = (path, [FieldPath.Step]())
        if let each = shape.each, let inside = path.inside(elementsOf: each) {
            if inside.steps.isEmpty || inside.leadingKeys.isEmpty {
                note(node.mark, "'\(path)' is a whole element", "name a key in it, such as '\(path).id'")
            }
            (path, head) = (inside, each.steps + [.each])
        } else if let each = shape.each, each.overlaps(path), path.steps != each.steps + [.each] {
            note(
                node.mark,
                "'\(path)' reads \(each), of whose elements each is an event",
                "read the event's own element: '\(each)[].KEY'"
            )
            return
        }
        if path.hasEach, type != .stringList {
            let first = FieldPath(steps: head + path.steps.map { $0 == .each ? .index(0) : $0 })
            note(
                node.mark,
                "a path through '[]' gives a list, and \(owner) is \(article(type))",
                "declare list<string>, or name one element: '\(first)'"
            )
        }
        if path.isBeside, type == .stringList {
            note(node.mark, "'\(path)' is one value, and \(owner) is a list", "declare it as string")
        }
    }

    private mutating func readPath(_ node: YAMLNode, format: InputFormat) -> FieldPath? {
        if case .sequence(let items) = node.content {
            let path = items.compactMap { text($0, "path") }
            if path.isEmpty || path.count > FieldPath.stepsMax || format == .csv && path.count != 1 {
                note(node.mark, format == .csv ? "'path' of a CSV field is one column" : "'path' has from 1 to 16 keys")
                return nil
            }
            return FieldPath(keys: path)
        }
        guard let written = text(node, "path") else { return nil }
        return path(written, at: node.mark, format: format, hasEnvelope: shape.hasEnvelope)
    }

    private mutating func readEnum(_ node: YAMLNode?, _ owner: String, _ type: FieldType, _ field: inout FieldSchema) {
        guard let node else { return }
        guard type == .string else {
            note(
                node.mark,
                "'enum' of \(owner) is for strings, but it is \(article(type))",
                "use 'min' and 'max' for numbers"
            )
            return
        }
        for item in list(node, "enum", example: "enum: [web, app]") {
            guard let value = text(item, "enum") else { continue }
            if field.allowedValues.contains(value) {
                note(item.mark, "'\(value)' stands twice in 'enum' of \(owner)", "remove one")
            }
            field.allowedValues.append(value)
        }
    }

    /// `closed` and `on_error`.
    private mutating func readFaults(_ keys: [String: YAMLNode], _ owner: String, _ field: inout FieldSchema) {
        if let node = keys["closed"] {
            field.isClosed = boolean(node, "closed") ?? false
            if keys["enum"] == nil {
                note(node.mark, "'closed' of \(owner) needs an 'enum'", "list the texts: enum: [web, app]")
            }
        }
        if let node = keys["on_error"], let choice = word(node, "on_error", among: ["missing", "reject"]) {
            field.rejectsDamage = choice == "reject"
            if !field.rejectsDamage { toleranceMarks[field.name] = node.mark }
            if field.isRequired, !field.rejectsDamage {
                note(
                    node.mark,
                    "\(owner) is required, so 'on_error: missing' has no meaning",
                    "remove it, or 'required: true'"
                )
            }
        }
    }

    /// `scale`, `min` and `max`.
    ///
    /// Bounds of money are written as the input writes money, in major units, and kept in minor units.
    private mutating func readBounds(
        _ keys: [String: YAMLNode],
        _ owner: String,
        _ type: FieldType,
        _ field: inout FieldSchema
    ) {
        if let node = keys["scale"] {
            if type != .money {
                note(node.mark, "'scale' of \(owner) is for money, but it is \(article(type))")
            } else if let scale = integer(node, "scale", 0...8) {
                field.moneyScale = Int(scale)
            }
        }
        var unit = 1.0
        // The digits of a currency are known only where it stands.
        if type == .money, keys["currency"] == nil { for _ in 0..<field.moneyScale { unit *= 10 } }
        for key in ["min", "max"] {
            guard let node = keys[key] else { continue }
            guard [.int, .double, .money].contains(type) else {
                note(
                    node.mark,
                    "'\(key)' of \(owner) is for numbers, but it is \(article(type))",
                    type == .string && key == "max" ? "use 'max_length' to bound its bytes" : nil
                )
                continue
            }
            guard let value = number(node, key) else { continue }
            if key == "min" { field.minimum = value * unit } else { field.maximum = value * unit }
        }
        if let low = field.minimum, let high = field.maximum, low > high, let node = keys["max"] {
            note(node.mark, "'max' of \(owner) is below its 'min'")
        }
    }

    /// The path that a text means, or the one column of CSV; nil when it means none, which is noted.
    mutating func path(_ written: String, at mark: SourceMark, format: InputFormat, hasEnvelope: Bool) -> FieldPath? {
        if format == .csv { return [written] }
        do throws(FieldPathError) {
            return try FieldPath(text: written, hasEnvelope: hasEnvelope)
        } catch {
            note(mark, error.message, error.suggestion)
            return nil
        }
    }

    func article(_ type: FieldType) -> String {
        switch type {
        case .int: "an int"
        case .money: "money"
        case .stringList: "a list"
        default: "a \(type.rawValue)"
        }
    }

    func isIdentifier(_ text: String) -> Bool {
        guard let first = text.utf8.first, text.utf8.count <= 64 else { return false }
        return (isLetterOrDigit(first) || first == UInt8(ascii: "_"))
            && !(UInt8(ascii: "0")...UInt8(ascii: "9")).contains(first)
            && text.utf8.allSatisfy { isLetterOrDigit($0) || $0 == UInt8(ascii: "_") }
    }

    func isLetterOrDigit(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: false
        }
    }
}
