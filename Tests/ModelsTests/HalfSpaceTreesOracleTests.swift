import Glibc
import Testing

@testable import Models

/// Half-space trees the slow way: objects, both masses counted at every node, the score by walking down.
private final class NaiveTree {
    final class Node {
        var dimension = 0
        var threshold = 0.0
        var running = 0
        var reference = 0
        var children: (Node, Node)?
    }

    let root = Node()
    let window: Int
    private var random: SplitMix64
    private var learnt = 0

    init(dimensions: Int, depth: Int, window: Int, seed: UInt64, tree: Int) {
        self.window = window
        random = SplitMix64(seed: SplitMix64.mix(seed &+ UInt64(tree) &* 0x9E37_79B9_7F4A_7C15))
        grow(root, [ClosedRange<Double>](repeating: 0...1, count: dimensions), depth)
    }

    private func grow(_ node: Node, _ box: [ClosedRange<Double>], _ levels: Int) {
        if levels == 0 { return }
        let widths = box.map { $0.upperBound - $0.lowerBound }
        var ticket = widths.reduce(0, +) * (Double(random.next() >> 11) / 9_007_199_254_740_992)
        for d in box.indices {
            node.dimension = d
            if ticket < widths[d] { break }
            if d < box.count - 1 { ticket -= widths[d] }
        }
        let range = box[node.dimension]
        let (a, b) = (range.lowerBound, range.upperBound)
        let padding = 0.15 * (b - a)
        let at = a + padding + Double(random.next() >> 11) / 9_007_199_254_740_992 * (b - a - 2 * padding)
        node.threshold = at
        let children = (Node(), Node())
        node.children = children
        var half = box
        half[node.dimension] = a...at
        grow(children.0, half, levels - 1)
        half[node.dimension] = at...b
        grow(children.1, half, levels - 1)
    }

    func path(_ x: [Float]) -> [Node] {
        var path = [root]
        while let last = path.last, let (left, right) = last.children {
            let value = x[last.dimension]
            // Missing values follow the reference mass, left when there is none or a tie.
            let goesRight = value.isNaN ? right.reference > left.reference : value >= Float(last.threshold)
            path.append(goesRight ? right : left)
        }
        return path
    }

    func sum(_ x: [Float]) -> Double {
        var sum = 0.0
        for (level, node) in path(x).enumerated() {
            sum += Double(node.reference) * pow(2, Double(level))
            if Double(node.reference) < 0.1 * Double(window) { break }
        }
        return sum
    }

    func learn(_ x: [Float]) {
        for node in path(x) { node.running += 1 }
        learnt += 1
        if learnt % window == 0 { change(root) }
    }

    private func change(_ node: Node) {
        node.reference = node.running
        node.running = 0
        if let (left, right) = node.children {
            change(left)
            change(right)
        }
    }
}

private func randomPoints(_ count: Int, _ dimensions: Int, seed: UInt64, missing: Double = 0) -> [[Float]] {
    var random = SplitMix64(seed: seed)
    return (0..<count).map { i in
        (0..<dimensions).map { _ in
            if random.unit() < missing { return .nan }
            // Two clumps and a few points far out, also outside 0...1.
            let isFar = random.unit() < 0.02
            return Float(isFar ? random.unit() * 3 - 1 : (i % 3 == 0 ? 0.7 : 0.2) + 0.1 * random.unit())
        }
    }
}

private func digest(_ trees: borrowing HalfSpaceTrees) -> UInt64 {
    var digest: UInt64 = 1
    trees.digest(into: &digest)
    return digest
}

@Suite struct HalfSpaceTreesOracleTests {
    @Test(arguments: [(1, 3, 20, 0.0), (5, 8, 100, 0.0), (10, 6, 64, 0.2), (3, 10, 250, 0.05), (2, 1, 10, 0.5)])
    func `scores equal those of naive trees that count at every node`(
        dimensions: Int,
        depth: Int,
        window: Int,
        missing: Double
    ) {
        let count = 7
        var trees = HalfSpaceTrees(featureCount: dimensions, trees: count, depth: depth, window: window, seed: 99)
        let naive = (0..<count).map {
            NaiveTree(dimensions: dimensions, depth: depth, window: window, seed: 99, tree: $0)
        }
        let full = Double(count * window * ((1 << (depth + 1)) - 1))
        for (i, x) in randomPoints(6 * window, dimensions, seed: 5, missing: missing).enumerated() {
            let expected = i < window ? 0 : 1 - naive.reduce(0) { $0 + $1.sum(x) } / full
            #expect(abs(trees.score(x) - expected) < 1e-12)
            trees.learn(x)
            for tree in naive { tree.learn(x) }
        }
    }

