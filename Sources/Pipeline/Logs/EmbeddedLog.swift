import CSQLite
import Glibc
import Telemetry

// The file: an SQLite database in WAL mode, application_id "Weir", user_version 1. Open it with `sqlite3` to look; every time is in
// milliseconds since 1970.
//
//   applications (name PRIMARY KEY, generation, taken_at)           who may commit: the holder of the newest generation
//   topics       (name PRIMARY KEY, partitions)
//   partitions   (id PRIMARY KEY, topic, partition, start, next)    first offset kept, offset of the next record
//   positions    (application, topic, partition, next)              input positions of the newest commit
//   records_<id> (offset PRIMARY KEY, append_time, key, value, headers)
//
// Beside it lie SQLite's own -wal and -shm while it is open, and -turn, an empty file on which writers queue. To copy a log in use:
// `sqlite3 weir.db ".backup copy.db"`.
//
// One table per partition, because then every insert goes to the right edge of its own tree, where SQLite fills pages to the brim and
// never splits one; with all partitions in one table only the last partition has that place. `offset` is the rowid, so a range of
// offsets is a range of leaves. key NULL: no key; value NULL: a tombstone; headers NULL: none, otherwise as in OutputBatch.

/// A log in one SQLite file: the same topics and the same atomic commit as on Kafka, with nothing to install.
///
/// Several processes may have the file open at once: a pipeline, producers, readers. Writers take turns (one transaction each); readers
/// never wait for writers. What ``commit(_:positions:)`` or ``append(_:)`` returned from is on disk (`synchronous=FULL`). Offsets of a
/// partition are consecutive from 0. Keep the file on a local disk: WAL mode needs shared memory. Other programs may read it at any time;
/// let none write while Weir runs.
///
/// One thread uses a log at a time.
public final class EmbeddedLog: EventLog {
    /// What to do when the file is missing.
    public enum Opening: Sendable {
        /// Make it.
        case createIfMissing
        /// Refuse: a reader should not leave an empty log behind because of a slip in the path. A reader writes no records, and needs no
        /// right to: of a file that it may not write, SQLite's -wal and -shm must be readable too while they are there.
        case reading
    }

    /// Version of the file's layout that this code writes and reads.
    public static let layoutVersion = 1
    private static let applicationID: Int32 = 0x5765_6972
    /// How often a reader without the right to write looks for the files of one who does, 20 ms apart.
    private static let readerTries = 25

    /// Version of the SQLite library in use, such as "3.40.1".
    public static var libraryVersion: String { String(cString: sqlite3_libversion()) }

    /// The file's path as given.
    public let path: String
    private var database: Database?
    private var topics: [String: [Partition]] = [:]
    private var partitioners: [String: Partitioner] = [:]
    private var sources: [(partition: Partition, next: Int64)] = []
    private var ownership: (application: String, generation: Int64)?
    private var touched: [Partition] = []
    private var inTransaction = false
    private var transactionTime: Int64 = 0
    private var seenVersion: Int64 = -1
    private let patience: Int
    /// The file as it was when it was opened as one that nobody writes to; nil: it was opened otherwise.
    private var stillState: FileState?

    /// Opens the log, making file and tables where they are missing.
    ///
    /// `patience` is how long one call waits for another process's transaction, in milliseconds, before it fails with `.unreachable`, or
    /// ``commit(_:positions:)`` with `.transient`: who commits tries again.
    public init(path: String, opening: Opening = .createIfMissing, patience: Int = 10_000) throws(LogError) {
        self.path = path
        self.patience = patience
        if opening == .reading, access(path, F_OK) != 0 {
            throw LogError(
                errno == EACCES ? .notAuthorised : .unreachable,
                "cannot open the log \(path): \(systemText(errno)). Check the path given to --log.")
        }
        do throws(LogError) {
            if opening == .reading {
                try openToRead()
            } else {
                let database = try Database(path: path, patience: patience, access: .full)
                self.database = database
                try prepareFile(database)
            }
        } catch {
            close()
            throw error
        }
    }

    deinit { close() }

