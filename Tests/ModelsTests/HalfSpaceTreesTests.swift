import Foundation
import Testing

@testable import Models

/// Half-space trees as the paper writes them: nodes as objects, a mass in every node, sums along the way.
///
/// Shares only the cuts.
private final class NaiveNode {
    var feature = 0
    var threshold: Float = 0
    var children: (NaiveNode, NaiveNode)?
    var reference = 0
    var latest = 0

    init(_ trees: borrowing HalfSpaceTrees, tree: Int, node: Int, depth: Int) {
        guard depth > 0 else { return }
        (feature, threshold) = trees.cut(tree: tree, node: node)
        children = (
            NaiveNode(trees, tree: tree, node: 2 * node, depth: depth - 1),
            NaiveNode(trees, tree: tree, node: 2 * node + 1, depth: depth - 1)
        )
    }

    func path(_ x: [Float]) -> [NaiveNode] {
        guard let (left, right) = children else { return [self] }
        let value = x[feature]
        let next = value.isNaN ? (right.reference > left.reference ? right : left) : value < threshold ? left : right
        return [self] + next.path(x)
    }

    func turn() {
        reference = latest
        latest = 0
        children?.0.turn()
        children?.1.turn()
    }
}

private struct Naive {
    let roots: [NaiveNode]
    let window: Int
    let depth: Int
    var filled = 0
    var isWarm = false

    func score(_ x: [Float]) -> Double {
        guard isWarm else { return 0 }
        var sum = 0.0
        for root in roots {
            for (level, node) in root.path(x).enumerated() {
                sum += Double(node.reference) * pow(2, Double(level))
                if Double(node.reference) < 0.1 * Double(window) - 1e-9 { break }
            }
        }
        return 1 - sum / (Double(roots.count) * Double(window) * (pow(2, Double(depth + 1)) - 1))
    }

    mutating func learn(_ x: [Float]) {
        for root in roots { for node in root.path(x) { node.latest += 1 } }
        filled += 1
        if filled == window {
            filled = 0
            isWarm = true
            roots.forEach { $0.turn() }
        }
    }
}

@Test(arguments: [1, 2, 3, 4, 5] as [UInt64])
func `scores equal those of a naive forest with the same cuts, missing values included`(seed: UInt64) {
    let features = 5
    var trees = HalfSpaceTrees(featureCount: features, trees: 7, depth: 5, window: 40, seed: seed)
    var naive = Naive(
        roots: (0..<7).map { NaiveNode(trees, tree: $0, node: 1, depth: 5) }, window: 40, depth: 5)
    var random = SplitMix64(seed: seed &+ 100)
    var places = [UInt16](repeating: 0, count: 7)
    for _ in 0..<600 {
        let x = (0..<features).map { _ in random.unit() < 0.1 ? Float.nan : Float(random.unit() * random.unit() * 1.2) }
        let score = trees.score(x)
        #expect(abs(score - naive.score(x)) < 1e-12)
        #expect(score == trees.score(x, places: &places))
        if random.unit() < 0.5 { trees.learn(x) } else { trees.learn(places: places) }
        naive.learn(x)
    }
    let isWarm = trees.isWarm
    #expect(isWarm)
}

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

// MARK: - ADBench

struct ADBenchSet {
    var rows: [[Double]]
    var isAnomaly: [Bool]
}

func sharedFolder() -> String? {
    if let folder = ProcessInfo.processInfo.environment["WEIR_SHARED"] { return folder }
    var folder = URL(fileURLWithPath: #filePath)
    while folder.path != "/" {
        folder.deleteLastPathComponent()
        if FileManager.default.fileExists(atPath: folder.appendingPathComponent("Package.swift").path) {
            let shared = folder.deletingLastPathComponent().appendingPathComponent("shared").path
            return FileManager.default.fileExists(atPath: shared) ? shared : nil
        }
    }
    return nil
}

func gunzip(_ path: String) -> String? {
    guard FileManager.default.fileExists(atPath: path), let pipe = popen("gzip -dc '\(path)'", "r") else { return nil }
    defer { pclose(pipe) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 1 << 16)
    while true {
        let count = fread(&chunk, 1, chunk.count, pipe)
        if count == 0 { break }
        bytes.append(contentsOf: chunk[0..<count])
    }
    return String(decoding: bytes, as: UTF8.self)
}

func adbench(_ name: String) -> ADBenchSet? {
    guard let folder = sharedFolder().map({ $0 + "/data/anomaly/adbench" }),
        let text = gunzip("\(folder)/\(name).csv.gz"),
        let order = gunzip("\(folder)/order_seed1/\(name).txt.gz")
    else { return nil }
    let lines = text.utf8.split(separator: 10).dropFirst().map { line in
        line.split(separator: 44).map { strtod(String(Substring($0)), nil) }
    }
    let rows = order.utf8.split(separator: 10).compactMap { Int(Substring($0)) }.map { lines[$0] }
    return ADBenchSet(rows: rows.map { Array($0.dropLast()) }, isAnomaly: rows.map { $0.last == 1 })
}

/// Area under the ROC curve, ties counted half.
func auc(_ scores: [Double], _ labels: [Bool]) -> Double {
    let order = scores.indices.sorted { scores[$0] < scores[$1] }
    var rankSum = 0.0
    var i = 0
    while i < order.count {
        var j = i
        while j < order.count, scores[order[j]] == scores[order[i]] { j += 1 }
        for k in i..<j where labels[order[k]] { rankSum += Double(i + j + 1) / 2 }
        i = j
    }
    let positives = Double(labels.count { $0 })
    return (rankSum - positives * (positives + 1) / 2) / (positives * (Double(labels.count) - positives))
}

/// Prequential, as river's `MinMaxScaler | HalfSpaceTrees`: range, score, learn, row by row.
///
/// The first window scores 0 and counts.
func meanAUC(_ set: ADBenchSet, trees: Int, depth: Int, window: Int, shape: RangeScaler.Shape, seeds: Range<UInt64>)
    -> Double
{
    let features = set.rows.first?.count ?? 1
    var sum = 0.0
    for seed in seeds {
        var forest = HalfSpaceTrees(featureCount: features, trees: trees, depth: depth, window: window, seed: seed)
        var scaler = RangeScaler(shapes: Array(repeating: shape, count: features))
        var scores: [Double] = []
        scores.reserveCapacity(set.rows.count)
        var x = [Float](repeating: 0, count: features)
        for row in set.rows {
            for f in 0..<features {
                scaler.learn(row[f], feature: f)
                x[f] = scaler.scale(row[f], feature: f)
            }
            scores.append(forest.score(x))
            forest.learn(x)
        }
        sum += auc(scores, set.isAnomaly)
    }
    return sum / Double(seeds.count)
}

/// Set and river 0.26.1's mean over five seeds at 10 trees of height 8, window 250.
let river: [(String, Double)] = [
    ("thyroid", 0.800), ("cardio", 0.759), ("vowels", 0.551), ("mammography", 0.805), ("annthyroid", 0.598),
    ("satimage-2", 0.936), ("pendigits", 0.882),
]

@Test(.enabled(if: sharedFolder() != nil, "the folder ../shared with the ADBench sets is missing"), arguments: river)
func `half-space trees separate the ADBench sets about as well as river's`(name: String, reference: Double) throws {
    let set = try #require(adbench(name))
    let mean = meanAUC(set, trees: 10, depth: 8, window: 250, shape: .linear, seeds: 1..<11)
    // River's own spread between seeds is up to .18; its mean is of five seeds only, ours of ten.
    #expect(mean > reference - 0.05, "\(name): \(mean), river \(reference)")
}
