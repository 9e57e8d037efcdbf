import RuleLanguage

/// Converts the JSON value that starts here into a field's slot.
@inline(__always)
func scanField(
    _ at: UnsafePointer<UInt8>,
    _ field: UnsafePointer<DecodePlan.Field>,
    _ work: DecodeWork,
    _ sink: inout RecordSink
) -> ScanStep {
    switch field.pointee.kind {
    case .string:
        guard at.pointee == UInt8(ascii: "\"") else { return ScanStep(next: at, fault: .wrongType) }
        let start = at + 1
        let stop = endOfPlainText(start)
        if stop.pointee == UInt8(ascii: "\"") {
            if let code = storeText(start, count: stop - start, field, work, &sink) {
                return ScanStep(next: at, fault: code)
            }
            return ScanStep(next: stop + 1, fault: nil)
        }
        return scanEscapedText(start, field, work, &sink)
    case .int, .double, .money, .instant:
        // A quote is worth a look only where numbers may be written as texts.
        if at.pointee &- UInt8(ascii: "0") > 9, at.pointee != UInt8(ascii: "-") {
            return scanQuotedNumber(at, field, work, &sink)
        }
        let step = scanNumber(at, digits: work.limits.numberDigits, grammar: .json)
        if let code = step.fault { return ScanStep(next: step.next, fault: code) }
        if let code = storeNumber(step.number, writtenAt: at, field, &sink) {
            return ScanStep(next: at, fault: code)
        }
        return ScanStep(next: step.next, fault: nil)
    default:
        return scanOtherField(at, field, work, &sink)
    }
}

@inline(never)
func scanOtherField(
    _ at: UnsafePointer<UInt8>,
    _ field: UnsafePointer<DecodePlan.Field>,
    _ work: DecodeWork,
    _ sink: inout RecordSink
) -> ScanStep {
    switch field.pointee.kind {
    case .bool where at.pointee == UInt8(ascii: "t") || at.pointee == UInt8(ascii: "f"):
        let step = scanWord(at)
        if step.fault == nil { sink.row[Int(field.pointee.slot)] = Slot(at.pointee == UInt8(ascii: "t")) }
        return step
    case .textTime where at.pointee == UInt8(ascii: "\""):
        var text = UnsafePointer(sink.tail)
        var count = 0
        let step = textValue(at + 1, &text, &count, sink)
        if step.fault != nil { return step }
        guard let time = milliseconds(rfc3339: text, count: count) else {
            return ScanStep(next: at, fault: .invalidTimestamp)
        }
        if let code = storeTime(time, field, &sink) { return ScanStep(next: at, fault: code) }
        return step
    case .operation where at.pointee == UInt8(ascii: "\""):
        sink.operation = at[1]
        return skipLoosely(at, before: sink.end)
    case .list where at.pointee == UInt8(ascii: "["):
        return scanList(at, field, nil, work, &sink)
    case .converted: return scanConverted(at, field, work, &sink)
    default:
        return ScanStep(next: at, fault: .wrongType)
    }
}

/// A text's bytes from behind its opening quote, unescaped behind the record where needed; the space is not kept.
func textValue(
    _ start: UnsafePointer<UInt8>,
    _ text: inout UnsafePointer<UInt8>,
    _ count: inout Int,
    _ sink: RecordSink
) -> ScanStep {
    let stop = endOfPlainText(start)
    text = start
    count = stop - start
    var step = ScanStep(next: stop + 1, fault: nil)
    if stop.pointee != UInt8(ascii: "\"") {
        step = unescape(start, into: sink.tail, count: &count)
        if step.fault != nil { return step }
        text = UnsafePointer(sink.tail)
        // Whoever scans it needs an end to run into.
        UnsafeMutableRawPointer(sink.tail + count).storeBytes(of: SIMD2<UInt64>(), as: SIMD2<UInt64>.self)
    }
    return step
}

@inline(never)
private func scanEscapedText(
    _ start: UnsafePointer<UInt8>,
    _ field: UnsafePointer<DecodePlan.Field>,
    _ work: DecodeWork,
    _ sink: inout RecordSink
) -> ScanStep {
    var text = start
    var count = 0
    let step = textValue(start, &text, &count, sink)
    if step.fault != nil { return step }
    sink.tail += count
    if let code = storeText(text, count: count, field, work, &sink) { return ScanStep(next: start - 1, fault: code) }
    return step
}

/// Amounts and times may be written as texts; other numbers may not.
@inline(never)
private func scanQuotedNumber(
    _ at: UnsafePointer<UInt8>,
    _ field: UnsafePointer<DecodePlan.Field>,
    _ work: DecodeWork,
    _ sink: inout RecordSink
) -> ScanStep {
    guard at.pointee == UInt8(ascii: "\""), field.pointee.kind == .money || field.pointee.kind == .instant else {
        return ScanStep(next: at, fault: .wrongType)
    }
    var text = at
    var count = 0
    let step = textValue(at + 1, &text, &count, sink)
    if step.fault != nil { return step }
    if let code = convertNumber(text, count: count, digits: work.limits.numberDigits, field, &sink) {
        return ScanStep(next: at, fault: code)
    }
    return step
}

