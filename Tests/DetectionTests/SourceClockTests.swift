import Testing

@testable import Detection

@Suite struct SourceClockTests {
    private static let minute: Int64 = 60_000

    private func clock(seeing minutes: [Int64], lateness: Int64 = 5) -> SourceClock {
        var clock = SourceClock(latenessMilliseconds: lateness * SourceClockTests.minute)
        for time in minutes { clock.see(time * SourceClockTests.minute) }
        return clock
    }

    @Test(
        arguments: [
            // events' times in minutes, how far the clock is
            ([], nil), ([7], 7), ([0, 5], 5), ([0, 5, 3, 10], 10),
            // Ahead by more than the lateness: doubted, and forgotten at the next event that is not.
            ([0, 6], 0), ([0, 50, 1], 1), ([0, 50, 1, 50, 2, 50, 3], 3),
            // 16 in a row are believed, the least of them, so that one among them that is further off is not.
            ([0] + [Int64](repeating: 60, count: 15), 0), ([0] + [Int64](repeating: 60, count: 16), 60),
            ([0, 900] + [Int64](60..<75), 60), ([0] + [Int64](60..<75) + [1, 60], 1),
        ] as [([Int64], Int64?)]
    )
    func `a clock follows its events but not a few bad ones`(minutes: [Int64], wanted: Int64?) {
        #expect(clock(seeing: minutes).reached == wanted.map { $0 * SourceClockTests.minute })
    }

    @Test func `without lateness a minute ahead is no reason for a doubt`() {
        #expect(clock(seeing: [0, 1], lateness: 0).reached == 60_000)
        #expect(clock(seeing: [0, 2], lateness: 0).reached == 0)
    }

    @Test func `what another source has reached is believed`() {
        var clock = clock(seeing: [0, 50])
        clock.hear(44 * SourceClockTests.minute)
        #expect(clock.reached == 0)
        clock.hear(45 * SourceClockTests.minute)
        #expect(clock.reached == 50 * SourceClockTests.minute)
        // Contradicted by the next event before anybody else came so far.
        clock = self.clock(seeing: [0, 50, 1])
        clock.hear(45 * SourceClockTests.minute)
        #expect(clock.reached == SourceClockTests.minute)
    }

    @Test func `the ends of time do no harm`() {
        var clock = SourceClock(latenessMilliseconds: .max)
        for time in [Int64.min, .max, .min, 0] { clock.see(time) }
        clock.hear(.max)
        #expect(clock.reached == 0)
    }
}
