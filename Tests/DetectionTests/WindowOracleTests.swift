import Models
import Testing

@testable import Detection
@testable import RuleLanguage

/// Events of one type with a key, an integer, a double, a text, an optional integer and an optional double that need not be a
/// number; every feature recomputed from all of them.
struct WindowBench: ~Copyable {
    private static let hash = TextHash(key: HashKey(1, 2))

    static let schema = EventSchema(
        name: "event",
        topic: "t",
        fields: [
            FieldSchema(name: "ts", path: ["ts"], type: .timestamp, isRequired: true),
            FieldSchema(name: "key", path: ["key"], type: .string, isRequired: true, entity: "account"),
            FieldSchema(name: "n", path: ["n"], type: .int, isRequired: true),
            FieldSchema(name: "d", path: ["d"], type: .double, isRequired: true),
            FieldSchema(name: "s", path: ["s"], type: .string, isRequired: true),
            FieldSchema(name: "maybe", path: ["maybe"], type: .int),
            FieldSchema(name: "ratio", path: ["ratio"], type: .double),
        ],
        time: .field(0),
        idField: nil,
        subjectField: 1
    )

    let features: [Feature]
    let rowWidth: Int
    let entriesPerKey: Int
    let keys: Int
    var slot: WindowSlot
    let program: WindowProgram
    var evaluator: Evaluator
    var rewinds = WindowRewinds()
    let text: UnsafeMutablePointer<UInt8>
    let fields: UnsafeMutablePointer<Slot>
    let row: UnsafeMutablePointer<Slot>

    init(windows: [Int64], entriesPerKey: Int = 1 << 20, keys: Int = 1 << 20) throws {
        var features: [Feature] = []
        var column = 0
        func add(_ function: AggregateFunction, _ field: Int?, _ window: Int64, excluding: Bool = false) {
            let type: ValueType? = field.map { [.timestamp, .string, .int, .double, .string, .int, .double][$0] }
            let isText = type == .string && (function == .first || function == .last)
            features.append(
                Feature(
                    name: "f\(features.count)",
                    isDeclared: true,
                    function: function,
                    event: 0,
                    filter: nil,
                    argument: field.map { .field($0) },
                    argumentType: type,
                    countedKeys: [1],
                    readers: [[.field(1)]],
                    windowMilliseconds: window,
                    excludesCurrent: excluding,
                    resultType: .int,
                    column: column,
                    canonical: "c\(features.count)",
                    filterText: "",
                    argumentText: field.map { "field\($0)" } ?? ""
                )
            )
            column += isText ? Feature.stringWidth : 1
        }
        for window in windows {
            add(.count, nil, window)
            add(.count, nil, window, excluding: true)
            for field in [2, 3, 5, 6] {
                for function in [AggregateFunction.sum, .avg, .min, .max, .first, .last] {
                    add(function, field, window)
                }
            }
            for field in [2, 4, 5] { add(.distinct, field, window) }
            add(.first, 4, window)
            add(.last, 4, window, excluding: true)
        }
        self.features = features
        rowWidth = column
        evaluator = Evaluator(
            try RuleSet.compile(
                [],
                in: RuleEnvironment(
                    events: [WindowBench.schema],
                    signals: [],
                    maximumWindowMilliseconds: 1 << 40,
                    hash: WindowBench.hash
                )
            )
        )
        program = WindowProgram(
            WindowPlan(features: features, events: [WindowBench.schema], rowWidth: column, hash: WindowBench.hash)
        )
        (self.entriesPerKey, self.keys) = (entriesPerKey, keys)
        slot = WindowSlot(program, entriesPerKey: entriesPerKey, keysPerTable: keys)
        text = .allocate(capacity: 256)
        text.initialize(repeating: 0, count: 256)
        fields = .allocate(capacity: 7)
        row = .allocate(capacity: column)
    }

    deinit {
        text.deallocate()
        fields.deallocate()
        row.deallocate()
    }

    struct Sample {
        var time: Int64
        var key: Int
        var n: Int64
        var d: Double
        var s: Int
        var maybe: Int64?
        var ratio: Double?
    }

