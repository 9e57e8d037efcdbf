import Detection
import RuleLanguage

/// How a file that nobody has described is written: JSON, one object a line, or rows of columns.
struct SampleForm: Sendable {
    /// Nil: JSON.
    var csv: CSVDialect?
    /// Of CSV, in their order.
    var columns: [String] = []
    /// The file has no names of columns, so these are ours.
    var namesAreInvented = false

    /// Lines that are looked at, and bytes of them.
    private static let linesMax = 400
    private static let bytesMax = 1 << 20

    /// Finds out how a file is written.
    ///
    /// - Throws: an error of the kind `.refused` where it holds no records, with what it is.
    static func guess(path: String) throws(LogError) -> SampleForm {
        let file = try RecordFile(path: path, splitter: .lines)
        var lines: [[UInt8]] = []
        var bytes = 0
        _ = try file.nextBatch(maxRecords: linesMax) { record in
            lines.append([UInt8](record.bytes))
            bytes += record.length
            return bytes < bytesMax
        }
        if lines.isEmpty { throw LogError(.refused, "\(path): the file is empty.") }
        let isJSON = lines.contains { $0.first { $0 != 0x20 && $0 != 0x09 } == UInt8(ascii: "{") }
        if isJSON { return SampleForm() }
        let odd = lines.reduce(0) { $0 + $1.count { $0 < 0x20 && $0 != 0x09 } }
        if odd > 0 {
            throw LogError(.refused, "\(path): the file holds control characters: it is neither JSON Lines nor CSV.")
        }
        return SampleForm(rows: lines)
    }

    /// JSON.
    init() {}

    private init(rows lines: [[UInt8]]) {
        var dialect = CSVDialect.standard
        if lines.contains(where: { String(validating: $0, as: UTF8.self) == nil }) {
            dialect.encoding =
                lines.contains { $0.contains { 0x80...0x9F ~= $0 } } ? .windows1252 : .latin1
        }
        if let sign = lines[0].first, sign == UInt8(ascii: "%") || sign == UInt8(ascii: "#"),
            lines.contains(where: { $0.first != sign })
        {
            dialect.comment = sign
        }
        let rows = lines.filter { $0.isEmpty || $0.first != dialect.comment || dialect.comment == nil }
        dialect.delimiter = SampleForm.delimiter(of: rows)
        if dialect.delimiter != .blanks {
            // Before a quote a blank would make the row none, so it is asked of the bytes.
            let padded = rows.count { SampleForm.hasBlanksAroundColumns($0, dialect.delimiter) }
            dialect.trims = padded * 2 > rows.count
        }
        let values = rows.map { row in row.withUnsafeBytes { CSVDecoder.values(of: $0, dialect) } }
        let whole = values.compactMap { $0 }.filter { !$0.isEmpty }
        SampleForm.findNumbers(whole, &dialect)
        let names = whole.first.map { $0.map { String(decoding: $0, as: UTF8.self) } } ?? []
        if SampleForm.isHeader(names, behind: whole.dropFirst(), dialect) {
            columns = names
        } else {
            let comments = lines.filter { $0.first == dialect.comment && dialect.comment != nil }
            (columns, namesAreInvented) = SampleForm.inventedNames(names.count, comments, dialect)
            dialect.header = .names(columns)
        }
        csv = dialect
    }

    /// What most likely stands between the columns: what stands in nearly all rows equally often.
    private static func delimiter(of rows: [[UInt8]]) -> CSVDialect.Delimiter {
        var best: (delimiter: CSVDialect.Delimiter, isRegular: Bool, score: Double) = (
            .byte(UInt8(ascii: ",")), false, 0
        )
        for byte in [UInt8(ascii: ","), 0x09, UInt8(ascii: ";"), UInt8(ascii: "|")] {
            var counts: [Int: Int] = [:]
            for row in rows { counts[count(byte, in: row), default: 0] += 1 }
            guard
                let (count, rowsOf) = counts.filter({ $0.key > 0 }).max(by: { ($0.value, $0.key) < ($1.value, $1.key) })
            else { continue }
            let share = Double(rowsOf) / Double(rows.count)
            let candidate = (CSVDialect.Delimiter.byte(byte), share >= 0.8, share >= 0.8 ? Double(count) : share)
            if (candidate.1 ? 1 : 0, candidate.2) > (best.isRegular ? 1 : 0, best.score) { best = candidate }
        }
        if best.isRegular { return best.delimiter }
        let parts = rows.map { $0.split { $0 == 0x20 || $0 == 0x09 }.count }
        let most = parts.first ?? 1
        if most > 1, parts.count(where: { $0 == most }) * 5 >= rows.count * 4 { return .blanks }
        return best.delimiter
    }

    /// How often a byte stands in a row outside of double quotes.
    private static func count(_ byte: UInt8, in row: [UInt8]) -> Int {
        var isQuoted = false
        var count = 0
        for other in row {
            if other == UInt8(ascii: "\"") { isQuoted.toggle() }
            if other == byte, !isQuoted { count += 1 }
        }
        return count
    }

