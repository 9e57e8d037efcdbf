@testable import Detection

extension LockstepDetector {
    /// Under the key of the feed with the same seed.
    init(_ configuration: LockstepConfiguration) {
        self.init(configuration, hash: LockstepFeed.hash(configuration.seed))
    }

    /// Some of a tick's records one by one, after a look ahead at all of them.
    mutating func take(_ records: ArraySlice<LockstepRecord>) {
        records.withUnsafeBufferPointer { records in
            lookAhead(records)
            for number in records.indices { take(ahead: number) }
        }
    }

    /// One tick, record by record.
    mutating func tick(_ records: [LockstepRecord], watermark: Int64? = nil) {
        removeChanges()
        take(records[...])
        endTick(watermark: watermark ?? records.last?.time ?? 0)
    }

    /// Some of a tick's records, slots over threads; each part of the slots is one thread's.
    mutating func run(_ records: ArraySlice<LockstepRecord>, over parts: [Range<Int>]) {
        records.withUnsafeBufferPointer { records in
            begin(records)
            for stage in [LockstepDetector.Stage.tokens, .actors, .pairs] {
                for part in parts { run(stage, slots: part) }
                exchange(after: stage)
            }
        }
    }
}
