/// The journal of a log, and the one reader of its records.
///
/// Its topic has one partition, which holds the epochs in order. Tombstones in it only mark how far a worker has looked, and the
/// offsets of a Kafka log have gaps where its markers are.
public struct Journal {
    private let log: any RangeReader
    public let source: TopicPartition
    /// Records that are parsed before they are handed out: the journal's length has no bound.
    private static let part = 4096

    /// - Parameter topic: another name than Weir's own is for tests.
    public init(in log: any RangeReader, topic: String = OutputTopics.journal) {
        self.log = log
        source = TopicPartition(topic, 0)
    }

    /// Whether the topic is there.
    public func exists() throws(LogError) -> Bool { try log.partitions(of: source.topic) != nil }

    /// Checks that the journal, if there is one, was begun by this topology; only reads, and no more than the first record.
    ///
    /// All topologies write to topics of the same names, so a log belongs to one of them: epochs of two in one journal could not be
    /// told apart, numbered or replayed, and subscribers would take one's verdicts for the other's. Ask before anything is made,
    /// fenced or written; ``JournalChain`` asks again of every record.
    ///
    /// - Throws: ``LogError``: `refused` for another topology's journal, `corrupt` for a record that is none, `incompatible` for
    ///   one of another version.
    public func require(topology name: String) throws(LogError) {
        try forEachRecord { (record) throws(LogError) in
            try record.requireTopology(name)
            return false
        }
    }

    /// The newest record; nil when there is none.
    ///
    /// The end of the topic may be markers and tombstones, so more is read until a record is found.
    ///
    /// - Parameter end: where the journal ends, for who knows it better than ``RangeReader/bounds(of:)``; nil: asks.
    public func newest(before end: Int64? = nil) throws(LogError) -> JournalRecord? {
        try newest(before: end, lending: { _, _ in })
    }

    /// The same.
    ///
    /// - Parameter headers: gets those of each record that is read, of the newest in the end.
    func newest(
        before end: Int64?,
        _ headers: ([(String, UnsafeRawBufferPointer)]) -> Void
    ) throws(LogError) -> JournalRecord? {
        try newest(before: end, lending: { _, found in headers(found) })
    }

    /// The same.
    ///
    /// - Parameter body: gets each record that is read as the log lends it, the newest in the end.
    func newest(
        before end: Int64? = nil,
        lending body: (LogRecord, [(String, UnsafeRawBufferPointer)]) -> Void
    ) throws(LogError) -> JournalRecord? {
        guard try exists() else { return nil }
        let bounds = try log.bounds(of: source)
        let end = end ?? bounds.end
        var span: Int64 = 16
        while true {
            let from = max(bounds.start, end - span)
            var newest: JournalRecord?
            var failure: LogError?
            try log.read(source, from: from, to: end) { record, found in
                guard let value = record.value else { return true }
                do throws(LogError) { newest = try JournalRecord(parsing: value) } catch { failure = error }
                body(record, found)
                return failure == nil
            }
            if let failure { throw failure }
            if newest != nil || from == bounds.start { return newest }
            span *= 8
        }
    }

    /// Hands out the records in order, up to the journal's end of now, until the body returns false; none when there is no journal.
    ///
    /// The log is free while the body runs: it may read inputs.
    public func forEachRecord(_ body: (JournalRecord) throws(LogError) -> Bool) throws(LogError) {
        var position: Int64?
        try forEachRecord(from: &position, body)
    }

    /// Hands out the records from a position on, and moves it behind each one before the body gets it: the next call goes on there.
    ///
    /// - Parameter position: an offset of the journal; nil: its beginning.
    public func forEachRecord(
        from position: inout Int64?,
        _ body: (JournalRecord) throws(LogError) -> Bool
    ) throws(LogError) {
        guard try exists() else { return }
        let (start, end) = try log.bounds(of: source)
        var at = position ?? start
        var records: [(record: JournalRecord, next: Int64)] = []
        // Who asks for the first record only should not wait for thousands.
        var limit = 1
        while at < end {
            records.removeAll(keepingCapacity: true)
            var failure: LogError?
            var readTo = end
            try log.read(source, from: at, to: end) { record, _ in
                guard let value = record.value else { return true }
                do throws(LogError) { records.append((try JournalRecord(parsing: value), record.offset + 1)) } catch {
                    failure = error
                    return false
                }
                if records.count < limit { return true }
                readTo = record.offset + 1
                return false
            }
            // What lies in front of a damaged record is handed out all the same.
            for (record, next) in records {
                position = next
                if try !body(record) { return }
            }
            if let failure { throw failure }
            at = readTo
            position = at
            limit = min(limit * 8, Journal.part)
        }
    }
}

