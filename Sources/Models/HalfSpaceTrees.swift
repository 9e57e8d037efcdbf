/// Half-space trees (Tan, Ting, Liu, "Fast Anomaly Detection for Streaming Data", IJCAI 2011): a streaming anomaly score without
/// labels.
///
/// T random binary trees of depth h cut the unit cube; each node counts the points of a window that fell into it. A point is odd
/// where the *previous* window (the reference) left little mass: `score = 1 - Σ r·2^k / (T·W·(2^(h+1) - 1))`, the sum stops at the
/// first node with `r < 0.1 W`. Cuts are drawn inside the middle 70 % of a node's range (padding .15), a feature with probability
/// proportional to its remaining range, as in river's implementation, to whose published numbers this one is compared.
///
/// Only the *leaves* count: inner masses are sums, made when the window turns, and with them the score of every leaf, so that
/// scoring is T walks of h comparisons and T additions of integers, and learning T increments. All sums are of integers: exact in
/// any order.
///
/// Missing values are NaN and follow the child with more reference mass (left at a tie). Memory: T·2^h·29 bytes (T = 25, h = 8: 186
/// kB).
///
/// Trees are independent of each other: threads may learn disjoint ranges of trees at the same time.
public struct HalfSpaceTrees: ~Copyable {
    public let featureCount: Int
    public let trees: Int
    public let depth: Int
    public let window: Int
    /// Largest value of the sum of masses: `trees · window · (2^(depth+1) - 1)`.
    @usableFromInline let largestMass: Double

    /// 2^depth leaves, and as many places for inner nodes (place 0 unused: children of i are 2i and 2i + 1).
    @usableFromInline let leaves: Int
    /// `trees × leaves` inner nodes.
    @usableFromInline let cuts: OwnedBuffer<Cut>
    /// Per inner node the way of a missing value: 0 left, 1 right.
    @usableFromInline let heavier: OwnedBuffer<UInt8>
    /// Per leaf: points of the running window, and the finished sum of the reference masses on its path.
    @usableFromInline let latest: OwnedBuffer<UInt32>
    @usableFromInline let pathMass: OwnedBuffer<UInt64>
    /// Node masses of the last full window: 2^(depth+1) places per tree, so that trees can turn on different threads.
    let masses: OwnedBuffer<UInt32>
    /// Points learnt in the running window.
    // Only the trees' own files write these.
    var filled = 0
    /// False in the first window: there is no reference, and every score is 0.
    public internal(set) var isWarm = false

    @usableFromInline struct Cut: BitwiseCopyable {
        @usableFromInline var threshold: Float
        @usableFromInline var feature: UInt32
    }

    /// Draws the trees.
    ///
    /// - Parameters:
    ///   - featureCount: 1...256 features, each scaled to about 0...1.
    ///   - trees: 1...1024.
    ///   - depth: 1...15.
    ///   - window: 10...1,000,000 points.
    ///   - seed: the same seed draws the same trees.
    public init(featureCount: Int, trees: Int = 25, depth: Int = 8, window: Int = 500, seed: UInt64) {
        precondition((1...256).contains(featureCount) && (1...1024).contains(trees), "1...256 features, 1...1024 trees")
        precondition(
            (1...15).contains(depth) && (10...1_000_000).contains(window),
            "depth 1...15, window 10...1,000,000"
        )
        self.featureCount = featureCount
        self.trees = trees
        self.depth = depth
        self.window = window
        leaves = 1 << depth
        largestMass = Double(trees) * Double(window) * Double((2 << depth) - 1)
        cuts = OwnedBuffer(repeating: Cut(threshold: 0, feature: 0), count: trees * leaves)
        heavier = OwnedBuffer(repeating: 0, count: trees * leaves)
        latest = OwnedBuffer(repeating: 0, count: trees * leaves)
        pathMass = OwnedBuffer(repeating: 0, count: trees * leaves)
        masses = OwnedBuffer(repeating: 0, count: trees * 2 * leaves)
        for tree in 0..<trees {
            var random = SplitMix64(seed: SplitMix64.mix(seed &+ UInt64(tree) &* 0x9E37_79B9_7F4A_7C15))
            var low = [Double](repeating: 0, count: featureCount)
            var high = [Double](repeating: 1, count: featureCount)
            grow(tree, node: 1, &low, &high, &random)
        }
    }

