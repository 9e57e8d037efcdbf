import Detection
import RuleLanguage

extension TopologyReader {
    static let maximumDetectors = 32

    mutating func readLockstep(_ node: YAMLNode?, events: [EventSchema], limits: LimitSettings) -> [LockstepSettings] {
        guard let node = object(node, of: "'detectors'", keys: TopologyKeys.detectors)["lockstep"] else { return [] }
        guard case .sequence(let items) = node.content, !items.isEmpty, items.count <= Self.maximumDetectors else {
            note(
                node.mark,
                "'lockstep' must be a list of 1 to \(Self.maximumDetectors) detectors, found \(describe(node))",
                "start each detector with '- name: NAME'")
            return []
        }
        var detectors: [LockstepSettings] = []
        for item in items {
            let keys = object(item, of: "a lockstep detector", keys: TopologyKeys.lockstep)
            if case .mapping = item.content {} else { continue }
            for (key, suggestion) in [
                ("name", "add 'name: NAME', by which rings are called"),
                ("events", "add 'events: [EVENT, …]', the events whose actors move in lockstep"),
                ("actor", "add 'actor: ENTITY', who acts, such as account"),
                ("target", "add 'target: ENTITY', what is acted upon, such as item"),
                ("window", "add 'window: 6h', within which the same actions count as together"),
            ] where keys[key] == nil && !misspelt.contains(key) {
                note(item.mark, "a lockstep detector has no '\(key)'", suggestion)
            }
            let name = keys["name"].flatMap { text($0, "name") } ?? ""
            if let mark = keys["name"]?.mark, !name.isEmpty {
                checkSignalName(name, mark, of: "a detector")
                if detectors.contains(where: { $0.name == name }) {
                    note(mark, "two lockstep detectors are called '\(name)'", "give each its own name")
                }
            }
            let indices = keys["events"].map { readEventNames($0, events, example: "events: [coupon_redeemed]") } ?? []
            let actor = keys["actor"].flatMap { readRole($0, "actor", indices, events) } ?? ""
            let target = keys["target"].flatMap { readRole($0, "target", indices, events) } ?? ""
            if !actor.isEmpty, let node = keys["target"],
                let event = indices.first(where: { events[$0].field(named: actor) == events[$0].field(named: target) })
            {
                note(node.mark, "actor and target are the same field of event '\(events[event].name)'")
            }
            let window = keys["window"].flatMap { duration($0, "window", 1000...limits.windowMilliseconds) } ?? 0
            let actors = keys["minimum_actors"].flatMap { integer($0, "minimum_actors", 2...100_000) } ?? 3
            let targets = keys["minimum_targets"].flatMap { integer($0, "minimum_targets", 1...100_000) } ?? 2
            detectors.append(
                LockstepSettings(
                    name: name, events: indices, actor: actor, target: target, windowMilliseconds: window,
                    minimumActors: Int(actors), minimumTargets: Int(targets), mark: item.mark))
        }
        return detectors
    }

    /// Most models of one topology.
    static let maximumModels = 16

    /// Rules write the name before a dot, so it must be one that CEL can read.
    private mutating func checkSignalName(_ name: String, _ mark: SourceMark, of what: String) {
        if !isIdentifier(name) {
            note(mark, "'\(name)' is no name for \(what)", "use letters, digits and '_', starting with a letter")
        } else if Self.reservedWords.contains(name) {
            note(mark, "\(what) cannot be called '\(name)', a word of the expression language", "choose another name")
        }
    }

    /// No field may be called as a signal: rules would see the field and never the ring or the score.
    mutating func checkSignals(_ signals: SignalLayout, events: [EventSchema]) {
        let names = Set(signals.declarations.map(\.name))
        for event in events {
            for field in event.fields where names.contains(field.name) {
                guard let mark = fieldMarks["\(event.name) \(field.name)"] else { continue }
                note(
                    mark, "'\(field.name)' is the name of a signal", "choose another name and add 'path: \(field.name)'"
                )
            }
        }
    }