extension JournalRecord {
    /// Checks that this topology wrote the record.
    ///
    /// - Throws: ``LogError`` of kind `refused`, with both names and what to do.
    func requireTopology(_ name: String) throws(LogError) {
        if topologyName == name { return }
        throw LogError(
            .refused,
            "this log belongs to topology '\(topologyName)': \(OutputTopics.journal) has its epoch \(epoch), and the folder is topology "
                + "'\(name)'. Give each topology a Kafka cluster or a database file of its own; if this one was renamed, "
                + "give it back its name"
        )
    }
}

/// What must hold from one record of a journal to the next: one topology, no epoch left out, no input left out or taken twice, and
/// each of them behind the history it says.
///
/// A pure value: give it the records in order.
public struct JournalChain {
    /// What was taken of one source.
    public struct Taken: Sendable, Equatable {
        /// The first offset that the journal names.
        public var from: Int64
        /// Behind the last.
        public var to: Int64
    }

    /// Nil: any, but only one.
    private let topology: String?
    /// The epoch behind which the records must begin; nil: anywhere.
    private let start: Int64?
    public private(set) var first: JournalRecord?
    public private(set) var last: JournalRecord?
    public private(set) var taken: [TopicPartition: Taken] = [:]

    /// - Parameters:
    ///   - topology: who must have written every record; nil: whoever wrote the first.
    ///   - epoch: the last epoch of a snapshot, which stands for all up to itself: the journal may have lost them. -1: there is no
    ///     snapshot, and the journal must begin with epoch 0; nil: it may begin anywhere.
    ///   - positions: where the snapshot's epochs ended.
    public init(topology: String?, after epoch: Int64?, at positions: [SourcePosition] = []) {
        self.topology = topology
        start = epoch
        for position in positions { taken[position.source] = Taken(from: position.next, to: position.next) }
    }

    /// Takes the next record.
    ///
    /// - Throws: ``LogError``: `refused` for another topology's record, `corrupt` for one that does not follow, `outOfRange` when
    ///   the journal's beginning was deleted.
    public mutating func accept(_ record: JournalRecord) throws(LogError) {
        if let topology { try record.requireTopology(topology) }
        if let last {
            guard record.topologyName == last.topologyName else {
                throw LogError(
                    .corrupt,
                    "epoch \(last.epoch) was written by topology '\(last.topologyName)', and epoch \(record.epoch) by "
                        + "'\(record.topologyName)'"
                )
            }
            guard record.epoch == last.epoch + 1 else {
                throw LogError(
                    .corrupt,
                    "the journal goes from epoch \(last.epoch) to epoch \(record.epoch): two pipelines may have written to it"
                )
            }
        }
        if last == nil, let start, record.epoch > start + 1 {
            throw LogError(
                .outOfRange,
                "the journal begins with epoch \(record.epoch): its beginning was deleted, and there is no snapshot to start from. "
                    + "Keep the journal (retention.ms=-1), or start anew (weir run --start-anew) with an empty journal"
            )
        }
        // The snapshot knows what came of the epochs it stands for.
        if record.epoch > start ?? -1 {
            for range in record.ranges {
                if let before = taken[range.source], before.to != range.from {
                    throw LogError(
                        .corrupt,
                        "epoch \(record.epoch) takes \(range.source) from offset \(range.from), but the one before ended at \(before.to)"
                    )
                }
                taken[range.source, default: Taken(from: range.from, to: range.to)].to = range.to
            }
        }
        try requireHistory(of: record)
        if first == nil { first = record }
        last = record
    }

    /// Checks that the record goes on where the one before ended, as far as both say so.
    private func requireHistory(of record: JournalRecord) throws(LogError) {
        guard let proof = record.proof else {
            guard last?.proof == nil else {
                throw LogError(
                    .corrupt,
                    "epoch \(record.epoch) was written by an older program than the one before it: two pipelines may have written to the journal"
                )
            }
            return
        }
        // What came before the first record is known of the first epoch alone: nothing did.
        guard last != nil || record.epoch == 0 else { return }
        guard record.chainedInputDigest(after: last?.proof?.inputDigest) == proof.inputDigest else {
            throw LogError(
                .corrupt,
                "epoch \(record.epoch) does not go on where \(last.map { "epoch \($0.epoch)" } ?? "a journal begins"): "
                    + "one of them is another journal's or was changed. Restore \(OutputTopics.journal), or start anew (weir run --start-anew) with an empty one"
            )
        }
    }
}
