/// Decides the watermark of the next epoch: how far event time has certainly come.
///
/// Per source the highest event time seen; over the sources the least of those that are not idle; minus the allowed lateness; never
/// backwards. So one source that runs ahead (or has a bad clock inside the accepted range) drags nobody forward, and a silent one holds
/// nobody back. Of a source whose events wait for those of others, what it has given counts, or the wait would hold
/// the watermark back. Idleness is decided by the caller from wall time and end-of-partition, which is why the watermark itself is journaled:
/// a replay takes it from the journal and never asks here.
struct WatermarkTracker {
    let latenessMilliseconds: Int64
    /// Highest event time per source; nil before the first event.
    private(set) var highest: [Int64?]
    /// Sources that hold nobody back now.
    var isIdle: [Bool]
    private(set) var watermark: Int64?

    init(sources: Int, latenessMilliseconds: Int64) {
        self.latenessMilliseconds = latenessMilliseconds
        highest = [Int64?](repeating: nil, count: sources)
        isIdle = [Bool](repeating: false, count: sources)
    }

    /// An event of a source that was neither a dead letter nor late.
    mutating func see(source: Int, time: Int64) {
        if time > highest[source] ?? .min { highest[source] = time }
    }

    /// The watermark for the next epoch.
    ///
    /// - Parameter held: the least event time that a source has given and that waits for a later epoch; nil: none.
    mutating func advance(held: (Int) -> Int64? = { _ in nil }) -> Int64? {
        var least: Int64?
        var greatest: Int64?
        for source in highest.indices {
            if let time = highest[source] { greatest = max(greatest ?? time, time) }
            if isIdle[source] { continue }
            let time = max(highest[source] ?? .min, held(source) ?? .min)
            if time == .min { return watermark }
            least = min(least ?? time, time)
        }
        // When all are idle, the furthest of them counts: nobody is waited for.
        if let reached = least ?? greatest { watermark = max(watermark ?? .min, reached - latenessMilliseconds) }
        return watermark
    }

    /// Takes over a journaled watermark, at recovery.
    mutating func restore(watermark: Int64?) { self.watermark = watermark }
}
