import Models
import RuleLanguage

/// Why a CSV file's header does not fit its event type.
public struct CSVHeaderError: Error, Sendable, Equatable, CustomStringConvertible {
    /// One sentence for people, with the columns there are.
    public var description: String
}

/// Turns the lines of one CSV file (RFC 4180, UTF-8) into the same events as ``EventDecoder``.
///
/// The header maps columns to fields by the first part of their path; columns that no field names are ignored. An empty column is
/// missing, and so is one that a short row lacks; a row with more columns than the header is rejected, as a separator that nobody
/// quoted has shifted them. Quoted columns may hold separators, line ends and doubled quotes. A `list<string>` is written with `;`
/// between its elements, a bool as `true`, `false`, `1` or `0`, numbers as in JSON but with leading zeros allowed. One per thread
/// and file; allocates nothing once warm.
///
/// `@unchecked Sendable`: the working memory has one owner, and a noncopyable value is in one place at a time.
public struct CSVDecoder: ~Copyable, @unchecked Sendable {
    /// A column's bytes in the batch's text.
    struct Column {
        var start: UnsafePointer<UInt8>
        var count: Int
    }

    /// What it decodes.
    public let plan: DecodePlan
    private let memory: DecodeMemory
    private let work: DecodeWork
    private let columns: OwnedBuffer<Column>
    private let columnCount: Int
    private let types: [Int]
    /// Column of every field of every type, -1 where there is none; types follow each other as their fields do in the plan.
    private let columnOfField: OwnedBuffer<Int32>
    private let discriminatorColumns: [Int]

    /// Reads the header line of a file whose lines are events of the given types.
    ///
    /// - Parameters:
    ///   - header: the first record of the file; a byte order mark is passed over.
    ///   - types: indices of the event types in the plan, one, or several that a discriminator column tells apart.
    /// - Throws: ``CSVHeaderError`` when a required field's column is missing, a column stands twice or the header is not valid.
    public init(header: UnsafeRawBufferPointer, types: [Int], plan: DecodePlan) throws(CSVHeaderError) {
        try self.init(columns: try CSVDecoder.columnNames(header), types: types, plan: plan)
    }

    /// The same for a header whose columns are known, ``columnNames(_:)``.
    init(columns names: [String], types: [Int], plan: DecodePlan) throws(CSVHeaderError) {
        let fieldCount = types.map { Int(plan.typePlans[$0].firstField + plan.typePlans[$0].fieldCount) }.max() ?? 0
        var mapping = [Int32](repeating: -1, count: max(fieldCount, 1))
        var discriminators: [Int] = []
        for type in types {
            let schema = plan.schemas[type]
            func column(_ name: String, of what: String) throws(CSVHeaderError) -> Int {
                if let column = names.firstIndex(of: name) { return column }
                throw CSVHeaderError(
                    description:
                        "the header has no column `\(name)`, which \(what) of event type \(schema.name) needs; its columns are \(names.joined(separator: ", "))"
                )
            }
            for (index, field) in schema.fields.enumerated() {
                let isNeeded = field.isRequired || index == schema.timeField || index == schema.subjectField
                let found =
                    isNeeded
                    ? try column(field.path[0], of: "the required field `\(field.name)`")
                    : names.firstIndex(of: field.path[0])
                if let found { mapping[Int(plan.typePlans[type].firstField) + index] = Int32(found) }
            }
            discriminators.append(
                try schema.discriminator.map { path throws(CSVHeaderError) in
                    try column(path.path[0], of: "the discriminator")
                } ?? -1
            )
        }
        self.plan = plan
        self.types = types
        discriminatorColumns = discriminators
        columnCount = names.count
        memory = DecodeMemory(plan)
        work = DecodeWork(plan, memory)
        columns = OwnedBuffer(undefined: names.count)
        columnOfField = OwnedBuffer(mapping)
    }

