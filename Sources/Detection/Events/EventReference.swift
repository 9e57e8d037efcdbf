import RuleLanguage

/// Names one event so that it can be found again and spoken of when its record is no longer in memory.
///
/// A value of 104 bytes without a pointer. Topic, partition and offset name the event; its own id is for people, and cut at 64
/// bytes.
struct EventReference: BitwiseCopyable, Sendable {
    /// Longest id kept, in bytes; longer ones are cut at a character's border.
    static let idBytesMax = TextLog.longest

    var offset: Int64
    /// Event time in milliseconds since 1970.
    var time: Int64
    /// The id where it is a number.
    private var number: Int64
    var partition: Int32
    /// Indices of the source topic and of the event type in the topology.
    var topic: UInt16
    var type: UInt16
    /// Bytes of the id's text, or one of the two below.
    private var length: UInt32
    /// Which of its record's events it is; negative where a record is one.
    private var part: Int32
    private var text = InlineArray<64, UInt8>(repeating: 0)

    private static let isNumber = UInt32.max
    private static let isMissing = UInt32.max - 1

    /// - Parameters:
    ///   - id: the event's slot of its id, where it has one.
    ///   - idIsText: whether that is a text, else an integer.
    ///   - hasPart: whether its record may hold others.
    init(_ event: Event, id: Slot?, idIsText: Bool, hasPart: Bool = false) {
        (offset, time, partition) = (event.offset, event.time, event.partition)
        (topic, type) = (event.topic, event.type)
        number = 0
        part = hasPart ? Int32(event.part) : -1
        length = EventReference.isMissing
        guard let id, !id.isMissing else { return }
        guard idIsText else {
            (number, length) = (id.int, EventReference.isNumber)
            return
        }
        let from = event.text + id.textOffset
        let count = TextLog.cut(from, count: id.textLength)
        withUnsafeMutableBytes(of: &text) { $0.copyMemory(from: UnsafeRawBufferPointer(start: from, count: count)) }
        length = UInt32(count)
    }

    /// Whether its bytes are those of a reference: what is read from somewhere need not be.
    var isSound: Bool {
        (length <= UInt32(EventReference.idBytesMax) || length >= EventReference.isMissing)
            && (-1...Int32(UInt16.max)).contains(part)
    }

    /// Whether the event has an id of its own.
    var hasIdentifier: Bool { length != EventReference.isMissing }

    /// Which of its record's events it is; nil where a record is one.
    var partOfRecord: Int? { part < 0 ? nil : Int(part) }

    /// Appends the id as the inside of a JSON string; nothing where the event has none.
    func appendIdentifier(to out: inout ByteBuffer) {
        switch length {
        case EventReference.isMissing: break
        case EventReference.isNumber: out.append(number)
        default:
            var text = text
            let count = Int(length)
            withUnsafeBytes(of: &text) { all in
                all.withMemoryRebound(to: UInt8.self) { bytes in
                    if let start = bytes.baseAddress { out.appendEscaped(start, count: count) }
                }
            }
        }
        guard hasIdentifier, let partOfRecord else { return }
        out.append(UInt8(ascii: "#"))
        out.append(Int64(partOfRecord))
    }
}

extension EventReference: Equatable {
    static func == (a: EventReference, b: EventReference) -> Bool {
        withUnsafeBytes(of: a) { a in withUnsafeBytes(of: b) { a.elementsEqual($0) } }
    }
}

/// Makes references: where the id of each event type stands.
struct EventReferences: Sendable, Equatable {
    private struct Identifier: Equatable {
        var field: Int
        var isText: Bool
    }
    /// By event type.
    private var identifiers: [Identifier?]
    private var hasParts: [Bool]
    private var topics: Int

    init(_ schemas: [EventSchema] = []) {
        identifiers = schemas.map { schema in
            schema.idField.map { Identifier(field: $0, isText: schema.fields[$0].type == .string) }
        }
        hasParts = schemas.map { $0.each != nil }
        topics = Set(schemas.flatMap(\.topics)).count
    }

    /// Whether there are such a topic and such a type: of what is read from somewhere nobody knows.
    func canBe(_ event: EventReference) -> Bool {
        Int(event.type) < identifiers.count && Int(event.topic) < topics && Lockstep.times.contains(event.time)
    }

    func reference(to event: Event) -> EventReference {
        let type = Int(event.type)
        guard type < identifiers.count else { return EventReference(event, id: nil, idIsText: false) }
        guard let id = identifiers[type] else {
            return EventReference(event, id: nil, idIsText: false, hasPart: hasParts[type])
        }
        return EventReference(event, id: event.fields[id.field], idIsText: id.isText, hasPart: hasParts[type])
    }
}
