import Glibc
import RuleLanguage
import Testing

@testable import Pipeline

@Suite struct FileLookTests {
    private let folder = TemporaryFolder()

    /// Why a file with this content is refused when it is opened; nil: it is not.
    private func refusal(_ content: [UInt8], _ splitter: RecordSplitter = .lines) -> String? {
        let path = folder.file("odd")
        save(content, path)
        let error = logError { _ = try RecordFile(path: path, splitter: splitter) }
        #expect(error == nil || error?.kind == .refused)
        return error?.message
    }

    private func wide(_ text: String, isBigEndian: Bool, mark: Bool, width: Int = 2) -> [UInt8] {
        ((mark ? "\u{feff}" : "") + text).unicodeScalars.flatMap { scalar -> [UInt8] in
            let little = (0..<width).map { UInt8(truncatingIfNeeded: scalar.value >> (8 * UInt32($0))) }
            return isBigEndian ? little.reversed() : little
        }
    }

    @Test(arguments: RecordSplitter.all)
    func `a file that can hold no record is refused with what it is and what to do`(_ splitter: RecordSplitter) throws {
        let tar = [UInt8](repeating: 0x61, count: 257) + bytes("ustar\u{0}00")
        let text = "id;ts;amount\n1;2026-01-05T08:00:00Z;2.00\n"
        let cases: [(content: [UInt8], says: String)] = [
            (
                [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00] + bytes("rest of it"),
                "compressed by xz; decompress it first: xz -dc"
            ),
            (bytes("BZh91AY&SY") + [1, 2, 3], "compressed by bzip2"),
            ([0x04, 0x22, 0x4d, 0x18, 0x64, 0x40], "compressed by lz4"),
            ([0x1f, 0x9d, 0x90, 1], "compressed by compress"),
            (try gzip(zstd(bytes(text)), folder), "compressed twice, the second time by zstd"),
            (zstd(try gzip(bytes(text), folder)), "compressed twice, the second time by gzip"),
            (try gzip(tar, folder), "a tar archive"),
            (tar, "a tar archive"),
            (
                [0x50, 0x4b, 3, 4, 20, 0, 6, 0] + bytes("[Content_Types].xml"),
                "an Excel workbook (.xlsx); save the sheet as CSV"
            ),
            ([0x50, 0x4b, 3, 4, 20, 0, 6, 0] + bytes("orders.csv"), "a zip archive"),
            ([0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1, 0, 0], "an Excel workbook (.xls)"),
            ([0x37, 0x7a, 0xbc, 0xaf, 0x27, 0x1c, 0, 4], "a 7z archive"),
            (bytes("PAR1") + [0x15, 4], "Parquet"), (bytes("Obj\u{1}") + [4], "Avro"),
            (bytes("ARROW1\u{0}\u{0}"), "Arrow"),
            (bytes("SQLite format 3\u{0}"), "an SQLite database"), (bytes("%PDF-1.7\n"), "a PDF"),
            (bytes("\n <!DOCTYPE html>\n<html>"), "an HTML page"), (bytes("<?xml version=\"1.0\"?>"), "XML"),
            (wide(text, isBigEndian: false, mark: true), "UTF-16, not UTF-8"),
            (wide(text, isBigEndian: true, mark: true), "UTF-16"),
            (wide(text, isBigEndian: false, mark: false), "UTF-16LE"),
            (wide(text, isBigEndian: true, mark: false), "UTF-16BE"),
            (wide(text, isBigEndian: false, mark: true, width: 4), "UTF-32"),
            (wide(text, isBigEndian: true, mark: true, width: 4), "UTF-32"),
        ]
        for (content, says) in cases {
            let message = try #require(refusal(content, splitter), "\(says)")
            #expect(message.hasPrefix("\(folder.file("odd")): "), "the file is named: \(message)")
            #expect(message.contains(says), "\(message)")
        }
    }

    @Test(arguments: [
        ("[\n  {\"id\": 1},\n  {\"id\": 2}\n]\n", "one JSON array"), ("[{\"id\":1},{\"id\":2}]", "one JSON array"),
        (" [ {\"id\":1},\r\n", "one JSON array"),
        ("[{\"id\":\"\(String(repeating: "x", count: 5000))\"}]\n{}\n", "one JSON array"),
        ("{\n  \"id\": 1\n}\n", "over several lines"), ("{\r\n}\r\n", "over several lines"),
    ])
    func `JSON that is not one object a line is refused`(_ content: String, _ says: String) {
        #expect(refusal(bytes(content))?.contains(says) == true)
        #expect(refusal(bytes(content), .standardCSV) == nil, "the header's reader says more of it")
    }

