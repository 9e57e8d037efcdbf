/// A topic and one of its partitions.
public struct TopicPartition: Hashable, Sendable, Comparable, CustomStringConvertible {
    public var topic: String
    public var partition: Int32

    public init(_ topic: String, _ partition: Int32) {
        self.topic = topic
        self.partition = partition
    }

    public static func < (a: TopicPartition, b: TopicPartition) -> Bool {
        (a.topic, a.partition) < (b.topic, b.partition)
    }
    public var description: String { "\(topic)/\(partition)" }
}

/// A record's header as a log lends it, for as long as the record.
public struct LogHeader: BitwiseCopyable {
    public var name: UnsafeRawBufferPointer
    /// Nil where the producer wrote none.
    public var value: UnsafeRawBufferPointer?

    public init(name: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer?) {
        self.name = name
        self.value = value
    }
}

/// One record as a log lends it: its bytes are valid only during the call that passes it.
public struct LogRecord {
    /// Index into the sources given to ``LogReader/assign(_:)``, or 0 for ``RangeReader/read(_:from:to:_:)``.
    public var source: Int
    public var offset: Int64
    /// When the log took the record or its producer made it, milliseconds since 1970; nil when nobody has said.
    public var timestamp: Int64?
    /// When the log took the record; nil where that is not known: a ``timestamp`` may be its producer's.
    public var appendTime: Int64?
    public var key: UnsafeRawBufferPointer?
    /// The payload: nil is a tombstone, a buffer of length 0 an empty value.
    public var value: UnsafeRawBufferPointer?
    /// In their order, where they were asked for.
    public var headers: UnsafeBufferPointer<LogHeader>

    public init(
        source: Int,
        offset: Int64,
        timestamp: Int64?,
        appendTime: Int64?,
        key: UnsafeRawBufferPointer?,
        value: UnsafeRawBufferPointer?,
        headers: UnsafeBufferPointer<LogHeader> = UnsafeBufferPointer(start: nil, count: 0)
    ) {
        self.source = source
        self.offset = offset
        self.timestamp = timestamp
        self.appendTime = appendTime
        self.key = key
        self.value = value
        self.headers = headers
    }
}

/// A partition to read and the offset of the next record wanted.
public struct SourcePosition: Sendable, Equatable {
    public var source: TopicPartition
    public var next: Int64
    public init(source: TopicPartition, next: Int64) {
        self.source = source
        self.next = next
    }
}

/// What a log says when it is asked where a partition ends.
public enum PartitionEnd: Sendable, Equatable {
    /// Behind its last committed record.
    case at(Int64)
    /// There is no such partition.
    case gone
    /// It does not say.
    case unknown
}

/// A topic Weir itself writes, made when missing.
public struct TopicRequirement: Sendable, Equatable {
    public var name: String
    public var partitions: Int
    /// Kafka's topic settings, such as `cleanup.policy`; other logs ignore them.
    public var settings: [String: String]
    public init(name: String, partitions: Int, settings: [String: String] = [:]) {
        self.name = name
        self.partitions = partitions
        self.settings = settings
    }
}

/// The only door between the pipeline and the world: read ranges, append atomically, list topics.
///
/// A log has three sides, and each has its owner. Whoever opened the log reads (``LogReader``) and looks after topics
/// (``LogAdministration``), on one thread at a time. Only who has taken ownership holds a ``LogWriter``: it may be handed to
/// another thread and used there while the first goes on reading.
///
/// A log commits for one application, named when it is opened. Records are what is committed (read_committed); offsets within a
/// partition grow but may have gaps.
public protocol EventLog: LogReader, LogAdministration {
    /// Becomes the one pipeline of the application that may commit: fences a former self and waits until what it left open has
    /// ended.
    ///
    /// From then on every commit of an earlier owner fails as `fenced`. Take ownership first and read the journal afterwards: in
    /// this order nobody can append to it behind the reader's back.
    /// Make sure of one's output topics before (``LogAdministration/create(_:)``): a log ends only what was left open where it
    /// knows that this application writes.
    func takeOwnership() throws(LogError) -> any LogWriter

    /// Ends reading and writing, also by the writer that was handed out; a second call does nothing.
    func close()
}

/// Committed ranges of any partition, read one at a time.
public protocol RangeReader: AnyObject {
    /// The partitions of a topic in ascending order; nil when the topic does not exist.
    func partitions(of topic: String) throws(LogError) -> [Int32]?

    /// First offset still there and the offset behind the last committed record.
    func bounds(of source: TopicPartition) throws(LogError) -> (start: Int64, end: Int64)

