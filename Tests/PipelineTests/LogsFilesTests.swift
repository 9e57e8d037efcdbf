import Glibc
import Models
import Testing

@testable import Pipeline

@Suite struct LogsRecordFile {
    private let folder = TemporaryFolder()

    /// Reads the content mapped, compressed both ways and through a pipe; all must agree.
    private func everyWay(
        _ content: String,
        _ splitter: RecordSplitter = .lines,
        limit: Int = 1 << 20
    ) throws -> (header: String?, rows: [Row]) {
        let plain = folder.file("input")
        save(bytes(content), plain)
        let mapped = try rows(plain, splitter, limit: limit)
        #expect(mapped.error == nil)
        for compressed in [try gzip(bytes(content), folder), zstd(bytes(content))] {
            let path = folder.file("input.compressed")
            save(compressed, path)
            let inflated = try rows(path, splitter, limit: limit)
            #expect(inflated.rows == mapped.rows)
            #expect(inflated.header == mapped.header)
            #expect(inflated.error == nil)
        }
        let fifo = folder.file("pipe")
        unlink(fifo)
        #expect(mkfifo(fifo, 0o600) == 0)
        #expect(system("cat '\(plain)' > '\(fifo)' &") == 0)
        let piped = try rows(fifo, splitter, limit: limit)
        #expect(piped.rows == mapped.rows)
        #expect(piped.header == mapped.header)
        return (mapped.header, mapped.rows)
    }

