import Detection
import RuleLanguage

/// What the first row of a CSV file looks like where it is not the header that a topology reads.
enum HeaderLook {
    /// What to write in the topology, as a sentence; nil when the row is like others.
    static func hint(_ row: [UInt8], _ dialect: CSVDialect) -> String? {
        if dialect.encoding == .utf8, String(validating: row, as: UTF8.self) == nil {
            let encoding: CSVDialect.Encoding = row.contains { 0x80...0x9F ~= $0 } ? .windows1252 : .latin1
            return "It may be written in another encoding: csv: { encoding: \(encoding.rawValue) }"
        }
        let text = String(decoding: row, as: UTF8.self)
        if text.hasPrefix("{") { return "It looks like JSON, one record a line: format: json" }
        if let sign = text.first, "%#!".contains(sign), dialect.comment == nil {
            return "It looks like a comment: csv: { comment: \"\(sign)\" }"
        }
        guard let names = row.withUnsafeBytes({ try? CSVDecoder.columnNames($0, dialect) }) else { return nil }
        if names.count == 1, let delimiter = delimiter(of: row[...]) {
            let found =
                delimiter == 0x09 ? "tabs" : delimiter == 0x20 ? "blanks" : "'\(Unicode.Scalar(delimiter))'"
            return "It is one column with \(found) in its name: csv: { delimiter: \(key(delimiter)) }"
        }
        if names.contains(where: { $0.first == " " || $0.last == " " || $0.first == "\t" || $0.last == "\t" }) {
            return "Blanks stand around its columns: csv: { trim: true }"
        }
        if names.contains(where: { Double($0) != nil }) {
            return
                "It holds numbers, so the file may have no header: csv: { header: [NAME, …] } with \(names.count) names"
        }
        return nil
    }

    /// How a topology names a delimiter.
    static func key(_ delimiter: UInt8) -> String {
        switch delimiter {
        case 0x09: "tab"
        case 0x20: "blanks"
        default: "\"\(Unicode.Scalar(delimiter))\""
        }
    }

    /// The byte that most likely separates the columns of a row; nil when there is none.
    static func delimiter(of row: ArraySlice<UInt8>) -> UInt8? {
        var best: (byte: UInt8, count: Int)?
        for byte in [UInt8(ascii: ";"), 0x09, UInt8(ascii: ","), UInt8(ascii: "|")] {
            let count = row.count { $0 == byte }
            if count > best?.count ?? 0 { best = (byte, count) }
        }
        return best?.byte ?? (row.contains(0x20) ? 0x20 : nil)
    }
}
