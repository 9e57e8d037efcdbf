import Glibc
import Models
import RuleLanguage
import Testing

@testable import Detection

/// Runs lanes one after the other, the last first: whoever depended on their order would show.
private func backwards(_ lanes: Int, _ body: (Int) -> Void) {
    for lane in (0..<lanes).reversed() { body(lane) }
}

/// Two event types: an order with one field of every numeric type, and a click that is never scored.
private let schemas: [EventSchema] = [
    EventSchema(
        name: "click",
        topic: "t",
        fields: [FieldSchema(name: "n", path: ["n"], type: .int)],
        time: .field(0),
        idField: nil,
        subjectField: 0
    ),
    EventSchema(
        name: "order",
        topic: "t",
        fields: [
            FieldSchema(name: "amount", path: ["amount"], type: .money),
            FieldSchema(name: "items", path: ["items"], type: .int),
            FieldSchema(name: "ratio", path: ["ratio"], type: .double),
            FieldSchema(name: "first", path: ["first"], type: .bool),
        ],
        time: .field(0),
        idField: nil,
        subjectField: 0
    ),
]

private func configuration(_ anomaly: AnomalyConfiguration...) throws -> EngineConfiguration {
    let hash = TextHash(key: .fixed)
    let environment = RuleEnvironment(
        events: schemas,
        signals: [],
        maximumWindowMilliseconds: 86_400_000,
        hash: hash
    )
    return EngineConfiguration(
        topology: "test",
        events: schemas,
        topics: ["t"],
        hash: hash,
        ticks: TickClock(tick: 1000, lateness: 0),
        entriesPerKey: 1024,
        keysPerTable: 1024,
        detectors: [],
        release: EngineRelease(rules: try RuleSet.compile([], in: environment), models: anomaly, versions: "{}"),
        verdictIdentifier: { _, _ in },
        writesFeatures: false
    )
}

private func anomaly(trees: Int = 9, window: Int = 100) -> AnomalyConfiguration {
    AnomalyConfiguration(
        name: "usual",
        features: [
            AnomalyFeature(name: "amount", sources: [.field(index: 0, type: .money)]),
            AnomalyFeature(name: "items", sources: [.field(index: 1, type: .int)]),
            AnomalyFeature(name: "ratio", sources: [.field(index: 2, type: .double)]),
            AnomalyFeature(name: "first", sources: [.field(index: 3, type: .bool)]),
            AnomalyFeature(name: "count", sources: [.feature(column: 1, type: .int)]),
            AnomalyFeature(name: "average", sources: [.feature(column: 2, type: .double)]),
        ],
        events: [1],
        trees: trees,
        depth: 6,
        window: window,
        seed: 7
    )
}

private struct Sample {
    var type: UInt16
    /// Four fields, then a feature row of three columns (the first belongs to nobody).
    var slots: [Slot]
}

private func samples(_ count: Int, seed: UInt64) -> [Sample] {
    var random = SplitMix64(seed: seed)
    return (0..<count).map { i in
        let isFar = i > 0 && i % 97 == 0
        var slots = [
            Slot(Int64((isFar ? 1e6 : 2000) * (1 + random.unit()))), Slot(Int64(1 + random.unit() * (isFar ? 300 : 4))),
            Slot(random.unit() * 0.2 + (isFar ? 0.8 : 0)), Slot(random.unit() < 0.1), Slot(0.0),
            Slot(Int64(random.unit() * 5)), Slot(random.unit() * 50),
        ]
        for s in slots.indices where random.unit() < 0.05 { slots[s] = .missing }
        return Sample(type: i % 5 == 4 ? 0 : 1, slots: slots)
    }
}

