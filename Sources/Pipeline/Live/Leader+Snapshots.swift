import Detection
import Telemetry

// When a leader keeps its state, and of which epoch.
extension Leader {
    /// Keeps the state after a clean end; waits until it is safe, but not for ever.
    func keepLast() {
        guard let snapshots, savedEpoch != epoch - 1, let snapshot else { return }
        if snapshots.waitAtEnd() {
            var buffer = snapshots.anyBuffer()
            snapshots.start(snapshot.captured(for: deployment, into: &buffer))
        }
        guard snapshots.waitAtEnd() else {
            telemetry.warn(
                "the state is not safe yet and nobody waits for the disk any longer: the next start may replay more",
                ["seconds": .int(Int(SnapshotWriter.patience.inSeconds))]
            )
            return
        }
        tellFailure()
    }

    /// The state as of the last epoch that was judged; nil where there is none, or none whose record proves what is in it.
    private var snapshot: Snapshot? {
        guard let lastRecord, lastRecord.proof != nil else { return nil }
        return Snapshot(
            record: lastRecord,
            positions: zip(sources, judgedTo).map { SourcePosition(source: $0, next: $1) },
            clocks: tracker.clocks,
            watermark: tracker.watermark,
            engine: processor.engine
        )
    }

    /// Takes the state when its time has come and the commit that was just started ends with the epoch it is of: once that one is
    /// committed, it may be saved.
    ///
    /// Taking it stops the judging for one copy of the state, so it is done the more rarely the longer that takes: for a fiftieth
    /// of the time at most.
    func captureIfDue() {
        guard case .every(let interval) = options.snapshotPace, let snapshots, captured == nil, snapshots.isIdle else {
            return
        }
        tellFailure()
        let began = clock.now
        guard (began - capturedAt).inSeconds >= max(interval, 50 * captureSeconds) else { return }
        guard let snapshot else { return }
        // The next commit is soon enough where there is no memory yet.
        guard var buffer = snapshots.buffer(bytes: snapshot.bytesExpected) else { return }
        captured = snapshot.captured(for: deployment, into: &buffer)
        capturedAt = began
        captureSeconds = (clock.now - began).inSeconds
        snapshots.captured(seconds: captureSeconds)
    }

    private func tellFailure() {
        if let failure = snapshots?.takeFailure() {
            savedEpoch = -1
            telemetry.warn(
                "the state could not be kept: the next start replays more",
                ["reason": .string(failure.message)]
            )
        }
    }
}
