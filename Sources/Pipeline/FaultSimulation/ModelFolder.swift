import Glibc

/// The folder of a world's snapshots: a real one, in which writing fails as planned and files come to harm.
final class ModelFolder {
    let path: String
    /// Epochs under whose name there is something else than was saved.
    private var damaged: Set<Int64> = []
    /// The inputs before the snapshot of this epoch are deleted; -1: none are.
    var cutEpoch: Int64 = -1
    /// Changes a file's bytes so that its checksums are right again: a reader that does not check them.
    private let resealing: (([UInt8]) -> [UInt8])?

    init(_ path: String, resealing: (([UInt8]) -> [UInt8])?) {
        self.path = path
        self.resealing = resealing
    }

    private var store: FolderSnapshots { FolderSnapshots(folder: path) }

    /// The epochs whose files are as they were saved, the newest first.
    var whole: [Int64] { store.epochs().filter { !damaged.contains($0) } }

    /// Whether a start can go on from some file, or needs none.
    var canBeGoneOnFrom: Bool { cutEpoch < 0 || whole.contains { $0 >= cutEpoch } }

    func remove() {
        for epoch in store.epochs() { unlink(store.path(of: epoch)) }
        // What a killed save has left.
        if let listing = opendir(path) {
            while let entry = readdir(listing) {
                let name = withUnsafePointer(to: &entry.pointee.d_name) {
                    $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
                }
                if name.hasSuffix(".new") { unlink("\(path)/\(name)") }
            }
            closedir(listing)
        }
        rmdir(path)
    }

    // MARK: Harm

    /// Does to the newest file what a fault says.
    func damage(_ fault: Fault) {
        guard let newest = store.epochs().first else { return }
        let path = store.path(of: newest)
        switch fault.effect {
        case .missing:
            unlink(path)
            damaged.remove(newest)
        case .misnamed:
            rename(path, store.path(of: newest + 1))
            damaged.remove(newest)
            damaged.insert(newest + 1)
        case .emptied: change(newest) { $0 = [] }
        case .torn: change(newest) { $0.removeLast(min($0.count, 1 + fault.place % max(1, $0.count))) }
        case .flipped:
            change(newest) { bytes in
                if !bytes.isEmpty { bytes[fault.place % bytes.count] ^= 1 << UInt8(fault.place % 8) }
                if let resealing { bytes = resealing(bytes) }
            }
        default: break
        }
    }

    private func change(_ epoch: Int64, _ body: (inout [UInt8]) -> Void) {
        let path = store.path(of: epoch)
        guard let file = fopen(path, "r+") else { return }
        defer { fclose(file) }
        fseek(file, 0, SEEK_END)
        var bytes = [UInt8](repeating: 0, count: max(0, ftell(file)))
        rewind(file)
        guard fread(&bytes, 1, bytes.count, file) == bytes.count else { return }
        body(&bytes)
        rewind(file)
        fwrite(bytes, 1, bytes.count, file)
        fflush(file)
        ftruncate(fileno(file), bytes.count)
        damaged.insert(epoch)
    }

    // MARK: Writing

    /// What a life writes with: real files, under its faults.
    ///
    /// Nothing is made safe on the real disk: what a loss of power does is among the faults.
    func disk(_ life: FaultedLife) -> SnapshotDisk {
        let system = SnapshotDisk()
        var disk = system
        disk.create = { path in ModelFolder.effect(life, .snapshotCreate) == nil ? -1 : system.create(path) }
        disk.write = { file, bytes, count in
            guard let effect = ModelFolder.effect(life, .snapshotWrite) else { return -1 }
            return system.write(file, bytes, effect == .torn ? (count + 1) / 2 : count)
        }
        disk.sync = { _ in ModelFolder.effect(life, .snapshotSync) == nil ? -1 : 0 }
        disk.rename = { [unowned self] from, to in
            guard let effect = ModelFolder.effect(life, .snapshotRename) else { return -1 }
            let result = system.rename(from, to)
            guard result == 0, let epoch = store.epochs().first(where: { store.path(of: $0) == to }) else {
                return result
            }
            damaged.remove(epoch)
            // The disk said that the bytes are safe, and lost some of them with its power.
            if effect == .torn { change(epoch) { $0.removeLast($0.count / 2) } }
            return 0
        }
        disk.remove = { path in
            // Who is dead tidies nothing up.
            life.hasCrashed || ModelFolder.effect(life, .snapshotRemove) == nil ? -1 : system.remove(path)
        }
        return disk
    }

    /// Comes to the point of a call: nil where the call fails, with `errno`; `slow`, which has passed, where nothing is left to do.
    private static func effect(_ life: FaultedLife, _ point: FaultPoint) -> FaultEffect? {
        do {
            let effect = try life.reach(point)?.effect
            guard effect == .fullDisk else { return effect ?? .slow }
            errno = ENOSPC
        } catch { errno = EIO }
        return nil
    }
}

/// The real store over a world's folder, as one life finds it.
final class ModelSnapshots: SnapshotStore {
    private let folder: ModelFolder
    private let life: FaultedLife
    private let store: FolderSnapshots
    /// Whether there was a file to go on from, or none was needed, when a start looked last.
    private(set) var couldGoOn: Bool

    init(_ folder: ModelFolder, _ life: FaultedLife) {
        self.folder = folder
        self.life = life
        // Few, so that old ones go.
        store = FolderSnapshots(folder: folder.path, keeping: 2, disk: folder.disk(life))
        couldGoOn = folder.canBeGoneOnFrom
    }

    func newest(
        of deployment: Deployment,
        atOrBefore epoch: Int64,
        lanes: Int,
        misfit: (JournalRecord) -> String?
    ) throws(LogError) -> Snapshot? {
        if let fault = try life.reachLog(.snapshotLook) { folder.damage(fault) }
        couldGoOn = folder.canBeGoneOnFrom
        return try store.newest(of: deployment, atOrBefore: epoch, lanes: lanes, misfit: misfit)
    }

    func save(_ snapshot: StoredSnapshot) throws(LogError) { try store.save(snapshot) }
}