    @Test func `lines end at LF or CR LF, empty ones are skipped and counted, the last may lack its end`() throws {
        let read = try everyWay("{\"a\":1}\n\n{\"b\":2}\r\n\r\n{\"c\":\"é\"}")
        #expect(
            read.rows == [
                Row(text: "{\"a\":1}", index: 0, line: 1), Row(text: "{\"b\":2}", index: 1, line: 3),
                Row(text: "{\"c\":\"é\"}", index: 2, line: 5),
            ]
        )
        #expect(read.header == nil)
    }

    @Test(arguments: ["", "\n", "\n\r\n\n", "\u{feff}", "\u{feff}\n"])
    func `a file without records has none`(content: String) throws {
        #expect(try everyWay(content).rows == [])
        let csv = try everyWay(content, .standardCSV)
        #expect(csv.rows == [] && csv.header == nil)
    }

    @Test func `a byte order mark is not part of the first record`() throws {
        #expect(try everyWay("\u{feff}{}\n").rows == [Row(text: "{}", index: 0, line: 1)])
        #expect(try everyWay("\u{feff}a,b\n1,2\n", .standardCSV).header == "a,b")
    }

    @Test func `a file that fills its last page can still be read 16 bytes further`() throws {
        let content = String(repeating: "x", count: 4095) + "\n" + String(repeating: "y", count: 4096)
        #expect(try everyWay(content).rows.map(\.text.count) == [4095, 4096])
    }

    @Test func `quoted CSV fields keep commas, quotes and line ends; the header comes separately`() throws {
        let read = try everyWay(
            "id,note\r\n1,\"two\nlines, \"\"quoted\"\"\"\r\n\r\n2,5\" disk\n3,\"\"\n4,\"a\"\"\n\"\"b\"\n5,end",
            .standardCSV
        )
        #expect(read.header == "id,note")
        #expect(
            read.rows == [
                Row(text: "1,\"two\nlines, \"\"quoted\"\"\"", index: 0, line: 2),
                Row(text: "2,5\" disk", index: 1, line: 5),
                Row(text: "3,\"\"", index: 2, line: 6), Row(text: "4,\"a\"\"\n\"\"b\"", index: 3, line: 7),
                Row(text: "5,end", index: 4, line: 9),
            ]
        )
    }

    @Test func `a quote that is never closed spoils one line, not the rest of the file`() throws {
        let read = try everyWay("h\n1,\"open\n2,b\n3,c\n", .standardCSV)
        #expect(read.rows.map(\.text) == ["1,\"open", "2,b", "3,c"])
        #expect(read.rows.map(\.line) == [2, 3, 4])
        // The same when the limit ends the search long before the file does.
        let long = try everyWay("h\n1,\"open\n" + (2..<40).map { "\($0),b\n" }.joined(), .standardCSV, limit: 32)
        #expect(long.rows.count == 39)
        #expect(long.rows.allSatisfy { !$0.isOversize })
    }

    @Test func `quotes that are never closed cost no more than the lines they stand in`() throws {
        // Each line closes the quote of the one before and opens another, so that no line ends outside quotes when it began in
        // them.
        let content = "h\n" + String(repeating: "x\"y,\"z\n", count: 40_000)
        let plain = folder.file("open-quotes")
        save(bytes(content), plain)
        let compressed = folder.file("open-quotes.gz")
        save(try gzip(bytes(content), folder), compressed)
        for path in [plain, compressed] {
            for limit in [1 << 20, 5_002] {
                let file = try RecordFile(path: path, splitter: .standardCSV, recordLimit: limit)
                var count = 0
                while true {
                    let got = try file.nextBatch(maxRecords: 4096) { $0.length == 6 }
                    if got == 0 { break }
                    count += got
                }
                #expect(count == 40_000)
                #expect(file.bytesSearched < 3 * Int64(content.utf8.count))
            }
        }
    }

    /// What the reader's documentation says, without its memory of what was searched: every record is searched from its own start.
    private func searchedAnew(_ content: [UInt8], limit: Int) -> [[UInt8]] {
        var records: [[UInt8]] = []
        var start = 0
        while start < content.count {
            var scanner = RecordScanner(.standardCSV)
            let reach = min(content.count, start + limit + 2)
            let found = content.withUnsafeBytes { bytes in
                bytes.baseAddress.flatMap { scanner.end(in: $0, from: start, to: reach) }
            }
            let line = content[start..<reach].firstIndex(of: 0x0a)
            let isOver = found == nil && reach - start > limit + 1
            let lineEnd =
                found ?? (scanner.isInQuotes ? line : nil)
                ?? (isOver ? content[reach...].firstIndex(of: 0x0a) : nil) ?? content.count
            var record = content[start..<lineEnd]
            if lineEnd < content.count, record.last == 0x0d { record.removeLast() }
            if !record.isEmpty { records.append([UInt8](record.prefix(limit))) }
            start = lineEnd + 1
        }
        return records
    }

    @Test func `records behind open quotes are those that a search from each start finds`() throws {
        var random = SplitMix64(seed: 11)
        let pieces = [
            "a", ",", "\"", "\"", ",\"", "\"\"", "\n", "\n", "\r\n", "\"\n", "bc", String(repeating: "d", count: 30),
        ]
        for round in 0..<150 {
            let content = (0..<300).map { _ in pieces[random.below(pieces.count)] }.joined()
            let limit = [8, 64, 1 << 20][round % 3]
            let read = try everyWay("h\n" + content, .standardCSV, limit: limit)
            #expect(read.rows.map { bytes($0.text) } == searchedAnew(bytes(content), limit: limit))
        }
    }

    @Test(arguments: [
        ("abcdefgh\n1", ["abcdefgh", "1"]), ("abcdefgh\r\n1", ["abcdefgh", "1"]), ("abcdefghi\n1", ["abcdefgh…", "1"]),
        ("\"bc\nd\"\n1", ["\"bc\nd\"", "1"]), ("\"b\n", ["\"b"]),
        ("2,q\"uo\n3,\"open\n4,5", ["2,q\"uo", "3,\"open", "4,5"]),
        ("\"bc\ndefgh\"\n1", ["\"bc\ndefg…", "1"]), ("\"bcdefgh\n1", ["\"bcdefgh", "1"]),
        ("\"bcdefghi\n1", ["\"bcdefgh…", "1"]),
    ])
    func `a CSV record has eight bytes to close its quotes and to end in`(_ content: String, _ expected: [String])
        throws
    {
        let read = try everyWay("h\n" + content, .standardCSV, limit: 8)
        #expect(read.rows.map { $0.text + ($0.isOversize ? "…" : "") } == expected)
    }

    @Test func `a record over the limit is handed out as its head, once, and the next ones are whole`() throws {
        for ending in ["\n", "\r\n"] {
            let content =
                "a" + ending + String(repeating: "z", count: 5000) + ending + "b" + ending
                + String(repeating: "y", count: 101)
            let read = try everyWay(content, limit: 100)
            #expect(read.rows.map(\.text.count) == [1, 100, 1, 100])
            #expect(read.rows.map(\.isOversize) == [false, true, false, true])
            #expect(read.rows.map(\.line) == [1, 2, 3, 4])
        }
        let exact = try everyWay(
            String(repeating: "z", count: 100) + "\r\n" + String(repeating: "z", count: 100) + "\n",
            limit: 100
        )
        #expect(exact.rows.map(\.isOversize) == [false, false])
    }

    @Test func `a line of 10 MB costs the limit and no more`() throws {
        let content = [UInt8](repeating: 0x7b, count: 10 << 20) + bytes("\n{}\n")
        let plain = folder.file("big")
        save(content, plain)
        let compressed = folder.file("big.gz")
        save(try gzip(content, folder), compressed)
        for path in [plain, compressed] {
            let file = try RecordFile(path: path, splitter: .lines)
            var lengths: [[Int]] = []
            let take = { (record: FileRecord) in
                lengths.append([record.length, record.bytes.count])
                return true
            }
            while try file.nextBatch(maxRecords: 10, take) > 0 {}
            #expect(lengths == [[10 << 20, 1 << 20], [2, 2]])
            #expect(file.bytesRead == Int64(content.count))
        }
    }

    @Test func `a record over the limit may end anywhere, also where a mapped file is read in pieces`() throws {
        let path = folder.file("pieces")
        // The head and the two bytes that tell it is too long, then pieces of 2 MiB.
        for length in [1, 2].flatMap({ pieces in (-3...3).map { 102 + (pieces << 21) + $0 } }) {
            for ending in ["\n", "\r\n"] {
                save(bytes("a\n") + [UInt8](repeating: 0x7b, count: length) + bytes(ending + "b"), path)
                let file = try RecordFile(path: path, splitter: .lines, recordLimit: 100)
                var found: [[Int]] = []
                var heads = 0
                let take = { (record: FileRecord) in
                    found.append([record.length, Int(record.line)])
                    heads += record.bytes.count { $0 == 0x7b }
                    return true
                }
                while try file.nextBatch(maxRecords: 10, take) > 0 {}
                #expect(found == [[1, 1], [length, 2], [1, 3]])
                #expect(heads == 100)
            }
        }
    }

    @Test func `a batch ends where its reader says, however the bytes come`() throws {
        let content = (0..<700).map { "\($0)" + String(repeating: "x", count: 8000 + $0 % 97) + "\n" }.joined()
        let plain = folder.file("long")
        save(bytes(content), plain)
        let compressed = folder.file("long.gz")
        save(try gzip(bytes(content), folder), compressed)
        let fifo = folder.file("long-pipe")
        #expect(mkfifo(fifo, 0o600) == 0)
        #expect(system("cat '\(plain)' > '\(fifo)' &") == 0)
        var batches: [[Int]] = []
        for path in [plain, compressed, fifo] {
            let file = try RecordFile(path: path, splitter: .lines)
            var counts: [Int] = []
            while true {
                var held = 0
                let count = try file.nextBatch(maxRecords: 4096) { record in
                    held += record.length
                    return held < 2 << 20
                }
                if count == 0 { break }
                counts.append(count)
            }
            batches.append(counts)
        }
        #expect(batches[0] == [261, 261, 178])
        #expect(batches[1] == batches[0] && batches[2] == batches[0])
    }

    @Test func `a missing file and a folder are refused with the reason`() throws {
        let missing = logError { _ = try RecordFile(path: folder.file("none"), splitter: .lines) }
        #expect(missing?.kind == .refused)
        #expect(missing?.message.contains("No such file or directory") == true)
        #expect(logError { _ = try RecordFile(path: folder.path, splitter: .lines) }?.kind == .refused)
    }

    @Test func `rows written by RFC 4180 come back as written`() throws {
        var state: UInt64 = 7
        func random(_ below: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % below
        }
        let pieces = ["a", "bc", ",", "\"", "\n", "\r\n", "é", " ", String(repeating: "d", count: 70)]
        for _ in 0..<30 {
            var written: [String] = []
            for row in 0..<60 {
                let fields = (0...random(4)).map { _ in
                    let field = (0..<random(5)).map { _ in pieces[random(pieces.count)] }.joined()
                    // Characters do not do here: in Swift "\r\n" is one.
                    if !field.utf8.contains(where: { $0 == 0x2c || $0 == 0x22 || $0 == 0x0a || $0 == 0x0d }) {
                        return field
                    }
                    var quoted: [UInt8] = [0x22]
                    for byte in field.utf8 { quoted += byte == 0x22 ? [0x22, 0x22] : [byte] }
                    return String(decoding: quoted + [0x22], as: UTF8.self)
                }
                written.append("\(row)," + fields.joined(separator: ","))
            }
            let end = random(2) == 0 ? "\n" : "\r\n"
            let read = try everyWay("n,rest" + end + written.joined(separator: end), .standardCSV)
            #expect(read.header == "n,rest")
            #expect(read.rows.map(\.text) == written)
        }
    }

    @Test(arguments: [
        ("online_retail/online_retail.csv.gz", "InvoiceNo,StockCode,", 541_909),
        ("talkingdata_sample/train_sample.csv.gz", "ip,app,device,os,", 100_000),
    ])
    func `the real files give as many rows as their publishers say`(name: String, header: String, count: Int) throws {
        guard let path = sharedData("data/ecommerce/" + name) else { return }
        let file = try RecordFile(path: path, splitter: .standardCSV)
        #expect(file.header.map { String(decoding: $0, as: UTF8.self).hasPrefix(header) } == true)
        var rows = 0
        var fields = 0
        while true {
            let got = try file.nextBatch(maxRecords: 4096) { record in
                var quoted = false
                for byte in record.bytes {
                    if byte == 0x22 { quoted.toggle() }
                    if byte == 0x2c, !quoted { fields += 1 }
                }
                return true
            }
            if got == 0 { break }
            rows += got
        }
        #expect(rows == count)
        #expect(fields == 7 * count, "every row has eight fields")
    }

    @Test func `records part the same way whatever the batch and wherever the buffer ends`() throws {
        var state: UInt64 = 42
        func random(_ below: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % below
        }
        let pieces = ["a", ",", "\"", "\"\"", "\n", "\r\n", "bc", String(repeating: "d", count: 40)]
        for _ in 0..<40 {
            let content = "h\n" + (0..<400).map { _ in pieces[random(pieces.count)] }.joined()
            for splitter in [RecordSplitter.lines, .standardCSV] { _ = try everyWay(content, splitter, limit: 64) }
        }
    }
}

