/// What a log says, at one moment, of the worker that judges it: for whoever looks from outside.
///
/// It follows from the journal, the committed positions and the ends of the inputs alone; looking joins no group, commits nothing
/// and needs no worker. A worker leaves a trace only when it commits: two looks a few seconds apart tell one that works from one
/// that does not, as long as there is something to do. See ``state(since:limit:)``.
public struct LogStanding: Sendable, Equatable {
    /// One partition of an input topic.
    public struct Input: Sendable, Equatable {
        public var source: TopicPartition
        /// The first offset still there.
        public var start: Int64
        /// Behind the last committed record.
        public var end: Int64
        /// The offset behind the last one judged; nil: nobody has taken anything of it.
        public var judged: Int64?
        /// When the log took the first record that waits, or its producer made it, milliseconds since 1970; nil: unknown, or none
        /// waits.
        public var oldest: Int64?
        /// Whether a record lies between `judged` and `end`, and not only the marks of transactions.
        public var waits: Bool
        /// The offset from which on a transaction that is still open holds back what came; nil: none does.
        public var heldFrom: Int64?
        /// How many offsets it holds back.
        public var held: Int64

        public init(
            _ source: TopicPartition,
            start: Int64,
            end: Int64,
            judged: Int64?,
            waits: Bool,
            oldest: Int64? = nil,
            heldFrom: Int64? = nil,
            held: Int64 = 0
        ) {
            self.source = source
            self.start = start
            self.end = end
            self.judged = judged
            self.waits = waits
            self.oldest = oldest
            self.heldFrom = heldFrom
            self.held = held
        }

        /// Records that wait, as far as offsets tell.
        public var lag: Int64 { waits ? max(0, end - max(judged ?? start, start)) : 0 }
        /// Whether it holds records and no epoch has taken any: it was added since the worker's start.
        public var isUnread: Bool { judged == nil && waits }
        /// Offsets that are gone and were not judged.
        public var lost: Int64 { judged.map { max(0, start - $0) } ?? 0 }
    }

    /// What two looks tell together.
    public enum State: String, Sendable, CaseIterable {
        /// A worker commits, and nothing waits for long.
        case judging
        /// All is judged, and nobody knows whether a worker runs: one that has nothing to do leaves no trace.
        case idle
        /// A worker commits, and what waits becomes more, or has waited for long.
        case behind
        /// Partitions hold records that the worker does not read.
        case unread
        /// What waits is not committed: no worker runs, or one still recovers, or hangs.
        case stopped
        /// Nothing was committed between the looks, and what waits has not waited for long.
        case unclear
        /// Nothing was ever judged.
        case neverRan = "never_ran"
        /// Records were deleted before they were judged.
        case lost
    }

    /// When it was looked, milliseconds since 1970.
    public var milliseconds: Int64
    /// The journal's last record; nil: there is none.
    public var newest: JournalRecord?
    /// When the log took it.
    public var committed: Int64?
    /// In their order.
    public var inputs: [Input]

    public init(milliseconds: Int64, newest: JournalRecord?, committed: Int64?, inputs: [Input]) {
        self.milliseconds = milliseconds
        self.newest = newest
        self.committed = committed
        self.inputs = inputs
    }

    /// A commit so recent that a worker was there.
    public static let recent: Int64 = 60_000
    /// What waits for so long would have been judged by a worker that runs.
    public static let patience = Int64(WorkerSignals.patience * 1000)

    public var lag: Int64 { inputs.reduce(0) { $0 + $1.lag } }
    public var isWaiting: Bool { inputs.contains(where: \.waits) }
    /// How long the oldest record waits that is not judged, milliseconds; nil: none waits, or its time is unknown.
    public var oldestWait: Int64? {
        inputs.compactMap { $0.waits ? $0.oldest : nil }.min().map { max(0, milliseconds - $0) }
    }
    /// Partitions that the worker does not read.
    public var unread: [TopicPartition] { newest == nil ? [] : inputs.filter(\.isUnread).map(\.source) }

