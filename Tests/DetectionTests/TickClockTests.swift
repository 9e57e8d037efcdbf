import Models
import RuleLanguage
import Testing

@testable import Detection

@Suite struct TickClockTests {
    private static let minute: Int64 = 60_000

    /// An end of a tick: the number of the first event behind it, and its watermark.
    private struct End: Equatable {
        var before: Int
        var watermark: Int64
    }

    /// Ends of ticks with a lateness of 5 minutes.
    private func ends(_ times: [Int64], tick: Int64 = 1000) -> [End] {
        var clock = TickClock(tick: tick, lateness: 5 * TickClockTests.minute)
        return ends(times, by: &clock)
    }

    private func ends(_ times: [Int64], by clock: inout TickClock) -> [End] {
        var ends: [End] = []
        var seen = 0
        for part in parts(times, by: &clock) {
            #expect(part.events.lowerBound == seen && !part.events.isEmpty || part.end != nil)
            seen += part.events.count
            if let end = part.end { ends.append(End(before: seen, watermark: end)) }
        }
        #expect(seen == times.count)
        return ends
    }

    private func parts(_ times: [Int64], triggers: [Trigger] = [], by clock: inout TickClock) -> [TickPart] {
        let nothing = UnsafeMutablePointer<Slot>.allocate(capacity: 1)
        defer { nothing.deallocate() }
        let text = UnsafeRawPointer(nothing).assumingMemoryBound(to: UInt8.self)
        let events = times.map {
            Event(
                fields: nothing,
                text: text,
                lists: nothing,
                time: $0,
                offset: 0,
                partition: 0,
                topic: 0,
                type: 0,
                recordOffset: 0,
                recordLength: 0
            )
        }
        var parts: [TickPart] = []
        events.withUnsafeBufferPointer {
            clock.cut(EpochInput(triggers: triggers, events: $0, watermark: .min), into: &parts)
        }
        return parts
    }

    @Test(
        arguments: [
            // events' times in milliseconds; the events before which a tick ends, with the newest time believed then
            ("nothing", [], []), ("one event", [5000], []),
            ("in order", [0, 999, 1000, 1001, 2500], [(2, 999), (4, 1001)]),
            ("grid lines, not distances", [999, 1000], [(1, 999)]),
            ("before 1970", [-1500, -1001, -1000, -1, 0], [(2, -1001), (4, -1)]),
            ("a gap within the lateness", [0, 200_000, 200_001], [(1, 0)]),
            ("out of order opens no older tick", [5000, 3000, 4999, 5001, 2000, 6000, 5500], [(5, 5001)]),
            // Ahead by more than the lateness: ends a tick, and the events after it go on in the cell where time stands.
            ("a clock an hour ahead", [0, 3_600_000, 1, 2, 1000, 3_601_000, 1001], [(1, 0), (4, 2), (5, 1000)]),
            ("a shop that slept", [0, 3_600_000, 3_600_001, 3_600_002], [(1, 0), (2, 0), (3, 0)]),
        ] as [(String, [Int64], [(Int, Int64)])]
    )
    func `ticks end with the first event beyond the grid line`(
        _: String,
        times: [Int64],
        wanted: [(Int, Int64)]
    ) {
        #expect(
            ends(times)
                == wanted.map { End(before: $0.0, watermark: $0.1 - 5 * TickClockTests.minute) }
        )
    }

    @Test func `sixteen that agree on an hour ahead are believed, and then the others are behind`() {
        let ahead = (0..<20).map { 3_600_000 + Int64($0) }
        let found = ends([0] + ahead + [1, 2, 3, 3_601_000])
        // One tick for each of the 16, then time has come to them.
        #expect(found.map(\.before) == Array(1...16) + [24])
        #expect(found.last?.watermark == 3_600_019 - 5 * TickClockTests.minute)
    }

    @Test func `a tick ends after 65,536 events of one time`() {
        let found = ends([Int64](repeating: 7, count: 140_000))
        #expect(found.map(\.before) == [65_536, 131_072])
    }

    @Test func `a trigger ends the open tick before the epoch's events, and time has come to where it says`() {
        var clock = TickClock(tick: 1000, lateness: 0)
        #expect(parts([10], by: &clock) == [TickPart(events: 0..<1, end: nil)])
        // No event of its own; the next ones in the same cell are a tick of their own.
        #expect(parts([], triggers: [.endTick(at: 700)], by: &clock) == [TickPart(events: 0..<0, end: 700)])
        #expect(parts([20, 710], by: &clock) == [TickPart(events: 0..<2, end: nil)])
        #expect(
            parts([2500], triggers: [.endTick(at: 1500), .endTick(at: 900)], by: &clock) == [
                TickPart(events: 0..<0, end: 1500), TickPart(events: 0..<0, end: 1500),
                TickPart(events: 0..<1, end: nil),
            ]
        )
        #expect(
            parts([2600, 3000], by: &clock) == [TickPart(events: 0..<1, end: 2600), TickPart(events: 1..<2, end: nil)]
        )
    }

    @Test func `the ends of time do no harm`() {
        for tick in [1, 1000, Int64.max] {
            var clock = TickClock(tick: tick, lateness: .max)
            for time in [Int64.min, .max, 0, -1, .max, .min] { _ = clock.see(time) }
            #expect(clock.events >= 1)
        }
    }

    @Test(arguments: 1...20 as ClosedRange<UInt64>)
    func `however the events are cut into epochs, the ticks are the same`(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        var times: [Int64] = []
        var now: Int64 = 0
        for _ in 0..<2000 {
            now += Int64(random.next() % (random.next() % 50 == 0 ? 900_000 : 700))
            switch random.next() % 40 {
            case 0: times.append(now + 3_600_000)
            case 1...4: times.append(now - Int64(random.next() % 300_000))
            default: times.append(now)
            }
        }
        let whole = ends(times)
        #expect(whole.count > 300)
        var clock = TickClock(tick: 1000, lateness: 5 * TickClockTests.minute)
        var parts: [End] = []
        var at = 0
        while at < times.count {
            let end = min(times.count, at + Int(random.next() % 100))
            parts += ends(Array(times[at..<end]), by: &clock).map {
                End(before: $0.before + at, watermark: $0.watermark)
            }
            at = end
        }
        #expect(parts == whole)
        #expect(zip(whole, whole.dropFirst()).allSatisfy { $0.watermark <= $1.watermark })
    }
}
