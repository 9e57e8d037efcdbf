import Testing

@testable import Pipeline

struct RetryPauseTests {
    @Test func `the more commits failed the longer the next waits, up to some seconds, and not as long as others`() {
        let clock = VirtualClock()
        var waits: Set<Duration> = []
        for salt in Int64(0)..<20 {
            var pause = RetryPause()
            for failed in 0..<10 {
                let began = clock.now
                pause.wait(by: clock, salt: salt) { false }
                let least = Duration.milliseconds(50 << min(failed, 6))
                let waited = clock.now - began
                #expect(waited >= least * 3 / 4 && waited <= least * 5 / 4 + .milliseconds(1), "\(failed): \(waited)")
                if failed == 9 { waits.insert(waited) }
            }
            pause.succeeded()
            let began = clock.now
            pause.wait(by: clock, salt: salt) { false }
            #expect(clock.now - began < .milliseconds(70))
        }
        #expect(waits.count > 10, "\(waits)")
    }

    @Test func `a stop ends the wait`() {
        let clock = VirtualClock()
        var pause = RetryPause()
        for _ in 0..<10 { pause.wait(by: clock, salt: 1) { false } }
        let began = clock.now
        pause.wait(by: clock, salt: 1) { clock.now - began > .milliseconds(500) }
        #expect(clock.now - began <= .milliseconds(800))
    }
}
