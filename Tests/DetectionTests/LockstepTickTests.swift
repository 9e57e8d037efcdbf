import Testing

@testable import Detection

/// Most ticks bring a detector little: what one costs follows from what it brings and from the time that passes, not from what is
/// kept.
@Suite struct LockstepTickTests {
    private static let second: Int64 = 1000

    /// Slots looked at for old state while a detector's ticks end at these watermarks.
    private static func looks(_ watermarks: some Sequence<Int64>) -> (total: Int, most: Int) {
        var detector = LockstepDetector(LockstepConfiguration(name: "ring", seed: 1), hash: LockstepFeed.hash(1))
        detector.endTick(watermark: 0)
        var (total, most) = (0, 0)
        for watermark in watermarks {
            let (before, sweptTo) = (detector.nextSwept, detector.sweptTo)
            detector.endTick(watermark: watermark)
            // A whole round stands where it stood.
            let moved = (detector.nextSwept - before + Slots.count) % Slots.count
            let looks = moved == 0 && detector.sweptTo != sweptTo ? Slots.count : moved
            total += looks
            most = max(most, looks)
        }
        return (total, most)
    }

    @Test func `a tick looks at fewer slots the shorter it is, and at each once at the most`() {
        let memory = LockstepConfiguration(name: "ring", seed: 1).memory
        let day = 86_400 * Self.second
        // The same day in ticks of a second and of a minute; each slot is looked at every 1,024th of the memory.
        let expected = Int(day / (memory / 65_536))
        for length in [Self.second, 60 * Self.second] {
            let found = Self.looks(stride(from: length, through: day, by: Int(length)))
            #expect((expected - 4...expected).contains(found.total), "\(found.total) looks, \(expected) expected")
            #expect(found.most <= Int(length / (memory / 65_536)) + 1)
        }
        #expect(Self.looks(stride(from: day, through: 10 * day, by: Int(day))).most == Slots.count)
        // Time that does not move brings no look.
        #expect(Self.looks(repeatElement(0, count: 1000)).total == 0)
    }
}
