import Synchronization

@testable import Pipeline

/// A worker's time in a test: it passes when somebody waits for it or the test says so, and by a moment each time somebody looks.
final class VirtualClock: WorkerClock {
    private let elapsed = Mutex(Duration.zero)

    var now: Duration {
        elapsed.withLock {
            $0 += .microseconds(1)
            return $0
        }
    }
    var wallMilliseconds: Int64 { WorkerWorld.start + 86_400_000 + Int64(now.inSeconds * 1000) }
    func pause(for duration: Duration) { elapsed.withLock { $0 += duration } }
}