    private func grow(
        _ tree: Int,
        node: Int,
        _ low: inout [Double],
        _ high: inout [Double],
        _ random: inout SplitMix64
    ) {
        guard node < leaves else { return }
        var total = 0.0
        for f in 0..<featureCount { total += high[f] - low[f] }
        var mark = random.unit() * total
        var feature = 0
        while feature < featureCount - 1, mark >= high[feature] - low[feature] {
            mark -= high[feature] - low[feature]
            feature += 1
        }
        let (a, b) = (low[feature], high[feature])
        let padding = HalfSpaceTrees.padding * (b - a)
        let at = a + padding + random.unit() * (b - a - 2 * padding)
        cuts[tree * leaves + node] = Cut(threshold: Float(at), feature: UInt32(feature))
        high[feature] = at
        grow(tree, node: 2 * node, &low, &high, &random)
        high[feature] = b
        low[feature] = at
        grow(tree, node: 2 * node + 1, &low, &high, &random)
        low[feature] = a
    }

    /// The share of a node's range at either end where no cut falls.
    public static let padding = 0.15

    /// The score of a point, 0 (ordinary) to 1 (odd); 0 while not warm.
    ///
    /// Changes nothing.
    ///
    /// - Parameter x: ``featureCount`` values; NaN is missing.
    @inlinable public func score(_ x: UnsafePointer<Float>) -> Double {
        var sum: UInt64 = 0
        let pathMass = pathMass.base
        forEachLeaf(x) { _, place in sum &+= pathMass[place] }
        return isWarm ? 1 - Double(sum) / largestMass : 0
    }

    /// The score of a point, and the leaf it falls into in each tree, by which it can be learnt later without a second walk.
    ///
    /// - Parameter places: room for ``trees`` leaf numbers.
    @inlinable public func score(_ x: UnsafePointer<Float>, places: UnsafeMutablePointer<UInt16>) -> Double {
        var sum: UInt64 = 0
        let pathMass = pathMass.base
        forEachLeaf(x) { tree, place in
            sum &+= pathMass[place]
            places[tree] = UInt16(truncatingIfNeeded: place - tree * leaves)
        }
        return isWarm ? 1 - Double(sum) / largestMass : 0
    }

    /// Counts a point into the running window; the ``window``th turns it into the reference.
    public mutating func learn(_ x: UnsafePointer<Float>) {
        let latest = latest.base
        forEachLeaf(x) { _, place in latest[place] += 1 }
        turnIfFull()
    }

    /// Counts a point by its leaves, as ``score(_:places:)`` gave them.
    public mutating func learn(places: UnsafePointer<UInt16>) {
        let latest = latest.base
        for tree in 0..<trees { latest[tree * leaves + Int(places[tree])] += 1 }
        turnIfFull()
    }

    /// Counts a run of points into some of the trees; threads may do so at the same time for disjoint ranges of trees.
    ///
    /// The caller then tells ``advance(by:)`` once, when every tree has learnt every point; no score is asked for before that.
    ///
    /// - Parameters:
    ///   - places: ``trees`` leaf numbers per row, as ``score(_:places:)`` gave them.
    ///   - rows: the points among them, by row, in order.
    ///   - range: trees in `0..<trees`.
    public func learn(places: UnsafePointer<UInt16>, rows: UnsafeBufferPointer<Int32>, trees range: Range<Int>) {
        var filled = filled
        let latest = latest.base
        for row in rows {
            let places = places + Int(row) &* trees
            for tree in range { latest[tree &* leaves &+ Int(places[tree])] &+= 1 }
            filled &+= 1
            if filled == window {
                filled = 0
                for tree in range { turn(tree) }
            }
        }
    }

    /// Notes that every tree has learnt `count` more points.
    public mutating func advance(by count: Int) {
        if filled + count >= window { isWarm = true }
        filled = (filled + count) % window
    }

