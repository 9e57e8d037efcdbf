import CSQLite
import Glibc

/// One SQLite connection with its errors as ``LogError``; used by one thread at a time.
final class Database {
    private var handle: OpaquePointer?
    private let path: String
    private let patience: Int
    private let clock: any WorkerClock
    private var statements: [String: Statement] = [:]
    /// The last failure was that another process holds the file: it may work later.
    private(set) var isBusy = false
    /// Pages in the write-ahead log after our last commit; written by SQLite's hook.
    private let walPages = UnsafeMutablePointer<Int32>.allocate(capacity: 1)
    /// A second connection that does nothing but checkpoints; see ``begin()``.
    private var checkpointer: OpaquePointer?

    /// Descriptor of the turnstile, -1: none.
    private var turnstile: Int32 = -1

    /// Pages (16 KiB) the write-ahead log may hold before it is moved into the file.
    private static let walPageLimit: Int32 = 2000

    /// What the connection may do.
    enum Access {
        /// Read and write; makes the file where it is missing.
        case full
        /// Only read, of a file that one may write: SQLite's own files beside it are made and removed as for a writer.
        case look
        /// Only read, without the right to write: SQLite's own files beside the log are there already.
        case readOnly
        /// Only read a file that has none of SQLite's beside it, without looking for locks: nobody may write meanwhile.
        case still
    }

    let access: Access

    /// - Parameter clock: paces what waits for others; but for SQLite's own waiting, which calls a C function that can be given no
    ///   more than a number.
    init(path: String, patience: Int, access: Access, clock: any WorkerClock) throws(LogError) {
        self.path = path
        self.patience = patience
        self.clock = clock
        self.access = access
        walPages.initialize(to: 0)
        // One thread at a time uses a log, so SQLite's own locks would be paid for nothing.
        var flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE
        switch access {
        case .full: flags |= SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE
        case .look: flags |= SQLITE_OPEN_READWRITE
        case .readOnly: flags |= SQLITE_OPEN_READONLY
        case .still: flags |= SQLITE_OPEN_READONLY | SQLITE_OPEN_URI
        }
        if access == .full {
            // The log holds every event as it came: a new one is its owner's alone, and SQLite gives those beside it the same mode.
            let made = Glibc.open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
            if made >= 0 { Glibc.close(made) }
        }
        let name = access == .still ? Database.immutableName(of: path) : path
        let code = sqlite3_open_v2(name, &handle, flags, nil)
        guard code == SQLITE_OK else {
            let error = failure(code, "open the log")
            sqlite3_close_v2(handle)
            handle = nil
            throw error
        }
        // SQLite's own waiting grows to 100 ms a step; ours looks every millisecond. The context is no address, only the number of
        // steps.
        sqlite3_busy_handler(
            handle,
            { context, count in
                guard Int(count) < Int(bitPattern: context) else { return 0 }
                usleep(count < 10 ? 100 : 1000)
                return 1
            },
            UnsafeMutableRawPointer(bitPattern: max(0, patience))
        )
        // Replaces the automatic checkpoints. The hook is called within our own commits only, and the pointer lives as long as we
        // do.
        sqlite3_wal_hook(
            handle,
            { context, _, _, pages in
                context?.assumingMemoryBound(to: Int32.self).pointee = pages
                return SQLITE_OK
            },
            walPages
        )
        do throws(LogError) {
            // Pages are written twice (log, then file); large pages and rare checkpoints let one page soak up many records first.
            // journal_size_limit: after a burst the write-ahead log shrinks again.
            try execute(
                """
                PRAGMA page_size = 16384; PRAGMA synchronous = FULL;
                PRAGMA cache_size = -16000; PRAGMA journal_size_limit = 67108864; PRAGMA foreign_keys = OFF;
                PRAGMA query_only = \(access == .full ? "OFF" : "ON");
                """
            )
        } catch {
            close()
            throw error
        }
    }

    deinit {
        close()
        walPages.deallocate()
    }

    /// Finalises all cached statements; those held elsewhere keep the connection alive until they go.
    func close() {
        statements = [:]
        if turnstile >= 0 { Glibc.close(turnstile) }
        turnstile = -1
        sqlite3_close_v2(checkpointer)
        checkpointer = nil
        sqlite3_close_v2(handle)
        handle = nil
    }

