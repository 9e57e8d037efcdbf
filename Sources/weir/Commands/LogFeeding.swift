import Pipeline

/// A log's input topics, written to in batches.
final class LogTarget {
    /// Bytes of records after which a batch should go out.
    private static let batchBytes = 4 << 20

    let log: any EventLog
    private var batch: OutputBatch

    init(_ log: any EventLog, topics: [String]) {
        self.log = log
        batch = OutputBatch(topics: topics)
    }

    var isFull: Bool { batch.bytes.count >= LogTarget.batchBytes }

    /// Adds a record.
    ///
    /// - Parameter topic: its index.
    func add(topic: Int, key: UnsafeRawBufferPointer?, value: UnsafeRawBufferPointer) {
        batch.append(topic: topic, key: key, value: value, constantHeaders: [], constantCount: 0) { _ in }
    }

    /// Sends what was added so far on its way; returns whether all of it is safe with the log.
    func flush(isWanted: Bool) throws(LogError) -> Bool {
        defer { batch.removeAll() }
        // Some logs deliver while the next batch is made.
        return try log.append(batch, flushing: isWanted)
    }
}

/// How fast events go out.
struct FeedPace {
    enum Kind {
        /// As fast as it goes.
        case unbounded
        /// At most so many a second.
        case rate(Int)
        /// As their times say, so many times as fast.
        case speed(Int)
    }

    /// Events per batch where nobody asks for a pace.
    private static let batch = 20_000
    /// Between two batches of a paced run, in nanoseconds.
    private static let beat = 4_000_000.0

    let start = ProgressReport.monotonicNanoseconds()
    private let kind: Kind
    /// The first event's time: the moment of the start.
    private var origin: Int64?

    init(_ kind: Kind) { self.kind = kind }

    var isPaced: Bool { if case .unbounded = kind { false } else { true } }

    private func elapsed() -> Double { Double(ProgressReport.monotonicNanoseconds() - start) }

    /// How many events may go out now: with a rate what the clock has earned, in even small batches.
    func due(after count: Int) -> Int {
        guard case .rate(let rate) = kind else { return FeedPace.batch }
        let earned = Int(elapsed() * Double(rate) / 1e9)
        return max(0, min(earned - count, FeedPace.batch))
    }

    /// Whether event time may have come so far now.
    mutating func isDue(_ time: Int64?) -> Bool { left(time) <= 0 }

    /// Nanoseconds until event time may have come so far.
    private mutating func left(_ time: Int64?) -> Double {
        guard case .speed(let speed) = kind, let time else { return 0 }
        let origin = origin ?? time
        self.origin = origin
        return Double(time - origin) * 1e6 / Double(speed) - elapsed()
    }

    /// Waits until the next event is due, or some time, or for a signal.
    ///
    /// - Parameter time: how far event time comes with the next event.
    mutating func wait(after count: Int, for time: Int64? = nil) {
        var nanoseconds = left(time)
        if case .rate(let rate) = kind { nanoseconds = Double(count + 1) * 1e9 / Double(rate) - elapsed() }
        _ = StopSignal.wait(milliseconds: Int32(max(1, min(500, max(nanoseconds, FeedPace.beat) / 1e6))))
    }
}
