import Models
import Synchronization

@testable import Pipeline

/// Faults of a ``SimulatedLog``, all drawn from one seed; the default has none.
struct SimulatedFaults: Sendable {
    /// A place inside the log where the process can die.
    enum CrashPoint: String, Sendable, CaseIterable {
        case create, ownership, assign, poll, wait, read
        /// Nothing of the transaction was sent.
        case beforeBegin
        /// Some outputs, all outputs, the positions were sent; the transaction is open.
        case amidProduce, afterProduce, afterPositions
        /// The commit is about to be asked for; it was asked for, applied unless lost, and nobody heard the answer.
        case beforeCommit, afterCommit
    }

    /// Names the n-th visit, from 1, of a point as the moment of the crash.
    struct Crash: Sendable {
        /// Name of the point.
        var point: String
        /// Which visit of it, from 1.
        var visit: Int
        /// A point of the log.
        init(_ point: CrashPoint, visit: Int = 1) { self.init(named: point.rawValue, visit: visit) }
        /// A point of the pipeline's own, announced with ``SimulatedLog/reach(_:)``.
        init(named point: String, visit: Int = 1) {
            self.point = point
            self.visit = visit
        }
    }

    /// Decides everything that is left to chance.
    var seed: UInt64
    /// Where the process dies; nil: nowhere.
    var crash: Crash?
    /// Share of commits that are applied while the reply is lost.
    var lostReplies = 0.0
    /// Share of commits that are lost on the way there: neither applied nor answered.
    var lostRequests = 0.0
    /// Share of commits that are not answered and arrive at a later moment of their own, perhaps after their repetition.
    var delayedRequests = 0.0
    /// Share of polls that give fewer records than there are, down to none; so partitions advance in another order every time.
    var tornPolls = 0.0
    /// The n-th commit, from 1, finds that another process has taken over.
    var fencedAtCommit: Int?
    /// A deliberate mistake, for proving that a test can fail: after an unknown outcome the same producer goes on, so a delayed
    /// request is taken when it arrives after all.
    var keepsProducer = false

    /// No faults yet.
    init(seed: UInt64 = 1) { self.seed = seed }
}

/// A log in memory for tests, with faults by seed: the same seed and calls give the same run.
///
/// It is its own writer, and commits on the caller's thread.
final class SimulatedLog: EventLog, LogWriter {
    /// The store this handle works on.
    let store: SimulatedStore
    /// The faults it was opened with.
    let faults: SimulatedFaults
    /// The application it commits for.
    let application: String
    /// Set when the crash happened: from then on every call fails, and only the store is left.
    private(set) var hasCrashed = false
    /// Visits by point; a test asserts that the point it names was reached at all.
    private(set) var visits: [String: Int] = [:]
    /// Commits whose reply did not come and which were resolved by the journal's end.
    private(set) var unknownOutcomes = 0

    /// Partitions whose broker is away: nothing comes from them, and nobody answers questions about them.
    var isAway: (TopicPartition) -> Bool = { _ in false }

    private var random: SplitMix64
    private var generation: Int64 = 0
    private var producer: Int64 = 0
    private var commits = 0
    private var sources: [SourcePosition] = []
    private var partitioners: [String: Partitioner] = [:]
    private var isClosed = false
    private let journalTopic: String

    var name: String { "simulated" }
    var commitsAtOnce: Bool { true }

    /// Opens a handle; nothing is owned yet.
    init(
        _ store: SimulatedStore,
        application: String = "weir",
        faults: SimulatedFaults = SimulatedFaults(),
        journalTopic: String = "weir.journal"
    ) {
        self.store = store
        self.application = application
        self.faults = faults
        self.journalTopic = journalTopic
        precondition(
            faults.lostReplies + faults.lostRequests + faults.delayedRequests < 1,
            "some commits must come through, or none ever ends"
        )
        random = SplitMix64(seed: faults.seed)
    }

    /// Commits of earlier owners fail as `fenced` from here on.
    func takeOwnership() throws(LogError) -> any LogWriter {
        try reach(.ownership)
        (generation, producer) = store.content.withLock { content in
            content.believesAnyProducer = faults.keepsProducer
            content.owners[application, default: SimulatedStore.Owner()].generation += 1
            content.owners[application]?.producer += 1
            let owner = content.owners[application] ?? SimulatedStore.Owner()
            return (owner.generation, owner.producer)
        }
        return self
    }