/// Scores and learns in epochs of the given sizes; returns one model's scores and the digest of the state after each epoch.
private func run(
    _ stage: consuming ScoreStage,
    _ samples: [Sample],
    epochs: [Int],
    lanes: Int,
    fork: Fork = backwards,
    model: Int = 0
) -> (scores: [Double], digests: [UInt64]) {
    var rows = EpochRows(featureWidth: 3, signalWidth: 2)
    var scores: [Double] = []
    var digests: [UInt64] = []
    let slots = samples.flatMap(\.slots)
    slots.withUnsafeBufferPointer { slots in
        guard let base = slots.baseAddress else { return }
        let events = samples.indices.map { i in
            Event(
                fields: base + 7 * i,
                text: UnsafeRawPointer(base).assumingMemoryBound(to: UInt8.self),
                lists: base,
                time: 0,
                offset: 0,
                partition: 0,
                topic: 0,
                type: samples[i].type,
                recordOffset: 0,
                recordLength: 0
            )
        }
        events.withUnsafeBufferPointer { events in
            var start = 0
            while start < samples.count {
                let range = start..<min(start + epochs[digests.count % epochs.count], samples.count)
                let epoch = rows.lay(
                    UnsafeBufferPointer(rebasing: events[range]),
                    watermark: .min,
                    lanes: min(lanes, range.count)
                )
                for i in range {
                    epoch.features(i - start).update(from: base + 7 * i + 4, count: 3)
                    epoch.signals(i - start).update(repeating: Slot(-1.0), count: 2)
                }
                let part = TickPart(events: 0..<range.count, end: 0)
                if lanes == 1 {
                    stage.take(epoch, [part], model: 0)
                    if stage.count > 1 { stage.take(epoch, [part], model: 1) }
                } else {
                    stage.begin(part)
                    fork(epoch.lanes) { stage.run(epoch, part, lane: $0) }
                    stage.end(epoch, part, fork: fork)
                }
                for i in range { scores.append(epoch.signals(i - start)[model].double) }
                var digest: UInt64 = 0
                stage.digest(into: &digest)
                digests.append(digest)
                start = range.upperBound
            }
        }
    }
    return (scores, digests)
}

@Suite struct ScoringTests {
    @Test func `the number of lanes changes neither a score nor a bit of state`() throws {
        let input = samples(3000, seed: 1)
        // Epochs of one event, odd ones, and one of several windows.
        let epochs = [1, 37, 700, 64]
        let reference = run(try ScoreStage(configuration(anomaly())), input, epochs: epochs, lanes: 1)
        #expect(reference.scores.contains { $0 > 0 })
        for lanes in [2, 3, 8, 64] {
            let other = run(try ScoreStage(configuration(anomaly())), input, epochs: epochs, lanes: lanes)
            #expect(other.scores == reference.scores)
            #expect(other.digests == reference.digests)
        }
    }

    @Test func `scores are those of the models fed by hand`() throws {
        let input = samples(1500, seed: 2)
        let result = run(try ScoreStage(configuration(anomaly())), input, epochs: [50], lanes: 2)
        var trees = HalfSpaceTrees(featureCount: 6, trees: 9, depth: 6, window: 100, seed: 7)
        var scaler = RangeScaler(shapes: [RangeScaler.Shape](repeating: .logarithmic, count: 6))
        var learnt = 0
        for start in stride(from: 0, to: input.count, by: 50) {
            let orders = (start..<start + 50).filter { input[$0].type == 1 }
            let rows = orders.map { i in
                zip([0, 1, 2, 3, 5, 6], [false, false, true, false, false, true]).map { column, isDouble in
                    let slot = input[i].slots[column]
                    return slot.isMissing ? Double.nan : isDouble ? slot.double : Double(slot.int)
                }
            }
            let scaled = rows.map { row in row.indices.map { scaler.scale(row[$0], feature: $0) } }
            var places = [[UInt16]](repeating: [UInt16](repeating: 0, count: 9), count: rows.count)
            for (n, i) in orders.enumerated() {
                let score = learnt < 100 ? 0 : trees.score(scaled[n], places: &places[n])
                #expect(result.scores[i] == (score * 1e6).rounded() / 1e6)
            }
            func learnRanges() { for row in rows { for f in 0..<6 { scaler.learn(row[f], feature: f) } } }
            if learnt >= 100 {
                for n in rows.indices { trees.learn(places: places[n]) }
                learnRanges()
            } else {
                learnRanges()
                // The epoch that completes the ranges is placed by them.
                if learnt + rows.count >= 100 {
                    for row in rows { trees.learn(row.indices.map { scaler.scale(row[$0], feature: $0) }) }
                }
            }
            learnt += rows.count
        }
    }

