// In debug builds rounding calls the C library; a scoped import links it.
import func Glibc.rint

/// Logarithm, exponential and the Poisson tail from the four IEEE operations alone.
///
/// The C library's `log` and `exp` may change in the last bit from one release to the next; scores that decide must be the same
/// bits in a replay next year, so they are computed here. Accurate to a few units in the last place, about 10 ns each.
public enum Elementary {
    @usableFromInline static let ln2 = 0.693147180559945309417232121458
    public static let ln10 = 2.30258509299404568401799145468

    /// Natural logarithm of a positive finite number.
    ///
    /// Zero and less give minus infinity.
    public static func log(_ x: Double) -> Double {
        guard x > 0 else { return -.infinity }
        guard x.isFinite else { return x }
        var exponent = Int(x.exponent)
        var mantissa = x.significand  // 1..<2
        if mantissa > 1.4142135623730951 {
            mantissa *= 0.5
            exponent += 1
        }
        // log m = 2 artanh s with s = (m - 1)/(m + 1), |s| <= 0.1716: twelve odd terms leave less than 1e-19.
        let s = (mantissa - 1) / (mantissa + 1)
        let square = s * s
        var sum = 0.0
        var k = 23.0
        while k >= 1 {
            sum = sum * square + 1 / k
            k -= 2
        }
        return Double(exponent) * ln2 + 2 * s * sum
    }

    /// e to the power x; 0 below -745, infinity above 709.
    public static func exp(_ x: Double) -> Double {
        if x > 709.7 { return .infinity }
        if x < -745 { return 0 }
        let n = (x / ln2).rounded(.toNearestOrEven)
        let r = x - n * 0.693147180369123816490 - n * 1.90821492927058770002e-10  // ln 2 in two parts
        var sum = 1.0
        var k = 17.0
        while k >= 1 {
            sum = 1 + sum * r / k
            k -= 1
        }
        // Two steps, so that results below the normal range are reached without a wrong power.
        let half = Int(n) / 2
        return sum * power2(half) * power2(Int(n) - half)
    }

    @inline(__always)
    private static func power2(_ n: Int) -> Double { Double(sign: .plus, exponent: n, significand: 1) }

    /// `base` to a whole power by squaring.
    public static func power(_ base: Double, _ exponent: Int) -> Double {
        var result = 1.0
        var factor = base
        var left = exponent
        while left > 0 {
            if left & 1 == 1 { result *= factor }
            factor *= factor
            left >>= 1
        }
        return result
    }

    /// Natural logarithm of n!.
    ///
    /// Stirling's series from 16 up (error below 1e-13), exact products under it.
    public static func logFactorial(_ n: Int) -> Double {
        if n < 16 {
            var product = 1.0
            var k = 2
            while k <= n {
                product *= Double(k)
                k += 1
            }
            return log(product)
        }
        let x = Double(n)
        return (x + 0.5) * log(x) - x + 0.918938533204672741780329736406 + 1 / (12 * x) - 1 / (360 * x * x * x)
            + 1 / (1260 * x * x * x * x * x)
    }

    /// The strength of a surprise: `-log10 P(X >= n)` for a Poisson count X of the given mean.
    ///
    /// 0 where n is not above the mean (a lower bound that costs nothing: nobody asks for the probability of the ordinary).
    /// - Parameter mean: expected count; 0 or less means "never seen" and is taken as 1e-12, so that the result stays finite.
    public static func poissonSurprise(_ n: Int, mean: Double) -> Double {
        guard n > 0 else { return 0 }
        let mean = max(mean, 1e-12)
        guard Double(n) > mean else { return 0 }
        // P(X >= n) = e^-m m^n/n! (1 + m/(n+1) + m^2/((n+1)(n+2)) + …); the ratio of terms is below 1, so the sum is short.
        var sum = 1.0
        var term = 1.0
        var k = Double(n) + 1
        while term > 1e-17 * sum, k < Double(n) + 4096 {
            term *= mean / k
            sum += term
            k += 1
        }
        let ln = Double(n) * log(mean) - mean - logFactorial(n) + log(sum)
        return max(0, -ln / ln10)
    }
}

/// SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): the seeded source of every random choice in a model.
public struct SplitMix64: RandomNumberGenerator, Sendable {
    public var state: UInt64

    @inlinable public init(seed: UInt64) { state = seed }

    @inlinable public mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        return SplitMix64.mix(state)
    }

    /// Uniform in 0..<1, with 53 bits.
    @inlinable public mutating func unit() -> Double { Double(next() >> 11) * 0x1p-53 }

    /// The generator's finaliser as a hash of one word.
    @inlinable public static func mix(_ word: UInt64) -> UInt64 {
        var z = word
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    /// Folds state bytes into a digest, word by word; the count is folded too.
    public static func fold(_ bytes: UnsafeRawBufferPointer, into digest: inout UInt64) {
        digest = mix(digest ^ UInt64(bytes.count))
        var at = 0
        while at + 8 <= bytes.count {
            digest = mix(digest ^ bytes.loadUnaligned(fromByteOffset: at, as: UInt64.self)) &+ 0x9E37_79B9_7F4A_7C15
            at += 8
        }
        while at < bytes.count {
            digest = mix(digest ^ UInt64(bytes[at]))
            at += 1
        }
    }
}