    private static func hasBlanksAroundColumns(_ row: [UInt8], _ delimiter: CSVDialect.Delimiter) -> Bool {
        guard case .byte(let byte) = delimiter else { return false }
        return zip(row, row.dropFirst()).contains { $0 == byte && $1 == 0x20 || $0 == 0x20 && $1 == byte }
    }

    /// Whether numbers have a decimal comma or separated thousands: by what stands in columns that hold nothing else.
    private static func findNumbers(_ rows: [[[UInt8]]], _ dialect: inout CSVDialect) {
        var commas = 0
        var points = 0
        var thousands: [UInt8: Int] = [:]
        for value in rows.joined() {
            guard let shape = WrittenNumber(value) else { continue }
            if shape.decimal == UInt8(ascii: ",") { commas += 1 }
            if shape.decimal == UInt8(ascii: ".") { points += 1 }
            if let separator = shape.thousands { thousands[separator, default: 0] += 1 }
        }
        if commas > points, dialect.delimiter != .byte(UInt8(ascii: ",")) { dialect.decimal = UInt8(ascii: ",") }
        dialect.thousands =
            thousands.filter { $0.key != dialect.decimal }.max { ($0.value, $0.key) < ($1.value, $1.key) }?.key
    }

    /// A row names columns where all its texts differ and none is a number or a time; one may be empty, as that of row numbers
    /// often is.
    private static func isHeader(_ names: [String], behind rows: some Collection<[[UInt8]]>, _ dialect: CSVDialect)
        -> Bool
    {
        if names.isEmpty || rows.isEmpty || Set(names).count < names.count { return false }
        return names.allSatisfy { name in
            name.isEmpty && names.count > 1
                || Array(name.utf8).withUnsafeBytes { NumberShape($0) == nil && !isRFC3339($0) }
                    && WrittenNumber(Array(name.utf8)) == nil && !name.isEmpty
        }
    }

    /// Names for columns that have none: those of a comment with as many of them, else `c1`, `c2` and so on.
    private static func inventedNames(_ count: Int, _ comments: [[UInt8]], _ dialect: CSVDialect) -> ([String], Bool) {
        var trimming = dialect
        trimming.comment = nil
        trimming.trims = true
        for comment in comments {
            let row = Array(comment.drop { $0 == dialect.comment })
            guard let values = row.withUnsafeBytes({ CSVDecoder.values(of: $0, trimming) }), values.count == count
            else {
                continue
            }
            let names = values.map { String(decoding: $0, as: UTF8.self) }
            if isHeader(names, behind: [values], trimming) { return (names, false) }
        }
        return ((0..<count).map { "c\($0 + 1)" }, true)
    }

    /// Takes in one record.
    func see(_ record: UnsafeRawBufferPointer, in probe: inout SampleProbe) {
        guard let csv else { return probe.see(json: record) }
        var row = CSVDecoder.values(of: record, csv)
        if csv.hasOtherNumbers {
            row = row?.map { value in
                guard let shape = WrittenNumber(value), shape.fits(csv) else { return value }
                return value.filter { $0 != csv.thousands }.map { $0 == csv.decimal ? UInt8(ascii: ".") : $0 }
            }
        }
        probe.see(row: row, columns: columns)
    }
}

/// A number as people write it in tables, whatever the sign before its fraction.
private struct WrittenNumber {
    /// What must be the sign before the fraction; nil where there is none, or it cannot be told.
    var decimal: UInt8?
    /// What must stand between the thousands.
    var thousands: UInt8?

    /// Nil where it is no number.
    init?(_ bytes: [UInt8]) {
        var groups: [Int] = [0]
        var separators: [UInt8] = []
        for byte in bytes.first == UInt8(ascii: "-") ? bytes.dropFirst() : bytes[...] {
            if byte &- UInt8(ascii: "0") <= 9 {
                groups[groups.count - 1] += 1
            } else if [UInt8(ascii: "."), UInt8(ascii: ","), UInt8(ascii: "'")].contains(byte) {
                separators.append(byte)
                groups.append(0)
            } else {
                return nil
            }
        }
        guard !groups.contains(0), groups.count <= 8 else { return nil }
        guard let last = separators.last else { return }
        let isGrouped = groups[0] <= 3 && groups[1..<(groups.count - 1)].allSatisfy { $0 == 3 }
        if separators.count == 1 {
            // One group of three may be thousands or a fraction: nobody can tell by this one.
            if groups[1] != 3 || groups[0] > 3 { decimal = last == UInt8(ascii: "'") ? nil : last }
            return
        }
        guard isGrouped, Set(separators.dropLast()).count == 1 else { return nil }
        if separators[0] == last {
            guard groups[groups.count - 1] == 3 else { return nil }
            thousands = last
        } else {
            thousands = separators[0]
            decimal = last
        }
    }

    /// Whether a dialect reads it as a number.
    func fits(_ dialect: CSVDialect) -> Bool {
        (decimal == nil || decimal == dialect.decimal) && (thousands == nil || thousands == dialect.thousands)
    }
}
