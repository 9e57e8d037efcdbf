import RuleLanguage

// A value that cannot be read is not a record that cannot be read. Its field counts as missing, the event is judged, and a mark
// says which field it was and why; only what the event cannot be judged without makes a dead letter. All of this is off the way of
// records that are as they should be: whoever reads a value has always had to look for a fault, and comes here with it.

/// Fields of one event type, a bit each.
struct FieldSet: BitwiseCopyable, Equatable {
    var low: UInt64 = 0
    var high: UInt64 = 0

    mutating func insert(_ field: Int) {
        if field < 64 { low |= 1 &<< UInt64(field) } else { high |= 1 &<< UInt64(field - 64) }
    }

    mutating func subtract(_ other: FieldSet) {
        low &= ~other.low
        high &= ~other.high
    }

    mutating func formUnion(_ other: FieldSet) {
        low |= other.low
        high |= other.high
    }

    /// Takes out the first one, nil when there is none.
    mutating func popFirst() -> Int? {
        if low != 0 {
            defer { low &= low &- 1 }
            return low.trailingZeroBitCount
        }
        if high == 0 { return nil }
        defer { high &= high &- 1 }
        return 64 + high.trailingZeroBitCount
    }
}

/// The fields of the record in hand that are odd, gathered while it is scanned; they become ``EventMark``s.
struct OddFields: BitwiseCopyable {
    var damaged = FieldSet()
    /// Of those, the ones that stood there twice.
    var doubled = FieldSet()
    var cut = FieldSet()
    var unknown = FieldSet()
    /// Written in another form than their type's.
    var coerced = FieldSet()
}

extension DecodeWork {
    /// The odd fields of the record, none at the first call for it.
    private func odd(_ sink: inout RecordSink) -> UnsafeMutablePointer<OddFields> {
        if !sink.isOdd {
            sink.isOdd = true
            odd.pointee = OddFields()
        }
        return odd
    }

    /// Notes that a field's text or list is shown in part.
    func noteCut(_ field: UnsafePointer<DecodePlan.Field>, _ sink: inout RecordSink) {
        odd(&sink).pointee.cut.insert(Int(field.pointee.slot))
    }

    /// Notes that a field's text is none of its `enum`.
    func noteUnknownWord(_ field: UnsafePointer<DecodePlan.Field>, _ sink: inout RecordSink) {
        odd(&sink).pointee.unknown.insert(Int(field.pointee.slot))
    }

    /// Notes that a field's value was written in another form than its type's.
    func noteCoerced(_ field: UnsafePointer<DecodePlan.Field>, _ sink: inout RecordSink) {
        odd(&sink).pointee.coerced.insert(Int(field.pointee.slot))
    }

    /// Takes fields for missing and notes why: that they stood there twice, or else the first reason.
    private func noteDamage(_ fields: FieldSet, _ code: DeadLetterCode, _ sink: inout RecordSink) {
        let odd = odd(&sink)
        var fresh = fields
        if code == .duplicateField {
            fresh.subtract(odd.pointee.doubled)
            odd.pointee.doubled.formUnion(fresh)
        } else {
            fresh.subtract(odd.pointee.damaged)
        }
        odd.pointee.damaged.formUnion(fresh)
        odd.pointee.cut.subtract(fresh)
        odd.pointee.unknown.subtract(fresh)
        odd.pointee.coerced.subtract(fresh)
        while let field = fresh.popFirst() {
            sink.row[field] = .missing
            damageCodes[field] = code.rawValue
        }
    }

    /// Takes a field for missing whose value cannot be read.
    ///
    /// - Parameter place: where that was noticed.
    /// - Returns: the code again where the event cannot be judged without the field; the sink then says where and which.
    @inline(never)
    func damage(
        _ field: UnsafePointer<DecodePlan.Field>,
        _ code: DeadLetterCode,
        at place: UnsafePointer<UInt8>,
        _ sink: inout RecordSink
    ) -> DeadLetterCode? {
        if field.pointee.isNeeded || field.pointee.slot < 0 || field.pointee.kind == .discriminator {
            sink.faultPath = field.pointee.path
            sink.faultAt = min(place, sink.end)
            return code
        }
        var fields = FieldSet()
        fields.insert(Int(field.pointee.slot))
        noteDamage(fields, code, &sink)
        return nil
    }

    /// Passes a value of JSON that a field could not take.
    ///
    /// - Parameters:
    ///   - step: where and why.
    ///   - value: where it begins.
    /// - Returns: where it ends, or why there is no event.
    @inline(never)
    func passDamaged(
        _ step: ScanStep,
        _ field: UnsafePointer<DecodePlan.Field>,
        _ value: UnsafePointer<UInt8>,
        _ sink: inout RecordSink
    ) -> ScanStep {
        let end = passFrame(value, &sink)
        if end.fault != nil { return end }
        // What is no JSON at all is of no type either.
        let code = step.fault == .invalidJSON ? .wrongType : step.fault
        return ScanStep(next: end.next, fault: code.flatMap { damage(field, $0, at: step.next, &sink) })
    }

