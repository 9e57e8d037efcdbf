import CPlatform
import Glibc

/// One thread that does one piece of work; who started it joins it.
///
/// Keeps alive what the work captures until the work ends.
public struct BackgroundThread {
    private let thread: pthread_t

    /// Starts the work at once; nil when the system refuses a thread.
    ///
    /// - Parameter name: shown by `top -H` and debuggers, at most 15 bytes.
    public init?(named name: StaticString, _ work: @escaping @Sendable () -> Void) {
        // The thread takes this reference over; where there is none, it is released below.
        let start = Unmanaged.passRetained(ThreadStart(name: name, work: work))
        var started = pthread_t()
        let failed = pthread_create(
            &started,
            nil,
            { raw in
                guard let raw else { return nil }
                let start = Unmanaged<ThreadStart>.fromOpaque(raw).takeRetainedValue()
                start.name.withUTF8Buffer { bytes in
                    bytes.withMemoryRebound(to: CChar.self) { weir_name_current_thread($0.baseAddress) }
                }
                start.work()
                return nil
            },
            start.toOpaque()
        )
        guard failed == 0 else {
            start.release()
            return nil
        }
        thread = started
    }

    /// Waits until the work has ended; once, where it is not detached.
    public func join() { pthread_join(thread, nil) }

    /// Lets the work go on by itself; once, in place of ``join()``.
    public func detach() { pthread_detach(thread) }
}

/// What a new thread is told.
private final class ThreadStart: Sendable {
    let name: StaticString
    let work: @Sendable () -> Void

    init(name: StaticString, work: @escaping @Sendable () -> Void) {
        self.name = name
        self.work = work
    }
}
