import Detection

/// Decides the watermark of the next epoch: how far event time has certainly come.
///
/// Per source how far its clock has come; over the sources the least of those that are not idle; minus the allowed lateness; never
/// backwards. So neither one source that runs ahead nor one event with a bad clock (see ``SourceClock``) drags anybody forward, and
/// a silent source holds nobody back. Of a source whose events wait for those of others, what it has given counts, or the wait
/// would hold the watermark back. Idleness is decided by the caller from wall time and end-of-partition, which is why the watermark
/// itself is journaled: a replay takes it from the journal and never asks here.
///
/// A source that the watermark has passed while nobody waited for it is behind until it has come as far as the others. What it
/// gives meanwhile is late by its own clock alone, so that who sends an old event where little happens gains nothing.
struct WatermarkTracker {
    let latenessMilliseconds: Int64
    private(set) var clocks: [SourceClock]
    /// Sources that hold nobody back now.
    var isIdle: [Bool]
    private(set) var watermark: Int64?
    /// Per source that is behind, the event time from which on what it gives in the next epoch is not late; nil: it is not behind.
    private(set) var behindFrom: [Int64?]

    init(sources: Int, latenessMilliseconds: Int64) {
        self.latenessMilliseconds = latenessMilliseconds
        clocks = [SourceClock](
            repeating: SourceClock(latenessMilliseconds: latenessMilliseconds),
            count: sources
        )
        isIdle = [Bool](repeating: false, count: sources)
        behindFrom = [Int64?](repeating: nil, count: sources)
    }

    /// Takes in a source that was added.
    ///
    /// The watermark of now came about without it, so it is behind until it has come as far as the others: nothing that it gives
    /// first is late.
    ///
    /// - Parameter isIdle: it has nothing to give yet.
    mutating func addSource(isIdle idle: Bool) {
        clocks.append(SourceClock(latenessMilliseconds: latenessMilliseconds))
        isIdle.append(idle)
        behindFrom.append(isPassed(.min) ? .min : nil)
    }

    /// An event of a source that was neither a dead letter nor late.
    mutating func see(source: Int, time: Int64) { clocks[source].see(time) }

    /// The watermark for the next epoch.
    ///
    /// - Parameter held: the least event time that a source has given and that waits for a later epoch; nil: none.
    mutating func advance(held: (Int) -> Int64? = { _ in nil }) -> Int64? {
        let greatest = agree()
        defer { findBehind(held) }
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

    private mutating func findBehind(_ held: (Int) -> Int64?) {
        for source in clocks.indices {
            // Whoever is waited for keeps the watermark that far back.
            let isPassed = isPassed(max(clocks[source].reached ?? .min, held(source) ?? .min))
            let isBehind = isPassed && (isIdle[source] || behindFrom[source] != nil)
            behindFrom[source] = isBehind ? oldest(of: source) : nil
        }
    }

    /// The oldest that is not late by the source's own clock.
    private func oldest(of source: Int) -> Int64 { clocks[source].reached.map { $0 - latenessMilliseconds } ?? .min }

    /// Whether a source that has come so far does not hold the watermark back any more.
    private func isPassed(_ time: Int64) -> Bool {
        guard let watermark else { return false }
        return time == .min || time - latenessMilliseconds < watermark
    }

    /// Tells all sources how far the furthest has come, and returns it.
    @discardableResult
    private mutating func agree() -> Int64? {
        var greatest: Int64?
        for clock in clocks { if let time = clock.reached { greatest = max(greatest ?? time, time) } }
        if let greatest { for source in clocks.indices { clocks[source].hear(greatest) } }
        return greatest
    }

    /// Goes on where a snapshot ended.
    ///
    /// - Parameter clocks: per source, nil where it was not there yet.
    mutating func resume(clocks known: [SourceClock?], watermark: Int64?) {
        for (source, clock) in known.enumerated() { if let clock { clocks[source] = clock } }
        restore(watermark: watermark)
    }

    /// Takes over the watermark of a journaled epoch whose events have been seen again, at recovery.
    mutating func restore(watermark: Int64?) {
        self.watermark = watermark
        agree()
        // Who was idle is not journaled, but only of such a source it can be told by its clock.
        for source in clocks.indices {
            behindFrom[source] = isPassed(clocks[source].reached ?? .min) ? oldest(of: source) : nil
        }
    }
}
