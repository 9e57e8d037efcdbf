import Glibc
import Synchronization

/// SIGTERM and SIGINT as a wish to stop: the first asks for a drain, the second ends at once.
///
/// The handler only stores a number and writes one byte into a pipe: everything else (locks, allocation, librdkafka) is forbidden
/// in a handler. Loops ask ``received``; whoever waits in `poll` watches ``descriptor``. Ending at once is safe: what was not
/// committed is computed again after the next start.
enum StopSignal {
    /// Number of the first stop signal; 0: none.
    private static let number = Atomic<Int32>(0)
    /// The two ends of the pipe, made by ``install()`` before a handler can read them; -1 before that.
    private static let pipeEnd = Atomic<Int32>(-1)
    private static let readEnd = Atomic<Int32>(-1)

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
        _ = number.load(ordering: .relaxed)
        ignoreBrokenPipes()
        var action = sigaction()
        action.__sigaction_handler.sa_handler = { signal in StopSignal.handle(signal) }
        action.sa_flags = Int32(SA_RESTART)
        sigemptyset(&action.sa_mask)
        sigaction(SIGTERM, &action, nil)
        sigaction(SIGINT, &action, nil)
        // Whoever started us may have blocked them, and a mask is inherited: a service that cannot be stopped.
        var wanted = sigset_t()
        sigemptyset(&wanted)
        sigaddset(&wanted, SIGTERM)
        sigaddset(&wanted, SIGINT)
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
        var byte: UInt8 = 1
        _ = write(pipeEnd.load(ordering: .relaxed), &byte, 1)
        errno = saved
    }
}