    /// Passes a value of JSON that all fields of its key, and all below it, must do without.
    ///
    /// - Returns: where it ends, or why there is no event.
    @inline(never)
    func passUnusable(
        _ key: Int32,
        _ code: DeadLetterCode,
        _ value: UnsafePointer<UInt8>,
        _ sink: inout RecordSink
    ) -> ScanStep {
        let end = passFrame(value, &sink)
        if end.fault != nil { return end }
        let reach = reaches[Int(key)]
        // Of two values of a discriminator neither tells the type; one of the wrong kind is none.
        if reach.isNeeded || code == .duplicateField && reach.tellsType {
            sink.faultPath = keys[Int(key)].path
            sink.faultAt = value
            return ScanStep(next: value, fault: code)
        }
        noteDamage(reach.fields, code, &sink)
        return end
    }

    /// Passes what stands where an object should: an array, where paths lead into one; nothing in some form, which leaves the
    /// fields below missing; all else damages them.
    @inline(never)
    func passInsteadOfObject(_ key: Int32, _ value: UnsafePointer<UInt8>, _ sink: inout RecordSink) -> ScanStep {
        let array = keys[Int(key)].array
        if array >= 0, value.pointee == UInt8(ascii: "[") { return scanArray(value, array, self, &sink) }
        if let next = endOfNothing(value) { return ScanStep(next: next, fault: nil) }
        return passUnusable(key, .wrongType, value, &sink)
    }

    /// Finds the end of a value; one that reaches the record's end was cut with it.
    private func passFrame(_ value: UnsafePointer<UInt8>, _ sink: inout RecordSink) -> ScanStep {
        let step = skipLoosely(value, before: sink.end)
        if step.fault == nil, step.next < sink.end { return step }
        sink.faultPath = -1
        sink.faultAt = min(step.next, sink.end)
        return ScanStep(next: sink.faultAt, fault: sink.faultAt == sink.end ? .truncatedJSON : step.fault)
    }

    /// In a record with bytes that are not UTF-8: takes those fields for missing whose texts have such bytes.
    @inline(never)
    func damageInvalidTexts(_ type: DecodePlan.TypePlan, _ sink: inout RecordSink) -> DeadLetterCode? {
        let text = UnsafePointer(sink.text)
        func isValid(_ slot: Slot) -> Bool { firstInvalidUTF8(text + slot.textOffset, count: slot.textLength) == nil }
        for index in 0..<Int(type.fieldCount) where !sink.row[index].isMissing {
            let field = fields + Int(type.firstField) + index
            let slot = sink.row[index]
            var isSound = true
            var start = slot.textOffset
            let kind = field.pointee.kind
            switch kind == .converted ? conversion(of: field).strict.pointee.kind : kind {
            case .string, .discriminator: isSound = isValid(slot)
            case .list:
                for place in slot.listOffset..<slot.listOffset + slot.listCount where isSound {
                    isSound = isValid(sink.lists[place])
                    start = sink.lists[place].textOffset
                }
            default: break
            }
            if !isSound, let code = damage(field, .invalidUTF8, at: text + start, &sink) { return code }
        }
        return nil
    }

    /// Appends the marks of the record to its event, the last one of the batch: by kind, then by field.
    @inline(never)
    func appendMarks(to batch: inout EventBatch) {
        var (damaged, cut, unknown) = (odd.pointee.damaged, odd.pointee.cut, odd.pointee.unknown)
        while let field = damaged.popFirst() {
            guard let code = DeadLetterCode(rawValue: damageCodes[field]) else { continue }
            batch.append(EventMark(damaged: field, code))
        }
        while let field = cut.popFirst() { batch.append(EventMark(.cut, field: field)) }
        while let field = unknown.popFirst() { batch.append(EventMark(.unknownWord, field: field)) }
        let coerced = odd.pointee.coerced
        if coerced != FieldSet() {
            batch.append(EventMark(coerced: coerced.low, UInt32(truncatingIfNeeded: coerced.high)))
        }
    }
}

/// Behind an empty text, object or array, where one stands here: what some senders write for an object that is not there.
func endOfNothing(_ value: UnsafePointer<UInt8>) -> UnsafePointer<UInt8>? {
    let next = value.pointee == UInt8(ascii: "\"") ? value + 1 : skipBlanks(value + 1)
    switch (value.pointee, next.pointee) {
    case (UInt8(ascii: "\""), UInt8(ascii: "\"")), (UInt8(ascii: "["), UInt8(ascii: "]")),
        (UInt8(ascii: "{"), UInt8(ascii: "}")):
        return next + 1
    default: return nil
    }
}

/// The longest beginning of a text that ends with a character, in bytes.
func wholeCharacters(_ text: UnsafePointer<UInt8>, atMost limit: Int) -> Int {
    var count = limit
    while count > 0, text[count] & 0xC0 == 0x80 { count -= 1 }
    return count
}
