import Models
import RuleLanguage

/// Turns the rows of one CSV file, written as its event types' ``CSVDialect`` says, into the same events as ``EventDecoder``.
///
/// The columns' names map them to fields by the first part of their path; columns that no field names are ignored. An empty column
/// is missing, and so is one that a short row lacks; a column that cannot be read damages its field, as a value of JSON does. A row
/// with more columns than there are names is rejected, as a separator that nobody quoted has shifted them. Quoted columns may hold
/// separators, line ends and doubled quotes. A `list<string>` is written with `;` between its elements, a bool as `true`, `false`,
/// `1` or `0`, numbers as in JSON but with leading zeros allowed. One per thread and file; allocates nothing once warm.
///
/// `@unchecked Sendable`: the working memory has one owner, and a noncopyable value is in one place at a time.
public struct CSVDecoder: ~Copyable, @unchecked Sendable {
    /// A column's bytes in the batch's text.
    struct Column {
        var start: UnsafePointer<UInt8>
        var count: Int
        /// It holds a control character that has no place there: it is no value.
        var isBroken = false
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
    private let ignoresOtherTypes: Bool
    // The dialect, as scalars: a look at it costs nothing.
    /// Of ``CSVDialect/Delimiter/byte(_:)``.
    private let delimiter: UInt8
    private let partsAtBlanks: Bool
    private let quote: UInt8
    private let hasQuotes: Bool
    private let trims: Bool
    private let hasOtherNumbers: Bool
    private let decimal: UInt8
    private let thousands: UInt8?
    private let characters: EncodingTable
    /// Bytes that one byte of a file may become.
    let expansion: Int

