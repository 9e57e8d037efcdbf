import Glibc
import Testing

@testable import Models

/// The folder with shared test data, or nil.
private let shared: String? = {
    if let given = getenv("WEIR_SHARED") { return String(cString: given) }
    var folder = #filePath
    while let slash = folder.lastIndex(of: "/"), slash != folder.startIndex {
        folder = String(folder[..<slash])
        if access(folder + "/Package.swift", R_OK) == 0 {
            let found = folder + "/../shared"
            return access(found, R_OK) == 0 ? found : nil
        }
    }
    return nil
}()

private func unzip(_ path: String) -> [Substring] {
    guard let pipe = popen("gzip -dc '\(path)'", "r") else { return [] }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65536)
    while true {
        let count = fread(&buffer, 1, buffer.count, pipe)
        if count == 0 { break }
        bytes.append(contentsOf: buffer[..<count])
    }
    pclose(pipe)
    return String(decoding: bytes, as: UTF8.self).split(separator: "\n")
}

/// The area under the ROC curve: the chance that an anomaly scores above a normal row, ties counting half.
private func area(_ scored: [(score: Double, isAnomaly: Bool)]) -> Double {
    let sorted = scored.sorted { $0.score < $1.score }
    var rankSum = 0.0
    var anomalies = 0.0
    var i = 0
    while i < sorted.count {
        var j = i
        while j < sorted.count, sorted[j].score == sorted[i].score { j += 1 }
        let rank = Double(i + j + 1) / 2
        for row in sorted[i..<j] where row.isAnomaly {
            rankSum += rank
            anomalies += 1
        }
        i = j
    }
    return (rankSum - anomalies * (anomalies + 1) / 2) / (anomalies * (Double(sorted.count) - anomalies))
}

/// Feeds a set as a stream in epochs (score the epoch, then learn it) and gives the area; rows of the first window count with score
/// 0.
private func streamedArea(
    _ rows: [[Double]],
    _ labels: [Bool],
    trees: Int,
    window: Int,
    epoch: Int,
    seed: UInt64
) -> Double {
    let d = rows[0].count
    var model = HalfSpaceTrees(featureCount: d, trees: trees, depth: 8, window: window, seed: seed)
    var scaler = RangeScaler(shapes: [RangeScaler.Shape](repeating: .linear, count: d))
    var scored: [(score: Double, isAnomaly: Bool)] = []
    for start in stride(from: 0, to: rows.count, by: epoch) {
        let range = start..<min(start + epoch, rows.count)
        for i in range {
            scored.append((model.score((0..<d).map { scaler.scale(rows[i][$0], feature: $0) }), labels[i]))
        }
        for i in range {
            for f in 0..<d { scaler.learn(rows[i][f], feature: f) }
        }
        for i in range { model.learn((0..<d).map { scaler.scale(rows[i][$0], feature: $0) }) }
    }
    return area(scored)
}

@Suite struct HalfSpaceTreesAccuracyTests {
    /// Areas of river 0.26.1 on the same rows in the same order, scaled linearly: one seed, and the mean of five (shuttle: of one).
    ///
    /// 10 trees, depth 8, window 250. A seed alone is up to .1 off, so a mean stands against a mean.
    @Test(
        .enabled(if: shared != nil, "the shared test data is missing (../shared or WEIR_SHARED)"),
        arguments: [
            ("thyroid", 0.866, 0.800), ("cardio", 0.796, 0.759), ("satimage-2", 0.934, 0.936),
            ("vowels", 0.526, 0.551), ("mammography", 0.811, 0.805), ("annthyroid", 0.647, 0.598),
            ("pendigits", 0.884, 0.882), ("shuttle", 0.968, 0.968),
        ]
    )
    func `the area under the curve is near river's or above`(set: String, oneSeed: Double, mean: Double) {
        guard let shared else { return }
        let folder = shared + "/data/anomaly/adbench/"
        let lines = unzip(folder + set + ".csv.gz").dropFirst().map { $0.split(separator: ",") }
        let order = unzip(folder + "order_seed1/" + set + ".txt.gz").compactMap { Int($0) }
        #expect(lines.count == order.count && lines.count > 1000)
        let rows = order.map { lines[$0].dropLast().map { Double($0) ?? .nan } }
        let labels = order.map { lines[$0].last == "1" }
        // The long set takes fewer: its areas lie close together.
        let seeds: ClosedRange<UInt64> = set == "shuttle" ? 1...4 : 1...10
        func areas(_ trees: Int, _ window: Int, _ epoch: Int) -> [Double] {
            seeds.map { streamedArea(rows, labels, trees: trees, window: window, epoch: epoch, seed: $0) }
        }
        func average(_ a: [Double]) -> Double { a.reduce(0, +) / Double(a.count) }
        func shown(_ a: [Double]) -> String {
            let figures = [average(a), a.min() ?? 0, a.max() ?? 0].map { Int(($0 * 1000).rounded()) }
            return ".\(figures[0]) (.\(figures[1]) - .\(figures[2]))"
        }
        let published = areas(10, 250, 1)
        // Not held to a bound: 500 rows without a score are a quarter of the small sets, and count as misses.
        let standard = areas(25, 500, 1)
        let epochs = areas(10, 250, 64)
        print(
            "\(set): river \(oneSeed) (one seed) \(mean) (mean); 10x8x250 \(shown(published)),",
            "in epochs of 64 \(shown(epochs)); 25x8x500 \(shown(standard))"
        )
        #expect(average(published) >= mean - 0.05)
        #expect(average(epochs) >= average(published) - 0.03)
    }
}
