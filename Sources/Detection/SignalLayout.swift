public import RuleLanguage

/// The signal row: what each detector and model of a topology says of an event, in groups under the names that the topology gives
/// them.
///
/// | who | signals | of an actor in no ring, or a model that does not score the event |
/// |---|---|---|
/// | ring detector | `NAME.score` (double), `NAME.size` (int), `NAME.id` (string) of the ring its actor is in | 0, 0, `""` |
/// | model | `NAME.score` (double) | 0 |
///
/// Detectors' columns come first, then models', then the texts of the rings' ids: a signal's index among ``declarations`` is its
/// column.
public struct SignalLayout: Sendable, Equatable {
    /// Where a ring detector's signals stand in the row.
    public struct Ring: BitwiseCopyable, Sendable {
        let score: Int
        /// Of the id's 16 bytes of text.
        let text: Int
        var size: Int { score + 1 }
        var id: Int { score + 2 }

        /// Writes what a detector says of an event whose actor is in a ring.
        func write(
            id ring: UInt64,
            size members: Int,
            score strength: Double,
            _ hash: TextHash,
            to row: UnsafeMutablePointer<Slot>
        ) {
            row[score] = Slot(strength)
            row[size] = Slot(Int64(members))
            let bytes = UnsafeMutableRawPointer(row + text)
            RingChange.writeText(ofID: ring, to: bytes)
            row[id] = Slot(
                hash: hash(bytes, count: RingChange.idLength),
                offset: text * MemoryLayout<Slot>.stride,
                length: RingChange.idLength,
                bank: .signals
            )
        }

        /// The ring's id in text.
        func idText(_ row: UnsafePointer<Slot>) -> UnsafePointer<UInt8> {
            UnsafeRawPointer(row + text).assumingMemoryBound(to: UInt8.self)
        }
    }

    public let detectors: [String]
    public let models: [String]

    /// - Parameters:
    ///   - detectors: names of the ring detectors, in the topology's order.
    ///   - models: names of the models likewise; no name stands twice among both.
    public init(detectors: [String], models: [String]) {
        self.detectors = detectors
        self.models = models
    }

    /// As rules see them.
    public var declarations: [RuleEnvironment.Signal] {
        detectors.flatMap { name -> [RuleEnvironment.Signal] in
            [
                .init(name: "\(name).score", type: .double), .init(name: "\(name).size", type: .int),
                .init(name: "\(name).id", type: .string),
            ]
        } + models.map { .init(name: "\($0).score", type: .double) }
    }

    /// Slots of a row, 1 at least.
    var width: Int { max(1, 4 * detectors.count + models.count) }

    func ring(_ detector: Int) -> Ring {
        Ring(score: 3 * detector, text: 3 * detectors.count + models.count + detector)
    }

    func score(_ model: Int) -> Int { 3 * detectors.count + model }

    /// The row of an event of which nobody has anything to say.
    func emptyRow(_ hash: TextHash) -> [Slot] {
        var row = [Slot](repeating: Slot(0.0), count: width)
        for detector in detectors.indices {
            row[ring(detector).size] = Slot(Int64(0))
            row[ring(detector).id] = Slot(hash: hash(""), offset: 0, length: 0, bank: .signals)
        }
        return row
    }
}
