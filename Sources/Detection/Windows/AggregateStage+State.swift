import Models
import RuleLanguage

extension AggregateStage {
    private static let groupsLayout = "window groups 1: groups u64; each: features u64; each: bytes u64, canonical text"

    /// Writes which features were opened together, and of each such group one section per slot.
    func write(to writer: inout StateWriter) {
        writer.section(StateSection(.windowGroups), layout: AggregateStage.groupsLayout) { section in
            section.put(groups.count)
            for group in groups {
                section.put(group.features.count)
                for feature in group.features { section.put(counted: Array(feature.canonical.utf8)) }
            }
        }
        for group in groups { group.write(to: &writer) }
    }

    /// Takes the place of what is here: groups of features as they were written, and a new one for what the release asks for beyond
    /// them.
    ///
    /// - Parameter beside: rule sets of features that are no longer, or not yet, asked for.
    mutating func read(from reader: StateReader, beside: [RuleSet]) throws(StateError) {
        let written = try AggregateStage.readGroups(reader)
        let rules = configuration.release.rules
        var new = rules.features
        var width = max(1, rules.featureRowWidth)
        var bound: [[Feature]] = []
        for canonicals in written {
            var features: [Feature] = []
            for canonical in canonicals {
                if let asked = new.firstIndex(where: { $0.canonical == canonical }) {
                    features.append(new.remove(at: asked))
                } else if let known = beside.lazy.flatMap(\.features).first(where: { $0.canonical == canonical }) {
                    features.append(AggregateStage.retired(known, &width))
                } else {
                    throw .otherLayout(
                        section: "the windows' state",
                        found: canonical,
                        expected: "features of the rule sets at hand"
                    )
                }
            }
            bound.append(features)
        }
        if !new.isEmpty { bound.append(new) }
        featureWidth = width
        groups = bound.map {
            WindowGroup($0, of: [rules] + beside, rowWidth: width, configuration, lanes: lanes)
        }
        for group in groups.prefix(written.count) { try group.read(from: reader) }
    }

    private static func readGroups(_ reader: StateReader) throws(StateError) -> [[String]] {
        var section = try reader.open(StateSection(.windowGroups), layout: groupsLayout)
        var groups: [[String]] = []
        for _ in 0..<(try section.takeCount("groups of windows", in: 0...1 << 16, bytesEach: 8)) {
            var features: [String] = []
            for _ in 0..<(try section.takeCount("features of a group", in: 0...1 << 16, bytesEach: 8)) {
                features.append(
                    String(decoding: try section.takeCounted("a feature", limit: 1 << 20, UInt8.self), as: UTF8.self)
                )
            }
            groups.append(features)
        }
        try section.finish()
        return groups
    }

    /// Folds all that decides later features; between epochs.
    func digest(into digest: inout UInt64) { for group in groups { group.digest(into: &digest) } }

    func checkInvariants() throws(StateError) {
        for group in groups {
            for slot in group.slots.indices { try group.slots[slot].checkInvariants() }
        }
    }
}

extension WindowGroup {
    /// A group is known by its features: each belongs to one group only.
    private var owner: String { features.map(\.canonical).joined(separator: "; ") }

    /// With the bounds that what is kept was kept under: where less is allowed, a ring or a table would stay above it for ever.
    private var layoutText: String {
        program.plan.layoutText
            + "; limits of \(slots[0].entriesPerKey) entries a key, \(slots[0].keysPerTable) keys a slot"
    }

    func write(to writer: inout StateWriter) {
        let (owner, layout) = (owner, layoutText)
        for slot in slots.indices {
            writer.section(StateSection(.windows, slot: slot, owner: owner), layout: layout) {
                slots[slot].write(to: &$0)
            }
        }
    }

    func read(from reader: StateReader) throws(StateError) {
        let (owner, layout) = (owner, layoutText)
        for slot in slots.indices {
            var section = try reader.open(StateSection(.windows, slot: slot, owner: owner), layout: layout)
            try slots[slot].read(from: &section)
            try section.finish()
        }
    }

    func digest(into digest: inout UInt64) { for slot in slots.indices { slots[slot].digest(into: &digest) } }
}
