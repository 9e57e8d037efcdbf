/// How long a worker waits before it tries a commit again: the longer the more failed in a row, up to some seconds, and never as
/// long as others whose commits failed at the same time.
///
/// The log has waited and tried several times itself; this keeps one that fails at once, as a full disk does, from being tried
/// without a pause.
struct RetryPause {
    /// In a row.
    private var failures = 0

    private static let most = 6
    private static let step = Duration.milliseconds(200)

    mutating func succeeded() { failures = 0 }

    /// Waits; at most a step more once `shouldStop` returns true.
    ///
    /// - Parameter salt: differs from worker to worker and from try to try.
    mutating func wait(by clock: any WorkerClock, salt: Int64, _ shouldStop: () -> Bool) {
        // Of the clock, so that a simulated one gives the same again.
        let mixed = UInt64(bitPattern: salt &+ clock.wallMilliseconds) &* 0x9E37_79B9_7F4A_7C15
        let chance = Double(mixed >> 40) / Double(1 << 24)
        var left = Duration.milliseconds(fraction: Double(50 << min(failures, RetryPause.most)) * (0.75 + chance / 2))
        failures += 1
        while left > .zero, !shouldStop() {
            clock.pause(for: min(left, RetryPause.step))
            left -= RetryPause.step
        }
    }
}