    /// A decoder of rows that are events of the given types.
    ///
    /// - Parameters:
    ///   - names: the columns' names, in their order.
    ///   - types: indices of the event types in the plan, one, or several of one dialect that a discriminator column tells apart.
    /// - Throws: ``CSVHeaderError`` when a required field's column is missing.
    public init(columns names: [String], types: [Int], plan: DecodePlan) throws(CSVHeaderError) {
        let dialect = types.first.map { plan.schemas[$0].csv } ?? .standard
        precondition(types.allSatisfy { plan.schemas[$0].csv == dialect }, "a file is written in one dialect")
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
                let isNeeded = field.isRequired || index == schema.time.fieldIndex || index == schema.subjectField
                let found =
                    isNeeded
                    ? try column(field.path.column, of: "the required field `\(field.name)`")
                    : names.firstIndex(of: field.path.column)
                if let found { mapping[Int(plan.typePlans[type].firstField) + index] = Int32(found) }
            }
            discriminators.append(
                try schema.discriminator.map { path throws(CSVHeaderError) in
                    try column(path.path.column, of: "the discriminator")
                } ?? -1
            )
        }
        self.plan = plan
        self.types = types
        quote = dialect.quote ?? 0
        hasQuotes = dialect.quote != nil
        trims = dialect.trims
        hasOtherNumbers = dialect.hasOtherNumbers
        decimal = dialect.decimal
        thousands = dialect.thousands
        if case .byte(let byte) = dialect.delimiter { delimiter = byte } else { delimiter = 0x20 }
        partsAtBlanks = dialect.delimiter == .blanks
        characters = EncodingTable(dialect.encoding)
        expansion = dialect.encoding.expansion
        discriminatorColumns = discriminators
        ignoresOtherTypes = types.allSatisfy { plan.ignoring[Int(plan.typePlans[$0].topic)].otherTypes }
        columnCount = names.count
        memory = DecodeMemory(plan)
        work = DecodeWork(plan, memory)
        columns = OwnedBuffer(undefined: names.count)
        columnOfField = OwnedBuffer(mapping)
    }

    /// Decodes one record without its line end and appends its event to the batch; as ``EventDecoder`` does, else.
    ///
    /// - Parameter topic: index of the record's topic in the plan; nil: it is its type's first.
    public mutating func decode(
        topic: Int? = nil,
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
        if let code = partsAtBlanks ? splitAtBlanks(record, &sink) : splitColumns(record, &sink) {
            return .rejected(DeadLetter(code, byteOffset: place(of: sink.faultAt, in: record)))
        }
        guard let index = selectType() else {
            let isIgnored = topic.map { work.ignoring[$0].otherTypes } ?? ignoresOtherTypes
            return isIgnored ? .ignored : .rejected(DeadLetter(.unknownEventType))
        }
        let type = types[index]
        if let code = convert(type, record: record, &sink) {
            let fault = max(record, min(sink.faultAt, sink.end))
            return .rejected(DeadLetter(code, path: sink.faultPath, byteOffset: place(of: fault, in: record)))
        }
        return finish(
            work,
            RecordPlace(
                type: type,
                topic: topic ?? -1,
                partition: partition,
                offset: offset,
                start: batch.textCount,
                count: sink.end - record,
                appendTime: appendTime
            ),
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
        let room = count * expansion
        guard
            batch.reserve(
                // Numbers that are written anew are no longer than they were.
                text: room + padding + room * work.sharing + (hasOtherNumbers ? room : 0)
                    + work.pseudonymBytes + padding,
                fields: 96,
                listElements: min(room + 1, 96 * work.limits.listElements)
            )
        else { return (nil, batch.isEmpty ? .rejected(DeadLetter(.recordTooLarge)) : .full) }
        let record = batch.text.base + batch.textCount
        let length: Int
        var isDubious = false
        if expansion > 1 {
            length = characters.convert(value, to: record)
        } else {
            length = count
            let isASCII =
                value.baseAddress.map { copyNotingASCII($0, to: UnsafeMutableRawPointer(record), count: count) } ?? true
            isDubious = !isASCII && firstInvalidUTF8(record, count: count) != nil
        }
        UnsafeMutableRawPointer(record + length).storeBytes(of: SIMD2<UInt64>(), as: SIMD2<UInt64>.self)
        let start = UnsafePointer(record)
        return (
            RecordSink(
                text: batch.text.base,
                tail: record + length + padding,
                lists: batch.lists.base,
                listsCount: batch.listsCount,
                row: batch.rows.base + batch.rowsCount,
                end: start + length,
                faultAt: start,
                isDubious: isDubious
            ), nil
        )
    }

    /// Notes where the columns stand; those with doubled quotes are rewritten behind the record.
    private func splitColumns(_ record: UnsafePointer<UInt8>, _ sink: inout RecordSink) -> DeadLetterCode? {
        var at = record
        var index = 0
        let end = sink.end
        let delimiter = delimiter
        let quote = quote
        let (hasQuotes, trims) = (hasQuotes, trims)
        func note(_ column: Column) {
            if index < columnCount { columns[index] = column }
            index += 1
        }
        while true {
            if trims { at = skipBlanks(at, to: end, but: delimiter) }
            if hasQuotes, at < end, at.pointee == quote {
                var column = Column(start: at, count: 0)
                if let code = takeQuoted(&at, &column, quote, &sink) { return code }
                note(column)
                if trims { at = skipBlanks(at, to: end, but: delimiter) }
                if at < end, at.pointee != delimiter {
                    sink.faultAt = at
                    return .invalidCSV
                }
            } else {
                let start = at
                var isBroken = false
                while at < end, at.pointee != delimiter {
                    // Tabs are text; a NUL, a line end or another control character has no place outside quotes.
                    if at.pointee < 0x20, at.pointee != 0x09 { isBroken = true }
                    at += 1
                }
                var stop = at
                while trims, stop > start, isBlank(stop[-1]) { stop -= 1 }
                note(Column(start: start, count: stop - start, isBroken: isBroken))
            }
            if at >= end { break }
            if index == columnCount {
                sink.faultAt = at
                return .invalidCSV
            }
            at += 1
        }
        // Short rows end in empty columns.
        while index < columnCount { note(Column(start: end, count: 0)) }
        return nil
    }

    /// The same for columns that are apart by any number of blanks and tabs.
    private func splitAtBlanks(_ record: UnsafePointer<UInt8>, _ sink: inout RecordSink) -> DeadLetterCode? {
        var at = record
        var index = 0
        let end = sink.end
        while true {
            at = skipBlanks(at, to: end, but: nil)
            if at >= end { break }
            if index == columnCount {
                sink.faultAt = at
                return .invalidCSV
            }
            var column = Column(start: at, count: 0)
            if hasQuotes, at.pointee == quote {
                if let code = takeQuoted(&at, &column, quote, &sink) { return code }
                if at < end, !isBlank(at.pointee) {
                    sink.faultAt = at
                    return .invalidCSV
                }
            } else {
                while at < end, !isBlank(at.pointee) {
                    if at.pointee < 0x20 { column.isBroken = true }
                    at += 1
                }
                column.count = at - column.start
            }
            columns[index] = column
            index += 1
        }
        for empty in index..<max(index, columnCount) { columns[empty] = Column(start: end, count: 0) }
        return nil
    }

    /// Takes a quoted column from its opening quote to behind its closing one; with doubled quotes it is rewritten behind the
    /// record.
    @inline(__always)
    private func takeQuoted(
        _ at: inout UnsafePointer<UInt8>,
        _ column: inout Column,
        _ quote: UInt8,
        _ sink: inout RecordSink
    ) -> DeadLetterCode? {
        let end = sink.end
        let start = at + 1
        var hasDoubled = false
        at = start
        while true {
            while at < end, at.pointee != quote {
                if at.pointee == 0 { column.isBroken = true }
                at += 1
            }
            if at >= end {
                sink.faultAt = start - 1
                return .invalidCSV
            }
            guard at[1] == quote else { break }
            hasDoubled = true
            at += 2
        }
        if hasDoubled {
            let text = sink.tail
            var from = start
            while from < at {
                sink.tail.pointee = from.pointee
                sink.tail += 1
                from += from.pointee == quote ? 2 : 1
            }
            column.start = UnsafePointer(text)
            column.count = sink.tail - text
            // A byte that no number holds ends it; texts behind it start later.
            sink.tail.pointee = 0
            sink.tail += 1
        } else {
            column.start = start
            column.count = at - start
        }
        at += 1
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
        func column(of index: Int) -> Column {
            let mapped = Int(columnOfField[Int(plan.firstField) + index])
            return mapped < 0 ? Column(start: record, count: 0) : columns[mapped]
        }
        for index in 0..<Int(plan.fieldCount) {
            let field = work.fields + Int(plan.firstField) + index
            sink.row[index] = .missing
            let column = column(of: index)
            if column.count == 0 { continue }
            if let code = convert(column, field, &sink), let code = work.damage(field, code, at: column.start, &sink) {
                return code
            }
        }
        if sink.isDubious, let code = work.damageInvalidTexts(plan, &sink) { return code }
        for index in 0..<Int(plan.fieldCount) where sink.row[index].isMissing {
            let word = index < 64 ? plan.requiredLow >> UInt64(index) : plan.requiredHigh >> UInt64(index - 64)
            if word & 1 == 1 {
                sink.faultPath = work.fields[Int(plan.firstField) + index].path
                sink.faultAt = column(of: index).start
                return .missingField
            }
        }
        return nil
    }

    private func convert(
        _ column: Column,
        _ field: UnsafePointer<DecodePlan.Field>,
        _ sink: inout RecordSink
    ) -> DeadLetterCode? {
        if column.isBroken { return .controlCharacter }
        switch field.pointee.kind {
        case .string: return storeText(column.start, count: column.count, field, work, &sink)
        case .int, .double, .money, .instant:
            var number = column
            if hasOtherNumbers, !writePlainly(&number, &sink) {
                return field.pointee.kind == .instant ? .invalidTimestamp : .wrongType
            }
            return convertNumber(number.start, count: number.count, digits: work.limits.numberDigits, field, &sink)
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
        case .list: return convertList(column, field, nil, &sink)
        case .converted: return convertOther(column, field, &sink)
        case .discriminator, .elements, .operation: return nil
        }
    }

    /// A column of a field that is taken in other forms than its type's own.
    private func convertOther(
        _ column: Column,
        _ field: UnsafePointer<DecodePlan.Field>,
        _ sink: inout RecordSink
    ) -> DeadLetterCode? {
        let (entry, strict) = work.conversion(of: field)
        if isNull(column.start, count: column.count, entry, work) { return nil }
        let kind = strict.pointee.kind
        if kind == .list { return convertList(column, strict, entry, &sink) }
        var text = column
        if hasOtherNumbers, kind == .int || kind == .double || kind == .money || kind == .instant {
            trimBlanks(&text.start, &text.count, entry)
            if !writePlainly(&text, &sink) { return kind == .instant ? .invalidTimestamp : .wrongType }
            // An amount may wait for its currency there.
            sink.tail += text.count
        }
        return convertOtherText(text.start, count: text.count, field, work, &sink)
    }

    /// Writes a number behind the record, with a point before its fraction and nothing between its digits; the space is not kept.
    ///
    /// False when the thousands are not three digits each, or a point stands where the dialect has none.
    private func writePlainly(_ column: inout Column, _ sink: inout RecordSink) -> Bool {
        var from = column.start
        let end = from + column.count
        var to = sink.tail
        func copy(_ byte: UInt8) {
            to.pointee = byte
            to += 1
        }
        if from < end, from.pointee == UInt8(ascii: "-") {
            copy(from.pointee)
            from += 1
        }
        var digits = 0
        var isGrouped = false
        while from < end {
            if from.pointee &- UInt8(ascii: "0") <= 9 {
                copy(from.pointee)
                digits += 1
                from += 1
                continue
            }
            let width = separatorWidth(from, end - from)
            if width == 0 { break }
            if isGrouped ? digits != 3 : digits == 0 || digits > 3 { return false }
            isGrouped = true
            digits = 0
            from += width
        }
        if isGrouped, digits != 3 { return false }
        if from < end, from.pointee == decimal {
            copy(UInt8(ascii: "."))
            from += 1
        }
        while from < end {
            if from.pointee == UInt8(ascii: ".") { return false }
            copy(from.pointee)
            from += 1
        }
        // Whoever scans it needs an end to run into.
        UnsafeMutableRawPointer(to).storeBytes(of: SIMD2<UInt64>(), as: SIMD2<UInt64>.self)
        column = Column(start: UnsafePointer(sink.tail), count: to - sink.tail)
        return true
    }

    /// Bytes of the separator of thousands that stands here, 0 for none.
    private func separatorWidth(_ at: UnsafePointer<UInt8>, _ left: Int) -> Int {
        guard let thousands else { return 0 }
        if at.pointee == thousands { return 1 }
        if thousands != 0x20 { return 0 }
        // U+00A0 and U+202F, which stand where lines must not break.
        if left >= 2, at[0] == 0xC2, at[1] == 0xA0 { return 2 }
        return left >= 3 && at[0] == 0xE2 && at[1] == 0x80 && at[2] == 0xAF ? 3 : 0
    }

    private func convertList(
        _ column: Column,
        _ field: UnsafePointer<DecodePlan.Field>,
        _ entry: UnsafePointer<ConversionPlan.Entry>?,
        _ sink: inout RecordSink
    ) -> DeadLetterCode? {
        let first = sink.listsCount
        var start = column.start
        let end = column.start + column.count
        while true {
            var at = start
            while at < end, at.pointee != UInt8(ascii: ";") { at += 1 }
            if sink.listsCount - first == work.limits.listElements {
                work.noteCut(field, &sink)
                break
            }
            let isOne = entry.map { !isNull(start, count: at - start, $0, work) } ?? true
            if isOne, let code = appendElement(start, count: at - start, field, work, &sink) {
                sink.listsCount = first
                return code
            }
            if at >= end { break }
            start = at + 1
        }
        storeList(from: first, field, &sink)
        return nil
    }
}
