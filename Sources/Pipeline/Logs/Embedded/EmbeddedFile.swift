import CSQLite
import Glibc

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
// One table per partition, because then every insert goes to the right edge of its own tree, where SQLite fills pages to the brim
// and never splits one; with all partitions in one table only the last partition has that place. `offset` is the rowid, so a range
// of offsets is a range of leaves. key NULL: no key; value NULL: a tombstone; headers NULL: none, otherwise as in OutputBatch.

/// One connection to the file of an embedded log: how it is opened, what lies where, and transactions.
///
/// One thread at a time uses it; a log and its writer have one each.
final class EmbeddedFile {
    let path: String
    private let patience: Int
    private let clock: any WorkerClock
    private var database: Database?
    /// Topics never change once made, so a hit in memory needs no look at the file.
    private var topics: [String: [EmbeddedPartition]] = [:]
    private var partitioners: [String: Partitioner] = [:]
    private var touched: [EmbeddedPartition] = []
    private(set) var isInTransaction = false
    /// When the open transaction began, milliseconds since 1970: the append time of its records.
    private(set) var transactionTime: Int64 = 0
    /// The file as it was when it was opened as one that nobody writes to; nil: it was opened otherwise.
    private var stillState: FileState?

    static let applicationID: Int32 = 0x5765_6972
    /// How often a reader without the right to write looks for the files of one who does, 20 ms apart.
    private static let readerTries = 25

    /// As ``EmbeddedLog/init(path:application:opening:patience:clock:)`` says.
    init(path: String, opening: EmbeddedLog.Opening, patience: Int, clock: any WorkerClock) throws(LogError) {
        self.path = path
        self.patience = patience
        self.clock = clock
        if opening == .reading, access(path, F_OK) != 0 {
            throw LogError(
                errno == EACCES ? .notAuthorised : .unreachable,
                "cannot open the log \(path): \(systemText(errno)). Check the path given to --log."
            )
        }
        do throws(LogError) {
            if opening == .reading {
                try openToRead()
            } else {
                let database = try Database(path: path, patience: patience, access: .full, clock: clock)
                self.database = database
                try prepareFile(database)
            }
        } catch {
            close()
            throw error
        }
    }

    deinit { close() }

    /// The last failure was that another process holds the file.
    var isBusy: Bool { database?.isBusy == true }

    func open() throws(LogError) -> Database {
        guard let database else { throw LogError(.refused, "\(path): the log is closed.") }
        return database
    }

    /// A statement prepared once and kept; the caller resets it.
    func statement(_ sql: String) throws(LogError) -> Statement { try open().cached(sql) }

    /// A second call does nothing.
    func close() {
        topics = [:]
        touched = []
        if isInTransaction { rollback() }
        database?.close()
        database = nil
    }
}

// MARK: - Opening

extension EmbeddedFile {
    /// Opens a log that is there, to look at it.
    ///
    /// In WAL mode SQLite wants to make its own files beside a file that it reads. Who may not do that reads those of the process
    /// that writes; where there are none nobody writes, and the file is read as it lies, until somebody does: see ``follow()``.
    private func openToRead() throws(LogError) {
        let folder = path.lastIndex(of: "/").map { String(path[...$0]) } ?? "."
        if access(path, W_OK) == 0, access(folder, W_OK) == 0 { return try openToRead(.look) }
        var tries = 0
        while true {
            do throws(LogError) {
                return try openToRead(access(path + "-wal", F_OK) == 0 ? .readOnly : .still)
            } catch {
                // A process that just opens or closes the log makes or removes one file after the other.
                guard error.kind == .notAuthorised, tries < EmbeddedFile.readerTries else { throw error }
                tries += 1
                clock.pause(for: .milliseconds(20))
            }
        }
    }

