import Detection
import Glibc

/// A fixed team of threads that runs one stage of an epoch at a time: fork, work on disjoint lanes, join.
///
/// The calling thread is lane 0; the others sleep between stages on a condition variable. One caller at a time. Costs about 10 µs a
/// stage, so a small epoch is better run on the caller alone: see ``lanes(for:)``.
///
/// `@unchecked Sendable`: every shared field is written and read under `mutex`.
public final class ThreadTeam: @unchecked Sendable {
    /// Lanes a stage is split into, at least 1.
    public let lanes: Int

    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let wakeUp: UnsafeMutablePointer<pthread_cond_t>
    private let allDone: UnsafeMutablePointer<pthread_cond_t>
    private var threads: [BackgroundThread] = []
    private var job: ((Int) -> Void)?
    private var jobLanes = 0
    /// The next of more lanes than threads.
    private var nextShared = 0
    private var generation = 0
    private var running = 0
    private var isStopping = false

    /// Starts `lanes - 1` threads.
    public init(lanes: Int) {
        self.lanes = max(1, lanes)
        mutex = .allocate(capacity: 1)
        wakeUp = .allocate(capacity: 1)
        allDone = .allocate(capacity: 1)
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(wakeUp, nil)
        pthread_cond_init(allDone, nil)
        for lane in 1..<max(2, self.lanes) where lane < self.lanes {
            // The team joins it in `stop`, so `self` outlives it.
            if let thread = BackgroundThread(named: "weir-lane", { [unowned self] in work(lane: lane) }) {
                threads.append(thread)
            }
        }
        precondition(threads.count == self.lanes - 1, "the system refuses to start threads")
    }

    /// Ends and joins the threads; the team must not be used afterwards.
    public func stop() {
        pthread_mutex_lock(mutex)
        isStopping = true
        pthread_cond_broadcast(wakeUp)
        pthread_mutex_unlock(mutex)
        for thread in threads { thread.join() }
        threads = []
    }

    deinit {
        precondition(threads.isEmpty, "stop the team before letting it go")
        pthread_cond_destroy(wakeUp)
        pthread_cond_destroy(allDone)
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
        wakeUp.deallocate()
        allDone.deallocate()
    }

    /// Fewer records than this, in all and per lane, are done sooner by the caller alone: a stage wakes the team and waits for it,
    /// and on busy cores each wait may be a scheduler's turn.
    private static let sharedRecords = (all: Engine.largePart, perLane: 64)

    /// Lanes that so many records are worth: one, or all.
    public func lanes(for records: Int) -> Int {
        records < max(ThreadTeam.sharedRecords.all, ThreadTeam.sharedRecords.perLane * lanes) ? 1 : lanes
    }

    /// Calls `body` once for each lane in `0..<lanes`, in parallel, and returns when all have returned.
    ///
    /// Lanes must touch disjoint memory. A lane is a thread's own, so that it finds its memory warm; of more lanes than threads
    /// each thread takes the next when it has done one.
    public func run(lanes wanted: Int, _ body: (Int) -> Void) {
        if wanted <= 1 || threads.isEmpty {
            for lane in 0..<wanted { body(lane) }
            return
        }
        if wanted > lanes {
            // Nobody else reads it before the fork below.
            nextShared = 0
            run(lanes: lanes) { _ in while let lane = takeShared(wanted) { body(lane) } }
            return
        }
        withoutActuallyEscaping(body) { body in
            pthread_mutex_lock(mutex)
            job = body
            jobLanes = wanted
            generation &+= 1
            running = threads.count
            pthread_cond_broadcast(wakeUp)
            pthread_mutex_unlock(mutex)
            body(0)
            pthread_mutex_lock(mutex)
            while running > 0 { pthread_cond_wait(allDone, mutex) }
            job = nil
            pthread_mutex_unlock(mutex)
        }
    }

    private func takeShared(_ count: Int) -> Int? {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        guard nextShared < count else { return nil }
        nextShared += 1
        return nextShared - 1
    }

    /// Calls the job and lets go of it before returning: the caller of ``run(lanes:_:)`` lends it only until the join.
    @inline(never)
    private func perform(_ lane: Int) { job?(lane) }

    private func work(lane: Int) {
        var seen = 0
        while true {
            pthread_mutex_lock(mutex)
            while generation == seen && !isStopping { pthread_cond_wait(wakeUp, mutex) }
            if isStopping {
                pthread_mutex_unlock(mutex)
                return
            }
            seen = generation
            let isWanted = lane < jobLanes
            pthread_mutex_unlock(mutex)
            if isWanted { perform(lane) }
            pthread_mutex_lock(mutex)
            running -= 1
            if running == 0 { pthread_cond_signal(allDone) }
            pthread_mutex_unlock(mutex)
        }
    }
}