    /// Whether a second look is needed to say anything: where nothing waits and nothing is held back one is enough.
    public var isOpen: Bool { newest != nil && (isWaiting || inputs.contains { $0.heldFrom != nil }) }

    /// What this look tells, together with an earlier one of the same log.
    ///
    /// - Parameters:
    ///   - before: the earlier look, or this one where it is not ``isOpen``.
    ///   - limit: what waits for longer than so many milliseconds makes a worker ``State/behind``.
    public func state(since before: LogStanding, limit: Int64 = LogStanding.recent) -> State {
        if inputs.contains(where: { $0.lost > 0 }) { return .lost }
        guard let newest else { return .neverRan }
        let unread = !unread.isEmpty
        let waiting = inputs.filter { $0.waits && !$0.isUnread }
        if waiting.isEmpty {
            if unread { return .unread }
            return milliseconds - (committed ?? .min / 2) <= LogStanding.recent ? .judging : .idle
        }
        let moved =
            newest.epoch != before.newest?.epoch
            || zip(inputs, before.inputs).contains { $0.source == $1.source && $0.judged != $1.judged }
        let wait = waiting.compactMap(\.oldest).min().map { max(0, milliseconds - $0) }
        guard moved else { return wait ?? .max >= LogStanding.patience ? .stopped : .unclear }
        if unread { return .unread }
        return lag > before.lag || wait ?? 0 > limit ? .behind : .judging
    }

    /// Partitions whose end was held back by one and the same transaction at both looks.
    public func held(since before: LogStanding) -> [Input] {
        inputs.filter { input in
            input.heldFrom != nil
                && before.inputs.contains { $0.source == input.source && $0.heldFrom == input.heldFrom }
        }
    }
}

extension LogStanding {
    /// Looks at a log.
    ///
    /// Costs a question or two to the log per partition, one record of each partition that is behind, and where positions were
    /// never committed, or forgotten, a pass over the journal.
    ///
    /// - Parameters:
    ///   - log: opened under the application whose positions count.
    ///   - topics: what the topology reads; those that do not exist are passed over.
    ///   - taken: where the journal's ranges end, for who has read it; nil: is read if needed.
    ///   - now: milliseconds since 1970.
    public static func look(
        at log: any EventLog,
        topics: [String],
        taken: [TopicPartition: Int64]? = nil,
        now: Int64
    ) throws(LogError) -> LogStanding {
        var sources: [TopicPartition] = []
        for topic in topics {
            for partition in try log.partitions(of: topic) ?? [] { sources.append(TopicPartition(topic, partition)) }
        }
        // The positions first: what is committed meanwhile only makes ends and journal newer than they.
        var judged: [TopicPartition: Int64] = [:]
        for position in try log.committedPositions(of: sources) { judged[position.source] = position.next }
        var committed: Int64?
        let journal = Journal(in: log)
        let newest = try journal.newest(lending: { record, _ in committed = record.timestamp })
        var survey: [TopicPartition: Int64]?
        let held = try log.heldBack(sources)
        var inputs: [Input] = []
        for source in sources {
            let (start, end) = try log.bounds(of: source)
            if judged[source] == nil, end > 0, newest != nil {
                if survey == nil { if let taken { survey = taken } else { survey = try allTaken(journal) } }
                judged[source] = survey?[source]
            }
            var input = Input(source, start: start, end: end, judged: judged[source], waits: false)
            let from = max(input.judged ?? start, start)
            if from < end {
                try log.read(source, from: from, to: end) { record, _ in
                    input.waits = true
                    input.oldest = record.timestamp
                    return false
                }
            }
            if let one = held.first(where: { $0.source == source }) {
                input.heldFrom = one.from
                input.held = one.to - one.from
            }
            inputs.append(input)
        }
        return LogStanding(milliseconds: now, newest: newest, committed: committed, inputs: inputs)
    }

    private static func allTaken(_ journal: Journal) throws(LogError) -> [TopicPartition: Int64] {
        var survey = JournalSurvey()
        try survey.advance(over: journal)
        return survey.taken
    }
}
