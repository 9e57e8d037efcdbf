import Glibc
import Synchronization

/// SIGTERM and SIGINT as a wish to stop: the first asks for an end, the second ends at once.
///
/// Whoever waits for a log asks ``isEndDue``: it is once a stop was asked for, and for who drains when that has had its time.
/// What does not end by that, as a call into a library that never returns, is ended by an alarm ``limitSeconds`` after the signal.
///
/// The handlers only store numbers, set the alarm, and write to a pipe or to stderr: everything else (locks, allocation,
/// librdkafka) is forbidden in a handler. Loops ask ``received``; whoever waits in `poll` watches ``descriptor``. Ending at once
/// is safe: what was not committed is computed again after the next start.
enum StopSignal {
    /// Number of the first stop signal; 0: none.
    private static let number = Atomic<Int32>(0)
    /// The two ends of the pipe, made by ``install()`` before a handler can read them; -1 before that.
    private static let pipeEnd = Atomic<Int32>(-1)
    private static let readEnd = Atomic<Int32>(-1)
    /// When the first signal came, in milliseconds of the steady clock.
    private static let came = Atomic<Int64>(0)
    /// A stop leaves time for what is under way.
    private static let isDraining = Atomic<Bool>(false)
    /// The code to leave with when the end does not come in time; 0: that of the signal.
    private static let lateCode = Atomic<Int32>(0)

    /// How long a drain may go on waiting for a log.
    static let drainMilliseconds: Int64 = 7500
    /// When a process that was asked to stop is ended at the latest.
    static let limitSeconds: Int64 = 9
    private static let lateLine: StaticString =
        "weir: error: stopped before what was read last could be committed: the log has not answered for 9 s. The next start judges it again.\n"

    /// Begins to listen to SIGTERM and SIGINT and to ignore SIGPIPE (a closed pipe is then an error of `write`).
    ///
    /// Call it once, before any thread is started.
    static func install() {
        var ends: [Int32] = [-1, -1]
        if pipe(&ends) == 0 {
            for end in ends {
                _ = fcntl(end, F_SETFD, FD_CLOEXEC)
                _ = fcntl(end, F_SETFL, O_NONBLOCK)
            }
            readEnd.store(ends[0], ordering: .relaxed)
            pipeEnd.store(ends[1], ordering: .releasing)
        }
        // Made before a handler can meet them.
        _ = number.load(ordering: .relaxed)
        came.store(0, ordering: .relaxed)
        isDraining.store(false, ordering: .relaxed)
        lateCode.store(0, ordering: .relaxed)
        ignoreBrokenPipes()
        var action = sigaction()
        action.__sigaction_handler.sa_handler = { signal in StopSignal.handle(signal) }
        action.sa_flags = Int32(SA_RESTART)
        sigemptyset(&action.sa_mask)
        sigaction(SIGTERM, &action, nil)
        sigaction(SIGINT, &action, nil)
        action.__sigaction_handler.sa_handler = { _ in StopSignal.giveUp() }
        sigaction(SIGALRM, &action, nil)
        // Whoever started us may have blocked them, and a mask is inherited: a service that cannot be stopped.
        var wanted = sigset_t()
        sigemptyset(&wanted)
        sigaddset(&wanted, SIGTERM)
        sigaddset(&wanted, SIGINT)
        sigaddset(&wanted, SIGALRM)
        pthread_sigmask(SIG_UNBLOCK, &wanted, nil)
    }

    /// Lets `write` to a closed pipe fail with EPIPE instead of ending the process.
    static func ignoreBrokenPipes() { signal(SIGPIPE, SIG_IGN) }

    /// The code to leave with once stopping was asked for; nil while it was not.
    ///
    /// One atomic load.
    static var received: ExitCode? {
        switch number.load(ordering: .acquiring) {
        case SIGTERM: .terminated
        case SIGINT: .interrupted
        default: nil
        }
    }

    /// Whether what waits for a log should give up.
    ///
    /// One atomic load until a stop is asked for.
    static var isEndDue: Bool {
        if number.load(ordering: .acquiring) == 0 { return false }
        return !isDraining.load(ordering: .acquiring) || now() - came.load(ordering: .acquiring) >= drainMilliseconds
    }

    /// From now on a stop leaves ``drainMilliseconds`` for what is under way.
    ///
    /// - Parameter late: the code to leave with, and to say so, where that does not end; nil: as after any stop.
    static func drains(orEndsWith late: ExitCode? = nil) {
        lateCode.store(late?.rawValue ?? 0, ordering: .releasing)
        isDraining.store(true, ordering: .releasing)
    }

    /// All that is to be committed is: what is still done is the process's own, and may take its time.
    static func hasDrained() {
        alarm(0)
        lateCode.store(0, ordering: .releasing)
        isDraining.store(false, ordering: .releasing)
    }

    /// Only the clients of the log are still to be closed: again no longer than the limit.
    static func leaves() {
        guard received != nil else { return }
        let left = limitSeconds - (now() - came.load(ordering: .acquiring)) / 1000
        alarm(UInt32(max(1, left)))
    }

    /// Milliseconds of the steady clock.
    private static func now() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
    }

    /// Becomes readable when stopping is asked for and stays so; -1 before ``install()``.
    static var descriptor: Int32 { readEnd.load(ordering: .acquiring) }

    /// Sleeps until a stop signal or the time is over; returns the code once stopping was asked for.
    static func wait(milliseconds: Int32) -> ExitCode? {
        if let received { return received }
        var wanted = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        _ = poll(&wanted, 1, milliseconds)
        return received
    }

    private static func handle(_ signal: Int32) {
        let saved = errno
        let (first, _) = number.compareExchange(expected: 0, desired: signal, ordering: .acquiringAndReleasing)
        if !first { _exit(128 + signal) }
        came.store(now(), ordering: .releasing)
        alarm(UInt32(limitSeconds))
        var byte: UInt8 = 1
        _ = write(pipeEnd.load(ordering: .relaxed), &byte, 1)
        errno = saved
    }

    private static func giveUp() {
        let code = lateCode.load(ordering: .relaxed)
        if code == 0 { _exit(128 + number.load(ordering: .relaxed)) }
        _ = write(STDERR_FILENO, lateLine.utf8Start, lateLine.utf8CodeUnitCount)
        _exit(code)
    }
}
