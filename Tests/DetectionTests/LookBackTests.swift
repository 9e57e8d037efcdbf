import Models
import RuleLanguage
import Testing

@testable import Detection

/// The events that are remembered of an entity, beside a list that anybody can read.
@Suite struct LookBackTests {
    /// An event as the oracle knows it: its id is a text, a number or missing.
    struct Act: Equatable {
        enum Identifier: Equatable {
            case none
            case number(Int64)
            case text(String)
        }
        var entity: UInt64
        var offset: Int64
        var id: Identifier

        /// As ``LookBackTests/kept(_:of:most:)`` tells it.
        var told: String {
            switch id {
            case .none: "\(offset) -"
            case .number(let number): "\(offset) \(number)"
            case .text(let text): "\(offset) \(text)"
            }
        }

        var reference: EventReference {
            var text: [UInt8] = []
            var slot: Slot?
            switch id {
            case .none: slot = offset % 2 == 0 ? nil : .missing
            case .number(let number): slot = Slot(number)
            case .text(let id):
                text = Array(id.utf8)
                slot = Slot(hash: 1, offset: 0, length: text.count, bank: .event)
            }
            text.append(0)
            return text.withUnsafeBufferPointer { text in
                withUnsafeTemporaryAllocation(of: Slot.self, capacity: 1) { none in
                    none.initialize(repeating: .missing)
                    let base = UnsafePointer(none.baseAddress.unsafelyUnwrapped)
                    let event = Event(
                        fields: base,
                        text: text.baseAddress.unsafelyUnwrapped,
                        lists: base,
                        time: offset * 10,
                        offset: offset,
                        partition: 3,
                        topic: 1,
                        type: 2,
                        recordOffset: 0,
                        recordLength: 0
                    )
                    if case .text = id { return EventReference(event, id: slot, idIsText: true) }
                    return EventReference(event, id: slot, idIsText: false)
                }
            }
        }
    }

    /// The last events of each entity; when there are too many, the entity that was seen longest ago goes.
    private struct Naive {
        let perEntity: Int
        let limit: Int
        /// Oldest entity first.
        var entities: [(key: UInt64, acts: [Act])] = []
        var forgotten = 0
        var hasForgotten: Bool { forgotten > 0 }

        mutating func append(_ act: Act) {
            var acts: [Act] = []
            if let known = entities.firstIndex(where: { $0.key == act.entity }) {
                acts = entities.remove(at: known).acts
            }
            acts.append(act)
            if acts.count > perEntity { acts.removeFirst() }
            entities.append((act.entity, acts))
            while entities.reduce(0, { $0 + $1.acts.count }) > limit {
                forgotten += entities.removeFirst().acts.count
            }
        }
    }

    private static func kept(_ lookBack: borrowing LookBack, of entity: UInt64, most: Int = .max) -> [String] {
        var all: [String] = []
        lookBack.forEach(of: entity, most: most) { event in
            #expect(event.topic == 1 && event.type == 2 && event.partition == 3)
            #expect(event.time == event.offset * 10)
            var id = ByteBuffer(capacity: 100)
            event.appendIdentifier(to: &id)
            all.append("\(event.offset) \(event.hasIdentifier ? String(decoding: id.bytes, as: UTF8.self) : "-")")
        }
        return all
    }

    /// Events of entities of which a few come often and most seldom.
    private static func acts(_ count: Int, entities: Int, seed: UInt64) -> [Act] {
        var random = SplitMix64(seed: seed)
        return (0..<count).map { i in
            let range = Bool.random(using: &random) ? 4 : entities
            let entity = UInt64(Int.random(in: 1...range, using: &random)) &* 0x9E37_79B9_7F4A_7C15
            let ids: [Act.Identifier] = [.none, .number(Int64(-i)), .text("order-\(i)"), .text("")]
            return Act(entity: entity, offset: Int64(i), id: ids[Int.random(in: 0..<4, using: &random)])
        }
    }

