import Detection
import Glibc
import RuleLanguage

/// What `dedupe` costs an event: the time that an engine without a rule takes longer for events of which half repeat another, and
/// the memory of the identities that it remembers.
///
/// Beside it a dictionary of the same identities, in the same run, and what an event costs where identities are forgotten as fast
/// as new ones come. The number of repetitions found is compared with the number made; memory beyond 24 bytes an identity is an
/// error. With a number as argument there are so many identities.
@main enum DedupeBenchmark {
    static let identities = CommandLine.arguments.dropFirst().first.flatMap { Int($0) } ?? 10_000_000
    static let epoch = 4_096
    static let hash = TextHash(key: .fixed)
    static let words = WordHash(hash)

    static func main() throws {
        let count = 2 * identities
        let plain = try engine(dedupe: nil)
        // What it says of the events that repeat nothing, without looking.
        let bare = run(plain, identities, traffic: { UInt64($0) })
        let engine = try engine(dedupe: DedupeSchema(fields: [0], overMilliseconds: 90 * 86_400_000))
        let looking = run(engine, count, traffic: identity)
        guard let ids = engine.idCounters[0]?.ids, looking.repetitions == identities, ids == identities else {
            fail(
                "\(looking.repetitions) repetitions found and \(engine.idCounters) kept, where \(identities) were made"
            )
        }
        let bytes = Double(engine.stateBytes - plain.stateBytes) / Double(ids)
        guard bytes <= 24 else { fail("\(bytes) bytes an identity") }
        // Once more, now that there is room for all: repetitions only.
        let again = 1 << 20
        let warm = run(engine, again, traffic: { identity((2 * $0 + 1) % count) })
        guard warm.repetitions == again else { fail("\(warm.repetitions) repetitions of \(again)") }
        let cost = (looking.nanoseconds - bare.nanoseconds) / Double(count)
        print(
            "{\"events\":\(count),\"nanoseconds\":\(tenths(cost)),\"dictionary_nanoseconds\":\(tenths(dictionary(count))),"
                + "\"expiring_nanoseconds\":\(tenths(try expiring(count, bare.nanoseconds))),"
                + "\"bytes\":\(tenths(bytes)),\"warm_events\":\(again),"
                + "\"allocations\":\(warm.allocations.map { "\($0)" } ?? "null")}"
        )
    }

    /// What an event costs where half of the identities that come are remembered at once: then one goes for each that is new.
    static func expiring(_ count: Int, _ bare: Double) throws -> Double {
        // A millisecond from one event to the next.
        let over = count / 2
        let engine = try engine(dedupe: DedupeSchema(fields: [0], overMilliseconds: Int64(over)))
        let forgetting = run(engine, count) { event in
            let newest = event / 2
            return event % 2 == 0
                ? UInt64(newest) : UInt64(newest) - words.number(UInt64(event)) % UInt64(min(newest + 1, over / 2))
        }
        guard forgetting.repetitions == identities, engine.idCounters[0]?.evicted == 0 else {
            fail("\(forgetting.repetitions) repetitions found, where \(identities) were made, and \(engine.idCounters)")
        }
        return (forgetting.nanoseconds - bare) / Double(count)
    }

    /// Every second event is new; the others repeat one at random.
    static func identity(_ event: Int) -> UInt64 {
        if event % 2 == 0 { return UInt64(event / 2) }
        return words.number(UInt64(event)) % UInt64(event / 2 + 1)
    }

    static func engine(dedupe: DedupeSchema?) throws -> Engine {
        let schema = EventSchema(
            name: "order",
            topic: "orders",
            fields: [
                FieldSchema(name: "id", path: ["id"], type: .string),
                FieldSchema(name: "ts", path: ["ts"], type: .timestamp, isRequired: true),
                FieldSchema(name: "account", path: ["account"], type: .string, isRequired: true, entity: "account"),
            ],
            time: .field(1),
            idField: 0,
            subjectField: 2,
            dedupe: dedupe
        )
        let rules = try RuleSet.compile(
            [],
            in: RuleEnvironment(events: [schema], signals: [], maximumWindowMilliseconds: 1 << 40, hash: hash)
        )
        return Engine(
            EngineConfiguration(
                topology: "bench",
                events: [schema],
                topics: ["orders"],
                hash: hash,
                ticks: TickClock(tick: 1000, lateness: 300_000),
                entriesPerKey: 1,
                keysPerTable: 1,
                // Slots get a few more or less than their share.
                idsPerEvent: identities + identities / 10,
                detectors: [],
                release: EngineRelease(rules: rules, models: [], versions: "{}"),
                verdictIdentifier: { _, text in text.update(repeating: UInt8(ascii: "0"), count: 36) },
                writesFeatures: false
            ),
            lanes: 1
        )
    }

