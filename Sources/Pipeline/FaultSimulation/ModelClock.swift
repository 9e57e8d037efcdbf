import Synchronization

/// A world's time: it passes when somebody waits or asks a broker something, and by a moment each time somebody looks.
final class ModelClock: WorkerClock {
    private struct Content {
        var elapsed = Duration.zero
        var wall: Int64 = 1_767_700_000_000
    }
    private let content = Mutex(Content())

    var now: Duration {
        content.withLock {
            $0.elapsed += .microseconds(1)
            return $0.elapsed
        }
    }
    /// Without letting any pass.
    var time: Duration { content.withLock { $0.elapsed } }
    var wallMilliseconds: Int64 { content.withLock { $0.wall + Int64($0.elapsed.inSeconds * 1000) } }
    func pause(for duration: Duration) { content.withLock { $0.elapsed += duration } }
    func setWall(by milliseconds: Int64) { content.withLock { $0.wall += milliseconds } }
}