    /// The path as a URI that tells SQLite nobody writes to the file.
    private static func immutableName(of path: String) -> String {
        var name = path.hasPrefix("/") ? "file://" : "file:"
        for byte in path.utf8 {
            switch UInt8(byte) {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "/"), UInt8(ascii: "."), UInt8(ascii: "-"),
                UInt8(ascii: "_"):
                name.unicodeScalars.append(Unicode.Scalar(byte))
            default:
                let digits = String(byte, radix: 16, uppercase: true)
                name += byte < 16 ? "%0\(digits)" : "%\(digits)"
            }
        }
        return name + "?immutable=1"
    }

    /// Opens the turnstile; called once the file is known to be ours.
    func openTurnstile() {
        // Whoever may use the log may use it too.
        var status = stat()
        let mode = stat(path, &status) == 0 ? status.st_mode & 0o666 : 0o600
        turnstile = open(path + "-turn", O_RDWR | O_CREAT | O_CLOEXEC, mode)
    }

    /// Changing to WAL needs the file alone for a moment, and SQLite does not wait here by itself.
    func useWriteAheadLog() throws(LogError) {
        var tries = 0
        while true {
            do throws(LogError) {
                let statement = try Statement(self, "PRAGMA journal_mode = WAL")
                guard try statement.step(), statement.text(0) == "wal" else {
                    throw LogError(
                        .refused,
                        "\(path): this file system cannot hold a write-ahead log. Use a local disk."
                    )
                }
                return
            } catch {
                guard isBusy, tries < patience / 10 else { throw error }
                tries += 1
                clock.pause(for: .milliseconds(10))
            }
        }
    }

    /// Begins a write transaction; now and then moves the write-ahead log into the file first.
    ///
    /// SQLite before 3.51.3 (3.44.6, 3.50.7) can lose committed transactions when one connection checkpoints while another commits
    /// and so starts the log anew (sqlite.org/wal.html, "The WAL-Reset Bug"). Its automatic checkpoints run after the commit,
    /// without the write lock, which is just that when a producer and a pipeline share a file. Here nobody checkpoints
    /// automatically, and who checkpoints holds the write lock meanwhile: one connection takes the lock, a second one does the
    /// work. The transaction is then begun again, because only one begun behind a complete checkpoint may start the log anew.
    func begin() throws(LogError) {
        try beginInTurn()
        guard walPages.pointee >= Database.walPageLimit else { return }
        walPages.pointee = 0
        checkpoint()
        try cached("ROLLBACK").run()
        try beginInTurn()
    }

    /// Takes the write lock when it is our turn.
    ///
    /// SQLite has no queue: a producer that begins again right after its commit nearly always wins against one that looks every
    /// millisecond. So a writer first locks the turnstile, a file beside the log, waits there for the write lock and then lets the
    /// next one in: nobody passes twice while another waits. It is for fairness only; where it cannot be had, writing goes on
    /// without.
    private func beginInTurn() throws(LogError) {
        var tries = 0
        while turnstile >= 0, tries < patience, flock(turnstile, LOCK_EX | LOCK_NB) != 0 {
            clock.pause(for: .microseconds(tries < 10 ? 100 : 1000))
            tries += 1
        }
        defer { if turnstile >= 0 { flock(turnstile, LOCK_UN) } }
        try cached("BEGIN IMMEDIATE").run()
    }

    /// Moves what it can; what readers still need, or a full disk refuses, stays in the log, is not lost, and is tried again.
    private func checkpoint() {
        if checkpointer == nil {
            let flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX
            guard sqlite3_open_v2(path, &checkpointer, flags, nil) == SQLITE_OK else {
                sqlite3_close_v2(checkpointer)
                checkpointer = nil
                return
            }
            sqlite3_wal_autocheckpoint(checkpointer, 0)
            sqlite3_exec(checkpointer, "PRAGMA synchronous = FULL", nil, nil, nil)
        }
        sqlite3_wal_checkpoint_v2(checkpointer, nil, SQLITE_CHECKPOINT_PASSIVE, nil, nil)
    }

    func commit() throws(LogError) { try cached("COMMIT").run() }

    /// Undoes the open transaction.
    ///
    /// It may be gone already: SQLite itself rolls back after some errors.
    func rollback() {
        guard sqlite3_get_autocommit(handle) == 0 else { return }
        sqlite3_exec(handle, "ROLLBACK", nil, nil, nil)
    }

    var lastRowID: Int64 { sqlite3_last_insert_rowid(handle) }

    func execute(_ sql: String) throws(LogError) {
        let code = sqlite3_exec(handle, sql, nil, nil, nil)
        guard code == SQLITE_OK else { throw failure(code, "prepare the log") }
    }

    func integer(_ sql: String) throws(LogError) -> Int64 {
        let statement = try Statement(self, sql)
        return try statement.step() ? statement.int(0) : 0
    }

    /// A statement prepared once and kept; the caller resets it.
    func cached(_ sql: String) throws(LogError) -> Statement {
        if let known = statements[sql] { return known }
        let made = try Statement(self, sql)
        statements[sql] = made
        return made
    }

    fileprivate func prepare(_ sql: String) throws(LogError) -> OpaquePointer? {
        var prepared: OpaquePointer?
        let code = sqlite3_prepare_v3(handle, sql, -1, UInt32(SQLITE_PREPARE_PERSISTENT), &prepared, nil)
        guard code == SQLITE_OK else { throw failure(code, "read the log") }
        return prepared
    }

    fileprivate func failure(_ code: Int32, _ doing: String) -> LogError {
        let text = handle == nil ? String(cString: sqlite3_errstr(code)) : String(cString: sqlite3_errmsg(handle))
        let number = handle == nil ? 0 : sqlite3_system_errno(handle)
        let system = number == 0 ? text : "\(text): \(systemText(number))"
        isBusy = code & 0xff == SQLITE_BUSY || code & 0xff == SQLITE_LOCKED
        switch code & 0xff {
        case SQLITE_BUSY, SQLITE_LOCKED:
            return LogError(
                .unreachable,
                "cannot use \(path): another process has held it for more than \(patience) ms. See who with `fuser \(path)`."
            )
        case SQLITE_CORRUPT, SQLITE_NOTADB:
            return LogError(
                .corrupt,
                "\(path) is damaged or no SQLite database (\(text)). Restore a copy, or rescue what is left with `sqlite3 \(path) .recover`."
            )
        case SQLITE_FULL:
            return LogError(
                .transient,
                "cannot write to \(path): the disk is full. Nothing of this transaction was written; make room."
            )
        case SQLITE_CANTOPEN where access == .readOnly && handle != nil,
            SQLITE_READONLY where access == .readOnly:
            return LogError(
                .notAuthorised,
                "cannot \(doing) \(path): it is in use or was not closed, and \(path)-wal and \(path)-shm beside it cannot be read (\(text)). "
                    + "Ask for the right to read them, or look at a copy of all three."
            )
        case SQLITE_CANTOPEN where ![EACCES, EPERM, EROFS].contains(number):
            return LogError(.unreachable, "cannot \(doing) \(path): \(system). Check the path given to --log.")
        case SQLITE_CANTOPEN, SQLITE_PERM, SQLITE_READONLY, SQLITE_AUTH:
            return LogError(
                .notAuthorised,
                "cannot \(doing) \(path): \(system). Check who may read and write file and folder."
            )
        case SQLITE_IOERR: return LogError(.transient, "cannot \(doing) \(path): \(system). Check the disk.")
        case SQLITE_NOMEM: return LogError(.transient, "cannot \(doing) \(path): out of memory.")
        case SQLITE_FORMAT: return LogError(.incompatible, "cannot \(doing) \(path): \(system).")
        case SQLITE_ERROR: return LogError(.corrupt, "\(path) is not laid out as expected: \(text).")
        default: return LogError(.refused, "cannot \(doing) \(path): \(system).")
        }
    }
}

