import Detection
import Foundation
import Models
import RuleLanguage
import Synchronization
import Testing

@testable import Pipeline

/// Snapshots as files: whatever became of them, the next start gives what a replay from the first epoch would have given.
@Suite struct FolderSnapshotsTests {
    private let folder = TemporaryFolder()
    private var place: String { folder.file("state/snapshots") }

    private func store(keeping: Int = 3) -> FolderSnapshots { FolderSnapshots(folder: place, keeping: keeping) }

    /// A world whose worker has kept its state with every commit.
    private func kept(seed: UInt64, keeping: Int = 3) throws -> WorkerWorld {
        let world = try WorkerWorld(seed: seed)
        try world.produce(400)
        var options = world.options()
        options.transactionRecords = 40
        options.snapshotPace = .every(seconds: 0)
        #expect(try world.run(options: options, snapshots: store(keeping: keeping)).error == nil)
        return world
    }

    @Test func `a worker that is killed goes on from the newest file, and writes the bytes of one that never was`()
        throws
    {
        for seed in UInt64(0)..<8 {
            let folder = TemporaryFolder()
            let world = try WorkerWorld(seed: seed, markers: seed % 2 == 0)
            var saved = 0
            for visit in 1...6 {
                let store = FolderSnapshots(folder: folder.file("snapshots"))
                try world.produce(150)
                var faults = SimulatedFaults(seed: seed)
                faults.crash = SimulatedFaults.Crash(visit % 2 == 0 ? .afterCommit : .amidProduce, visit: 1 + visit % 3)
                var options = world.options()
                options.snapshotPace = .every(seconds: 0)
                let before = try world.journal().count
                let newest = store.epochs().first
                let run = try world.run(faults, options: options, snapshots: store)
                #expect(run.error.map(SimulatedLog.isCrash) != false, "seed \(seed): \(run.error?.message ?? "")")
                if run.worker.isReady, let newest {
                    #expect(run.worker.replayedEpochs == Int64(before) - newest - 1, "seed \(seed), visit \(visit)")
                    saved += 1
                }
            }
            #expect(saved > 0, "seed \(seed)")
            #expect(try world.run(snapshots: FolderSnapshots(folder: folder.file("snapshots"))).error == nil)
            #expect(try world.findings(threads: [1, 2]).isEmpty, "seed \(seed)")
        }
    }

    @Test func `the newest few are kept, for their owner alone`() throws {
        let world = try kept(seed: 31)
        let epochs = store().epochs()
        #expect(epochs.count == 3)
        #expect(try epochs.first == world.journal().last?.epoch)
        var status = stat()
        for path in [place] + epochs.map({ store().path(of: $0) }) {
            #expect(stat(path, &status) == 0 && status.st_mode & 0o077 == 0, "\(path)")
        }
        #expect(try FileManager.default.contentsOfDirectory(atPath: place).count == 3, "nothing else is left")
    }

    @Test func `what a killed worker has left of a file goes with the next one, and what others keep there stays`()
        throws
    {
        let world = try kept(seed: 36)
        let newest = try #require(store().epochs().first)
        let left = store().path(of: newest + 9) + ".new"
        let others = place + "/notes.txt"
        for path in [left, others] { try Data("x".utf8).write(to: URL(fileURLWithPath: path)) }
        #expect(store().epochs().first == newest, "it is no snapshot")
        try world.produce(50)
        #expect(try world.run(snapshots: store()).error == nil)
        #expect(!FileManager.default.fileExists(atPath: left) && FileManager.default.fileExists(atPath: others))
        #expect(try store().epochs().first == world.journal().last?.epoch)
    }

    @Test func `a file that is torn or changed anywhere is passed over for the one before`() throws {
        let world = try kept(seed: 32)
        let epochs = store().epochs()
        let (newest, before) = (try #require(epochs.first), try #require(epochs.dropFirst().first))
        let path = store().path(of: newest)
        let whole = try Data(contentsOf: URL(fileURLWithPath: path))
        var random = SplitMix64(seed: 7)
        func found() throws -> Int64? {
            try store().newest(of: world.deployment, atOrBefore: .max, lanes: 1, misfit: { _ in nil })?.epoch
        }
        #expect(try found() == newest)
        for round in 0..<150 {
            var damaged = whole
            let at = Int(random.next() % UInt64(whole.count))
            switch round % 3 {
            case 0: damaged = damaged.prefix(at)
            case 1: damaged[at] ^= UInt8(1 << (random.next() % 8))
            default:
                let end = min(whole.count, at + 4096)
                damaged.replaceSubrange(at..<end, with: repeatElement(UInt8(0), count: end - at))
                if damaged == whole { continue }
            }
            try damaged.write(to: URL(fileURLWithPath: path))
            #expect(try found() == before, "round \(round), byte \(at)")
        }
        // Nor is one believed that stands under another's name.
        try whole.write(to: URL(fileURLWithPath: store().path(of: newest + 1)))
        try FileManager.default.removeItem(atPath: path)
        #expect(try found() == before)
        let run = try world.run(snapshots: store())
        #expect(run.error == nil)
        #expect(run.worker.replayedEpochs == newest - before)
        #expect(try world.findings().isEmpty)
    }

    @Test func `one of another topology, of other windows or under another key is none of ours`() throws {
        let world = try kept(seed: 33)
        let newest = try #require(store().epochs().first)
        func found(_ deployment: Deployment) throws -> Int64? {
            try store().newest(of: deployment, atOrBefore: .max, lanes: 2, misfit: { _ in nil })?.epoch
        }
        #expect(try found(world.deployment) == newest)
        #expect(try found(ReleaseHistoryTests.Folder.reworded.deployment()) == newest)
        #expect(try found(ReleaseHistoryTests.Folder.wider.deployment()) == nil)
        #expect(try found(world.deployment.keyed(by: HashKey(1, 2))) == nil)
        let other = try WorkerTopology.load(WorkerTopology.text.replacing("idle: 1d", with: "idle: 2d"))
        #expect(try found(other) == nil)
        #expect(
            try store().newest(of: world.deployment, atOrBefore: newest - 1, lanes: 1, misfit: { _ in nil })?.epoch ?? 0
                < newest
        )
    }

