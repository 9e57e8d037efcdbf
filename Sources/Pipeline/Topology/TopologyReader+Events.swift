import Detection
import RuleLanguage

extension TopologyReader {
    /// Names that CEL keeps for itself, so nothing that rules name can start with one.
    static let reservedWords: Set<String> = [
        "as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in", "let", "loop",
        "namespace", "null", "package", "return", "true", "var", "void", "while",
    ]
}

/// Other systems' names of the types, each with ours.
private let foreignTypes: [String: String] = [
    "integer": "int", "long": "int", "int32": "int", "int64": "int", "number": "double", "float": "double",
    "decimal": "money",
    "currency": "money", "price": "money", "str": "string", "text": "string", "varchar": "string", "boolean": "bool",
    "datetime": "timestamp", "date": "timestamp", "time": "timestamp", "list": "list<string>", "array": "list<string>",
    "list<str>": "list<string>", "[string]": "list<string>", "string[]": "list<string>",
]

extension TopologyReader {
    /// Fields of one event type: an event row has one slot for each.
    static let maximumFields = 96

    mutating func readEvents(_ node: YAMLNode?, limits: LimitSettings, hasKeyFile: Bool) -> [EventSchema] {
        guard let node, let entries = mapping(node, "'events'") else { return [] }
        if entries.isEmpty { note(node.mark, "'events' is empty", "declare at least one event type") }
        if entries.count > Self.maximumEvents {
            note(node.mark, "\(entries.count) event types, more than \(Self.maximumEvents)")
            return []
        }
        var events: [(schema: EventSchema, mark: SourceMark)] = []
        for entry in entries {
            declaredEvents.insert(entry.key)
            if !isIdentifier(entry.key) {
                note(
                    entry.mark,
                    "'\(entry.key)' is no name for an event",
                    "use letters, digits and '_', starting with a letter"
                )
            }
            if let schema = readEvent(entry, limits: limits, hasKeyFile: hasKeyFile) {
                events.append((schema, entry.mark))
            }
        }
        checkTopics(events)
        return events.map(\.schema)
    }

    private mutating func readEvent(_ entry: YAMLEntry, limits: LimitSettings, hasKeyFile: Bool) -> EventSchema? {
        let what = "event '\(entry.key)'"
        let keys = object(entry.value, of: what, keys: TopologyKeys.event)
        if case .mapping = entry.value.content {} else { return nil }
        func missing(_ key: String, _ suggestion: String, _ reader: inout TopologyReader) {
            if keys[key] == nil, !reader.misspelt.contains(key) {
                reader.note(entry.mark, "\(what) has no '\(key)'", suggestion)
            }
        }
        missing("topic", "add 'topic: NAME', the topic or input it is read from", &self)
        missing("time", "add 'time: FIELD', the timestamp field that holds the event time", &self)
        missing("subject", "add 'subject: FIELD', the field or entity that verdicts are about", &self)
        missing("fields", "add 'fields:' with one 'name: type' per line", &self)

        let topic = keys["topic"].flatMap { readTopic($0) } ?? ""
        let format = keys["format"].flatMap { word($0, "format", among: ["json", "csv"]) } ?? "json"
        let input: InputFormat = format == "csv" ? .csv : .json
        let emit = keys["emit"].flatMap { word($0, "emit", among: ["flagged", "all"]) } ?? "flagged"
        let discriminator = keys["when"].flatMap { readDiscriminator($0, what: what, format: input) }
        let declared =
            keys["fields"].map {
                readFields($0, event: entry.key, format: input, limits: limits, hasKeyFile: hasKeyFile)
            }
            ?? []
        if let path = discriminator?.path, let node = keys["when"] {
            for field in declared.map(\.schema) where field.path != path && overlap(field.path, path) {
                note(
                    node.mark,
                    "'when' and field '\(field.name)' of \(what) need '\((field.path.count < path.count ? field.path : path).joined(separator: "."))' to be a value and an object at once",
                    "name the path of a scalar, such as 'meta.type'"
                )
            }
        }
        guard keys["topic"] != nil, !declared.isEmpty, let timeNode = keys["time"], let subjectNode = keys["subject"]
        else {
            return nil
        }

        var schema = EventSchema(
            name: entry.key,
            topic: topic,
            format: input,
            discriminator: discriminator,
            fields: declared.map(\.schema),
            timeField: 0,
            idField: nil,
            subjectField: 0,
            emission: emit == "all" ? .all : .flagged
        )
        if let index = readReference(timeNode, "time", in: schema) {
            let field = schema.fields[index]
            if field.type != .timestamp {
                note(
                    timeNode.mark,
                    "the time field '\(field.name)' is \(article(field.type)), not a timestamp",
                    "declare '\(field.name): { type: timestamp, format: ms }' (or s, us, rfc3339)"
                )
            }
            require(declared[index], as: "the event time", &schema, index)
            schema.timeField = index
        }
        if let index = readReference(subjectNode, "subject", in: schema) {
            let field = schema.fields[index]
            if field.type != .string {
                note(
                    subjectNode.mark,
                    "the subject '\(field.name)' is \(article(field.type)), not a string",
                    "declare '\(field.name): { type: string, entity: \(field.entity ?? "KIND") }'"
                )
            } else if field.entity == nil {
                note(
                    subjectNode.mark,
                    "the subject '\(field.name)' names no entity",
                    "declare '\(field.name): { type: string, entity: KIND }', such as account, device or item"
                )
            }
            require(declared[index], as: "the subject", &schema, index)
            schema.subjectField = index
        }
        if let idNode = keys["id"], let index = readReference(idNode, "id", in: schema) {
            let field = schema.fields[index]
            if field.type != .string {
                note(
                    idNode.mark,
                    "the id '\(field.name)' is \(article(field.type)), not a string",
                    "declare '\(field.name): string'"
                )
            }
            schema.idField = index
        }
        if let node = keys["context"] { schema.contextFields = readContext(node, schema) }
        return schema
    }