    mutating func feed(_ sample: Sample, watermark: Int64) {
        let word = "text-\(sample.s)"
        for (i, byte) in word.utf8.enumerated() { text[i] = byte }
        fields[0] = Slot(sample.time)
        fields[1] = Slot(hash: WindowBench.hash("key\(sample.key)"), offset: 0, length: 0, bank: .event)
        fields[2] = Slot(sample.n)
        fields[3] = Slot(sample.d)
        fields[4] = Slot(hash: WindowBench.hash(word), offset: 0, length: word.utf8.count, bank: .event)
        fields[5] = sample.maybe.map { Slot($0) } ?? .missing
        fields[6] = sample.ratio.map { Slot($0) } ?? .missing
        for i in 0..<rowWidth { row[i] = .missing }
        let event = Event(
            fields: fields,
            text: text,
            lists: UnsafePointer(fields),
            time: sample.time,
            offset: 0,
            partition: 0,
            topic: 0,
            type: 0,
            recordOffset: 0,
            recordLength: 0
        )
        let visits = program.accessRanges[0].map { RoutedAccess(key: fields[1].bits, event: 0, access: UInt16($0)) }
        withUnsafePointer(to: event) { event in
            visits.withUnsafeBufferPointer {
                slot.apply(
                    $0,
                    events: event,
                    rows: row,
                    rowWidth: rowWidth,
                    signals: UnsafePointer(fields),
                    watermark: watermark,
                    evaluators: &evaluator,
                    rewinds: &rewinds
                )
            }
        }
        slot.endRewinds(&rewinds)
        slot.sweep(watermark: watermark)
    }

    /// Writes the slot and goes on with one that was read.
    mutating func replaceSlotByItsBytes() throws {
        let bytes = OneSection.bytes { slot.write(to: &$0) }
        var copy = makeSlot()
        try OneSection.read(bytes) { (section) throws(StateError) in try copy.read(from: &section) }
        try copy.checkInvariants()
        #expect(digest { slot.digest(into: &$0) } == digest { copy.digest(into: &$0) })
        #expect(copy.counters == slot.counters)
        slot = copy
    }

    func makeSlot() -> WindowSlot { WindowSlot(program, entriesPerKey: entriesPerKey, keysPerTable: keys) }

    func shown(_ f: Int) -> String {
        let feature = features[f]
        let slot = row[feature.column]
        if slot.isMissing { return "missing" }
        if feature.argumentType == .string, feature.function != .distinct {
            let bytes = UnsafeRawPointer(row) + slot.textOffset
            return String(decoding: UnsafeRawBufferPointer(start: bytes, count: slot.textLength), as: UTF8.self)
        }
        let isDouble = feature.function == .avg || (feature.argumentType == .double && feature.function != .distinct)
        return isDouble ? "\(slot.double)" : "\(slot.int)"
    }

    /// The definition: the counted events of the key in (t − w, t], in order of time and then arrival; `history` ends with the
    /// event itself.
    func expected(_ f: Int, _ history: [Sample]) -> String {
        let feature = features[f]
        guard let now = history.last else { return "" }
        var inside = history.indices.filter {
            let e = history[$0]
            return e.key == now.key && e.time > now.time - feature.windowMilliseconds && e.time <= now.time
                && !(feature.excludesCurrent && $0 == history.count - 1)
        }
        inside.sort { (history[$0].time, $0) < (history[$1].time, $1) }
        var samples = inside.map { history[$0] }
        guard let argument = feature.argument, case .field(let field) = argument else { return "\(samples.count)" }
        if field == 5 { samples = samples.filter { $0.maybe != nil } }
        if field == 6 { samples = samples.filter { $0.ratio.map { !$0.isNaN } ?? false } }
        let isDouble = field == 3 || field == 6
        func number(_ s: Sample) -> Int64 { field == 2 ? s.n : s.maybe ?? 0 }
        func real(_ s: Sample) -> Double { field == 3 ? s.d : s.ratio ?? 0 }
        /// In millionths; an infinity counts as 10^18.
        func total() -> Double {
            Double(samples.reduce(Int128(0)) { $0 + Int128((min(max(real($1), -1e18), 1e18) * 1e6).rounded()) }) / 1e6
        }
        func whole() -> Int128 { samples.reduce(Int128(0)) { $0 + Int128(number($1)) } }
        switch feature.function {
        case .count: return "\(samples.count)"
        case .sum:
            if isDouble { return "\(total())" }
            return Int64(exactly: whole()).map { "\($0)" } ?? "missing"
        case .avg:
            if samples.isEmpty { return "missing" }
            return "\((isDouble ? total() : Double(whole())) / Double(samples.count))"
        case .min:
            return (isDouble ? samples.map(real).min().map { "\($0)" } : samples.map(number).min().map { "\($0)" })
                ?? "missing"
        case .max:
            return (isDouble ? samples.map(real).max().map { "\($0)" } : samples.map(number).max().map { "\($0)" })
                ?? "missing"
        case .distinct: return "\(field == 4 ? Set(samples.map(\.s)).count : Set(samples.map(number)).count)"
        case .first, .last:
            guard let s = feature.function == .first ? samples.first : samples.last else { return "missing" }
            return field == 4 ? "text-\(s.s)" : isDouble ? "\(real(s))" : "\(number(s))"
        }
    }
}

