import RuleLanguage

/// Turns records into events: one per thread, with the working memory of the scan.
///
/// Allocates nothing once the batch's buffers have grown.
///
/// The scanner is iterative and walks the record once: keys are matched against the plan's tables, known values are converted straight into
/// the event's row, unknown ones are passed but fully validated. The whole record must be UTF-8 (RFC 3629) and JSON (RFC 8259) without a
/// byte order mark. The same record gives the same result whatever was decoded before.
///
/// Cost: about 0.5 ns per byte of a flat record. Never throws, never traps on input; reads only the bytes it is given.
public struct EventDecoder: ~Copyable, @unchecked Sendable {
    // Sendable: the working memory has one owner, and a noncopyable value is in one place at a time.

    /// What it decodes.
    public let plan: DecodePlan
    let work: DecodeWork

    public init(plan: DecodePlan) {
        self.plan = plan
        work = DecodeWork(plan)
    }

    deinit { work.deallocate() }

    /// Decodes one record and appends its event to the batch.
    ///
    /// - Parameters:
    ///   - topic: index of the record's topic in the plan; nil for a file that holds the records of all topics: then the discriminators
    ///     choose among all types and the event's topic is its type's.
    ///   - value: the record's bytes, copied before anything is scanned; nil is a tombstone.
    ///   - appendTime: when the log took it, milliseconds since 1970, or nil; bounds how far ahead the event time may be.
    public mutating func decode(
        topic: Int?, partition: Int32, offset: Int64, value: UnsafeRawBufferPointer?, appendTime: Int64? = nil,
        into batch: inout EventBatch
    ) -> DecodeResult {
        guard let value else { return .rejected(DeadLetter(.tombstone)) }
        return decodeRecord(
            work, topic: topic ?? -1, partition: partition, offset: offset, value: value, appendTime: appendTime,
            into: &batch)
    }
}

/// The tables of a plan and the memory of one decoder, as plain pointers: copied freely, no reference counts on the way.
struct DecodeWork {
    let plan: Unmanaged<DecodePlan>
    let types: UnsafeMutablePointer<DecodePlan.TypePlan>
    let nodes: UnsafeMutablePointer<DecodePlan.Node>
    let keys: UnsafeMutablePointer<DecodePlan.Key>
    let keyBytes: UnsafeMutablePointer<UInt8>
    let keyTable: UnsafeMutablePointer<Int16>
    let fields: UnsafeMutablePointer<DecodePlan.Field>
    let allowed: UnsafeMutablePointer<UInt64>
    let hash: TextHash
    let limits: DecodeLimits

    /// Per group (the topics, then the merged one): the type of the last record, tried first for the next.
    let guesses: UnsafeMutablePointer<Int32>
    /// Per group: its only type, -1 when there is something to choose.
    let onlyTypes: UnsafeMutablePointer<Int32>
    let groupCount: Int
    /// Behind the start of each node and behind each key: the key that came next the last time.
    ///
    /// Only where to look first.
    let predictions: UnsafeMutablePointer<Int32>
    let seen: UnsafeMutablePointer<UInt64>
    /// Open objects on a known path: the node, the last key's place in `predictions` and the number of keys.
    let levels: UnsafeMutablePointer<Level>
    let counts: UnsafeMutablePointer<UInt32>
    let selectorRow: UnsafeMutablePointer<Slot>
    let nodeCount: Int32
    let sharing: Int
    let pseudonymBytes: Int

    struct Level {
        var node: Int32
        var last: Int32
        var count: Int32
    }

