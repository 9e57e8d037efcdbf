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
    /// How numbers are written.
    private var signs = NumberSigns()
    /// What could be read in another way too.
    var doubts: [String] { csv.flatMap { signs.doubt($0) }.map { [$0] } ?? [] }

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
        return try SampleForm(rows: lines, of: path)
    }

    /// JSON.
    init() {}

    private init(rows lines: [[UInt8]], of path: String) throws(LogError) {
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
        for value in whole.joined() { signs.take(value) }
        signs.settle(&dialect)
        let names = whole.first.map { $0.map { String(decoding: $0, as: UTF8.self) } } ?? []
        if SampleForm.isHeader(names, behind: whole.dropFirst()) {
            columns = names
        } else if let twice = SampleForm.nameTwice(names, whole.dropFirst()) {
            throw LogError(.refused, "\(path):1: the header names the column `\(twice)` twice.")
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

    /// Learns from rows further down how numbers are written.
    mutating func learn(_ rows: SampleRecords) {
        guard var dialect = csv else { return }
        signs = NumberSigns()
        rows.forEach { row in
            for value in CSVDecoder.values(of: row, dialect) ?? [] { signs.take(value) }
        }
        signs.settle(&dialect)
        csv = dialect
    }

    /// A row names columns where all its texts differ and none is a number or a time; one may be empty, as that of row numbers
    /// often is.
    private static func isHeader(_ names: [String], behind rows: some Collection<[[UInt8]]>) -> Bool {
        if names.isEmpty || rows.isEmpty || Set(names).count < names.count { return false }
        return names.allSatisfy { $0.isEmpty && names.count > 1 || isName($0) }
    }

    private static func isName(_ text: String) -> Bool {
        !text.isEmpty && WrittenNumber(Array(text.utf8)) == nil
            && Array(text.utf8).withUnsafeBytes { NumberShape($0) == nil && !TimeForms.isTime($0) }
    }

    /// What a row names twice that would be a header otherwise, with numbers or times below it.
    private static func nameTwice(_ names: [String], _ rows: ArraySlice<[[UInt8]]>) -> String? {
        var seen: Set<String> = []
        guard let twice = names.first(where: { !seen.insert($0).inserted }),
            names.allSatisfy(isName),
            rows.allSatisfy({ row in
                row.contains { $0.withUnsafeBytes { NumberShape($0) != nil || TimeForms.isTime($0) } }
            })
        else { return nil }
        return twice
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
            if isHeader(names, behind: [values]) { return (names, false) }
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
