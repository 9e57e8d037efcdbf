/// What one commit takes along, and how it went.
final class Commit {
    var batch = OutputBatch(topics: OutputTopics.all)
    var positions: [SourcePosition] = []
    /// The verdicts in it as JSON, one a line, for ``Worker/committed``.
    var verdicts: [UInt8] = []
    /// Records judged into it.
    var records = 0
    /// When the log took the records judged into it, where it says so.
    var appended: [AppendTime] = []
    /// Of the last attempt; its end in milliseconds since 1970.
    fileprivate(set) var ended: Int64 = 0
    fileprivate(set) var seconds = 0.0
    fileprivate(set) var counters = LogCounters()
    fileprivate(set) var error: LogError?

    func removeAll() {
        batch.removeAll()
        positions.removeAll(keepingCapacity: true)
        verdicts.removeAll(keepingCapacity: true)
        records = 0
        appended.removeAll(keepingCapacity: true)
    }
}

/// Commits one batch at a time, on a thread of its own, so that the worker goes on reading and judging meanwhile; where a commit
/// takes no time, on the caller's.
///
/// `@unchecked Sendable`: `isBusy` and `thread` are the owner's; the writer belongs to the committer, and with a commit to its
/// thread from ``start(_:)`` until ``finish(waiting:)`` gives the commit back.
final class Committer: @unchecked Sendable {
    private struct Desk {
        var job: Commit?
        var done: Commit?
        var isStopping = false
    }

    private let writer: any LogWriter
    private let clock: any WorkerClock
    private let desk = Monitor(Desk())
    private var thread: BackgroundThread?
    /// A commit was started and not yet given back.
    private(set) var isBusy = false

    /// Commits on the caller's thread, as a commit takes no time.
    var isImmediate: Bool { writer.commitsAtOnce }

    init(_ writer: any LogWriter, _ clock: any WorkerClock) {
        self.writer = writer
        self.clock = clock
        // Without a thread the owner commits itself.
        if !writer.commitsAtOnce { thread = BackgroundThread(named: "weir-commit") { self.work() } }
    }

    deinit { precondition(thread == nil, "stop the committer before letting it go") }

    /// Commits the batch; the one before must have been given back.
    func start(_ commit: Commit) {
        precondition(!isBusy, "one commit at a time")
        isBusy = true
        if thread == nil {
            perform(commit)
            desk.change { $0.done = commit }
        } else {
            desk.change { $0.job = commit }
        }
    }

    /// Gives back the commit that was started once it has ended; nil when there is none, or none that ends within the time.
    ///
    /// - Parameter milliseconds: the longest wait; nil: as long as it takes.
    func finish(waiting milliseconds: Int?) -> Commit? {
        guard isBusy, let ended = desk.wait(milliseconds: milliseconds, until: { $0.done.take() }) else { return nil }
        isBusy = false
        return ended
    }

    /// Waits for what was started and ends the thread; a second call does nothing.
    func stop() {
        guard let thread else { return }
        desk.change { $0.isStopping = true }
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
        commit.ended = clock.wallMilliseconds
        commit.counters = writer.counters
    }

    private func work() {
        while true {
            // A job that was given before the end is done before the end.
            let job = desk.wait(milliseconds: nil) { desk -> Commit?? in
                if let job = desk.job.take() { return .some(job) }
                return desk.isStopping ? .some(nil) : nil
            }
            guard case .some(.some(let commit)) = job else { return }
            perform(commit)
            desk.change { $0.done = commit }
        }
    }
}