    @inlinable @inline(__always)
    func forEachLeaf(_ x: UnsafePointer<Float>, _ body: (_ tree: Int, _ place: Int) -> Void) {
        var missing = false
        for f in 0..<featureCount where x[f].isNaN { missing = true }
        if missing {
            let (cuts, heavier) = (cuts.base, heavier.base)
            for tree in 0..<trees {
                let base = tree * leaves
                var node = 1
                for _ in 0..<depth {
                    let cut = cuts[base + node]
                    let value = x[Int(cut.feature)]
                    let right = value.isNaN ? Int(heavier[base + node]) : (value >= cut.threshold ? 1 : 0)
                    node = 2 * node + right
                }
                body(tree, base + node - leaves)
            }
            return
        }
        let cuts = cuts.base
        // A walk waits for memory and compare at every step; four walks side by side fill the wait.
        var tree = 0
        while tree + 4 <= trees {
            let c0 = cuts + tree * leaves
            let c1 = c0 + leaves
            let c2 = c1 + leaves
            let c3 = c2 + leaves
            var (n0, n1, n2, n3) = (1, 1, 1, 1)
            for _ in 0..<depth {
                n0 = 2 &* n0 &+ (x[Int(c0[n0].feature)] >= c0[n0].threshold ? 1 : 0)
                n1 = 2 &* n1 &+ (x[Int(c1[n1].feature)] >= c1[n1].threshold ? 1 : 0)
                n2 = 2 &* n2 &+ (x[Int(c2[n2].feature)] >= c2[n2].threshold ? 1 : 0)
                n3 = 2 &* n3 &+ (x[Int(c3[n3].feature)] >= c3[n3].threshold ? 1 : 0)
            }
            // Base of the tree + node - leaves.
            body(tree, tree &* leaves &+ n0 &- leaves)
            body(tree &+ 1, tree &* leaves &+ n1)
            body(tree &+ 2, (tree &+ 1) &* leaves &+ n2)
            body(tree &+ 3, (tree &+ 2) &* leaves &+ n3)
            tree &+= 4
        }
        while tree < trees {
            let c0 = cuts + tree * leaves
            var n0 = 1
            for _ in 0..<depth { n0 = 2 &* n0 &+ (x[Int(c0[n0].feature)] >= c0[n0].threshold ? 1 : 0) }
            body(tree, tree &* leaves &+ n0 &- leaves)
            tree &+= 1
        }
    }

    private mutating func turnIfFull() {
        filled += 1
        guard filled == window else { return }
        filled = 0
        isWarm = true
        for tree in 0..<trees { turn(tree) }
    }

    /// Makes the running window the reference of one tree: masses bottom up, then the path sums top down.
    private func turn(_ tree: Int) {
        let base = tree * leaves
        let masses = masses.base + tree * 2 * leaves
        for leaf in 0..<leaves {
            masses[leaves + leaf] = latest[base + leaf]
            latest[base + leaf] = 0
        }
        sumMasses(tree)
    }

    /// Makes the masses of inner nodes and the paths' sums of those of the leaves.
    func sumMasses(_ tree: Int) {
        let base = tree * leaves
        let masses = masses.base + tree * 2 * leaves
        var node = leaves - 1
        while node >= 1 {
            masses[node] = masses[2 * node] + masses[2 * node + 1]
            heavier[base + node] = masses[2 * node + 1] > masses[2 * node] ? 1 : 0
            node -= 1
        }
        sumPaths(base, masses, node: 1, level: 0, above: 0)
    }

    private func sumPaths(_ base: Int, _ masses: UnsafePointer<UInt32>, node: Int, level: Int, above: UInt64) {
        let sum = above + UInt64(masses[node]) << UInt64(level)
        // r < 0.1 W, in integers.
        let stops = Int(masses[node]) * 10 < window
        if level == depth {
            pathMass[base + node - leaves] = sum
        } else if stops {
            let below = depth - level
            let first = (node << below) - leaves
            for leaf in first..<(first + 1 << below) { pathMass[base + leaf] = sum }
        } else {
            sumPaths(base, masses, node: 2 * node, level: level + 1, above: sum)
            sumPaths(base, masses, node: 2 * node + 1, level: level + 1, above: sum)
        }
    }

    /// Bytes of state.
    public var stateBytes: Int { trees * leaves * (8 + 1 + 4 + 8 + 2 * 4) }

    /// For tests: a node's cut (nodes 1..<2^depth; children of i are 2i and 2i + 1).
    func cut(tree: Int, node: Int) -> (feature: Int, threshold: Float) {
        let cut = cuts[tree * leaves + node]
        return (Int(cut.feature), cut.threshold)
    }
}

// `@unchecked Sendable`: nothing is shared: the struct alone owns its buffers, and whoever lends it to several threads only lets
// them score.
extension HalfSpaceTrees: @unchecked Sendable {}
