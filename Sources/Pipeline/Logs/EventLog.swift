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

/// One record as a log lends it: its bytes are valid only during the call that passes it.
public struct LogRecord {
    /// Index into the sources given to ``EventLog/assign(_:)``, or 0 for ``EventLog/read(_:from:to:_:)``.
    public var source: Int
    public var offset: Int64
    /// When the log took the record (or its producer made it), milliseconds since 1970; nil when the log does not know.
    public var appendTime: Int64?
    public var key: UnsafeRawBufferPointer?
    /// The payload: nil is a tombstone, a buffer of length 0 an empty value.
    public var value: UnsafeRawBufferPointer?

    public init(
        source: Int, offset: Int64, appendTime: Int64?, key: UnsafeRawBufferPointer?, value: UnsafeRawBufferPointer?
    ) {
        self.source = source
        self.offset = offset
        self.appendTime = appendTime
        self.key = key
        self.value = value
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

/// Why a log could not do what was asked.
public struct LogError: Error, Sendable, CustomStringConvertible {
    /// What a caller does about it; the command line maps each to an exit code.
    public enum Kind: Sendable, Equatable {
        /// The log cannot be reached, or another process holds it for long (exit 5).
        case unreachable
        /// It, or the file system, refuses us (exit 6); the message names the missing right.
        case notAuthorised
        /// Another process owns our identity; stop (exit 1).
        case fenced
        /// A range that must be read again is gone (exit 7).
        case outOfRange
        /// What is stored contradicts itself (exit 7).
        case corrupt
        /// The log's version or the library's is too old (exit 8).
        case incompatible
        /// Our request is wrong: an unknown topic, an unwritable output file (exit 3).
        case refused
        /// It may work later; the log itself has already tried again.
        case transient
        /// Somebody asked for an end meanwhile: nothing is wrong, and who asked knows what to say.
        case stopped
    }
    public var kind: Kind
    /// What happened and what to do, one or two sentences.
    public var message: String
    public init(_ kind: Kind, _ message: String) {
        self.kind = kind
        self.message = message
    }
    public var description: String { message }
}

/// The only door between the pipeline and the world: read ranges, append atomically, list topics.
///
/// One thread uses a log at a time, but for what ``commitsAside`` allows. Records are what is committed (read_committed); offsets within a
/// partition grow but may have gaps.
public protocol EventLog: AnyObject {
    /// Makes the topics that are missing; those that exist are left as they are.
    func create(_ topics: [TopicRequirement]) throws(LogError)

    /// The partitions of a topic in ascending order; nil when the topic does not exist.
    func partitions(of topic: String) throws(LogError) -> [Int32]?

    /// First offset still there and the offset behind the last committed record.
    func bounds(of source: TopicPartition) throws(LogError) -> (start: Int64, end: Int64)

    /// Starts reading these partitions at these offsets; replaces an earlier assignment.
    func assign(_ sources: [SourcePosition]) throws(LogError)

    /// Lends up to `limit` records of one assigned source, in offset order, without waiting; returns the source's next offset.
    ///
    /// - Parameter body: answers false to stop behind the record it was given.
    func poll(source: Int, limit: Int, _ body: (LogRecord) -> Bool) throws(LogError) -> Int64

    /// Waits until some assigned source may have records, or the time is over; serves the log's own events meanwhile.
    func wait(milliseconds: Int) throws(LogError)

    /// Reads a committed range `[from, to)` of any partition on the side, until it is read or the body answers false.
    func read(
        _ source: TopicPartition, from: Int64, to: Int64,
        _ body: (LogRecord, [(String, UnsafeRawBufferPointer)]) -> Bool) throws(LogError)

    /// Appends the outputs and moves the input positions in one atomic step.
    ///
    /// When it returns, all of it is durable and visible, exactly once. When the outcome of an attempt is unknown the log finds out by the
    /// journal's end (its last record's epoch number) and tries again until it knows.
    func commit(_ outputs: borrowing OutputBatch, positions: [SourcePosition]) throws(LogError)

    /// One thread may poll and wait, and do nothing else, while another commits.
    var commitsAside: Bool { get }

    /// Input positions of the newest commit by this pipeline; empty when there was none. The journal is the truth; this is for comparison.
    func committedPositions(of sources: [TopicPartition]) throws(LogError) -> [SourcePosition]

    /// What the log counts about itself.
    var counters: LogCounters { get }

    /// Ends reading and writing; a second call does nothing.
    func close()
}

/// What a log counts about itself, for metrics; totals since it was opened.
public struct LogCounters: Sendable, Equatable {
    /// How often transactional producers were thrown away and made anew.
    public var producerRecreations = 0
    /// Attempts to commit that failed and were made again, or whose outcome had to be looked up.
    public var retriedCommits = 0
    public init() {}
}

extension EventLog {
    /// A log that has nothing to count.
    public var counters: LogCounters { LogCounters() }

    /// A log that does one thing at a time.
    public var commitsAside: Bool { false }
}
