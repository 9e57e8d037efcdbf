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
        guard let value else { return .rejected(DeadLetter(.tombstone)) }
        var rest = value
        // A zero or the first byte of a byte order mark: what JSON never begins with.
        if let first = value.first, first &- 1 >= 0xEE {
            let prefix = recordPrefix(value, isFramed: work.framed[topic ?? work.groupCount - 1])
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
            into: &batch
        )
        guard rest.count < value.count, case .rejected(var letter) = result else { return result }
        // Its place counts from the record's first byte.
        letter.byteOffset += UInt32(truncatingIfNeeded: value.count - rest.count)
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
        var sink = sink
        if work.types[type].besideCount > 0, let code = takeBeside(work, type: type, beside, &sink) {
            return .rejected(DeadLetter(code, path: sink.faultPath))
        }
        return finish(
            work,
            type: type,
            topic: topic,
            partition: partition,
            offset: offset,
            recordStart,
            count,
            appendTime,
            sink,
            &batch
        )
    }
    var out = sink(row: batch.rows.base + batch.rowsCount)
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
                    out = sink(row: batch.rows.base + batch.rowsCount)
                    outcome = scanRecord(work, type: type, start, &out, confirmed: false)
                }
            }
            if type >= 0, case .complete = outcome, out.discriminator != 0 {
                work.guesses[group] = Int32(truncatingIfNeeded: type)
                return complete(type, out)
            }
        }
        // Anything unusual: the discriminators first, then the type they name, so that the answer never depends on the guess.
        var selection = sink(row: work.selectorRow)
        switch selectType(work, group: group, start, beside, &selection) {
        case .rejected(let code): return .rejected(letter(code, selection))
        case .type(let selected): type = selected
        }
        out = sink(row: batch.rows.base + batch.rowsCount)
    }
    if case .fault(let code) = scanRecord(work, type: type, start, &out, confirmed: true) {
        return .rejected(letter(code, out))
    }
    return complete(type, out)
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

/// Appends the event whose row is filled, after the checks that need the whole of it.
@inline(__always)
func finish(
    _ work: DecodeWork,
    type: Int,
    topic: Int,
    partition: Int32,
    offset: Int64,
    _ recordStart: Int,
    _ count: Int,
    _ appendTime: Int64?,
    _ sink: RecordSink,
    _ batch: inout EventBatch
) -> DecodeResult {
    let plan = work.types + type
    var sink = sink
    if plan.pointee.amountCount > 0, let code = settleAmounts(work, plan, &sink) {
        let place = sink.faultAt - UnsafePointer(sink.text + recordStart)
        return .rejected(DeadLetter(code, path: sink.faultPath, byteOffset: place))
    }
    let hasTime = plan.pointee.timeField >= 0
    var writtenTime: Int64 = 0
    if hasTime {
        writtenTime = sink.row[Int(plan.pointee.timeField)].int
    } else if let code = placedTime(&writtenTime, plan, offset, appendTime, work.limits) {
        return .rejected(DeadLetter(code))
    }
    var time = writtenTime
    var flags: EventFlags = []
    if let appendTime, case let ahead = time.subtractingReportingOverflow(appendTime),
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
        offset: offset,
        partition: partition,
        topic: topic < 0 ? plan.pointee.topic : UInt16(truncatingIfNeeded: topic),
        type: UInt16(truncatingIfNeeded: type),
        recordOffset: UInt32(truncatingIfNeeded: recordStart),
        recordLength: UInt32(truncatingIfNeeded: count),
        writtenTime: writtenTime,
        flags: flags
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
    _ offset: Int64,
    _ appendTime: Int64?,
    _ limits: DecodeLimits
) -> DeadLetterCode? {
    if plan.pointee.timeStep == 0 {
        guard let appendTime else { return .missingAppendTime }
        time = appendTime
    } else {
        let span = offset.multipliedReportingOverflow(by: plan.pointee.timeStep)
        let sum = plan.pointee.firstTime.addingReportingOverflow(span.partialValue)
        if span.overflow || sum.overflow { return .timestampOutOfRange }
        time = sum.partialValue
    }
    return time < limits.earliest || time > limits.latest ? .timestampOutOfRange : nil
}
