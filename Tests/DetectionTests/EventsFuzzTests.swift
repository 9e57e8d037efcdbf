import Glibc
import RuleLanguage
import Models
import Testing

@testable import Detection

@Suite struct EventsFuzzTests {
    static let seeds = [
        #"{"ts":1760000000000,"buyer":{"id":"a1","ratio":0.125},"count":12,"first":true,"tags":["x","y\n"]}"#,
        #"{ "count" : -1e2 , "tags":[] , "buyer":{"ratio":1e-7,"x":{"id":[1,{"a":null}]},"id":"ä€😀\u00e4\ud83d\ude00"},"ts":1.76e12 }"#,
        #"{"a":{"b":[[],{},[{}]],"c":"\\\"\/"},"ts":1760000000000,"first":null,"buyer":{"id":"b"},"count":null,"\u0074ags":["\u0041"]}"#,
        #"{"tags":["a","b"],"buyer":{"id":"1234567890123456789012345678901234567890"},"ts":1760000000000,"n":[0,-0,0.0,1E+5,true,false]}"#,
    ]

    /// One to three small changes: a byte replaced, removed or put in, a piece copied, the end cut off.
    static func mutate(_ seed: [UInt8], _ random: inout SplitMix64) -> [UInt8] {
        var bytes = seed
        let telling =
            Array("{}[]\",:\\u0123456789eE+-.tfn \n\u{0}\u{1F}".utf8) + [0x80, 0xC3, 0xA4, 0xE2, 0xED, 0xF0, 0xFF]
        for _ in 0..<Int.random(in: 1...3, using: &random) where !bytes.isEmpty {
            let at = Int.random(in: 0..<bytes.count, using: &random)
            switch Int.random(in: 0..<8, using: &random) {
            case 0: bytes[at] = UInt8.random(in: 0...255, using: &random)
            case 1, 2: bytes[at] = telling.randomElement(using: &random) ?? 0
            case 3: bytes.remove(at: at)
            case 4, 5: bytes.insert(telling.randomElement(using: &random) ?? 0, at: at)
            case 6:
                let end = min(bytes.count, at + Int.random(in: 1...20, using: &random))
                bytes.insert(contentsOf: Array(bytes[at..<end]), at: Int.random(in: 0...bytes.count, using: &random))
            default: if Int.random(in: 0..<4, using: &random) == 0 { bytes.removeSubrange(at...) }
            }
        }
        return bytes
    }

    /// 200,000 records, with `WEIR_LONG=1` ten million.
    @Test func `of changed records that are JSON the event is that of a plain strict reader`() throws {
        var bench = Bench(try plan([plainType]))
        var random = SplitMix64(seed: 20_260_105)
        var accepted = 0
        var damaged = 0
        var loose = 0
        var memory = 0
        let cases = getenv("WEIR_LONG") == nil ? 200_000 : 10_000_000
        for round in 0..<cases {
            let bytes = EventsFuzzTests.mutate(
                Array(EventsFuzzTests.seeds[round % EventsFuzzTests.seeds.count].utf8),
                &random
            )
            if round % 1_000 == 0 { bench.batch.removeAll() }
            let outcome = bench.outcome(bytes)
            let isAccepted = outcome.hasPrefix("ts=")
            if round == cases / 10 { memory = bench.batch.memoryBytes }
            // Only of the parts that an event cannot be judged without is a record refused.
            if !isAccepted, ["count", "first", "tags", "ratio"].contains(where: { outcome.contains($0) }) {
                Issue.record("\(String(decoding: bytes, as: UTF8.self)): \(outcome)")
                return
            }
            if isAccepted {
                let event = bench.batch.event(bench.batch.count - 1)
                if event.fields[0].isMissing || event.fields[1].isMissing {
                    Issue.record("\(String(decoding: bytes, as: UTF8.self)) has neither time nor account")
                    return
                }
                if event.markCount > 0 { damaged += 1 }
            }
            guard let value = ReferenceJSON.read(bytes) else {
                // What is no JSON may be so where nobody reads.
                if isAccepted { loose += 1 }
                continue
            }
            let expected = ReferenceJSON.expected(value)
            if isAccepted != (expected != nil) || (expected ?? outcome) != outcome {
                Issue.record(
                    "\(String(decoding: bytes, as: UTF8.self)): \(outcome), the plain reader: \(expected ?? "refused")"
                )
                return
            }
            if isAccepted { accepted += 1 }
        }
        #expect(accepted > cases / 20)
        #expect(loose > cases / 100)
        #expect(damaged > cases / 100)
        #expect(bench.batch.memoryBytes <= 2 * memory, "the batch is emptied each thousand records, so it stays small")
    }

