import Detection
import Foundation
import Models
import RuleLanguage
import Testing

@testable import Pipeline

/// Snapshots as who looks at them sees them: named for what is wrong with them, proven by a replay, and chosen.
@Suite struct SnapshotShelfTests {
    private let folder = TemporaryFolder()
    private var place: String { folder.file("snapshots") }
    private var store: FolderSnapshots { FolderSnapshots(folder: place) }
    private var shelf: SnapshotShelf { SnapshotShelf(folder: place) }

    /// A world whose worker has kept its state with every commit.
    private func kept(seed: UInt64) throws -> WorkerWorld {
        let world = try WorkerWorld(seed: seed)
        try world.produce(400)
        var options = world.options()
        options.transactionRecords = 40
        options.snapshotPace = .every(seconds: 0)
        #expect(try world.run(options: options, snapshots: store).error == nil)
        return world
    }

    /// Where the sections of a state begin, and what follows the last one; see ``StateWriter``.
    private static func borders(_ bytes: Data) -> [Int] {
        var borders = [16]
        while let at = borders.last, at < bytes.count {
            let length = bytes[(at + 24)..<(at + 32)].enumerated().reduce(0) { $0 | Int($1.element) << (8 * $1.offset) }
            borders.append(at + 40 + (length + 7) & ~7)
        }
        return borders
    }

    private func error(_ body: () throws(LogError) -> Void) -> LogError? {
        do throws(LogError) { try body() } catch { return error }
        return nil
    }

