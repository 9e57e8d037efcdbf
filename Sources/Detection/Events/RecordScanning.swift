import RuleLanguage

/// How a scan for a type ended.
enum ScanEnd {
    case complete
    /// The discriminator names another type than the one guessed.
    case otherType
    case fault(DeadLetterCode)
}

/// Scans a whole record as one of a type.
///
/// Unconfirmed, it stops as soon as the discriminator names another type.
@inline(never)
func scanRecord(
    _ work: DecodeWork,
    type: Int,
    _ start: UnsafePointer<UInt8>,
    _ sink: inout RecordSink,
    confirmed: Bool
) -> ScanEnd {
    let plan = work.types[type]
    let row = sink.row
    for i in 0..<Int(plan.fieldCount) { row[i] = .missing }
    // The first 64 keys seen stay in a register, the others in memory.
    var seenFirst: UInt64 = 0
    for word in 1..<max(1, Int(plan.seenWords)) { work.seen[word] = 0 }
    let nodeCount = work.nodeCount

    let hash = work.hash
    let text = UnsafePointer(sink.text)
    var at = start
    var depth = 0
    var node = plan.root
    // Place in `predictions` of what came last in this object.
    var last = node
    let end = sink.end

    @inline(__always) func stopScan(_ code: DeadLetterCode, _ place: UnsafePointer<UInt8>, path: Int32 = -1) -> ScanEnd
    {
        sink.faultPath = path
        return .fault(fault(code, at: place, &sink))
    }

    at = skipBlanks(at)
    guard at.pointee == UInt8(ascii: "{") else {
        let step = skipLoosely(at, before: end)
        if let code = step.fault { return stopScan(code, step.next) }
        let behind = skipBlanks(step.next)
        return behind == end ? stopScan(.notAnObject, at) : stopScan(.invalidJSON, behind)
    }
    depth = 1
    at = skipBlanks(at + 1)
    var closes = at.pointee == UInt8(ascii: "}")

    while true {
        if closes {
            at += 1
            depth -= 1
            if depth == 0 { break }
            let level = work.levels[depth]
            node = level.node
            last = level.last
        } else {
            // A key, its colon, its value.
            guard at.pointee == UInt8(ascii: "\"") else { return stopScan(.invalidJSON, at) }
            at += 1
            var key = work.predictions[Int(last)]
            if key >= 0, matches(work.keys + Int(key), at, end: end, work.keyBytes) {
                at += Int(work.keys[Int(key)].length) + 1
            } else {
                let step = findKey(work, node: node, at, &sink)
                if let code = step.fault { return stopScan(code, step.next) }
                at = step.next
                key = step.key
                if key >= 0 { work.predictions[Int(last)] = key }
            }
            if at.pointee != UInt8(ascii: ":") {
                at = skipBlanks(at)
                guard at.pointee == UInt8(ascii: ":") else { return stopScan(.invalidJSON, at) }
            }
            at = skipBlanks(at + 1)
            if key < 0 {
                let step = skipLoosely(at, before: end)
                if let code = step.fault { return stopScan(code, step.next) }
                at = step.next
            } else {
                let entry = work.keys + Int(key)
                let isAgain: Bool
                if entry.pointee.seen < 64 {
                    let bit: UInt64 = 1 &<< UInt64(truncatingIfNeeded: entry.pointee.seen)
                    isAgain = seenFirst & bit != 0
                    seenFirst |= bit
                } else {
                    let word = Int(entry.pointee.seen >> 6)
                    let bit: UInt64 = 1 &<< UInt64(truncatingIfNeeded: entry.pointee.seen & 63)
                    isAgain = work.seen[word] & bit != 0
                    work.seen[word] |= bit
                }
                last = nodeCount + key
                let first = at.pointee
                var step: ScanStep
                if isAgain {
                    // Two readers of such a record may take two values, so here it has none.
                    step = work.passUnusable(key, .duplicateField, at, &sink)
                } else if entry.pointee.textSlot >= 0, first == UInt8(ascii: "\"") {
                    let (known, knownBytes) = work.rememberedText(for: at + 1, of: key)
                    let isKnown = known.pointee.stands(at: at + 1, before: end, knownBytes)
                    let (stop, textHash) =
                        isKnown
                        ? (at + Int(known.pointee.length), known.pointee.hash) : endOfPlainText(at + 1, hash)
                    let count = stop - (at + 1)
                    if stop.pointee == UInt8(ascii: "\""), count >= Int(entry.pointee.textMinimum),
                        count <= Int(entry.pointee.textMaximum)
                    {
                        row[Int(entry.pointee.textSlot)] = Slot(
                            hash: textHash,
                            offset: at + 1 - text,
                            length: count,
                            bank: .event
                        )
                        if !isKnown, known.pointee.meetsAnother() {
                            known.pointee.remember(at + 1, length: count + 1, hash: textHash, in: knownBytes)
                        }
                        at = stop + 1
                        // Most values end so: a comma and the next key, without blanks.
                        if at.pointee == UInt8(ascii: ","), at[1] == UInt8(ascii: "\"") {
                            at += 1
                            closes = false
                            continue
                        }
                        step = ScanStep(next: at, fault: nil)
                    } else {
                        let field = work.fields + Int(entry.pointee.field)
                        step = scanField(at, field, work, &sink)
                        if step.fault != nil { step = work.passDamaged(step, field, at, &sink) }
                    }
                } else if entry.pointee.child >= 0, first == UInt8(ascii: "{") {
                    work.levels[depth] = DecodeWork.Level(node: node, last: last)
                    depth += 1
                    node = entry.pointee.child
                    last = node
                    at = skipBlanks(at + 1)
                    closes = at.pointee == UInt8(ascii: "}")
                    continue
                } else if first == UInt8(ascii: "n") {
                    step = scanWord(at)
                    if step.fault != nil { step = work.passUnusable(key, .wrongType, at, &sink) }
                } else if entry.pointee.field < 0 {
                    step = work.passInsteadOfObject(key, at, &sink)
                } else {
                    var field = work.fields + Int(entry.pointee.field)
                    while true {
                        if field.pointee.kind == .discriminator {
                            step = scanDiscriminator(at, key, field, work, &sink)
                            if !confirmed, step.fault == nil, sink.discriminator != plan.discriminator {
                                return .otherType
                            }
                        } else {
                            step = scanField(at, field, work, &sink)
                        }
                        if step.fault != nil { step = work.passDamaged(step, field, at, &sink) }
                        if step.fault != nil || field.pointee.next < 0 { break }
                        field = work.fields + Int(field.pointee.next)
                    }
                }
                if let code = step.fault { return .fault(code) }
                at = step.next
            }
        }
        // Behind a value.
        while true {
            at = skipBlanks(at)
            closes = at.pointee == UInt8(ascii: "}")
            if closes { break }
            if at.pointee == UInt8(ascii: ",") {
                at = skipBlanks(at + 1)
                break
            }
            // A value may go on as none of its type does: `12abc`.
            guard last >= nodeCount, isOfWord(at.pointee), isOfWord(at[-1]) else { return stopScan(.invalidJSON, at) }
            let step = work.passUnusable(last - nodeCount, .wrongType, at, &sink)
            if let code = step.fault { return .fault(code) }
            at = step.next
        }
    }
    at = skipBlanks(at)
    if at != end { return stopScan(.invalidJSON, at) }
    if sink.isDubious, let code = work.damageInvalidTexts(plan, &sink) { return .fault(code) }

    // Bit i: field i has a value. Only when something is required is the row asked again.
    var missingLow = plan.requiredLow
    while missingLow != 0 {
        let index = missingLow.trailingZeroBitCount
        if row[index].isMissing {
            return stopScan(.missingField, start, path: work.fields[Int(plan.firstField) + index].path)
        }
        missingLow &= missingLow &- 1
    }
    var missingHigh = plan.requiredHigh
    while missingHigh != 0 {
        let index = 64 + missingHigh.trailingZeroBitCount
        if row[index].isMissing {
            return stopScan(.missingField, start, path: work.fields[Int(plan.firstField) + index].path)
        }
        missingHigh &= missingHigh &- 1
    }
    return .complete
}

