import Models
import RuleLanguage

/// An epoch on its way through the stages: its events in order, and beside each its feature row and its signal row.
///
/// Memory of the engine, good until the epoch ends. Distinct lanes touch rows of distinct events.
public struct EpochTable: BitwiseCopyable {
    let events: UnsafeBufferPointer<Event>
    /// The one in force; `Int64.min` before there is one.
    let watermark: Int64
    /// Parts the work of a stage is split into.
    let lanes: Int
    fileprivate let featureRows: UnsafeMutablePointer<Slot>
    fileprivate let signalRows: UnsafeMutablePointer<Slot>
    let featureWidth: Int
    let signalWidth: Int

    /// The events of one lane: contiguous, so that lanes follow each other in the epoch's order.
    func range(_ lane: Int) -> Range<Int> { share(of: events.indices, lane) }

    /// One lane's share of some events, likewise.
    func share(of events: Range<Int>, _ lane: Int) -> Range<Int> {
        let share = (events.count + lanes - 1) / lanes
        return min(
            events.lowerBound + lane * share,
            events.upperBound
        )..<min(
            events.lowerBound + (lane + 1) * share,
            events.upperBound
        )
    }

    @inline(__always)
    func features(_ event: Int) -> UnsafeMutablePointer<Slot> { featureRows + event &* featureWidth }

    @inline(__always)
    func signals(_ event: Int) -> UnsafeMutablePointer<Slot> { signalRows + event &* signalWidth }

    /// What the programs of a rule set read of an event.
    @inline(__always)
    func input(_ event: Int) -> EvaluationInput {
        EvaluationInput(
            fields: events[event].fields,
            features: UnsafePointer(features(event)),
            signals: UnsafePointer(signals(event)),
            text: events[event].text,
            lists: events[event].lists
        )
    }
}

/// The rows of an epoch; they grow to the largest one and stay.
struct EpochRows: ~Copyable {
    /// Slots of a feature row; another one with another release.
    var featureWidth: Int { didSet { capacity = 0 } }
    private let signalWidth: Int
    private var features = OwnedBuffer<Slot>(undefined: 0)
    private var signals = OwnedBuffer<Slot>(undefined: 0)
    private var capacity = 0

    /// - Parameters:
    ///   - featureWidth: slots of a feature row, at least 1.
    ///   - signalWidth: slots of a signal row, at least 1.
    init(featureWidth: Int, signalWidth: Int) {
        self.featureWidth = featureWidth
        self.signalWidth = signalWidth
    }

    /// Lays the epoch out; what stands in the rows is the stages' to write.
    mutating func lay(_ events: UnsafeBufferPointer<Event>, watermark: Int64, lanes: Int) -> EpochTable {
        if events.count > capacity {
            capacity = max(4096, events.count)
            features = OwnedBuffer(undefined: capacity * featureWidth)
            signals = OwnedBuffer(undefined: capacity * signalWidth)
        }
        return EpochTable(
            events: events,
            watermark: watermark,
            lanes: lanes,
            featureRows: features.base,
            signalRows: signals.base,
            featureWidth: featureWidth,
            signalWidth: signalWidth
        )
    }
}
