import CSQLite

/// A log in one SQLite file: the same topics and the same atomic commit as on Kafka, with nothing to install.
///
/// Several processes may have the file open at once: a pipeline, producers, readers. Writers take turns (one transaction each);
/// readers never wait for writers. What a commit or ``append(_:flushing:)`` returned from is on disk (`synchronous=FULL`). Offsets
/// of a partition are consecutive from 0. Keep the file on a local disk: WAL mode needs shared memory. Other programs may read it
/// at any time; let none write while Weir runs.
///
/// The layout of the file is told in EmbeddedFile.swift.
public final class EmbeddedLog: EventLog {
    /// What to do when the file is missing.
    public enum Opening: Sendable {
        /// Make it.
        case createIfMissing
        /// Refuse: a reader should not leave an empty log behind because of a slip in the path. A reader writes no records, and
        /// needs no right to: of a file that it may not write, SQLite's -wal and -shm must be readable too while they are there.
        case reading
    }

    /// Version of the file's layout that this code writes and reads.
    public static let layoutVersion = 1

    /// Version of the SQLite library in use, such as "3.40.1".
    public static var libraryVersion: String { String(cString: sqlite3_libversion()) }

    /// The file's path as given.
    public let path: String
    /// Who commits, and whose positions are asked for.
    public let application: String
    public var name: String { path }
    private let opening: Opening
    private let patience: Int
    private let file: EmbeddedFile
    private let clock: any WorkerClock
    private var sources: [(partition: EmbeddedPartition, next: Int64)] = []
    private var seenVersion: Int64 = -1
    /// Of the record that is lent, where they were asked for.
    private var headers: [LogHeader] = []
    /// The one that was handed out last.
    private var writer: EmbeddedWriter?

    /// Opens the log, making file and tables where they are missing.
    ///
    /// - Parameters:
    ///   - application: the name that owns commits and positions.
    ///   - patience: how long one call waits for another process's transaction, in milliseconds, before it fails as `unreachable`,
    ///     or a commit as `transient`: who commits tries again.
    ///   - clock: paces what waits: ``wait(milliseconds:)``, and who waits for another process's transaction.
    public init(
        path: String,
        application: String = "weir",
        opening: Opening = .createIfMissing,
        patience: Int = 10_000,
        clock: any WorkerClock = SystemClock()
    ) throws(LogError) {
        self.path = path
        self.application = application
        self.opening = opening
        self.patience = patience
        self.clock = clock
        file = try EmbeddedFile(path: path, opening: opening, patience: patience, clock: clock)
    }

    /// Raises the application's generation in the file; the writer has a connection of its own.
    public func takeOwnership() throws(LogError) -> any LogWriter {
        guard opening != .reading else {
            throw LogError(.notAuthorised, "\(path) was opened to be read: nobody commits through it.")
        }
        let made = try EmbeddedWriter(path: path, application: application, patience: patience, clock: clock)
        writer = made
        made.newestEpoch = try Journal(in: self).newest()?.epoch ?? -1
        return made
    }

    public func close() {
        sources = []
        writer?.close()
        writer = nil
        file.close()
    }

    // MARK: Reading

    public func partitions(of topic: String) throws(LogError) -> [Int32]? {
        try follow()
        return try file.partitionList(topic)?.map(\.number)
    }

    public func topics() throws(LogError) -> [String] {
        try follow()
        return try file.topicNames()
    }

    public func bounds(of source: TopicPartition) throws(LogError) -> (start: Int64, end: Int64) {
        try follow()
        return try file.edges(of: file.find(source))
    }

    public func assign(_ wanted: [SourcePosition]) throws(LogError) {
        var assigned: [(EmbeddedPartition, Int64)] = []
        for position in wanted {
            let partition = try file.find(position.source)
            try file.require(position.next, toLieIn: file.edges(of: partition), of: partition)
            assigned.append((partition, position.next))
        }
        sources = assigned
        seenVersion = -1
    }

    public func add(_ position: SourcePosition) throws(LogError) -> Int {
        let partition = try file.find(position.source)
        try file.require(position.next, toLieIn: file.edges(of: partition), of: partition)
        sources.append((partition, position.next))
        seenVersion = -1
        return sources.count - 1
    }