    /// Poison at the start of a file must not cost the good records behind it.
    @Test(arguments: [
        "", "{}", "[]\n{\"id\":1}\n", "[{\"id\":1}]\n{\"id\":2}\n", "{\n{\"id\":1}\n", "null\n{}\n",
        "\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\n{}\n",
        "<broken\n{}\n", "id,ts\n1,2\n", "PK\n{}\n", "BZh\n{}\n", "%PDX\n{}\n", "{\"id\":\"\u{0}\"}\n{}\n",
        "a\u{0}\n{\"id\":\"2\"}\n",
    ])
    func `a file that may hold a record is read`(_ content: String) {
        #expect(refusal(bytes(content)) == nil)
        if !content.utf8.contains(0) { #expect(refusal([0xff, 0xfe] + bytes(content)) == nil) }
    }
}

@Suite struct HeaderLookTests {
    @Test(
        arguments: [
            ("id;ts;amount", "one column with ';' in its name: csv: { delimiter: \";\" }"),
            ("id\tts\tamount", "one column with tabs in its name: csv: { delimiter: tab }"),
            ("id|ts", "csv: { delimiter: \"|\" }"),
            ("id ts amount", "one column with blanks in its name: csv: { delimiter: blanks }"),
            ("id,ts,amount", nil), ("id", nil), ("id, ts, amount", "csv: { trim: true }"),
            ("6,2,4,1289241911.72836", "no header: csv: { header: [NAME, …] } with 4 names"),
            ("6;2;4", "csv: { delimiter: \";\" }"),
            ("% user, art, rate", "looks like a comment: csv: { comment: \"%\" }"),
            ("#id,ts", "csv: { comment: \"#\" }"),
            ("{\"id\":1}", "looks like JSON, one record a line: format: json"),
        ] as [(String, String?)]
    )
    func `a row that is no header is told with what to write`(_ row: String, _ says: String?) {
        let hint = HeaderLook.hint(bytes(row), .standard)
        if let says { #expect(hint?.hasSuffix(says) == true, "\(hint ?? "none")") } else { #expect(hint == nil) }
    }

    @Test func `a row in another encoding is told with the one that it may be in`() {
        #expect(
            HeaderLook.hint(bytes("id,Stra") + [0xdf] + bytes("e"), .standard)?.hasSuffix("encoding: iso-8859-1 }")
                == true
        )
        #expect(HeaderLook.hint(bytes("id,") + [0x80], .standard)?.hasSuffix("encoding: windows-1252 }") == true)
        var latin = CSVDialect.standard
        latin.encoding = .latin1
        #expect(HeaderLook.hint(bytes("id,Stra") + [0xdf] + bytes("e"), latin) == nil)
    }

    /// A row that is read in its dialect gives no hint to use the one it is read in.
    @Test func `the hint is followed to the end`() throws {
        var dialect = CSVDialect.standard
        dialect.delimiter = .byte(UInt8(ascii: ";"))
        #expect(HeaderLook.hint(bytes("id; ts"), dialect)?.hasSuffix("csv: { trim: true }") == true)
        dialect.trims = true
        #expect(HeaderLook.hint(bytes("id; ts"), dialect) == nil)
    }

    @Test(
        arguments: [
            ("id,ts,amount\n1,2,3\n1,2", "none of its first 2 lines begins with '{': it looks like CSV with 3 columns"),
            (
                "1;2\n",
                "its first line does not begin with '{': it looks like CSV with 2 columns; an event reads it with 'csv: { delimiter: \";\" }'"
            ),
            ("1\t2\n", "it looks like CSV with 2 columns; an event reads it with 'csv: { delimiter: tab }'"),
            ("\u{01}\u{02},;\u{7f}\n", "its first line does not begin with '{', as a record of JSON does"),
            ("some words\n", "does not begin with '{', as"),
            ("some,words\n {}\n", nil), ("{\"a\":1}", nil), ("", nil),
        ] as [(String, String?)]
    )
    func `a file that looks like CSV and is to be JSON is remarked on`(_ content: String, _ says: String?) {
        let remark = bytes(content).withUnsafeBytes { FileLook($0).remarkOnLines }
        if let says { #expect(remark?.contains(says) == true, "\(remark ?? "none")") } else { #expect(remark == nil) }
    }
}

extension RecordSplitter {
    fileprivate static let all: [RecordSplitter] = [.lines, .standardCSV]
}
