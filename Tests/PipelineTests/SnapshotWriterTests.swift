import Detection
import Foundation
import Synchronization
import Testing
import Waiting

@testable import Pipeline

/// What a worker's thread for snapshots does beside it.
@Suite struct SnapshotWriterTests {
    /// Keeps nothing; saves when it is let.
    private final class Disk: SnapshotStore, Sendable {
        let isOpen = Mutex(true)
        let saved = Mutex<[Int64]>([])

        func newest(
            of deployment: Deployment,
            atOrBefore epoch: Int64,
            lanes: Int,
            misfit: (JournalRecord) -> String?
        ) -> Snapshot? { nil }

        func save(_ snapshot: StoredSnapshot) throws(LogError) {
            Waiting.until { isOpen.withLock { $0 } }
            saved.withLock { $0.append(snapshot.epoch) }
        }
    }

    private static func snapshot(_ deployment: Deployment, _ epoch: Int64) -> Snapshot {
        Snapshot(
            record: JournalRecord(
                epoch: epoch,
                topologyName: "world",
                watermark: nil,
                ranges: [],
                counts: EpochCounts(),
                topologyDigest: deployment.topologyDigest,
                releaseDigest: deployment.release.digest
            ),
            positions: [],
            clocks: [],
            watermark: nil,
            engine: Engine(deployment.engineConfiguration(), lanes: 1)
        )
    }

    @Test func `the memory of a copy serves the next one, and a larger one is made beside`() throws {
        let deployment = try WorkerTopology.standard.get()
        let disk = Disk()
        let writer = SnapshotWriter(disk, isThreaded: true, SystemClock())
        defer { writer.stop() }
        func buffer(_ bytes: Int) -> [UInt8]? {
            var buffer: [UInt8]?
            Waiting.until {
                buffer = writer.isIdle ? writer.buffer(bytes: bytes) : nil
                return buffer != nil
            }
            return buffer
        }
        let snapshot = Self.snapshot(deployment, 7)
        #expect(writer.buffer(bytes: snapshot.bytesExpected) == nil, "there is none yet")
        var memory = try #require(buffer(snapshot.bytesExpected))
        let capacity = memory.capacity
        #expect(capacity >= snapshot.bytesExpected)
        let place = memory.withUnsafeBytes { $0.baseAddress }
        for epoch in Int64(7)...9 {
            writer.start(Self.snapshot(deployment, epoch).captured(for: deployment, into: &memory))
            memory = try #require(buffer(snapshot.bytesExpected))
            #expect(memory.withUnsafeBytes { $0.baseAddress } == place, "epoch \(epoch)")
        }
        #expect(disk.saved.withLock { $0 } == [7, 8, 9])
        #expect(try #require(buffer(4 * capacity)).capacity >= 4 * capacity)
    }

    @Test func `a disk that does not answer holds up no end for longer than it may`() throws {
        let deployment = try WorkerTopology.standard.get()
        let disk = Disk()
        let clock = VirtualClock()
        let writer = SnapshotWriter(disk, isThreaded: true, clock)
        disk.isOpen.withLock { $0 = false }
        var memory: [UInt8] = []
        writer.start(Self.snapshot(deployment, 1).captured(for: deployment, into: &memory))
        let began = clock.now
        #expect(!writer.waitAtEnd())
        writer.stop()
        #expect(clock.now - began < SnapshotWriter.patience + .seconds(1))
        #expect(disk.saved.withLock { $0 }.isEmpty)
        disk.isOpen.withLock { $0 = true }
        Waiting.until { disk.saved.withLock { !$0.isEmpty } }
        #expect(disk.saved.withLock { $0 } == [1])
    }
}
