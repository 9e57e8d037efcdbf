import RuleLanguage
import Models
import Testing

@testable import Detection

/// DECODE over batches of records: order, lanes, what is taken out again.
@Suite struct DecodeStageTests {
    /// Records as a pipeline stages them.
    private struct Staged {
        var bytes: [UInt8] = []
        var records: [StagedRecord] = []

        mutating func add(_ text: String?, source: Int, offset: Int, fullLength: Int? = nil) {
            let length = text?.utf8.count
            records.append(
                StagedRecord(
                    offset: Int64(offset),
                    appendTime: nil,
                    start: bytes.count,
                    length: length,
                    source: source,
                    fullLength: fullLength ?? length ?? 0
                )
            )
            bytes += (text ?? "").utf8
        }
    }

    private static let limits = {
        var limits = DecodeLimits()
        limits.recordBytes = 200
        return limits
    }()

    /// Good, broken, empty and overlong records of three sources.
    private static func records(_ count: Int, seed: UInt64) -> Staged {
        var random = SplitMix64(seed: seed)
        var staged = Staged()
        for i in 0..<count {
            let source = Int.random(in: 0..<3, using: &random)
            switch Int.random(in: 0..<10, using: &random) {
            case 0: staged.add(#"{"ts":1760000000000"#, source: source, offset: i)
            case 1: staged.add(nil, source: source, offset: i)
            case 2: staged.add(#"{"ts":"#, source: source, offset: i, fullLength: 5000)
            default: staged.add("{\(needed),\"id\":\"o\(i)\",\"count\":\(i)}", source: source, offset: i)
            }
        }
        return staged
    }

    private static let sources = (0..<3).map { SourceDecoding(topic: 0, partition: Int32($0)) }

    /// What the stage gives, one line per event, then one per rejected record.
    private static func said(_ stage: borrowing DecodeStage, _ plan: DecodePlan) -> [String] {
        let events = zip(stage.events, stage.eventSources).map { event, source in
            "\(source): \(event.partition)/\(event.offset) \(describe(event, plan))"
        }
        return events
            + stage.rejected.map { "\($0.record.source): \($0.record.offset) \($0.letter.code.name)" }
    }

    /// Runs the lanes last to first, so that whoever depends on their order shows.
    private static func decode(_ stage: inout DecodeStage, _ staged: Staged, lanes: Int) {
        staged.records.withUnsafeBufferPointer { records in
            staged.bytes.withUnsafeBytes { bytes in
                guard let start = bytes.baseAddress else { return }
                stage.begin(records, bytes: start, lanes: lanes)
                for lane in (0..<lanes).reversed() { stage.run(lane) }
                stage.end()
            }
        }
    }

    @Test(arguments: [1, 2, 3, 5, 8])
    func `events and dead letters come in the order of the records, whatever the lanes`(_ lanes: Int) throws {
        let plan = try plan(limits: Self.limits)
        var stage = try DecodeStage(plan: plan, sources: Self.sources, lanes: lanes)
        for (round, count) in [500, 1, 3, 7, 1000, 64].enumerated() {
            let staged = Self.records(count, seed: UInt64(round + 1))
            // One decoder, record by record.
            var bench = Bench(plan)
            var wanted: [String] = []
            var rejected: [String] = []
            for record in staged.records {
                let bytes = staged.bytes.withUnsafeBytes { all in
                    all.baseAddress.flatMap { record.value(in: $0).map { [UInt8]($0) } }
                }
                let code: String
                if record.fullLength > 200 {
                    code = "record_too_large"
                } else if let bytes {
                    let outcome = bench.outcome(bytes)
                    if outcome.contains("ts=") {
                        wanted.append("\(record.source): \(record.source)/\(record.offset) \(outcome)")
                        continue
                    }
                    code = String(outcome.prefix { $0 != " " })
                } else {
                    code = "tombstone"
                }
                rejected.append("\(record.source): \(record.offset) \(code)")
            }
            Self.decode(&stage, staged, lanes: lanes)
            let said = Self.said(stage, plan)
            let differing = zip(said, wanted + rejected).first { $0 != $1 }
            #expect(differing == nil && said.count == count, "round \(round), \(lanes) lanes")
        }
    }

    @Test func `what is taken out is gone from events and dead letters, and told`() throws {
        let plan = try plan(limits: Self.limits)
        var stage = try DecodeStage(plan: plan, sources: Self.sources, lanes: 2)
        let staged = Self.records(400, seed: 11)
        Self.decode(&stage, staged, lanes: 2)
        let all = zip(stage.events, stage.eventSources).map { (Int($1), $0.offset) }
        func isMeant(_ source: Int, _ offset: Int64) -> Bool { source == 1 && offset >= 200 }
        var removed: [Int64] = []
        stage.remove(where: isMeant) { removed.append($1.offset) }
        let left = zip(stage.events, stage.eventSources).map { (Int($1), $0.offset) }
        #expect(removed == all.filter(isMeant).map(\.1) && removed.count > 20)
        #expect(left.elementsEqual(all.filter { !isMeant($0, $1) }, by: ==))
        #expect(!stage.rejected.isEmpty)
        #expect(stage.rejected.allSatisfy { !isMeant(Int($0.record.source), $0.record.offset) })
        stage.removeAll()
        #expect(stage.events.isEmpty && stage.eventSources.isEmpty && stage.rejected.isEmpty)
    }

    @Test func `topics are in the order of their names, which decides between equal times`() throws {
        var late = order
        late.topics = ["zebra"]
        #expect(throws: DecodePlanError.self) {
            try DecodePlan(schemas: [late, order], topics: ["zebra", "orders"], hash: TextHash(key: .fixed))
        }
        let plan = try DecodePlan(schemas: [late, order], topics: ["orders", "zebra"], hash: TextHash(key: .fixed))
        var stage = try DecodeStage(
            plan: plan,
            sources: [1, 0].map { SourceDecoding(topic: $0, partition: 0) },
            lanes: 1
        )
        var staged = Staged()
        staged.add("{\(needed)}", source: 0, offset: 1)
        staged.add("{\(needed)}", source: 1, offset: 2)
        Self.decode(&stage, staged, lanes: 1)
        var sorter = EventSorter()
        sorter.sort(stage.events)
        #expect(stage.events.map { plan.topics[Int($0.topic)] } == ["orders", "zebra"])
    }
}
