import Glibc

/// State that threads share and whose changes they wait for: a lock and a condition in one.
///
/// `@unchecked Sendable`: the state is touched under the lock only, and what is taken out of it belongs to the thread that took it.
final class Monitor<State>: @unchecked Sendable {
    private var state: State
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let changed: UnsafeMutablePointer<pthread_cond_t>

    init(_ state: State) {
        self.state = state
        mutex = .allocate(capacity: 1)
        changed = .allocate(capacity: 1)
        pthread_mutex_init(mutex, nil)
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(changed, &attributes)
        pthread_condattr_destroy(&attributes)
    }

    deinit {
        pthread_cond_destroy(changed)
        pthread_mutex_destroy(mutex)
        changed.deallocate()
        mutex.deallocate()
    }

    /// Changes the state and wakes all who wait.
    func change<Result>(_ body: (inout State) -> Result) -> Result {
        pthread_mutex_lock(mutex)
        defer {
            pthread_cond_broadcast(changed)
            pthread_mutex_unlock(mutex)
        }
        return body(&state)
    }

    /// Waits until the body finds what it looks for; it looks at once and after each change.
    ///
    /// - Parameter milliseconds: the longest wait; nil: as long as it takes.
    /// - Returns: what the body found; nil when the time is over.
    func wait<Found>(milliseconds: Int?, until body: (inout State) -> Found?) -> Found? {
        var deadline = timespec()
        if let milliseconds {
            clock_gettime(CLOCK_MONOTONIC, &deadline)
            deadline.tv_nsec += (milliseconds % 1000) * 1_000_000
            deadline.tv_sec += milliseconds / 1000 + deadline.tv_nsec / 1_000_000_000
            deadline.tv_nsec %= 1_000_000_000
        }
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        while true {
            if let found = body(&state) { return found }
            switch milliseconds {
            case nil: pthread_cond_wait(changed, mutex)
            case 0: return nil
            default: if pthread_cond_timedwait(changed, mutex, &deadline) != 0 { return body(&state) }
            }
        }
    }
}