    /// The columns that a header names; a byte order mark is passed over.
    public static func columnNames(_ header: UnsafeRawBufferPointer) throws(CSVHeaderError) -> [String] {
        var bytes = [UInt8](header)
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { bytes.removeFirst(3) }
        while bytes.last == 0x0A || bytes.last == 0x0D { bytes.removeLast() }
        var names: [String] = []
        var name: [UInt8] = []
        var isQuoted = false
        var at = 0
        while at <= bytes.count {
            if at == bytes.count || (bytes[at] == UInt8(ascii: ",") && !isQuoted) {
                guard !isQuoted, let text = String(validating: name, as: UTF8.self) else {
                    throw CSVHeaderError(description: "the header line is not valid CSV in UTF-8")
                }
                if names.contains(text) {
                    throw CSVHeaderError(description: "the header names the column `\(text)` twice")
                }
                names.append(text)
                name.removeAll()
            } else if bytes[at] == UInt8(ascii: "\"") {
                if isQuoted, at + 1 < bytes.count, bytes[at + 1] == UInt8(ascii: "\"") {
                    name.append(bytes[at])
                    at += 1
                } else {
                    isQuoted.toggle()
                }
            } else {
                name.append(bytes[at])
            }
            at += 1
        }
        return names
    }

    /// Decodes one record without its line end and appends its event to the batch; as ``EventDecoder`` does, else.
    public mutating func decode(
        partition: Int32,
        offset: Int64,
        value: UnsafeRawBufferPointer?,
        appendTime: Int64? = nil,
        into batch: inout EventBatch
    ) -> DecodeResult {
        guard let value else { return .rejected(DeadLetter(.tombstone)) }
        let (sink, fault) = open(value, &batch)
        guard var sink else { return fault ?? .full }
        let record = UnsafePointer(sink.text + batch.textCount)
        if let code = splitColumns(record, &sink) {
            return .rejected(DeadLetter(code, byteOffset: sink.faultAt - record))
        }
        guard let index = selectType() else { return .rejected(DeadLetter(.unknownEventType)) }
        let type = types[index]
        if let code = convert(type, record: record, &sink) {
            return .rejected(
                DeadLetter(code, path: sink.faultPath, byteOffset: max(0, min(sink.faultAt, sink.end) - record))
            )
        }
        return finish(
            work,
            type: type,
            topic: -1,
            partition: partition,
            offset: offset,
            batch.textCount,
            value.count,
            appendTime,
            sink,
            &batch
        )
    }

    /// Copies the record into the batch.
    private func open(_ value: UnsafeRawBufferPointer, _ batch: inout EventBatch) -> (RecordSink?, DecodeResult?) {
        let count = value.count
        guard count <= work.limits.recordBytes else {
            return (nil, .rejected(DeadLetter(.recordTooLarge, byteOffset: work.limits.recordBytes)))
        }
        let padding = EventBatch.readablePadding
        guard
            batch.reserve(
                text: count + padding + count * work.sharing + work.pseudonymBytes + padding,
                fields: 96,
                listElements: min(count + 1, 96 * work.limits.listElements)
            )
        else { return (nil, batch.isEmpty ? .rejected(DeadLetter(.recordTooLarge)) : .full) }
        let record = batch.text.base + batch.textCount
        let isASCII =
            value.baseAddress.map { copyNotingASCII($0, to: UnsafeMutableRawPointer(record), count: count) } ?? true
        UnsafeMutableRawPointer(record + count).storeBytes(of: SIMD2<UInt64>(), as: SIMD2<UInt64>.self)
        if !isASCII, let fault = firstInvalidUTF8(record, count: count) {
            return (nil, .rejected(DeadLetter(.invalidUTF8, byteOffset: fault)))
        }
        let start = UnsafePointer(record)
        return (
            RecordSink(
                text: batch.text.base,
                tail: record + count + padding,
                lists: batch.lists.base,
                listsCount: batch.listsCount,
                row: batch.rows.base + batch.rowsCount,
                end: start + count,
                faultAt: start
            ), nil
        )
    }