    static let maximumContextFields = 16

    /// Indices of the fields that verdicts quote.
    private mutating func readContext(_ node: YAMLNode, _ schema: EventSchema) -> [Int] {
        var indices: [Int] = []
        for item in list(node, "context", example: "context: [amount]") {
            guard let index = readReference(item, "context", in: schema) else { continue }
            if indices.contains(index) {
                note(item.mark, "'\(schema.fields[index].name)' stands twice in 'context'", "remove one")
            }
            indices.append(index)
        }
        if indices.count > Self.maximumContextFields {
            note(node.mark, "\(indices.count) fields of context, more than \(Self.maximumContextFields)")
        }
        return indices
    }

    private mutating func require(
        _ declared: (schema: FieldSchema, mark: SourceMark, isOptional: Bool),
        as role: String,
        _ schema: inout EventSchema,
        _ index: Int
    ) {
        if declared.isOptional {
            note(
                declared.mark,
                "the field '\(declared.schema.name)' is \(role), so it cannot be optional",
                "remove 'required: false'"
            )
        }
        schema.fields[index].isRequired = true
    }

    /// The index of the field that `time`, `id` or `subject` names.
    private mutating func readReference(_ node: YAMLNode, _ key: String, in schema: EventSchema) -> Int? {
        guard let name = text(node, key) else { return nil }
        if let index = schema.field(named: name) { return index }
        // Declared, but unreadable: that has been said already.
        if unreadableFields.contains(name) { return nil }
        let ofEntity = schema.fields.filter { $0.entity == name }.map { "'\($0.name)'" }
        if ofEntity.count > 1 {
            note(
                node.mark,
                "'\(name)' is the entity of several fields of event '\(schema.name)'",
                "name one of them: \(ofEntity.joined(separator: ", "))"
            )
            return nil
        }
        var known = schema.fields.map(\.name)
        for entity in schema.fields.compactMap(\.entity) where !known.contains(entity) { known.append(entity) }
        note(
            node.mark,
            "'\(key)' names '\(name)', but event '\(schema.name)' has no such field",
            meant(name, among: known, "its fields")
        )
        return nil
    }

    private mutating func readTopic(_ node: YAMLNode) -> String? {
        guard let topic = text(node, "topic") else { return nil }
        let isLegal =
            topic.utf8.count <= 249 && topic != "." && topic != ".."
            && topic.utf8.allSatisfy { byte in
                isLetterOrDigit(byte) || byte == UInt8(ascii: ".") || byte == UInt8(ascii: "_")
                    || byte == UInt8(ascii: "-")
            }
        if !isLegal {
            note(node.mark, "'\(topic)' is no topic name", "at most 249 of a-z, A-Z, 0-9, '.', '_' and '-'")
        } else if topic.hasPrefix("weir.") {
            note(
                node.mark,
                "'\(topic)' is one of Weir's own topics",
                "topics that start with 'weir.' are written, not read"
            )
        }
        return topic
    }

    private mutating func readDiscriminator(
        _ node: YAMLNode,
        what: String,
        format: InputFormat
    ) -> (path: [String], value: String)? {
        guard let entries = mapping(node, "'when'") else { return nil }
        guard entries.count == 1 else {
            note(
                node.mark,
                "'when' of \(what) needs one path and one value, found \(entries.count)",
                "write 'when: { type: order }'"
            )
            return nil
        }
        guard let path = split(entries[0].key, format: format) else {
            note(entries[0].mark, "'\(entries[0].key)' is no path", "keys separated by dots, such as 'meta.type'")
            return nil
        }
        guard let value = text(entries[0].value, "when") else { return nil }
        return (path, value)
    }

