import Detection
import RuleLanguage

extension TopologyReader {
    static let maximumDetectors = 32
    /// Most models of one topology.
    static let maximumModels = 16

    /// The detectors of all kinds, kind by kind.
    mutating func readDetectors(
        _ node: YAMLNode?,
        events: [EventSchema],
        limits: LimitSettings
    ) -> [any DetectorSettings] {
        let sections = object(node, of: "'detectors'", keys: kinds.detectors.map { $0.kind })
        var detectors: [any DetectorSettings] = []
        for kind in kinds.detectors {
            guard let node = sections[kind.kind] else { continue }
            guard case .sequence(let items) = node.content, !items.isEmpty, items.count <= Self.maximumDetectors else {
                note(
                    node.mark,
                    "'\(kind.kind)' must be a list of 1 to \(Self.maximumDetectors) detectors, found \(describe(node))",
                    "start each detector with '- name: NAME'"
                )
                continue
            }
            for item in items {
                guard let detector = readDetector(item, kind, events: events, limits: limits) else { continue }
                detectors.append(detector)
            }
        }
        return detectors
    }

    private mutating func readDetector(
        _ item: YAMLNode,
        _ kind: any DetectorSettings.Type,
        events: [EventSchema],
        limits: LimitSettings
    ) -> (any DetectorSettings)? {
        let what = "a \(kind.kind) detector"
        let keys = object(item, of: what, keys: kind.keys)
        if case .mapping = item.content {} else { return nil }
        let required =
            [
                (key: "name", suggestion: "add 'name: NAME', by which rings are called"),
                (key: "events", suggestion: "add 'events: [EVENT, …]', the events it learns from"),
            ] + kind.required
        for (key, suggestion) in required where keys[key] == nil && !misspelt.contains(key) {
            note(item.mark, "\(what) has no '\(key)'", suggestion)
        }
        let name = keys["name"].flatMap { text($0, "name") } ?? ""
        if let node = keys["name"], !name.isEmpty { take(name, node.mark, of: "a detector") }
        let indices = keys["events"].map { readEventNames($0, events, example: "events: [coupon_redeemed]") } ?? []
        return kind.init(name: name, events: indices, keys: keys, schemas: events, limits: limits, reader: &self)
    }

    /// The models of all kinds, kind by kind.
    mutating func readModels(_ node: YAMLNode?, events: [EventSchema]) -> [any ModelSettings] {
        let sections = object(node, of: "'models'", keys: kinds.models.map { $0.kind })
        var models: [any ModelSettings] = []
        for kind in kinds.models {
            guard let node = sections[kind.kind] else { continue }
            var items = [node]
            if case .sequence(let list) = node.content {
                items = list
                guard (1...Self.maximumModels).contains(items.count) else {
                    note(
                        node.mark,
                        "'\(kind.kind)' must be a model or a list of 1 to \(Self.maximumModels), found \(items.count)"
                    )
                    continue
                }
            }
            for item in items {
                guard let model = readModel(item, kind, events: events, isOnly: items.count == 1) else { continue }
                models.append(model)
            }
        }
        return models
    }

    private mutating func readModel(
        _ item: YAMLNode,
        _ kind: any ModelSettings.Type,
        events: [EventSchema],
        isOnly: Bool
    ) -> (any ModelSettings)? {
        let keys = object(item, of: "'\(kind.kind)'", keys: kind.keys)
        guard case .mapping = item.content else { return nil }
        for (key, suggestion) in [
            ("features", "add 'features: [NAME, …]', declared features or numeric fields"),
            ("events", "add 'events: [EVENT, …]', the events that are scored"),
        ] where keys[key] == nil && !misspelt.contains(key) {
            note(item.mark, "'\(kind.kind)' has no '\(key)'", suggestion)
        }
        if !isOnly, keys["name"] == nil, !misspelt.contains("name") {
            note(item.mark, "one of several models has no name", "add 'name: NAME', by which rules read its score")
        }
        let name = keys["name"].flatMap { text($0, "name") } ?? (isOnly ? kind.kind : "")
        if !name.isEmpty { take(name, keys["name"]?.mark ?? item.mark, of: "a model") }
        let indices = keys["events"].map { readEventNames($0, events, example: "events: [order]") } ?? []
        let features = keys["features"].map { readFeatures($0, indices, events) } ?? []
        let inputs = ModelInputs(features: features.map(\.name), marks: features.map(\.mark), events: indices)
        return kind.init(name: name, inputs: inputs, keys: keys, reader: &self)
    }

