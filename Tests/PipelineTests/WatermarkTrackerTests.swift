import Testing

@testable import Pipeline

@Suite struct WatermarkTrackerTests {
    private static let minute: Int64 = 60_000

    @Test func `events of a bad clock make none of the others late`() {
        var tracker = WatermarkTracker(sources: 2, latenessMilliseconds: 5 * WatermarkTrackerTests.minute)
        for n in Int64(0)..<10_000 {
            let time = n * 100
            // One in a hundred is 50 minutes fast.
            tracker.see(source: Int(n % 2), time: n % 100 < 98 ? time : time + 50 * WatermarkTrackerTests.minute)
            if n % 64 == 0, let watermark = tracker.advance() { #expect(watermark <= time) }
        }
        #expect(tracker.advance() == 9_996 * 100 - 5 * WatermarkTrackerTests.minute)
    }
}
