import RuleLanguage

/// Converts the JSON value that starts here into the slot of a field that is taken in other forms than its type's own.
@inline(never)
func scanConverted(
    _ at: UnsafePointer<UInt8>,
    _ field: UnsafePointer<DecodePlan.Field>,
    _ work: DecodeWork,
    _ sink: inout RecordSink
) -> ScanStep {
    let (entry, strict) = work.conversion(of: field)
    switch at.pointee {
    case UInt8(ascii: "\""):
        var text = at
        var count = 0
        let step = textValue(at + 1, &text, &count, sink)
        if step.fault != nil { return step }
        if isNull(text, count: count, entry, work) { return step }
        // A text that was unescaped stays behind the record.
        if text == UnsafePointer(sink.tail) { sink.tail += count }
        switch strict.pointee.kind {
        case .int, .double, .bool:
            let allowed = strict.pointee.kind == .bool ? Coercions.booleans : .numbers
            guard entry.pointee.coercions.contains(allowed) else { return ScanStep(next: at, fault: .wrongType) }
            work.noteCoerced(field, &sink)
        case .list: return ScanStep(next: at, fault: .wrongType)
        default: break
        }
        if let code = convertOtherText(text, count: count, field, work, &sink) {
            return ScanStep(next: at, fault: code)
        }
        return step
    case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"):
        return scanConvertedNumber(at, entry, strict, work, &sink)
    case UInt8(ascii: "t"), UInt8(ascii: "f"):
        let step = scanWord(at)
        if step.fault != nil || isNull(at, count: step.next - at, entry, work) { return step }
    case UInt8(ascii: "[") where strict.pointee.kind == .list:
        return scanList(at, strict, entry, work, &sink)
    default: break
    }
    return scanOtherField(at, strict, work, &sink)
}

/// A number, of a field of any type.
private func scanConvertedNumber(
    _ at: UnsafePointer<UInt8>,
    _ entry: UnsafePointer<ConversionPlan.Entry>,
    _ strict: UnsafePointer<DecodePlan.Field>,
    _ work: DecodeWork,
    _ sink: inout RecordSink
) -> ScanStep {
    let step = scanNumber(at, digits: work.limits.numberDigits, grammar: .json)
    let count = step.next - at
    if step.fault == nil, isNull(at, count: count, entry, work) { return ScanStep(next: step.next, fault: nil) }
    if strict.pointee.kind == .string, entry.pointee.coercions.contains(.ids), let stop = endOfDigits(at) {
        // Its digits, however many: the number's value is of no interest.
        if let code = storeText(at, count: stop - at, strict, work, &sink) { return ScanStep(next: at, fault: code) }
        work.noteCoerced(strict, &sink)
        return ScanStep(next: stop, fault: nil)
    }
    if let code = step.fault { return ScanStep(next: step.next, fault: code) }
    let code: DeadLetterCode?
    switch strict.pointee.kind {
    case .bool:
        guard entry.pointee.coercions.contains(.booleans), count == 1, at.pointee | 1 == UInt8(ascii: "1") else {
            return ScanStep(next: at, fault: .wrongType)
        }
        sink.row[Int(strict.pointee.slot)] = Slot(at.pointee == UInt8(ascii: "1"))
        work.noteCoerced(strict, &sink)
        code = nil
    case .textTime:
        // The digits of a pattern such as `%Y%m%d` are often written as a number.
        guard entry.pointee.format == .pattern else { return ScanStep(next: at, fault: .wrongType) }
        code = storeWrittenTime(at, count: count, entry, strict, work, &sink)
    case .int, .double, .money, .instant: code = storeConverted(step.number, writtenAt: at, entry, strict, work, &sink)
    default: code = .wrongType
    }
    return ScanStep(next: code == nil ? step.next : at, fault: code)
}

/// The end of a whole number without an exponent, or nil.
@inline(never)
func endOfDigits(_ start: UnsafePointer<UInt8>) -> UnsafePointer<UInt8>? {
    var at = start
    if at.pointee == UInt8(ascii: "-") { at += 1 }
    let first = at
    while at.pointee &- UInt8(ascii: "0") <= 9 { at += 1 }
    if at == first || first.pointee == UInt8(ascii: "0") && at > first + 1 { return nil }
    return at.pointee == UInt8(ascii: ".") || at.pointee | 0x20 == UInt8(ascii: "e") ? nil : at
}