    /// Several event types of one topic must be told apart, by one path with one value each.
    private mutating func checkTopics(_ events: [(schema: EventSchema, mark: SourceMark)]) {
        for (index, event) in events.enumerated() where !event.schema.topic.isEmpty {
            let earlier = events[..<index].filter { $0.schema.topic == event.schema.topic }
            guard let first = earlier.first else { continue }
            let topic = event.schema.topic
            if first.schema.format != event.schema.format {
                note(
                    event.mark,
                    "event '\(event.schema.name)' reads topic '\(topic)' as \(event.schema.format), "
                        + "event '\(first.schema.name)' as \(first.schema.format)",
                    "a topic has one format"
                )
            }
            guard let mine = event.schema.discriminator else {
                note(
                    event.mark,
                    "events '\(first.schema.name)' and '\(event.schema.name)' share topic '\(topic)', but '\(event.schema.name)' has no 'when'",
                    "add 'when: { PATH: VALUE }' to say which records are of this type"
                )
                continue
            }
            guard let others = first.schema.discriminator else {
                note(
                    first.mark,
                    "events '\(first.schema.name)' and '\(event.schema.name)' share topic '\(topic)', but '\(first.schema.name)' has no 'when'",
                    "add 'when: { PATH: VALUE }' to say which records are of this type"
                )
                continue
            }
            if mine.path != others.path {
                note(
                    event.mark,
                    "event '\(event.schema.name)' is told by '\(mine.path.joined(separator: "."))', "
                        + "but event '\(first.schema.name)' of the same topic by '\(others.path.joined(separator: "."))'",
                    "use the same path for all events of topic '\(topic)'"
                )
            } else if let twin = earlier.first(where: { $0.schema.discriminator?.value == mine.value }) {
                note(
                    event.mark,
                    "events '\(twin.schema.name)' and '\(event.schema.name)' have the same 'when'",
                    "give each its own value"
                )
            }
        }
    }
}

// MARK: - Fields

extension TopologyReader {
    private typealias Declared = (schema: FieldSchema, mark: SourceMark, isOptional: Bool)

    private mutating func readFields(
        _ node: YAMLNode,
        event: String,
        format: InputFormat,
        limits: LimitSettings,
        hasKeyFile: Bool
    ) -> [Declared] {
        let what = "event '\(event)'"
        unreadableFields = []
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
            for other in fields.map(\.schema) where overlap(other.path, field.schema.path) {
                let names = "fields '\(other.name)' and '\(field.schema.name)' of \(what)"
                let place = (other.path.count < field.schema.path.count ? other : field.schema).path.joined(
                    separator: "."
                )
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
        return fields
    }

    /// One path that is the start of the other: the value there would have to be a scalar and an object at once.
    func overlap(_ a: [String], _ b: [String]) -> Bool {
        a.count <= b.count ? b.starts(with: a) : a.starts(with: b)
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
        var field = FieldSchema(name: name, path: format == .csv ? [name] : parts, type: type)
        if let node = keys["path"], let path = readPath(node, format: format) { field.path = path }
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
        readBounds(keys, owner, type, &field)
        field.maximumLength = min(field.maximumLength, limits.textBytes)
        if let node = keys["max_length"] {
            if type != .string && type != .stringList {
                note(node.mark, "'max_length' of \(owner) is for strings, but it is \(article(type))")
            } else if let length = integer(node, "max_length", 1...Int64(limits.textBytes)) {
                field.maximumLength = Int(length)
            }
        }
        if let node = keys["format"] {
            if type != .timestamp {
                note(node.mark, "'format' of \(owner) is for timestamps, but it is \(article(type))")
            } else if let word = word(node, "timestamp format", among: TimeFormat.allCases.map(\.rawValue)),
                let format = TimeFormat(rawValue: word)
            {
                field.timeFormat = format
            }
        }
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

    private mutating func readPath(_ node: YAMLNode, format: InputFormat) -> [String]? {
        if case .sequence(let items) = node.content {
            let path = items.compactMap { text($0, "path") }
            if path.isEmpty || path.count > 16 || format == .csv && path.count != 1 {
                note(node.mark, format == .csv ? "'path' of a CSV field is one column" : "'path' has from 1 to 16 keys")
                return nil
            }
            return path
        }
        guard let written = text(node, "path") else { return nil }
        guard let path = split(written, format: format) else {
            note(
                node.mark,
                "'\(written)' is no path",
                "keys from the outside inwards, joined by dots; a key that holds a dot needs a list: [a, b.c]"
            )
            return nil
        }
        return path
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
        if type == .money { for _ in 0..<field.moneyScale { unit *= 10 } }
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

    /// The JSON keys of a dotted path, or the one column of a CSV path; nil when a part is empty.
    private func split(_ path: String, format: InputFormat) -> [String]? {
        if format == .csv { return [path] }
        let parts = path.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        return parts.contains("") || parts.count > 16 ? nil : parts
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

    private func isLetterOrDigit(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: false
        }
    }
}
