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
    private var length: UInt64
    private var text = InlineArray<64, UInt8>(repeating: 0)

    private static let isNumber = UInt64.max
    private static let isMissing = UInt64.max - 1

    /// - Parameters:
    ///   - id: the event's slot of its id, where it has one.
    ///   - idIsText: whether that is a text, else an integer.
    init(_ event: Event, id: Slot?, idIsText: Bool) {
        (offset, time, partition) = (event.offset, event.time, event.partition)
        (topic, type) = (event.topic, event.type)
        number = 0
        length = EventReference.isMissing
        guard let id, !id.isMissing else { return }
        guard idIsText else {
            (number, length) = (id.int, EventReference.isNumber)
            return
        }
        let from = event.text + id.textOffset
        let count = TextLog.cut(from, count: id.textLength)
        withUnsafeMutableBytes(of: &text) { $0.copyMemory(from: UnsafeRawBufferPointer(start: from, count: count)) }
        length = UInt64(count)
    }

    /// Whether its bytes are those of a reference: what is read from somewhere need not be.
    var isSound: Bool { length <= UInt64(EventReference.idBytesMax) || length >= EventReference.isMissing }

    /// Whether the event has an id of its own.
    var hasIdentifier: Bool { length != EventReference.isMissing }

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
    private var topics: Int

    init(_ schemas: [EventSchema] = []) {
        identifiers = schemas.map { schema in
            schema.idField.map { Identifier(field: $0, isText: schema.fields[$0].type == .string) }
        }
        topics = Set(schemas.map(\.topic)).count
    }

    /// Whether there are such a topic and such a type: of what is read from somewhere nobody knows.
    func canBe(_ event: EventReference) -> Bool {
        Int(event.type) < identifiers.count && Int(event.topic) < topics && Lockstep.times.contains(event.time)
    }

    func reference(to event: Event) -> EventReference {
        let type = Int(event.type)
        guard type < identifiers.count, let id = identifiers[type] else {
            return EventReference(event, id: nil, idIsText: false)
        }
        return EventReference(event, id: event.fields[id.field], idIsText: id.isText)
    }
}
