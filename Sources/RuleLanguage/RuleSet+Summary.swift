extension RuleSet {
    /// What `weir check` prints: every feature with its window and memory, every rule with what it reads and does.
    ///
    /// Stable: the same rules give the same text. Memory is an estimate for one key, with the part that grows by events in the window named.
    public var summary: String {
        var text = ""
        if !features.isEmpty {
            text += "features\n"
            for feature in features {
                text += "  \(feature.name): \(shown(feature))\n"
                text += "    state per key: \(feature.stateEstimate.text)"
                let readers = environment.events.indices.filter { feature.readers[$0] != nil }
                text += "; read on \(readers.map { environment.events[$0].name }.joined(separator: ", "))\n"
            }
        }
        if !rules.isEmpty { text += "rules\n" }
        for rule in rules {
            text += "  \(rule.id) \(rule.version) \(rule.mode.rawValue) \(rule.severity.rawValue): \(rule.title)\n"
            text += "    on \(rule.events.map { environment.events[$0].name }.joined(separator: ", "))\n"
            let names = rule.features.map {
                features[$0].name + " over " + Literals.durationText(features[$0].windowMilliseconds)
            }
            if !names.isEmpty { text += "    reads \(names.joined(separator: ", "))\n" }
            text += "    then \(rule.actions.map(\.shown).joined(separator: ", "))\n"
            let steps = bodies[rules.firstIndex { $0.id == rule.id } ?? 0].map(\.judgement.count).max() ?? 0
            let fixed = rule.features.reduce(0) { $0 + features[$1].stateEstimate.fixed }
            let growing = rule.features.reduce(0) { $0 + features[$1].stateEstimate.perEvent }
            text += "    cost: \(steps) instructions at most, loops apart"
            text +=
                rule.features.isEmpty ? "\n" : "; state \(fixed) bytes per key + \(growing) per event in its windows\n"
        }
        text += "policy \(policy.name): "
        let steps = policy.thresholds.map { "\($0.decision.name) at \($0.score)" }
        text += (steps.isEmpty ? "no thresholds" : steps.joined(separator: ", ")) + ", cap \(policy.cap)\n"
        return text
    }

    private func shown(_ feature: Feature) -> String {
        // The canonical text ends in milliseconds, which people read badly.
        let exact = "over \(feature.windowMilliseconds)ms"
        guard let range = feature.canonical.firstRange(of: exact) else { return feature.canonical }
        return feature.canonical.replacingCharacters(
            in: range, with: "over \(Literals.durationText(feature.windowMilliseconds))")
    }
}

extension Feature {
    /// Estimated bytes of state: for a key, and for each event in its window.
    ///
    /// Every entry keeps its time (8 bytes); all functions but `count` keep a value besides (8 bytes, texts of `first` and `last` 80); `distinct`
    /// also keeps a table of values (24).
    public var stateEstimate: (fixed: Int, perEvent: Int, text: String) {
        let perEvent: Int =
            switch function {
            case .count: 8
            case .sum, .avg, .min, .max: 16
            case .distinct: 40
            case .first, .last: resultType == .string ? 88 : 16
            }
        return (64, perEvent, "64 bytes + \(perEvent) per event in the window")
    }
}

extension RuleAction {
    /// The action as rules write it.
    public var shown: String {
        switch self {
        case .allow: "allow"
        case .block: "block"
        case .review: "review"
        case .challenge(let name): "challenge \"\(name)\""
        case .tag(let name): "tag \"\(name)\""
        case .score(let points): "score \(points < 0 ? "-" : "+")\(points.magnitude)"
        case .queue(let name): "queue \"\(name)\""
        }
    }
}

extension String {
    /// The first place of `part`, compared by bytes.
    fileprivate func firstRange(of part: String) -> Range<String.Index>? {
        var start = startIndex
        while start < endIndex {
            if self[start...].hasPrefix(part) { return start..<index(start, offsetBy: part.count) }
            start = index(after: start)
        }
        return nil
    }

    fileprivate func replacingCharacters(in range: Range<String.Index>, with other: String) -> String {
        String(self[..<range.lowerBound]) + other + String(self[range.upperBound...])
    }
}