/// Converts a text that must be a number from its first byte to its last; a byte that belongs to no number follows it.
func convertNumber(
    _ text: UnsafePointer<UInt8>,
    count: Int,
    digits: Int,
    _ field: UnsafePointer<DecodePlan.Field>,
    _ sink: inout RecordSink
) -> DeadLetterCode? {
    let number = scanNumber(text, digits: digits, grammar: .text)
    if number.fault == .numberOutOfRange { return .numberOutOfRange }
    guard number.fault == nil, number.next == text + count else {
        return field.pointee.kind == .instant ? .invalidTimestamp : .wrongType
    }
    return storeNumber(number.number, writtenAt: text, field, &sink)
}

/// Checks a text and puts it into the row; `text` stays where it is.
///
/// An empty identifier leaves the row as it is, with the value missing.
@inline(__always)
func storeText(
    _ text: UnsafePointer<UInt8>,
    count: Int,
    _ field: UnsafePointer<DecodePlan.Field>,
    _ work: DecodeWork,
    _ sink: inout RecordSink
) -> DeadLetterCode? {
    if count == 0, field.pointee.isIdentifier { return nil }
    let hash = work.hash.padded(text, count: count)
    if field.pointee.isSpecial || count > Int(field.pointee.maximumLength) {
        return storeUnusualText(text, count: count, hash: hash, field, work, &sink)
    }
    sink.row[Int(field.pointee.slot)] = Slot(
        hash: hash,
        offset: text - UnsafePointer(sink.text),
        length: count,
        bank: .event
    )
    return nil
}

/// Texts of a set, identifiers that nobody behind the decoder may see, and texts that are too long.
@inline(never)
private func storeUnusualText(
    _ text: UnsafePointer<UInt8>,
    count: Int,
    hash: UInt64,
    _ field: UnsafePointer<DecodePlan.Field>,
    _ work: DecodeWork,
    _ sink: inout RecordSink
) -> DeadLetterCode? {
    var slot = Slot.missing
    let code = unusualText(text, count: count, hash: hash, field, work, &sink, &slot)
    if code == nil { sink.row[Int(field.pointee.slot)] = slot }
    return code
}

/// Makes the slot of a text: of one that is too long it has a beginning of whole characters, and the hash of all of it.
///
/// So a text that was cut is equal to itself only, and nobody takes the beginning of another for it.
private func unusualText(
    _ text: UnsafePointer<UInt8>,
    count: Int,
    hash: UInt64,
    _ field: UnsafePointer<DecodePlan.Field>,
    _ work: DecodeWork,
    _ sink: inout RecordSink,
    _ slot: inout Slot
) -> DeadLetterCode? {
    // What is cut off or replaced is seen here the last time.
    if sink.isDubious, firstInvalidUTF8(text, count: count) != nil { return .invalidUTF8 }
    if !isAllowed(hash, field, work) {
        if field.pointee.isClosed { return .valueNotAllowed }
        work.noteUnknownWord(field, &sink)
    }
    if field.pointee.isPseudonymised {
        slot = pseudonym(text, count: count, work, &sink)
        return nil
    }
    var length = count
    if count > Int(field.pointee.maximumLength) {
        if field.pointee.isSubject { return .textTooLong }
        length = wholeCharacters(text, atMost: Int(field.pointee.maximumLength))
        work.noteCut(field, &sink)
    }
    slot = Slot(hash: hash, offset: text - UnsafePointer(sink.text), length: length, bank: .event)
    return nil
}

@inline(__always)
private func isAllowed(_ hash: UInt64, _ field: UnsafePointer<DecodePlan.Field>, _ work: DecodeWork) -> Bool {
    let count = Int(field.pointee.allowedCount)
    if count == 0 { return true }
    let allowed = work.allowed + Int(field.pointee.allowedStart)
    for i in 0..<count where allowed[i] == hash { return true }
    return false
}

/// Writes an identifier's pseudonym behind the record.
private func pseudonym(_ text: UnsafePointer<UInt8>, count: Int, _ work: DecodeWork, _ sink: inout RecordSink) -> Slot {
    let hex = sink.tail
    work.plan._withUnsafeGuaranteedRef { plan in
        plan.pseudonymise?(
            UnsafeRawBufferPointer(start: text, count: count),
            UnsafeMutableRawBufferPointer(start: hex, count: 64)
        )
    }
    sink.tail += 64
    return Slot(hash: work.hash(hex, count: 64), offset: hex - sink.text, length: 64, bank: .event)
}