@Suite struct LogsLineWriter {
    private let folder = TemporaryFolder()

    @Test func `a file appears whole at the close and replaces the old one`() throws {
        let path = folder.file("out.jsonl")
        save(bytes("old\n"), path)
        let writer = try LineWriter(path: path)
        for i in 0..<100_000 { try writer.writeLine("line \(i)") }
        #expect(load(path) == bytes("old\n"))
        try writer.close()
        try writer.close()
        #expect(load(path) == bytes((0..<100_000).map { "line \($0)\n" }.joined()))
        #expect(writer.lineCount == 100_000)
        #expect(FileText.names(in: folder.path) == ["out.jsonl"])
    }

    @Test func `two writers of one output, and a file of the name with tmp, leave each other alone`() throws {
        let path = folder.file("out.jsonl")
        save(bytes("mine"), path + ".tmp")
        let (first, second) = (try LineWriter(path: path), try LineWriter(path: path))
        for i in 0..<50_000 {
            try first.writeLine("first \(i)")
            try second.writeLine("second \(i)")
        }
        try second.close()
        #expect(load(path) == bytes((0..<50_000).map { "second \($0)\n" }.joined()))
        try first.close()
        #expect(load(path) == bytes((0..<50_000).map { "first \($0)\n" }.joined()))
        let third = try LineWriter(path: path)
        third.abandon()
        #expect(load(path + ".tmp") == bytes("mine"))
        #expect((FileText.names(in: folder.path) ?? []).sorted() == ["out.jsonl", "out.jsonl.tmp"])
    }