    public func poll(source: Int, limit: Int, withHeaders: Bool, _ body: (LogRecord) -> Bool) throws(LogError) -> Int64
    {
        guard limit > 0 else { return sources[source].next }
        try follow()
        let partition = sources[source].partition
        let select = try partition.select(in: file.open(), withHeaders: withHeaders)
        defer { select.reset() }
        let from = sources[source].next
        var next = from
        select.bind(1, from)
        select.bind(2, Int64(limit))
        while try select.step() {
            let offset = select.int(0)
            if next == from, offset != from {
                try file.require(from, toLieIn: file.edges(of: partition), of: partition)
            }
            headers.removeAll(keepingCapacity: true)
            if withHeaders, let block = select.blob(4),
                !OutputBatch.readHeaders(block, { headers.append(LogHeader(name: $0, value: $1)) })
            {
                throw LogError(.corrupt, "\(path): the headers of a record in \(partition.name) do not parse.")
            }
            next = offset + 1
            let goesOn = headers.withUnsafeBufferPointer {
                body(
                    LogRecord(
                        source: source,
                        offset: offset,
                        timestamp: select.int(1),
                        appendTime: select.int(1),
                        key: select.blob(2),
                        value: select.blob(3),
                        headers: $0
                    )
                )
            }
            if !goesOn { break }
        }
        if next == from { try file.require(from, toLieIn: file.edges(of: partition), of: partition) }
        sources[source].next = next
        return next
    }

    public func wait(milliseconds: Int) throws(LogError) {
        let deadline = clock.now + .milliseconds(milliseconds)
        var pause = Duration.milliseconds(1)
        while true {
            try follow()
            // The version changes with another connection's commit. Our own appends do not change it, hence the first look at any
            // call.
            let version = try file.dataVersion()
            if version != seenVersion || pause == .milliseconds(1) {
                for source in sources where try file.edges(of: source.partition).end > source.next { return }
                seenVersion = version
            }
            let left = deadline - clock.now
            if left <= .zero { return }
            clock.pause(for: min(pause, left))
            pause = min(pause + .milliseconds(1), .milliseconds(5))
        }
    }

    public func read(
        _ source: TopicPartition,
        from: Int64,
        to: Int64,
        _ body: (LogRecord, [(String, UnsafeRawBufferPointer)]) -> Bool
    ) throws(LogError) {
        guard from < to else { return }
        try follow()
        let partition = try file.find(source)
        let edges = try file.edges(of: partition)
        guard from >= edges.start, to <= edges.end else {
            throw LogError(
                .outOfRange,
                "\(path): offsets \(from)..<\(to) of \(source) are wanted and \(edges.start)..<\(edges.end) are there. What is missing was "
                    + "deleted, or the file is an older copy."
            )
        }
        let select = try Statement(
            file.open(),
            """
            SELECT offset, append_time, key, value, headers FROM records_\(partition.id) WHERE offset >= ?1 AND offset < ?2 ORDER BY offset
            """
        )
        select.bind(1, from)
        select.bind(2, to)
        var headers: [(String, UnsafeRawBufferPointer)] = []
        while try select.step() {
            headers.removeAll(keepingCapacity: true)
            let isWhole = select.blob(4).map { block in
                OutputBatch.readHeaders(block) { headers.append((String(decoding: $0, as: UTF8.self), $1)) }
            }
            if isWhole == false {
                throw LogError(.corrupt, "\(path): the headers of a record in \(source) do not parse.")
            }
            let record = LogRecord(
                source: 0,
                offset: select.int(0),
                timestamp: select.int(1),
                appendTime: select.int(1),
                key: select.blob(2),
                value: select.blob(3)
            )
            if !body(record, headers) { return }
        }
    }

    /// Those of the log's own application.
    public func committedPositions(of wanted: [TopicPartition]) throws(LogError) -> [SourcePosition] {
        try follow()
        let select = try file.statement(
            "SELECT next FROM positions WHERE application = ?1 AND topic = ?2 AND partition = ?3"
        )
        defer { select.reset() }
        var found: [SourcePosition] = []
        for source in wanted {
            select.reset()
            select.bind(1, application)
            select.bind(2, source.topic)
            select.bind(3, Int64(source.partition))
            if try select.step() { found.append(SourcePosition(source: source, next: select.int(0))) }
        }
        return found
    }

    /// See ``EmbeddedFile/follow()``; what was assigned goes on where it was.
    private func follow() throws(LogError) {
        guard try file.follow() else { return }
        try assign(
            sources.map {
                SourcePosition(source: TopicPartition($0.partition.topic, $0.partition.number), next: $0.next)
            }
        )
    }
}

// MARK: - Topics and producers

