import Foundation
import Testing

@testable import Models

@Test func `the same seed and points give the same state, another seed another one`() {
    func digest(seed: UInt64) -> UInt64 {
        var trees = HalfSpaceTrees(featureCount: 3, trees: 5, depth: 6, window: 50, seed: seed)
        var random = SplitMix64(seed: 9)
        for _ in 0..<200 { trees.learn((0..<3).map { _ in Float(random.unit()) }) }
        var digest: UInt64 = 0
        trees.digest(into: &digest)
        return digest
    }
    #expect(digest(seed: 4) == digest(seed: 4))
    #expect(digest(seed: 4) != digest(seed: 5))
}

@Test func `a scaler keeps order, passes missing values and survives infinities and giants`() {
    for shape in [RangeScaler.Shape.linear, .logarithmic] {
        var scaler = RangeScaler(shapes: [shape])
        #expect(scaler.scale(7, feature: 0) == 0.5)
        for value in [-5.0, 0, 1, 3, 1000, .infinity, -.infinity, .nan, 1.7e308] { scaler.learn(value, feature: 0) }
        #expect(scaler.scale(.nan, feature: 0).isNaN)
        let scaled = [-5.0, 0, 1, 3, 1000, 1.7e308, .infinity].map { scaler.scale($0, feature: 0) }
        #expect(scaled == scaled.sorted() && scaled.allSatisfy { $0 >= 0 && $0 <= 4 })
    }
}

@Test func `logarithm, exponential and Poisson tail agree with the C library`() {
    var random = SplitMix64(seed: 1)
    for _ in 0..<20_000 {
        let x = exp((random.unit() - 0.5) * 1000)
        #expect(abs(Elementary.log(x) - log(x)) <= 4e-16 * max(1, abs(log(x))))
        let y = (random.unit() - 0.5) * 1200
        let e = exp(y)
        #expect(abs(Elementary.exp(y) - e) <= 1e-14 * e + 1e-300)
    }
    for (n, mean) in [(4, 0.001), (4, 1.5), (10, 3), (60, 40), (1000, 900), (17, 1e-9)] as [(Int, Double)] {
        var sum = 0.0
        for k in (n..<(n + 2000)).reversed() { sum += exp(Double(k) * log(mean) - mean - lgamma(Double(k) + 1)) }
        #expect(abs(Elementary.poissonSurprise(n, mean: mean) + log10(sum)) < 1e-9)
    }
}
