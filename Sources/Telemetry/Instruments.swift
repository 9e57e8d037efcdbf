import Synchronization

/// A number that only grows, such as records read; thread-safe, one atomic addition, no allocation.
///
/// Add once per batch from a local count: an atomic addition costs some nanoseconds, and threads that share a line of the cache
/// more.
public final class Counter: Sendable {
    private let count = Atomic<Int>(0)

    init() {}

    /// Adds `amount`, which must not be negative.
    public func add(_ amount: Int = 1) {
        precondition(amount >= 0, "a counter never falls; use a gauge")
        count.wrappingAdd(amount, ordering: .relaxed)
    }

    /// The total so far.
    public var value: Int { count.load(ordering: .relaxed) }
}

/// A number that rises and falls, such as bytes of state; thread-safe, without allocation.
///
/// It may be absent: what is not known any more is better left out than told as it once was.
public final class Gauge: Sendable {
    private let bits = Atomic<UInt64>(0)
    /// A bit pattern that no arithmetic gives.
    private static let absent = UInt64.max

    init() {}

    /// Replaces the value.
    public func set(_ value: Double) { bits.store(value.bitPattern, ordering: .relaxed) }

    /// Replaces the value; exact up to 2^53.
    public func set(_ value: Int) { set(Double(value)) }

    /// Takes the series out of the text until a value is set again.
    public func clear() { bits.store(Gauge.absent, ordering: .relaxed) }

    /// Whether there is no value to show.
    public var isAbsent: Bool { bits.load(ordering: .relaxed) == Gauge.absent }

    /// Adds to the value; `delta` may be negative.
    ///
    /// Not for one that is absent.
    public func add(_ delta: Double) {
        var old = bits.load(ordering: .relaxed)
        while true {
            let new = (Double(bitPattern: old) + delta).bitPattern
            let (done, seen) = bits.weakCompareExchange(expected: old, desired: new, ordering: .relaxed)
            if done { return }
            old = seen
        }
    }

    /// The value now.
    public var value: Double { Double(bitPattern: bits.load(ordering: .relaxed)) }
}

/// Counts of observations by size, in buckets fixed at creation; thread-safe, without allocation.
///
/// Cost: a binary search over the bounds and two atomic additions. An observation that is not a number is not counted.
public final class Histogram: Sendable {
    /// Bounds for durations in seconds: 1 ms to 10 s, closest where a verdict's latency is judged.
    public static let secondsBounds: [Double] = [
        0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
    ]

    /// Upper bounds, inclusive, ascending; a last bucket without a bound follows.
    public let bounds: [Double]
    private let buckets: [Counter]
    private let total = Gauge()

    init(bounds: [Double]) {
        precondition(!bounds.isEmpty && zip(bounds, bounds.dropFirst()).allSatisfy { $0 < $1 }, "bounds must ascend")
        precondition(bounds.allSatisfy { $0.isFinite }, "bounds must be finite; the last bucket is implied")
        self.bounds = bounds
        buckets = (0...bounds.count).map { _ in Counter() }
    }

    /// Counts `times` observations of this size.
    public func observe(_ value: Double, times: Int = 1) {
        guard !value.isNaN else { return }
        var low = 0
        var high = bounds.count
        while low < high {
            let middle = (low + high) / 2
            if value <= bounds[middle] { high = middle } else { low = middle + 1 }
        }
        buckets[low].add(times)
        total.add(value * Double(times))
    }

    /// Observations so far.
    public var count: Int { buckets.reduce(0) { $0 + $1.value } }

    /// The sum of all observations; floating point, so its last bits depend on the order of threads.
    public var sum: Double { total.value }

    /// The size that a share of the observations does not exceed, such as 0.99; nil without observations.
    ///
    /// Estimated as Prometheus' `histogram_quantile` does: evenly spread inside a bucket; what lies above the last bound counts as
    /// that bound.
    ///
    /// - Parameter earlier: ``cumulativeCounts`` at the start of the time in question; empty: since the beginning.
    public func quantile(_ share: Double, since earlier: [Int] = []) -> Double? {
        precondition(earlier.isEmpty || earlier.count == buckets.count, "counts of this histogram")
        let now = cumulativeCounts
        let counts = earlier.isEmpty ? now : zip(now, earlier).map { $0 - $1 }
        guard let all = counts.last, all > 0 else { return nil }
        let rank = share * Double(all)
        guard let bucket = counts.firstIndex(where: { Double($0) >= rank }), bucket < bounds.count else {
            return bounds.last
        }
        let low = bucket == 0 ? 0 : bounds[bucket - 1]
        let below = bucket == 0 ? 0 : counts[bucket - 1]
        let inside = counts[bucket] - below
        guard inside > 0 else { return bounds[bucket] }
        return low + (bounds[bucket] - low) * (rank - Double(below)) / Double(inside)
    }

    /// Observations at or below each bound, ascending; the last element counts all.
    public var cumulativeCounts: [Int] {
        var sum = 0
        return buckets.map { bucket in
            sum += bucket.value
            return sum
        }
    }
}