    @Test func `nothing is scored before a window of ranges and a window of reference are full`() throws {
        // Epochs of 25 events hold 20 orders: the fifth completes the ranges and is the first of five that fill the window.
        let input = samples(1000, seed: 3)
        let scores = run(try ScoreStage(configuration(anomaly())), input, epochs: [25], lanes: 1).scores
        #expect(scores[..<225].allSatisfy { $0 == 0 })
        #expect(scores[225...].indices.allSatisfy { scores[$0] > 0 || input[$0].type == 0 })
    }

    @Test func `one long epoch is enough to score the next`() throws {
        let input = samples(1200, seed: 8)
        for lanes in [1, 3] {
            let scores = run(try ScoreStage(configuration(anomaly())), input, epochs: [600], lanes: lanes).scores
            #expect(scores[..<600].allSatisfy { $0 == 0 })
            #expect(scores[600...].indices.allSatisfy { scores[$0] > 0 || input[$0].type == 0 })
        }
    }

    @Test func `a tick in many parts scores and learns like a tick in one`() {
        var random = SplitMix64(seed: 11)
        let configuration = AnomalyConfiguration(
            name: "usual",
            features: ["a", "b"].map { AnomalyFeature(name: $0, sources: [.feature(column: 0, type: .double)]) },
            events: [1],
            trees: 9,
            depth: 6,
            window: 100,
            seed: 3
        )
        // Every third event is not scored; one tick is a flood of equal events, larger than a window.
        let ticks: [[[Double]?]] = (0..<60).map { tick in
            let count = tick == 40 ? 500 : Int(random.next() % 30)
            return (0..<count).map { n in
                n % 3 == 2 ? nil : tick == 40 ? [3, 0.5] : [random.unit() * 10, random.unit()]
            }
        }
        func run(parts: (Int, inout SplitMix64) -> Int) -> (scores: [Double], digests: [UInt64]) {
            var scorer = AnomalyScorer(configuration)
            var random = SplitMix64(seed: 12)
            var scores: [Double] = []
            var digests: [UInt64] = []
            for tick in ticks {
                var at = 0
                while at < tick.count {
                    let end = min(tick.count, at + parts(tick.count, &random))
                    scorer.begin(rows: end - at)
                    for row in at..<end {
                        guard let values = tick[row] else { continue }
                        scores.append(
                            scorer.score(row: row - at) {
                                $0[0] = values[0]
                                $0[1] = values[1]
                            }
                        )
                    }
                    at = end
                }
                scorer.endTick(lanes: 1) { _, body in body(0) }
                var digest: UInt64 = 0
                scorer.digest(into: &digest)
                digests.append(digest)
            }
            return (scores, digests)
        }
        let whole = run { count, _ in count }
        let flood = ticks[..<40].joined().count { $0 != nil }
        #expect(Set(whole.scores[flood..<(flood + 333)]).count == 1 && whole.scores[flood] > 0)
        for parts in [{ _, _ in 1 }, { _, random in 1 + Int(random.next() % 40) }] as [(Int, inout SplitMix64) -> Int] {
            let other = run(parts: parts)
            #expect(other.scores == whole.scores && other.digests == whole.digests)
        }
    }