/// Notes the place of a fault of the record; JSON that stops at the record's end was cut there.
@inline(never)
private func fault(_ code: DeadLetterCode, at place: UnsafePointer<UInt8>, _ sink: inout RecordSink) -> DeadLetterCode {
    sink.faultAt = min(place, sink.end)
    return code == .invalidJSON && place >= sink.end ? .truncatedJSON : code
}

/// Whether the key's bytes and a closing quote stand here.
@inline(__always)
private func matches(
    _ key: UnsafePointer<DecodePlan.Key>,
    _ at: UnsafePointer<UInt8>,
    end: UnsafePointer<UInt8>,
    _ bytes: UnsafePointer<UInt8>
) -> Bool {
    let length = Int(key.pointee.length)
    if UnsafeRawPointer(at).loadUnaligned(as: UInt64.self) & key.pointee.mask != key.pointee.word { return false }
    if length > 8 {
        if length >= end - at { return false }
        if UnsafeRawPointer(at + (length - 8)).loadUnaligned(as: UInt64.self) != key.pointee.tail { return false }
        if length > 16, !sameBytes(at, bytes + Int(key.pointee.bytes), length) { return false }
    }
    return at[length] == UInt8(ascii: "\"")
}

@inline(never)
private func sameBytes(_ a: UnsafePointer<UInt8>, _ b: UnsafePointer<UInt8>, _ count: Int) -> Bool {
    for i in 0..<count where a[i] != b[i] { return false }
    return true
}

/// What a key is: its index in the plan, or -1 when it is unknown.
private struct KeyStep {
    var next: UnsafePointer<UInt8>
    var fault: DeadLetterCode?
    var key: Int32
}

