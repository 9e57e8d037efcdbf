/// What a file is by its first bytes, where that is nothing to read records from.
///
/// Only what cannot hold a single record is refused: a file with odd records among others is read, and the odd ones are dead
/// letters.
struct FileLook {
    /// Bytes of the file that are looked at, of those that are there.
    static let bytesMax = 4096
    /// Bytes to wait for where a pipe gives one at a time: the longest mark.
    static let bytesWanted = 16

    private let head: [UInt8]

    /// - Parameter head: the first bytes, after decompression and without a byte order mark of UTF-8.
    init(_ head: UnsafeRawBufferPointer) { self.head = [UInt8](head.prefix(FileLook.bytesMax)) }

    /// What the file is and what to do with it, as a clause behind its name; nil when it may hold records.
    ///
    /// - Parameter isJSON: whether they would be JSON, one a line.
    func objection(isJSON: Bool) -> String? {
        if let known = FileLook.marks.first(where: { head.starts(with: $0.bytes) }) { return known.objection }
        if head.starts(with: [0x50, 0x4b, 0x03, 0x04]) { return objectionToZip }
        if head.starts(with: bytes(of: "BZh")), head.dropFirst(4).starts(with: [0x31, 0x41, 0x59, 0x26, 0x53, 0x59]) {
            return "the file is compressed by bzip2; decompress it first: bzip2 -dc"
        }
        if head.dropFirst(257).starts(with: bytes(of: "ustar")) {
            return "the file is a tar archive; take the file out of it first: tar -xOf"
        }
        if let encoding = wideEncoding {
            return "the text is \(encoding), not UTF-8; convert it first: iconv -f \(encoding) -t utf-8"
        }
        let start = firstWord
        if start.hasPrefix("<!doctype html") || start.hasPrefix("<html") {
            return "the file is an HTML page, perhaps the error of a download"
        }
        if start.hasPrefix("<?xml") { return "the file is XML, which is not read" }
        return isJSON ? objectionToLines : nil
    }

    /// Forms that a few bytes at the start tell.
    private static let marks: [(bytes: [UInt8], objection: String)] = [
        ([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00], "the file is compressed by xz; decompress it first: xz -dc"),
        ([0x04, 0x22, 0x4d, 0x18], "the file is compressed by lz4; decompress it first: lz4 -dc"),
        ([0x1f, 0x9d], "the file is compressed by compress; decompress it first: gzip -dc"),
        ([0x1f, 0x8b], "the file is compressed twice, the second time by gzip; decompress it first: gzip -dc"),
        (
            [0x28, 0xb5, 0x2f, 0xfd],
            "the file is compressed twice, the second time by zstd; decompress it first: zstd -dc"
        ),
        ([0x37, 0x7a, 0xbc, 0xaf, 0x27, 0x1c], "the file is a 7z archive; take the file out of it first: 7z e -so"),
        (
            [0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1],
            "the file is an Excel workbook (.xls); save the sheet as CSV"
        ),
        (bytes(of: "PAR1"), "the file is Parquet, which is not read; write it as JSON Lines or CSV"),
        (bytes(of: "Obj") + [1], "the file is Avro, which is not read; write it as JSON Lines: avro-tools tojson"),
        (bytes(of: "ARROW1"), "the file is Arrow, which is not read; write it as JSON Lines or CSV"),
        (bytes(of: "SQLite format 3") + [0], "the file is an SQLite database, no file of records"),
        (bytes(of: "%PDF-"), "the file is a PDF, no file of records"),
    ]

    /// Office documents are zip archives whose first entries have telling names.
    private var objectionToZip: String {
        let names = String(decoding: head, as: UTF8.self)
        if names.contains("[Content_Types].xml") || names.contains("xl/") || names.contains("_rels/") {
            return "the file is an Excel workbook (.xlsx); save the sheet as CSV"
        }
        return "the file is a zip archive; take the file out of it first: unzip -p"
    }