    @Test func `events of other types score 0 and teach nothing`() throws {
        let mixed = samples(2000, seed: 4)
        let result = run(try ScoreStage(configuration(anomaly())), mixed, epochs: [100], lanes: 2)
        for i in mixed.indices where mixed[i].type == 0 { #expect(result.scores[i] == 0) }
        let orders = mixed.filter { $0.type == 1 }
        let alone = run(try ScoreStage(configuration(anomaly())), orders, epochs: [80], lanes: 2)
        #expect(alone.digests == result.digests)
        #expect(alone.scores == mixed.indices.filter { mixed[$0].type == 1 }.map { result.scores[$0] })
    }

    @Test func `scores are whole millionths, and odd orders stand out`() throws {
        let input = samples(4000, seed: 5)
        let scores = run(try ScoreStage(configuration(anomaly(trees: 25, window: 250))), input, epochs: [128], lanes: 1)
            .scores
        for score in scores { #expect(score == (score * 1e6).rounded() / 1e6 && (0...1).contains(score)) }
        let late = (2000..<4000).filter { input[$0].type == 1 }
        let odd = late.filter { $0 % 97 == 0 }.map { scores[$0] }
        let ordinary = late.filter { $0 % 97 != 0 }.map { scores[$0] }
        let means = [odd, ordinary].map { $0.reduce(0.0, +) / Double($0.count) }
        #expect(means[0] > means[1])
        // The middle one of the odd orders is odder than nineteen of twenty ordinary ones.
        #expect(odd.sorted()[odd.count / 2] > ordinary.sorted()[ordinary.count * 19 / 20])
    }

    @Test func `an order without any number is scored and learnt`() throws {
        var input = samples(1000, seed: 6)
        for i in input.indices where i % 3 == 0 { input[i].slots = [Slot](repeating: .missing, count: 7) }
        let scores = run(try ScoreStage(configuration(anomaly())), input, epochs: [50], lanes: 2).scores
        #expect(scores.allSatisfy { (0...1).contains($0) })
    }

    @Test func `without a model nothing is scored`() throws {
        let input = samples(100, seed: 7)
        #expect(run(try ScoreStage(configuration()), input, epochs: [10], lanes: 2).scores.allSatisfy { $0 == -1 })
        #expect(try ScoreStage(configuration()).stateBytes == 0)
    }

    @Test func `models beside each other score and learn as if alone`() throws {
        let input = samples(800, seed: 8)
        let other = anomaly(trees: 3, window: 30)
        for (model, alone) in [other, anomaly()].enumerated() {
            let expected = run(try ScoreStage(configuration(alone)), input, epochs: [64], lanes: 2).scores
            let both = try ScoreStage(configuration(other, anomaly()))
            #expect(run(both, input, epochs: [64], lanes: 2, model: model).scores == expected)
            #expect(expected.contains { $0 > 0 })
        }
    }

    @Test(.enabled(if: getenv("WEIR_MEASURE") != nil, "a measurement: WEIR_MEASURE=1 with a release build"))
    func `events scored and learnt per second`() throws {
        let count = 200_000
        for (trees, window) in [(10, 250), (25, 500)] {
            let features = (0..<10).map {
                AnomalyFeature(name: "f\($0)", sources: [.feature(column: $0, type: .double)])
            }
            let scorer = AnomalyConfiguration(
                name: "usual",
                features: features,
                events: [0],
                trees: trees,
                depth: 8,
                window: window,
                seed: 7
            )
            let model = scorer.makeModel(column: 0, types: 1)
            var random = SplitMix64(seed: 9)
            var table = EpochRows(featureWidth: 10, signalWidth: 1)
            let rows = (0..<count * 10).map { _ in Slot(random.unit() * random.unit() * 1000) }
            var best = Double.infinity
            var sum = 0.0
            rows.withUnsafeBufferPointer { rows in
                guard let base = rows.baseAddress else { return }
                let text = UnsafeRawPointer(base).assumingMemoryBound(to: UInt8.self)
                let event = Event(
                    fields: base,
                    text: text,
                    lists: base,
                    time: 0,
                    offset: 0,
                    partition: 0,
                    topic: 0,
                    type: 0,
                    recordOffset: 0,
                    recordLength: 0
                )
                [Event](repeating: event, count: 4000).withUnsafeBufferPointer { events in
                    for _ in 0..<5 {
                        var nanoseconds = 0.0
                        for start in stride(from: 0, to: count, by: 4000) {
                            let epoch = table.lay(events, watermark: .min, lanes: 1)
                            epoch.features(0).update(from: base + start * 10, count: 40_000)
                            var from = timespec()
                            var to = timespec()
                            clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from)
                            model.begin(0..<4000)
                            model.score(epoch, 0..<4000)
                            model.endTick(lanes: 1) { _, body in body(0) }
                            clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to)
                            nanoseconds +=
                                Double(to.tv_sec - from.tv_sec) * 1e9 + Double(to.tv_nsec - from.tv_nsec)
                            for i in 0..<4000 { sum += epoch.signals(i)[0].double }
                        }
                        best = min(best, nanoseconds / Double(count))
                    }
                }
            }
            #expect(sum > 0)
            print(
                "\(trees) trees x 8, 10 features: \(best) ns per event scored and learnt, \(1e3 / best) M/s, \(model.stateBytes) bytes"
            )
        }
    }
}