    /// True for the error a crash throws.
    static func isCrash(_ error: LogError) -> Bool { error.message.hasPrefix(crashMessage) }
    private static let crashMessage = "simulated crash at "

    /// Announces a point of the pipeline's own; throws when the crash is planned for this visit.
    func reach(_ point: String) throws(LogError) {
        try requireAlive()
        visits[point, default: 0] += 1
        if let crash = faults.crash, crash.point == point, crash.visit == visits[point] {
            hasCrashed = true
            throw LogError(.unreachable, SimulatedLog.crashMessage + point)
        }
    }

    func create(_ topics: [TopicRequirement]) throws(LogError) {
        try reach(.create)
        store.content.withLock { content in
            for topic in topics where content.topics[topic.name] == nil {
                content.topics[topic.name] = Array(repeating: SimulatedStore.Partition(), count: topic.partitions)
            }
        }
    }

    func topics() throws(LogError) -> [String] {
        try requireAlive()
        return store.content.withLock { $0.topics.keys.sorted() }
    }

    func partitions(of topic: String) throws(LogError) -> [Int32]? {
        try requireAlive()
        return store.content.withLock { content in content.topics[topic].map { (0..<Int32($0.count)).map { $0 } } }
    }

    func bounds(of source: TopicPartition) throws(LogError) -> (start: Int64, end: Int64) {
        try requireAlive()
        if isAway(source) { throw LogError(.unreachable, "nobody answers for \(source).") }
        let partition = try find(source)
        return (partition.start, partition.end)
    }

    func assign(_ sources: [SourcePosition]) throws(LogError) {
        try reach(.assign)
        for position in sources { try require(position, in: find(position.source)) }
        self.sources = sources
    }

    func add(_ position: SourcePosition) throws(LogError) -> Int {
        try reach(.assign)
        try require(position, in: find(position.source))
        sources.append(position)
        return sources.count - 1
    }

    func poll(source: Int, limit: Int, withHeaders: Bool, _ body: (LogRecord) -> Bool) throws(LogError) -> Int64 {
        try reach(.poll)
        deliverSome()
        let position = sources[source]
        if isAway(position.source) { return position.next }
        let partition = try find(position.source)
        try require(position, in: partition)
        var count = limit
        if random.chance(faults.tornPolls) { count = Int(random.next() % UInt64(limit + 1)) }
        var next = position.next
        let first = partition.index(of: next)
        for record in partition.records[first...].prefix(count) {
            var goesOn = true
            lend(record, source: source) { lent in
                guard withHeaders else {
                    goesOn = body(lent)
                    return
                }
                withHeaderList(of: record) { headers in
                    var lent = lent
                    lent.headers = headers
                    goesOn = body(lent)
                }
            }
            next = record.offset + 1
            if !goesOn {
                sources[source].next = next
                return next
            }
        }
        // Behind the last record there may be markers; a reader passes over them.
        if first + count >= partition.records.count { next = partition.end }
        sources[source].next = next
        return next
    }

    /// Never sleeps: nothing happens in memory while its only thread waits, but requests under way arrive.
    func wait(milliseconds: Int) throws(LogError) {
        try reach(.wait)
        deliverSome()
    }

    func read(
        _ source: TopicPartition,
        from: Int64,
        to: Int64,
        _ body: (LogRecord, [(String, UnsafeRawBufferPointer)]) -> Bool
    ) throws(LogError) {
        try reach(.read)
        guard from < to else { return }
        let partition = try find(source)
        guard from >= partition.start, to <= partition.end else {
            throw LogError(
                .outOfRange,
                "offsets \(from)..<\(to) of \(source) are wanted, \(partition.start)..<\(partition.end) are there."
            )
        }
        for record in partition.records[partition.index(of: from)...] {
            if record.offset >= to { return }
            var goesOn = true
            // Headers lie in one buffer for the time of the call.
            let all = record.headers.flatMap(\.value)
            all.withUnsafeBytes { all in
                var at = 0
                var headers: [(String, UnsafeRawBufferPointer)] = []
                for header in record.headers {
                    headers.append((header.name, UnsafeRawBufferPointer(rebasing: all[at..<(at + header.value.count)])))
                    at += header.value.count
                }
                lend(record, source: 0) { goesOn = body($0, headers) }
            }
            if !goesOn { return }
        }
    }