    /// Becomes the one pipeline of this name that may commit, and returns its generation, higher than all before.
    ///
    /// From here on every commit of an earlier owner fails with `.fenced`. Take ownership first and read the journal's end afterwards: in
    /// this order nothing can be committed in between.
    @discardableResult
    public func takeOwnership(application: String) throws(LogError) -> Int64 {
        let generation = try transaction { () throws(LogError) -> Int64 in
            let statement = try statement(
                """
                INSERT INTO applications (name, generation, taken_at) VALUES (?1, 1, ?2)
                ON CONFLICT (name) DO UPDATE SET generation = generation + 1, taken_at = ?2 RETURNING generation
                """)
            defer { statement.reset() }
            statement.bind(1, application)
            statement.bind(2, transactionTime)
            guard try statement.step() else { return 0 }
            let generation = statement.int(0)
            while try statement.step() {}
            return generation
        }
        ownership = (application, generation)
        return generation
    }

    public func create(_ wanted: [TopicRequirement]) throws(LogError) {
        try transaction { () throws(LogError) in
            for topic in wanted {
                guard topic.partitions > 0, topic.partitions <= 4096, !topic.name.isEmpty else {
                    throw LogError(
                        .refused, "topic '\(topic.name)' cannot have \(topic.partitions) partitions; give it 1 to 4096."
                    )
                }
                if try partitionList(topic.name) != nil { continue }
                let insert = try statement("INSERT INTO topics (name, partitions) VALUES (?1, ?2)")
                insert.bind(1, topic.name)
                insert.bind(2, Int64(topic.partitions))
                try insert.run()
                let add = try statement("INSERT INTO partitions (topic, partition, start, next) VALUES (?1, ?2, 0, 0)")
                for number in 0..<topic.partitions {
                    add.bind(1, topic.name)
                    add.bind(2, Int64(number))
                    try add.run()
                    try open().execute(
                        """
                        CREATE TABLE records_\(try open().lastRowID)
                        (offset INTEGER PRIMARY KEY, append_time INTEGER NOT NULL, key BLOB, value BLOB, headers BLOB)
                        """)
                }
            }
        }
    }

    public func partitions(of topic: String) throws(LogError) -> [Int32]? {
        try follow()
        return try partitionList(topic)?.map(\.number)
    }

    public func bounds(of source: TopicPartition) throws(LogError) -> (start: Int64, end: Int64) {
        try follow()
        return try edges(of: find(source))
    }

    public func assign(_ wanted: [SourcePosition]) throws(LogError) {
        var assigned: [(Partition, Int64)] = []
        for position in wanted {
            let partition = try find(position.source)
            try require(position.next, toLieIn: edges(of: partition), of: partition)
            assigned.append((partition, position.next))
        }
        sources = assigned
        seenVersion = -1
    }

    public func poll(source: Int, limit: Int, _ body: (LogRecord) -> Bool) throws(LogError) -> Int64 {
        guard limit > 0 else { return sources[source].next }
        try follow()
        let partition = sources[source].partition
        let select = try partition.select(in: open())
        defer { select.reset() }
        let from = sources[source].next
        var next = from
        select.bind(1, from)
        select.bind(2, Int64(limit))
        while try select.step() {
            let offset = select.int(0)
            if next == from, offset != from { try require(from, toLieIn: edges(of: partition), of: partition) }
            next = offset + 1
            let goesOn = body(
                LogRecord(
                    source: source, offset: offset, appendTime: select.int(1), key: select.blob(2),
                    value: select.blob(3)))
            if !goesOn { break }
        }
        if next == from { try require(from, toLieIn: edges(of: partition), of: partition) }
        sources[source].next = next
        return next
    }

    public func wait(milliseconds: Int) throws(LogError) {
        let deadline = MonotonicClock.milliseconds() + Double(milliseconds)
        var pause = 1.0
        while true {
            try follow()
            // The version changes with another connection's commit. Our own appends do not change it, hence the first look at any call.
            let version = try dataVersion()
            if version != seenVersion || pause == 1 {
                for source in sources where try edges(of: source.partition).end > source.next { return }
                seenVersion = version
            }
            let left = deadline - MonotonicClock.milliseconds()
            if left <= 0 { return }
            usleep(UInt32(min(pause, left) * 1000))
            pause = min(pause + 1, 5)
        }
    }

