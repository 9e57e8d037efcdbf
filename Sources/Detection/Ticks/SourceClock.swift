public import Models

/// How far event time has come in one source, whatever a few bad clocks say.
///
/// An event far ahead of all before it is judged like any other, but its time is doubted until the source's next events or another
/// source agree. Else one device whose clock is an hour fast would make every other event of that hour late. After a gap in the
/// traffic (a shop that sleeps) the first events are doubted too, which costs no more than that the time stands still for them.
///
/// A function of the events in their order alone, so that the same input gives the same watermarks.
public struct SourceClock: Sendable, Equatable {
    /// So many events in a row must lie ahead before their time is believed.
    public static let confirmations = 16

    /// How far time may rise without a doubt, in milliseconds: less could make no other event late.
    public let step: Int64
    /// The highest event time believed; nil before the first event.
    public private(set) var reached: Int64?
    /// The events seen last that lie ahead: how many in a row, and the least time of them.
    private var doubted = 0
    private var leastDoubted = Int64.max

    public init(latenessMilliseconds: Int64) { step = max(latenessMilliseconds, 60_000) }

    /// Takes one event in.
    public mutating func see(_ time: Int64) {
        if let reached, isAhead(time, of: reached) {
            doubted += 1
            leastDoubted = min(leastDoubted, time)
            if doubted == SourceClock.confirmations { believe() }
        } else {
            reached = max(reached ?? time, time)
            forget()
        }
    }

    /// Hears how far the other sources have come: what is not ahead of them is believed.
    public mutating func hear(_ newest: Int64) {
        if doubted > 0, !isAhead(leastDoubted, of: newest) { believe() }
    }

    /// Hears a decision that event time has come so far, which no event said.
    public mutating func advance(to time: Int64) {
        reached = max(reached ?? time, time)
        forget()
    }

    /// Whether a time lies so far ahead of what is believed that it would be doubted; before the first event nothing is.
    public func isAhead(_ time: Int64) -> Bool { reached.map { isAhead(time, of: $0) } ?? false }

    /// Writes u64 1 when there is a time believed, i64 that time, u64 events doubted in a row, i64 the least time of them.
    public func write(to sink: inout some StateSink) {
        sink.put(reached == nil ? 0 : 1)
        sink.put(reached ?? 0)
        sink.put(doubted)
        sink.put(leastDoubted)
    }

    /// Takes the place of what is here, which must have the same lateness.
    public mutating func read(from source: inout some StateSource) throws(StateError) {
        let isKnown = try source.takeCount("times believed", in: 0...1, bytesEach: 0) == 1
        let time: Int64 = try source.take()
        reached = isKnown ? time : nil
        doubted = try source.takeCount("events doubted", in: 0...SourceClock.confirmations - 1, bytesEach: 0)
        leastDoubted = try source.take()
        try StateError.require(
            doubted == 0 ? leastDoubted == .max : isAhead(leastDoubted),
            "a time is doubted for no reason"
        )
    }

    func digest(into digest: inout UInt64) {
        for word in [reached ?? .min, Int64(doubted), leastDoubted] {
            digest = SplitMix64.mix(digest ^ UInt64(bitPattern: word))
        }
    }

    private func isAhead(_ time: Int64, of reached: Int64) -> Bool {
        let (limit, over) = reached.addingReportingOverflow(step)
        return !over && time > limit
    }

    private mutating func believe() {
        reached = leastDoubted
        forget()
    }

    private mutating func forget() {
        doubted = 0
        leastDoubted = .max
    }
}