    @Test func `a folder that cannot be written ends nobody's work`() throws {
        let file = folder.file("file")
        try Data("no folder".utf8).write(to: URL(fileURLWithPath: file))
        let world = try WorkerWorld(seed: 34)
        try world.produce(200)
        var options = world.options()
        options.snapshotPace = .every(seconds: 0)
        #expect(try world.run(options: options, snapshots: FolderSnapshots(folder: "\(file)/snapshots")).error == nil)
        #expect(try world.isDone())
        #expect(try world.findings().isEmpty)
    }

    @Test func `a snapshot of another log is named as that, and the state is that of this log`() throws {
        let foreign = try kept(seed: 35)
        #expect(try foreign.journal().count > 3)
        // The same topology, key and release, other events: nothing but the journal's record tells them apart.
        let world = try WorkerWorld(seed: 36)
        try world.produce(800)
        #expect(try world.run().error == nil)
        let epochs = try world.journal().count
        #expect(try store().epochs().contains { try $0 < (world.journal().last?.epoch ?? 0) })
        let run = try world.run(snapshots: store())
        #expect(run.error == nil)
        #expect(run.worker.replayedEpochs == Int64(epochs))
        #expect(try world.findings(threads: [1, 2]).isEmpty)
    }

    @Test func `an input that was made anew beside a snapshot is refused`() throws {
        let world = try kept(seed: 37)
        let record = try #require(world.journal().last)
        let snapshot = try #require(store().epochs().first)
        #expect(snapshot == record.epoch)
        let range = try #require(record.ranges.first)
        // The last epoch's records say something else now.
        world.store.content.withLock { content in
            let partition = Int(range.source.partition)
            let at = content.topics[range.source.topic]?[partition].records.firstIndex { $0.offset == range.to - 1 }
            if let at { content.topics[range.source.topic]?[partition].records[at].value = Array("{\"x\":1}".utf8) }
        }
        let run = try world.run(snapshots: store())
        #expect(run.error?.kind == .corrupt)
        #expect(run.error?.message.contains("deleted and made anew") == true)
    }

    @Test func `what another version kept serves only where the inputs are gone`() throws {
        let world = try WorkerWorld(seed: 38)
        try world.produce(400)
        #expect(try world.run().error == nil)
        let record = try #require(world.journal().last)
        let older = JournalFit(SimulatedLog(world.store, application: "reader"), newest: record.epoch)
        #expect(older.misfit(record) == nil)
        #expect(older.next != nil)
        var other = record
        other.proof?.engine = "0.0.1"
        #expect(older.misfit(other)?.contains("another log") == true)
        #expect(try older.isRebuildable(world.sources))
        for source in world.sources { world.store.deleteRecords(of: source, before: 2) }
        #expect(try !older.isRebuildable(world.sources))
        var unproven = record
        unproven.proof = nil
        #expect(older.misfit(unproven)?.contains("digests") == true)
    }

    @Test func `a snapshot is found in a journal that is read from near its end`() throws {
        let world = try WorkerWorld(seed: 39, markers: true)
        for _ in 0..<6 {
            try world.produce(200)
            #expect(try world.run().error == nil)
        }
        let records = try world.journal()
        let newest = try #require(records.last?.epoch)
        #expect(newest > 40)
        for record in records {
            let fit = JournalFit(SimulatedLog(world.store, application: "reader"), newest: newest)
            #expect(fit.misfit(record) == nil, "epoch \(record.epoch)")
            var at = fit.next
            var following: Int64?
            try Journal(in: SimulatedLog(world.store, application: "reader")).forEachRecord(from: &at) {
                following = $0.epoch
                return false
            }
            #expect(following == (record.epoch == newest ? nil : record.epoch + 1))
        }
    }
}
