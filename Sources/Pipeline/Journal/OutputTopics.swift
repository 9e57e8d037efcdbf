/// The topics Weir writes.
public enum OutputTopics {
    public static let verdicts = "weir.verdicts"
    public static let rings = "weir.rings"
    public static let deadLetters = "weir.dead-letters"
    public static let late = "weir.late"
    public static let journal = "weir.journal"

    /// In the order of the indices below.
    public static let all = [verdicts, rings, deadLetters, late, journal]
    static let verdictsIndex = 0
    static let ringsIndex = 1
    static let deadLettersIndex = 2
    static let lateIndex = 3
    static let journalIndex = 4

    /// The journal is the truth about what was done: it must not expire before the inputs it names.
    static let journalKept = ["cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"]

    /// What `weir run` makes when it is missing; `partitions` is for the verdicts.
    public static func requirements(partitions: Int) -> [TopicRequirement] {
        let append = ["message.timestamp.type": "LogAppendTime"]
        let compacted = ["cleanup.policy": "compact", "message.timestamp.type": "LogAppendTime"]
        return [
            TopicRequirement(name: verdicts, partitions: partitions, settings: append),
            TopicRequirement(name: rings, partitions: 1, settings: compacted),
            TopicRequirement(name: deadLetters, partitions: 1, settings: append),
            TopicRequirement(name: late, partitions: 1, settings: append),
            TopicRequirement(name: journal, partitions: 1, settings: journalKept.merging(append) { $1 }),
        ]
    }
}