@Suite struct WindowOracleTests {
    /// As of a division: mostly a number, sometimes missing, an infinity or no number at all.
    private func ratio(_ spread: Int, _ random: inout SplitMix64) -> Double? {
        switch Int.random(in: 0..<8, using: &random) {
        case 0: nil
        case 1: .nan
        case 2: .infinity
        case 3: -.infinity
        default: Double(Int64.random(in: -Int64(spread)...Int64(spread), using: &random)) / 8
        }
    }

    /// Disorder: the share of events that come up to `late` ms behind; `spread` of values decides how often they repeat.
    @Test(arguments: [
        (seed: 1, keys: 3, late: 0, spread: 5, gap: 10), (seed: 2, keys: 3, late: 400, spread: 5, gap: 10),
        (seed: 3, keys: 1, late: 2000, spread: 40, gap: 3), (seed: 4, keys: 2, late: 50, spread: 1000, gap: 1),
        (seed: 5, keys: 1, late: 5000, spread: 3, gap: 20), (seed: 6, keys: 4, late: 900, spread: 20, gap: 2),
        // Amounts as large as there are: most sums leave 64 bits and come back.
        (seed: 7, keys: 2, late: 0, spread: .max, gap: 40), (seed: 8, keys: 1, late: 900, spread: .max, gap: 60),
        (seed: 9, keys: 2, late: 300, spread: 1 << 44, gap: 5),
    ])
    func `every feature equals its definition recomputed, in order and out of order`(
        _ c: (seed: Int, keys: Int, late: Int, spread: Int, gap: Int)
    ) throws {
        var random = SplitMix64(seed: UInt64(c.seed))
        var bench = try WindowBench(windows: [100, 1000, 3000])
        var history: [WindowBench.Sample] = []
        var now: Int64 = 1_000_000
        var wrong = 0
        for i in 0..<350 {
            now += Int64.random(in: 0...Int64(c.gap), using: &random)
            let behind =
                c.late > 0 && Int.random(in: 0..<3, using: &random) == 0
                ? Int64.random(in: 0...Int64(c.late), using: &random) : 0
            let sample = WindowBench.Sample(
                time: now - behind,
                key: Int.random(in: 0..<c.keys, using: &random),
                n: Int64.random(in: -Int64(c.spread)...Int64(c.spread), using: &random),
                d: Double(Int64.random(in: -Int64(c.spread)...Int64(c.spread), using: &random)) / 4,
                s: Int.random(in: 0..<c.spread, using: &random),
                maybe: Bool.random(using: &random) ? Int64.random(in: 0..<Int64(c.spread), using: &random) : nil,
                ratio: ratio(c.spread, &random)
            )
            history.append(sample)
            bench.feed(sample, watermark: now - Int64(c.late))
            try bench.slot.checkInvariants()
            // A state that was written and read goes on like the one it was made of.
            if i % 50 == 25 { try bench.replaceSlotByItsBytes() }
            for f in bench.features.indices where wrong < 3 {
                let got = bench.shown(f)
                let want = bench.expected(f, history)
                if got != want {
                    wrong += 1
                    let feature = bench.features[f]
                    Issue.record(
                        "event \(i) \(feature.function) of \(feature.argumentText) over \(feature.windowMilliseconds): \(got), not \(want)"
                    )
                }
            }
            if wrong >= 3 { break }
        }
        #expect((bench.slot.counters.outOfOrder > 0) == (c.late > 0))
    }

    @Test func `keys that no window can see give their memory back`() throws {
        var bench = try WindowBench(windows: [100, 1000])
        for i in 0..<8_000 {
            let time = Int64(1_000_000 + i)
            bench.feed(.init(time: time, key: i, n: 1, d: 1, s: i, maybe: 1), watermark: time)
        }
        try bench.slot.checkInvariants()
        // About a thousand keys are live; the sweep may lag behind by one turn of the table.
        #expect(bench.slot.keyCount < 5_000)
        #expect(bench.slot.counters.evictedKeys == 0)
    }

    @Test func `a key at its limit drops its oldest entries and says so`() throws {
        var bench = try WindowBench(windows: [1_000_000], entriesPerKey: 64)
        for i in 0..<200 {
            bench.feed(.init(time: Int64(1_000 + i), key: 1, n: Int64(i), d: 0, s: i, maybe: nil), watermark: 0)
        }
        #expect(bench.shown(0) == "64")
        try bench.slot.checkInvariants()
        #expect(bench.slot.counters.truncatedEntries > 0)
        // The minimum over what is kept.
        let minimum = bench.features.indices.first {
            bench.features[$0].function == .min && bench.features[$0].argumentText == "field2"
        }
        #expect(minimum.map { bench.shown($0) } == "136")
    }