    @Test func `a new file has the rights that any new file gets, and one that is replaced keeps its own`() throws {
        func rights(_ path: String) -> mode_t {
            var status = stat()
            return stat(path, &status) == 0 ? status.st_mode & 0o7777 : 0
        }
        let plain = open(folder.file("other"), O_WRONLY | O_CREAT, 0o666)
        close(plain)
        let path = folder.file("out")
        try LineWriter(path: path).close()
        #expect(rights(path) == rights(folder.file("other")))
        chmod(path, 0o640)
        try LineWriter(path: path).close()
        #expect(rights(path) == 0o640)
    }

    @Test func `a name as long as names may be can be written`() throws {
        let path = folder.file(String(repeating: "n", count: 255))
        try LineWriter(path: path).close()
        #expect(access(path, F_OK) == 0)
    }

    @Test func `lines around the buffer's size come through unharmed`() throws {
        let path = folder.file("out")
        let writer = try LineWriter(path: path)
        var expected: [UInt8] = []
        for length in [0, 1, (1 << 18) - 1, 1 << 18, (1 << 18) + 1, 3 << 20, 5] {
            let line = [UInt8](repeating: 0x61, count: length)
            try line.withUnsafeBufferPointer { (line) throws(LogError) in
                try writer.writeLine(UnsafeRawBufferPointer(line))
            }
            expected += line + [0x0a]
        }
        try writer.close()
        #expect(load(path) == expected)
        #expect(writer.byteCount == Int64(expected.count))
    }

