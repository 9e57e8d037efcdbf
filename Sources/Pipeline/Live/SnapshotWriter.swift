/// Saves one snapshot at a time, on a thread of its own, so that the worker goes on meanwhile; without a thread, on the caller's.
///
/// `@unchecked Sendable`: the store is used by one thread at a time, the desk's monitor sees to it.
final class SnapshotWriter: @unchecked Sendable {
    private struct Desk {
        var job: CapturedSnapshot?
        var isWorking = false
        var failure: LogError?
        var isStopping = false
    }

    private let store: any SnapshotStore
    private let clock: any WorkerClock
    private let metrics: SnapshotMetrics?
    private let desk = Monitor(Desk())
    private var thread: BackgroundThread?

    /// - Parameter isThreaded: false keeps a simulation deterministic.
    init(
        _ store: any SnapshotStore,
        isThreaded: Bool,
        _ clock: any WorkerClock,
        _ metrics: SnapshotMetrics? = nil
    ) {
        self.store = store
        self.clock = clock
        self.metrics = metrics
        if isThreaded { thread = BackgroundThread(named: "weir-snapshot") { self.work() } }
    }

    deinit { precondition(thread == nil, "stop the writer before letting it go") }

    /// Nothing is being saved.
    var isIdle: Bool { desk.change { $0.job == nil && !$0.isWorking } }

    /// Saves a snapshot; the one before must be done.
    func start(_ snapshot: CapturedSnapshot) {
        precondition(isIdle, "one snapshot at a time")
        if thread == nil {
            perform(snapshot)
        } else {
            desk.change { $0.job = snapshot }
        }
    }

    /// Why the last one could not be saved; told once.
    func takeFailure() -> LogError? { desk.change { $0.failure.take() } }

    /// Waits for what was started and ends the thread; a second call does nothing.
    func stop() {
        guard let thread else { return }
        desk.change { $0.isStopping = true }
        thread.join()
        self.thread = nil
    }

    /// Hears how long the judging stood still for a copy of the state.
    func captured(seconds: Double) { metrics?.captured(seconds: seconds) }

    private func perform(_ snapshot: consuming CapturedSnapshot) {
        let began = clock.now
        let stored = snapshot.finish()
        do throws(LogError) {
            try store.save(stored)
            metrics?.saved(stored, seconds: (clock.now - began).inSeconds)
        } catch {
            metrics?.failed()
            desk.change { $0.failure = error }
        }
    }

    private func work() {
        while true {
            let job = desk.wait(milliseconds: nil) { desk -> CapturedSnapshot?? in
                if let job = desk.job.take() {
                    desk.isWorking = true
                    return .some(job)
                }
                return desk.isStopping ? .some(nil) : nil
            }
            guard let job, let snapshot = job else { return }
            perform(snapshot)
            desk.change { $0.isWorking = false }
        }
    }
}
