public import Models
public import RuleLanguage

/// What a topology says of one ring detector, and how to make it: to add a kind of detector, conform a type of settings and a
/// class.
public protocol RingDetectorConfiguration: Sendable {
    /// Of its signals and its rings.
    var name: String { get }
    /// What its tables forget when they are full, as ``DetectorCounters/forgotten`` counts it.
    static var forgets: [String] { get }

    /// - Parameters:
    ///   - columns: where its signals stand in the signal row.
    ///   - hash: by which the events' texts were hashed; no result may depend on its key.
    func makeDetector(_ columns: SignalLayout.Ring, hash: TextHash) -> any RingDetector
}

/// What a ring detector has given up so far.
public struct DetectorCounters: Sendable, Equatable {
    /// Per word of ``RingDetectorConfiguration/forgets``, what was forgotten before its time because a table was full.
    public var forgotten: [String: Int64] = [:]
    /// Members left out because a list was full.
    public var droppedMembers: Int64 = 0

    public init() {}

    static func += (a: inout DetectorCounters, b: DetectorCounters) {
        a.forgotten.merge(b.forgotten, uniquingKeysWith: +)
        a.droppedMembers += b.droppedMembers
    }
}

/// One ring detector at work on epochs; entered once per batch, never per event.
///
/// Inside a tick it only reads what earlier ticks taught: ``read(_:_:)`` on any events, by any lanes at the same time. What it
/// learns of the tick's events becomes visible with ``endTick(watermark:)``. A tick's events may come in several parts. A small
/// part is learnt at once by one thread, ``take(_:_:)``; a large one in rounds: ``begin(_:_:)``, then for each round
/// ``run(round:lane:of:)`` on all lanes and ``exchange(after:)`` on one thread. Either way, and however cut, a tick teaches the
/// same.
public protocol RingDetector: AnyObject {
    /// Writes the signals of events whose actor is in a ring; those of the others are not touched.
    func read(_ epoch: EpochTable, _ events: Range<Int>)

    /// Reads and learns small parts of ticks, one after the other, on one thread; behind a part's events its tick's end.
    func take(_ epoch: EpochTable, _ parts: ArraySlice<TickPart>)

    /// How often the lanes run over a part, each time with an exchange behind.
    var rounds: Int { get }
    /// Takes up a part of the open tick; its events' texts must stay readable until the last exchange.
    func begin(_ epoch: EpochTable, _ events: Range<Int>)
    func run(round: Int, lane: Int, of lanes: Int)
    func exchange(after round: Int)

    /// Makes what the tick taught visible, and lets rings grow old.
    func endTick(watermark: Int64)

    /// Forgets the changes of the epoch before.
    func beginEpoch()
    /// The versions of rings that the epoch's ended ticks made, in the order of their making.
    var changes: [RingChange] { get }
    /// For each of them, how many ticks of the epoch had ended before the one that made it.
    var changeTicks: [Int] { get }

    var counters: DetectorCounters { get }
    var stateBytes: Int { get }

    /// Writes all that decides later rings, of the open tick too, as sections owned by its name; between two epochs, in a tick or
    /// not.
    func write(to writer: inout StateWriter)
    /// Takes the place of what is here; after an error the detector is not used any more.
    func read(from reader: StateReader) throws(StateError)
    /// Throws when a fact does not hold that later work relies on.
    func checkInvariants() throws(StateError)
    /// Folds all that decides later rings, of the open tick too.
    func digest(into digest: inout UInt64)
}
