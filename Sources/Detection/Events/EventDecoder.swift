import Models
import RuleLanguage

/// Turns records into events: one per thread, with the working memory of the scan.
///
/// Allocates nothing once the batch's buffers have grown.
///
/// The scanner is iterative and walks the record once: keys are matched against the plan's tables, known values are converted
/// straight into the event's row, unknown ones are passed by their frame alone (``skipLoosely(_:before:)``): whatever stands in a
/// place that no field reads keeps no event from being judged. A declared value that cannot be read, or that is not UTF-8
/// (RFC 3629), leaves its field missing with an ``EventMark``. The record must be an object in JSON (RFC 8259); a byte order mark
/// before it is passed over. The same record gives the same result whatever was decoded before.
///
/// Cost: about 0.5 ns per byte of a flat record. Never throws, never traps on input; reads only the bytes it is given.
///
/// `@unchecked Sendable`: the working memory has one owner, and a noncopyable value is in one place at a time.
public struct EventDecoder: ~Copyable, @unchecked Sendable {
    /// What it decodes.
    public let plan: DecodePlan
    private let memory: DecodeMemory
    let work: DecodeWork
    /// What was wrong with single elements of the last record; whoever reads them takes them away.
    public var partLetters: [DeadLetter] = []

    public init(plan: DecodePlan) {
        self.plan = plan
        memory = DecodeMemory(plan)
        work = DecodeWork(plan, memory)
    }

    /// Decodes one record and appends its event to the batch.
    ///
    /// - Parameters:
    ///   - topic: index of the record's topic in the plan; nil for a file that holds the records of all topics: then the
    ///     discriminators choose among all types and the event's topic is its type's.
    ///   - value: the record's bytes, copied before anything is scanned; nil is a tombstone.
    ///   - beside: of each of the plan's ``DecodePlan/partsBeside`` the length, four bytes with the lowest first, -1 for one that
    ///     is not there, and its bytes; nil where none is.
    ///   - appendTime: when the log took it, milliseconds since 1970, or nil; an event whose time lies too far ahead of it is
    ///     judged at it.
    public mutating func decode(
        topic: Int?,
        partition: Int32,
        offset: Int64,
        value: UnsafeRawBufferPointer?,
        beside: UnsafeRawBufferPointer? = nil,
        appendTime: Int64? = nil,
        into batch: inout EventBatch
    ) -> DecodeResult {
        let group = topic ?? work.groupCount - 1
        guard let value else { return work.ignoring[group].tombstones ? .ignored : .rejected(DeadLetter(.tombstone)) }
        var rest = value
        // A zero or the first byte of a byte order mark: what JSON never begins with.
        if let first = value.first, first &- 1 >= 0xEE {
            let prefix = recordPrefix(value, isFramed: work.framed[group])
            if let code = prefix.fault { return .rejected(DeadLetter(code, byteOffset: prefix.count)) }
            rest = UnsafeRawBufferPointer(rebasing: value[prefix.count...])
        }
        let result = decodeRecord(
            work,
            topic: topic ?? -1,
            partition: partition,
            offset: offset,
            value: rest,
            beside: beside,
            appendTime: appendTime,
            letters: &partLetters,
            into: &batch
        )
        if rest.count == value.count { return result }
        // Places count from the record's first byte.
        let skipped = UInt32(truncatingIfNeeded: value.count - rest.count)
        for index in partLetters.indices { partLetters[index].shift(by: skipped) }
        guard case .rejected(var letter) = result else { return result }
        letter.shift(by: skipped)
        return .rejected(letter)
    }
}

