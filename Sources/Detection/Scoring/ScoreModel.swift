public import Models

/// What a topology says of one model, and how to make it: to add a kind of model, conform a type of settings and a class.
public protocol ModelConfiguration: Sendable {
    /// Of its signal.
    var name: String { get }

    /// - Parameters:
    ///   - column: of its score in the signal row.
    ///   - types: number of event types.
    func makeModel(column: Int, types: Int) -> any ScoreModel
}

/// One model at work on epochs; entered once per batch, never per event.
public protocol ScoreModel: AnyObject {
    /// Takes up a part of the open tick, by its place among the epoch's events; a tick has one part or several.
    func begin(_ part: Range<Int>)

    /// Writes its score of each event, 0...1, into the signal rows; 0 leaves the verdict without a word of it.
    ///
    /// The events are of the part taken up last. Read-only but for what it keeps of the events themselves: distinct events may be
    /// scored on distinct threads at the same time, each at most once.
    func score(_ epoch: EpochTable, _ events: Range<Int>)

    /// Reads the same numbers where another release has them, and keeps all that was learnt; false when they are others.
    func rebind(to configuration: any ModelConfiguration) -> Bool

    /// Ends the tick: learns its events in their order, wherever its parts were cut.
    func endTick(lanes: Int, fork: Fork)

    var stateBytes: Int { get }

    /// Writes all that decides later scores, of the open tick too, as sections owned by its name; between two epochs, in a tick or
    /// not.
    func write(to writer: inout StateWriter)
    /// Takes the place of what is here; after an error the model is not used any more.
    func read(from reader: StateReader) throws(StateError)
    /// Throws when a fact does not hold that later work relies on.
    func checkInvariants() throws(StateError)
    /// Folds all that decides later scores, of the open tick too.
    func digest(into digest: inout UInt64)
}

extension ScoreModel {
    /// Scores and learns small parts of ticks on one thread.
    func take(_ epoch: EpochTable, _ parts: ArraySlice<TickPart>) {
        for part in parts {
            if !part.events.isEmpty {
                begin(part.events)
                score(epoch, part.events)
            }
            if part.end != nil { endTick(lanes: 1) { _, body in body(0) } }
        }
    }
}