/// Converts a text, of JSON or of a CSV column, of a converted field that is no list and no null word; it stays where it is, and a
/// byte that belongs to no number follows it.
@inline(never)
func convertOtherText(
    _ text: UnsafePointer<UInt8>,
    count: Int,
    _ field: UnsafePointer<DecodePlan.Field>,
    _ work: DecodeWork,
    _ sink: inout RecordSink
) -> DeadLetterCode? {
    let (entry, strict) = work.conversion(of: field)
    switch strict.pointee.kind {
    case .string: return storeText(text, count: count, strict, work, &sink)
    case .textTime: return storeWrittenTime(text, count: count, entry, strict, work, &sink)
    case .bool:
        guard let value = truth(text, count: count, isLoose: entry.pointee.coercions.contains(.booleans)) else {
            return .wrongType
        }
        sink.row[Int(strict.pointee.slot)] = Slot(value)
        return nil
    case .int, .double, .money, .instant:
        var start = text
        var count = count
        trimBlanks(&start, &count, entry)
        let step = scanNumber(start, digits: work.limits.numberDigits, grammar: .text)
        if step.fault == .numberOutOfRange { return .numberOutOfRange }
        guard step.fault == nil, step.next == start + count else {
            return strict.pointee.kind == .instant ? .invalidTimestamp : .wrongType
        }
        return storeConverted(step.number, writtenAt: start, entry, strict, work, &sink)
    case .list, .discriminator, .converted, .elements, .operation: return .wrongType
    }
}

/// Leaves out the blanks around a number where texts may stand for numbers.
func trimBlanks(
    _ text: inout UnsafePointer<UInt8>,
    _ count: inout Int,
    _ entry: UnsafePointer<ConversionPlan.Entry>
) {
    if !entry.pointee.coercions.contains(.numbers) { return }
    while count > 0, isBlank(text.pointee) {
        text += 1
        count -= 1
    }
    while count > 0, isBlank(text[count - 1]) { count -= 1 }
}

/// Whether this text, or number as written, means that there is no value.
func isNull(
    _ text: UnsafePointer<UInt8>,
    count: Int,
    _ entry: UnsafePointer<ConversionPlan.Entry>,
    _ work: DecodeWork
) -> Bool {
    var left = Int(entry.pointee.nullWordCount)
    if left == 0 { return false }
    let hash = work.hash(text, count: count)
    var words = work.conversions.pointee.nullWords + Int(entry.pointee.firstNullWord)
    if left <= 8 {
        for index in 0..<left where words[index] == hash { return true }
        return false
    }
    while left > 0 {
        let half = left / 2
        if words[half] == hash { return true }
        if words[half] < hash {
            words += half + 1
            left -= half + 1
        } else {
            left = half
        }
    }
    return false
}

/// `true`, `false`, `1` and `0`; the words in any case where that is asked for.
private func truth(_ text: UnsafePointer<UInt8>, count: Int, isLoose: Bool) -> Bool? {
    func stands(_ word: StaticString) -> Bool {
        guard count == word.utf8CodeUnitCount else { return false }
        for index in 0..<count where (isLoose ? text[index] | 0x20 : text[index]) != word.utf8Start[index] {
            return false
        }
        return true
    }
    if count == 1, text.pointee | 1 == UInt8(ascii: "1") { return text.pointee == UInt8(ascii: "1") }
    return stands("true") ? true : stands("false") ? false : nil
}

private func storeWrittenTime(
    _ text: UnsafePointer<UInt8>,
    count: Int,
    _ entry: UnsafePointer<ConversionPlan.Entry>,
    _ strict: UnsafePointer<DecodePlan.Field>,
    _ work: DecodeWork,
    _ sink: inout RecordSink
) -> DeadLetterCode? {
    let written: WrittenTime?
    switch entry.pointee.format {
    case .rfc3339: written = WrittenTime(rfc3339: text, count: count)
    case .iso8601: written = WrittenTime(iso8601: text, count: count)
    case .pattern:
        written = WrittenTime(
            work.conversions.pointee.steps + Int(entry.pointee.firstStep),
            stepCount: Int(entry.pointee.stepCount),
            text,
            count: count
        )
    }
    guard let written else { return .invalidTimestamp }
    let zone = Int(entry.pointee.zone)
    if written.hasOffset || zone < 0 { return storeTime(written.milliseconds, strict, &sink) }
    let (local, rest) = written.milliseconds.quotientAndRemainder(dividingBy: 1000)
    let offset = work.plan._withUnsafeGuaranteedRef { plan in
        plan.conversions.zones[zone].offset(local: rest < 0 ? local - 1 : local)
    }
    return storeTime(written.milliseconds - offset * 1000, strict, &sink)
}

