/// Whether a snapshot was taken from this journal: looks for the record of its last epoch near the journal's end, without reading
/// the journal from its beginning.
///
/// After an error nothing more is asked of the log; ``failure`` tells.
final class JournalFit {
    private let log: any RangeReader
    private let newest: Int64
    /// Snapshots that another version of the program wrote are of use: nothing else can rebuild the state.
    private let takesOtherEngines: Bool
    /// One was passed over for that alone.
    private(set) var hasOtherEngine = false
    /// Behind the record of the snapshot that was looked for last.
    private(set) var next: Int64?
    private(set) var failure: LogError?

    /// - Parameter newest: the journal's last epoch.
    init(_ log: any RangeReader, newest: Int64, takesOtherEngines: Bool = false) {
        self.log = log
        self.newest = newest
        self.takesOtherEngines = takesOtherEngines
    }

    /// Why the record is not this journal's; nil: it is.
    func misfit(_ record: JournalRecord) -> String? {
        next = nil
        if let failure { return failure.message }
        guard let proof = record.proof else {
            return "its epoch was journaled without digests: nothing says whose it is"
        }
        do throws(LogError) {
            guard let found = try find(record.epoch) else {
                return "the journal no longer has epoch \(record.epoch): nothing says whether the state is of this log"
            }
            guard found.record == record else {
                return "it was taken from another log: the journal's epoch \(record.epoch) is not the one it stands for"
            }
            if proof.engine != Deployment.engineVersion, !takesOtherEngines {
                hasOtherEngine = true
                return
                    "weir \(proof.engine) wrote it, this is \(Deployment.engineVersion), and the inputs are all there: the state is rebuilt"
            }
            next = found.next
            return nil
        } catch {
            failure = error
            return error.message
        }
    }

    /// The record of an epoch and the offset behind it; nil: the journal has none.
    private func find(_ epoch: Int64) throws(LogError) -> (record: JournalRecord, next: Int64)? {
        let journal = Journal(in: log)
        let (start, end) = try log.bounds(of: journal.source)
        // An epoch has one record, and a marker or a tombstone beside it at most, most of the time.
        var span = 2 * (newest - epoch) + 64
        while true {
            let from = max(start, end - span)
            var at: Int64? = from
            var first: Int64?
            var found: JournalRecord?
            try journal.forEachRecord(from: &at) { record in
                if first == nil { first = record.epoch }
                if record.epoch == epoch { found = record }
                return record.epoch < epoch
            }
            if let found, let at { return (found, at) }
            if from == start || first ?? .max <= epoch { return nil }
            span *= 8
        }
    }

    /// Whether the state can be rebuilt without a snapshot: the journal and the inputs it names are there from their beginning.
    func isRebuildable(_ sources: [TopicPartition]) throws(LogError) -> Bool {
        var starts: [TopicPartition: Int64] = [:]
        for source in sources { starts[source] = try log.bounds(of: source).start }
        var isWhole = true
        var isFirst = true
        try Journal(in: log).forEachRecord { record in
            if isFirst, record.epoch > 0 { isWhole = false }
            isFirst = false
            for range in record.ranges {
                // Of each source the first range counts.
                if let start = starts.removeValue(forKey: range.source), start > range.from { isWhole = false }
            }
            return isWhole && !starts.isEmpty
        }
        return isWhole
    }
}
