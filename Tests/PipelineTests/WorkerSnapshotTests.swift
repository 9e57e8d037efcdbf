import Detection
import Testing

@testable import Pipeline

/// The seam that snapshots come through: what a store gives back replaces the replay of what lies before.
@Suite struct WorkerSnapshotTests {
    /// Keeps the newest in memory, and gives it away once.
    final class Keeper: SnapshotStore, @unchecked Sendable {
        var kept: StoredSnapshot?
        /// Adds so many epochs, as if the journal had lost its last ones.
        var ahead: Int64 = 0

        func newest(
            of deployment: Deployment,
            atOrBefore epoch: Int64,
            lanes: Int,
            misfit: (JournalRecord) -> String?
        ) -> Snapshot? {
            guard let found = kept, found.epoch + ahead <= epoch else { return nil }
            kept = nil
            return found.bytes.withUnsafeBytes { try? Snapshot($0, of: deployment, lanes: lanes, misfit: misfit) }
        }

        func save(_ snapshot: StoredSnapshot) { kept = snapshot }
    }

    @Test func `a worker goes on from a snapshot, replays only what came later, and writes the same bytes`() throws {
        for seed in UInt64(0)..<6 {
            let world = try WorkerWorld(seed: seed, markers: seed % 2 == 0)
            let keeper = Keeper()
            try world.produce(400)
            #expect(try world.run(snapshots: keeper).error == nil)
            let before = try #require(world.journal().last?.epoch)
            #expect(keeper.kept?.epoch == before)

            // Crashes after some epochs more, of which the next worker must find those behind the snapshot.
            let snapshot = keeper.kept
            keeper.kept = nil
            try world.produce(200)
            var faults = SimulatedFaults(seed: seed)
            faults.crash = SimulatedFaults.Crash(.afterCommit, visit: 2)
            #expect(try world.run(faults).error.map(SimulatedLog.isCrash) == true)
            let crashed = try #require(world.journal().last?.epoch)
            #expect(crashed > before)
            keeper.kept = snapshot
            try world.produce(100)
            let last = try world.run(snapshots: keeper)
            #expect(last.error == nil)
            #expect(last.worker.replayedEpochs == crashed - before)
            #expect(try world.findings().isEmpty, "seed \(seed)")

            // Nothing new: not one epoch is replayed, and nothing is judged twice.
            let again = try world.run(snapshots: keeper)
            #expect(again.error == nil && again.worker.replayedEpochs == 0)
            #expect(try world.findings().isEmpty, "seed \(seed)")
        }
    }

    @Test func `inputs and journal from before a snapshot may be gone`() throws {
        let world = try WorkerWorld(seed: 21)
        let keeper = Keeper()
        try world.produce(300)
        #expect(try world.run(snapshots: keeper).error == nil)
        let kept = try #require(keeper.kept)
        let positions = try kept.bytes.withUnsafeBytes { try Snapshot($0, of: world.deployment, lanes: 1) }.positions
        for position in positions { world.store.deleteRecords(of: position.source, before: position.next) }
        let journal = TopicPartition(OutputTopics.journal, 0)
        let last = try #require(world.store.records(of: journal).last?.offset)
        world.store.deleteRecords(of: journal, before: last)
        let epoch = try #require(world.journal().last?.epoch)
        try world.produce(100)
        #expect(try world.run(snapshots: keeper).error == nil)
        #expect(try world.journal().first?.epoch == epoch)
        #expect(try world.journal().last?.epoch ?? 0 > epoch)
        // Without the snapshot the same start is refused.
        #expect(try world.run().error?.kind == .outOfRange)
    }

    @Test func `a snapshot of other rules serves where windows and models are the same, and is passed over where not`()
        throws
    {
        for (folder, serves) in [
            (ReleaseHistoryTests.Folder.first, true), (.reworded, true), (.wider, false), (.readElsewhere, false),
        ] {
            let world = try WorkerWorld(seed: 23)
            let first = world.deployment
            let keeper = Keeper()
            try world.produce(400)
            #expect(try world.run(snapshots: keeper).error == nil)
            let epochs = try world.journal().count
            world.deployment = try folder.deployment()
            world.former = [first]
            // Nothing is judged: the state goes over to the other rules all the same.
            let idle = try world.run(snapshots: keeper)
            #expect(idle.error == nil)
            #expect(idle.worker.replayedEpochs == (serves ? 0 : Int64(epochs)), "\(folder)")
            try world.produce(300)
            let next = try world.run(snapshots: keeper)
            #expect(next.error == nil && next.worker.replayedEpochs == 0, "\(folder)")
            // And back, with a release between the snapshot and the end that is not to be found.
            world.former = []
            world.deployment = first
            try world.produce(300)
            #expect(try world.run(snapshots: keeper).error == nil)
            world.former = [try folder.deployment()]
            #expect(try world.findings(threads: [1, 2]).isEmpty, "\(folder)")
        }
    }

    @Test func `epochs of other releases behind a snapshot go into its state`() throws {
        for folder in [ReleaseHistoryTests.Folder.reworded, .wider] {
            let world = try WorkerWorld(seed: 24)
            let first = world.deployment
            let keeper = Keeper()
            try world.produce(300)
            #expect(try world.run(snapshots: keeper).error == nil)
            let snapshot = try #require(keeper.kept)
            world.deployment = try folder.deployment()
            try world.produce(300)
            #expect(try world.run().error == nil)
            // The other's windows are not in the snapshot, and the first one's go on.
            keeper.kept = snapshot
            world.former = [world.deployment]
            world.deployment = first
            let epochs = try world.journal().count
            try world.produce(200)
            let run = try world.run(snapshots: keeper)
            #expect(run.error == nil && run.worker.replayedEpochs == Int64(epochs) - snapshot.epoch - 1)
            #expect(try world.findings().isEmpty, "\(folder)")
        }
    }

    @Test func `a snapshot ahead of the journal is passed over`() throws {
        let world = try WorkerWorld(seed: 22)
        let keeper = Keeper()
        try world.produce(300)
        #expect(try world.run(snapshots: keeper).error == nil)
        keeper.ahead = 1
        let run = try world.run(snapshots: keeper)
        #expect(run.error == nil)
        #expect(try run.worker.replayedEpochs == (world.journal().last?.epoch ?? 0) + 1)
        #expect(try world.findings().isEmpty)
    }
}
