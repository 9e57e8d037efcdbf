/// What is done about inputs that may not be read any more: they are assigned anew from time to time, and are taken for readable
/// when nothing was refused for as long as a broker may take to say so.
///
/// A pure value, told the time. A client says once that it is refused, and then stays silent, be the right given back or not.
struct ReadRefusal {
    /// Why nothing is read of some input; nil: all may be read.
    private(set) var error: LogError?
    /// When the inputs are assigned anew; nil: they were, and nothing was refused since.
    private var retryAt: Duration?
    /// When they are taken for readable.
    private var overAt = Duration.zero
    /// Since the first refusal.
    private var tries = 0

    /// A broker answers a first request well within it.
    static let patience = Duration.seconds(5)
    private static let most = 3

    /// - Parameter chance: from 0 to 1, by which a wait differs from that of others who were refused too.
    mutating func refused(_ error: LogError, at now: Duration, chance: Double) {
        self.error = error
        // Each input says it.
        if retryAt != nil { return }
        retryAt = now + .seconds(Double(5 << min(tries, ReadRefusal.most)) * (0.75 + chance / 2))
        tries += 1
    }

    /// Whether the inputs are to be assigned anew now.
    mutating func isDue(at now: Duration) -> Bool {
        guard let retryAt, now >= retryAt else { return false }
        self.retryAt = nil
        overAt = now + ReadRefusal.patience
        return true
    }

    /// Ends the refusal when none has come for long enough.
    mutating func settle(at now: Duration) {
        if error != nil, retryAt == nil, now >= overAt { self = ReadRefusal() }
    }
}
