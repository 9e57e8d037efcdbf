import Models
import RuleLanguage

/// The values of the event that is being added to a stream: work area of a slot, one place per column.
struct GatheredEntry: ~Copyable {
    struct Column: BitwiseCopyable {
        /// Bits of the value; of a text its hash.
        var bits: UInt64 = 0
        /// Where a text lies (``Slot/aux``): in the event, or among the computed ones here.
        var place: UInt64 = 0
        /// The block in the arena that a text is kept in.
        var block: UInt32 = 0
    }

    let columns = OwnedBuffer<Column>(repeating: Column(), count: WindowPlan.columnsPerStream)
    /// Computed texts, which the next program may overwrite where the evaluator made them.
    private let texts = OwnedBuffer<UInt8>(repeating: 0, count: WindowPlan.columnsPerStream * KeptText.longest)

    /// Takes a text as a column's value.
    func take(_ text: Slot, column: Int, _ evaluator: borrowing Evaluator) {
        columns[column].place = text.textBank == TextBank.event.rawValue ? text.aux : copy(text, column, evaluator)
    }

    /// Copies what is kept of a computed text; returns where it lies.
    private func copy(_ text: Slot, _ column: Int, _ evaluator: borrowing Evaluator) -> UInt64 {
        let bytes = evaluator.text(text)
        var length = 0
        if let start = bytes.baseAddress {
            length = KeptText.kept(of: start, count: bytes.count)
            (texts.base + column &* KeptText.longest).update(from: start, count: length)
        }
        return Slot(hash: 0, offset: column &* KeptText.longest, length: length, bank: .scratch).aux
    }

    /// What is kept of a column's text.
    ///
    /// - Parameter event: the text of the event's batch.
    func text(_ column: Int, event: UnsafePointer<UInt8>) -> UnsafeBufferPointer<UInt8> {
        let slot = Slot(bits: columns[column].bits, aux: columns[column].place)
        let start =
            (slot.textBank == TextBank.event.rawValue ? event : UnsafePointer(texts.base)) + slot.textOffset
        return UnsafeBufferPointer(start: start, count: KeptText.kept(of: start, count: slot.textLength))
    }
}