/// A prepared statement.
///
/// Blobs are bound without a copy: they must live until ``run()`` or ``step()`` is over.
final class Statement {
    private let handle: OpaquePointer?
    // Keeps the connection's errors at hand; unowned, because the connection owns its cached statements.
    private unowned let database: Database

    init(_ database: Database, _ sql: String) throws(LogError) {
        self.database = database
        handle = try database.prepare(sql)
    }

    deinit { sqlite3_finalize(handle) }

    func bind(_ index: Int32, _ value: Int64) { sqlite3_bind_int64(handle, index, value) }

    func bind(_ index: Int32, _ text: String) {
        var text = text
        text.withUTF8 { bytes in
            let transient = unsafeBitCast(-1, to: sqlite3_destructor_type.self)
            _ = bytes.withMemoryRebound(to: CChar.self) {
                sqlite3_bind_text(handle, index, $0.baseAddress, Int32($0.count), transient)
            }
        }
    }

    /// nil binds NULL.
    ///
    /// SQLite takes a null pointer for NULL too, hence the second door for an empty value.
    func bind(_ index: Int32, _ bytes: UnsafeRawBufferPointer?) {
        if let bytes {
            if bytes.count == 0 {
                sqlite3_bind_zeroblob(handle, index, 0)
            } else {
                sqlite3_bind_blob64(handle, index, bytes.baseAddress, UInt64(bytes.count), nil)
            }
        } else {
            sqlite3_bind_null(handle, index)
        }
    }

    /// Runs a statement without rows and makes it ready for the next use.
    func run() throws(LogError) {
        while try step() {}
        sqlite3_reset(handle)
    }

    /// True when there is a row.
    ///
    /// After an error the statement is ready for the next use.
    func step() throws(LogError) -> Bool {
        let code = sqlite3_step(handle)
        if code == SQLITE_ROW { return true }
        if code == SQLITE_DONE { return false }
        let error = database.failure(code, sqlite3_stmt_readonly(handle) != 0 ? "read" : "write to")
        sqlite3_reset(handle)
        throw error
    }

    func reset() { sqlite3_reset(handle) }

    func int(_ column: Int32) -> Int64 { sqlite3_column_int64(handle, column) }

    func text(_ column: Int32) -> String {
        guard let text = sqlite3_column_text(handle, column) else { return "" }
        return String(cString: text)
    }

    /// nil for NULL; valid until the next step.
    func blob(_ column: Int32) -> UnsafeRawBufferPointer? {
        if let start = sqlite3_column_blob(handle, column) {
            return UnsafeRawBufferPointer(start: start, count: Int(sqlite3_column_bytes(handle, column)))
        }
        return sqlite3_column_type(handle, column) == SQLITE_NULL ? nil : UnsafeRawBufferPointer(start: nil, count: 0)
    }
}

/// The system's words for an errno, such as "Permission denied".
func systemText(_ number: Int32) -> String { String(cString: strerror(number)) }
