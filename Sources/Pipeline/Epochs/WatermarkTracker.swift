import Detection

/// Decides the watermark of the next epoch: how far event time has certainly come.
///
/// Per source how far its clock has come; over the sources the least of those that are not idle; minus the allowed lateness; never
/// backwards. So neither one source that runs ahead nor one event with a bad clock (see ``SourceClock``) drags anybody forward, and
/// a silent source holds nobody back. Of a source whose events wait for those of others, what it has given counts, or the wait
/// would hold the watermark back. Idleness is decided by the caller from wall time and end-of-partition, which is why the watermark
/// itself is journaled: a replay takes it from the journal and never asks here.
struct WatermarkTracker {
    let latenessMilliseconds: Int64
    private(set) var clocks: [SourceClock]
    /// Sources that hold nobody back now.
    var isIdle: [Bool]
    private(set) var watermark: Int64?

    init(sources: Int, latenessMilliseconds: Int64) {
        self.latenessMilliseconds = latenessMilliseconds
        clocks = [SourceClock](
            repeating: SourceClock(latenessMilliseconds: latenessMilliseconds),
            count: sources
        )
        isIdle = [Bool](repeating: false, count: sources)
    }

    /// An event of a source that was neither a dead letter nor late.
    mutating func see(source: Int, time: Int64) { clocks[source].see(time) }

    /// The watermark for the next epoch.
    ///
    /// - Parameter held: the least event time that a source has given and that waits for a later epoch; nil: none.
    mutating func advance(held: (Int) -> Int64? = { _ in nil }) -> Int64? {
        let greatest = agree()
        var least: Int64?
        for source in clocks.indices {
            if isIdle[source] { continue }
            let time = max(clocks[source].reached ?? .min, held(source) ?? .min)
            if time == .min { return watermark }
            least = min(least ?? time, time)
        }
        // When all are idle, the furthest of them counts: nobody is waited for.
        if let reached = least ?? greatest { watermark = max(watermark ?? .min, reached - latenessMilliseconds) }
        return watermark
    }

    /// Tells all sources how far the furthest has come, and returns it.
    @discardableResult
    private mutating func agree() -> Int64? {
        var greatest: Int64?
        for clock in clocks { if let time = clock.reached { greatest = max(greatest ?? time, time) } }
        if let greatest { for source in clocks.indices { clocks[source].hear(greatest) } }
        return greatest
    }

    /// Takes over the watermark of a journaled epoch whose events have been seen again, at recovery.
    mutating func restore(watermark: Int64?) {
        self.watermark = watermark
        agree()
    }
}
