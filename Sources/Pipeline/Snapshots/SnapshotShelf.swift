import Detection
import Glibc
import Models

/// The snapshots of one deployment as files, for who looks at them or chooses the one that a start goes on from: `weir state`.
///
/// A worker may run beside: it only adds newer ones and removes the oldest. What is not as it should be is a ``LogError``:
/// `corrupt` for bytes that are not what was written, `incompatible` for what another deployment or version wrote.
public struct SnapshotShelf {
    /// A file, unread.
    public struct Entry: Sendable, Equatable {
        /// By its name.
        public var epoch: Int64
        public var path: String
        public var bytes: Int
        /// When it was written, in seconds since 1970.
        public var savedAt: Int64
        /// Set aside by ``choose(_:deletesNewer:)``: no start looks at it.
        public var isAside: Bool
    }

    /// What a whole one says of itself.
    public struct Summary: Sendable, Equatable {
        public var topologyDigest: String
        public var keyFingerprint: String
        /// Of the last epoch in it.
        public var record: JournalRecord
        /// Per source, the first offset that is not in it.
        public var positions: [SourcePosition]
        public var watermark: Int64?
    }

    /// What one comes to when it is loaded.
    public struct Loaded: Sendable, Equatable {
        /// Of all that decides later verdicts.
        public var digest: UInt64
        public var stateBytes: Int
    }

    public let folder: String

    public init(folder: String) { self.folder = folder }

    /// All that are there, the newest first; none where there is no folder.
    public func entries() throws(LogError) -> [Entry] {
        var found: [Entry] = []
        for name in try FolderSnapshots.names(in: folder) {
            guard let (epoch, isAside) = FolderSnapshots.epoch(ofFile: name) else { continue }
            let path = "\(folder)/\(name)"
            var status = stat()
            // A worker beside may have removed it.
            guard lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { continue }
            found.append(
                Entry(
                    epoch: epoch,
                    path: path,
                    bytes: Int(status.st_size),
                    savedAt: Int64(status.st_mtim.tv_sec),
                    isAside: isAside
                )
            )
        }
        return found.sorted { ($0.epoch, $1.isAside ? 1 : 0, $1.path) > ($1.epoch, $0.isAside ? 1 : 0, $0.path) }
    }

    /// Reads one and checks every section's checksum; costs one pass over the file.
    public func summary(of entry: Entry) throws(LogError) -> Summary {
        try read(entry) { (bytes) throws(StateError) in
            let head = try SnapshotHead(try StateReader(bytes), latenessMilliseconds: 0)
            try require(head.record, entry)
            return Summary(
                topologyDigest: head.topologyDigest,
                keyFingerprint: head.keyFingerprint,
                record: head.record,
                positions: head.positions,
                watermark: head.watermark
            )
        }
    }

    /// Loads one as a start would, which checks what each section says too.
    ///
    /// - Parameter deployment: under its own hash key.
    public func load(_ entry: Entry, for deployment: Deployment) throws(LogError) -> Loaded {
        try read(entry) { (bytes) throws(StateError) in
            let snapshot = try Snapshot(bytes, of: deployment, lanes: 1)
            try require(snapshot.record, entry)
            return Loaded(digest: snapshot.engine.digest, stateBytes: snapshot.engine.stateBytes)
        }
    }

    /// Checks that the journal is the one a snapshot was taken from, and that its inputs are there from the snapshot on.
    ///
    /// A snapshot of another version of the program fits: a start goes on from it where nothing else is left.
    public static func requireFit(of summary: Summary, to log: any RangeReader) throws(LogError) {
        let record = summary.record
        guard let newest = try Journal(in: log).newest() else {
            throw LogError(.corrupt, "the log has no journal: nothing says whether the state is of this log")
        }
        if record.epoch > newest.epoch {
            throw LogError(.corrupt, "it is of epoch \(record.epoch), and the journal ends with epoch \(newest.epoch)")
        }
        let fit = JournalFit(log, newest: newest.epoch, takesOtherEngines: true)
        let reason = fit.misfit(record)
        if let failure = fit.failure { throw failure }
        if let reason { throw LogError(.corrupt, reason) }
        for position in summary.positions {
            let source = position.source
            guard let partitions = try log.partitions(of: source.topic), partitions.contains(source.partition) else {
                throw LogError(.corrupt, "\(source) is in it and does not exist any more")
            }
            let (start, end) = try log.bounds(of: source)
            if start > position.next {
                throw LogError(
                    .outOfRange,
                    "\(source) begins at offset \(start), and a start from it needs the records from \(position.next) on"
                )
            }
            if end < position.next {
                throw LogError(
                    .corrupt,
                    "\(source) ends at offset \(end), and the state has its records up to \(position.next)"
                )
            }
        }
    }

