@testable import Pipeline

extension JournalRecord {
    /// The record of an epoch that took nothing, as bytes.
    static func stub(_ epoch: Int64, topology: String = "stub", ranges: [Range] = []) -> [UInt8] {
        var bytes: [UInt8] = []
        JournalRecord(stub: epoch, topology: topology, ranges: ranges).write(to: &bytes)
        return bytes
    }

    init(stub epoch: Int64, topology: String = "stub", ranges: [Range] = []) {
        self.init(
            epoch: epoch,
            topologyName: topology,
            watermark: nil,
            ranges: ranges,
            counts: EpochCounts(),
            topologyDigest: "t",
            releaseDigest: "r"
        )
    }

    init(bytes: [UInt8]) throws(LogError) {
        self = try bytes.withUnsafeBufferPointer { (bytes) throws(LogError) in
            try JournalRecord(parsing: UnsafeRawBufferPointer(bytes))
        }
    }
}

extension KafkaWriter {
    /// The number of the newest committed epoch by the journal; nil when the journal is empty or missing.
    func lastJournalEpoch() throws(LogError) -> Int64? { try newestRecord()?.record.epoch }
}