    @Test(arguments: [1, 2, 3, 5, 16, 17, 1000])
    func `a key keeps exactly as many entries as its limit says`(limit: Int) throws {
        var bench = try WindowBench(windows: [1_000_000], entriesPerKey: limit)
        for i in 0..<limit + 5 {
            bench.feed(.init(time: Int64(1_000 + i), key: 1, n: Int64(i), d: 0, s: i, maybe: nil), watermark: 0)
            #expect(bench.shown(0) == "\(min(i + 1, limit))")
        }
        // The event that comes before all that are kept is the oldest as soon as they are back.
        bench.feed(.init(time: 1, key: 1, n: 0, d: 0, s: 0, maybe: nil), watermark: 0)
        #expect(bench.shown(0) == "1")
        bench.feed(.init(time: 900_000, key: 1, n: 0, d: 0, s: 0, maybe: nil), watermark: 0)
        #expect(bench.shown(0) == "\(limit)")
        // Seven too many in each stream, of which two have none of these events: `maybe` and `ratio` are missing.
        #expect(bench.slot.counters.truncatedEntries == 7 * (bench.program.plan.streams.count - 2))
        try bench.slot.checkInvariants()
    }

    @Test func `a key at its limit takes huge amounts out of its sums again`() throws {
        var bench = try WindowBench(windows: [1_000_000], entriesPerKey: 4)
        let sum = bench.features.indices.first {
            bench.features[$0].function == .sum && bench.features[$0].argumentText == "field2"
        }
        let amounts: [Int64] = [.max, .max, .max, .max, .min, .min, .min, .min, 1, 2, 3, 4]
        var kept: [Int128] = []
        var missing = 0
        for (i, n) in amounts.enumerated() {
            bench.feed(.init(time: Int64(1_000 + i), key: 1, n: n, d: 0, s: i, maybe: nil), watermark: 0)
            kept = (kept + [Int128(n)]).suffix(4)
            let want = Int64(exactly: kept.reduce(0, +)).map { "\($0)" } ?? "missing"
            #expect(sum.map { bench.shown($0) } == want, "after \(i + 1) amounts")
            if want == "missing" { missing += 1 }
        }
        #expect(missing == 8)
        #expect(bench.slot.counters.truncatedEntries == 8)
    }

    @Test func `a flood of new keys evicts itself, not the busy key`() throws {
        var bench = try WindowBench(windows: [1_000_000_000], keys: 500)
        for i in 0..<50 { bench.feed(.init(time: Int64(1_000 + i), key: -1, n: 1, d: 0, s: 1, maybe: 1), watermark: 0) }
        for i in 0..<3_000 {
            bench.feed(.init(time: Int64(2_000 + i), key: i, n: 1, d: 0, s: 1, maybe: nil), watermark: 0)
        }
        bench.feed(.init(time: 8_000, key: -1, n: 1, d: 0, s: 1, maybe: 1), watermark: 0)
        #expect(bench.shown(0) == "51")
        try bench.slot.checkInvariants()
        #expect(bench.slot.keyCount <= 500)
        #expect(bench.slot.counters.evictedKeys > 2_000)
    }

    /// Any fault in the bytes of a slot is an error or harmless, also behind a right checksum; and some faults only a recount
    /// finds.
    @Test func `a slot that is read wrong says so`() throws {
        var random = SplitMix64(seed: 31)
        var bench = try WindowBench(windows: [100, 1000])
        for i in 0..<400 {
            bench.feed(
                .init(
                    time: Int64(1_000_000 + i * 3),
                    key: i % 3,
                    n: Int64(i % 40),
                    d: Double(i),
                    s: i % 30,
                    maybe: Int64(i)
                ),
                watermark: .min
            )
        }
        let bytes = OneSection.bytes { bench.slot.write(to: &$0) }
        var (refused, recounted) = (0, 0)
        for _ in 0..<3000 {
            var copy = bench.makeSlot()
            let faulty = FaultyState.resealed(bytes, flipping: Int.random(in: 0..<(1 << 24), using: &random))
            do {
                try OneSection.read(faulty) { (section) throws(StateError) in try copy.read(from: &section) }
                do { try copy.checkInvariants() } catch { recounted += 1 }
            } catch {
                refused += 1
            }
        }
        #expect(refused > 300 && recounted > 100, "\(refused) refused, \(recounted) found by a recount")
    }
}
