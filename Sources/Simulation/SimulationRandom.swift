import Models

/// What the simulator draws from ``SplitMix64``.
///
/// Only integer arithmetic and IEEE 754 multiplication, division and comparison are used here and in the whole simulator, never the
/// C library's `log` or `sin`: the same seed gives the same bytes on every machine.
struct SimulationRandom: Sendable {
    private var source: SplitMix64

    init(seed: UInt64) { source = SplitMix64(seed: seed) }

    /// Spreads a number over 64 bits, one to one: the first number of the seed.
    static func mix(_ value: UInt64) -> UInt64 {
        var source = SplitMix64(seed: value)
        return source.next()
    }

    /// Uniform in [0, 1) with 53 bits.
    mutating func uniform() -> Double { source.unit() }

    mutating func chance(_ probability: Double) -> Bool { uniform() < probability }

    /// Uniform below a positive bound.
    ///
    /// The bias of the multiplication is below 2^-32 for the bounds used here.
    mutating func below(_ bound: Int) -> Int {
        Int(truncatingIfNeeded: source.next().multipliedFullWidth(by: UInt64(truncatingIfNeeded: bound)).high)
    }

    mutating func between(_ low: Int, _ high: Int) -> Int { low + below(high - low + 1) }

    /// Exponential with mean 1, by von Neumann's comparison method (1951): no logarithm needed, about four uniforms each.
    mutating func exponential() -> Double {
        var whole = 0.0
        while true {
            let first = uniform()
            var last = first
            var run = 1
            while true {
                let value = uniform()
                if value >= last { break }
                last = value
                run += 1
            }
            if run % 2 == 1 { return whole + first }
            whole += 1
        }
    }
}

/// Draws ranks by the law of Zipf and Mandelbrot, weight 1 / (rank + flattening), in constant time with Walker's alias method.
struct ZipfSampler: Sendable {
    private let threshold: [Double]
    private let alias: [UInt32]

    init(count: Int, flattening: Double) {
        precondition(count > 0 && flattening > 0)
        var weights = (0..<count).map { 1 / (Double($0) + flattening) }
        let total = weights.reduce(0, +)
        for index in weights.indices { weights[index] *= Double(count) / total }
        var alias = [UInt32](repeating: 0, count: count)
        var small: [Int] = []
        var large: [Int] = []
        for index in weights.indices {
            if weights[index] < 1 { small.append(index) } else { large.append(index) }
        }
        while let low = small.popLast(), let high = large.last {
            alias[low] = UInt32(high)
            weights[high] -= 1 - weights[low]
            if weights[high] < 1 {
                large.removeLast()
                small.append(high)
            }
        }
        // What is left on either stack is 1 but for rounding.
        for index in large { weights[index] = 1 }
        threshold = weights
        self.alias = alias
    }

    func sample(_ random: inout SimulationRandom) -> Int {
        let column = random.below(threshold.count)
        return random.uniform() < threshold[column] ? column : Int(alias[column])
    }
}