    /// Rebuilds the state of an epoch from journal and inputs, all of them, and returns its digest; nil: it was stopped.
    ///
    /// The state is the deployment's release's, whoever judged the epochs.
    ///
    /// - Parameter goOn: asked after each epoch with the number of epochs done.
    public static func rebuiltDigest(
        of epoch: Int64,
        _ deployment: Deployment,
        log: any LogReader,
        releases: any ReleaseSource,
        threads: Int,
        goOn: (Int64) -> Bool
    ) throws(LogError) -> UInt64? {
        let team = ThreadTeam(lanes: threads)
        defer { team.stop() }
        let sources = try Worker.sources(of: deployment, in: log)
        let replay = try JournalReplay(
            log,
            deployment,
            sources: sources,
            block: DecodedBlock(deployment, sources: sources, lanes: threads),
            processor: EpochProcessor(deployment, team: team),
            releases: releases,
            refusesOtherVerdicts: false
        )
        var isThere = false
        var isStopped = false
        try replay.advance(seen: { _, _ in }) { record in
            isThere = record.epoch == epoch
            isStopped = !isThere && !goOn(replay.epochs)
            return !isThere && !isStopped
        }
        if isStopped { return nil }
        guard isThere else { throw LogError(.corrupt, "the journal has no epoch \(epoch)") }
        return replay.engine.digest
    }

    /// Makes one the newest that a start finds, wherever it lies.
    ///
    /// Newer ones are renamed to `….snapshot.aside`, so that no start looks at them and each can be chosen again, or deleted.
    ///
    /// - Returns: the newer ones, as they were.
    public func choose(_ entry: Entry, deletesNewer: Bool) throws(LogError) -> [Entry] {
        let newer = try entries().filter { $0.epoch > entry.epoch && (deletesNewer || !$0.isAside) }
        if entry.isAside {
            let path = FolderSnapshots.path(of: entry.epoch, in: folder)
            if access(path, F_OK) == 0 { try setAside(path) }
            try move(entry.path, to: path)
        }
        // The oldest first: whatever ends this half way, what is found last is one of the newer ones still.
        for other in newer.reversed() {
            if deletesNewer {
                guard unlink(other.path) == 0 || errno == ENOENT else { throw failure(other.path, errno) }
            } else {
                try setAside(other.path)
            }
        }
        FolderSnapshots.sync(folder)
        return newer
    }

    private func setAside(_ path: String) throws(LogError) {
        var target = path + FolderSnapshots.asideSuffix
        var number = 1
        while access(target, F_OK) == 0 {
            number += 1
            target = "\(path)\(FolderSnapshots.asideSuffix).\(number)"
        }
        try move(path, to: target)
    }

    private func move(_ path: String, to target: String) throws(LogError) {
        guard rename(path, target) == 0 else { throw failure(path, errno) }
    }

    private func failure(_ path: String, _ code: Int32) -> LogError {
        LogError(
            [EACCES, EPERM, EROFS].contains(code) ? .notAuthorised : .transient,
            "\(path): \(String(cString: strerror(code)))"
        )
    }

    private func require(_ record: JournalRecord, _ entry: Entry) throws(StateError) {
        try StateError.require(
            record.epoch == entry.epoch,
            "its name says epoch \(entry.epoch), and it is of epoch \(record.epoch)"
        )
    }

    private func read<Result>(
        _ entry: Entry,
        _ body: (UnsafeRawBufferPointer) throws(StateError) -> Result
    ) throws(LogError) -> Result {
        if access(entry.path, R_OK) != 0 { throw failure(entry.path, errno) }
        do throws(StateError) { return try FolderSnapshots.withFile(entry.path, body) } catch {
            switch error {
            case .foreign, .otherLayout: throw LogError(.incompatible, "\(error)")
            case .torn, .damaged, .inconsistent: throw LogError(.corrupt, "\(error)")
            }
        }
    }
}
