import Models
import Testing

@testable import Detection

/// A lockstep detector in the middle of its ticks, in tables so small that rings meet and close inside them.
@Suite struct LockstepStateTests {
    @Test(arguments: [UInt64(1), 2, 3]) func `a detector goes on inside a tick from what another one wrote there`(
        seed: UInt64
    ) throws {
        let feed = LockstepFeed(lockstepWaves(seed: seed), seed: tightLockstep.seed)
        defer { feed.free() }
        var constant = LockstepDetector(tightLockstep)
        var changing = LockstepDetector(tightLockstep)
        var random = SplitMix64(seed: seed)
        var (touched, closed, released, unseen) = (0, 0, 0, 0)
        for records in feed.ticks(of: 150) {
            constant.tick(records)
            changing.removeChanges()
            var at = 0
            while at < records.count {
                let end = min(records.count, at + 1 + Int(random.next() % 60))
                changing.take(records[at..<end])
                at = end
                touched += changing.rings.dirty.isEmpty ? 0 : 1
                closed += changing.rings.closed.isEmpty ? 0 : 1
                released += changing.rings.released.isEmpty ? 0 : 1
                let bytes = LockstepStateTests.bytes(changing)
                var next = LockstepDetector(tightLockstep)
                next = try LockstepStateTests.read(bytes, into: next)
                unseen += digest { next.digest(into: &$0) } == digest { changing.digest(into: &$0) } ? 0 : 1
                unseen += LockstepStateTests.bytes(next) == bytes ? 0 : 1
                changing = next
            }
            changing.endTick(watermark: records.last?.time ?? 0)
            #expect(changing.changes == constant.changes)
            #expect(digest { changing.digest(into: &$0) } == digest { constant.digest(into: &$0) })
        }
        #expect(unseen == 0)
        #expect(
            touched > 10 && closed > 3 && released > 3,
            "\(touched) touched, \(closed) closed, \(released) released"
        )
        let (a, b) = (changing.counters, constant.counters)
        #expect(a == b)
    }

    private static func bytes(_ detector: borrowing LockstepDetector) -> [UInt8] {
        var writer = StateWriter()
        detector.write(to: &writer)
        return writer.finish()
    }

    private static func read(
        _ bytes: [UInt8],
        into detector: consuming LockstepDetector
    ) throws(StateError) -> LockstepDetector {
        var failure: StateError?
        bytes.withUnsafeBytes { bytes in
            do throws(StateError) {
                try detector.read(from: try StateReader(bytes))
                try detector.checkInvariants()
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
        return detector
    }
}