    /// The time that the engine takes for so many events, its allocations, and how many it says repeat another.
    static func run(
        _ engine: Engine,
        _ count: Int,
        traffic: (Int) -> UInt64
    ) -> (nanoseconds: Double, allocations: Int?, repetitions: Int) {
        var rows = [Slot](repeating: .missing, count: 3 * epoch)
        let text = [UInt8](repeating: UInt8(ascii: "a"), count: 64)
        var events: [Event] = []
        events.reserveCapacity(epoch)
        var (nanoseconds, repetitions, at) = (0, 0, 0)
        var allocated: Int? = 0
        text.withUnsafeBufferPointer { text in
            rows.withUnsafeMutableBufferPointer { rows in
                guard let bytes = text.baseAddress, let fields = rows.baseAddress else { return }
                while at < count {
                    events.removeAll(keepingCapacity: true)
                    for i in 0..<min(epoch, count - at) {
                        let row = fields + 3 * i
                        let time = 1_700_000_000_000 + Int64(at + i)
                        row[0] = Slot(hash: words.number(traffic(at + i)), offset: 0, length: 8, bank: .event)
                        row[1] = Slot(time)
                        row[2] = Slot(hash: 1, offset: 0, length: 1, bank: .event)
                        events.append(
                            Event(
                                fields: row,
                                text: bytes,
                                lists: fields,
                                time: time,
                                offset: Int64(at + i),
                                partition: 0,
                                topic: 0,
                                type: 0,
                                recordOffset: 0,
                                recordLength: 0
                            )
                        )
                    }
                    events.withUnsafeBufferPointer { events in
                        let input = EpochInput(events: events, watermark: 1_700_000_000_000 + Int64(at) - 300_000)
                        let before = allocations()
                        let start = threadNanoseconds()
                        engine.process(input, lanes: 1) { lanes, body in for lane in 0..<lanes { body(lane) } }
                        nanoseconds += threadNanoseconds() - start
                        allocated = allocations().flatMap { after in
                            before.flatMap { before in allocated.map { $0 + after - before } }
                        }
                    }
                    repetitions += engine.duplicateCounts[0]
                    at += epoch
                }
            }
        }
        return (Double(nanoseconds), allocated, repetitions)
    }

    /// What a dictionary takes for an event of the same traffic.
    static func dictionary(_ count: Int) -> Double {
        var first: [UInt64: Int64] = [:]
        var (nanoseconds, repetitions, at) = (0, 0, 0)
        var ids = [UInt64](repeating: 0, count: epoch)
        while at < count {
            let block = min(epoch, count - at)
            for i in 0..<block { ids[i] = words.number(identity(at + i)) }
            let start = threadNanoseconds()
            for i in 0..<block {
                if first[ids[i]] != nil { repetitions += 1 } else { first[ids[i]] = Int64(at + i) }
            }
            nanoseconds += threadNanoseconds() - start
            at += block
        }
        guard repetitions == identities else { fail("a dictionary finds \(repetitions) repetitions") }
        return Double(nanoseconds) / Double(count)
    }

    static func tenths(_ value: Double) -> Double { (value * 10).rounded() / 10 }

    static func threadNanoseconds() -> Int {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return time.tv_sec * 1_000_000_000 + time.tv_nsec
    }

    /// Allocations of this thread so far; nil without the interposer.
    static func allocations() -> Int? { counter.map { $0() } }
    static let counter = dlsym(nil, "weir_allocation_count").map {
        unsafeBitCast($0, to: (@convention(c) () -> Int).self)
    }

    static func fail(_ what: String) -> Never {
        print("error: \(what)")
        exit(1)
    }
}
