import Models

/// Cuts events, in the order in which they are judged, into ticks: what one tick teaches is seen by the events of later ones.
///
/// Event time is cut on a grid. A tick ends *before* the first event at or beyond the next grid line after the time believed so far
/// (see ``SourceClock``), or after ``eventsMax`` events, so that what is kept until its end is bounded. A clock that runs an hour
/// ahead ends a tick with each of its events, which does no harm, but opens none an hour ahead: the events after it would see
/// nothing new for an hour.
///
/// A function of the events in their order alone: neither batches nor dead letters nor threads change a tick. What else ends one, a
/// trigger, stands in the journal.
public struct TickClock: Sendable, Equatable {
    /// Most events of a tick.
    public static let eventsMax = 65_536

    /// Length of a cell of the grid, ms.
    public let tick: Int64
    /// How far the watermark lies behind the time believed, ms.
    public let lateness: Int64
    private var clock: SourceClock
    /// The grid line at which the open tick ends.
    private var line = Int64.min
    /// Events of the open tick.
    public private(set) var events = 0

    public init(tick: Int64, lateness: Int64) {
        precondition(tick > 0 && lateness >= 0, "tick > 0, lateness >= 0")
        self.tick = tick
        self.lateness = lateness
        clock = SourceClock(latenessMilliseconds: lateness)
    }

    /// Takes in the next event.
    ///
    /// Returns the watermark of the open tick when it ended before this event; nil when the event belongs to it.
    public mutating func see(_ time: Int64) -> Int64? {
        let ended = events > 0 && (time >= line || events == TickClock.eventsMax) ? watermark : nil
        if ended != nil { events = 0 }
        events += 1
        clock.see(time)
        if let reached = clock.reached, reached >= line { line = lineAfter(reached) }
        return ended
    }

    /// The time at which the open tick ends if no event ends it before; nil when it has no event, and so nothing to end for.
    public var openTickEnd: Int64? { events > 0 && line < .max ? line : nil }

    /// Ends the open tick, be it empty, because a trigger says that event time has come to `time`; returns its watermark.
    public mutating func endTick(at time: Int64) -> Int64 {
        events = 0
        clock.advance(to: time)
        if let reached = clock.reached, reached >= line { line = lineAfter(reached) }
        return watermark
    }

    /// The time believed minus the lateness; `Int64.min` before the first event.
    public var watermark: Int64 {
        guard let reached = clock.reached else { return .min }
        let (time, over) = reached.subtractingReportingOverflow(lateness)
        return over ? .min : time
    }

    /// Of which settings a state is.
    var layoutText: String { "tick clock 1: source clock, events; ticks of \(tick) ms, lateness \(lateness) ms" }

    /// Writes the source clock and u64 events of the open tick; its line follows from the time believed.
    func write(to sink: inout some StateSink) {
        clock.write(to: &sink)
        sink.put(events)
    }

    /// Takes the place of what is here, which must have the same settings.
    mutating func read(from source: inout some StateSource) throws(StateError) {
        try clock.read(from: &source)
        line = clock.reached.map { lineAfter($0) } ?? .min
        events = try source.takeCount("events of a tick", in: 0...TickClock.eventsMax, bytesEach: 0)
        try StateError.require(events == 0 || clock.reached != nil, "a tick has events and no time")
    }

    func digest(into digest: inout UInt64) {
        clock.digest(into: &digest)
        digest = SplitMix64.mix(digest ^ UInt64(events))
    }

    private func lineAfter(_ time: Int64) -> Int64 {
        let past = (time % tick + tick) % tick
        let (line, over) = time.addingReportingOverflow(tick - past)
        return over ? .max : line
    }
}

/// Those of an epoch's events that lie in one tick; there may be none where a tick ends.
public struct TickPart: Sendable, Equatable {
    /// By their place in the epoch.
    public var events: Range<Int>
    /// The watermark of the tick's end, which comes behind the events; nil: it stays open, only the epoch ends.
    public var end: Int64?
}

extension TickClock {
    /// Takes in an epoch and appends its parts of ticks: all its events in order, and each end of a tick.
    mutating func cut(_ input: EpochInput, into parts: inout [TickPart]) {
        for trigger in input.triggers {
            switch trigger {
            case .endTick(let time): parts.append(TickPart(events: 0..<0, end: endTick(at: time)))
            }
        }
        var start = 0
        for i in input.events.indices {
            guard let end = see(input.events[i].time) else { continue }
            parts.append(TickPart(events: start..<i, end: end))
            start = i
        }
        if start < input.events.count { parts.append(TickPart(events: start..<input.events.count, end: nil)) }
    }
}
