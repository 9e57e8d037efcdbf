import RuleLanguage
import Testing

@testable import Detection

/// What a verdict says of an event that was not as it should be.
@Suite struct VerdictMarkTests {
    private static let record =
        #"{"id":"e1",\#(needed),"amount":12.5,"channel":"web","tags":["a","b"],"user_agent":"agent"}"#

    /// The verdict on the record, after the batch and then the event were changed.
    private func verdict(
        mark: (inout EventBatch) -> Void = { _ in },
        change: (inout Event) -> Void = { _ in }
    ) throws -> String {
        var schema = order
        schema.emission = .all
        let hash = TextHash(key: .fixed)
        let rules = try RuleSet.compile(
            [],
            in: RuleEnvironment(events: [schema], signals: [], maximumWindowMilliseconds: 1 << 40, hash: hash)
        )
        let engine = Engine(
            EngineConfiguration(
                topology: "test",
                events: [schema],
                topics: ["orders"],
                hash: hash,
                ticks: TickClock(tick: 1000, lateness: 0),
                entriesPerKey: 16,
                keysPerTable: 16,
                detectors: [],
                release: EngineRelease(rules: rules, models: [], versions: "{}"),
                verdictIdentifier: { _, text in text.update(repeating: UInt8(ascii: "0"), count: 36) },
                writesFeatures: false
            ),
            lanes: 1
        )
        var bench = Bench(try plan([schema]))
        try #require(bench.decode(Self.record) == .events(1))
        mark(&bench.batch)
        var event = bench.batch.event(0)
        change(&event)
        var said = ""
        withUnsafePointer(to: event) {
            let events = UnsafeBufferPointer(start: $0, count: 1)
            engine.process(EpochInput(events: events, watermark: .min), lanes: 1) { lanes, body in
                for lane in 0..<lanes { body(lane) }
            }
        }
        engine.forEachOutput { said += String(decoding: $0.verdicts.bytes, as: UTF8.self) }
        return said
    }

    private static let plain =
        #"{"verdict_id":"000000000000000000000000000000000000","decision":"allow","score":0,"subject":{"type":"account","id":"a1"},"#
        + #""event":{"type":"order","topic":"orders","partition":3,"offset":41,"id":"e1","time":"2025-10-09T08:53:20Z"},"reasons":[],"#
        + #""versions":{}}"# + "\n"

    @Test func `an event that is as it should be has none of it`() throws { #expect(try verdict() == Self.plain) }

    @Test func `fields that could not be read stand behind the reasons with a code each, and cut ones by name`() throws
    {
        let said = try verdict { batch in
            batch.append(EventMark(damaged: 3, .tooManyDecimals))
            batch.append(EventMark(.cut, field: 13))
            batch.append(EventMark(.unknownWord, field: 4))
            batch.append(EventMark(damaged: 8, .wrongType))
            batch.append(EventMark(coerced: 1 << 6, 0))
            batch.append(EventMark(.cut, field: 5))
        }
        let marks =
            #","damaged":[{"field":"amount","code":"too_many_decimals"},{"field":"first","code":"wrong_type"}],"cut":["user_agent","tags"]"#
        #expect(said == Self.plain.replacing(#","versions""#, with: marks + #","versions""#))
    }

    @Test func `marks of which a verdict has nothing to say leave it as it is`() throws {
        let said = try verdict { batch in
            batch.append(EventMark(.unknownWord, field: 4))
            batch.append(EventMark(coerced: .max, .max))
        }
        #expect(said == Self.plain)
    }

    private static let moved: [(flags: EventFlags, wanted: String)] = [
        (.late, #","late":"1970-01-01T00:00:01Z""#), (.early, #","early":"1970-01-01T00:00:01Z""#),
        (.duplicate, #","duplicate":true"#),
        (
            [.late, .early, .duplicate],
            #","late":"1970-01-01T00:00:01Z","early":"1970-01-01T00:00:01Z","duplicate":true"#
        ),
    ]

    @Test(arguments: moved)
    func `an event that was moved names its time as it was written, and a duplicate itself`(
        _ flags: EventFlags,
        _ wanted: String
    ) throws {
        let said = try verdict(change: {
            $0.flags = flags
            $0.writtenTime = 1000
        })
        #expect(said == Self.plain.replacing(#"08:53:20Z""#, with: #"08:53:20Z""# + wanted))
    }

    @Test func `one of several events of a record says which it is`() throws {
        let said = try verdict(change: { $0.part = 3 })
        #expect(said == Self.plain.replacing(#""offset":41"#, with: #""offset":41,"part":3"#))
    }

    @Test func `a mark gives back what it was made of, and is never a missing value`() {
        for code in DeadLetterCode.allCases {
            let mark = EventMark(damaged: 95, code)
            #expect(mark.kind == .damaged && mark.code == code && fields(mark) == [95] && !mark.slot.isMissing)
        }
        for kind in [EventMark.Kind.cut, .unknownWord] {
            let mark = EventMark(kind, field: 64)
            #expect(mark.kind == kind && mark.code == nil && fields(mark) == [64] && !mark.slot.isMissing)
        }
        let all = EventMark(coerced: .max, .max)
        #expect(all.kind == .coerced && all.code == nil && fields(all) == Array(0..<96) && !all.slot.isMissing)
        #expect(fields(EventMark(coerced: 1 << 63 | 1, 1 << 31 | 1)) == [0, 63, 64, 95])
    }

    private func fields(_ mark: EventMark) -> [Int] {
        var fields: [Int] = []
        mark.forEachField { fields.append($0) }
        return fields
    }

    @Test func `marks of several events lie apart, and events without any have none`() throws {
        var bench = Bench(try plan())
        for n in 0..<200 {
            try #require(bench.decode(Self.record) == .events(1))
            for field in 0..<n % 3 { bench.batch.append(EventMark(.cut, field: n % 64 + field)) }
        }
        for n in 0..<200 {
            var found: [Int] = []
            let event = bench.batch.event(n)
            event.forEachMark { found += fields($0) }
            #expect(found == (0..<n % 3).map { n % 64 + $0 })
            #expect(event.fields[5].listCount == 2 && text(event.lists[event.fields[5].listOffset + 1], event) == "b")
        }
    }

    @Test func `of events at one place of the log the parts come in their order`() {
        let nothing = UnsafePointer(UnsafeMutablePointer<Slot>.allocate(capacity: 1))
        defer { nothing.deallocate() }
        func event(_ time: Int64, _ offset: Int64, _ part: UInt16) -> Event {
            Event(
                fields: nothing,
                text: UnsafeRawPointer(nothing).assumingMemoryBound(to: UInt8.self),
                lists: nothing,
                time: time,
                offset: offset,
                partition: 0,
                topic: 0,
                type: 0,
                recordOffset: 0,
                recordLength: 0,
                part: part
            )
        }
        let ordered = [event(1, 7, 0), event(1, 7, 1), event(1, 8, 0), event(2, 7, 0), event(2, 7, 5)]
        for (a, first) in ordered.enumerated() {
            for (b, second) in ordered.enumerated() { #expect(Event.precedes(first, second) == (a < b)) }
        }
        #expect(MemoryLayout<Event>.size == 72 && MemoryLayout<EventMark>.size == 16)
    }
}