/// One record through copying, choice of type, scan and the checks on the whole.
private func decodeRecord(
    _ work: DecodeWork,
    topic: Int,
    partition: Int32,
    offset: Int64,
    value: UnsafeRawBufferPointer,
    beside: UnsafeRawBufferPointer?,
    appendTime: Int64?,
    letters: inout [DeadLetter],
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
            text: count + padding + count * work.sharing + work.pseudonymBytes + padding + besideRoom(beside),
            fields: 96,
            listElements: min(count * work.listSharing, 96 * work.limits.listElements)
        )
    else {
        return batch.isEmpty ? .rejected(DeadLetter(.recordTooLarge)) : .full
    }
    let recordStart = batch.textCount
    let record = batch.text.base + recordStart
    let isASCII = copyNotingASCII(source, to: UnsafeMutableRawPointer(record), count: count)
    UnsafeMutableRawPointer(record + count).storeBytes(of: SIMD2<UInt64>(), as: SIMD2<UInt64>.self)
    let isDubious = !isASCII && firstInvalidUTF8(record, count: count) != nil

    let start = UnsafePointer(record)
    func sink(row: UnsafeMutablePointer<Slot>) -> RecordSink {
        RecordSink(
            text: batch.text.base,
            tail: record + count + padding,
            lists: batch.lists.base,
            listsCount: batch.listsCount,
            row: row,
            end: start + count,
            faultAt: start,
            isDubious: isDubious
        )
    }
    func letter(_ code: DeadLetterCode, _ sink: RecordSink) -> DeadLetter {
        DeadLetter(code, path: sink.faultPath, byteOffset: sink.faultAt - start)
    }
    func complete(_ type: Int, _ sink: RecordSink) -> DecodeResult {
        let record = RecordPlace(
            type: type,
            topic: topic,
            partition: partition,
            offset: offset,
            start: recordStart,
            count: count,
            appendTime: appendTime
        )
        if work.types[type].isPlain { return finish(work, record, sink, &batch) }
        return finishShaped(work, record, beside, sink, letters: &letters, &batch)
    }
    var out = sink(row: batch.rows.base + batch.rowsCount)
    var type = Int(work.onlyTypes[group])
    if type < 0 {
        type = scanGuessed(work, group: group, start, &out)
        if type >= 0 { return complete(type, out) }
        // Anything unusual: the discriminators first, then the type they name, so that the answer never depends on the guess.
        var selection = sink(row: work.selectorRow)
        switch selectType(work, group: group, start, beside, &selection) {
        case .rejected(.unknownEventType) where work.ignoring[group].otherTypes: return .ignored
        case .rejected(let code): return .rejected(letter(code, selection))
        case .type(let selected): type = selected
        }
        out = sink(row: batch.rows.base + batch.rowsCount)
    }
    if case .fault(let code) = scanRecord(work, type: type, start, &out, confirmed: true) {
        // What is wrong with a row that is nobody's concern is not either; that it is JSON is.
        let isIgnored = out.faultPath >= 0 && isOtherChange(work, type: type, out)
        return isIgnored ? .ignored : .rejected(letter(code, out))
    }
    return complete(type, out)
}

/// Scans a record as one of the type that the last one that began alike was of, or of the type that its discriminator names
/// instead.
///
/// A wrong guess costs the keys before the discriminator.
///
/// - Returns: the type; negative: nothing is sure.
@inline(__always)
private func scanGuessed(_ work: DecodeWork, group: Int, _ start: UnsafePointer<UInt8>, _ sink: inout RecordSink) -> Int
{
    let guess = work.guess(for: start, of: group)
    var type = Int(guess.pointee)
    if type < 0 { return -1 }
    let fresh = sink
    var outcome = scanRecord(work, type: type, start, &sink, confirmed: false)
    if case .otherType = outcome {
        type = typeNamed(sink.discriminator, in: group, work)
        if type < 0 { return -1 }
        sink = fresh
        outcome = scanRecord(work, type: type, start, &sink, confirmed: false)
    }
    guard case .complete = outcome, sink.discriminator != 0 else { return -1 }
    guess.pointee = Int16(truncatingIfNeeded: type)
    return type
}

private enum Selection {
    case type(Int)
    case rejected(DeadLetterCode)
}

