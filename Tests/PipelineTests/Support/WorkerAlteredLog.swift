import Glibc
import Synchronization
import Waiting

@testable import Pipeline

/// A simulated log whose commits take a while, on a thread of their own; a lock keeps its parts one.
///
/// `@unchecked Sendable`: everything is done under the lock.
final class AsideLog: EventLog, LogWriter, @unchecked Sendable {
    private let log: SimulatedLog
    private let mutex = Mutex(())

    init(_ log: SimulatedLog) { self.log = log }

    private func locked<Result>(_ body: () throws(LogError) -> Result) throws(LogError) -> Result {
        mutex._unsafeLock()
        defer { mutex._unsafeUnlock() }
        return try body()
    }

    var name: String { log.name }
    func takeOwnership() throws(LogError) -> any LogWriter {
        _ = try locked { () throws(LogError) in try log.takeOwnership() }
        return self
    }
    func topics() throws(LogError) -> [String] { try locked { () throws(LogError) in try log.topics() } }
    func create(_ topics: [TopicRequirement]) throws(LogError) {
        try locked { () throws(LogError) in try log.create(topics) }
    }
    func append(_ outputs: borrowing OutputBatch, flushing: Bool) throws(LogError) -> Bool {
        mutex._unsafeLock()
        defer { mutex._unsafeUnlock() }
        return try log.append(outputs, flushing: flushing)
    }
    func partitions(of topic: String) throws(LogError) -> [Int32]? {
        try locked { () throws(LogError) in try log.partitions(of: topic) }
    }
    func bounds(of source: TopicPartition) throws(LogError) -> (start: Int64, end: Int64) {
        try locked { () throws(LogError) in try log.bounds(of: source) }
    }
    func assign(_ sources: [SourcePosition]) throws(LogError) {
        try locked { () throws(LogError) in try log.assign(sources) }
    }
    func add(_ position: SourcePosition) throws(LogError) -> Int {
        try locked { () throws(LogError) in try log.add(position) }
    }
    func poll(source: Int, limit: Int, withHeaders: Bool, _ body: (LogRecord) -> Bool) throws(LogError) -> Int64 {
        try locked { () throws(LogError) in
            try log.poll(source: source, limit: limit, withHeaders: withHeaders, body)
        }
    }
    func wait(milliseconds: Int) throws(LogError) {
        try locked { () throws(LogError) in try log.wait(milliseconds: milliseconds) }
    }
    func read(
        _ source: TopicPartition,
        from: Int64,
        to: Int64,
        _ body: (LogRecord, [(String, UnsafeRawBufferPointer)]) -> Bool
    ) throws(LogError) { try locked { () throws(LogError) in try log.read(source, from: from, to: to, body) } }
    func commit(_ outputs: borrowing OutputBatch, positions: [SourcePosition]) throws(LogError) {
        // The worker may go on.
        Waiting.yield()
        mutex._unsafeLock()
        defer { mutex._unsafeUnlock() }
        try log.commit(outputs, positions: positions)
    }
    func committedPositions(of sources: [TopicPartition]) throws(LogError) -> [SourcePosition] {
        try locked { () throws(LogError) in try log.committedPositions(of: sources) }
    }
    func close() { log.close() }
}

/// A simulated log that answers some questions otherwise.
final class AlteredLog: EventLog, LogWriter {
    private let log: SimulatedLog
    var partitionsOf: (_ topic: String, _ true: [Int32]?) -> [Int32]? = { $1 }
    var boundsOf: (_ source: TopicPartition, _ true: (start: Int64, end: Int64)) -> (start: Int64, end: Int64) = { $1 }
    var settingsOf: (_ topic: String) throws(LogError) -> TopicSettings? = { _ in nil }
    /// Asked before each commit; an error takes its place.
    var beforeCommit: () -> LogError? = { nil }

    init(_ log: SimulatedLog) { self.log = log }

    var name: String { log.name }
    var commitsAtOnce: Bool { true }
    func takeOwnership() throws(LogError) -> any LogWriter {
        _ = try log.takeOwnership()
        return self
    }
    func topics() throws(LogError) -> [String] { try log.topics() }
    func create(_ topics: [TopicRequirement]) throws(LogError) { try log.create(topics) }
    func append(_ outputs: borrowing OutputBatch, flushing: Bool) throws(LogError) -> Bool {
        try log.append(outputs, flushing: flushing)
    }
    func settings(of topic: String) throws(LogError) -> TopicSettings? { try settingsOf(topic) }
    func partitions(of topic: String) throws(LogError) -> [Int32]? {
        partitionsOf(topic, try log.partitions(of: topic))
    }
    func bounds(of source: TopicPartition) throws(LogError) -> (start: Int64, end: Int64) {
        boundsOf(source, try log.bounds(of: source))
    }
    func assign(_ sources: [SourcePosition]) throws(LogError) { try log.assign(sources) }
    func add(_ position: SourcePosition) throws(LogError) -> Int { try log.add(position) }
    func poll(source: Int, limit: Int, withHeaders: Bool, _ body: (LogRecord) -> Bool) throws(LogError) -> Int64 {
        try log.poll(source: source, limit: limit, withHeaders: withHeaders, body)
    }
    func wait(milliseconds: Int) throws(LogError) { try log.wait(milliseconds: milliseconds) }
    func read(
        _ source: TopicPartition,
        from: Int64,
        to: Int64,
        _ body: (LogRecord, [(String, UnsafeRawBufferPointer)]) -> Bool
    ) throws(LogError) { try log.read(source, from: from, to: to, body) }
    func commit(_ outputs: borrowing OutputBatch, positions: [SourcePosition]) throws(LogError) {
        if let error = beforeCommit() { throw error }
        try log.commit(outputs, positions: positions)
    }
    func committedPositions(of sources: [TopicPartition]) throws(LogError) -> [SourcePosition] {
        try log.committedPositions(of: sources)
    }
    func close() { log.close() }
}