    /// Reads a committed range `[from, to)` of any partition on the side, until it is read or the body returns false.
    func read(
        _ source: TopicPartition,
        from: Int64,
        to: Int64,
        _ body: (LogRecord, [(String, UnsafeRawBufferPointer)]) -> Bool
    ) throws(LogError)
}

/// What is committed, partition by partition: the side of a log that belongs to the thread that judges.
public protocol LogReader: RangeReader {
    /// The offset from which on, within the bounds, records were appended at or after a time; behind the last record when none was.
    ///
    /// By the records' timestamps, which grow with the offsets but for clocks that were set back.
    ///
    /// - Parameter milliseconds: since 1970.
    func offset(of source: TopicPartition, appendedSince milliseconds: Int64) throws(LogError) -> Int64

    /// Starts reading these partitions at these offsets; replaces an earlier assignment.
    func assign(_ sources: [SourcePosition]) throws(LogError)

    /// Reads one more partition, which is none of those that are read; they go on undisturbed.
    ///
    /// - Returns: the index of the new source, behind the others.
    func add(_ position: SourcePosition) throws(LogError) -> Int

    /// Lends up to `limit` records of one assigned source, in offset order, without waiting; returns the source's next offset.
    ///
    /// - Parameters:
    ///   - withHeaders: lends the records' headers too, which costs a log the reading of them.
    ///   - body: returns false to stop behind the record it was given.
    func poll(source: Int, limit: Int, withHeaders: Bool, _ body: (LogRecord) -> Bool) throws(LogError) -> Int64

    /// Why some assigned source may not be read for now, although it could be; the log tries it again by itself. Nil: all may be.
    var refusal: LogError? { get }

    /// Waits until some assigned source may have records, or the time is over; serves the log's own events meanwhile.
    func wait(milliseconds: Int) throws(LogError)

    /// Of each position whether its partition ends there, as the log says when it is asked.
    ///
    /// False also where it does not say so within a second: that nothing comes from a log that is away is no evidence that there
    /// is nothing.
    func areEnds(_ positions: [SourcePosition]) -> [Bool]

    /// The partitions of a topic, as the log says when it is asked; nil when it does not say within a second or so, or has no such
    /// topic.
    func askPartitions(of topic: String) -> [Int32]?

    /// How often it is worth asking which partitions there are.
    var discoveryInterval: Duration { get }

    /// Where partitions end, as the log says when it is asked; within a second or so.
    func askEnds(_ sources: [TopicPartition]) -> [PartitionEnd]

    /// Input positions of the application's newest commit, without owning it; empty when there was none.
    ///
    /// The journal is the truth; this is for comparison.
    func committedPositions(of sources: [TopicPartition]) throws(LogError) -> [SourcePosition]
}

/// Commits for one application: whoever holds it has taken ownership.
///
/// One thread at a time uses it, and that may be another than the reader's.
public protocol LogWriter: AnyObject {
    /// Appends the outputs and moves the input positions in one atomic step.
    ///
    /// When it returns, all of it is durable and visible, exactly once. When the outcome of an attempt is unknown the log finds out
    /// by the journal's end (its last record's epoch number) and tries again until it knows.
    ///
    /// - Throws: ``LogError``: `fenced` when another owner has taken over; `transient` when the same batch may succeed later;
    ///   `corrupt` when its first epoch is not the one behind the journal's newest; `refused` for what can never be written.
    ///   Nothing of a batch that was refused is seen.
    func commit(_ outputs: borrowing OutputBatch, positions: [SourcePosition]) throws(LogError)

    /// What the log counts about its commits.
    var counters: LogCounters { get }

    /// True where a commit waits for nothing, as in memory: it is then made on the caller's thread, which keeps a simulation
    /// deterministic.
    var commitsAtOnce: Bool { get }
}

/// Topics and producers: what is done to a log beside judging.
public protocol LogAdministration: AnyObject {
    /// How people call the log: the file, or the brokers.
    var name: String { get }

    /// The names of all topics that we may see, sorted.
    func topics() throws(LogError) -> [String]

    /// Makes the topics that are missing; those that exist are left as they are.
    func create(_ topics: [TopicRequirement]) throws(LogError)

    /// Appends records without a transaction of a pipeline and without positions, for producers; nobody needs to own anything for
    /// it.
    ///
    /// - Parameter flushing: false: records may still be under way when this returns, and a later call tells of those that cannot
    ///   be delivered.
    /// - Returns: whether everything appended so far is durable; always true with `flushing`.
    @discardableResult
    func append(_ outputs: borrowing OutputBatch, flushing: Bool) throws(LogError) -> Bool

    /// How many partitions an input topic is best made with.
    var suggestedPartitions: Int { get }

