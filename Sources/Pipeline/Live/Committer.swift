import Glibc

/// What one commit takes along, and how it went.
final class Commit {
    var batch = OutputBatch(topics: OutputTopics.all)
    var positions: [SourcePosition] = []
    /// The verdicts in it as JSON, one a line, for ``Worker/committed``.
    var verdicts: [UInt8] = []
    /// Records judged into it.
    var records = 0
    /// Of the last attempt.
    fileprivate(set) var seconds = 0.0
    fileprivate(set) var counters = LogCounters()
    fileprivate(set) var error: LogError?

    func removeAll() {
        batch.removeAll()
        positions.removeAll(keepingCapacity: true)
        verdicts.removeAll(keepingCapacity: true)
        records = 0
    }
}

/// Commits one batch at a time, on a thread of its own, so that the worker goes on reading and judging meanwhile; where a commit takes no
/// time, on the caller's.
///
/// `@unchecked Sendable`: `job`, `done` and `isStopping` are used under `mutex` only; the writer belongs to the committer, and with a commit
/// to its thread from ``start(_:)`` until ``finish(waiting:)`` gives the commit back.
final class Committer: @unchecked Sendable {
    private let writer: any LogWriter
    private let clock: any WorkerClock
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let changed: UnsafeMutablePointer<pthread_cond_t>
    private var thread: BackgroundThread?
    private var job: Commit?
    private var done: Commit?
    private var isStopping = false
    /// A commit was started and not yet given back; of the owner's thread.
    private(set) var isBusy = false

    init(_ writer: any LogWriter, _ clock: any WorkerClock) {
        self.writer = writer
        self.clock = clock
        mutex = .allocate(capacity: 1)
        changed = .allocate(capacity: 1)
        pthread_mutex_init(mutex, nil)
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(changed, &attributes)
        pthread_condattr_destroy(&attributes)
        // Without a thread the owner commits itself.
        if !writer.commitsAtOnce { thread = BackgroundThread(named: "weir-commit") { self.work() } }
    }

    deinit {
        precondition(thread == nil, "stop the committer before letting it go")
        pthread_cond_destroy(changed)
        pthread_mutex_destroy(mutex)
        changed.deallocate()
        mutex.deallocate()
    }

    /// Commits the batch; the one before must have been given back.
    func start(_ commit: Commit) {
        precondition(!isBusy, "one commit at a time")
        isBusy = true
        if thread == nil {
            perform(commit)
            done = commit
            return
        }
        pthread_mutex_lock(mutex)
        job = commit
        pthread_cond_broadcast(changed)
        pthread_mutex_unlock(mutex)
    }

    /// Gives back the commit that was started once it has ended; nil when there is none, or none that ends within the time.
    ///
    /// - Parameter milliseconds: the longest wait; nil: as long as it takes.
    func finish(waiting milliseconds: Int?) -> Commit? {
        guard isBusy else { return nil }
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        if let milliseconds {
            var deadline = timespec()
            clock_gettime(CLOCK_MONOTONIC, &deadline)
            deadline.tv_nsec += (milliseconds % 1000) * 1_000_000
            deadline.tv_sec += milliseconds / 1000 + deadline.tv_nsec / 1_000_000_000
            deadline.tv_nsec %= 1_000_000_000
            while done == nil, milliseconds > 0, pthread_cond_timedwait(changed, mutex, &deadline) == 0 {}
        } else {
            while done == nil { pthread_cond_wait(changed, mutex) }
        }
        guard let ended = done else { return nil }
        done = nil
        isBusy = false
        return ended
    }

    /// Waits for what was started and ends the thread; a second call does nothing.
    func stop() {
        guard let thread else { return }
        pthread_mutex_lock(mutex)
        isStopping = true
        pthread_cond_broadcast(changed)
        pthread_mutex_unlock(mutex)
        thread.join()
        self.thread = nil
    }

    private func perform(_ commit: Commit) {
        let began = clock.now
        do throws(LogError) {
            try writer.commit(commit.batch, positions: commit.positions)
            commit.error = nil
        } catch { commit.error = error }
        commit.seconds = (clock.now - began).inSeconds
        commit.counters = writer.counters
    }

    private func work() {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        while true {
            while job == nil, !isStopping { pthread_cond_wait(changed, mutex) }
            guard let commit = job else { return }
            job = nil
            pthread_mutex_unlock(mutex)
            perform(commit)
            pthread_mutex_lock(mutex)
            done = commit
            pthread_cond_broadcast(changed)
        }
    }
}