    mutating func readAnomaly(_ node: YAMLNode?, events: [EventSchema], detectors: [LockstepSettings])
        -> [AnomalySettings]
    {
        guard let node = object(node, of: "'models'", keys: TopologyKeys.models)["anomaly"] else { return [] }
        var items = [node]
        if case .sequence(let list) = node.content {
            items = list
            guard (1...Self.maximumModels).contains(items.count) else {
                note(
                    node.mark, "'anomaly' must be a model or a list of 1 to \(Self.maximumModels), found \(items.count)"
                )
                return []
            }
        }
        var models: [AnomalySettings] = []
        for item in items {
            guard let model = readModel(item, events: events, isOnly: items.count == 1) else { continue }
            if detectors.contains(where: { $0.name == model.name }) || models.contains(where: { $0.name == model.name })
            {
                note(
                    model.mark, "a second detector or model is called '\(model.name)'",
                    "add 'name: NAME' with a name of its own, by which rules read its score")
            }
            models.append(model)
        }
        return models
    }

    private mutating func readModel(_ item: YAMLNode, events: [EventSchema], isOnly: Bool) -> AnomalySettings? {
        let keys = object(item, of: "'anomaly'", keys: TopologyKeys.anomaly)
        guard case .mapping = item.content else { return nil }
        for (key, suggestion) in [
            ("features", "add 'features: [NAME, …]', declared features or numeric fields"),
            ("events", "add 'events: [EVENT, …]', the events that are scored"),
        ] where keys[key] == nil && !misspelt.contains(key) {
            note(item.mark, "'anomaly' has no '\(key)'", suggestion)
        }
        if !isOnly, keys["name"] == nil, !misspelt.contains("name") {
            note(item.mark, "one of several models has no name", "add 'name: NAME', by which rules read its score")
        }
        let name = keys["name"].flatMap { text($0, "name") } ?? (isOnly ? "anomaly" : "")
        if let node = keys["name"], !name.isEmpty { checkSignalName(name, node.mark, of: "a model") }
        let indices = keys["events"].map { readEventNames($0, events, example: "events: [order]") } ?? []
        let features = keys["features"].map { readFeatures($0, indices, events) } ?? []
        return AnomalySettings(
            name: name, features: features.map(\.name), featureMarks: features.map(\.mark), events: indices,
            trees: Int(keys["trees"].flatMap { integer($0, "trees", 1...256) } ?? 25),
            depth: Int(keys["depth"].flatMap { integer($0, "depth", 1...15) } ?? 8),
            window: Int(keys["window"].flatMap { integer($0, "window", 10...1_000_000) } ?? 500),
            mark: keys["name"]?.mark ?? item.mark)
    }

    /// The inputs of a model: what is a field must be a number; what is none is looked for among the compiled features later.
    private mutating func readFeatures(
        _ node: YAMLNode, _ indices: [Int], _ events: [EventSchema]
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
                        "declare a feature that counts it, and name that")
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
    private mutating func readRole(_ node: YAMLNode, _ key: String, _ indices: [Int], _ events: [EventSchema])
        -> String?
    {
        guard let name = text(node, key) else { return nil }
        for event in indices.map({ events[$0] }) {
            guard let index = event.field(named: name) else {
                let ofEntity = event.fields.filter { $0.entity == name }.map(\.name)
                if ofEntity.count > 1 {
                    note(
                        node.mark, "'\(name)' is the entity of several fields of event '\(event.name)'",
                        "name one of them: \(ofEntity.joined(separator: ", "))")
                } else {
                    var known = event.fields.filter { $0.type == .string }.map(\.name)
                    for entity in event.fields.compactMap(\.entity) where !known.contains(entity) {
                        known.append(entity)
                    }
                    note(
                        node.mark, "the \(key) '\(name)' is neither a field nor an entity of event '\(event.name)'",
                        meant(name, among: known, "its fields"))
                }
                return nil
            }
            if event.fields[index].type != .string {
                note(
                    node.mark,
                    "the \(key) '\(name)' of event '\(event.name)' is \(article(event.fields[index].type)), not a string",
                    "declare '\(event.fields[index].name)' as a string")
                return nil
            }
        }
        return name
    }
}