    init(_ plan: DecodePlan) {
        self.plan = .passUnretained(plan)
        types = plan.typePlans
        nodes = plan.nodes
        keys = plan.keys
        keyBytes = plan.keyBytes
        keyTable = plan.keyTable
        fields = plan.fields
        allowed = plan.allowed
        hash = plan.hash
        limits = plan.limits
        groupCount = plan.groups.count + 1
        guesses = .allocate(capacity: groupCount)
        onlyTypes = .allocate(capacity: groupCount)
        for (index, group) in (plan.groups + [plan.mergedGroup]).enumerated() {
            guesses[index] = group.isGuessable ? Int32(group.types[0]) : -1
            onlyTypes[index] = group.selector < 0 ? Int32(group.types[0]) : -1
        }
        predictions = .allocate(capacity: plan.nodeCount + plan.keyCount)
        predictions.initialize(repeating: -1, count: plan.nodeCount + plan.keyCount)
        seen = .allocate(capacity: max(plan.seenWords, 1))
        levels = .allocate(capacity: 64)
        counts = .allocate(capacity: 64)
        selectorRow = .allocate(capacity: plan.selectorWidth)
        nodeCount = Int32(truncatingIfNeeded: plan.nodeCount)
        sharing = plan.sharing
        pseudonymBytes = plan.pseudonymBytes
        levels.initialize(repeating: Level(node: 0, last: 0, count: 0), count: 64)
        counts.initialize(repeating: 0, count: 64)
        selectorRow.initialize(repeating: .missing, count: plan.selectorWidth)
        seen.initialize(repeating: 0, count: max(plan.seenWords, 1))
    }

    func deallocate() {
        guesses.deallocate()
        onlyTypes.deallocate()
        predictions.deallocate()
        seen.deallocate()
        levels.deallocate()
        counts.deallocate()
        selectorRow.deallocate()
    }
}

/// Where one record's values go, and where its first mistake is.
struct RecordSink {
    /// Start of the batch's text; all offsets count from here.
    var text: UnsafeMutablePointer<UInt8>
    /// Where the next rewritten text goes.
    var tail: UnsafeMutablePointer<UInt8>
    var lists: UnsafeMutablePointer<Slot>
    var listsCount: Int
    var row: UnsafeMutablePointer<Slot>
    /// First byte behind the record.
    var end: UnsafePointer<UInt8>
    /// The path a fault is about, or -1.
    var faultPath: Int32 = -1
    var faultAt: UnsafePointer<UInt8>
    /// When scanning for a guessed type: the hash of the discriminator found, 0 before.
    var discriminator: UInt64 = 0
}

/// How a scan for a type ended.
private enum ScanEnd {
    case complete
    /// The discriminator names another type than the one guessed.
    case otherType
    case fault(DeadLetterCode)
}

/// One record through copying, choice of type, scan and the checks on the whole.
private func decodeRecord(
    _ work: DecodeWork, topic: Int, partition: Int32, offset: Int64, value: UnsafeRawBufferPointer, appendTime: Int64?,
    into batch: inout EventBatch
) -> DecodeResult {
    let count = value.count
    guard count <= work.limits.recordBytes else {
        return .rejected(DeadLetter(.recordTooLarge, byteOffset: work.limits.recordBytes))
    }
    let group = topic < 0 ? work.groupCount - 1 : topic
    precondition(topic < work.groupCount - 1, "no such topic in the plan")
    guard let source = value.baseAddress, count > 0 else { return .rejected(DeadLetter(.truncatedJSON)) }

    // Unescaped texts are no longer than their source; the last term keeps the scanner's word reads inside the buffer.
    let padding = EventBatch.readablePadding
    guard
        batch.reserve(
            text: count + padding + count * work.sharing + work.pseudonymBytes + padding, fields: 96,
            listElements: min(count, 96 * work.limits.listElements))
    else {
        return batch.isEmpty ? .rejected(DeadLetter(.recordTooLarge)) : .full
    }
    let recordStart = batch.textCount
    let record = batch.text + recordStart
    let isASCII = copyNotingASCII(source, to: UnsafeMutableRawPointer(record), count: count)
    UnsafeMutableRawPointer(record + count).storeBytes(of: SIMD2<UInt64>(), as: SIMD2<UInt64>.self)
    if !isASCII, let fault = firstInvalidUTF8(record, count: count) {
        return .rejected(DeadLetter(.invalidUTF8, byteOffset: fault))
    }

    let start = UnsafePointer(record)
    func sink(row: UnsafeMutablePointer<Slot>) -> RecordSink {
        RecordSink(
            text: batch.text, tail: record + count + padding, lists: batch.lists, listsCount: batch.listsCount,
            row: row,
            end: start + count, faultAt: start)
    }
    func letter(_ code: DeadLetterCode, _ sink: RecordSink) -> DeadLetter {
        DeadLetter(code, path: sink.faultPath, byteOffset: sink.faultAt - start)
    }
    var out = sink(row: batch.rows + batch.rowsCount)
    var type = Int(work.onlyTypes[group])
    if type < 0 {
        // Guess the type and let the scan confirm it; a wrong guess costs the keys before the discriminator.
        let guess = Int(work.guesses[group])
        if guess >= 0 {
            var outcome = scanRecord(work, type: guess, start, &out, confirmed: false)
            type = guess
            if case .otherType = outcome {
                type = typeNamed(out.discriminator, in: group, work)
                if type >= 0 {
                    out = sink(row: batch.rows + batch.rowsCount)
                    outcome = scanRecord(work, type: type, start, &out, confirmed: false)
                }
            }
            if type >= 0, case .complete = outcome, out.discriminator != 0 {
                work.guesses[group] = Int32(truncatingIfNeeded: type)
                return finish(
                    work, type: type, topic: topic, partition: partition, offset: offset, recordStart, count,
                    appendTime, out, &batch)
            }
        }
        // Anything unusual: the discriminators first, then the type they name, so that the answer never depends on the guess.
        var selection = sink(row: work.selectorRow)
        switch selectType(work, group: group, start, &selection) {
        case .rejected(let code): return .rejected(letter(code, selection))
        case .type(let selected): type = selected
        }
        out = sink(row: batch.rows + batch.rowsCount)
    }
    if case .fault(let code) = scanRecord(work, type: type, start, &out, confirmed: true) {
        return .rejected(letter(code, out))
    }
    return finish(
        work, type: type, topic: topic, partition: partition, offset: offset, recordStart, count, appendTime, out,
        &batch)
}