    @Test(arguments: [(8, 16, 40), (8, 17, 5), (1, 20, 30), (3, 100, 400), (8, 5000, 300), (2, 3, 9)])
    func `what is remembered is what a naive list remembers`(_ perEntity: Int, _ limit: Int, _ entities: Int) throws {
        var lookBack = LookBack(perEntity: perEntity, limit: limit)
        var naive = Naive(perEntity: perEntity, limit: max(limit, 2 * perEntity))
        var forgotten = 0
        for (i, act) in Self.acts(6000, entities: entities, seed: UInt64(limit + entities)).enumerated() {
            forgotten += lookBack.append(act.reference, of: act.entity)
            naive.append(act)
            #expect(forgotten == naive.forgotten)
            let newest = (naive.entities.last?.acts ?? []).map(\.told)
            #expect(Self.kept(lookBack, of: act.entity) == newest)
            #expect(Self.kept(lookBack, of: act.entity, most: 2) == newest.suffix(2))
            if i % 97 == 0 {
                try lookBack.checkInvariants()
                for (key, acts) in naive.entities { #expect(Self.kept(lookBack, of: key) == acts.map(\.told)) }
                #expect(lookBack.count == naive.entities.reduce(0) { $0 + $1.acts.count })
                #expect(lookBack.entries.count <= max(limit, 2 * perEntity))
            }
        }
        #expect(naive.hasForgotten || limit == 5000)
    }

    @Test func `an entity that floods overwrites only its own events, and nothing is known of a stranger`() {
        var lookBack = LookBack(perEntity: 8, limit: 100)
        lookBack.append(Act(entity: 1, offset: 1, id: .text("a")).reference, of: 1)
        for i in 2..<10_000 { lookBack.append(Act(entity: 2, offset: Int64(i), id: .none).reference, of: 2) }
        #expect(Self.kept(lookBack, of: 1) == ["1 a"])
        #expect(Self.kept(lookBack, of: 2).count == 8)
        #expect(Self.kept(lookBack, of: 3).isEmpty)
    }

    @Test func `a long id is cut between characters`() {
        var lookBack = LookBack(perEntity: 1, limit: 2)
        lookBack.append(
            Act(entity: 7, offset: 1, id: .text("s" + String(repeating: "ä", count: 100))).reference,
            of: 7
        )
        #expect(Self.kept(lookBack, of: 7) == ["1 s" + String(repeating: "ä", count: 31)])
    }

    @Test func `where nothing is to be kept nothing is`() {
        var lookBack = LookBack(perEntity: 0, limit: 100)
        lookBack.append(Act(entity: 1, offset: 1, id: .none).reference, of: 1)
        #expect(Self.kept(lookBack, of: 1).isEmpty && lookBack.entries.count == 0)
    }

    @Test func `the digest is that of the events in their order, whatever places they lie in`() {
        func digest(_ acts: [Act], limit: Int = 64) -> UInt64 {
            var lookBack = LookBack(perEntity: 8, limit: limit)
            for act in acts { lookBack.append(act.reference, of: act.entity) }
            var digest: UInt64 = 0
            lookBack.digest(into: &digest)
            return digest
        }
        let acts = Self.acts(300, entities: 60, seed: 5)
        let whole = digest(acts)
        // What gave way leaves no trace: the same is kept of the newest entities alone.
        var naive = Naive(perEntity: 8, limit: 64)
        for act in acts { naive.append(act) }
        let kept = Set(naive.entities.flatMap { $0.acts.map(\.offset) })
        #expect(naive.hasForgotten && digest(acts.filter { kept.contains($0.offset) }) == whole)
        var other = acts
        other[299].id = .text("another")
        #expect(digest(other) != whole && digest(acts.dropLast()) != whole)
    }

    @Test func `what is written and read again goes on to the same, and wrong bytes are an error or a sound state`()
        throws
    {
        let acts = Self.acts(900, entities: 60, seed: 8)
        var lookBack = LookBack(perEntity: 4, limit: 100)
        for act in acts[..<500] { lookBack.append(act.reference, of: act.entity) }
        let bytes = OneSection.bytes { lookBack.write(to: &$0) }
        var again = LookBack(perEntity: 4, limit: 100)
        try OneSection.read(bytes) { source throws(StateError) in try again.read(from: &source) }
        for act in acts[500...] {
            lookBack.append(act.reference, of: act.entity)
            again.append(act.reference, of: act.entity)
        }
        var digests: (UInt64, UInt64) = (0, 0)
        lookBack.digest(into: &digests.0)
        again.digest(into: &digests.1)
        #expect(digests.0 == digests.1)
        var refused = 0
        for bit in stride(from: 0, to: 8 * bytes.count, by: 97) {
            var other = LookBack(perEntity: 4, limit: 100)
            do throws(StateError) {
                try OneSection.read(FaultyState.resealed(bytes, flipping: bit)) { source throws(StateError) in
                    try other.read(from: &source)
                }
                for act in acts[500...] { other.append(act.reference, of: act.entity) }
                try other.checkInvariants()
            } catch { refused += 1 }
        }
        #expect(refused > 10)
    }
}
