public import Models
public import RuleLanguage

/// One input of the anomaly score.
public struct AnomalyFeature: Sendable, Equatable {
    public var name: String
    /// `double` slots are read as doubles, all others as integers (money, timestamps and booleans included).
    public var isDouble: Bool
    public var shape: RangeScaler.Shape

    public init(name: String, isDouble: Bool, shape: RangeScaler.Shape = .logarithmic) {
        self.name = name
        self.isDouble = isDouble
        self.shape = shape
    }
}

/// Settings of an ``AnomalyScorer``.
public struct AnomalyConfiguration: Sendable, Equatable {
    /// 1...256 of them.
    public var features: [AnomalyFeature]
    /// 1...1024.
    public var trees = 25
    /// 1...15.
    public var depth = 8
    /// Events per window, 10...65,535: the score stays 0 for the first two (one for the ranges, one for the reference).
    public var window = 500
    public var seed: UInt64

    public init(features: [AnomalyFeature], trees: Int = 25, depth: Int = 8, window: Int = 500, seed: UInt64) {
        self.features = features
        self.trees = trees
        self.depth = depth
        self.window = window
        self.seed = seed
    }
}

/// The SCORE stage: half-space trees over declared features, frozen inside an epoch, learning at its end in event order.
///
/// Epoch: ``begin(rows:)``, then ``score(row:values:)`` for any rows in any order on any threads, then ``end()``. A row that is never
/// scored (an event of another type) is never learnt. The first `window` events teach only the ranges: trees on a range that still grows
/// by leaps would count the same point in other leaves an hour later.
///
/// Cost: about 12 ns per feature and 10 ns per tree and event; no allocation once the row count has been seen.
public struct AnomalyScorer: ~Copyable {
    public let configuration: AnomalyConfiguration
    private var trees: HalfSpaceTrees
    private var scaler: RangeScaler
    /// Events whose ranges were learnt.
    public private(set) var learnt: Int64 = 0
    private let featureCount: Int
    private let isDouble: [Bool]
    // Work area of one epoch; not state.
    private var rows = 0
    private var capacity = 0
    private var used: UnsafeMutablePointer<UInt8>
    private var places: UnsafeMutablePointer<UInt16>
    private var values: UnsafeMutablePointer<Double>

    public init(_ configuration: AnomalyConfiguration) {
        self.configuration = configuration
        featureCount = configuration.features.count
        isDouble = configuration.features.map(\.isDouble)
        trees = HalfSpaceTrees(
            featureCount: configuration.features.count, trees: configuration.trees, depth: configuration.depth,
            window: configuration.window, seed: configuration.seed)
        scaler = RangeScaler(shapes: configuration.features.map(\.shape))
        used = .allocate(capacity: 1)
        places = .allocate(capacity: 1)
        values = .allocate(capacity: 1)
    }

    deinit {
        used.deallocate()
        places.deallocate()
        values.deallocate()
    }

    /// Starts an epoch of so many events.
    public mutating func begin(rows: Int) {
        if rows > capacity {
            capacity = max(rows, 2 * capacity)
            used.deallocate()
            places.deallocate()
            values.deallocate()
            used = .allocate(capacity: capacity)
            places = .allocate(capacity: capacity * configuration.trees)
            values = .allocate(capacity: capacity * featureCount)
        }
        self.rows = rows
        used.update(repeating: 0, count: rows)
    }

    /// True once scores are more than 0: a range and a reference window are known.
    public var isWarm: Bool { trees.isWarm }

    /// The score of the epoch's event number `row`, 0...1 in steps of a millionth; 0 until warm.
    ///
    /// Distinct rows may be scored on distinct threads at the same time; a row is scored at most once.
    /// - Parameter slots: one slot per configured feature, in that order; missing ones allowed.
    public func score(row: Int, values slots: UnsafePointer<Slot>) -> Double {
        precondition(row >= 0 && row < rows, "the row is outside the epoch")
        let raw = values + row * featureCount
        used[row] = 1
        return withUnsafeTemporaryAllocation(of: Float.self, capacity: featureCount) { scaled in
            guard let x = scaled.baseAddress else { return 0 }
            for f in 0..<featureCount {
                let slot = slots[f]
                let value = slot.isMissing ? .nan : isDouble[f] ? slot.double : Double(slot.int)
                raw[f] = value
                x[f] = scaler.scale(value, feature: f)
            }
            guard knowsRanges else { return 0 }
            let score = trees.score(x, places: places + row * configuration.trees)
            return (score * 1e6).rounded(.toNearestOrEven) / 1e6
        }
    }

    private var knowsRanges: Bool { learnt >= Int64(configuration.window) }

    /// Ends the epoch: learns its scored events in order, first into the trees (by the ranges that scored them), then into the ranges.
    public mutating func end() {
        let learnsTrees = knowsRanges
        for row in 0..<rows where used[row] != 0 {
            if learnsTrees { trees.learn(places: places + row * configuration.trees) }
            let raw = values + row * featureCount
            for f in 0..<featureCount { scaler.learn(raw[f], feature: f) }
            learnt += 1
        }
        rows = 0
    }

    public var stateBytes: Int { trees.stateBytes + featureCount * 32 }

    /// Folds all that decides later scores; between epochs.
    public func digest(into digest: inout UInt64) {
        trees.digest(into: &digest)
        scaler.digest(into: &digest)
        digest = SplitMix64.mix(digest ^ UInt64(bitPattern: learnt))
    }
}

// The struct owns its buffers; between `begin` and `end` threads only call `score`, each on rows of its own.
extension AnomalyScorer: @unchecked Sendable {}
