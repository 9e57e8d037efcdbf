/// What became of one epoch's records.
public struct EpochCounts: Sendable, Equatable {
    /// Records taken: dead letters, those that are ignored, and those that gave events.
    public var records: Int64 = 0
    /// Events judged, or found to repeat one that was.
    public var events: Int64 = 0
    public var deadLetters: Int64 = 0
    /// Records that are nobody's concern, as the topology says.
    public var ignored: Int64 = 0
    /// Of the events: judged at the watermark, as they came behind it.
    public var late: Int64 = 0
    /// Of the events: judged at the time at which the log took them, as theirs lies too far ahead of it.
    public var early: Int64 = 0
    /// Events that came behind the watermark and are not judged.
    public var setAside: Int64 = 0
    /// Of the events: those that repeat another, of which no rule was asked.
    public var duplicates: Int64 = 0
    public var verdicts: Int64 = 0
    /// Events that left no verdict; not in the journal.
    public var silent: Int64 = 0
    /// Of the events: judged at their own time behind the watermark, as nobody had waited for their source; not in the journal,
    /// which names the sources.
    public var aligned: Int64 = 0

    public init() {}

    static func += (a: inout EpochCounts, b: EpochCounts) {
        for one in journaled { a[keyPath: one.count] += b[keyPath: one.count] }
        a.silent += b.silent
        a.aligned += b.aligned
    }

    /// The same without what the journal does not name.
    var asJournaled: EpochCounts {
        var counts = self
        counts.silent = 0
        counts.aligned = 0
        return counts
    }

    /// What a count follows from, given the cuts that the journal names.
    enum Cause: Sendable {
        /// The inputs alone.
        case inputs
        /// How the topology reads them.
        case topology
        /// The release too, and where a table was full the hash key.
        case release
    }

    /// One count as the journal names it.
    struct Journaled: Sendable {
        var key: StaticString
        /// What people call the things that are counted.
        var words: String
        var count: any WritableKeyPath<EpochCounts, Int64> & Sendable
        /// Whether a record leaves it out where it is 0.
        var isOptional = false
        /// What it follows from.
        var cause = Cause.topology
    }

    /// All that the journal names, in its order.
    static let journaled = [
        Journaled(key: "records", words: "records", count: \.records, cause: .inputs),
        Journaled(key: "events", words: "events", count: \.events),
        Journaled(key: "dead_letters", words: "dead letters", count: \.deadLetters),
        Journaled(key: "ignored", words: "ignored records", count: \.ignored, isOptional: true),
        Journaled(key: "late", words: "late events", count: \.late),
        Journaled(key: "early", words: "early events", count: \.early, isOptional: true),
        Journaled(key: "set_aside", words: "events set aside", count: \.setAside, isOptional: true),
        Journaled(key: "duplicates", words: "duplicates", count: \.duplicates, isOptional: true, cause: .release),
        Journaled(key: "verdicts", words: "verdicts", count: \.verdicts, cause: .release),
    ]
}