private enum Selection {
    case type(Int)
    case rejected(DeadLetterCode)
}

@inline(never)
private func selectType(_ work: DecodeWork, group index: Int, _ start: UnsafePointer<UInt8>, _ sink: inout RecordSink)
    -> Selection
{
    let plan = work.plan.takeUnretainedValue()
    let group = index == plan.groups.count ? plan.mergedGroup : plan.groups[index]
    if case .fault(let code) = scanRecord(work, type: group.selector, start, &sink, confirmed: true) {
        return .rejected(code)
    }
    if let type = plan.type(in: group, row: UnsafePointer(sink.row)) { return .type(type) }
    let selector = work.types[group.selector]
    if selector.fieldCount > 0 { sink.faultPath = work.fields[Int(selector.firstField)].path }
    let first = selector.fieldCount > 0 ? sink.row[0] : .missing
    sink.faultAt =
        first.isMissing || first.textOffset < start - UnsafePointer(sink.text)
        ? start : UnsafePointer(sink.text) + first.textOffset
    if sink.faultAt > sink.end { sink.faultAt = start }
    return .rejected(.unknownEventType)
}

/// The type of a guessable group whose discriminator has this hash, or -1.
@inline(never)
private func typeNamed(_ discriminator: UInt64, in index: Int, _ work: DecodeWork) -> Int {
    work.plan._withUnsafeGuaranteedRef { plan in
        let group = index == plan.groups.count ? plan.mergedGroup : plan.groups[index]
        for type in group.types where work.types[type].discriminator == discriminator { return type }
        return -1
    }
}

/// Appends the event whose row is filled, after the checks that need the whole of it.
@inline(__always)
func finish(
    _ work: DecodeWork, type: Int, topic: Int, partition: Int32, offset: Int64, _ recordStart: Int, _ count: Int,
    _ appendTime: Int64?,
    _ sink: RecordSink, _ batch: inout EventBatch
) -> DecodeResult {
    let plan = work.types + type
    let time = sink.row[Int(plan.pointee.timeField)].int
    if let appendTime, case let ahead = time.subtractingReportingOverflow(appendTime),
        ahead.overflow ? time > 0 : ahead.partialValue > work.limits.futureMilliseconds
    {
        let field = work.fields + Int(plan.pointee.firstField + plan.pointee.timeField)
        return .rejected(DeadLetter(.timestampOutOfRange, path: field.pointee.path))
    }
    batch.entries[batch.count] = EventBatch.Entry(
        row: batch.rowsCount, time: time, offset: offset, partition: partition,
        topic: topic < 0 ? plan.pointee.topic : UInt16(truncatingIfNeeded: topic),
        type: UInt16(truncatingIfNeeded: type),
        recordOffset: UInt32(truncatingIfNeeded: recordStart), recordLength: UInt32(truncatingIfNeeded: count))
    batch.count += 1
    batch.rowsCount += Int(plan.pointee.fieldCount)
    batch.textCount = sink.tail - batch.text
    batch.listsCount = sink.listsCount
    return .event
}