/// Checks a number and puts it into the row in the field's unit.
@inline(__always)
func storeNumber(
    _ number: DecimalNumber,
    writtenAt start: UnsafePointer<UInt8>,
    _ field: UnsafePointer<DecodePlan.Field>,
    _ sink: inout RecordSink
) -> DeadLetterCode? {
    if field.pointee.kind == .double {
        let value = number.double(writtenAt: start)
        if !value.isFinite { return .numberOutOfRange }
        if value < field.pointee.minimumDouble || value > field.pointee.maximumDouble { return .valueOutOfRange }
        sink.row[Int(field.pointee.slot)] = Slot(value)
        return nil
    }
    let integer = number.integer(shift: Int(field.pointee.shift))
    if integer.isInRange && integer.isExact && integer.value >= field.pointee.minimum
        && integer.value <= field.pointee.maximum
    {
        sink.row[Int(field.pointee.slot)] = Slot(integer.value)
        return nil
    }
    return storeUnusualInteger(integer, field, &sink)
}

@inline(never)
private func storeUnusualInteger(
    _ integer: IntegerConversion,
    _ field: UnsafePointer<DecodePlan.Field>,
    _ sink: inout RecordSink
) -> DeadLetterCode? {
    if field.pointee.kind == .instant {
        if !integer.isInRange { return .timestampOutOfRange }
        // Below the unit's resolution only where seconds or microseconds are written; half a millisecond is a mistake of the unit.
        if !integer.isExact, field.pointee.shift == 0 { return .invalidTimestamp }
        return storeTime(integer.value, field, &sink)
    }
    if !integer.isInRange { return .numberOutOfRange }
    if !integer.isExact { return field.pointee.kind == .money ? .tooManyDecimals : .wrongType }
    return .valueOutOfRange
}

func storeTime(_ time: Int64, _ field: UnsafePointer<DecodePlan.Field>, _ sink: inout RecordSink) -> DeadLetterCode? {
    if time < field.pointee.minimum || time > field.pointee.maximum { return .timestampOutOfRange }
    sink.row[Int(field.pointee.slot)] = Slot(time)
    return nil
}

/// An array of strings into the list table; null elements are refused, and behind the last one there is room for none are kept.
///
/// `entry` of a converted field: whole numbers may stand for texts, and null words are left out.
func scanList(
    _ start: UnsafePointer<UInt8>,
    _ field: UnsafePointer<DecodePlan.Field>,
    _ entry: UnsafePointer<ConversionPlan.Entry>?,
    _ work: DecodeWork,
    _ sink: inout RecordSink
) -> ScanStep {
    let first = sink.listsCount
    let step = scanElements(start, field, entry, work, &sink)
    if step.fault == nil { storeList(from: first, field, &sink) } else { sink.listsCount = first }
    return step
}

private func scanElements(
    _ start: UnsafePointer<UInt8>,
    _ field: UnsafePointer<DecodePlan.Field>,
    _ entry: UnsafePointer<ConversionPlan.Entry>?,
    _ work: DecodeWork,
    _ sink: inout RecordSink
) -> ScanStep {
    let room = sink.listsCount + work.limits.listElements
    var at = skipBlanks(start + 1)
    if at.pointee == UInt8(ascii: "]") { return ScanStep(next: at + 1, fault: nil) }
    while true {
        if sink.listsCount == room {
            work.noteCut(field, &sink)
            return skipLoosely(start, before: sink.end)
        }
        var text = at
        var count = 0
        var next = at
        if at.pointee == UInt8(ascii: "\"") {
            let step = textValue(at + 1, &text, &count, sink)
            if step.fault != nil { return step }
            if text == UnsafePointer(sink.tail) { sink.tail += count }
            next = step.next
        } else if let entry, entry.pointee.coercions.contains(.ids), let stop = endOfDigits(at) {
            count = stop - at
            next = stop
            work.noteCoerced(field, &sink)
        } else {
            return ScanStep(next: at, fault: .wrongType)
        }
        if let entry, isNull(text, count: count, entry, work) {
            // Nobody is in the list.
        } else if let code = appendElement(text, count: count, field, work, &sink) {
            return ScanStep(next: at, fault: code)
        }
        at = skipBlanks(next)
        if at.pointee == UInt8(ascii: "]") { return ScanStep(next: at + 1, fault: nil) }
        guard at.pointee == UInt8(ascii: ",") else { return ScanStep(next: at, fault: .wrongType) }
        at = skipBlanks(at + 1)
    }
}

/// Checks one element and appends it to the list table.
func appendElement(
    _ text: UnsafePointer<UInt8>,
    count: Int,
    _ field: UnsafePointer<DecodePlan.Field>,
    _ work: DecodeWork,
    _ sink: inout RecordSink
) -> DeadLetterCode? {
    let hash = work.hash(text, count: count)
    var slot = Slot.missing
    if let code = unusualText(text, count: count, hash: hash, field, work, &sink, &slot) { return code }
    sink.lists[sink.listsCount] = slot
    sink.listsCount += 1
    return nil
}

/// Puts the elements appended since `first` into the row as one list.
func storeList(from first: Int, _ field: UnsafePointer<DecodePlan.Field>, _ sink: inout RecordSink) {
    sink.row[Int(field.pointee.slot)] = Slot(
        bits: 0,
        aux: UInt64(truncatingIfNeeded: first) << 32 | UInt64(truncatingIfNeeded: sink.listsCount - first)
    )
}
