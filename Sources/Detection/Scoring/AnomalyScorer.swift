import Models

/// Half-space trees over rows of numbers, frozen inside a tick, learning at its end in event order.
///
/// A tick's events may come in several parts: for each ``begin(rows:)``, then ``score(row:fill:)`` for any of its rows in any order
/// on any threads; when the tick has ended ``endTick(lanes:fork:)``. A row that is never scored (an event of another type) is never
/// learnt. What was scored is kept until then, also over epochs. The first `window` events teach only the ranges: trees on a range
/// that still grows by leaps would count the same point in other leaves an hour later.
///
/// Cost: about 12 ns per feature and 10 ns per tree and event; memory for the largest tick, at most ``TickClock/eventsMax`` rows of
/// 8 bytes a feature and 2 a tree; no allocation once a tick of its length has been seen.
public struct AnomalyScorer: ~Copyable {
    private let window: Int64
    // Only the scorer's own files write these.
    let treeCount: Int
    var trees: HalfSpaceTrees
    var scaler: RangeScaler
    /// Events whose ranges were learnt.
    public internal(set) var learnt: Int64 = 0
    let featureCount: Int
    // The open tick's rows: those of parts before the running one, and all.
    var earlier = 0
    var rows = 0
    var used = OwnedBuffer<UInt8>(undefined: 0)
    var places = OwnedBuffer<UInt16>(undefined: 0)
    var values = OwnedBuffer<Double>(undefined: 0)
    /// Work area of the tick's end: the rows that were scored, in order.
    private var scored = OwnedBuffer<Int32>(undefined: 0)

    public init(_ configuration: AnomalyConfiguration) {
        window = Int64(configuration.window)
        treeCount = configuration.trees
        featureCount = configuration.features.count
        trees = HalfSpaceTrees(
            featureCount: configuration.features.count,
            trees: configuration.trees,
            depth: configuration.depth,
            window: configuration.window,
            seed: configuration.seed
        )
        scaler = RangeScaler(shapes: configuration.features.map(\.shape))
    }

    /// Takes in the next part of the open tick, of so many events; their rows are counted from 0 again.
    @inline(__always)
    public mutating func begin(rows count: Int) {
        earlier = rows
        rows += count
        if rows > used.count { grow() }
        (used.base + earlier).update(repeating: 0, count: count)
    }

    private mutating func grow() {
        let capacity = max(rows, min(2 * used.count, TickClock.eventsMax))
        used.resize(to: capacity)
        places.resize(to: capacity * treeCount)
        values.resize(to: capacity * featureCount)
        scored = OwnedBuffer(undefined: capacity)
    }

    /// True once scores are more than 0: a range and a reference window are known.
    public var isWarm: Bool { trees.isWarm }

    /// The score of the part's event number `row`, 0...1 in steps of a millionth; 0 until warm.
    ///
    /// Distinct rows may be scored on distinct threads at the same time; a row is scored at most once.
    /// - Parameter fill: writes one number per feature, in the configured order; NaN is missing.
    @inline(__always)
    func score(row: Int, fill: (UnsafeMutablePointer<Double>) -> Void) -> Double {
        let row = earlier + row
        precondition(row >= earlier && row < rows, "the row is outside the part")
        let raw = values.base + row * featureCount
        used[row] = 1
        fill(raw)
        // Before the ranges are known, a place in them means nothing.
        guard knowsRanges else { return 0 }
        return withUnsafeTemporaryAllocation(of: Float.self, capacity: featureCount) { scaled in
            guard let x = scaled.baseAddress else { return 0 }
            for f in 0..<featureCount { x[f] = scaler.scale(raw[f], feature: f) }
            let score = trees.score(x, places: places.base + row * treeCount)
            return (score * 1e6).rounded(.toNearestOrEven) / 1e6
        }
    }

    var knowsRanges: Bool { learnt >= window }

    /// Ends the tick: learns its scored events in order, first into the trees (by the ranges that scored them), then into the
    /// ranges.
    ///
    /// The tick that completes the first window of ranges is the exception: its ranges come first, and its events are then placed
    /// by them. Otherwise a long tick would leave the next one without a score. The trees are shared out over the lanes; each lane
    /// sees all events in order, so the number of lanes changes nothing.
    public mutating func endTick(lanes: Int, fork: Fork) {
        var count = 0
        for row in 0..<rows where used[row] != 0 {
            scored[count] = Int32(truncatingIfNeeded: row)
            count += 1
        }
        earlier = 0
        rows = 0
        guard count > 0 else { return }
        let knewRanges = knowsRanges
        if !knewRanges {
            learnRanges(count)
            learnt += Int64(count)
            guard knowsRanges else { return }
            let lanes = max(1, lanes)
            let share = (count + lanes - 1) / lanes
            fork(lanes) { lane in place(min(lane * share, count)..<min((lane + 1) * share, count)) }
        }
        let lanes = max(1, min(lanes, treeCount))
        let share = (treeCount + lanes - 1) / lanes
        let order = UnsafeBufferPointer(start: scored.base, count: count)
        fork(lanes) { lane in
            let range = min(lane * share, treeCount)..<min((lane + 1) * share, treeCount)
            trees.learn(places: places.base, rows: order, trees: range)
        }
        trees.advance(by: count)
        if knewRanges {
            learnRanges(count)
            learnt += Int64(count)
        }
    }

    private mutating func learnRanges(_ count: Int) {
        for i in 0..<count {
            let raw = values.base + Int(scored[i]) * featureCount
            for f in 0..<featureCount { scaler.learn(raw[f], feature: f) }
        }
    }

    /// Finds the leaves of scored rows by the ranges known now.
    private func place(_ range: Range<Int>) {
        withUnsafeTemporaryAllocation(of: Float.self, capacity: featureCount) { scaled in
            guard let x = scaled.baseAddress else { return }
            for i in range {
                let row = Int(scored[i])
                for f in 0..<featureCount { x[f] = scaler.scale(values[row * featureCount + f], feature: f) }
                _ = trees.score(x, places: places.base + row * treeCount)
            }
        }
    }

    public var stateBytes: Int { trees.stateBytes + featureCount * 32 }
}

// `@unchecked Sendable`: the struct owns its buffers; between `begin` and `endTick` threads only call `score`, each on rows of its
// own.
extension AnomalyScorer: @unchecked Sendable {}