    public func read(
        _ source: TopicPartition, from: Int64, to: Int64,
        _ body: (LogRecord, [(String, UnsafeRawBufferPointer)]) -> Bool
    ) throws(LogError) {
        guard from < to else { return }
        try follow()
        let partition = try find(source)
        let edges = try edges(of: partition)
        guard from >= edges.start, to <= edges.end else {
            throw LogError(
                .outOfRange,
                "\(path): offsets \(from)..<\(to) of \(source) are wanted and \(edges.start)..<\(edges.end) are there. What is missing was "
                    + "deleted, or the file is an older copy.")
        }
        let select = try Statement(
            open(),
            """
            SELECT offset, append_time, key, value, headers FROM records_\(partition.id) WHERE offset >= ?1 AND offset < ?2 ORDER BY offset
            """)
        select.bind(1, from)
        select.bind(2, to)
        var headers: [(String, UnsafeRawBufferPointer)] = []
        while try select.step() {
            headers.removeAll(keepingCapacity: true)
            if let block = select.blob(4) { try decodeHeaders(block, into: &headers, of: source) }
            let record = LogRecord(
                source: 0, offset: select.int(0), appendTime: select.int(1), key: select.blob(2), value: select.blob(3))
            if !body(record, headers) { return }
        }
    }

    public func commit(_ outputs: borrowing OutputBatch, positions: [SourcePosition]) throws(LogError) {
        guard let ownership else {
            throw LogError(.refused, "\(path): a pipeline takes ownership of its application before it commits.")
        }
        do throws(LogError) {
            try begin()
        } catch {
            throw database?.isBusy == true ? LogError(.transient, error.message) : error
        }
        do throws(LogError) {
            let current = try generation(of: ownership.application)
            guard current == ownership.generation else {
                throw LogError(
                    .fenced,
                    "\(path): another process runs '\(ownership.application)' now (generation \(current), ours is "
                        + "\(ownership.generation)). Run one of them.")
            }
            try insert(outputs)
            let move = try statement(
                """
                INSERT INTO positions (application, topic, partition, next) VALUES (?1, ?2, ?3, ?4)
                ON CONFLICT (application, topic, partition) DO UPDATE SET next = ?4
                """)
            for position in positions {
                move.bind(1, ownership.application)
                move.bind(2, position.source.topic)
                move.bind(3, Int64(position.source.partition))
                move.bind(4, position.next)
                try move.run()
            }
            try end()
        } catch {
            rollback()
            throw error
        }
    }

    public func committedPositions(of wanted: [TopicPartition]) throws(LogError) -> [SourcePosition] {
        guard let ownership else {
            throw LogError(.refused, "\(path): positions belong to an application; take ownership or name one.")
        }
        return try committedPositions(of: wanted, application: ownership.application)
    }

