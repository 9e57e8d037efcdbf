extension RangeScaler {
    /// Writes per feature f64 smallest and largest, infinity and minus infinity before there is one.
    public func write(to sink: inout some StateSink) {
        for range in ranges {
            sink.put(range.low)
            sink.put(range.high)
        }
    }

    /// Takes the place of what is here, which must have the same shapes.
    public mutating func read(from source: inout some StateSource) throws(StateError) {
        for feature in ranges.indices {
            let (low, high): (Double, Double) = (try source.take(), try source.take())
            try StateError.require(
                (low == .infinity && high == -.infinity) || (-1e300 <= low && low <= high && high <= 1e300),
                "a range from \(low) to \(high)"
            )
            ranges[feature].low = low
            ranges[feature].high = high
            ranges[feature].measure()
        }
    }

    /// Folds the ranges.
    public func digest(into digest: inout UInt64) {
        for range in ranges {
            digest = SplitMix64.mix(digest ^ range.low.bitPattern)
            digest = SplitMix64.mix(digest ^ range.high.bitPattern ^ (range.isLogarithmic ? 1 : 0))
        }
    }
}