@inline(never)
private func selectType(
    _ work: DecodeWork,
    group index: Int,
    _ start: UnsafePointer<UInt8>,
    _ beside: UnsafeRawBufferPointer?,
    _ sink: inout RecordSink
) -> Selection {
    let plan = work.plan.takeUnretainedValue()
    let group = index == plan.groups.count ? plan.mergedGroup : plan.groups[index]
    if group.besidePart >= 0 {
        guard let part = partBeside(group.besidePart, of: beside), let start = part.baseAddress else {
            return .rejected(.unknownEventType)
        }
        let type = typeNamed(work.hash(start.assumingMemoryBound(to: UInt8.self), count: part.count), in: index, work)
        return type < 0 ? .rejected(.unknownEventType) : .type(type)
    }
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

/// A record on its way to an event: where it came from, what type it is of, and where its bytes stand in the batch's text.
struct RecordPlace {
    var type: Int
    /// Negative in a file of all topics: then its type's first.
    var topic: Int
    var partition: Int32
    var offset: Int64
    var start: Int
    var count: Int
    var appendTime: Int64?
}

/// Appends the event whose row is filled, after the checks that need the whole of it.
@inline(__always)
func finish(
    _ work: DecodeWork,
    _ record: RecordPlace,
    part: UInt16 = 0,
    _ sink: RecordSink,
    _ batch: inout EventBatch
) -> DecodeResult {
    let plan = work.types + record.type
    var sink = sink
    if plan.pointee.amountCount > 0, let code = settleAmounts(work, plan, &sink) {
        let place = sink.faultAt - UnsafePointer(sink.text + record.start)
        return .rejected(DeadLetter(code, path: sink.faultPath, byteOffset: place))
    }
    let hasTime = plan.pointee.timeField >= 0
    var writtenTime: Int64 = 0
    if hasTime {
        writtenTime = sink.row[Int(plan.pointee.timeField)].int
    } else if let code = placedTime(&writtenTime, plan, record, work.limits) {
        return .rejected(DeadLetter(code))
    }
    var time = writtenTime
    var flags: EventFlags = []
    if let appendTime = record.appendTime, case let ahead = time.subtractingReportingOverflow(appendTime),
        ahead.overflow ? time > 0 : ahead.partialValue > work.limits.futureMilliseconds
    {
        // A log whose own clock is that wrong has no better time.
        guard appendTime >= work.limits.earliest else {
            let field = work.fields + Int(plan.pointee.firstField + plan.pointee.timeField)
            return .rejected(DeadLetter(.timestampOutOfRange, path: hasTime ? field.pointee.path : -1))
        }
        time = appendTime
        flags = .early
        if hasTime { sink.row[Int(plan.pointee.timeField)] = Slot(time) }
    }
    batch.entries[batch.count] = EventBatch.Entry(
        row: batch.rowsCount,
        time: time,
        offset: record.offset,
        partition: record.partition,
        topic: record.topic < 0 ? plan.pointee.topic : UInt16(truncatingIfNeeded: record.topic),
        type: UInt16(truncatingIfNeeded: record.type),
        recordOffset: UInt32(truncatingIfNeeded: record.start),
        recordLength: UInt32(truncatingIfNeeded: record.count),
        writtenTime: writtenTime,
        flags: flags,
        part: part
    )
    batch.count += 1
    batch.rowsCount += Int(plan.pointee.fieldCount)
    batch.textCount = sink.tail - batch.text.base
    batch.listsCount = sink.listsCount
    if sink.isOdd { work.appendMarks(to: &batch) }
    return .events(1)
}

/// The time of an event that no field holds: when the log took it, or by its place in its file or partition.
@inline(never)
private func placedTime(
    _ time: inout Int64,
    _ plan: UnsafePointer<DecodePlan.TypePlan>,
    _ record: RecordPlace,
    _ limits: DecodeLimits
) -> DeadLetterCode? {
    if plan.pointee.timeStep == 0 {
        guard let appendTime = record.appendTime else { return .missingAppendTime }
        time = appendTime
    } else {
        let span = record.offset.multipliedReportingOverflow(by: plan.pointee.timeStep)
        let sum = plan.pointee.firstTime.addingReportingOverflow(span.partialValue)
        if span.overflow || sum.overflow { return .timestampOutOfRange }
        time = sum.partialValue
    }
    return time < limits.earliest || time > limits.latest ? .timestampOutOfRange : nil
}
