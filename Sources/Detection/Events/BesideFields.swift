import RuleLanguage

// What a record has before and beside its JSON: a schema registry's bytes, a byte order mark, its key and its headers.

/// How many bytes stand before the JSON, or what is wrong with them: where JSON follows, the fault's place is there.
@inline(never)
func recordPrefix(_ value: UnsafeRawBufferPointer, isFramed: Bool) -> (count: Int, fault: DeadLetterCode?) {
    var at = 0
    if value.first == 0 {
        let isFrame = value.count > 5
        let isJSON = isFrame && beginsJSON(value[5])
        if isFrame, !isFramed || !isJSON { return (isJSON ? 5 : 0, .registryFraming) }
        if isFrame { at = 5 }
    }
    let mark: (UInt8, UInt8, UInt8) = (0xEF, 0xBB, 0xBF)
    if value.count >= at + 3, (value[at], value[at + 1], value[at + 2]) == mark { at += 3 }
    return (at, nil)
}

private func beginsJSON(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "{"), UInt8(ascii: "["), 0x20, 0x09, 0x0A, 0x0D, 0xEF: true
    default: false
    }
}

/// Bytes that fields may copy from beside a record, each once and with room to run into.
@inline(__always)
func besideRoom(_ beside: UnsafeRawBufferPointer?) -> Int {
    beside.map { 96 * ($0.count + EventBatch.readablePadding) } ?? 0
}

/// The bytes of a part, as ``EventDecoder/decode(topic:partition:offset:value:beside:appendTime:into:)`` takes them; nil when the
/// record has none.
func partBeside(_ part: Int, of beside: UnsafeRawBufferPointer?) -> UnsafeRawBufferPointer? {
    guard let beside else { return nil }
    var at = 0
    for index in 0...part {
        let length = Int(Int32(littleEndian: beside.loadUnaligned(fromByteOffset: at, as: Int32.self)))
        at += 4
        if index == part {
            return length < 0 ? nil : UnsafeRawBufferPointer(rebasing: beside[at..<(at + length)])
        }
        at += max(0, length)
    }
    return nil
}

/// Fills the fields of a type that stand beside the value; those of the value are in the row.
@inline(never)
func takeBeside(_ work: DecodeWork, type: Int, _ beside: UnsafeRawBufferPointer?, _ sink: inout RecordSink)
    -> DeadLetterCode?
{
    let plan = work.types[type]
    for index in Int(plan.firstBeside)..<Int(plan.firstBeside + plan.besideCount) {
        let wanted = work.besideFields[index]
        let field = work.fields + Int(wanted.field)
        sink.faultPath = field.pointee.path
        if let part = partBeside(Int(wanted.part), of: beside), let source = part.baseAddress {
            // Copied behind the record, where zero bytes end it.
            let text = sink.tail
            UnsafeMutableRawPointer(text).copyMemory(from: source, byteCount: part.count)
            UnsafeMutableRawPointer(text + part.count).storeBytes(of: SIMD2<UInt64>(), as: SIMD2<UInt64>.self)
            let isConverted = field.pointee.kind == .converted
            let kind = isConverted ? work.conversion(of: field).strict.pointee.kind : field.pointee.kind
            if kind == .string || isConverted { sink.tail += part.count }
            let isNone = part.count == 0 && kind != .string
            let isText = firstInvalidUTF8(text, count: part.count) == nil
            let code = isNone ? nil : isText ? convertText(text, count: part.count, field, work, &sink) : .invalidUTF8
            if let code, let code = work.damage(field, code, at: text, &sink) { return code }
        }
        if wanted.isRequired, sink.row[Int(field.pointee.slot)].isMissing { return .missingField }
    }
    return nil
}

/// Converts a text that stands for a value of any type; zero bytes follow it.
private func convertText(
    _ text: UnsafePointer<UInt8>,
    count: Int,
    _ field: UnsafePointer<DecodePlan.Field>,
    _ work: DecodeWork,
    _ sink: inout RecordSink
) -> DeadLetterCode? {
    switch field.pointee.kind {
    case .string: return storeText(text, count: count, field, work, &sink)
    case .int, .double, .money, .instant:
        return convertNumber(text, count: count, digits: work.limits.numberDigits, field, &sink)
    case .textTime:
        guard let time = milliseconds(rfc3339: text, count: count) else { return .invalidTimestamp }
        return storeTime(time, field, &sink)
    case .bool:
        let step = scanWord(text)
        guard step.fault == nil, step.next == text + count, text.pointee != UInt8(ascii: "n") else {
            return .wrongType
        }
        sink.row[Int(field.pointee.slot)] = Slot(text.pointee == UInt8(ascii: "t"))
        return nil
    case .converted:
        if isNull(text, count: count, work.conversion(of: field).entry, work) { return nil }
        return convertOtherText(text, count: count, field, work, &sink)
    // The topology has neither beside a value.
    case .list, .discriminator, .elements, .operation: return .wrongType
    }
}
