/// Scales numbers to about 0...1 by the smallest and largest seen so far, per feature.
///
/// `linear` takes the value as it is; `logarithmic` first maps it to `sign·log2(1 + |x|)`, linear between powers of two (Mitchell's
/// approximation, 1962): monotone, two instructions, the same bits everywhere. Amounts and counts are heavy-tailed, and one giant
/// would push all others into one corner of a linear scale. A value outside the range seen so far gives a number outside 0...1,
/// which is what the trees need to send it to the outermost leaf.
public struct RangeScaler: Sendable {
    /// How values are spread before they are scaled to their range.
    public enum Shape: String, Sendable, Equatable {
        case linear, logarithmic
    }

    struct Range {
        var low = Double.infinity
        var high = -Double.infinity
        /// One through their distance; 0 where that is none.
        var factor = 0.0
        var isLogarithmic: Bool

        /// Computes the factor when the ends have moved.
        mutating func measure() { factor = high > low ? 1 / (high - low) : 0 }
    }

    /// Only the scaler's own files write these.
    var ranges: [Range]

    public init(shapes: [Shape]) { ranges = shapes.map { Range(isLogarithmic: $0 == .logarithmic) } }

    public var count: Int { ranges.count }

    /// The scaled value; NaN for NaN (missing); 0.5 where the range is still a point.
    public func scale(_ value: Double, feature: Int) -> Float {
        let range = ranges[feature]
        if value.isNaN { return .nan }
        let x = range.isLogarithmic ? RangeScaler.flatten(value) : value
        guard range.factor > 0 else { return 0.5 }
        return Float((min(max(x, -1e300), 1e300) - range.low) * range.factor)
    }

    /// Widens the range of a feature; NaN and infinities teach nothing.
    public mutating func learn(_ value: Double, feature: Int) {
        guard value.isFinite else { return }
        let x = ranges[feature].isLogarithmic ? RangeScaler.flatten(value) : min(max(value, -1e300), 1e300)
        guard x < ranges[feature].low || x > ranges[feature].high else { return }
        ranges[feature].low = min(ranges[feature].low, x)
        ranges[feature].high = max(ranges[feature].high, x)
        ranges[feature].measure()
    }

    static func flatten(_ value: Double) -> Double {
        let bits = (1 + value.magnitude).bitPattern &- 0x3FF0_0000_0000_0000
        let log = Double(bits) * 0x1p-52
        return value < 0 ? -log : log
    }
}
