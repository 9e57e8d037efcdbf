/// The last record that was taken of a source: by it a partition is known again.
struct TakenRecord: Sendable, Equatable {
    var offset: Int64
    /// Its ``ContentDigest``.
    var digest: UInt64
}

/// How an input partition stands to what the pipeline has taken of it.
///
/// A partition grows at its end, and loses at its beginning what was judged long ago. Everything else is one of the other states:
/// it ends the worker with its cause, and nothing is ever passed over or taken for what it is not.
enum InputState: Sendable, Equatable {
    case sound
    /// The topic was deleted, or made anew with fewer partitions.
    case gone
    /// It begins behind what is wanted next.
    case cut(start: Int64)
    /// It ends before what was taken.
    case shortened(end: Int64)
    /// Where the last record was that was taken there is another one, or none.
    case replaced(offset: Int64)

    /// Asks the log.
    ///
    /// - Parameters:
    ///   - next: the offset that is wanted next; what lies before may be gone.
    ///   - taken: behind the last record that was taken or journaled.
    ///   - last: the last record that was taken; nil: is not known.
    static func look(
        at source: TopicPartition,
        next: Int64,
        taken: Int64,
        last: TakenRecord? = nil,
        in log: any RangeReader
    ) throws(LogError) -> InputState {
        guard try log.partitions(of: source.topic)?.contains(source.partition) == true else { return .gone }
        let (start, end) = try log.bounds(of: source)
        if end < taken { return .shortened(end: end) }
        if start > next { return .cut(start: start) }
        guard let last, last.offset >= start, last.offset < end else { return .sound }
        var found: UInt64?
        try log.read(source, from: last.offset, to: last.offset + 1) { record, _ in
            found = ContentDigest.of(record)
            return false
        }
        return found == last.digest ? .sound : .replaced(offset: last.offset)
    }

    /// What is said of it; nil where it is sound.
    func error(_ source: TopicPartition, next: Int64, taken: Int64) -> LogError? {
        let remedy = "Restore it as it was, or start anew (weir run --start-anew) with an empty journal"
        switch self {
        case .sound: return nil
        case .gone:
            return LogError(
                .corrupt,
                "\(source) does not exist any more, and was taken up to offset \(taken): its topic was deleted, or made anew with fewer "
                    + "partitions. \(remedy)"
            )
        case .cut(let start):
            return LogError(
                .outOfRange,
                "\(source): offset \(next) is wanted next, and the partition begins at \(start): records were deleted before they "
                    + "were judged (retention.ms, retention.bytes, or by hand). \(remedy)"
            )
        case .shortened(let end):
            return LogError(
                .corrupt,
                "\(source) ends at offset \(end), and was taken up to \(taken): its topic was deleted and made anew, or it lost its "
                    + "end (unclean leader election). \(remedy)"
            )
        case .replaced(let offset):
            return LogError(
                .corrupt,
                "\(source) holds another record at offset \(offset) than the one that was judged: its topic was deleted and made anew, or "
                    + "it lost its end and was written to again. \(remedy)"
            )
        }
    }
}