    func commit(_ outputs: borrowing OutputBatch, positions: [SourcePosition]) throws(LogError) {
        try reach(.beforeBegin)
        guard generation > 0 else { throw LogError(.refused, "a pipeline takes ownership before it commits.") }
        commits += 1
        if faults.fencedAtCommit == commits {
            store.content.withLock { $0.owners[application]?.generation += 1 }
        }
        if let first = outputs.epochs?.lowerBound, isOwner, first != newestEpoch + 1 {
            throw LogError(discontinuous: first, after: newestEpoch)
        }
        var transaction = SimulatedStore.Transaction(
            application: application,
            generation: generation,
            producer: producer,
            records: [],
            positions: positions
        )
        transaction.records = try records(of: outputs) { count throws(LogError) in
            if count == 1 { try reach(.amidProduce) }
        }
        let journal = transaction.records.last { $0.target.topic == journalTopic }
        try reach(.afterProduce)
        try reach(.afterPositions)
        try reach(.beforeCommit)
        while true {
            let before = commitsOfOurs()
            switch try attempt(transaction) {
            case .answered:
                try reach(.afterCommit)
                return
            case .unknown:
                try reach(.afterCommit)
                unknownOutcomes += 1
                // A new producer first: from here on nothing that the old one sent can take effect, so what the journal says stays
                // true.
                if !faults.keepsProducer { try renewProducer() }
                transaction.producer = producer
                if let journal {
                    if isJournalEnd(journal) { return }
                } else if commitsOfOurs() > before {
                    return
                }
            }
        }
    }

    func committedPositions(of wanted: [TopicPartition]) throws(LogError) -> [SourcePosition] {
        try requireAlive()
        let positions = store.content.withLock { $0.owners[application]?.positions ?? [:] }
        return wanted.compactMap { source in positions[source].map { SourcePosition(source: source, next: $0) } }
    }

    func close() { isClosed = true }

    func append(_ outputs: borrowing OutputBatch, flushing: Bool) throws(LogError) -> Bool {
        try requireAlive()
        for record in try records(of: outputs) {
            store.append(record.target, key: record.key, value: record.value, headers: record.headers)
        }
        return true
    }
}

// MARK: - Inside

extension SimulatedLog {
    private enum Outcome { case answered, unknown }

    private func reach(_ point: SimulatedFaults.CrashPoint) throws(LogError) { try reach(point.rawValue) }

    /// The records of a batch with their partitions.
    ///
    /// - Parameter added: called after each with their number so far.
    private func records(
        of outputs: borrowing OutputBatch,
        added: (Int) throws(LogError) -> Void = { _ in }
    ) throws(LogError) -> [SimulatedStore.Sent] {
        var records: [SimulatedStore.Sent] = []
        try outputs.withParts { (record, key, value, _) throws(LogError) in
            let topic = outputs.topics[record.topic]
            guard let count = try partitions(of: topic)?.count else {
                throw LogError(.refused, "there is no topic '\(topic)'.")
            }
            let number =
                record.partition < 0
                ? partitioners[topic, default: Partitioner()].partition(key: key, of: count) : Int(record.partition)
            guard number < count else { throw LogError(.refused, "there is no partition \(topic)/\(number).") }
            var headers: [SimulatedStore.Header] = []
            outputs.forEachHeader(record) {
                headers.append(.init(name: String(decoding: $0, as: UTF8.self), value: [UInt8]($1)))
            }
            records.append(
                SimulatedStore.Sent(
                    target: TopicPartition(topic, Int32(number)),
                    key: key.map([UInt8].init),
                    value: value.map([UInt8].init),
                    headers: headers
                )
            )
            try added(records.count)
        }
        return records
    }

