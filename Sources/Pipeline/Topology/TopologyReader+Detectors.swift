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
                if !isIdentifier(name) {
                    note(
                        mark, "'\(name)' is no name for a detector",
                        "use letters, digits and '_', starting with a letter")
                } else if detectors.contains(where: { $0.name == name }) {
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

    mutating func readAnomaly(_ node: YAMLNode?, events: [EventSchema]) -> [AnomalySettings] {
        guard let node = object(node, of: "'models'", keys: TopologyKeys.models)["anomaly"] else { return [] }
        var item = node
        // A list of one reads the same, so that a second model can come without a new format.
        if case .sequence(let items) = node.content {
            guard items.count == 1 else {
                note(node.mark, "'anomaly' has \(items.count) models; one is supported", "keep one")
                return []
            }
            item = items[0]
        }
        let keys = object(item, of: "'anomaly'", keys: TopologyKeys.anomaly)
        guard case .mapping = item.content else { return [] }
        for (key, suggestion) in [
            ("features", "add 'features: [NAME, …]', declared features or numeric fields"),
            ("events", "add 'events: [EVENT, …]', the events that are scored"),
        ] where keys[key] == nil && !misspelt.contains(key) {
            note(item.mark, "'anomaly' has no '\(key)'", suggestion)
        }
        let indices = keys["events"].map { readEventNames($0, events, example: "events: [order]") } ?? []
        var features: [String] = []
        var marks: [SourceMark] = []
        for node in keys["features"].map({ list($0, "features", example: "features: [order_count_1h]") }) ?? [] {
            guard let name = text(node, "features") else { continue }
            if features.contains(name) { note(node.mark, "'\(name)' stands twice in 'features'", "remove one") }
            for event in indices {
                guard let index = events[event].field(named: name) else { continue }
                let field = events[event].fields[index]
                if ![.int, .double, .money, .bool].contains(field.type) {
                    note(
                        node.mark,
                        "the model needs numbers, but '\(name)' of event '\(events[event].name)' is \(article(field.type))",
                        "declare a feature that counts it, and name that")
                    break
                }
            }
            features.append(name)
            marks.append(node.mark)
        }
        if features.count > 64, let mark = keys["features"]?.mark {
            note(mark, "\(features.count) features, more than 64")
        }
        return [
            AnomalySettings(
                features: features, featureMarks: marks, events: indices,
                trees: Int(keys["trees"].flatMap { integer($0, "trees", 1...256) } ?? 25),
                depth: Int(keys["depth"].flatMap { integer($0, "depth", 1...15) } ?? 8),
                window: Int(keys["window"].flatMap { integer($0, "window", 10...1_000_000) } ?? 500), mark: item.mark)
        ]
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