/// Scans a whole record as one of a type.
///
/// Unconfirmed, it stops as soon as the discriminator names another type.
@inline(never)
private func scanRecord(
    _ work: DecodeWork, type: Int, _ start: UnsafePointer<UInt8>, _ sink: inout RecordSink, confirmed: Bool
) -> ScanEnd {
    let plan = work.types[type]
    let row = sink.row
    for i in 0..<Int(plan.fieldCount) { row[i] = .missing }
    // The first 64 keys seen stay in a register, the others in memory.
    var seenFirst: UInt64 = 0
    var seenWord = 1
    while seenWord < Int(plan.seenWords) {
        work.seen[seenWord] = 0
        seenWord += 1
    }
    let nodeCount = work.nodeCount

    let hash = work.hash
    let text = UnsafePointer(sink.text)
    var at = start
    var depth = 0
    var node = plan.root
    var keyCount = 0
    // Place in `predictions` of what came last in this object.
    var last = node
    let end = sink.end
    let limits = SkipLimits(
        depth: work.limits.depth, keysPerObject: UInt32(truncatingIfNeeded: work.limits.keysPerObject),
        arrayElements: UInt32(truncatingIfNeeded: work.limits.arrayElements), textBytes: work.limits.textBytes,
        numberDigits: work.limits.numberDigits, counts: work.counts, scratch: sink.tail)

    @inline(__always) func stopScan(_ code: DeadLetterCode, _ place: UnsafePointer<UInt8>, path: Int32 = -1) -> ScanEnd
    {
        sink.faultPath = path
        return .fault(fault(code, at: place, &sink))
    }

    at = skipBlanks(at)
    guard at.pointee == UInt8(ascii: "{") else {
        // An array or a lone value is JSON, only not ours; say what is wrong inside first.
        var limits = limits
        limits.scratch = sink.tail
        let step = skipValue(at, depth: 0, limits)
        return stopScan(step.fault ?? .wrongType, step.fault == nil ? at : step.next)
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
            keyCount = Int(level.count)
        } else {
            // A key, its colon, its value.
            guard at.pointee == UInt8(ascii: "\"") else { return stopScan(.invalidJSON, at) }
            at += 1
            keyCount += 1
            if keyCount > work.limits.keysPerObject { return stopScan(.tooManyKeys, at) }
            var key = work.predictions[Int(last)]
            if key >= 0, matches(work.keys + Int(key), at, end: end, work.keyBytes) {
                at += Int(work.keys[Int(key)].length) + 1
            } else {
                let keyStart = at
                key = findKey(work, node: node, &at, limits, &sink)
                if key == -2 { return stopScan(.textTooLong, keyStart) }
                if key == -3 { return stopScan(.invalidJSON, sink.faultAt) }
                if key == -4 { return stopScan(.invalidEscape, sink.faultAt) }
                if key == -5 { return stopScan(.controlCharacter, sink.faultAt) }
                if key >= 0 { work.predictions[Int(last)] = key }
            }
            if at.pointee != UInt8(ascii: ":") {
                at = skipBlanks(at)
                guard at.pointee == UInt8(ascii: ":") else { return stopScan(.invalidJSON, at) }
            }
            at = skipBlanks(at + 1)
            if key < 0 {
                var limits = limits
                limits.scratch = sink.tail
                let step = skipValue(at, depth: depth, limits)
                if let code = step.fault { return stopScan(code, step.next) }
                at = step.next
            } else {
                let entry = work.keys + Int(key)
                if entry.pointee.seen < 64 {
                    let bit: UInt64 = 1 &<< UInt64(truncatingIfNeeded: entry.pointee.seen)
                    if seenFirst & bit != 0 { return stopScan(.duplicateField, at, path: entry.pointee.path) }
                    seenFirst |= bit
                } else {
                    let word = Int(entry.pointee.seen >> 6)
                    let bit: UInt64 = 1 &<< UInt64(truncatingIfNeeded: entry.pointee.seen & 63)
                    if work.seen[word] & bit != 0 { return stopScan(.duplicateField, at, path: entry.pointee.path) }
                    work.seen[word] |= bit
                }
                last = nodeCount + key
                let first = at.pointee
                if entry.pointee.textSlot >= 0, first == UInt8(ascii: "\"") {
                    let stop = endOfPlainText(at + 1)
                    let count = stop - (at + 1)
                    if stop.pointee == UInt8(ascii: "\""), count <= Int(entry.pointee.textMaximum) {
                        row[Int(entry.pointee.textSlot)] = Slot(
                            hash: hash(at + 1, count: count), offset: at + 1 - text, length: count, bank: .event)
                        at = stop + 1
                        // Most values end so: a comma and the next key, without blanks.
                        if at.pointee == UInt8(ascii: ","), at[1] == UInt8(ascii: "\"") {
                            at += 1
                            closes = false
                            continue
                        }
                    } else {
                        let step = scanField(
                            at, depth: depth, work.fields + Int(entry.pointee.field), work, limits, &sink)
                        if let code = step.fault {
                            return stopScan(code, step.next, path: code.isSyntax ? -1 : entry.pointee.path)
                        }
                        at = step.next
                    }
                } else if entry.pointee.child >= 0, first == UInt8(ascii: "{") {
                    if depth >= work.limits.depth { return stopScan(.depthExceeded, at) }
                    work.levels[depth] = DecodeWork.Level(
                        node: node, last: last, count: Int32(truncatingIfNeeded: keyCount))
                    depth += 1
                    node = entry.pointee.child
                    last = node
                    keyCount = 0
                    at = skipBlanks(at + 1)
                    closes = at.pointee == UInt8(ascii: "}")
                    continue
                } else if first == UInt8(ascii: "n") {
                    let step = scanWord(at)
                    if let code = step.fault { return stopScan(code, step.next) }
                    at = step.next
                } else if entry.pointee.field < 0 {
                    // An object was expected here; what stands here instead is looked at first.
                    var limits = limits
                    limits.scratch = sink.tail
                    let step = skipValue(at, depth: depth, limits)
                    return stopScan(
                        step.fault ?? .wrongType, step.fault == nil ? at : step.next,
                        path: step.fault == nil ? entry.pointee.path : -1)
                } else {
                    var field = work.fields + Int(entry.pointee.field)
                    let valueStart = at
                    while true {
                        let step: ScanStep
                        if field.pointee.kind == .discriminator {
                            step = scanDiscriminator(valueStart, depth: depth, field, work, limits, &sink)
                            if !confirmed, step.fault == nil, sink.discriminator != plan.discriminator {
                                return .otherType
                            }
                        } else {
                            step = scanField(valueStart, depth: depth, field, work, limits, &sink)
                        }
                        if let code = step.fault {
                            let isSyntax = code.isSyntax
                            return stopScan(code, step.next, path: isSyntax ? -1 : field.pointee.path)
                        }
                        at = step.next
                        if field.pointee.next < 0 { break }
                        field = work.fields + Int(field.pointee.next)
                    }
                }
            }
        }
        // Behind a value.
        at = skipBlanks(at)
        if at.pointee == UInt8(ascii: ",") {
            at = skipBlanks(at + 1)
            closes = false
        } else if at.pointee == UInt8(ascii: "}") {
            closes = true
        } else {
            return stopScan(.invalidJSON, at)
        }
    }
    at = skipBlanks(at)
    if at != end { return stopScan(.invalidJSON, at) }

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