    /// Input positions of the newest commit by an application, without owning it; for those who only look.
    public func committedPositions(of wanted: [TopicPartition], application: String) throws(LogError)
        -> [SourcePosition]
    {
        let select = try statement(
            "SELECT next FROM positions WHERE application = ?1 AND topic = ?2 AND partition = ?3")
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

    /// Looks whether each partition holds its records, for those who only look; reads the whole file.
    ///
    /// - Returns: how many records there are, and one sentence about each partition that lacks some.
    public func examineRecords() throws(LogError) -> (count: Int64, faults: [String]) {
        try follow()
        let list = try Statement(open(), "SELECT id, topic, partition FROM partitions ORDER BY topic, partition")
        var count: Int64 = 0
        var faults: [String] = []
        while try list.step() {
            let (id, name) = (list.int(0), "\(list.text(1))/\(list.int(2))")
            let tables = try open().integer(
                "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'records_\(id)'")
            guard tables == 1 else {
                faults.append("\(name) has lost its table records_\(id)")
                continue
            }
            // One statement, one moment: a producer may write meanwhile.
            let row = try Statement(
                open(),
                """
                SELECT p.start, p.next, (SELECT count(*) FROM records_\(id)),
                    (SELECT count(*) FROM records_\(id) r WHERE r.offset >= p.start AND r.offset < p.next)
                FROM partitions p WHERE p.id = \(id)
                """)
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

    public func close() {
        sources = []
        topics = [:]
        touched = []
        if inTransaction { rollback() }
        database?.close()
        database = nil
    }
}

// MARK: - Producing

extension EmbeddedLog {
    /// Appends a producer's records in one transaction; nobody needs to own anything for it.
    public func append(_ outputs: borrowing OutputBatch) throws(LogError) {
        try begin()
        do throws(LogError) {
            try insert(outputs)
            try end()
        } catch {
            rollback()
            throw error
        }
    }

    /// Appends one record and returns its offset; a transaction of its own unless called within ``transaction(_:)``.
    ///
    /// Without a partition the key decides, as with Kafka's default partitioner. The value nil is a tombstone.
    @discardableResult
    public func append(
        topic: String, partition: Int32? = nil, key: UnsafeRawBufferPointer?, value: UnsafeRawBufferPointer?,
        headers: [(String, [UInt8])] = []
    ) throws(LogError) -> Int64 {
        guard inTransaction else {
            return try transaction { () throws(LogError) -> Int64 in
                try append(topic: topic, partition: partition, key: key, value: value, headers: headers)
            }
        }
        guard let all = try partitionList(topic) else { throw unknownTopic(topic) }
        let target: Partition
        if let partition {
            target = try find(TopicPartition(topic, partition))
        } else {
            target = all[partitioners[topic, default: Partitioner()].partition(key: key, of: all.count)]
        }
        if headers.isEmpty { return try insert(into: target, key: key, value: value, headers: nil) }
        var batch = OutputBatch(topics: [topic])
        batch.append(topic: 0, key: nil, value: nil, headers: headers)
        var offset: Int64 = 0
        try batch.withParts { (_, _, _, block) throws(LogError) in
            offset = try insert(into: target, key: key, value: value, headers: block)
        }
        return offset
    }

    /// Runs the body in one transaction: all of its appends are durable when this returns, none when it throws.
    public func transaction<R>(_ body: () throws(LogError) -> R) throws(LogError) -> R {
        try begin()
        do throws(LogError) {
            let result = try body()
            try end()
            return result
        } catch {
            rollback()
            throw error
        }
    }

    /// Forgets the records of a partition before an offset; the file keeps its size and uses the room again.
    public func deleteRecords(of source: TopicPartition, before offset: Int64) throws(LogError) {
        let partition = try find(source)
        try transaction { () throws(LogError) in
            let edges = try edges(of: partition)
            let start = min(max(offset, edges.start), edges.end)
            try open().execute("DELETE FROM records_\(partition.id) WHERE offset < \(start)")
            try open().execute("UPDATE partitions SET start = \(start) WHERE id = \(partition.id)")
        }
    }
}

// MARK: - Inside

/// What tells that a file was written to.
private struct FileState: Equatable {
    var inode: UInt
    var size: Int
    var seconds: Int
    var nanoseconds: Int

    init?(_ path: String) {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        inode = UInt(status.st_ino)
        size = Int(status.st_size)
        seconds = status.st_mtim.tv_sec
        nanoseconds = status.st_mtim.tv_nsec
    }
}

/// A partition's place in the file and its prepared statements.
private final class Partition {
    let id: Int64
    let topic: String
    let number: Int32
    /// Offset of the next record; true only within a transaction that has touched the partition.
    var next: Int64 = 0
    var isTouched = false
    private var insertStatement: Statement?
    private var selectStatement: Statement?

    init(id: Int64, topic: String, number: Int32) {
        self.id = id
        self.topic = topic
        self.number = number
    }

    func insert(in database: Database) throws(LogError) -> Statement {
        if let insertStatement { return insertStatement }
        let made = try Statement(
            database, "INSERT INTO records_\(id) (offset, append_time, key, value, headers) VALUES (?1, ?2, ?3, ?4, ?5)"
        )
        insertStatement = made
        return made
    }

    func select(in database: Database) throws(LogError) -> Statement {
        if let selectStatement { return selectStatement }
        let made = try Statement(
            database,
            "SELECT offset, append_time, key, value FROM records_\(id) WHERE offset >= ?1 ORDER BY offset LIMIT ?2")
        selectStatement = made
        return made
    }
}

extension EmbeddedLog {
    private func open() throws(LogError) -> Database {
        guard let database else { throw LogError(.refused, "\(path): the log is closed.") }
        return database
    }

    private func statement(_ sql: String) throws(LogError) -> Statement { try open().cached(sql) }

    /// Opens a log that is there, to look at it.
    ///
    /// In WAL mode SQLite wants to make its own files beside a file that it reads. Who may not do that reads those of the process that writes;
    /// where there are none nobody writes, and the file is read as it lies, until somebody does: see ``follow()``.
    private func openToRead() throws(LogError) {
        let folder = path.lastIndex(of: "/").map { String(path[...$0]) } ?? "."
        if access(path, W_OK) == 0, access(folder, W_OK) == 0 { return try openToRead(.look) }
        var tries = 0
        while true {
            do throws(LogError) {
                return try openToRead(access(path + "-wal", F_OK) == 0 ? .readOnly : .still)
            } catch {
                // A process that just opens or closes the log makes or removes one file after the other.
                guard error.kind == .notAuthorised, tries < EmbeddedLog.readerTries else { throw error }
                tries += 1
                usleep(20_000)
            }
        }
    }

    private func openToRead(_ mode: Database.Access) throws(LogError) {
        database?.close()
        stillState = mode == .still ? FileState(path) : nil
        let database = try Database(path: path, patience: patience, access: mode)
        self.database = database
        try checkOwner(database)
        try checkLayout(database)
        guard try database.integer("PRAGMA user_version") > 0 else {
            throw LogError(
                .refused, "\(path) is empty and no log of Weir yet. `weir run` and `weir simulate` make one.")
        }
    }

    /// Opens the file anew when it was opened as one that nobody writes to, and somebody has begun to.
    ///
    /// A writer changes the file itself with its first checkpoint only, long after -wal has come into being; so it is enough to look before
    /// each question.
    private func follow() throws(LogError) {
        guard let stillState else { return }
        if access(path + "-wal", F_OK) != 0, FileState(path) == stillState { return }
        let positions = sources.map {
            SourcePosition(source: TopicPartition($0.partition.topic, $0.partition.number), next: $0.next)
        }
        close()
        try openToRead()
        try assign(positions)
    }

    /// Whose file this is: nothing is written into a stranger's database.
    private func checkOwner(_ database: Database) throws(LogError) {
        let id = try database.integer("PRAGMA application_id")
        let objects = try database.integer("SELECT count(*) FROM sqlite_master")
        if id != Int64(EmbeddedLog.applicationID), objects > 0 {
            throw LogError(.refused, "\(path) is an SQLite database and not a log of Weir. Give another path.")
        }
    }

    private func prepareFile(_ database: Database) throws(LogError) {
        try checkOwner(database)
        try checkLayout(database)
        try database.useWriteAheadLog()
        database.openTurnstile()
        guard try database.integer("PRAGMA user_version") == 0 else { return }
        try begin()
        do throws(LogError) {
            if try database.integer("PRAGMA user_version") == 0 {
                try database.execute(
                    """
                    CREATE TABLE applications (name TEXT PRIMARY KEY, generation INTEGER NOT NULL, taken_at INTEGER NOT NULL) STRICT;
                    CREATE TABLE topics (name TEXT PRIMARY KEY, partitions INTEGER NOT NULL) STRICT;
                    CREATE TABLE partitions (
                        id INTEGER PRIMARY KEY, topic TEXT NOT NULL, partition INTEGER NOT NULL,
                        start INTEGER NOT NULL, next INTEGER NOT NULL, UNIQUE (topic, partition)) STRICT;
                    CREATE TABLE positions (
                        application TEXT NOT NULL, topic TEXT NOT NULL, partition INTEGER NOT NULL, next INTEGER NOT NULL,
                        PRIMARY KEY (application, topic, partition)) STRICT;
                    PRAGMA application_id = \(EmbeddedLog.applicationID);
                    PRAGMA user_version = \(EmbeddedLog.layoutVersion);
                    """)
            }
            try end()
        } catch {
            rollback()
            throw error
        }
        try checkLayout(database)
    }

    private func checkLayout(_ database: Database) throws(LogError) {
        let version = try database.integer("PRAGMA user_version")
        guard version <= Int64(EmbeddedLog.layoutVersion) else {
            throw LogError(
                .incompatible,
                "\(path) has layout \(version); this weir reads layout \(EmbeddedLog.layoutVersion). Use the weir that made it, or a newer one."
            )
        }
    }

    private func begin() throws(LogError) {
        precondition(!inTransaction, "transactions do not nest")
        let now = Log.wallClockMilliseconds()
        try open().begin()
        inTransaction = true
        transactionTime = now
    }

    private func end() throws(LogError) {
        if !touched.isEmpty {
            let move = try statement("UPDATE partitions SET next = ?2 WHERE id = ?1")
            for partition in touched {
                move.bind(1, partition.id)
                move.bind(2, partition.next)
                try move.run()
            }
        }
        try open().commit()
        inTransaction = false
        forgetTouched()
    }

    private func rollback() {
        guard inTransaction else { return }
        inTransaction = false
        forgetTouched()
        database?.rollback()
        // Topics made in this transaction are gone again.
        topics = [:]
    }

    private func forgetTouched() {
        for partition in touched { partition.isTouched = false }
        touched.removeAll(keepingCapacity: true)
    }

    private func generation(of application: String) throws(LogError) -> Int64 {
        let select = try statement("SELECT generation FROM applications WHERE name = ?1")
        defer { select.reset() }
        select.bind(1, application)
        return try select.step() ? select.int(0) : 0
    }

    /// Topics never change once made, so a hit in memory needs no look at the file.
    private func partitionList(_ topic: String) throws(LogError) -> [Partition]? {
        if let known = topics[topic] { return known }
        let select = try statement("SELECT id, partition FROM partitions WHERE topic = ?1 ORDER BY partition")
        defer { select.reset() }
        select.bind(1, topic)
        var found: [Partition] = []
        while try select.step() {
            found.append(Partition(id: select.int(0), topic: topic, number: Int32(select.int(1))))
        }
        if found.isEmpty { return nil }
        topics[topic] = found
        return found
    }

    private func unknownTopic(_ topic: String) -> LogError {
        LogError(.refused, "\(path) has no topic '\(topic)'. Create it, or check the name.")
    }

    private func find(_ source: TopicPartition) throws(LogError) -> Partition {
        guard let all = try partitionList(source.topic) else { throw unknownTopic(source.topic) }
        guard let partition = all.first(where: { $0.number == source.partition }) else {
            throw LogError(
                .refused, "\(path): topic '\(source.topic)' has \(all.count) partitions, and no \(source.partition).")
        }
        return partition
    }

    private func edges(of partition: Partition) throws(LogError) -> (start: Int64, end: Int64) {
        let select = try statement("SELECT start, next FROM partitions WHERE id = ?1")
        defer { select.reset() }
        select.bind(1, partition.id)
        guard try select.step() else {
            throw LogError(
                .corrupt, "\(path): partition \(partition.number) of '\(partition.topic)' has vanished from the file.")
        }
        return (select.int(0), select.int(1))
    }

    private func require(_ next: Int64, toLieIn edges: (start: Int64, end: Int64), of partition: Partition)
        throws(LogError)
    {
        guard next < edges.start || next > edges.end else { return }
        throw LogError(
            .outOfRange,
            "\(path): offset \(next) of \(partition.topic)/\(partition.number) is wanted and \(edges.start)..<\(edges.end) is there. "
                + "What is missing was deleted, or the file is an older copy.")
    }

    private func dataVersion() throws(LogError) -> Int64 {
        let statement = try statement("PRAGMA data_version")
        defer { statement.reset() }
        return try statement.step() ? statement.int(0) : 0
    }

    private func insert(_ outputs: borrowing OutputBatch) throws(LogError) {
        var targets: [[Partition]] = []
        for name in outputs.topics {
            // A topic nobody writes to in this batch may be missing.
            targets.append(try partitionList(name) ?? [])
        }
        try outputs.withParts { (record, key, value, headers) throws(LogError) in
            let all = targets[record.topic]
            if all.isEmpty { throw unknownTopic(outputs.topics[record.topic]) }
            let number =
                all.count == 1
                ? 0
                : partitioners[outputs.topics[record.topic], default: Partitioner()].partition(key: key, of: all.count)
            try insert(into: all[number], key: key, value: value, headers: headers)
        }
    }

    @discardableResult
    private func insert(
        into partition: Partition, key: UnsafeRawBufferPointer?, value: UnsafeRawBufferPointer?,
        headers: UnsafeRawBufferPointer?
    ) throws(LogError) -> Int64 {
        if !partition.isTouched {
            partition.next = try edges(of: partition).end
            partition.isTouched = true
            touched.append(partition)
        }
        let insert = try partition.insert(in: open())
        insert.bind(1, partition.next)
        insert.bind(2, transactionTime)
        insert.bind(3, key)
        insert.bind(4, value)
        insert.bind(5, headers)
        try insert.run()
        partition.next += 1
        return partition.next - 1
    }

    private func decodeHeaders(
        _ block: UnsafeRawBufferPointer, into headers: inout [(String, UnsafeRawBufferPointer)],
        of source: TopicPartition
    ) throws(LogError) {
        var at = 0
        func part() -> UnsafeRawBufferPointer? {
            guard at + 2 <= block.count else { return nil }
            let length = Int(UInt16(littleEndian: block.loadUnaligned(fromByteOffset: at, as: UInt16.self)))
            guard at + 2 + length <= block.count else { return nil }
            defer { at += 2 + length }
            return UnsafeRawBufferPointer(rebasing: block[(at + 2)..<(at + 2 + length)])
        }
        while at < block.count {
            guard let name = part(), let value = part() else {
                throw LogError(.corrupt, "\(path): the headers of a record in \(source) do not parse.")
            }
            headers.append((String(decoding: name, as: UTF8.self), value))
        }
    }
}
