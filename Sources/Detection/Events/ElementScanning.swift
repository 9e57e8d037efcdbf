import Models
import RuleLanguage

// Records that are more than an object with fields: changes of rows, parts beside the value, arrays whose elements are events.

/// Whether the record is a change of a row that makes no event of this type.
func isOtherChange(_ work: DecodeWork, type: Int, _ sink: RecordSink) -> Bool {
    let operations = work.types[type].operations
    if operations == 0 || sink.operation == 0 { return false }
    let bit = sink.operation &- UInt8(ascii: "a")
    return bit > 25 || operations & (1 &<< UInt32(bit)) == 0
}

/// Completes a record whose fields in its value are in the row, where that is not all.
///
/// - Parameter letters: takes a dead letter for each element that cannot be judged.
@inline(never)
func finishShaped(
    _ work: DecodeWork,
    _ record: RecordPlace,
    _ beside: UnsafeRawBufferPointer?,
    _ shared: RecordSink,
    letters: inout [DeadLetter],
    _ batch: inout EventBatch
) -> DecodeResult {
    if isOtherChange(work, type: record.type, shared) { return .ignored }
    var shared = shared
    if let code = takeBeside(work, type: record.type, beside, &shared) {
        return .rejected(DeadLetter(code, path: shared.faultPath))
    }
    if work.types[record.type].element < 0 { return finish(work, record, shared, &batch) }
    guard let array = shared.elements else { return .ignored }
    var elements = ElementScan(work, record, shared, array, batch)
    let result = elements.run(letters: &letters, &batch)
    if result == .events(0), letters.isEmpty { return .ignored }
    return result
}

/// One record with an array of events: what the record says once is in the row of each of them, and each of them is judged or
/// refused for itself.
private struct ElementScan {
    let work: DecodeWork
    let record: RecordPlace
    let shared: RecordSink
    /// Slots of a row.
    let width: Int
    let element: Int
    /// Where the record ends in the batch's text, and where the next element begins.
    let end: Int
    var at: Int
    /// What the batch held before.
    let before: (text: Int, lists: Int, rows: Int, count: Int)
    /// The record's own odd fields, which are odd in each of its events.
    let odd: OddFields

    init(
        _ work: DecodeWork,
        _ record: RecordPlace,
        _ shared: RecordSink,
        _ array: UnsafePointer<UInt8>,
        _ batch: borrowing EventBatch
    ) {
        (self.work, self.record, self.shared) = (work, record, shared)
        let plan = work.types[record.type]
        width = Int(plan.fieldCount)
        element = Int(plan.element)
        let text = UnsafePointer(shared.text)
        end = shared.end - text
        at = skipBlanks(array + 1) - text
        before = (batch.textCount, batch.listsCount, batch.rowsCount, batch.count)
        odd = work.odd.pointee
    }

    mutating func run(letters: inout [DeadLetter], _ batch: inout EventBatch) -> DecodeResult {
        // What the record itself has written stays; its row waits behind those of the events made of it.
        batch.textCount = shared.tail - shared.text
        batch.listsCount = shared.listsCount
        var part = 0
        while batch.text[at] != UInt8(ascii: "]") {
            if part == work.limits.eventsPerRecord {
                letters.append(letter(.tooManyEvents, path: work.types[record.type].elementsPath, at: at, part))
                break
            }
            let step = skipLoosely(UnsafePointer(batch.text.base + at), before: UnsafePointer(batch.text.base + end))
            // The scan of the record has been over the array, so this is what it found there.
            let next = step.next - UnsafePointer(batch.text.base)
            if step.fault != nil {
                letters.append(letter(.invalidJSON, path: -1, at: next, part))
                break
            }
            guard reserve(next - at, &batch) else {
                giveUp(&batch)
                letters.removeAll(keepingCapacity: true)
                return batch.isEmpty ? .rejected(DeadLetter(.recordTooLarge)) : .full
            }
            let row = batch.rows.base + batch.rowsCount
            (row + width).update(from: row, count: width)
            if let letter = scan(to: next, part, &batch) {
                letters.append(self.letter(letter, of: part, from: at, to: next))
                row.update(from: row + width, count: width)
            }
            part += 1
            at = skipBlanks(UnsafePointer(batch.text.base + next)) - UnsafePointer(batch.text.base)
            if batch.text[at] == UInt8(ascii: ",") {
                at = skipBlanks(UnsafePointer(batch.text.base + at + 1)) - UnsafePointer(batch.text.base)
            } else if batch.text[at] != UInt8(ascii: "]") {
                letters.append(letter(.invalidJSON, path: -1, at: at, part))
                break
            }
        }
        let made = batch.count - before.count
        if made == 0 { giveUp(&batch) }
        return .events(made)
    }

    /// Makes an event of the element that ends at `next`; or says why it is none.
    private func scan(to next: Int, _ part: Int, _ batch: inout EventBatch) -> DeadLetter? {
        let text = UnsafePointer(batch.text.base)
        var sink = RecordSink(
            text: batch.text.base,
            tail: batch.text.base + batch.textCount,
            lists: batch.lists.base,
            listsCount: batch.listsCount,
            row: batch.rows.base + batch.rowsCount,
            end: skipBlanks(text + next),
            faultAt: text + at,
            isOdd: shared.isOdd,
            isDubious: shared.isDubious
        )
        work.odd.pointee = odd
        if case .fault(let code) = scanRecord(work, type: element, text + at, &sink, confirmed: true) {
            return DeadLetter(code, path: sink.faultPath, byteOffset: sink.faultAt - text - record.start)
        }
        // The plan of an element knows no fields, so its scan has looked at none.
        if sink.isDubious, let code = work.damageInvalidTexts(work.types[record.type], &sink) {
            return DeadLetter(code, path: sink.faultPath, byteOffset: sink.faultAt - text - record.start)
        }
        guard case .rejected(let letter) = finish(work, record, part: UInt16(truncatingIfNeeded: part), sink, &batch)
        else { return nil }
        return letter
    }

    private func letter(_ code: DeadLetterCode, path: Int32, at place: Int, _ part: Int) -> DeadLetter {
        var letter = DeadLetter(code, path: path, byteOffset: place - record.start)
        letter.part = Int32(part)
        return letter
    }

    /// The same, about the bytes of an element.
    private func letter(_ letter: DeadLetter, of part: Int, from start: Int, to end: Int) -> DeadLetter {
        var letter = letter
        letter.part = Int32(part)
        letter.elementStart = UInt32(clamping: start - record.start)
        letter.elementLength = UInt32(clamping: end - start)
        return letter
    }

    /// Makes room for an element of so many bytes, and for a second row.
    private func reserve(_ count: Int, _ batch: inout EventBatch) -> Bool {
        batch.reserve(
            text: count * work.sharing + work.pseudonymBytes + EventBatch.readablePadding,
            fields: 2 * 96,
            listElements: min(count * work.listSharing, 96 * work.limits.listElements)
        )
    }

    private func giveUp(_ batch: inout EventBatch) {
        (batch.textCount, batch.listsCount, batch.rowsCount) = (before.text, before.lists, before.rows)
        batch.count = before.count
    }
}