    /// UTF-16 and UTF-32, with a byte order mark or without.
    private var wideEncoding: String? {
        let isMarked = head.starts(with: [0xff, 0xfe]) || head.starts(with: [0xfe, 0xff])
        // Text of either is full of zeros where the first 256 characters stand in it; other text has none.
        let units = head.prefix(64)
        guard units.count >= 8, units.contains(0) else { return nil }
        if head.starts(with: [0xff, 0xfe, 0, 0]) || head.starts(with: [0, 0, 0xfe, 0xff]) { return "UTF-32" }
        if isMarked { return "UTF-16" }
        let zeros = [0, 1].map { parity in
            units.enumerated().count { $0.offset % 2 == parity && $0.element == 0 } * 2
        }
        let most = units.count * 9 / 10
        if zeros[1] >= most, zeros[0] == 0 { return "UTF-16LE" }
        if zeros[0] >= most, zeros[1] == 0 { return "UTF-16BE" }
        return nil
    }

    /// The first characters that are no blanks, small letters only.
    private var firstWord: String {
        let text = head.drop { FileLook.isBlank($0) }.prefix(16)
        return String(
            decoding: text.map { $0 | (UInt8(ascii: "A")...UInt8(ascii: "Z") ~= $0 ? 0x20 : 0) },
            as: UTF8.self
        )
    }

    /// JSON that is not one object a line.
    private var objectionToLines: String? {
        let lines = head.split(separator: 0x0a, omittingEmptySubsequences: true).map { trimmed($0) }.filter {
            !$0.isEmpty
        }
        guard let first = lines.first else { return nil }
        // An array with a line of its own may be one odd record among others.
        let isAlone = lines.count > 1 && first.last == UInt8(ascii: "]")
        let inside = head.drop { FileLook.isBlank($0) || $0 == UInt8(ascii: "[") }
        if first.first == UInt8(ascii: "["), !isAlone, inside.first == UInt8(ascii: "{") {
            return "the file is one JSON array; write its elements one a line: jq -c '.[]'"
        }
        if lines.count > 1, first.elementsEqual(bytes(of: "{")),
            [UInt8(ascii: "\""), UInt8(ascii: "}")].contains(lines[1].first)
        {
            return "the JSON objects go over several lines; write each on one: jq -c ."
        }
        return nil
    }

    /// What seems odd of a file whose records should be lines of JSON, as a clause behind its name; nil when nothing does.
    ///
    /// It may be read all the same: odd records are dead letters.
    var remarkOnLines: String? {
        var lines = head.split(separator: 0x0a, omittingEmptySubsequences: true).map { trimmed($0) }.filter {
            !$0.isEmpty
        }
        // The last one may be cut.
        if lines.count > 1, head.last != 0x0a { lines.removeLast() }
        guard let first = lines.first, !lines.contains(where: { $0.first == UInt8(ascii: "{") }) else { return nil }
        let found = lines.count == 1 ? "its first line does not begin" : "none of its first \(lines.count) lines begins"
        // What holds control characters is no table, whatever else stands between them.
        let isText = !first.contains { $0 < 0x20 && $0 != 0x09 }
        guard isText, let delimiter = HeaderLook.delimiter(of: first), delimiter != 0x20 else {
            return "\(found) with '{', as a record of JSON does"
        }
        let columns = first.count { $0 == delimiter } + 1
        let key =
            delimiter == UInt8(ascii: ",")
            ? "format: csv" : "csv: { delimiter: \(HeaderLook.key(delimiter)) }"
        return "\(found) with '{': it looks like CSV with \(columns) columns; an event reads it with '\(key)'"
    }

    private func trimmed(_ line: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        let start = line.drop { FileLook.isBlank($0) }
        return start[..<((start.lastIndex { !FileLook.isBlank($0) } ?? start.startIndex - 1) + 1)]
    }

    private static func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || 0x09...0x0d ~= byte }
}

private func bytes(of text: String) -> [UInt8] { Array(text.utf8) }