/// Looks up the key whose first byte stands here; `next` is behind its closing quote.
///
/// Most records hold more keys than anybody reads, the same ones each time: those are known as strangers (``StrangeKey``).
@inline(never)
private func findKey(
    _ work: DecodeWork,
    node: Int32,
    _ first: UnsafePointer<UInt8>,
    _ sink: inout RecordSink
) -> KeyStep {
    let stranger = work.strangeKey(for: first, of: node)
    if stranger.pointee.stands(at: first, in: node) {
        return KeyStep(next: first + Int(stranger.pointee.length), fault: nil, key: -1)
    }
    return lookUpKey(work, node: node, first, stranger, &sink)
}

/// The same for a key that is not known as a stranger; it may be remembered as one.
@inline(never)
private func lookUpKey(
    _ work: DecodeWork,
    node: Int32,
    _ first: UnsafePointer<UInt8>,
    _ stranger: UnsafeMutablePointer<StrangeKey>,
    _ sink: inout RecordSink
) -> KeyStep {
    var start = first
    let stop = endOfPlainText(first)
    var count = stop - first
    var next = stop + 1
    if stop.pointee != UInt8(ascii: "\"") {
        // Escaped keys are rare; unescaped behind the record, where zero bytes follow.
        let step = unescape(first, into: sink.tail, count: &count)
        if step.fault != nil {
            // Not a text, so nobody's key.
            let step = skipTextLoosely(first, before: sink.end)
            return KeyStep(next: step.next, fault: step.fault, key: -1)
        }
        start = UnsafePointer(sink.tail)
        UnsafeMutableRawPointer(sink.tail + count).storeBytes(of: 0, as: UInt64.self)
        next = step.next
    }
    let mask: UInt64 = count >= 8 ? .max : (1 &<< UInt64(truncatingIfNeeded: count * 8)) &- 1
    let word = UnsafeRawPointer(start).loadUnaligned(as: UInt64.self) & mask
    let table = work.nodes[Int(node)]
    var place = UInt32(truncatingIfNeeded: keyTableHash(word: word, length: count)) & table.tableMask
    while true {
        let index = work.keyTable[Int(table.table) + Int(place)]
        if index < 0 {
            if start == first { stranger.pointee.remember(first, length: count + 1, in: node) }
            return KeyStep(next: next, fault: nil, key: -1)
        }
        let key = work.keys + Int(index)
        if key.pointee.word == word, Int(key.pointee.length) == count,
            count <= 8 || sameBytes(start, work.keyBytes + Int(key.pointee.bytes), count)
        {
            return KeyStep(next: next, fault: nil, key: Int32(index))
        }
        place = (place &+ 1) & table.tableMask
    }
}

/// Reads the value that tells the type: a string, or a number or word by its letters.
///
/// Anything else counts as absent. Types come again and again, so a text is mostly a remembered one (``RememberedText``).
@inline(never)
private func scanDiscriminator(
    _ at: UnsafePointer<UInt8>,
    _ key: Int32,
    _ field: UnsafePointer<DecodePlan.Field>,
    _ work: DecodeWork,
    _ sink: inout RecordSink
) -> ScanStep {
    @inline(__always) func take(_ hash: UInt64, _ start: UnsafePointer<UInt8>, _ count: Int) {
        sink.discriminator = hash
        if field.pointee.slot < 0 { return }
        let offset = start - UnsafePointer(sink.text)
        sink.row[Int(field.pointee.slot)] = Slot(hash: hash, offset: offset, length: count, bank: .event)
    }
    if at.pointee == UInt8(ascii: "\"") {
        let start = at + 1
        let (known, knownBytes) = work.rememberedText(for: start, of: key)
        if known.pointee.stands(at: start, before: sink.end, knownBytes) {
            let count = Int(known.pointee.length) - 1
            take(known.pointee.hash, start, count)
            return ScanStep(next: start + count + 1, fault: nil)
        }
        let (stop, hash) = endOfPlainText(start, work.hash)
        if stop.pointee == UInt8(ascii: "\"") {
            let count = stop - start
            take(hash, start, count)
            if known.pointee.meetsAnother() {
                known.pointee.remember(start, length: count + 1, hash: hash, in: knownBytes)
            }
            return ScanStep(next: stop + 1, fault: nil)
        }
    }
    let step = skipLoosely(at, before: sink.end)
    if step.fault != nil { return step }
    var start = at
    var count = step.next - at
    if at.pointee == UInt8(ascii: "\"") {
        // Not a plain text: its escapes are resolved behind the record.
        start += 1
        count -= 2
        let text = unescape(start, into: sink.tail, count: &count)
        if text.fault != nil { return text }
        start = UnsafePointer(sink.tail)
    } else if at.pointee == UInt8(ascii: "{") || at.pointee == UInt8(ascii: "[") {
        return step
    }
    take(work.hash(start, count: count), start, count)
    return step
}
