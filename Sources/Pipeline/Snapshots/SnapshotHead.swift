import Detection
import Models

/// What a snapshot says of itself beside the engine's state: whose it is, of which epoch, and what decides the next watermark.
///
/// ## Format
/// One section of kind `worker` among those of a ``StateWriter``, which says how sections look and are checked:
/// ```
/// text  topology digest      a text is its length in bytes, u64, and UTF-8
/// text  state shape          ``Release/stateShape``
/// text  hash key             ``Deployment/keyFingerprint``
/// text  record               the last epoch's ``JournalRecord`` as JSON, with the engine's version and the release
/// u64   known, i64 watermark 0 and 0 before there is one
/// u64   sources, and of each: text topic, i64 partition, i64 next offset, and its clock: u64 known, i64 time believed,
///       u64 doubted, i64 the least time doubted
/// ```
struct SnapshotHead {
    var topologyDigest: String
    var stateShape: String
    var keyFingerprint: String
    /// Of the last epoch whose events are in the state.
    var record: JournalRecord
    /// Per source, the offset behind the last record in the state.
    var positions: [SourcePosition]
    /// How far event time has come, in the order of ``positions``.
    var clocks: [SourceClock]
    var watermark: Int64?

    private static let layout =
        "worker 1: topology, state shape, hash key, record: bytes u64, text each; known u64, watermark i64; sources u64, each: "
        + "topic: bytes u64, text; partition i64, next i64, time believed u64, i64, doubted u64, i64"

    /// More text than any topic's name or digest has.
    private static let textMax = 4096
    private static let sourcesMax = 1 << 20
    private static let recordBytesMax = 64 << 20
}

extension SnapshotHead {
    func write(to writer: inout StateWriter) {
        writer.section(StateSection(.worker), layout: SnapshotHead.layout) { section in
            for text in [topologyDigest, stateShape, keyFingerprint] { section.put(counted: Array(text.utf8)) }
            var json: [UInt8] = []
            record.write(to: &json)
            section.put(counted: json)
            section.put(watermark == nil ? 0 : 1)
            section.put(watermark ?? 0)
            section.put(positions.count)
            for (position, clock) in zip(positions, clocks) {
                section.put(counted: Array(position.source.topic.utf8))
                section.put(Int64(position.source.partition))
                section.put(position.next)
                clock.write(to: &section)
            }
        }
    }

    /// - Parameter latenessMilliseconds: of the clocks; who only looks may say 0.
    init(_ reader: StateReader, latenessMilliseconds: Int64) throws(StateError) {
        var section = try reader.open(StateSection(.worker), layout: SnapshotHead.layout)
        topologyDigest = try SnapshotHead.text(&section, "bytes of the topology")
        stateShape = try SnapshotHead.text(&section, "bytes of the state shape")
        keyFingerprint = try SnapshotHead.text(&section, "bytes of the hash key")
        let json: [UInt8] = try section.takeCounted("bytes of the record", limit: SnapshotHead.recordBytesMax)
        record = try SnapshotHead.record(json)
        let isKnown = try section.takeCount("watermarks", in: 0...1, bytesEach: 0) == 1
        let time: Int64 = try section.take()
        watermark = isKnown ? time : nil
        positions = []
        clocks = []
        for _ in 0..<(try section.takeCount("sources", in: 0...SnapshotHead.sourcesMax, bytesEach: 56)) {
            let topic = try SnapshotHead.text(&section, "bytes of a topic")
            let (partition, next): (Int64, Int64) = (try section.take(), try section.take())
            try StateError.require(next >= 0, "offset \(next)")
            guard let number = Int32(exactly: partition), number >= 0 else {
                throw .inconsistent("partition \(partition)")
            }
            positions.append(SourcePosition(source: TopicPartition(topic, number), next: next))
            var clock = SourceClock(latenessMilliseconds: latenessMilliseconds)
            try clock.read(from: &section)
            clocks.append(clock)
        }
        try section.finish()
    }

    /// Checks that the state hangs on what the deployment has: another one's is none of this.
    func require(_ deployment: Deployment) throws(StateError) {
        for (name, found, expected) in [
            ("the topology", topologyDigest, deployment.topologyDigest),
            ("the state shape", stateShape, deployment.release.stateShape),
            ("the hash key", keyFingerprint, deployment.keyFingerprint),
        ] where found != expected {
            throw .otherLayout(section: name, found: found, expected: expected)
        }
    }

    private static func record(_ json: [UInt8]) throws(StateError) -> JournalRecord {
        do {
            return try json.withUnsafeBytes { try JournalRecord(parsing: $0) }
        } catch let error as LogError {
            throw .inconsistent(error.message)
        } catch {
            throw .inconsistent("\(error)")
        }
    }

    private static func text(_ section: inout StateCursor, _ what: String) throws(StateError) -> String {
        let bytes: [UInt8] = try section.takeCounted(what, limit: textMax)
        return String(decoding: bytes, as: UTF8.self)
    }
}
