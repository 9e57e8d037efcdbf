import Detection
import Glibc
import Models
import Telemetry

/// Keeps snapshots as files in a folder, the newest few.
///
/// A file is named by its epoch, `0000000000000042.snapshot`, and holds the bytes of a ``StoredSnapshot``. It is written under
/// another name, made safe on disk and then renamed, so that a crash leaves no half one under its own name; what is in it is
/// checked by its checksums when it is read, whatever became of it. Files and the folder are for their owner alone: they hold what
/// is known of people.
final class FolderSnapshots: SnapshotStore {
    let folder: String
    private let kept: Int
    private let telemetry: Log
    private let disk: SnapshotDisk

    /// - Parameter keeping: how many files, at least two; older ones are removed when a newer one is safe.
    init(folder: String, keeping: Int = 3, telemetry: Log = .silent, disk: SnapshotDisk = SnapshotDisk()) {
        self.folder = folder
        self.disk = disk
        kept = max(2, keeping)
        self.telemetry = telemetry
    }

    func newest(
        of deployment: Deployment,
        atOrBefore epoch: Int64,
        lanes: Int,
        misfit: (JournalRecord) -> String?
    ) throws(LogError) -> Snapshot? {
        for found in epochs() where found <= epoch {
            var reason: String?
            do throws(StateError) {
                return try FolderSnapshots.withFile(path(of: found)) { (bytes) throws(StateError) in
                    try Snapshot(bytes, of: deployment, lanes: lanes) { record in
                        reason =
                            record.epoch == found
                            ? misfit(record) : "its name says epoch \(found), and it is of epoch \(record.epoch)"
                        return reason
                    }
                }
            } catch {
                telemetry.warn(
                    "a snapshot is passed over",
                    ["file": .string(path(of: found)), "reason": .string(reason ?? "\(error)")]
                )
            }
        }
        return nil
    }

    func save(_ snapshot: StoredSnapshot) throws(LogError) {
        try FolderSnapshots.makeFolder(folder)
        // Who was killed while it saved has left what it had: nobody else writes here.
        for left in try FolderSnapshots.names(in: folder) where left.hasSuffix(FolderSnapshots.suffix + ".new") {
            unlink("\(folder)/\(left)")
        }
        let path = path(of: snapshot.epoch)
        let temporary = path + ".new"
        let descriptor = disk.create(temporary)
        guard descriptor >= 0 else { throw FolderSnapshots.failure("cannot be written", temporary, errno) }
        var isSafe = false
        defer {
            close(descriptor)
            if !isSafe { _ = disk.remove(temporary) }
        }
        var code: Int32 = 0
        snapshot.bytes.withUnsafeBytes { bytes in
            var at = 0
            while at < bytes.count, code == 0 {
                let count = disk.write(descriptor, bytes.baseAddress.map { $0 + at }, bytes.count - at)
                if count >= 0 { at += count } else if errno != EINTR { code = errno }
            }
        }
        if code == 0, disk.sync(descriptor) != 0 { code = errno }
        if code == 0, disk.rename(temporary, path) != 0 { code = errno }
        guard code == 0 else { throw FolderSnapshots.failure("cannot be written", path, code) }
        isSafe = true
        FolderSnapshots.sync(folder, disk)
        for old in epochs().filter({ $0 < snapshot.epoch }).dropFirst(kept - 1) {
            _ = disk.remove(self.path(of: old))
        }
    }

    /// The epochs of which there is a file, the newest first.
    func epochs() -> [Int64] {
        do throws(LogError) {
            return try FolderSnapshots.names(in: folder).compactMap { name in
                guard let (epoch, isAside) = FolderSnapshots.epoch(ofFile: name), !isAside else { return nil }
                return epoch
            }.sorted(by: >)
        } catch {
            telemetry.warn("the snapshots cannot be looked for", ["reason": .string(error.message)])
            return []
        }
    }

    /// What is in a folder; nothing where there is none.
    static func names(in folder: String) throws(LogError) -> [String] {
        guard let listing = opendir(folder) else {
            if errno == ENOENT { return [] }
            throw failure("folder cannot be read", folder, errno)
        }
        defer { closedir(listing) }
        var found: [String] = []
        while let entry = readdir(listing) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            found.append(name)
        }
        return found
    }

    private static let suffix = ".snapshot"
    /// Behind the name of one that no start looks at, and behind it a number where there are several.
    static let asideSuffix = ".aside"

    private static func name(of epoch: Int64) -> String {
        let digits = String(max(0, epoch))
        return String(repeating: "0", count: max(0, 16 - digits.utf8.count)) + digits + suffix
    }

    /// Which epoch a file is of; nil: it is no snapshot.
    static func epoch(ofFile name: String) -> (epoch: Int64, isAside: Bool)? {
        let parts = name.split(separator: ".", maxSplits: 1)
        guard let digits = parts.first, let epoch = Int64(digits), epoch >= 0 else { return nil }
        let whole = FolderSnapshots.name(of: epoch)
        if name == whole { return (epoch, false) }
        return name == whole + asideSuffix || name.hasPrefix(whole + asideSuffix + ".") ? (epoch, true) : nil
    }

    static func path(of epoch: Int64, in folder: String) -> String { "\(folder)/\(FolderSnapshots.name(of: epoch))" }
    func path(of epoch: Int64) -> String { FolderSnapshots.path(of: epoch, in: folder) }

    /// Makes what was renamed in a folder safe.
    static func sync(_ folder: String, _ disk: SnapshotDisk = SnapshotDisk()) {
        let opened = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        if opened >= 0 {
            _ = disk.sync(opened)
            close(opened)
        }
    }

    /// Lends the bytes of a file, which is mapped meanwhile.
    static func withFile<Result>(
        _ path: String,
        _ body: (UnsafeRawBufferPointer) throws(StateError) -> Result
    ) throws(StateError) -> Result {
        let descriptor = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC)
        guard descriptor >= 0 else { throw .foreign("it cannot be read: \(String(cString: strerror(errno)))") }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG, status.st_size > 0 else {
            throw .torn("it is empty, or no file")
        }
        let count = Int(status.st_size)
        guard let start = mmap(nil, count, PROT_READ, MAP_PRIVATE, descriptor, 0), start != MAP_FAILED else {
            throw .foreign("it cannot be read: \(String(cString: strerror(errno)))")
        }
        defer { munmap(start, count) }
        return try body(UnsafeRawBufferPointer(start: start, count: count))
    }

    /// Makes the folder and those above it, for their owner alone.
    private static func makeFolder(_ folder: String) throws(LogError) {
        var status = stat()
        if stat(folder, &status) == 0 { return }
        if let slash = folder.lastIndex(of: "/"), slash > folder.startIndex { try makeFolder(String(folder[..<slash])) }
        if mkdir(folder, 0o700) != 0, errno != EEXIST { throw failure("cannot be made", folder, errno) }
    }

    private static func failure(_ what: String, _ path: String, _ code: Int32) -> LogError {
        LogError(
            [EACCES, EPERM, EROFS].contains(code) ? .notAuthorised : .transient,
            "the snapshot \(what): \(path): \(String(cString: strerror(code)))"
        )
    }
}
