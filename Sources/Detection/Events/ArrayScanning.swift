import RuleLanguage

/// Reads what all paths into the array that starts here lead to; `next` is behind the array.
///
/// One walk for each path: the elements of a list stand together in the list table. A path that leads to a value its field cannot
/// take damages that field alone.
func scanArray(
    _ start: UnsafePointer<UInt8>,
    _ first: Int32,
    _ work: DecodeWork,
    _ sink: inout RecordSink
) -> ScanStep {
    var step = ScanStep(next: start, fault: nil)
    var index = first
    while index >= 0 {
        let path = work.arrayPaths[Int(index)]
        let walk = ArrayWalk(
            work: work,
            field: work.fields + Int(path.field),
            end: path.firstStep + path.stepCount,
            isList: path.isList,
            firstElement: sink.listsCount
        )
        if walk.field.pointee.kind == .elements {
            // Kept for later: the events need the record's other fields.
            sink.elements = start
            step = skipLoosely(start, before: sink.end)
        } else {
            step = walk.value(start, step: path.firstStep, &sink)
        }
        if step.fault != nil {
            sink.listsCount = walk.firstElement
            step = work.passDamaged(step, walk.field, start, &sink)
            if step.fault != nil { return step }
        } else if path.isList, walk.field.pointee.kind != .elements {
            storeList(from: walk.firstElement, walk.field, &sink)
        }
        index = path.next
    }
    return step
}

/// One path's way through an array; recursion as deep as the path has steps.
private struct ArrayWalk {
    let work: DecodeWork
    let field: UnsafePointer<DecodePlan.Field>
    /// Behind the last step.
    let end: Int32
    /// What is found is appended to the list table, from `firstElement` on.
    let isList: Bool
    let firstElement: Int

    /// Passes a value, taking from it what the steps from `index` on lead to.
    func value(_ at: UnsafePointer<UInt8>, step index: Int32, _ sink: inout RecordSink) -> ScanStep {
        // What is null is not there.
        if at.pointee == UInt8(ascii: "n") { return scanWord(at) }
        if index == end {
            return isList ? element(at, &sink) : scanField(at, field, work, &sink)
        }
        let step = work.pathSteps[Int(index)]
        let isObject = step.kind == .key
        guard at.pointee == (isObject ? UInt8(ascii: "{") : UInt8(ascii: "[")) else {
            return endOfNothing(at).map { ScanStep(next: $0, fault: nil) } ?? ScanStep(next: at, fault: .wrongType)
        }
        return isObject
            ? object(at, step, index, &sink) : array(at, step, index, &sink)
    }

    private func array(
        _ start: UnsafePointer<UInt8>,
        _ wanted: DecodePlan.PathStep,
        _ index: Int32,
        _ sink: inout RecordSink
    ) -> ScanStep {
        var at = skipBlanks(start + 1)
        if at.pointee == UInt8(ascii: "]") { return ScanStep(next: at + 1, fault: nil) }
        var count: Int32 = 0
        while true {
            let isMeant = wanted.kind == .each || count == wanted.index
            let step =
                isMeant
                ? value(at, step: index + 1, &sink)
                : skipLoosely(at, before: sink.end)
            if step.fault != nil { return step }
            count &+= 1
            at = skipBlanks(step.next)
            if at.pointee == UInt8(ascii: "]") { return ScanStep(next: at + 1, fault: nil) }
            guard at.pointee == UInt8(ascii: ",") else { return ScanStep(next: at, fault: .invalidJSON) }
            at = skipBlanks(at + 1)
        }
    }

    private func object(
        _ start: UnsafePointer<UInt8>,
        _ wanted: DecodePlan.PathStep,
        _ index: Int32,
        _ sink: inout RecordSink
    ) -> ScanStep {
        var at = skipBlanks(start + 1)
        if at.pointee == UInt8(ascii: "}") { return ScanStep(next: at + 1, fault: nil) }
        var isFound = false
        while true {
            guard at.pointee == UInt8(ascii: "\"") else { return ScanStep(next: at, fault: .invalidJSON) }
            var isMeant = false
            let key = key(at + 1, wanted, &isMeant, sink)
            if key.fault != nil { return key }
            at = skipBlanks(key.next)
            guard at.pointee == UInt8(ascii: ":") else { return ScanStep(next: at, fault: .invalidJSON) }
            at = skipBlanks(at + 1)
            if isMeant, isFound { return ScanStep(next: at, fault: .duplicateField) }
            isFound = isFound || isMeant
            let step =
                isMeant
                ? value(at, step: index + 1, &sink)
                : skipLoosely(at, before: sink.end)
            if step.fault != nil { return step }
            at = skipBlanks(step.next)
            if at.pointee == UInt8(ascii: "}") { return ScanStep(next: at + 1, fault: nil) }
            guard at.pointee == UInt8(ascii: ",") else { return ScanStep(next: at, fault: .invalidJSON) }
            at = skipBlanks(at + 1)
        }
    }

    /// Passes a key from its first byte to behind its closing quote.
    private func key(
        _ start: UnsafePointer<UInt8>,
        _ wanted: DecodePlan.PathStep,
        _ isMeant: inout Bool,
        _ sink: RecordSink
    ) -> ScanStep {
        var text = start
        let stop = endOfPlainText(start)
        var count = stop - start
        var step = ScanStep(next: stop + 1, fault: nil)
        if stop.pointee != UInt8(ascii: "\"") {
            step = unescape(start, into: sink.tail, count: &count)
            // Not a text, so nobody's key.
            if step.fault != nil { return skipTextLoosely(start, before: sink.end) }
            text = UnsafePointer(sink.tail)
        }
        guard count == Int(wanted.length) else { return step }
        let bytes = work.keyBytes + Int(wanted.bytes)
        for i in 0..<count where text[i] != bytes[i] { return step }
        isMeant = true
        return step
    }

    /// A text of a list.
    private func element(_ at: UnsafePointer<UInt8>, _ sink: inout RecordSink) -> ScanStep {
        let entry = field.pointee.kind == .converted ? work.conversion(of: field).entry : nil
        if sink.listsCount - firstElement >= work.limits.listElements {
            work.noteCut(field, &sink)
            return skipLoosely(at, before: sink.end)
        }
        var text = at
        var count = 0
        var step = ScanStep(next: at, fault: nil)
        if at.pointee == UInt8(ascii: "\"") {
            step = textValue(at + 1, &text, &count, sink)
            if step.fault != nil { return step }
            if text == UnsafePointer(sink.tail) { sink.tail += count }
        } else if let entry, entry.pointee.coercions.contains(.ids), let stop = endOfDigits(at) {
            count = stop - at
            step.next = stop
            work.noteCoerced(field, &sink)
        } else {
            return ScanStep(next: at, fault: .wrongType)
        }
        if let entry, isNull(text, count: count, entry, work) { return step }
        if let code = appendElement(text, count: count, field, work, &sink) { return ScanStep(next: at, fault: code) }
        return step
    }
}