    @Test func `every score is 0 until the first window is full`() {
        var trees = HalfSpaceTrees(featureCount: 2, trees: 5, depth: 4, window: 50, seed: 1)
        for x in randomPoints(50, 2, seed: 2) {
            #expect(trees.score(x) == 0)
            let isWarm = trees.isWarm
            #expect(!isWarm)
            trees.learn(x)
        }
        let isWarm = trees.isWarm
        #expect(isWarm)
        #expect(trees.score([0.9, 0.05]) > 0)
    }

    @Test func `a full window stands for the whole of the next one and is forgotten after it`() {
        var trees = HalfSpaceTrees(featureCount: 1, trees: 25, depth: 8, window: 100, seed: 3)
        for _ in 0..<100 { trees.learn([0.25]) }
        let usual = trees.score([0.25])
        #expect(usual < trees.score([0.9]))
        for _ in 0..<99 {
            trees.learn([0.9])
            #expect(trees.score([0.25]) == usual)
        }
        trees.learn([0.9])
        #expect(trees.score([0.25]) > trees.score([0.9]))
    }

    @Test func `a missing value follows the crowd`() {
        var trees = HalfSpaceTrees(featureCount: 2, trees: 25, depth: 8, window: 200, seed: 4)
        for x in randomPoints(400, 2, seed: 7) { trees.learn(x) }
        let missing = trees.score([.nan, .nan])
        #expect(missing < trees.score([1.9, -0.9]))
        #expect((0...1).contains(missing))
        // A feature that never has a value does no harm.
        var blind = HalfSpaceTrees(featureCount: 2, trees: 25, depth: 8, window: 200, seed: 4)
        for x in randomPoints(400, 1, seed: 7) { blind.learn([x[0], .nan]) }
        #expect(blind.score([0.25, .nan]) < blind.score([1.9, .nan]))
    }

    @Test func `learning by ranges of trees ends in the state of learning point by point`() {
        let points = randomPoints(1000, 6, seed: 11, missing: 0.1)
        var one = HalfSpaceTrees(featureCount: 6, trees: 9, depth: 7, window: 128, seed: 12)
        var split = HalfSpaceTrees(featureCount: 6, trees: 9, depth: 7, window: 128, seed: 12)
        // Epochs shorter and longer than a window; every third row is not learnt.
        for epoch in [0..<100, 100..<101, 101..<700, 700..<1000] {
            var places = [UInt16](repeating: 0, count: epoch.count * 9)
            for (row, i) in epoch.enumerated() {
                places.withUnsafeMutableBufferPointer { places in
                    guard let base = places.baseAddress else { return }
                    _ = split.score(points[i], places: base + row * 9)
                }
            }
            let rows = epoch.indices.map { Int32($0 - epoch.lowerBound) }.filter { $0 % 3 != 2 }
            for row in rows {
                // By the places of the epoch's start, as the split trees learn: a change of window may move missing values.
                Array(places[Int(row) * 9..<Int(row) * 9 + 9]).withUnsafeBufferPointer { places in
                    if let base = places.baseAddress { one.learn(places: base) }
                }
            }
            rows.withUnsafeBufferPointer { rows in
                for range in [4..<9, 0..<1, 1..<4] { split.learn(places: places, rows: rows, trees: range) }
            }
            split.advance(by: rows.count)
            #expect(digest(one) == digest(split))
            let warm = (one.isWarm, split.isWarm)
            #expect(warm.0 == warm.1)
        }
        #expect(one.score(points[3]) == split.score(points[3]))
    }

    @Test func `the largest window does not overflow a deep tree's sums`() {
        var trees = HalfSpaceTrees(featureCount: 1, trees: 1, depth: 15, window: 1_000_000, seed: 1)
        for _ in 0..<1_000_000 { trees.learn([0.5]) }
        // All the mass on one path: the least odd point there can be.
        #expect(abs(trees.score([0.5])) < 1e-12)
        #expect(trees.score([5]) > 0.99)
    }
}