    /// What a person types to make an input topic; nil where the pipeline makes it, because nobody else can.
    func commandToCreate(_ topic: String) -> String?

    /// The settings in force of a topic; nil where a log has none.
    func settings(of topic: String) throws(LogError) -> TopicSettings?

    /// Of these, the partitions whose end is held back by a transaction that is still open: with the offset from which on nothing
    /// may be read yet, and the one behind the last record.
    ///
    /// One look sees transactions that are about to end too; who asks again later and finds one at the same offset knows more.
    func heldBack(_ sources: [TopicPartition]) throws(LogError) -> [(source: TopicPartition, from: Int64, to: Int64)]

    /// What a person types to change settings of a topic; nil where a log has none.
    func commandToSet(_ settings: [String: String], of topic: String) -> String?

    /// What the log was opened with and does not use, with the reason.
    var unusedProperties: [(name: String, reason: String)] { get }

    /// Looks whether each partition holds its records; reads all of them. Nil where that is the log's own business.
    ///
    /// - Returns: how many records there are, and one sentence about each partition that lacks some.
    func examineRecords() throws(LogError) -> (count: Int64, faults: [String])?
}

/// Settings of a topic, as Kafka has them.
public struct TopicSettings: Sendable, Equatable {
    /// The values in force, by name, such as `cleanup.policy`.
    public var values: [String: String]
    /// On how many brokers each partition lies; nil: unknown.
    public var replicas: Int?

    public init(values: [String: String], replicas: Int?) {
        self.values = values
        self.replicas = replicas
    }
}

/// What a log counts about its commits, for metrics; totals since ownership was taken first.
public struct LogCounters: Sendable, Equatable {
    /// How often transactional producers were thrown away and made anew.
    public var producerRecreations = 0
    /// Attempts to commit that failed and were made again, or whose outcome had to be looked up.
    public var retriedCommits = 0
    public init() {}
}

extension LogReader {
    /// The same without headers.
    public func poll(source: Int, limit: Int, _ body: (LogRecord) -> Bool) throws(LogError) -> Int64 {
        try poll(source: source, limit: limit, withHeaders: false, body)
    }

    /// By halving, with a look at one record each time.
    public func offset(of source: TopicPartition, appendedSince milliseconds: Int64) throws(LogError) -> Int64 {
        var (low, high) = try bounds(of: source)
        while low < high {
            let middle = low + (high - low) / 2
            var found: (offset: Int64, isBefore: Bool)?
            // Offsets may have gaps: the next record there is decides.
            try read(source, from: middle, to: high) { record, _ in
                found = (record.offset, (record.timestamp ?? .max) < milliseconds)
                return false
            }
            if let found, found.isBefore { low = found.offset + 1 } else { high = middle }
        }
        return low
    }

    /// Most logs refuse nothing that they have once allowed.
    public var refusal: LogError? { nil }

    /// For logs that tell at once.
    public func askPartitions(of topic: String) -> [Int32]? {
        do throws(LogError) { return try partitions(of: topic) } catch { return nil }
    }

    public var discoveryInterval: Duration { .seconds(30) }

    /// By the bounds, for logs that give them at once.
    public func askEnds(_ sources: [TopicPartition]) -> [PartitionEnd] {
        sources.map { source in
            do throws(LogError) {
                guard try partitions(of: source.topic)?.contains(source.partition) == true else { return .gone }
                return .at(try bounds(of: source).end)
            } catch { return .unknown }
        }
    }

    /// By the bounds, for logs that give them at once.
    public func areEnds(_ positions: [SourcePosition]) -> [Bool] {
        positions.map { position in
            do throws(LogError) { return try bounds(of: position.source).end <= position.next } catch { return false }
        }
    }
}

/// A log that has nothing to count, and commits that take their time.
extension LogWriter {
    public var counters: LogCounters { LogCounters() }
    public var commitsAtOnce: Bool { false }
}

/// A log whose topics are names and partitions, and nothing to set.
extension LogAdministration {
    public var suggestedPartitions: Int { 1 }
    public func commandToCreate(_ topic: String) -> String? { nil }
    public func settings(of topic: String) throws(LogError) -> TopicSettings? { nil }
    public func commandToSet(_ settings: [String: String], of topic: String) -> String? { nil }
    public func heldBack(_ sources: [TopicPartition]) throws(LogError)
        -> [(source: TopicPartition, from: Int64, to: Int64)]
    { [] }
    public var unusedProperties: [(name: String, reason: String)] { [] }
    public func examineRecords() throws(LogError) -> (count: Int64, faults: [String])? { nil }

    /// Appends records and waits until they are durable.
    public func append(_ outputs: borrowing OutputBatch) throws(LogError) { try append(outputs, flushing: true) }
}
