import Glibc

/// The one place in the tests that lets time pass.
///
/// A test waits for a condition, never for a time that is long enough today: the limit is there for a fault, and a machine ten
/// times slower still keeps it. A time of its own belongs only to a fault that lasts, and to a claim that nothing happens: neither
/// fails because the machine is slow.
public enum Waiting {
    /// Seconds after which a wait is given up.
    public static let limit = 300.0

    /// Waits until the condition holds, asking every `every` seconds; returns whether it did within the limit.
    @discardableResult
    public static func until<Failure: Error>(
        seconds: Double = limit,
        every: Double = 0.005,
        _ condition: () throws(Failure) -> Bool
    ) throws(Failure) -> Bool {
        let end = ContinuousClock.now + .seconds(seconds)
        while true {
            if try condition() { return true }
            if ContinuousClock.now >= end { return false }
            pause(every)
        }
    }

    /// Whether a claim stays true for so many seconds; returns at once when it does not.
    ///
    /// For what must not happen: a slow machine makes this less sharp, never wrong.
    public static func holds<Failure: Error>(
        seconds: Double,
        _ claim: () throws(Failure) -> Bool
    ) throws(Failure) -> Bool {
        let end = ContinuousClock.now + .seconds(seconds)
        while ContinuousClock.now < end {
            guard try claim() else { return false }
            pause(0.01)
        }
        return try claim()
    }

    /// Lets a fault last: a broker that is away, a commit that is under way.
    public static func fault(seconds: Double) { pause(seconds) }

    /// Lets other threads go on for a moment; nothing may rest on how far they come, only how often it is asked for.
    public static func yield() { pause(0.0002) }

    private static func pause(_ seconds: Double) {
        let wanted = timespec(tv_sec: Int(seconds), tv_nsec: Int(seconds.truncatingRemainder(dividingBy: 1) * 1e9))
        withUnsafeTemporaryAllocation(of: timespec.self, capacity: 1) { rest in
            rest.initialize(repeating: wanted)
            // A signal that a test sends itself cuts the wait short.
            while nanosleep(rest.baseAddress, rest.baseAddress) != 0, errno == EINTR {}
        }
    }
}