    /// Takes a name for a detector or model: no two have the same, and rules write it before a dot, so CEL must be able to read it.
    private mutating func take(_ name: String, _ mark: SourceMark, of what: String) {
        if !isIdentifier(name) {
            note(mark, "'\(name)' is no name for \(what)", "use letters, digits and '_', starting with a letter")
        } else if Self.reservedWords.contains(name) {
            note(mark, "\(what) cannot be called '\(name)', a word of the expression language", "choose another name")
        } else if !takenNames.insert(name).inserted {
            note(mark, "a second detector or model is called '\(name)'", "give each a 'name' of its own")
        }
    }

    /// No field may be called as a signal: rules would see the field and never the ring or the score.
    mutating func checkSignals(_ signals: SignalLayout, events: [EventSchema]) {
        let names = Set(signals.declarations.map(\.name))
        for event in events {
            for field in event.fields where names.contains(field.name) {
                guard let mark = fieldMarks["\(event.name) \(field.name)"] else { continue }
                note(
                    mark,
                    "'\(field.name)' is the name of a signal",
                    "choose another name and add 'path: \(field.name)'"
                )
            }
        }
    }

    /// The inputs of a model: what is a field must be a number; what is none is looked for among the compiled features later.
    private mutating func readFeatures(
        _ node: YAMLNode,
        _ indices: [Int],
        _ events: [EventSchema]
    ) -> [(name: String, mark: SourceMark)] {
        var features: [(name: String, mark: SourceMark)] = []
        for item in list(node, "features", example: "features: [order_count_1h]") {
            guard let name = text(item, "features") else { continue }
            if features.contains(where: { $0.name == name }) {
                note(item.mark, "'\(name)' stands twice in 'features'", "remove one")
            }
            for event in indices {
                guard let index = events[event].field(named: name) else { continue }
                let field = events[event].fields[index]
                if ![.int, .double, .money, .bool].contains(field.type) {
                    note(
                        item.mark,
                        "the model needs numbers, but '\(name)' of event '\(events[event].name)' is \(article(field.type))",
                        "declare a feature that counts it, and name that"
                    )
                    break
                }
            }
            features.append((name, item.mark))
        }
        if features.count > 64 { note(node.mark, "\(features.count) features, more than 64") }
        return features
    }

    /// Indices of the events that a list names.
    private mutating func readEventNames(_ node: YAMLNode, _ events: [EventSchema], example: String) -> [Int] {
        var indices: [Int] = []
        for item in list(node, "events", example: example) {
            guard let name = text(item, "events") else { continue }
            guard let index = events.firstIndex(where: { $0.name == name }) else {
                if !declaredEvents.contains(name) {
                    note(item.mark, "no event is called '\(name)'", meant(name, among: events.map(\.name), "events"))
                }
                continue
            }
            if indices.contains(index) {
                note(item.mark, "'\(name)' stands twice in 'events'", "remove one")
            } else {
                indices.append(index)
            }
        }
        return indices
    }

    /// The name of an actor or target, after looking for its field in every event of the detector.
    mutating func readRole(_ node: YAMLNode, _ key: String, _ indices: [Int], _ events: [EventSchema])
        -> String?
    {
        guard let name = text(node, key) else { return nil }
        for event in indices.map({ events[$0] }) {
            guard let index = event.field(named: name) else {
                let ofEntity = event.fields.filter { $0.entity == name }.map(\.name)
                if ofEntity.count > 1 {
                    note(
                        node.mark,
                        "'\(name)' is the entity of several fields of event '\(event.name)'",
                        "name one of them: \(ofEntity.joined(separator: ", "))"
                    )
                } else {
                    var known = event.fields.filter { $0.type == .string }.map(\.name)
                    for entity in event.fields.compactMap(\.entity) where !known.contains(entity) {
                        known.append(entity)
                    }
                    note(
                        node.mark,
                        "the \(key) '\(name)' is neither a field nor an entity of event '\(event.name)'",
                        meant(name, among: known, "its fields")
                    )
                }
                return nil
            }
            if event.fields[index].type != .string {
                note(
                    node.mark,
                    "the \(key) '\(name)' of event '\(event.name)' is \(article(event.fields[index].type)), not a string",
                    "declare '\(event.fields[index].name)' as a string"
                )
                return nil
            }
        }
        return name
    }
}
