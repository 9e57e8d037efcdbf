public import Telemetry

/// Figures of the snapshots that a worker keeps; any thread may bump them.
public final class SnapshotMetrics: Sendable {
    private let clock: any WorkerClock
    private let lastSaved: Gauge
    private let bytes: Gauge
    private let pauseSeconds: Gauge
    private let saveSeconds: Gauge
    private let saves: Counter
    private let failures: Counter

    /// Makes the instruments; all exist from the start, at 0.
    public init(_ registry: MetricsRegistry, clock: any WorkerClock = SystemClock()) {
        self.clock = clock
        lastSaved = registry.gauge(
            "weir_snapshot_last_success_timestamp_seconds",
            help: "When the state was last kept; 0 before that. The age is time() minus this."
        )
        bytes = registry.gauge("weir_snapshot_bytes", help: "Size of the snapshot that was kept last.")
        pauseSeconds = registry.gauge(
            "weir_snapshot_pause_seconds",
            help: "How long the judging stood still for the last copy of the state."
        )
        saveSeconds = registry.gauge(
            "weir_snapshot_save_seconds",
            help: "How long the last copy took to be safe in the folder, beside the judging."
        )
        saves = registry.counter("weir_snapshots_total", help: "Snapshots that were kept.")
        failures = registry.counter("weir_snapshot_failures_total", help: "Snapshots that could not be kept.")
    }

    func captured(seconds: Double) { pauseSeconds.set(seconds) }

    func saved(_ snapshot: StoredSnapshot, seconds: Double) {
        lastSaved.set(Double(clock.wallMilliseconds) / 1000)
        bytes.set(Double(snapshot.bytes.count))
        saveSeconds.set(seconds)
        saves.add()
    }

    func failed() { failures.add() }
}