    private func openToRead(_ mode: Database.Access) throws(LogError) {
        database?.close()
        stillState = mode == .still ? FileState(path) : nil
        let database = try Database(path: path, patience: patience, access: mode, clock: clock)
        self.database = database
        try checkOwner(database)
        try checkLayout(database)
        guard try database.integer("PRAGMA user_version") > 0 else {
            throw LogError(
                .refused,
                "\(path) is empty and no log of Weir yet. `weir run` and `weir simulate` make one."
            )
        }
    }

    /// Opens the file anew when it was opened as one that nobody writes to, and somebody has begun to: partitions must then be
    /// found again.
    ///
    /// A writer changes the file itself with its first checkpoint only, long after -wal has come into being; so it is enough to
    /// look before each question.
    ///
    /// - Returns: whether it was opened anew.
    func follow() throws(LogError) -> Bool {
        guard let stillState else { return false }
        if access(path + "-wal", F_OK) != 0, FileState(path) == stillState { return false }
        close()
        try openToRead()
        return true
    }

    /// Whose file this is: nothing is written into a stranger's database.
    private func checkOwner(_ database: Database) throws(LogError) {
        let id = try database.integer("PRAGMA application_id")
        let objects = try database.integer("SELECT count(*) FROM sqlite_master")
        if id != Int64(EmbeddedFile.applicationID), objects > 0 {
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
                    PRAGMA application_id = \(EmbeddedFile.applicationID);
                    PRAGMA user_version = \(EmbeddedLog.layoutVersion);
                    """
                )
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
}

// MARK: - Transactions

extension EmbeddedFile {
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

    func begin() throws(LogError) {
        precondition(!isInTransaction, "transactions do not nest")
        let now = clock.wallMilliseconds
        try open().begin()
        isInTransaction = true
        transactionTime = now
    }

    func end() throws(LogError) {
        if !touched.isEmpty {
            let move = try statement("UPDATE partitions SET next = ?2 WHERE id = ?1")
            for partition in touched {
                move.bind(1, partition.id)
                move.bind(2, partition.next)
                try move.run()
            }
        }
        try open().commit()
        isInTransaction = false
        forgetTouched()
    }

    func rollback() {
        guard isInTransaction else { return }
        isInTransaction = false
        forgetTouched()
        database?.rollback()
        // Topics made in this transaction are gone again.
        topics = [:]
    }

    private func forgetTouched() {
        for partition in touched { partition.isTouched = false }
        touched.removeAll(keepingCapacity: true)
    }

    func insert(_ outputs: borrowing OutputBatch) throws(LogError) {
        var targets: [[EmbeddedPartition]] = []
        for name in outputs.topics {
            // A topic nobody writes to in this batch may be missing.
            targets.append(try partitionList(name) ?? [])
        }
        try outputs.withParts { (record, key, value, headers) throws(LogError) in
            let all = targets[record.topic]
            if all.isEmpty { throw unknownTopic(outputs.topics[record.topic]) }
            let topic = outputs.topics[record.topic]
            let target: EmbeddedPartition
            if record.partition < 0 {
                target = partition(of: topic, all, key: key)
            } else {
                target = try find(TopicPartition(topic, record.partition))
            }
            try insert(into: target, key: key, value: value, headers: headers)
        }
    }

    /// Where a record of the topic goes: its key decides, as with Kafka's default partitioner.
    func partition(of topic: String, _ all: [EmbeddedPartition], key: UnsafeRawBufferPointer?) -> EmbeddedPartition {
        if all.count == 1 { return all[0] }
        return all[partitioners[topic, default: Partitioner()].partition(key: key, of: all.count)]
    }

    /// Returns the record's offset.
    @discardableResult
    func insert(
        into partition: EmbeddedPartition,
        key: UnsafeRawBufferPointer?,
        value: UnsafeRawBufferPointer?,
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
}

// MARK: - What lies where

extension EmbeddedFile {
    /// The partitions of a topic in ascending order; nil when there is none.
    func partitionList(_ topic: String) throws(LogError) -> [EmbeddedPartition]? {
        if let known = topics[topic] { return known }
        let select = try statement("SELECT id, partition FROM partitions WHERE topic = ?1 ORDER BY partition")
        defer { select.reset() }
        select.bind(1, topic)
        var found: [EmbeddedPartition] = []
        while try select.step() {
            found.append(EmbeddedPartition(id: select.int(0), topic: topic, number: Int32(select.int(1))))
        }
        if found.isEmpty { return nil }
        topics[topic] = found
        return found
    }

    func topicNames() throws(LogError) -> [String] {
        let select = try statement("SELECT DISTINCT topic FROM partitions ORDER BY topic")
        defer { select.reset() }
        var names: [String] = []
        while try select.step() { names.append(select.text(0)) }
        return names
    }

    func unknownTopic(_ topic: String) -> LogError {
        LogError(.refused, "\(path) has no topic '\(topic)'. Create it, or check the name.")
    }

    func find(_ source: TopicPartition) throws(LogError) -> EmbeddedPartition {
        guard let all = try partitionList(source.topic) else { throw unknownTopic(source.topic) }
        guard let partition = all.first(where: { $0.number == source.partition }) else {
            throw LogError(
                .refused,
                "\(path): topic '\(source.topic)' has \(all.count) partitions, and no \(source.partition)."
            )
        }
        return partition
    }

    func edges(of partition: EmbeddedPartition) throws(LogError) -> (start: Int64, end: Int64) {
        let select = try statement("SELECT start, next FROM partitions WHERE id = ?1")
        defer { select.reset() }
        select.bind(1, partition.id)
        guard try select.step() else {
            throw LogError(
                .corrupt,
                "\(path): partition \(partition.number) of '\(partition.topic)' has vanished from the file."
            )
        }
        return (select.int(0), select.int(1))
    }

    func require(_ next: Int64, toLieIn edges: (start: Int64, end: Int64), of partition: EmbeddedPartition)
        throws(LogError)
    {
        guard next < edges.start || next > edges.end else { return }
        throw LogError(
            .outOfRange,
            "\(path): offset \(next) of \(partition.topic)/\(partition.number) is wanted and \(edges.start)..<\(edges.end) is there. "
                + "What is missing was deleted, or the file is an older copy."
        )
    }

    func dataVersion() throws(LogError) -> Int64 {
        let statement = try statement("PRAGMA data_version")
        defer { statement.reset() }
        return try statement.step() ? statement.int(0) : 0
    }
}

/// A partition's place in the file and its prepared statements.
final class EmbeddedPartition {
    let id: Int64
    let topic: String
    let number: Int32
    /// Offset of the next record; true only within a transaction that has touched the partition.
    var next: Int64 = 0
    var isTouched = false
    private var insertStatement: Statement?
    /// Without and with the headers.
    private var selectStatements: (plain: Statement?, full: Statement?)
    var name: String { "\(topic)/\(number)" }

    init(id: Int64, topic: String, number: Int32) {
        self.id = id
        self.topic = topic
        self.number = number
    }

    func insert(in database: Database) throws(LogError) -> Statement {
        if let insertStatement { return insertStatement }
        let made = try Statement(
            database,
            "INSERT INTO records_\(id) (offset, append_time, key, value, headers) VALUES (?1, ?2, ?3, ?4, ?5)"
        )
        insertStatement = made
        return made
    }

    func select(in database: Database, withHeaders: Bool) throws(LogError) -> Statement {
        if let known = withHeaders ? selectStatements.full : selectStatements.plain { return known }
        let columns = "offset, append_time, key, value" + (withHeaders ? ", headers" : "")
        let made = try Statement(
            database,
            "SELECT \(columns) FROM records_\(id) WHERE offset >= ?1 ORDER BY offset LIMIT ?2"
        )
        if withHeaders { selectStatements.full = made } else { selectStatements.plain = made }
        return made
    }
}

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
