import Detection
import RuleLanguage

extension TopologyReader {
    /// Names that CEL keeps for itself, so nothing that rules name can start with one.
    static let reservedWords: Set<String> = [
        "as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in", "let", "loop",
        "namespace", "null", "package", "return", "true", "var", "void", "while",
    ]
}

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

        let topics = keys["topic"].map { readTopicNames($0) } ?? []
        let format = keys["format"].flatMap { word($0, "format", among: ["json", "csv"]) }
        let input: InputFormat = format == "csv" || format == nil && keys["csv"] != nil ? .csv : .json
        let emit = keys["emit"].flatMap { word($0, "emit", among: ["flagged", "all"]) } ?? "flagged"
        let envelope = readShape(keys, what: what, format: input)
        let discriminator = keys["when"].flatMap { readDiscriminator($0, what: what, format: input) }
        let own = readValues(keys["values"], of: "'values' of \(what)")
        eventValues = own.over(values)
        let declared =
            keys["fields"].map {
                readFields($0, event: entry.key, format: input, limits: limits, hasKeyFile: hasKeyFile)
            }
            ?? []
        checkElements(keys["each"], declared, what: what)
        if let path = discriminator?.path, let node = keys["when"] {
            for field in declared.map(\.schema) where field.path != path && field.path.overlaps(path) {
                note(
                    node.mark,
                    "'when' and field '\(field.name)' of \(what) need '\(field.path.steps.count < path.steps.count ? field.path : path)' to be a value and an object at once",
                    "name the path of a scalar, such as 'meta.type'"
                )
            }
        }
        let csv = readCSV(keys["csv"], what: what, format: input)
        checkColumns(keys["csv"], csv, declared, keys["when"], discriminator?.path)
        guard keys["topic"] != nil, !declared.isEmpty, let timeNode = keys["time"], let subjectNode = keys["subject"]
        else {
            return nil
        }

        var schema = EventSchema(
            name: entry.key,
            topic: topics.first ?? "",
            format: input,
            csv: csv,
            discriminator: discriminator,
            envelope: envelope,
            each: shape.each,
            fields: declared.map(\.schema),
            time: .field(0),
            idField: nil,
            subjectField: 0,
            emission: emit == "all" ? .all : .flagged
        )
        if !topics.isEmpty { schema.topics = topics }
        readEventTime(timeNode, declared, &schema)
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
        if let node = keys["dedupe"] { schema.dedupe = readDedupe(node, schema) }
        return schema
    }

    /// A field, `append`, or `{ from: DAY, every: DURATION }`.
    private mutating func readEventTime(_ node: YAMLNode, _ declared: [Declared], _ schema: inout EventSchema) {
        if case .mapping = node.content {
            let keys = object(node, of: "'time' of event '\(schema.name)'", keys: TopologyKeys.eventTime)
            for key in TopologyKeys.eventTime where keys[key] == nil && !misspelt.contains(key) {
                note(
                    node.mark,
                    "'time' of event '\(schema.name)' has no '\(key)'",
                    "write 'time: { from: 2020-01-01, every: 1s }'"
                )
            }
            let first = keys["from"].flatMap { date($0, "from") }
            let step = keys["every"].flatMap { duration($0, "every", 1...(366 * 86_400_000)) }
            if let first, let step { schema.time = .rows(from: first, every: step) }
            return
        }
        if case .scalar("append", _) = node.content, schema.field(named: "append") == nil {
            schema.time = .append
            return
        }
        guard let index = readReference(node, "time", in: schema) else { return }
        let field = schema.fields[index]
        if field.type != .timestamp {
            note(
                node.mark,
                "the time field '\(field.name)' is \(article(field.type)), not a timestamp",
                "declare '\(field.name): { type: timestamp, format: ms }' (or s, us, rfc3339, iso8601)"
            )
        }
        require(declared[index], as: "the event time", &schema, index)
        schema.time = .field(index)
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
        let name = declared.schema.name
        if let mark = toleranceMarks[name], !declared.schema.isRequired {
            note(
                mark,
                "the field '\(name)' is \(role), and an event without it cannot be judged: 'on_error: missing' has no meaning",
                "remove it"
            )
        }
        schema.fields[index].isRequired = true
    }

    /// The index of the field that `time`, `id` or `subject` names.
    mutating func readReference(_ node: YAMLNode, _ key: String, in schema: EventSchema) -> Int? {
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

    mutating func readTopic(_ node: YAMLNode) -> String? {
        guard let topic = text(node, "topic") else { return nil }
        let isPattern = TopicPattern(topic) != nil
        let isLegal =
            topic.utf8.count <= 249 && topic != "." && topic != ".."
            && topic.utf8.allSatisfy { byte in
                isLetterOrDigit(byte) || byte == UInt8(ascii: ".") || byte == UInt8(ascii: "_")
                    || byte == UInt8(ascii: "-") || (isPattern && byte == UInt8(ascii: "*"))
            }
        if topic == "*" {
            note(node.mark, "'*' means every topic there is", "say how their names begin or end, such as '*.orders'")
        } else if topic.contains("*"), !isPattern {
            note(
                node.mark,
                "'\(topic)' is no pattern of topics",
                "one star, at the beginning or the end, such as '*.orders'"
            )
        } else if !isLegal {
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
    ) -> (path: FieldPath, value: String)? {
        guard let entries = mapping(node, "'when'") else { return nil }
        guard entries.count == 1 else {
            note(
                node.mark,
                "'when' of \(what) needs one path and one value, found \(entries.count)",
                "write 'when: { type: order }'"
            )
            return nil
        }
        guard
            let path = path(entries[0].key, at: entries[0].mark, format: format, hasEnvelope: shape.hasEnvelope),
            let value = text(entries[0].value, "when")
        else { return nil }
        if path.steps.contains(where: { if case .key = $0 { false } else { true } }) {
            note(
                entries[0].mark,
                "'when' reads '\(path)', and an element of an array tells no type",
                "name the path of a scalar, such as 'meta.type'"
            )
        }
        return (path, value)
    }

    /// Several event types of one topic must be told apart, by one path with one value each.
    private mutating func checkTopics(_ events: [(schema: EventSchema, mark: SourceMark)]) {
        for (index, event) in events.enumerated() {
            // Of several topics that two share, the first one tells.
            func isShared(_ topic: String, _ other: EventSchema) -> Bool {
                other.topics.contains { TopicPattern.meet($0, topic) }
            }
            let topic = event.schema.topics.first { topic in
                !topic.isEmpty && events[..<index].contains { isShared(topic, $0.schema) }
            }
            guard let topic else { continue }
            let earlier = events[..<index].filter { isShared(topic, $0.schema) }
            guard let first = earlier.first else { continue }
            if first.schema.format != event.schema.format {
                note(
                    event.mark,
                    "event '\(event.schema.name)' reads topic '\(topic)' as \(event.schema.format), "
                        + "event '\(first.schema.name)' as \(first.schema.format)",
                    "a topic has one format"
                )
            } else if first.schema.csv != event.schema.csv {
                note(
                    event.mark,
                    "events '\(first.schema.name)' and '\(event.schema.name)' share topic '\(topic)', but not how its CSV is written",
                    "give both the same 'csv:'"
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
            if event.schema.places(of: mine.path) != first.schema.places(of: others.path) {
                note(
                    event.mark,
                    "event '\(event.schema.name)' is told by '\(mine.path)', "
                        + "but event '\(first.schema.name)' of the same topic by '\(others.path)'",
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
