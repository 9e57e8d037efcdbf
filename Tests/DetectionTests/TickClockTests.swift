import Models
import RuleLanguage
import Testing

@testable import Detection

@Suite struct TickClockTests {
    private static let minute: Int64 = 60_000

    /// The events before which a tick of a second ends, with its watermark, by number; lateness 5 minutes.
    private func ends(_ times: [Int64], tick: Int64 = 1000) -> [TickEnd] {
        var clock = TickClock(tick: tick, lateness: 5 * TickClockTests.minute)
        var ends: [TickEnd] = []
        cut(times, by: &clock, into: &ends)
        return ends
    }

    private func cut(_ times: [Int64], by clock: inout TickClock, into ends: inout [TickEnd]) {
        let nothing = UnsafeMutablePointer<Slot>.allocate(capacity: 1)
        defer { nothing.deallocate() }
        let text = UnsafeRawPointer(nothing).assumingMemoryBound(to: UInt8.self)
        let events = times.map {
            Event(
                fields: nothing, text: text, lists: nothing, time: $0, offset: 0, partition: 0, topic: 0, type: 0,
                recordOffset: 0, recordLength: 0)
        }
        events.withUnsafeBufferPointer { clock.cut($0, into: &ends) }
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
        ] as [(String, [Int64], [(Int, Int64)])])
    func `ticks end with the first event beyond the grid line`(
        _: String, times: [Int64], wanted: [(Int, Int64)]
    ) {
        #expect(
            ends(times)
                == wanted.map { TickEnd(before: $0.0, watermark: $0.1 - 5 * TickClockTests.minute) })
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

    @Test func `a trigger ends the open tick, and an empty one never ends`() {
        var clock = TickClock(tick: 1000, lateness: 0)
        #expect(clock.endTick() == nil)
        #expect(clock.see(10) == nil)
        #expect(clock.endTick() == 10)
        #expect(clock.endTick() == nil)
        // What comes next in the same cell is a tick of its own; so is what comes after it.
        #expect(clock.see(20) == nil)
        #expect(clock.see(1000) == 20)
        #expect(clock.endTick() == 1000)
        #expect(clock.see(2000) == nil)
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
        var parts: [TickEnd] = []
        var at = 0
        while at < times.count {
            let end = min(times.count, at + Int(random.next() % 100))
            var found: [TickEnd] = []
            cut(Array(times[at..<end]), by: &clock, into: &found)
            parts += found.map { TickEnd(before: $0.before + at, watermark: $0.watermark) }
            at = end
        }
        #expect(parts == whole)
        #expect(zip(whole, whole.dropFirst()).allSatisfy { $0.watermark <= $1.watermark })
    }
}