    @Test func `a writer that is dropped leaves the old file and no other`() throws {
        let path = folder.file("out")
        save(bytes("old"), path)
        do {
            let writer = try LineWriter(path: path)
            try writer.writeLine("new")
        }
        #expect(load(path) == bytes("old"))
        #expect(FileText.names(in: folder.path) == ["out"])
    }

    @Test func `an output that cannot be written is refused at once with path and reason`() throws {
        let path = folder.file("no/such/out.jsonl")
        let error = logError { _ = try LineWriter(path: path) }
        #expect(error?.kind == .refused)
        #expect(error?.message.contains(path) == true && error?.message.contains("No such file") == true)
        #expect(logError { _ = try LineWriter(path: folder.path) }?.kind == .refused)
    }

    @Test(.enabled(if: access("/dev/full", W_OK) == 0, "needs /dev/full"))
    func `a full disk is told`() throws {
        let writer = try LineWriter(path: "/dev/full")
        let error = logError {
            try writer.writeLine("x")
            try writer.close()
        }
        #expect(error?.kind == .refused)
        #expect(error?.message.contains("No space left") == true)
    }

    @Test func `a device is written as it is, a link stays a link`() throws {
        let null = try LineWriter(path: "/dev/null")
        try null.writeLine("x")
        try null.close()
        let target = folder.file("target")
        let link = folder.file("link")
        save(bytes("old"), target)
        #expect(symlink(target, link) == 0)
        let writer = try LineWriter(path: link)
        try writer.writeLine("new")
        try writer.close()
        #expect(load(target) == bytes("new\n"))
        var status = stat()
        #expect(lstat(link, &status) == 0 && status.st_mode & S_IFMT == S_IFLNK)
    }

    @Test func `a reader that leaves ends the output quietly`() throws {
        let fifo = folder.file("pipe")
        #expect(mkfifo(fifo, 0o600) == 0)
        let reader = open(fifo, O_RDONLY | O_NONBLOCK)
        let writer = try LineWriter(path: fifo)
        try writer.writeLine("seen")
        try writer.flush()
        #expect(!writer.readerIsGone)
        close(reader)
        for _ in 0..<10 { try writer.writeLine(String(repeating: "x", count: 1 << 17)) }
        #expect(writer.readerIsGone)
        try writer.close()
    }
}
