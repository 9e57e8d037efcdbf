/// The border between two stages in one process: all senders' records, in the order of the events that caused them, by receiver.
///
/// Senders write each into its own ``Outbox``; when all are done, ``gather(_:)`` takes in each outbox and ``deliver()`` sorts, both
/// sequential. From then on nothing points into an outbox: the exchange holds records and texts, as a topic between two machines
/// would. Order keys are unique, so the result does not depend on which thread ran which slots.
struct Exchange<Record: ExchangeRecord>: ~Copyable {
    private var gathered: [Record] = []
    private var texts: [UInt8] = []
    private var ranks: [ExchangeRank] = []
    private var sorter = NaturalMergeSort<ExchangeRank>()
    private var delivered: [Record] = []
    private let slots = SlotOrder()

    mutating func clear() {
        gathered.removeAll(keepingCapacity: true)
        texts.removeAll(keepingCapacity: true)
        delivered.removeAll(keepingCapacity: true)
    }

    var isEmpty: Bool { delivered.isEmpty }

    mutating func gather(_ outbox: Outbox<Record>) {
        guard !outbox.records.isEmpty else { return }
        let first = gathered.count
        gathered.append(contentsOf: outbox.records)
        guard !outbox.texts.isEmpty else { return }
        let moved = UInt32(texts.count)
        texts.append(contentsOf: outbox.texts)
        for i in first..<gathered.count { gathered[i].text.offset += moved }
    }

    /// Sorts what was gathered, gives each record its rank as the new order key, and files it by receiver.
    mutating func deliver() {
        delivered.removeAll(keepingCapacity: true)
        slots.clear()
        // Small keys are sorted instead of the records; each sender's are in order already, which the merge sort sees as runs.
        ranks.removeAll(keepingCapacity: true)
        for i in gathered.indices {
            ranks.append(ExchangeRank(order: gathered[i].order, index: UInt32(i)))
            slots.count(gathered[i].destination)
        }
        slots.layOut()
        guard !gathered.isEmpty else { return }
        ranks.withUnsafeMutableBufferPointer { sorter.sort($0) { $0.order < $1.order } }
        // Same length as what was gathered; every place is overwritten below.
        delivered.append(contentsOf: gathered)
        for (rank, entry) in ranks.enumerated() {
            var record = gathered[Int(entry.index)]
            record.order = UInt64(rank)
            delivered[slots.place(record.destination)] = record
        }
    }

    /// Calls the body with each record for a slot and its text, in order.
    func forEach(to slot: Int, _ body: (Record, UnsafeBufferPointer<UInt8>) -> Void) {
        texts.withUnsafeBufferPointer { texts in
            for i in slots[slot] { body(delivered[i], delivered[i].text.bytes(in: texts)) }
        }
    }
}

/// A record by its order key: what is sorted in its place.
struct ExchangeRank: BitwiseCopyable {
    var order: UInt64
    var index: UInt32
}