    @Test func `a record cut short anywhere is refused and nothing behind it is read`() throws {
        let page = Int(sysconf(Int32(_SC_PAGESIZE)))
        let memory = try #require(mmap(nil, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))
        defer { munmap(memory, 2 * page) }
        try #require(mprotect(memory + page, page, PROT_NONE) == 0)
        var bench = Bench(try plan([plainType]))
        for seed in EventsFuzzTests.seeds {
            let bytes = Array(seed.utf8)
            for length in 0...bytes.count {
                // The record ends where readable memory ends.
                let start = memory + page - length
                start.copyMemory(from: bytes, byteCount: length)
                let value = UnsafeRawBufferPointer(start: start, count: length)
                let result = bench.decoder.decode(topic: 0, partition: 0, offset: 0, value: value, into: &bench.batch)
                if length == bytes.count {
                    #expect(result == .events(1))
                } else if case .rejected(let letter) = result {
                    #expect(letter.code == .truncatedJSON, "\(seed.prefix(length))")
                    #expect(Int(letter.byteOffset) <= length)
                } else {
                    Issue.record("accepted a record cut at \(length): \(seed)")
                }
            }
        }
    }

    @Test func `doubles are those of the standard library, bit for bit`() throws {
        let type = EventSchema(
            name: "n",
            topic: "n",
            fields: [
                FieldSchema(name: "ts", path: ["ts"], type: .timestamp),
                FieldSchema(name: "a", path: ["a"], type: .string, entity: "a"),
                FieldSchema(name: "d", path: ["d"], type: .double),
            ],
            time: .field(0),
            idField: nil,
            subjectField: 1
        )
        var bench = Bench(try plan([type]))
        var random = SplitMix64(seed: 99)
        var texts = [
            "0", "-0", "0.0", "-0.0", "1", "9007199254740992", "9007199254740993", "9007199254740994.5", "0.1", "0.3",
            "1e22", "1e23",
            "1e-22", "1e-23", "4.9e-324", "2.4703282292062327e-324", "2.4703282292062328e-324",
            "1.7976931348623157e308",
            "2.2250738585072011e-308", "1e-400", "123456789012345678901234567890", "0.000000000000000000000000000001",
            "12345678901234567890.12345678901234567890", "8.41", "99999999999999999999",
            "0.0000000000000000000000000000000e5",
        ]
        for _ in 0..<20_000 {
            switch Int.random(in: 0..<4, using: &random) {
            case 0:
                let value = Double(bitPattern: random.next())
                if value.isFinite { texts.append("\(value)") }
            case 1: texts.append("\(Int64(bitPattern: random.next()))")
            case 2: texts.append("\(Double(Int.random(in: -1_000_000...1_000_000, using: &random)) / 1000)")
            default:
                let digits = (0..<Int.random(in: 1...30, using: &random)).map { _ in
                    "\(Int.random(in: 0...9, using: &random))"
                }.joined()
                let fraction = (0..<Int.random(in: 1...30, using: &random)).map { _ in
                    "\(Int.random(in: 0...9, using: &random))"
                }.joined()
                texts.append("1\(digits).\(fraction)e\(Int.random(in: -330...270, using: &random))")
            }
        }
        for text in texts {
            let outcome = bench.decode(#"{"ts":1760000000000,"a":"b","d":\#(text)}"#)
            let expected = try #require(Double(text), "\(text)")
            if expected.isInfinite { continue }
            #expect(outcome == .events(1), "\(text)")
            guard outcome == .events(1) else { return }
            let value = bench.batch.event(bench.batch.count - 1).fields[2].double
            if value.bitPattern != expected.bitPattern {
                Issue.record("\(text) gave \(value) instead of \(expected)")
                return
            }
            bench.batch.removeAll()
        }
    }

    @Test func `integers are exact up to the last one that fits`() throws {
        var random = SplitMix64(seed: 5)
        var bench = Bench(try plan([plainType]))
        var texts = [
            "9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809",
            "18446744073709551615",
            "922337203685477580.7e1", "92233720368547758070e-1", "10000000000000000000e-1", "0.5", "5e-1", "50e-1",
            "1e18", "1e19", "-0",
            "0e99", "1e-1", "123e-2", "12300e-2", "0.00000000000000000001e20", "1.00000000000000000000000000", "1e64",
            "1e-64",
        ]
        for _ in 0..<5_000 {
            let value = Int64(bitPattern: random.next()) >> Int64.random(in: 0..<64, using: &random)
            texts.append("\(value)")
            texts.append("\(value)\(Bool.random(using: &random) ? ".0" : "")e\(Int.random(in: -3...3, using: &random))")
        }
        for text in texts {
            let outcome = bench.outcome(#"{"ts":1760000000000,"buyer":{"id":"b"},"count":\#(text)}"#)
            let expected = ReferenceJSON.integer(text).map { "ts=1760000000000 account='b' count=\($0)" }
            #expect((outcome.contains("damaged") ? nil : outcome) == expected, "\(text): \(outcome)")
            bench.batch.removeAll()
        }
    }

    @Test func `times of RFC 3339 agree with counting the days one by one`() throws {
        var bench = Bench(try plan())
        var day: Int64 = 0
        for year in 1970...2100 {
            for month in 1...12 {
                let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
                let length = [31, isLeap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month - 1]
                func created(_ d: Int, _ time: String) -> String {
                    func two(_ n: Int) -> String { n < 10 ? "0\(n)" : "\(n)" }
                    let outcome = bench.outcome(
                        #"{"ts":1760000000000,"buyer":{"id":"a","created":"\#(year)-\#(two(month))-\#(two(d))\#(time)"}}"#
                    )
                    bench.batch.removeAll()
                    return String(outcome.drop { $0 != " " }.dropFirst(21))
                }
                #expect(created(1, "T00:00:00Z") == "\(day * 86_400_000)")
                day += Int64(length)
                #expect(created(length, " 23:59:59.9999") == "\(day * 86_400_000 - 1)")
                #expect(created(length + 1, "T00:00:00Z") == "created invalid_timestamp")
            }
        }
    }

    @Test(
        arguments: [
            ("2026-01-05T08:00:00Z", 1_767_600_000_000), ("2026-01-05 08:00:00", 1_767_600_000_000),
            ("2026-01-05t08:00:00z", 1_767_600_000_000),
            ("2026-01-05T09:00:00+01:00", 1_767_600_000_000), ("2026-01-05T07:30:00-00:30", 1_767_600_000_000),
            ("2026-01-05T08:00:00.5Z", 1_767_600_000_500), ("2026-01-05T08:00:00.123456789Z", 1_767_600_000_123),
            ("2026-01-05T07:59:60Z", 1_767_600_000_000), ("2026-01-05T08:00:00.Z", nil),
            ("2026-01-05T08:00:00+0100", nil),
            ("2026-01-05T08:00:00+24:00", nil), ("2026-01-05", nil), ("2026-01-05T08:00Z", nil),
            ("2026-13-05T08:00:00Z", nil),
            ("2026-00-05T08:00:00Z", nil), ("2026-01-05T24:00:00Z", nil), ("2026-01-05T08:60:00Z", nil),
            ("2026-01-05T08:00:61Z", nil),
            ("2026-01-05T08:00:00ZZ", nil), ("2026-01-05T08:00:00+01:00x", nil), ("2026/01/05T08:00:00Z", nil),
            ("x026-01-05T08:00:00Z", nil),
            ("2026-1-05T08:00:00Z", nil), ("-026-01-05T08:00:00Z", nil), ("2026-01-05T08:00:00 Z", nil), ("", nil),
        ] as [(String, Int64?)]
    )
    func `a time of RFC 3339 is read or refused`(_ text: String, _ expected: Int64?) {
        let padded = Array(text.utf8) + [UInt8](repeating: 0, count: 32)
        #expect(
            padded.withUnsafeBufferPointer {
                $0.baseAddress.flatMap { milliseconds(rfc3339: $0, count: text.utf8.count) }
            } == expected
        )
    }
}