/// Puts a number into the row, rounded where that is asked for; an amount whose currency is another field's waits there.
private func storeConverted(
    _ number: DecimalNumber,
    writtenAt start: UnsafePointer<UInt8>,
    _ entry: UnsafePointer<ConversionPlan.Entry>,
    _ strict: UnsafePointer<DecodePlan.Field>,
    _ work: DecodeWork,
    _ sink: inout RecordSink
) -> DeadLetterCode? {
    if entry.pointee.currencySlot >= 0 {
        sink.row[Int(strict.pointee.slot)] = WaitingAmount(number, offset: start - UnsafePointer(sink.text)).slot
        return nil
    }
    guard entry.pointee.roundsDecimals else { return storeNumber(number, writtenAt: start, strict, &sink) }
    return storeInteger(
        number.rounded(shift: Int(strict.pointee.shift), writtenAt: start),
        ConversionPlan.Bounds(minimum: strict.pointee.minimum, maximum: strict.pointee.maximum),
        strict,
        work,
        &sink
    )
}

private func storeInteger(
    _ integer: IntegerConversion,
    _ bounds: ConversionPlan.Bounds,
    _ strict: UnsafePointer<DecodePlan.Field>,
    _ work: DecodeWork,
    _ sink: inout RecordSink
) -> DeadLetterCode? {
    if !integer.isInRange { return .numberOutOfRange }
    if integer.value < bounds.minimum || integer.value > bounds.maximum { return .valueOutOfRange }
    // Digits were lost.
    if !integer.isExact { work.noteCoerced(strict, &sink) }
    sink.row[Int(strict.pointee.slot)] = Slot(integer.value)
    return nil
}

/// An amount in its row's slot until its currency is known, which may stand behind it in the record.
private struct WaitingAmount {
    var number: DecimalNumber
    /// Of its first byte in the batch's text.
    var offset: Int

    init(_ number: DecimalNumber, offset: Int) {
        self.number = number
        self.offset = offset
    }

    init(_ slot: Slot) {
        number = DecimalNumber(
            mantissa: slot.bits,
            exponent: Int(Int16(truncatingIfNeeded: slot.aux >> 8)),
            isNegative: slot.aux & 1 != 0,
            isInexact: slot.aux & 2 != 0
        )
        offset = Int(truncatingIfNeeded: slot.aux >> 32)
    }

    /// Never the missing one: of the lowest eight bits two are used.
    var slot: Slot {
        // Beyond 16 bits a value is zero or out of range in any currency.
        let exponent = UInt16(bitPattern: Int16(clamping: number.exponent))
        return Slot(
            bits: number.mantissa,
            aux: UInt64(truncatingIfNeeded: offset) << 32 | UInt64(exponent) << 8 | (number.isInexact ? 2 : 0)
                | (number.isNegative ? 1 : 0)
        )
    }
}

/// Counts the amounts that wait in the row in the minor units of their currencies, once the whole record has been read.
@inline(never)
func settleAmounts(_ work: DecodeWork, _ type: UnsafePointer<DecodePlan.TypePlan>, _ sink: inout RecordSink)
    -> DeadLetterCode?
{
    for index in 0..<Int(type.pointee.amountCount) {
        let field = work.fields + Int(work.conversions.pointee.amounts[Int(type.pointee.firstAmount) + index])
        let slot = Int(field.pointee.slot)
        if sink.row[slot].isMissing { continue }
        let amount = WaitingAmount(sink.row[slot])
        sink.row[slot] = .missing
        if let code = settle(amount, field, work, &sink),
            let code = work.damage(field, code, at: UnsafePointer(sink.text) + amount.offset, &sink)
        {
            return code
        }
    }
    return nil
}

private func settle(
    _ amount: WaitingAmount,
    _ field: UnsafePointer<DecodePlan.Field>,
    _ work: DecodeWork,
    _ sink: inout RecordSink
) -> DeadLetterCode? {
    let (entry, strict) = work.conversion(of: field)
    let text = UnsafePointer(sink.text)
    let currency = sink.row[Int(entry.pointee.currencySlot)]
    guard !currency.isMissing,
        let digits = CurrencyDigits.digits(of: text + currency.textOffset, count: currency.textLength)
    else { return .unknownCurrency }
    let integer =
        entry.pointee.roundsDecimals
        ? amount.number.rounded(shift: digits, writtenAt: text + amount.offset) : amount.number.integer(shift: digits)
    if integer.isInRange, !integer.isExact, !entry.pointee.roundsDecimals { return .tooManyDecimals }
    let bounds = work.conversions.pointee.bounds[Int(entry.pointee.firstBound) + digits]
    return storeInteger(integer, bounds, strict, work, &sink)
}
