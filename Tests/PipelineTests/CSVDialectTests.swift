import Detection
import Models
import RuleLanguage
import Testing

@testable import Pipeline

/// The files of `Fixtures/csv-dialects.txt`, made by the program of that name.
private struct DialectCase: Sendable, CustomTestStringConvertible {
    var keys: String
    var file: String
    var rows: [String] = []
    var testDescription: String { keys }

    static let all: [DialectCase] = {
        var cases: [DialectCase] = []
        for line in PackageFolder.text("Tests/PipelineTests/Fixtures/csv-dialects.txt").split(separator: "\n") {
            if line.hasPrefix("== ") {
                cases.append(DialectCase(keys: String(line.dropFirst(3)), file: ""))
            } else if line.hasPrefix("file ") {
                cases[cases.count - 1].file = unescaped(line.dropFirst(5))
            } else if line.hasPrefix("row ") {
                cases[cases.count - 1].rows.append(unescaped(line.dropFirst(4)))
            }
        }
        return cases
    }()

    private static func unescaped(_ text: Substring) -> String {
        String(text).replacing("\\\\", with: "\u{0}").replacing("\\n", with: "\n").replacing("\\r", with: "\r")
            .replacing("\\t", with: "\t").replacing("\\s", with: " ").replacing("\u{0}", with: "\\")
    }
}

/// A topology of one event type that reads CSV in a dialect.
private func topology(csv: String, extra: String = "") throws -> TopologyDescription {
    try TopologyText.load(
        """
        topology: shop
        events:
          order:
            topic: orders
            csv: \(csv)
            time: ts
            subject: who
            fields:
              ts: timestamp
              who: { type: string, entity: account }
              amount: { type: money, on_error: reject }
              a: string
              b: string
              c: string
        \(extra)
        """
    )
}

@Suite struct CSVDialectTests {
    private let folder = TemporaryFolder()

    /// The rows of a file as the topology's first event type reads them, columns apart by `␟`; a dead letter's code for what is
    /// none.
    private func read(_ content: [UInt8], _ description: TopologyDescription, limit: Int = 1 << 20, batch: Int = 2)
        throws -> [String]
    {
        let path = folder.file("rows.csv")
        save(content, path)
        let schema = description.events[0]
        let plan = try DecodePlan(
            schemas: description.events,
            topics: description.topics,
            hash: TextHash(key: HashKey(0, 0))
        )
        let file = try RecordFile(path: path, splitter: .csv(schema.csv), recordLimit: limit)
        let columns =
            try schema.csv.names ?? (file.header ?? []).withUnsafeBytes { try CSVDecoder.columnNames($0, schema.csv) }
        var decoder = try CSVDecoder(columns: columns, types: [0], plan: plan)
        var events = EventBatch()
        var rows: [String] = []
        while true {
            let got = try file.nextBatch(maxRecords: batch) { record in
                switch decoder.decode(partition: 0, offset: record.index, value: record.bytes, into: &events) {
                case .events:
                    let event = events.event(events.count - 1)
                    rows.append(
                        (2..<schema.fields.count).map { field in
                            let slot = event.fields[field]
                            if slot.isMissing { return "" }
                            if schema.fields[field].type == .money { return "\(slot.int)" }
                            let bytes = UnsafeBufferPointer(start: event.text + slot.textOffset, count: slot.textLength)
                            return String(decoding: bytes, as: UTF8.self)
                        }.joined(separator: "␟")
                    )
                case .rejected(let letter):
                    rows.append("\(letter.code.name) \(plan.path(of: letter) ?? "-") @\(letter.byteOffset)")
                case .ignored: rows.append("ignored")
                case .full: rows.append("full")
                }
                return true
            }
            if got == 0 { break }
        }
        return rows
    }

    private func encoded(_ text: String, _ encoding: CSVDialect.Encoding) -> [UInt8] {
        if encoding == .utf8 { return bytes(text) }
        let high: [Unicode.Scalar: UInt8] = ["€": 0x80, "„": 0x84, "Š": 0x8a]
        return text.unicodeScalars.map { encoding == .windows1252 ? high[$0] ?? UInt8($0.value) : UInt8($0.value) }
    }

    @Test func `files in any dialect have the columns that Python's csv module reads in them`() throws {
        #expect(DialectCase.all.count == 120, "the fixture is there")
        for item in DialectCase.all {
            let description = try topology(csv: item.keys)
            let content = encoded(item.file, description.events[0].csv.encoding)
            #expect(try read(content, description) == item.rows, "\(item.keys)")
        }
    }

