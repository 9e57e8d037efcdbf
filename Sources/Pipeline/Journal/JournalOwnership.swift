/// Whose journal a log holds.
///
/// All topologies write to topics of the same names, so a log belongs to one of them: epochs of two in one journal could not be told apart,
/// numbered or replayed, and subscribers would take one's verdicts for the other's.
extension JournalRecord {
    /// Checks that this topology wrote the record.
    ///
    /// - Throws: ``LogError`` of kind `refused`, with both names and what to do.
    public func requireTopology(_ name: String) throws(LogError) {
        if topologyName == name { return }
        throw LogError(
            .refused,
            "this log belongs to topology '\(topologyName)': \(OutputTopics.journal) has its epoch \(epoch), and the folder is topology "
                + "'\(name)'. Give each topology a Kafka cluster or a database file of its own; if this one was renamed, "
                + "give it back its name")
    }

    /// Checks that the log's journal, if it has one, was begun by this topology; only reads, and no more than the first record.
    ///
    /// Ask before anything is made, fenced or written; a replay asks again of every record.
    ///
    /// - Throws: ``LogError``: `refused` for another topology's journal, `corrupt` for a record that is none.
    public static func requireJournal(of name: String, in log: any LogReader) throws(LogError) {
        let journal = TopicPartition(OutputTopics.journal, 0)
        guard try log.partitions(of: journal.topic) != nil else { return }
        let (start, end) = try log.bounds(of: journal)
        var failure: LogError?
        try log.read(journal, from: start, to: end) { record, _ in
            // A tombstone only marks how far a worker has looked.
            guard let value = record.value else { return true }
            do throws(LogError) { try JournalRecord(parsing: value).requireTopology(name) } catch { failure = error }
            return false
        }
        if let failure { throw failure }
    }

    /// The journal's newest record; nil when it has none.
    ///
    /// The end of a topic may be markers and tombstones, so more is read until a record is found.
    static func newest(in log: any LogReader) throws(LogError) -> JournalRecord? {
        let journal = TopicPartition(OutputTopics.journal, 0)
        guard try log.partitions(of: journal.topic) != nil else { return nil }
        let (start, end) = try log.bounds(of: journal)
        var span: Int64 = 16
        while true {
            let from = max(start, end - span)
            var newest: JournalRecord?
            var failure: LogError?
            try log.read(journal, from: from, to: end) { record, _ in
                guard let value = record.value else { return true }
                do throws(LogError) { newest = try JournalRecord(parsing: value) } catch { failure = error }
                return failure == nil
            }
            if let failure { throw failure }
            if newest != nil || from == start { return newest }
            span *= 8
        }
    }
}
