/// What must hold of a log before a worker judges anything: its journal can be believed.
///
/// The journal decides what was judged. One that lost its end, or everything, is no first start: all that it had said would be
/// said again. And one that its topic does not keep whole and in order cannot be replayed some day, which is better known on the
/// first than on that one.
public struct StartChecks {
    private let log: any EventLog

    public init(log: any EventLog) { self.log = log }

    /// Checks that the journal's topic keeps every record, in one partition.
    ///
    /// - Returns: why its settings could not be looked at; nil: they were, or the log has none.
    /// - Throws: ``LogError``: `refused`, with the command that mends it.
    func requireJournalTopic() throws(LogError) -> LogError? {
        let journal = OutputTopics.journal
        let partitions = try log.partitions(of: journal)?.count ?? 1
        guard partitions == 1 else {
            throw LogError(
                .refused,
                "\(journal) has \(partitions) partitions, and its order needs one: delete the topic if it is empty, and weir run makes it anew"
            )
        }
        let settings: TopicSettings?
        do { settings = try log.settings(of: journal) } catch {
            if error.kind == .notAuthorised { return error }
            throw error
        }
        guard let settings else { return nil }
        let wrong = OutputTopics.journalKept.filter { name, wanted in
            settings.values[name].map { $0 != wanted } ?? false
        }
        if wrong.isEmpty { return nil }
        let found = wrong.keys.sorted().map { "\($0)=\(settings.values[$0] ?? "")" }.joined(separator: ", ")
        let command = log.commandToSet(wrong, of: journal).map { ": \($0)" } ?? ""
        throw LogError(
            .refused,
            "\(journal) would lose records (\(found)), and no start is possible without them; set what it is made with\(command)"
        )
    }

    /// Checks that no input topic is compacted: what was judged would be thinned out, and could never be judged again.
    ///
    /// Retention takes whole beginnings, which is told when it happens; compaction takes records from the middle, and whoever reads
    /// finds out record by record.
    ///
    /// - Throws: ``LogError``: `refused`, with the command that mends it; settings that may not be read are passed over.
    func requireKeptInputs(_ topics: [String]) throws(LogError) {
        for topic in topics {
            let policy: String?
            do { policy = try log.settings(of: topic)?.values["cleanup.policy"] } catch {
                if error.kind == .notAuthorised { continue }
                throw error
            }
            guard let policy, policy.contains("compact") else { continue }
            let command = log.commandToSet(["cleanup.policy": "delete"], of: topic).map { ": \($0)" } ?? ""
            throw LogError(
                .refused,
                "input topic '\(topic)' is compacted (cleanup.policy=\(policy)): records that were judged vanish from its middle, and no "
                    + "start would find what the journal names. Give Weir a topic that keeps its records\(command)"
            )
        }
    }

    /// Checks that nothing speaks of more than the journal does.
    ///
    /// Input positions are committed together with the journal, and what may arrive late is an older commit of them: positions
    /// ahead of the journal prove that it lost its end.
    ///
    /// - Parameters:
    ///   - newest: the journal's last record; nil: it has none.
    ///   - judgedTo: the next offset of each source by the journal.
    ///   - startsAnew: an empty journal is taken for a first one whatever else is there.
    /// - Returns: the committed positions that are not the journal's.
    /// - Throws: ``LogError`` of kind `corrupt`.
    func requireWholeJournal(
        newest: JournalRecord?,
        sources: [TopicPartition],
        judgedTo: [Int64],
        startsAnew: Bool
    ) throws(LogError) -> [SourcePosition] {
        let committed = try log.committedPositions(of: sources)
        func judged(_ position: SourcePosition) -> Int64? {
            sources.firstIndex(of: position.source).map { judgedTo[$0] }
        }
        let different = committed.filter { position in judged(position).map { $0 != position.next } ?? false }
        guard let newest else {
            if startsAnew { return different }
            if !committed.isEmpty { try requireOwnJournal(after: -1) }
            try requireFirstStart(committed)
            return different
        }
        if let ahead = different.first(where: { position in judged(position).map { $0 < position.next } ?? false }) {
            try requireOwnJournal(after: newest.epoch)
            throw LogError(
                .corrupt,
                """
                the journal has lost its end: its last epoch is \(newest.epoch), which ends at offset \(judged(ahead) ?? 0) of \
                \(ahead.source), and offset \(ahead.next) is committed. Going on would say verdicts again: restore \
                \(OutputTopics.journal), or delete it and see weir run --start-anew
                """
            )
        }
        return different
    }

    /// Tells positions that another owner has committed since from those that the journal has lost.
    ///
    /// - Throws: ``LogError`` of kind `fenced` when the journal has gone on behind our back.
    private func requireOwnJournal(after epoch: Int64) throws(LogError) {
        guard let newest = try Journal(in: log).newest()?.epoch, newest > epoch else { return }
        throw LogError(
            .fenced,
            """
            Another process took over while this one recovered: the journal has come from epoch \(epoch) to \(newest). This one \
            stops; make sure that only one worker of this name runs, then start it again.
            """
        )
    }

    /// Checks that an empty journal is a first one: that no position is committed, and no verdict is there.
    ///
    /// - Throws: ``LogError`` of kind `corrupt`, with what is there.
    public func requireFirstStart(_ committed: [SourcePosition]) throws(LogError) {
        let evidence: String
        if let position = committed.first {
            evidence = "offset \(position.next) of \(position.source) is committed"
        } else if let record = try firstRecord(of: OutputTopics.verdicts) {
            evidence = "there is a verdict at \(record)"
        } else {
            return
        }
        throw LogError(
            .corrupt,
            """
            the journal is empty, but \(evidence): it was lost, and a start from the inputs' beginning would say every verdict \
            again. Restore \(OutputTopics.journal); if that is what you want, weir run --start-anew does it
            """
        )
    }

    /// The place of the first committed record of a topic that says something.
    private func firstRecord(of topic: String) throws(LogError) -> String? {
        for partition in try log.partitions(of: topic) ?? [] {
            let source = TopicPartition(topic, partition)
            let (start, end) = try log.bounds(of: source)
            var found: Int64?
            try log.read(source, from: start, to: end) { record, _ in
                if record.value != nil { found = record.offset }
                return found == nil
            }
            if let found { return "\(source), offset \(found)" }
        }
        return nil
    }
}
