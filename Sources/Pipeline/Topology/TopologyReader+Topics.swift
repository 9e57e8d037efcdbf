import Detection
import RuleLanguage

extension TopologyReader {
    /// `topics:`: how the records of single topics are read.
    mutating func readTopics(_ node: YAMLNode?, events: [EventSchema]) -> [String: TopicReading] {
        guard let node, let entries = mapping(node, "'topics'") else { return [:] }
        let known = Set(events.flatMap(\.topics)).sorted()
        var readings: [String: TopicReading] = [:]
        for entry in entries {
            guard known.contains(entry.key) else {
                note(
                    entry.mark,
                    "'topics' names '\(entry.key)', which no event is read from",
                    meant(entry.key, among: known, "topics of events")
                )
                continue
            }
            let keys = object(entry.value, of: "topic '\(entry.key)'", keys: TopologyKeys.topics)
            var reading = TopicReading()
            if let node = keys["framing"], word(node, "framing", among: ["none", "registry"]) == "registry" {
                reading.isFramed = true
                if let event = events.first(where: { $0.topics.contains(entry.key) && $0.format == .csv }) {
                    note(node.mark, "'framing' is for JSON, but event '\(event.name)' of topic '\(entry.key)' is CSV")
                }
            }
            if let node = keys["ignore"] {
                for item in list(node, "ignore", example: "ignore: [other_types]") {
                    switch word(item, "kind of record", among: ["other_types", "tombstones"]) {
                    case "other_types": reading.ignoresOtherTypes = true
                    case "tombstones": reading.ignoresTombstones = true
                    default: break
                    }
                }
            }
            readings[entry.key] = reading
        }
        return readings
    }

    /// `topic:`: one name, or a list of several.
    mutating func readTopicNames(_ node: YAMLNode) -> [String] {
        var names: [String] = []
        for item in list(node, "topic", example: "topic: [orders, eu.orders]") {
            guard let name = readTopic(item) else { continue }
            if names.contains(name) { note(item.mark, "'\(name)' stands twice in 'topic'", "remove one") }
            names.append(name)
        }
        return names
    }

    /// `envelope:` and `each:` of an event, by which its paths are read from here on.
    mutating func readShape(_ keys: [String: YAMLNode], what: String, format: InputFormat) -> Envelope? {
        let envelope = keys["envelope"].flatMap { readEnvelope($0, what: what, format: format) }
        shape = RecordShape(hasEnvelope: keys["envelope"] != nil, each: nil)
        shape.each = keys["each"].flatMap {
            readEach($0, what: what, format: format, hasEnvelope: shape.hasEnvelope)
        }
        return envelope
    }

    /// Of several events in a record some field must be each one's own.
    mutating func checkElements(_ node: YAMLNode?, _ declared: [Declared], what: String) {
        guard let node, let each = shape.each,
            !declared.contains(where: { $0.schema.path.overlaps(each) })
        else { return }
        note(node.mark, "no field of \(what) reads an element", "give one a path such as '\(each)[].id'")
    }

    /// `envelope:`: what the fields of an event are wrapped in.
    mutating func readEnvelope(_ node: YAMLNode, what: String, format: InputFormat) -> Envelope? {
        if format == .csv {
            note(node.mark, "'envelope' is for JSON, but \(what) is CSV")
            return nil
        }
        guard case .mapping = node.content else {
            switch word(node, "envelope", among: ["debezium", "cloudevents"]) {
            case "debezium": return .debezium([.create, .update])
            case "cloudevents": return .cloudEvents
            default: return nil
            }
        }
        let keys = object(node, of: "'envelope'", keys: ["debezium"])
        guard let changes = keys["debezium"] else { return nil }
        var operations: Set<ChangeOperation> = []
        for item in list(changes, "debezium", example: "debezium: [create, update]") {
            let known = ChangeOperation.allCases.map(\.rawValue)
            if let operation = word(item, "change", among: known).flatMap(ChangeOperation.init) {
                operations.insert(operation)
            }
        }
        if operations.contains(.delete), operations.count > 1 {
            note(changes.mark, "deletes have no 'after'", "declare an event type of their own for them")
        }
        return operations.isEmpty ? nil : .debezium(operations)
    }

    /// `each:`: the array of whose elements each is an event.
    mutating func readEach(_ node: YAMLNode, what: String, format: InputFormat, hasEnvelope: Bool) -> FieldPath? {
        if format == .csv {
            note(node.mark, "'each' is for JSON, but \(what) is CSV", "a row of CSV is one event")
            return nil
        }
        guard let written = text(node, "each"),
            let path = path(written, at: node.mark, format: format, hasEnvelope: hasEnvelope)
        else { return nil }
        let keys = path.leadingKeys
        if path.isBeside || keys.count < path.steps.count {
            let plain = FieldPath(origin: path.isBeside ? .value : path.origin, steps: keys.map { .key($0) })
            note(
                node.mark,
                "'each' of \(what) names an array, found '\(path)'",
                keys.isEmpty ? "for example 'each: line_items'" : "write 'each: \(plain)'"
            )
            // The paths of the fields are read as is meant.
            return keys.isEmpty ? nil : plain
        }
        return path
    }
}
