import Detection
import RuleLanguage

extension TopologyReader {
    /// `topics:`: how the records of single topics are read.
    mutating func readTopics(_ node: YAMLNode?, events: [EventSchema]) -> [String: TopicReading] {
        guard let node, let entries = mapping(node, "'topics'") else { return [:] }
        let known = Set(events.map(\.topic)).sorted()
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
                if let event = events.first(where: { $0.topic == entry.key && $0.format == .csv }) {
                    note(node.mark, "'framing' is for JSON, but event '\(event.name)' of topic '\(entry.key)' is CSV")
                }
            }
            readings[entry.key] = reading
        }
        return readings
    }
}
