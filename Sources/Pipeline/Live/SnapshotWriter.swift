/// Saves one snapshot at a time, on a thread of its own, so that the worker goes on meanwhile; without a thread, on the caller's.
///
/// The memory of a copy is used for the next one: a fresh one costs a page fault for every 4 KiB, which is more than the copy.
/// Where it has become too small a larger one is made, on the thread.
///
/// `@unchecked Sendable`: the store is used by one thread at a time, the desk's monitor sees to it.
final class SnapshotWriter: @unchecked Sendable {
    private struct Desk {
        var job: CapturedSnapshot?
        var isWorking = false
        /// Of the last copy.
        var spare: [UInt8]?
        /// How large a spare one is to be; nil: none is asked for.
        var wantedBytes: Int?
        var failure: LogError?
        var isStopping = false

        var isIdle: Bool { job == nil && !isWorking && wantedBytes == nil }
    }

    private let store: any SnapshotStore
    private let clock: any WorkerClock
    private let metrics: SnapshotMetrics?
    private let desk = Monitor(Desk())
    private var thread: BackgroundThread?
    private var isThreaded: Bool
    /// When the end of the worker stops waiting; nil: it has not come.
    private var endBy: Duration?

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
        self.isThreaded = isThreaded
        if isThreaded {
            thread = BackgroundThread(named: "weir-snapshot") { self.work() }
            // Refused by the system, so nobody else reads this.
            if thread == nil { self.isThreaded = false }
        }
    }

    deinit { precondition(thread == nil, "stop the writer before letting it go") }

    /// Nothing is being saved.
    var isIdle: Bool { desk.change { $0.isIdle } }

    /// Memory for a copy of so many bytes; nil: it is being made, and the writer is not idle until then.
    func buffer(bytes: Int) -> [UInt8]? {
        // Without a thread nobody's pause is measured.
        if thread == nil { return [] }
        return desk.change { desk in
            if let spare = desk.spare.take(), spare.capacity >= bytes { return spare }
            desk.wantedBytes = bytes + bytes / 4
            return nil
        }
    }

    /// The memory that there is, whatever its size: nobody waits for the copy.
    func anyBuffer() -> [UInt8] { desk.change { $0.spare.take() } ?? [] }

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

    /// Waits until nothing is being saved, for ``patience`` in all since the first call; returns whether nothing is.
    func waitAtEnd() -> Bool {
        let deadline = endBy ?? clock.now + SnapshotWriter.patience
        endBy = deadline
        while !isIdle {
            if clock.now > deadline { return false }
            clock.pause(for: .milliseconds(5))
        }
        return true
    }

    /// How long the end of a worker waits for a disk.
    static let patience = Duration.seconds(20)

    /// Waits for what was started and ends the thread; a second call does nothing.
    ///
    /// A disk that does not answer is left alone: what it is given has no name until it is safe, and the process ends.
    func stop() {
        guard let thread else { return }
        let isOver = waitAtEnd()
        desk.change { $0.isStopping = true }
        if isOver { thread.join() } else { thread.detach() }
        self.thread = nil
    }

    /// Hears how long the judging stood still for a copy of the state.
    func captured(seconds: Double) { metrics?.captured(seconds: seconds) }

    private func perform(_ snapshot: CapturedSnapshot) {
        let began = clock.now
        let stored = snapshot.finish()
        do throws(LogError) {
            try store.save(stored)
            metrics?.saved(stored, seconds: (clock.now - began).inSeconds)
        } catch {
            metrics?.failed()
            desk.change { $0.failure = error }
        }
        if isThreaded { desk.change { $0.spare = stored.bytes } }
    }

    /// Memory that is there already.
    private static func touched(bytes: Int) -> [UInt8] {
        var memory = [UInt8](repeating: 0, count: bytes)
        memory.removeAll(keepingCapacity: true)
        return memory
    }

    private enum Task {
        case save(CapturedSnapshot)
        case make(bytes: Int)
        case end
    }

    private func work() {
        while true {
            let task = desk.wait(milliseconds: nil) { desk -> Task? in
                if let job = desk.job.take() {
                    desk.isWorking = true
                    return .save(job)
                }
                if let bytes = desk.wantedBytes { return .make(bytes: bytes) }
                return desk.isStopping ? .end : nil
            }
            switch task {
            case .save(let snapshot):
                perform(snapshot)
                desk.change { $0.isWorking = false }
            case .make(let bytes):
                let memory = SnapshotWriter.touched(bytes: bytes)
                desk.change {
                    $0.spare = memory
                    $0.wantedBytes = nil
                }
            case .end, nil: return
            }
        }
    }
}
