import Models
public import RuleLanguage

/// Why a CSV file's header does not fit its event type.
public struct CSVHeaderError: Error, Sendable, Equatable, CustomStringConvertible {
    /// One sentence for people, with the columns there are.
    public var description: String
}

extension CSVDecoder {
    /// The columns that a file's first row names; for the control plane, allocates.
    ///
    /// - Throws: ``CSVHeaderError`` when a column stands twice, or the row is none in this dialect.
    public static func columnNames(
        _ header: UnsafeRawBufferPointer,
        _ dialect: CSVDialect = .standard
    ) throws(CSVHeaderError) -> [String] {
        guard let columns = values(of: header, dialect) else {
            throw CSVHeaderError(description: "the header line is not valid CSV in UTF-8")
        }
        var names: [String] = []
        for column in columns {
            guard let name = String(validating: column, as: UTF8.self) else {
                throw CSVHeaderError(description: "the header line is not valid CSV in UTF-8")
            }
            if names.contains(name) {
                throw CSVHeaderError(description: "the header names the column `\(name)` twice")
            }
            names.append(name)
        }
        return names
    }

    /// The columns of a row in UTF-8, with or without a byte order mark and line end; nil where a quote is not closed or something
    /// follows it.
    ///
    /// For the control plane: allocates.
    public static func values(of row: UnsafeRawBufferPointer, _ dialect: CSVDialect) -> [[UInt8]]? {
        var bytes = [UInt8](row)
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { bytes.removeFirst(3) }
        while bytes.last == 0x0A || bytes.last == 0x0D { bytes.removeLast() }
        if dialect.encoding != .utf8 { bytes = bytes.flatMap { utf8(of: $0, in: dialect.encoding) } }
        return columns(of: bytes, dialect)
    }

    private static func columns(of row: [UInt8], _ dialect: CSVDialect) -> [[UInt8]]? {
        func isDelimiter(_ byte: UInt8) -> Bool {
            switch dialect.delimiter {
            case .byte(let delimiter): byte == delimiter
            case .blanks: isBlank(byte)
            }
        }
        let partsAtBlanks = dialect.delimiter == .blanks
        let trims = dialect.trims || partsAtBlanks
        func skipBlanks(_ at: inout Int) {
            while trims, at < row.count, isBlank(row[at]), partsAtBlanks || !isDelimiter(row[at]) { at += 1 }
        }
        var columns: [[UInt8]] = []
        var at = 0
        while true {
            skipBlanks(&at)
            if partsAtBlanks, at == row.count { return columns }
            var column: [UInt8] = []
            if let quote = dialect.quote, at < row.count, row[at] == quote {
                at += 1
                while true {
                    guard at < row.count else { return nil }
                    if row[at] == quote {
                        at += 1
                        guard at < row.count, row[at] == quote else { break }
                    }
                    column.append(row[at])
                    at += 1
                }
                if !partsAtBlanks { skipBlanks(&at) }
                if at < row.count, !isDelimiter(row[at]) { return nil }
            } else {
                while at < row.count, !isDelimiter(row[at]) {
                    column.append(row[at])
                    at += 1
                }
                while trims, let last = column.last, isBlank(last) { column.removeLast() }
            }
            columns.append(column)
            if at == row.count { return columns }
            at += 1
        }
    }
}

/// A blank or a tab, as ``CSVDialect/trims`` and ``CSVDialect/Delimiter/blanks`` mean them.
@inline(__always)
func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }

func skipBlanks(_ start: UnsafePointer<UInt8>, to end: UnsafePointer<UInt8>, but delimiter: UInt8?)
    -> UnsafePointer<UInt8>
{
    var at = start
    while at < end, isBlank(at.pointee), at.pointee != delimiter { at += 1 }
    return at
}

/// The characters of Windows-1252 from 0x80 to 0x9F; the rest of it is ISO-8859-1, whose bytes are Unicode's first 256 characters.
private let windows1252: [UInt16] = [
    0x20AC, 0x0081, 0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021, 0x02C6, 0x2030, 0x0160, 0x2039, 0x0152, 0x008D,
    0x017D, 0x008F,
    0x0090, 0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014, 0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0x009D,
    0x017E, 0x0178,
]

private func utf8(of byte: UInt8, in encoding: CSVDialect.Encoding) -> [UInt8] {
    let scalar =
        encoding == .windows1252 && 0x80...0x9F ~= byte ? UInt32(windows1252[Int(byte - 0x80)]) : UInt32(byte)
    return Unicode.Scalar(scalar).map { Array(String($0).utf8) } ?? []
}

/// One byte to UTF-8, for all 256: the bytes, and how many; of UTF-8 itself nothing is asked.
///
/// 1 KiB.
struct EncodingTable: ~Copyable {
    struct Character: BitwiseCopyable {
        var bytes: (UInt8, UInt8, UInt8)
        var count: UInt8
    }

    private let characters: OwnedBuffer<Character>

    init(_ encoding: CSVDialect.Encoding) {
        characters = OwnedBuffer(
            (UInt8.min...UInt8.max).map { byte in
                let bytes = utf8(of: byte, in: encoding)
                let padded = bytes + [0, 0]
                return Character(bytes: (padded[0], padded[1], padded[2]), count: UInt8(bytes.count))
            }
        )
    }

    /// Writes the text in UTF-8 and returns how many bytes that were; the target has room for three per byte and two more.
    func convert(_ source: UnsafeRawBufferPointer, to target: UnsafeMutablePointer<UInt8>) -> Int {
        var at = target
        for byte in source {
            let character = characters[Int(byte)]
            (at[0], at[1], at[2]) = character.bytes
            at += Int(character.count)
        }
        return at - target
    }
}

extension CSVDecoder {
    /// The offset in the record as it came, each of whose bytes is one character unless it is UTF-8.
    func place(of fault: UnsafePointer<UInt8>, in record: UnsafePointer<UInt8>) -> Int {
        let offset = fault - record
        if expansion == 1 { return offset }
        var inside = 0
        for at in 0..<offset where record[at] & 0xC0 == 0x80 { inside += 1 }
        return offset - inside
    }
}
