import Models
import RuleLanguage
import Testing

@testable import Detection

private func scorer(seed: UInt64) -> AnomalyScorer {
    AnomalyScorer(
        AnomalyConfiguration(
            features: [
                AnomalyFeature(name: "count", isDouble: false), AnomalyFeature(name: "sum", isDouble: true),
                AnomalyFeature(name: "ratio", isDouble: true, shape: .linear),
            ], trees: 25, depth: 8, window: 200, seed: seed))
}

private func row(_ random: inout SplitMix64, odd: Bool) -> [Slot] {
    let count = odd ? 180 + random.next() % 20 : 1 + random.next() % 5
    let sum = odd ? 0.5 + random.unit() : 20 + 80 * random.unit()
    return [Slot(Int64(count)), Slot(sum), random.unit() < 0.05 ? .missing : Slot(random.unit())]
}

@Test(arguments: [1, 2, 3, 4, 5] as [UInt64])
func `odd events score higher than ordinary ones, and nothing scores before two windows`(seed: UInt64) {
    var scorer = scorer(seed: seed)
    var random = SplitMix64(seed: seed)
    var ordinary: [Double] = []
    var odd: [Double] = []
    var seen = 0
    for _ in 0..<60 {
        scorer.begin(rows: 50)
        for i in 0..<50 {
            let isOdd = random.unit() < 0.01
            let score = scorer.score(row: i, values: row(&random, odd: isOdd))
            #expect(score >= 0 && score <= 1 && score == (score * 1e6).rounded() / 1e6)
            if seen + i < 400 {
                #expect(score == 0)
            } else if isOdd {
                odd.append(score)
            } else {
                ordinary.append(score)
            }
        }
        scorer.end()
        seen += 50
    }
    let pairs = odd.map { score in Double(ordinary.count { $0 < score }) / Double(ordinary.count) }
    #expect(!pairs.isEmpty && pairs.reduce(0, +) / Double(pairs.count) > 0.9)
}

@Test func `scores inside an epoch do not depend on the order of asking`() {
    func digests(order: (Int) -> Int) -> ([UInt64], [Double]) {
        var scorer = scorer(seed: 3)
        var random = SplitMix64(seed: 8)
        var digests: [UInt64] = []
        var all: [Double] = []
        for _ in 0..<30 {
            let rows = (0..<64).map { _ in row(&random, odd: false) }
            var scores = [Double](repeating: 0, count: 64)
            scorer.begin(rows: 64)
            // Every seventh event is of a type that is not scored.
            for i in (0..<64).map(order) where i % 7 != 0 { scores[i] = scorer.score(row: i, values: rows[i]) }
            scorer.end()
            all += scores
            var digest: UInt64 = 0
            scorer.digest(into: &digest)
            digests.append(digest)
        }
        return (digests, all)
    }
    let forwards = digests { $0 }
    let backwards = digests { 63 - $0 }
    let shuffled = digests { $0 * 37 % 64 }
    #expect(forwards.0 == backwards.0 && forwards.0 == shuffled.0)
    #expect(forwards.1 == backwards.1 && forwards.1 == shuffled.1)
    #expect(forwards.1.contains { $0 > 0 })
}