    private func requireAlive() throws(LogError) {
        if hasCrashed { throw LogError(.unreachable, SimulatedLog.crashMessage + "an earlier call") }
        if isClosed { throw LogError(.refused, "the log is closed.") }
    }

    private func attempt(_ transaction: SimulatedStore.Transaction) throws(LogError) -> Outcome {
        let lot = random.unit()
        var bound = faults.lostRequests
        if lot < bound { return .unknown }
        bound += faults.delayedRequests
        if lot < bound {
            store.content.withLock { $0.underWay.append(transaction) }
            return .unknown
        }
        if let error = store.content.withLock({ $0.apply(transaction) }) { throw error }
        bound += faults.lostReplies
        return lot < bound ? .unknown : .answered
    }

    private func renewProducer() throws(LogError) {
        let renewed = store.content.withLock { content -> Int64? in
            guard content.owners[application]?.generation == generation else { return nil }
            content.owners[application]?.producer += 1
            return content.owners[application]?.producer
        }
        guard let renewed else { throw SimulatedStore.fenced(application) }
        producer = renewed
    }

    private var isOwner: Bool {
        store.content.withLock { $0.owners[application]?.generation == generation }
    }

    private var newestEpoch: Int64 {
        let newest = store.content.withLock { $0.topics[journalTopic]?.first?.records.last { $0.value != nil }?.value }
        guard let newest else { return -1 }
        return (try? newest.withUnsafeBytes { try JournalRecord(parsing: $0) }.epoch) ?? -1
    }

    private func commitsOfOurs() -> Int { store.content.withLock { $0.owners[application]?.commits ?? 0 } }

    private func isJournalEnd(_ journal: SimulatedStore.Sent) -> Bool {
        store.content.withLock { content in
            guard let last = content.topics[journalTopic]?.first?.records.last else { return false }
            return last.key == journal.key && last.value == journal.value
        }
    }

    /// Lets some of the delayed requests arrive.
    private func deliverSome() {
        store.content.withLock { content in
            while !content.underWay.isEmpty, random.chance(0.5) {
                let transaction = content.underWay.removeFirst()
                _ = content.apply(transaction)
            }
        }
    }

    private func find(_ source: TopicPartition) throws(LogError) -> SimulatedStore.Partition {
        guard let partition = store.content.withLock({ $0.partition(source) }) else {
            throw LogError(.refused, "there is no partition \(source).")
        }
        return partition
    }

    private func require(_ position: SourcePosition, in partition: SimulatedStore.Partition) throws(LogError) {
        guard position.next < partition.start || position.next > partition.end else { return }
        throw LogError(
            .outOfRange,
            "offset \(position.next) of \(position.source) is wanted, \(partition.start)..<\(partition.end) is there."
        )
    }

    /// The headers as a log lends them, in one buffer for the time of the call.
    private func withHeaderList(
        of record: SimulatedStore.Record,
        _ body: (UnsafeBufferPointer<LogHeader>) -> Void
    ) {
        let all = record.headers.flatMap { Array($0.name.utf8) + $0.value }
        all.withUnsafeBytes { all in
            var at = 0
            func take(_ count: Int) -> UnsafeRawBufferPointer {
                defer { at += count }
                return UnsafeRawBufferPointer(rebasing: all[at..<(at + count)])
            }
            let headers = record.headers.map { LogHeader(name: take($0.name.utf8.count), value: take($0.value.count)) }
            headers.withUnsafeBufferPointer(body)
        }
    }

    private func lend(_ record: SimulatedStore.Record, source: Int, _ body: (LogRecord) -> Void) {
        // An empty array lends a null pointer of length 0, which is not nil: empty stays empty.
        func with(_ bytes: [UInt8]?, _ body: (UnsafeRawBufferPointer?) -> Void) {
            if let bytes { bytes.withUnsafeBytes { body($0) } } else { body(nil) }
        }
        with(record.key) { key in
            with(record.value) { value in
                body(
                    LogRecord(
                        source: source,
                        offset: record.offset,
                        timestamp: record.appendTime,
                        appendTime: record.appendTime,
                        key: key,
                        value: value
                    )
                )
            }
        }
    }
}

extension SplitMix64 {
    mutating func chance(_ share: Double) -> Bool { share > 0 && unit() < share }
}