extension EmbeddedLog {
    public func create(_ wanted: [TopicRequirement]) throws(LogError) {
        try file.transaction { () throws(LogError) in
            for topic in wanted {
                guard topic.partitions > 0, topic.partitions <= 4096, !topic.name.isEmpty else {
                    throw LogError(
                        .refused,
                        "topic '\(topic.name)' cannot have \(topic.partitions) partitions; give it 1 to 4096."
                    )
                }
                if try file.partitionList(topic.name) != nil { continue }
                let insert = try file.statement("INSERT INTO topics (name, partitions) VALUES (?1, ?2)")
                insert.bind(1, topic.name)
                insert.bind(2, Int64(topic.partitions))
                try insert.run()
                let add = try file.statement(
                    "INSERT INTO partitions (topic, partition, start, next) VALUES (?1, ?2, 0, 0)"
                )
                for number in 0..<topic.partitions {
                    add.bind(1, topic.name)
                    add.bind(2, Int64(number))
                    try add.run()
                    try file.open().execute(
                        """
                        CREATE TABLE records_\(try file.open().lastRowID)
                        (offset INTEGER PRIMARY KEY, append_time INTEGER NOT NULL, key BLOB, value BLOB, headers BLOB)
                        """
                    )
                }
            }
        }
    }

    /// One transaction; durable when it returns, `flushing` or not.
    @discardableResult
    public func append(_ outputs: borrowing OutputBatch, flushing: Bool) throws(LogError) -> Bool {
        if outputs.isEmpty { return true }
        try file.begin()
        do throws(LogError) {
            try file.insert(outputs)
            try file.end()
        } catch {
            file.rollback()
            throw error
        }
        return true
    }

    /// Appends one record and returns its offset; a transaction of its own unless called within ``transaction(_:)``.
    ///
    /// Without a partition the key decides, as with Kafka's default partitioner. The value nil is a tombstone.
    @discardableResult
    public func append(
        topic: String,
        partition: Int32? = nil,
        key: UnsafeRawBufferPointer?,
        value: UnsafeRawBufferPointer?,
        headers: [(String, [UInt8])] = []
    ) throws(LogError) -> Int64 {
        guard file.isInTransaction else {
            return try file.transaction { () throws(LogError) -> Int64 in
                try append(topic: topic, partition: partition, key: key, value: value, headers: headers)
            }
        }
        guard let all = try file.partitionList(topic) else { throw file.unknownTopic(topic) }
        let target: EmbeddedPartition
        if let partition {
            target = try file.find(TopicPartition(topic, partition))
        } else {
            target = file.partition(of: topic, all, key: key)
        }
        if headers.isEmpty { return try file.insert(into: target, key: key, value: value, headers: nil) }
        var batch = OutputBatch(topics: [topic])
        batch.append(topic: 0, key: nil, value: nil, headers: headers)
        var offset: Int64 = 0
        try batch.withParts { (_, _, _, block) throws(LogError) in
            offset = try file.insert(into: target, key: key, value: value, headers: block)
        }
        return offset
    }

    /// Runs the body in one transaction: all of its appends are durable when this returns, none when it throws.
    public func transaction<R>(_ body: () throws(LogError) -> R) throws(LogError) -> R { try file.transaction(body) }

    /// Forgets the records of a partition before an offset; the file keeps its size and uses the room again.
    public func deleteRecords(of source: TopicPartition, before offset: Int64) throws(LogError) {
        let partition = try file.find(source)
        try file.transaction { () throws(LogError) in
            let edges = try file.edges(of: partition)
            let start = min(max(offset, edges.start), edges.end)
            try file.open().execute("DELETE FROM records_\(partition.id) WHERE offset < \(start)")
            try file.open().execute("UPDATE partitions SET start = \(start) WHERE id = \(partition.id)")
        }
    }

    /// Looks whether each partition holds its records, for those who only look; reads the whole file.
    ///
    /// - Returns: how many records there are, and one sentence about each partition that lacks some.
    public func examineRecords() throws(LogError) -> (count: Int64, faults: [String])? {
        try follow()
        let list = try Statement(file.open(), "SELECT id, topic, partition FROM partitions ORDER BY topic, partition")
        var count: Int64 = 0
        var faults: [String] = []
        while try list.step() {
            let (id, name) = (list.int(0), "\(list.text(1))/\(list.int(2))")
            let tables = try file.open().integer(
                "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'records_\(id)'"
            )
            guard tables == 1 else {
                faults.append("\(name) has lost its table records_\(id)")
                continue
            }
            // One statement, one moment: a producer may write meanwhile.
            let row = try Statement(
                file.open(),
                """
                SELECT p.start, p.next, (SELECT count(*) FROM records_\(id)),
                    (SELECT count(*) FROM records_\(id) r WHERE r.offset >= p.start AND r.offset < p.next)
                FROM partitions p WHERE p.id = \(id)
                """
            )
            guard try row.step() else { continue }
            let (start, next, all, within) = (row.int(0), row.int(1), row.int(2), row.int(3))
            count += all
            if within < next - start {
                faults.append("\(name) lacks \(next - start - within) of its records, offsets \(start) to \(next - 1)")
            } else if all > within {
                faults.append("\(name) has \(all - within) records outside its offsets, \(start) to \(next - 1)")
            }
        }
        return (count, faults)
    }
}
