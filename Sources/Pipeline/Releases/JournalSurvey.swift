/// Which releases judged which epochs of a journal: a first, cheap pass over it, before anything is judged again.
///
/// A pure value but for the reading; a journal that has grown is looked through from where the last call ended.
struct JournalSurvey {
    /// One release on one topology, and the epochs it judged.
    struct Entry: Equatable {
        let topologyDigest: String
        let releaseDigest: String
        /// Without gaps inside, in order.
        var epochs: [ClosedRange<Int64>]

        /// The last epoch it judged.
        var last: Int64 { epochs.last?.upperBound ?? -1 }

        /// `epochs 0 to 41 and 80 to 90`; of many parts the first ones.
        var text: String {
            let parts = epochs.map { $0.count == 1 ? "\($0.lowerBound)" : "\($0.lowerBound) to \($0.upperBound)" }
            let isOne = parts.count == 1 && epochs[0].count == 1
            let shown = parts.prefix(Entry.partsMax)
            let rest = parts.count - shown.count
            return (isOne ? "epoch " : "epochs ")
                + (rest > 0
                    ? shown.joined(separator: ", ") + " and \(rest) more times"
                    : shown.count < 2
                        ? shown.joined()
                        : shown.dropLast().joined(separator: ", ") + " and \(shown[shown.count - 1])")
        }
        private static let partsMax = 4
    }

    /// In the order of their first epochs.
    private(set) var entries: [Entry] = []
    /// Where the journal's ranges end.
    private(set) var taken: [TopicPartition: Int64] = [:]
    /// Epochs up to this one are passed over: a snapshot stands for them.
    private let start: Int64
    /// Where the journal is looked through from; nil: its beginning.
    private var position: Int64?

    /// - Parameters:
    ///   - epoch: the last one of a snapshot, which stands for all up to itself; -1: there is none.
    ///   - positions: where the snapshot's epochs ended.
    ///   - position: an offset of the journal before all later epochs; nil: its beginning.
    init(after epoch: Int64 = -1, at positions: [SourcePosition] = [], from position: Int64? = nil) {
        start = epoch
        self.position = position
        for one in positions { taken[one.source] = one.next }
    }

    /// Looks through what the journal holds beyond the last call.
    ///
    /// - Parameter check: is given each record, those passed over too.
    mutating func advance(
        over journal: Journal,
        check: (JournalRecord) throws(LogError) -> Void = { _ in }
    ) throws(LogError) {
        var at = position
        defer { position = at }
        try journal.forEachRecord(from: &at) { (record) throws(LogError) in
            try check(record)
            note(record)
            return true
        }
    }

    mutating func note(_ record: JournalRecord) {
        for range in record.ranges { taken[range.source] = range.to }
        guard record.epoch > start else { return }
        // Almost always the one of the epoch before.
        let known = entries.lastIndex {
            $0.releaseDigest == record.releaseDigest && $0.topologyDigest == record.topologyDigest
        }
        guard let known else {
            entries.append(
                Entry(
                    topologyDigest: record.topologyDigest,
                    releaseDigest: record.releaseDigest,
                    epochs: [record.epoch...record.epoch]
                )
            )
            return
        }
        let parts = entries[known].epochs.count
        let part = entries[known].epochs[parts - 1]
        if record.epoch == part.upperBound + 1 {
            entries[known].epochs[parts - 1] = part.lowerBound...record.epoch
        } else if record.epoch > part.upperBound {
            entries[known].epochs.append(record.epoch...record.epoch)
        }
    }

    /// Releases of the deployment's topology that the source does not have.
    func missing(from source: any ReleaseSource, for deployment: Deployment) -> [Entry] {
        entries.filter {
            $0.topologyDigest == deployment.topologyDigest && $0.releaseDigest != deployment.release.digest
                && source.release(digest: $0.releaseDigest) == nil
        }
    }
}
