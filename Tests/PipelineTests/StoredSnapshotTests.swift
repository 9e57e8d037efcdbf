import Foundation
import Models
import Testing

@testable import Pipeline

/// Snapshots that earlier versions wrote: each is read to the very state that it was, or refused for what is other.
///
/// Each lies in `Fixtures/snapshots` with the topology it is of. Before a format changes, one of the format as it was is added:
/// `WEIR_STORE_SNAPSHOT=DIR swift test --filter StoredSnapshotTests` writes DIR and says its epoch and digest; `gzip -9n` makes the
/// file small. None is ever made anew: an entry changes only from a digest to the reason why that format is not read any more.
@Suite struct StoredSnapshotTests {
    private enum Fate {
        case read(digest: String)
        case refused(LogError.Kind, because: String)
    }

    private static let stored: [(name: String, epoch: Int64, fate: Fate)] = [
        ("worker-1", 5, .read(digest: "9c9d761c520c2e2d"))
    ]

    @Test func `what an earlier version wrote is read to the state that it was, or refused by name`() throws {
        for (name, epoch, fate) in Self.stored {
            let source = "\(PackageFolder.root)/Tests/PipelineTests/Fixtures/snapshots/\(name)"
            let deployment = try Deployment(folder: source)
            let folder = TemporaryFolder()
            let path = FolderSnapshots.path(of: epoch, in: folder.path)
            try Self.unpacked("\(source)/state.snapshot.gz").write(to: URL(fileURLWithPath: path))
            let shelf = SnapshotShelf(folder: folder.path)
            let entry = try #require(try shelf.entries().first)
            let loaded = Result { () throws(LogError) in try shelf.load(entry, for: deployment) }
            switch (loaded, fate) {
            case (.success(let state), .read(let digest)):
                #expect(String(state.digest, radix: 16) == digest, "\(name)")
                let store = FolderSnapshots(folder: folder.path)
                let found = try store.newest(of: deployment, atOrBefore: .max, lanes: 2, misfit: { _ in nil })
                #expect(found?.epoch == epoch && found?.positions.count == 6, "\(name)")
            case (.failure(let error), .refused(let kind, let reason)):
                #expect(error.kind == kind && error.message.contains(reason), "\(name): \(error.message)")
            default: Issue.record("\(name): \(loaded)")
            }
        }
    }

    private static func unpacked(_ path: String) throws -> Data {
        let source = try ByteSource(path: path)
        var all = Data()
        var part = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = try part.withUnsafeMutableBytes { bytes throws(LogError) in try source.read(into: bytes) }
            if count == 0 { return all }
            all += part[..<count]
        }
    }

    private static let target = ProcessInfo.processInfo.environment["WEIR_STORE_SNAPSHOT"]

    @Test(.enabled(if: target != nil, "WEIR_STORE_SNAPSHOT names no folder to write to"))
    func `one of the format as it is, is stored for later versions`() throws {
        let folder = URL(fileURLWithPath: try #require(Self.target))
        let files = FileManager.default
        try files.createDirectory(at: folder.appendingPathComponent("rules"), withIntermediateDirectories: true)
        try Data(WorkerTopology.text.utf8).write(to: folder.appendingPathComponent("topology.yaml"))
        try Data(WorkerTopology.rules.utf8).write(to: folder.appendingPathComponent("rules/all.weir"))
        let world = try WorkerWorld(seed: 60)
        try world.produce(250)
        let place = TemporaryFolder()
        #expect(try world.run(snapshots: FolderSnapshots(folder: place.path)).error == nil)
        let shelf = SnapshotShelf(folder: place.path)
        let entry = try #require(try shelf.entries().first)
        let digest = try shelf.load(entry, for: world.deployment).digest
        try files.copyItem(atPath: entry.path, toPath: folder.appendingPathComponent("state.snapshot").path)
        print("stored: epoch \(entry.epoch), digest \(String(digest, radix: 16)), \(entry.bytes) bytes")
    }
}
