/// A decision that changes results though no event does; it stands in the journal, so that a replay takes it where the live run
/// did.
public enum Trigger: Sendable, Equatable {
    /// Ends the open tick in silence: event time has come to `at`, milliseconds since 1970, as no event said.
    case endTick(at: Int64)
}

/// All that one epoch adds to the state: a value, so that whoever replays an epoch needs nothing else.
///
/// Feedback will enter here too, as one more field: labels and list entries of their topics, in the order of the events, to be seen
/// when the tick ends that holds them. There is none yet, as no topic of them is read.
public struct EpochInput {
    /// What was decided before the events, in the order of the decisions.
    public var triggers: [Trigger]
    /// In the order (time, topic name, partition, offset); lent for the call.
    ///
    /// There may be none: the epoch then only ends ticks, by its triggers, and lets old rings close.
    public var events: UnsafeBufferPointer<Event>
    /// Windows give back what no event at or after it can see: the watermark in force, or the least time of an event that is judged
    /// behind it.
    ///
    /// Milliseconds since 1970; `Int64.min` before there is one.
    public var watermark: Int64

    public init(triggers: [Trigger] = [], events: UnsafeBufferPointer<Event>, watermark: Int64) {
        self.triggers = triggers
        self.events = events
        self.watermark = watermark
    }
}
