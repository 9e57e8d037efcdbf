import RuleLanguage

/// A topic name with one star at its beginning or end, such as `*.orders` for the topics that a mirror makes of one in other
/// clusters.
///
/// The star stands for any text, the empty one too. Weir's own topics and those that Kafka keeps for itself (`__…`) are never
/// meant.
struct TopicPattern: Sendable, Equatable {
    let text: String
    /// What every name begins with, and ends with; one of them is empty.
    private let prefix: String
    private let suffix: String

    /// Nil where the text has no star, or another one than at its end or beginning.
    init?(_ text: String) {
        guard text.utf8.count(where: { $0 == UInt8(ascii: "*") }) == 1, text.hasPrefix("*") || text.hasSuffix("*")
        else {
            return nil
        }
        self.text = text
        prefix = text.hasSuffix("*") ? String(text.dropLast()) : ""
        suffix = text.hasSuffix("*") ? "" : String(text.dropFirst())
    }

    func matches(_ topic: String) -> Bool {
        topic.utf8.starts(with: prefix.utf8) && topic.utf8.reversed().starts(with: suffix.utf8.reversed())
            && !topic.hasPrefix("weir.") && !topic.hasPrefix("__")
    }

    /// Whether two entries under `topic:`, names or patterns, may mean the same topic.
    static func meet(_ a: String, _ b: String) -> Bool {
        switch (TopicPattern(a), TopicPattern(b)) {
        case (nil, nil): a == b
        case (let a?, nil): a.matches(b)
        case (nil, let b?): b.matches(a)
        case (let a?, let b?):
            (a.prefix.utf8.starts(with: b.prefix.utf8) || b.prefix.utf8.starts(with: a.prefix.utf8))
                && (a.suffix.utf8.reversed().starts(with: b.suffix.utf8.reversed())
                    || b.suffix.utf8.reversed().starts(with: a.suffix.utf8.reversed()))
        }
    }
}

extension TopologyDescription {
    /// The patterns among its topics: until they are bound to names, nothing is read by them.
    public var topicPatterns: [String] { topics.filter { TopicPattern($0) != nil } }

    /// The same with the names that each pattern means in its place; a pattern that means none stays as it is.
    ///
    /// The canonical text is as before: which topics there are is no matter of the topology.
    func bound(to names: [String]) -> TopologyDescription {
        var bound = self
        func meant(by topic: String) -> [String] {
            guard let pattern = TopicPattern(topic) else { return [topic] }
            let found = names.filter { pattern.matches($0) }
            return found.isEmpty ? [topic] : found
        }
        for event in bound.events.indices {
            bound.events[event].topics = Set(events[event].topics.flatMap(meant)).sorted()
        }
        bound.topics = Set(bound.events.flatMap(\.topics)).sorted()
        bound.readings = [:]
        // What is said of a name goes before what is said of a pattern.
        for (topic, reading) in readings.sorted(by: { $0.key < $1.key }) where TopicPattern(topic) != nil {
            for name in meant(by: topic) { bound.readings[name] = reading }
        }
        for (topic, reading) in readings where TopicPattern(topic) == nil { bound.readings[topic] = reading }
        return bound
    }
}
