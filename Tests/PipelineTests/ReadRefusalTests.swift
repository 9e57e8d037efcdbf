import Testing

@testable import Pipeline

struct ReadRefusalTests {
    private let error = LogError(.transient, "no right")

    @Test func `a refusal ends when the inputs were assigned anew and nothing was refused for a while`() {
        var refusal = ReadRefusal()
        #expect(refusal.error == nil)
        refusal.refused(error, at: .seconds(100), chance: 0.5)
        // Said of each input at once; the first one counts.
        refusal.refused(error, at: .seconds(104), chance: 0.5)
        let due = [.milliseconds(104_999), .seconds(105), .seconds(105)].map { refusal.isDue(at: $0) }
        #expect(due == [false, true, false])
        refusal.settle(at: .milliseconds(109_999))
        #expect(refusal.error != nil)
        refusal.settle(at: .seconds(110))
        #expect(refusal.error == nil)
        let isDue = refusal.isDue(at: .seconds(1000))
        #expect(!isDue)
    }

    @Test func `who is refused again waits longer each time, up to 40 seconds, and not as long as others`() {
        for chance in [0, 0.5, 1] {
            var refusal = ReadRefusal()
            var now = Duration.zero
            for seconds in [5, 10, 20, 40, 40] {
                refusal.refused(error, at: now, chance: chance)
                // What is due is not over.
                refusal.settle(at: now + .seconds(1000))
                #expect(refusal.error != nil)
                now += .seconds(Double(seconds) * (0.75 + chance / 2))
                let due = [now - .milliseconds(1), now].map { refusal.isDue(at: $0) }
                #expect(due == [false, true], "\(seconds) s by \(chance)")
                now += .seconds(1)
            }
        }
    }
}