    @Test func `a dialect that is another reads other columns`() throws {
        var differing = 0
        for item in DialectCase.all {
            let description = try topology(csv: "{ header: [ts, who, amount, \"-\", a, b, c] }")
            let content = encoded(item.file, try topology(csv: item.keys).events[0].csv.encoding)
            if try read(content, description) != item.rows { differing += 1 }
        }
        #expect(differing > 100)
    }

    /// Dialect, row, and its columns or mistake; nil: no row.
    private static let table: [(keys: String, row: String, expected: String?)] = [
        // What blanks around a column mean, and what they do not.
        ("{ trim: true }", "1772618400000 , ada,\t7 , x y ,\" q \" , ", "700␟x y␟ q ␟"),
        ("{ trim: true }", "1772618400000,ada,7,\" \"\"q\"\"\",,", "700␟ \"q\"␟␟"),
        ("{ trim: true }", "1772618400000,ada,7,\"q\" x,,", "invalid_csv - @24"),
        ("{ trim: false }", "1772618400000,ada, 7,x,,", "wrong_type amount @18"),
        ("{ delimiter: tab, trim: true }", "1772618400000\t ada\t7 \t\tb\t", "700␟␟b␟"),
        ("{ delimiter: blanks }", "  1772618400000 \t ada  7\tx \"b c\" \t ", "700␟x␟b c␟"),
        ("{ delimiter: blanks }", "1772618400000 ada 7 a b c more", "invalid_csv - @26"),
        ("{ delimiter: blanks }", "1772618400000 ada 7 \"a\"b", "invalid_csv - @23"),
        ("{ delimiter: blanks, quote: none }", "1772618400000 ada 7 \"a b\" c", "700␟\"a␟b\"␟c"),
        // Without quotes a quote is a character, and a line end ends a row.
        ("{ quote: none }", "1772618400000,ada,7,\"x,y\",", "700␟\"x␟y\"␟"),
        ("{ quote: \"'\" }", "1772618400000,ada,7,'it''s',\"b\",", "700␟it's␟\"b\"␟"),
        // Numbers.
        ("{ decimal: \",\", delimiter: \";\" }", "1772618400000;ada;1234,5;;;", "123450␟␟␟"),
        ("{ decimal: \",\", delimiter: \";\" }", "1772618400000;ada;1234.5;;;", "wrong_type amount @18"),
        ("{ decimal: \",\", delimiter: \";\" }", "1772618400000;ada;1,2,3;;;", "wrong_type amount @18"),
        ("{ decimal: \",\", delimiter: \";\" }", "1772618400000;ada;,5;;;", "wrong_type amount @18"),
        ("{ decimal: \",\", delimiter: \";\" }", "1772618400000;ada;5,;;;", "wrong_type amount @18"),
        ("{ decimal: \",\", delimiter: \";\" }", "1772618400000;ada;1,005;;;", "too_many_decimals amount @18"),
        ("{ thousands: \",\", delimiter: \";\" }", "1772618400000;ada;1,234,567.8;;;", "123456780␟␟␟"),
        ("{ thousands: \",\", delimiter: \";\" }", "1772618400000;ada;1234567.8;;;", "123456780␟␟␟"),
        ("{ thousands: \",\", delimiter: \";\" }", "1772618400000;ada;12,34.5;;;", "wrong_type amount @18"),
        ("{ thousands: \",\", delimiter: \";\" }", "1772618400000;ada;1,2345;;;", "wrong_type amount @18"),
        ("{ thousands: \",\", delimiter: \";\" }", "1772618400000;ada;1234,567;;;", "wrong_type amount @18"),
        ("{ thousands: \",\", delimiter: \";\" }", "1772618400000;ada;,123;;;", "wrong_type amount @18"),
        ("{ thousands: \",\", delimiter: \";\" }", "1772618400000;ada;1,;;;", "wrong_type amount @18"),
        ("{ thousands: \",\", delimiter: \";\" }", "1772618400000;ada;1.234,5;;;", "wrong_type amount @18"),
        ("{ thousands: \" \", decimal: \",\" }", "1772618400000,ada,\"1 234\u{a0}567,89\",,,", "123456789␟␟␟"),
        ("{ thousands: \" \", decimal: \",\" }", "1772618400000,ada,\"-1\u{202f}234,5\",,,", "-123450␟␟␟"),
        ("{ thousands: \"'\" }", "1772618400000,ada,1'234.5e1,,,", "1234500␟␟␟"),
        // The event time is a number too; text is text.
        ("{ thousands: \",\", delimiter: \";\" }", "1,772,618,400,000;ada;1;1,5;;", "100␟1,5␟␟"),
        ("{ thousands: \",\", delimiter: \";\" }", "1,7726,400,000;ada;1;1,5;;", "invalid_timestamp ts @0"),
        // Comments begin a row and nothing else.
        ("{ comment: \"#\" }", "#1772618400000,ada,7,x,,", nil),
        ("{ comment: \"#\" }", "1772618400000,ada,7,#x,,", "700␟#x␟␟"),
    ]

