import RuleLanguage

/// What never changes of a rule's entry among the reasons, rendered once.
extension VerdictWriter {
    /// From the brace to the opening quote of `text`.
    ///
    /// - Parameter asksForReview: of a rule that could not be decided and says `missing review`: it asks for a review, whatever it
    ///   would do when fired, and adds nothing to the score.
    static func head(of rule: Rule, asksForReview: Bool) -> String {
        var head = "{\"rule\":\"\(rule.id)\",\"version\":\"\(rule.version)\",\"title\":\"\(escaped(rule.title))\""
        if let owner = rule.owner { head += ",\"owner\":\"\(escaped(owner))\"" }
        if let ticket = rule.ticket { head += ",\"ticket\":\"\(escaped(ticket))\"" }
        head += ",\"mode\":\"\(rule.mode.rawValue)\""
        if let decision = asksForReview ? .review : rule.decision { head += ",\"decision\":\"\(decision.name)\"" }
        head += ",\"weight\":\(asksForReview ? 0 : rule.scoreWeight),\"severity\":\"\(rule.severity.rawValue)\""
        if !rule.tags.isEmpty {
            head += ",\"tags\":[" + rule.tags.map { "\"\(escaped($0))\"" }.joined(separator: ",") + "]"
        }
        return head + ",\"text\":\""
    }

    /// From behind `values` to the closing brace.
    static func tail(of rule: Rule) -> String {
        let actions = rule.actions.compactMap { action -> String? in
            switch action {
            case .challenge(let kind): "{\"challenge\":\"\(escaped(kind))\"}"
            case .tag(let tag): "{\"tag\":\"\(escaped(tag))\"}"
            case .queue(let queue): "{\"queue\":\"\(escaped(queue))\"}"
            case .allow, .block, .review, .score: nil
            }
        }
        return actions.isEmpty ? "}" : ",\"actions\":[\(actions.joined(separator: ","))]}"
    }

    static func escaped(_ text: String) -> String {
        var buffer = ByteBuffer(capacity: 64)
        buffer.appendEscaped(text)
        return String(decoding: buffer.bytes, as: UTF8.self)
    }
}
