import Detection
import Models

/// The state of a worker between two epochs, from which recovery goes on instead of from the first epoch.
///
/// What belongs to the state is the engine and what decides the next watermark. It may only be kept of epochs that are committed:
/// state on disk is never ahead of the journal. It holds the journal's record of its last epoch, whose chained digest names all
/// that went into the state: a journal with that very record is the one it was taken from, or one with the same history.
///
/// ## Format
/// The sections of a ``StateWriter``, which says how they look and are checked: the engine's, and one of kind `worker`:
/// ```
/// text  topology digest      a text is its length in bytes, u64, and UTF-8
/// text  state shape          ``Release/stateShape``
/// text  hash key             ``Deployment/keyFingerprint``
/// text  record               the last epoch's ``JournalRecord`` as JSON, with the engine's version and the release
/// u64   known, i64 watermark 0 and 0 before there is one
/// u64   sources, and of each: text topic, i64 partition, i64 next offset, and its clock: u64 known, i64 time believed,
///       u64 doubted, i64 the least time doubted
/// ```
struct Snapshot {
    /// The journal's record of the last epoch whose events are in the state.
    var record: JournalRecord
    /// Per source, the offset behind the last record in the state.
    var positions: [SourcePosition]
    /// How far event time has come, in the order of ``positions``.
    var clocks: [SourceClock]
    var watermark: Int64?
    /// With the deployment's release in force.
    var engine: Engine
}

/// A snapshot as bytes.
struct StoredSnapshot: Sendable {
    var epoch: Int64
    var bytes: [UInt8]
}

/// A copy of the state whose checksums are still to be made, which any thread may do.
struct CapturedSnapshot: Sendable {
    var epoch: Int64
    fileprivate var state: StateWriter

    /// Costs one pass over the state.
    consuming func finish() -> StoredSnapshot {
        let epoch = epoch
        return StoredSnapshot(epoch: epoch, bytes: state.finish())
    }
}

extension Snapshot {
    private static let layout =
        "worker 1: topology, state shape, hash key, record: bytes u64, text each; known u64, watermark i64; sources u64, each: "
        + "topic: bytes u64, text; partition i64, next i64, time believed u64, i64, doubted u64, i64"

    /// More text than any topic's name or digest has.
    private static let textMax = 4096
    private static let sourcesMax = 1 << 20
    private static let recordBytesMax = 64 << 20

    /// The last epoch whose events are in the state.
    var epoch: Int64 { record.epoch }

    /// Copies the state as it stands.
    func captured(for deployment: Deployment) -> CapturedSnapshot {
        var writer = StateWriter(reserving: engine.stateBytes + (64 << 10))
        writer.section(StateSection(.worker), layout: Snapshot.layout) { section in
            for text in Snapshot.subject(of: deployment) { section.put(counted: Array(text.utf8)) }
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
        engine.write(to: &writer)
        return CapturedSnapshot(epoch: epoch, state: writer)
    }

    /// Reads a state for a deployment.
    ///
    /// Its rules may have others than the one that wrote it: the engine has them in force. Other windows or models would begin
    /// empty, where a replay has them warm, and under another key nobody in it would be known again: it is no state of this one.
    ///
    /// - Parameter misfit: why the journal's record of the last epoch is not the one the state was taken at; nil: it is.
    init(
        _ bytes: UnsafeRawBufferPointer,
        of deployment: Deployment,
        lanes: Int,
        misfit: (JournalRecord) -> String? = { _ in nil }
    ) throws(StateError) {
        let reader = try StateReader(bytes)
        var section = try reader.open(StateSection(.worker), layout: Snapshot.layout)
        for (name, expected) in zip(["topology", "state shape", "hash key"], Snapshot.subject(of: deployment)) {
            let found = try Snapshot.text(&section, "bytes of the \(name)")
            guard found == expected else {
                throw .otherLayout(section: "the \(name)", found: found, expected: expected)
            }
        }
        let json: [UInt8] = try section.takeCounted("bytes of the record", limit: Snapshot.recordBytesMax)
        record = try Snapshot.record(json)
        if let reason = misfit(record) { throw .inconsistent(reason) }
        let isKnown = try section.takeCount("watermarks", in: 0...1, bytesEach: 0) == 1
        let time: Int64 = try section.take()
        watermark = isKnown ? time : nil
        positions = []
        clocks = []
        for _ in 0..<(try section.takeCount("sources", in: 0...Snapshot.sourcesMax, bytesEach: 56)) {
            let topic = try Snapshot.text(&section, "bytes of a topic")
            let (partition, next): (Int64, Int64) = (try section.take(), try section.take())
            try StateError.require(next >= 0, "offset \(next)")
            guard let number = Int32(exactly: partition), number >= 0 else {
                throw .inconsistent("partition \(partition)")
            }
            positions.append(SourcePosition(source: TopicPartition(topic, number), next: next))
            var clock = SourceClock(latenessMilliseconds: deployment.description.time.latenessMilliseconds)
            try clock.read(from: &section)
            clocks.append(clock)
        }
        try section.finish()
        engine = try Engine(deployment.engineConfiguration(), lanes: lanes, from: reader)
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

    /// What the state hangs on: another one's is none of this deployment.
    private static func subject(of deployment: Deployment) -> [String] {
        [deployment.topologyDigest, deployment.release.stateShape, deployment.keyFingerprint]
    }

    private static func text(_ section: inout StateCursor, _ what: String) throws(StateError) -> String {
        let bytes: [UInt8] = try section.takeCounted(what, limit: textMax)
        return String(decoding: bytes, as: UTF8.self)
    }
}