    @Test func `a row is read as its dialect says`() throws {
        for (keys, row, expected) in CSVDialectTests.table {
            let names = "header: [ts, who, amount, a, b, c]"
            let description = try topology(csv: keys.replacing(" }", with: ", \(names) }"))
            #expect(try read(bytes(row + "\n"), description) == [expected].compactMap { $0 }, "\(keys) \(row)")
        }
    }

    @Test func `a place in a row of another encoding counts the file's bytes`() throws {
        let names = "header: [ts, who, amount, a, b, c]"
        for encoding in ["iso-8859-1", "windows-1252"] {
            let description = try topology(csv: "{ encoding: \(encoding), \(names) }")
            // é, then a euro sign or the control character of its number.
            let row = bytes("1772618400000,") + [0xe9, 0xe9, 0x80] + bytes(",7 7,") + [0xe9] + bytes(",,\n")
            #expect(try read(row, description) == ["wrong_type amount @18"])
            let shown = encoding == "iso-8859-1" ? "\u{80}" : "€"
            let good = bytes("1772618400000,ada,7,") + [0xfc, 0x80, 0x81, 0xff] + bytes(",,\n")
            #expect(try read(good, description) == ["700␟ü\(shown)\u{81}ÿ␟␟"])
        }
    }

    @Test func `comments are no rows, whatever quotes they hold and however long they are`() throws {
        let description = try topology(csv: "{ comment: \"%\" }")
        let long = "%" + String(repeating: "x,\"", count: 500)
        let row = "1772618400000,ada,7,\"% no\n% comment\",,\n"
        let content = "% user, \"open\n\(long)\nts,who,amount,a,b,c\n%,\"\n\(row)\(long)\r\n%\n\(row)\(long)"
        for limit in [100, 1 << 20] {
            let rows = try read(bytes(content), description, limit: limit)
            #expect(rows == ["700␟% no\n% comment␟␟", "700␟% no\n% comment␟␟"])
        }
        save(bytes(content), folder.file("comments.csv"))
        let file = try RecordFile(path: folder.file("comments.csv"), splitter: .csv(description.events[0].csv))
        #expect(file.headerLine == 3)
        var lines: [Int64] = []
        _ = try file.nextBatch(maxRecords: 9) {
            lines.append($0.line)
            return true
        }
        #expect(lines == [5, 9])
    }

    @Test func `the ends of rows are found the same wherever the search is interrupted`() {
        var random = SplitMix64(seed: 21)
        for round in 0..<600 {
            var dialect = CSVDialect.standard
            dialect.delimiter = [.byte(0x2c), .byte(0x3b), .byte(0x09), .blanks][round % 4]
            dialect.quote = [0x22, 0x27, nil][round % 3]
            dialect.comment = round % 2 == 0 ? 0x23 : nil
            dialect.trims = round % 5 < 2
            let alphabet = bytes("a,;\t \"\"''#\n\n\r")
            let content = (0..<120).map { _ in alphabet[random.below(alphabet.count)] }
            func ends(pieces: Bool) -> [Int] {
                var scanner = RecordScanner(.csv(dialect))
                var found: [Int] = []
                var at = 0
                content.withUnsafeBytes { bytes in
                    guard let base = bytes.baseAddress else { return }
                    while at < content.count {
                        let to = pieces ? min(content.count, at + 1 + random.below(5)) : content.count
                        if let end = scanner.end(in: base, from: at, to: to) {
                            found.append(end)
                            at = end + 1
                            scanner.restart()
                        } else {
                            at = to
                        }
                    }
                }
                return found
            }
            #expect(ends(pieces: true) == ends(pieces: false), "\(dialect)")
        }
    }

    @Test func `how a file is written is in the digest, and the usual way adds nothing`() throws {
        let plain = try topology(csv: "{ header: present }").canonicalText
        #expect(!plain.contains("\n csv "))
        var seen: Set<String> = [plain]
        for keys in [
            "{ delimiter: \";\" }", "{ delimiter: blanks }", "{ quote: none }", "{ quote: \"'\" }",
            "{ comment: \"#\" }",
            "{ encoding: iso-8859-1 }", "{ encoding: windows-1252 }", "{ trim: true }", "{ decimal: \",\" }",
            "{ thousands: \",\" }",
            "{ header: [ts, who, amount, a, b, c] }", "{ header: [who, ts, amount, a, b, c] }",
        ] {
            let text = try topology(csv: keys).canonicalText
            #expect(text.contains("\n csv delimiter="))
            #expect(seen.insert(text).inserted, "\(keys)")
        }
    }
}