    @Test func `a bit changed in any section names the section, and one torn at any border is passed over`() throws {
        let world = try kept(seed: 51)
        let entries = try shelf.entries()
        let (newest, before) = (entries[0], entries[1])
        #expect(entries.map(\.epoch) == store.epochs() && entries.allSatisfy { !$0.isAside && $0.bytes > 1000 })
        let whole = try Data(contentsOf: URL(fileURLWithPath: newest.path))
        let borders = Self.borders(whole)
        #expect(borders.count > 2 * Slots.count && borders.last == whole.count)
        var random = SplitMix64(seed: 3)
        var names: Set<String> = []
        for (index, (start, end)) in zip(borders, borders.dropFirst()).enumerated() {
            var damaged = whole
            let length = max(1, end - start - 40)
            let at = start + 40 + Int(random.next() % UInt64(length))
            damaged[min(at, end - 1)] ^= UInt8(1 << (random.next() % 8))
            for bytes in [damaged, whole.prefix(start), whole.prefix(end - 1)] {
                try Data(bytes).write(to: URL(fileURLWithPath: newest.path))
                let found = error { () throws(LogError) in _ = try shelf.summary(of: newest) }
                #expect(found?.kind == .corrupt, "section \(index): \(found?.message ?? "nothing")")
                if bytes == damaged {
                    #expect(found?.message.contains("section") == true)
                    names.insert(found?.message ?? "")
                }
                guard index % 40 == 0 || index > borders.count - 4 else { continue }
                let used = try store.newest(of: world.deployment, atOrBefore: .max, lanes: 1, misfit: { _ in nil })
                #expect(used?.epoch == before.epoch, "section \(index)")
            }
        }
        #expect(names.count == borders.count - 1, "each is named apart")
        for word in [
            "section windows of slot 63", "section worker", "section engine", "section detector", "section end",
        ] {
            #expect(names.contains { $0.contains(word) }, "\(word)")
        }
        try FileManager.default.removeItem(atPath: newest.path)
        #expect(
            error { () throws(LogError) in _ = try shelf.summary(of: newest) }?.message.contains("No such file") == true
        )
        #expect(try world.run(snapshots: store).error == nil)
        #expect(try world.findings().isEmpty)
    }

    @Test func `the digest of a snapshot is that of the state which journal and inputs give`() throws {
        for seed in UInt64(52)..<55 {
            try? FileManager.default.removeItem(atPath: place)
            let world = try kept(seed: seed)
            var digests: Set<UInt64> = []
            for entry in try shelf.entries() {
                let loaded = try shelf.load(entry, for: world.deployment)
                digests.insert(loaded.digest)
                for threads in [1, 2] {
                    let rebuilt = try SnapshotShelf.rebuiltDigest(
                        of: entry.epoch,
                        world.deployment,
                        log: SimulatedLog(world.store, application: "reader"),
                        releases: FolderReleases(world.deployment),
                        threads: threads
                    ) { _ in true }
                    #expect(rebuilt == loaded.digest, "seed \(seed), epoch \(entry.epoch), \(threads) threads")
                }
            }
            #expect(digests.count == 3, "each epoch has a state of its own")
        }
    }

    @Test func `who looks hears whose a snapshot is, and whether it is of the log`() throws {
        let world = try kept(seed: 55)
        let entry = try shelf.entries()[0]
        let summary = try shelf.summary(of: entry)
        #expect(try summary.record == world.journal().last)
        #expect(summary.topologyDigest == world.deployment.topologyDigest)
        #expect(summary.keyFingerprint == world.deployment.keyFingerprint && summary.watermark != nil)
        #expect(summary.positions.map(\.source).sorted() == world.sources.sorted())
        let log = SimulatedLog(world.store, application: "reader")
        try SnapshotShelf.requireFit(of: summary, to: log)

        let other = try WorkerWorld(seed: 56)
        try other.produce(3000)
        #expect(try other.run().error == nil)
        let foreign = error { () throws(LogError) in
            try SnapshotShelf.requireFit(of: summary, to: SimulatedLog(other.store, application: "reader"))
        }
        #expect(foreign?.kind == .corrupt && foreign?.message.contains("another log") == true)
        let changed = try WorkerTopology.load(WorkerTopology.text.replacing("idle: 1d", with: "idle: 2d"))
        let misfit = error { () throws(LogError) in _ = try shelf.load(entry, for: changed) }
        #expect(misfit?.kind == .incompatible && misfit?.message.contains("the topology") == true)
        let rekeyed = try world.deployment.keyed(by: HashKey(1, 2))
        let key = error { () throws(LogError) in
            _ = try shelf.load(entry, for: rekeyed)
        }
        #expect(key?.kind == .incompatible && key?.message.contains("the hash key") == true)

        var ahead = summary
        ahead.record.epoch += 1
        #expect(error { () throws(LogError) in try SnapshotShelf.requireFit(of: ahead, to: log) }?.kind == .corrupt)
        let position = try #require(summary.positions.first { $0.next > 0 })
        try world.produce(100)
        world.store.deleteRecords(of: position.source, before: position.next)
        try SnapshotShelf.requireFit(of: summary, to: log)
        world.store.deleteRecords(of: position.source, before: position.next + 1)
        #expect(
            error { () throws(LogError) in try SnapshotShelf.requireFit(of: summary, to: log) }?.kind == .outOfRange
        )
    }

    @Test func `an older one is chosen, the newer ones are set aside and come back, and nothing goes unasked`() throws {
        let world = try kept(seed: 57)
        let entries = try shelf.entries()
        let newest = entries[0].epoch
        #expect(try shelf.choose(entries[2], deletesNewer: false).map(\.epoch) == [newest, entries[1].epoch])
        #expect(store.epochs() == [entries[2].epoch])
        #expect(try shelf.entries().map(\.epoch) == entries.map(\.epoch))
        #expect(try shelf.entries().map(\.isAside) == [true, true, false])
        let run = try world.run(snapshots: store)
        #expect(run.error == nil && run.worker.replayedEpochs == newest - entries[2].epoch)
        #expect(try world.findings().isEmpty)
        // The worker has kept its own anew at its end; the one set aside is beside it.
        #expect(try shelf.entries().filter { $0.epoch == newest }.map(\.isAside) == [false, true])
        #expect(try shelf.choose(shelf.entries().last!, deletesNewer: false).map(\.epoch) == [newest])
        #expect(try shelf.entries().count == 4, "no name is taken twice")
        let aside = try #require(shelf.entries().first { $0.epoch == entries[1].epoch })
        #expect(try shelf.choose(aside, deletesNewer: true).map(\.epoch) == [newest, newest])
        #expect(store.epochs() == [entries[1].epoch, entries[2].epoch])
        #expect(try shelf.entries().count == 2)
        #expect(try world.run(snapshots: store).worker.replayedEpochs == newest - entries[1].epoch)
        #expect(try world.findings().isEmpty)
    }

    @Test func `a folder that may not be read is no empty one`() throws {
        #expect(try SnapshotShelf(folder: folder.file("nowhere")).entries().isEmpty)
        let file = folder.file("file")
        try Data("x".utf8).write(to: URL(fileURLWithPath: file))
        #expect(
            error { () throws(LogError) in _ = try SnapshotShelf(folder: file).entries() }?.message.contains(file)
                == true
        )
    }
}