extension DeadLetterCode {
    /// Of the notation, not of a field's value.
    var isSyntax: Bool {
        switch self {
        case .truncatedJSON, .invalidJSON, .controlCharacter, .invalidEscape, .depthExceeded, .tooManyKeys, .invalidCSV:
            true
        default: false
        }
    }
}

/// Notes the place of a fault; what stops at the record's end, or inside an escape that nothing closes, ends too early.
@inline(never)
private func fault(_ code: DeadLetterCode, at place: UnsafePointer<UInt8>, _ sink: inout RecordSink) -> DeadLetterCode {
    sink.faultAt = min(place, sink.end)
    switch code {
    case .invalidJSON, .controlCharacter:
        return place >= sink.end ? .truncatedJSON : code
    case .invalidEscape:
        var at = place
        while at < sink.end, at.pointee != UInt8(ascii: "\"") || at == place + 1 { at += 1 }
        return at >= sink.end && sink.end - place < 12 ? .truncatedJSON : code
    default: return code
    }
}

/// Whether the key's bytes and a closing quote stand here.
@inline(__always)
private func matches(
    _ key: UnsafePointer<DecodePlan.Key>, _ at: UnsafePointer<UInt8>, end: UnsafePointer<UInt8>,
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

/// Looks a key up whose first byte `at` stands on and moves behind its closing quote; -1: unknown; below: a fault.
@inline(never)
private func findKey(
    _ work: DecodeWork, node: Int32, _ at: inout UnsafePointer<UInt8>, _ limits: borrowing SkipLimits,
    _ sink: inout RecordSink
) -> Int32 {
    var start = at
    let stop = endOfPlainText(start)
    var count = stop - start
    if stop.pointee == UInt8(ascii: "\"") {
        at = stop + 1
    } else {
        // Escaped keys are rare; unescaped behind the record, where zero bytes follow.
        let step = unescape(start, into: sink.tail, count: &count)
        sink.faultAt = step.next
        if let code = step.fault { return code == .invalidEscape ? -4 : -5 }
        start = UnsafePointer(sink.tail)
        UnsafeMutableRawPointer(sink.tail + count).storeBytes(of: 0, as: UInt64.self)
        at = step.next
    }
    if count > limits.textBytes { return -2 }
    let mask: UInt64 = count >= 8 ? .max : (1 &<< UInt64(truncatingIfNeeded: count * 8)) &- 1
    let word = UnsafeRawPointer(start).loadUnaligned(as: UInt64.self) & mask
    let table = work.nodes[Int(node)]
    var place = UInt32(truncatingIfNeeded: keyTableHash(word: word, length: count)) & table.tableMask
    while true {
        let index = work.keyTable[Int(table.table) + Int(place)]
        if index < 0 { return -1 }
        let key = work.keys + Int(index)
        if key.pointee.word == word, Int(key.pointee.length) == count,
            count <= 8 || sameBytes(start, work.keyBytes + Int(key.pointee.bytes), count)
        {
            return Int32(index)
        }
        place = (place &+ 1) & table.tableMask
    }
}

/// Reads the value that tells the type: a string, or a number or word by its letters.
///
/// Anything else counts as absent.
@inline(never)
private func scanDiscriminator(
    _ at: UnsafePointer<UInt8>, depth: Int, _ field: UnsafePointer<DecodePlan.Field>, _ work: DecodeWork,
    _ limits: borrowing SkipLimits,
    _ sink: inout RecordSink
) -> ScanStep {
    var limits = copy limits
    limits.scratch = sink.tail
    let step = skipValue(at, depth: depth, limits)
    if step.fault != nil { return step }
    var start = at
    var count = step.next - at
    if at.pointee == UInt8(ascii: "\"") {
        start += 1
        count -= 2
        if endOfPlainText(start) < start + count {
            _ = unescape(start, into: sink.tail, count: &count)
            start = UnsafePointer(sink.tail)
        }
    } else if at.pointee == UInt8(ascii: "{") || at.pointee == UInt8(ascii: "[") {
        return step
    }
    let hash = work.hash(start, count: count)
    sink.discriminator = hash
    if field.pointee.slot >= 0 {
        sink.row[Int(field.pointee.slot)] = Slot(
            hash: hash, offset: start - UnsafePointer(sink.text), length: count, bank: .event)
    }
    return step
}
