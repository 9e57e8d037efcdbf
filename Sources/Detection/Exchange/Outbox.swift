/// What crosses the border between two stages: a message about a key, of fixed size.
protocol ExchangeRecord: BitwiseCopyable {
    /// Sort key: records are handled in this order, whoever sent them; unique among those of one run.
    var order: UInt64 { get set }
    /// The receiving slot.
    var destination: Int { get }
    /// The text it speaks of, for those that speak of one; see ``Outbox/keep(_:)``.
    var text: ExchangeText { get set }
}

extension ExchangeRecord {
    var text: ExchangeText {
        get { ExchangeText(offset: 0, length: 0) }
        set {}
    }
}

/// A record's text: a place in the bytes that travel with the record, those of its outbox and then those of its exchange.
struct ExchangeText: BitwiseCopyable {
    var offset: UInt32
    var length: UInt16

    func bytes(in all: UnsafeBufferPointer<UInt8>) -> UnsafeBufferPointer<UInt8> {
        UnsafeBufferPointer(rebasing: all[Int(offset)..<(Int(offset) + Int(length))])
    }
}

/// What one sender passes on in one run: records, and the texts that they speak of; keeps its memory between runs.
///
/// One for a run over some slots, not one for a slot: 64 of each kind that grow one by one would ask the heap 64 times as often.
struct Outbox<Record: ExchangeRecord> {
    var records: [Record] = []
    private(set) var texts: [UInt8] = []

    /// Copies a text of at most 65,535 bytes, for a record to speak of.
    mutating func keep(_ text: UnsafeBufferPointer<UInt8>) -> ExchangeText {
        let kept = ExchangeText(offset: UInt32(texts.count), length: UInt16(text.count))
        texts.append(contentsOf: text)
        return kept
    }

    /// Calls the body with each record and its text, in the order they were added.
    func forEach(_ body: (Record, UnsafeBufferPointer<UInt8>) -> Void) {
        texts.withUnsafeBufferPointer { texts in
            for record in records { body(record, record.text.bytes(in: texts)) }
        }
    }

    mutating func clear() {
        // Emptying an empty array costs a call, and most runs pass nothing on.
        if !records.isEmpty { records.removeAll(keepingCapacity: true) }
        if !texts.isEmpty { texts.removeAll(keepingCapacity: true) }
    }
}
