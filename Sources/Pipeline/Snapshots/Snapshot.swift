import Detection
import Models

/// The state of a worker between two epochs, from which recovery goes on instead of from the first epoch.
///
/// What belongs to the state is the engine and what decides the next watermark. It may only be kept of epochs that are committed:
/// state on disk is never ahead of the journal. It holds the journal's record of its last epoch, whose chained digest names all
/// that went into the state: a journal with that very record is the one it was taken from, or one with the same history.
///
/// Its bytes are the sections of a ``StateWriter``: the engine's, and a ``SnapshotHead``.
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
///
/// A class, as its bytes are never copied on their way from thread to thread. `@unchecked Sendable`: who has it hands it over
/// whole.
final class CapturedSnapshot: @unchecked Sendable {
    let epoch: Int64
    private var state: StateWriter

    fileprivate init(epoch: Int64, state: consuming StateWriter) {
        self.epoch = epoch
        self.state = state
    }

    /// Makes it a snapshot, once; costs one pass over the state.
    func finish() -> StoredSnapshot {
        var writer = StateWriter()
        swap(&writer, &state)
        return StoredSnapshot(epoch: epoch, bytes: (consume writer).finish())
    }
}

extension Snapshot {
    /// The last epoch whose events are in the state.
    var epoch: Int64 { record.epoch }

    /// Copies the state as it stands.
    ///
    /// - Parameter buffer: memory that is taken and copied into, whatever it holds; one that has been used before costs no page
    ///   faults.
    func captured(for deployment: Deployment, into buffer: inout [UInt8]) -> CapturedSnapshot {
        var writer = StateWriter(into: &buffer)
        writer.reserve(bytesExpected)
        let head = SnapshotHead(
            topologyDigest: deployment.topologyDigest,
            stateShape: deployment.release.stateShape,
            keyFingerprint: deployment.keyFingerprint,
            record: record,
            positions: positions,
            clocks: clocks,
            watermark: watermark
        )
        head.write(to: &writer)
        engine.write(to: &writer)
        return CapturedSnapshot(epoch: epoch, state: writer)
    }

    /// About how long its copy will be.
    var bytesExpected: Int { engine.stateBytes + engine.stateBytes / 8 + (1 << 20) }

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
        let head = try SnapshotHead(reader, latenessMilliseconds: deployment.description.time.latenessMilliseconds)
        try head.require(deployment)
        if let reason = misfit(head.record) { throw .inconsistent(reason) }
        (record, positions, clocks, watermark) = (head.record, head.positions, head.clocks, head.watermark)
        engine = try Engine(deployment.engineConfiguration(), lanes: lanes, from: reader)
    }
}