    /// Notes where the columns stand; those with doubled quotes are rewritten behind the record.
    private func splitColumns(_ record: UnsafePointer<UInt8>, _ sink: inout RecordSink) -> DeadLetterCode? {
        var at = record
        var index = 0
        let end = sink.end
        func note(_ start: UnsafePointer<UInt8>, _ count: Int) {
            if index < columnCount { columns[index] = Column(start: start, count: count) }
            index += 1
        }
        while true {
            if at < end, at.pointee == UInt8(ascii: "\"") {
                let start = at + 1
                var hasDoubled = false
                at = start
                while true {
                    while at < end, at.pointee != UInt8(ascii: "\""), at.pointee != 0 { at += 1 }
                    if at >= end || at.pointee == 0 {
                        sink.faultAt = at >= end ? start - 1 : at
                        return at >= end ? .invalidCSV : .controlCharacter
                    }
                    guard at[1] == UInt8(ascii: "\"") else { break }
                    hasDoubled = true
                    at += 2
                }
                if hasDoubled {
                    let text = sink.tail
                    var from = start
                    while from < at {
                        sink.tail.pointee = from.pointee
                        sink.tail += 1
                        from += from.pointee == UInt8(ascii: "\"") ? 2 : 1
                    }
                    note(UnsafePointer(text), sink.tail - text)
                    // A byte that no number holds ends it; texts behind it start later.
                    sink.tail.pointee = 0
                    sink.tail += 1
                } else {
                    note(start, at - start)
                }
                at += 1
                if at < end, at.pointee != UInt8(ascii: ",") {
                    sink.faultAt = at
                    return .invalidCSV
                }
            } else {
                let start = at
                while at < end, at.pointee != UInt8(ascii: ",") {
                    // Tabs are text; a NUL, a line end or another control character has no place outside quotes.
                    if at.pointee < 0x20, at.pointee != 0x09 {
                        sink.faultAt = at
                        return .controlCharacter
                    }
                    at += 1
                }
                note(start, at - start)
            }
            if at >= end { break }
            if index == columnCount {
                sink.faultAt = at
                return .invalidCSV
            }
            at += 1
        }
        // Short lines end in empty columns.
        while index < columnCount { note(end, 0) }
        return nil
    }

    private func selectType() -> Int? {
        var other: Int?
        for (index, type) in types.enumerated() {
            let column = discriminatorColumns[index]
            if column < 0 {
                if other != nil { return nil }
                other = index
            } else if work.hash(columns[column].start, count: columns[column].count) == work.types[type].discriminator {
                return index
            }
        }
        return other
    }

    private func convert(_ type: Int, record: UnsafePointer<UInt8>, _ sink: inout RecordSink) -> DeadLetterCode? {
        let plan = work.types[type]
        for index in 0..<Int(plan.fieldCount) {
            let field = work.fields + Int(plan.firstField) + index
            let mapped = Int(columnOfField[Int(plan.firstField) + index])
            sink.row[index] = .missing
            sink.faultPath = field.pointee.path
            let column = mapped < 0 ? Column(start: record, count: 0) : columns[mapped]
            if column.count == 0 {
                let word = index < 64 ? plan.requiredLow >> UInt64(index) : plan.requiredHigh >> UInt64(index - 64)
                if word & 1 == 1 {
                    sink.faultAt = column.start
                    return .missingField
                }
                continue
            }
            sink.faultAt = column.start
            if let code = convert(column, field, &sink) { return code }
        }
        return nil
    }

    private func convert(
        _ column: Column,
        _ field: UnsafePointer<DecodePlan.Field>,
        _ sink: inout RecordSink
    ) -> DeadLetterCode? {
        if column.count > work.limits.textBytes { return .textTooLong }
        switch field.pointee.kind {
        case .string: return storeText(column.start, count: column.count, field, work, &sink)
        case .int, .double, .money, .instant:
            return convertNumber(column.start, count: column.count, digits: work.limits.numberDigits, field, &sink)
        case .textTime:
            guard let time = milliseconds(rfc3339: column.start, count: column.count) else { return .invalidTimestamp }
            return storeTime(time, field, &sink)
        case .bool:
            let value: Bool
            switch (column.count, column.start.pointee) {
            case (1, UInt8(ascii: "1")): value = true
            case (1, UInt8(ascii: "0")): value = false
            case (4, UInt8(ascii: "t")): value = true
            case (5, UInt8(ascii: "f")): value = false
            default: return .wrongType
            }
            if column.count > 1 {
                let step = scanWord(column.start)
                if step.fault != nil || step.next != column.start + column.count { return .wrongType }
            }
            sink.row[Int(field.pointee.slot)] = Slot(value)
            return nil
        case .list: return convertList(column, field, &sink)
        case .discriminator: return nil
        }
    }

    private func convertList(
        _ column: Column,
        _ field: UnsafePointer<DecodePlan.Field>,
        _ sink: inout RecordSink
    ) -> DeadLetterCode? {
        let first = sink.listsCount
        var start = column.start
        let end = column.start + column.count
        while true {
            var at = start
            while at < end, at.pointee != UInt8(ascii: ";") { at += 1 }
            if sink.listsCount - first >= work.limits.listElements { return .tooManyElements }
            if let code = appendElement(start, count: at - start, field, work, &sink) { return code }
            if at >= end { break }
            start = at + 1
        }
        storeList(from: first, field, &sink)
        return nil
    }
}
