import func Glibc.usleep
import Telemetry

/// The time that paces a worker and its log, and the wall's time that the worker stamps on what it writes.
///
/// It decides when a worker polls, cuts, commits and takes a source for idle; all of that which changes a result stands in the
/// journal, so that a replay needs no clock. Any thread may ask.
public protocol WorkerClock: Sendable {
    /// Steady time since a beginning of the clock's own choosing.
    var now: Duration { get }
    /// Milliseconds since 1970, as people's clocks show them.
    var wallMilliseconds: Int64 { get }
    /// Returns when so much steady time has passed.
    func pause(for duration: Duration)
}

/// The machine's clocks.
public struct SystemClock: WorkerClock {
    private let beginning = ContinuousClock.now

    /// Begins now.
    public init() {}

    public var now: Duration { beginning.duration(to: .now) }
    public var wallMilliseconds: Int64 { Log.wallClockMilliseconds() }
    public func pause(for duration: Duration) { usleep(UInt32(min(max(0, duration.inSeconds), 1000) * 1e6)) }
}

extension Duration {
    /// In seconds.
    public var inSeconds: Double {
        let (whole, attoseconds) = components
        return Double(whole) + Double(attoseconds) * 1e-18
    }

    /// A fraction of milliseconds counts to the nanosecond.
    static func milliseconds(fraction milliseconds: Double) -> Duration {
        .nanoseconds(Int64(min(milliseconds, 1e12) * 1e6))
    }
}
