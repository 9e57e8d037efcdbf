import RuleLanguage
import Models
import Testing

@testable import Detection

private func type(
    _ name: String,
    topic: String = "mixed",
    when path: [String]? = ["type"],
    is value: String? = nil,
    extra: [FieldSchema] = [],
    format: InputFormat = .json
) -> EventSchema {
    EventSchema(
        name: name,
        topic: topic,
        format: format,
        discriminator: path.map { (FieldPath(keys: $0), value ?? name) },
        fields: [
            FieldSchema(name: "ts", path: ["ts"], type: .timestamp, isRequired: true),
            FieldSchema(name: "account", path: ["account"], type: .string, isRequired: true, entity: "account"),
        ] + extra,
        time: .field(0),
        idField: nil,
        subjectField: 1
    )
}

@Suite struct EventsTypesTests {
    let mixed = [
        type("click", extra: [FieldSchema(name: "item", path: ["item"], type: .string)]),
        type(
            "order",
            extra: [
                FieldSchema(name: "item", path: ["item"], type: .int),
                FieldSchema(name: "kind", path: ["type"], type: .string),
            ]
        ),
        type("login", topic: "visits", when: nil),
    ]

    @Test func `the discriminator tells the type wherever it stands and whatever came before`() throws {
        let plan = try plan(mixed)
        let records = [
            (#"{"type":"click","ts":1760000000000,"account":"a","item":"x"}"#, "ts=1760000000000 account='a' item='x'"),
            (
                #"{"ts":1760000000000,"account":"a","item":7,"type":"order"}"#,
                "ts=1760000000000 account='a' item=7 kind='order'"
            ),
            (
                #"{"ts":1760000000000,"account":"a","item":"x","type":"\u0063lick"}"#,
                "ts=1760000000000 account='a' item='x'"
            ),
            (
                #"{"ts":1760000000000,"account":"a","item":"x","type":"order"}"#,
                "ts=1760000000000 account='a' kind='order' damaged item wrong_type"
            ),
            (
                #"{"ts":1760000000000,"account":"a","item":7,"type":"click"}"#,
                "ts=1760000000000 account='a' damaged item wrong_type"
            ),
            (
                #"{"ts":1760000000000,"account":"a","type":"click","item":"x\q"}"#,
                "ts=1760000000000 account='a' damaged item invalid_escape"
            ),
            (#"{"ts":1760000000000,"account":"a","type":"cl\ick"}"#, "invalid_escape type @44"),
            (#"{"ts":1760000000000,"account":"a","type":clicks}"#, "unknown_event_type type @41"),
            (#"{"ts":1760000000000,"account":"a","item":7,"type":"refund"}"#, "unknown_event_type type @51"),
            (#"{"ts":1760000000000,"account":"a","item":7}"#, "unknown_event_type type @0"),
            (#"{"ts":1760000000000,"account":"a","type":null}"#, "unknown_event_type type @0"),
            (#"{"ts":1760000000000,"account":"a","type":["order"]}"#, "unknown_event_type type @0"),
            (#"{"type":"order","type":"order","ts":1760000000000,"account":"a"}"#, "duplicate_field type @23"),
            (#"{"type":"order","account":"a"}"#, "missing_field ts @0"),
            (#"{"type":"order","ts":1760000000000,"account":"a" "#, "truncated_json - @49"),
        ]
        var bench = Bench(plan)
        var random = SplitMix64(seed: 3)
        for _ in 0..<500 {
            let (record, expected) = records[Int.random(in: 0..<records.count, using: &random)]
            #expect(bench.outcome(record) == expected)
        }
        // A file of all topics: the topic is the type's; the one type without a discriminator takes the rest.
        #expect(bench.outcome(records[1].0, topic: nil) == records[1].1)
        #expect(bench.batch.event(bench.batch.count - 1).topic == 0)
        #expect(bench.outcome(#"{"ts":1760000000000,"account":"b"}"#, topic: nil) == "ts=1760000000000 account='b'")
        #expect(bench.batch.event(bench.batch.count - 1).topic == 1)
        #expect(bench.batch.event(bench.batch.count - 1).type == 2)
        #expect(
            bench.outcome(#"{"ts":1760000000000,"account":"b","type":"click"}"#, topic: 1)
                == "ts=1760000000000 account='b'"
        )
        #expect(bench.batch.event(bench.batch.count - 1).type == 2)
    }

    @Test func `changed records of several types have one outcome, whatever was decoded before`() throws {
        let plan = try plan(mixed)
        let seeds = [
            #"{"type":"click","ts":1760000000000,"account":"a","item":"x"}"#,
            #"{"ts":1760000000000,"account":"a\n","item":7,"type":"order","x":[1,{"type":"click"}]}"#,
            #"{"ts":1760000000000,"item":null,"type":"\u006frder","account":"a"}"#,
        ]
        var random = SplitMix64(seed: 4)
        var warm = Bench(plan)
        var accepted = 0
        for round in 0..<6_000 {
            let bytes = EventsFuzzTests.mutate(Array(seeds[round % seeds.count].utf8), &random)
            var fresh = Bench(plan)
            let outcome = warm.outcome(bytes)
            #expect(outcome == fresh.outcome(bytes))
            #expect(warm.outcome(bytes, topic: nil).hasPrefix("ts=") || !outcome.hasPrefix("ts="))
            if outcome.hasPrefix("ts=") { accepted += 1 }
            if round % 100 == 0 { warm.batch.removeAll() }
        }
        #expect(accepted > 300)
    }

    @Test func `a discriminator is compared to its last byte, however long it is and whichever came before`() throws {
        let long = String(repeating: "x", count: 140)
        let names =
            ["", "a", "ab", "ä"] + [6, 7, 8, 9, 15, 16, 17, 126, 127, 128, 129].map { String(long.prefix($0)) }
        let kind = FieldSchema(name: "kind", path: ["type"], type: .string, maximumLength: 1_000)
        let plan = try plan(names.enumerated().map { type("t\($0)", is: $1, extra: [kind]) })
        var random = SplitMix64(seed: 6)
        var warm = Bench(plan)
        var name = ""
        var unknown = 0
        for round in 0..<4_000 {
            // Runs of one type, so that it is remembered, between others that differ from it in their end.
            if Int.random(in: 0..<4, using: &random) == 0 { name = names.randomElement(using: &random) ?? "" }
            let ends = ["", "", "", "", "x", "y", "\\u0078"]
            let text = name + (ends.randomElement(using: &random) ?? "")
            let outcome = warm.outcome(#"{"ts":1760000000000,"type":"\#(text)","account":"a"}"#)
            let meant = text.replacing("\\u0078", with: "x")
            if let type = names.firstIndex(of: meant) {
                #expect(warm.batch.event(warm.batch.count - 1).type == UInt16(type))
                #expect(outcome == "ts=1760000000000 account='a' kind='\(meant)'")
            } else {
                // An escaped text has no place in the record.
                #expect(outcome == "unknown_event_type type @\(text == meant ? 28 : 0)")
                unknown += 1
            }
            if round % 100 == 0 { warm.batch.removeAll() }
        }
        #expect(unknown > 500)
    }

    @Test func `discriminators may differ in path and be numbers, in objects below`() throws {
        let plan = try plan([
            type("a", when: ["meta", "v"], is: "2"), type("b", when: ["kind"], is: "b"),
            type("c", when: ["kind"], is: "true"),
        ])
        var bench = Bench(plan)
        func typeOf(_ keys: String) -> String {
            bench.decode(#"{"ts":1760000000000,"account":"a",\#(keys)}"#) == .events(1)
                ? plan.schemas[Int(bench.batch.event(bench.batch.count - 1).type)].name : "none"
        }
        #expect(typeOf(#""meta":{"v":2}"#) == "a")
        #expect(typeOf(#""meta":{"v":"2"},"kind":"b""#) == "a")
        #expect(typeOf(#""meta":{"v":3},"kind":"b""#) == "b")
        #expect(typeOf(#""kind":true"#) == "c")
        #expect(typeOf(#""kind":"x""#) == "none")
        #expect(typeOf(#""meta":7,"kind":"b""#) == "b")
        #expect(typeOf(#""meta":"","kind":"b""#) == "b")
        #expect(typeOf(#""meta":{"v":2},"meta":{}"#) == "none")
        #expect(typeOf(#""meta":{"v":2},"meta":{},"kind":"b""#) == "none")
    }

    @Test func `two types that nothing tells apart are not guessed at`() throws {
        var bench = Bench(try plan([type("a", topic: "x", when: nil), type("b", topic: "y", when: nil)]))
        let record = #"{"ts":1760000000000,"account":"a"}"#
        #expect(bench.decode(record, topic: 1) == .events(1))
        #expect(bench.outcome(record, topic: nil) == "unknown_event_type - @0")
    }

    @Test func `an empty identifier is missing, however it is declared, and other empty texts are texts`() throws {
        let fields = [
            FieldSchema(name: "device", path: ["device"], type: .string, entity: "device"),
            FieldSchema(name: "card", path: ["card"], type: .string, entity: "card", isPseudonymised: true),
            FieldSchema(name: "kind", path: ["kind"], type: .string, entity: "kind", allowedValues: ["a", "b"]),
            FieldSchema(name: "note", path: ["note"], type: .string),
            FieldSchema(name: "raw", path: ["device"], type: .string),
        ]
        let plan = try plan(
            [type("order", when: nil, extra: fields)],
            pseudonymise: { _, hex in for i in 0..<64 { hex[i] = UInt8(ascii: "0") } }
        )
        var bench = Bench(plan)
        let start = #"{"ts":1760000000000,"account":"a","#
        #expect(
            bench.outcome(start + #""device":"","card":"","kind":"","note":""}"#)
                == "ts=1760000000000 account='a' note='' raw=''"
        )
        #expect(
            bench.outcome(start + #""device":"d","kind":"a","note":""}"#)
                == "ts=1760000000000 account='a' device='d' kind='a' note='' raw='d'"
        )
        #expect(bench.outcome(#"{"ts":1760000000000,"account":""}"#) == "missing_field account @0")
        guard case .rejected(let letter) = bench.decode(#"{"ts":1760000000000,"account":""}"#) else {
            Issue.record("an event without an account")
            return
        }
        #expect(plan.explanation(of: letter) == "the required field `account` is missing, empty or null")
    }

    @Test func `fields may share a path`() throws {
        let fields = [
            FieldSchema(name: "raw", path: ["item"], type: .string),
            FieldSchema(name: "again", path: ["item"], type: .string),
            FieldSchema(name: "inner", path: ["item", "id"], type: .string),
        ]
        var bench = Bench(try plan([type("a", when: nil, extra: fields)]))
        #expect(
            bench.outcome(#"{"item":"\u0041\u0042","ts":1760000000000,"account":"a"}"#)
                == "ts=1760000000000 account='a' raw='AB' again='AB'"
        )
        #expect(
            bench.outcome(#"{"item":{"id":"z"},"ts":1760000000000,"account":"a"}"#)
                == "ts=1760000000000 account='a' inner='z'"
        )
    }

    @Test func `identifiers are replaced before anything sees them`() throws {
        let reversed: Pseudonymiser = { identifier, hex in
            for i in 0..<64 { hex[i] = i < identifier.count ? identifier[identifier.count - 1 - i] : UInt8(ascii: "0") }
        }
        let fields = [
            FieldSchema(name: "card", path: ["card"], type: .string, isPseudonymised: true, maximumLength: 8),
            FieldSchema(name: "cards", path: ["cards"], type: .stringList, isPseudonymised: true),
        ]
        var bench = Bench(try plan([type("a", when: nil, extra: fields)], pseudonymise: reversed))
        let zeros = String(repeating: "0", count: 61)
        #expect(
            bench.outcome(#"{"ts":1760000000000,"account":"a","card":"1\u00323","cards":["456","78\u0039"]}"#)
                == "ts=1760000000000 account='a' card='321\(zeros)' cards=[654\(zeros) 987\(zeros)]"
        )
        // Nothing is cut off a pseudonym.
        #expect(
            bench.outcome(#"{"ts":1760000000000,"account":"a","card":"123456789"}"#)
                == "ts=1760000000000 account='a' card='987654321\(zeros.dropLast(6))'"
        )
    }

    @Test func `a type may have 96 fields and paths of 64 keys`() throws {
        let deep = (0..<63).map { _ in "d" }
        let fields =
            (0..<93).map { FieldSchema(name: "field_\($0)", path: ["field_\($0)"], type: .int, isRequired: true) }
            + [FieldSchema(name: "deep", path: FieldPath(keys: deep), type: .int)]
        var wide = type("wide", when: nil, extra: fields)
        var bench = Bench(try plan([wide]))
        var random = SplitMix64(seed: 96)
        func record(leaving out: Int?, twice: Int? = nil) -> String {
            let keys = (0..<93).filter { $0 != out }.map { "\"field_\($0)\":\($0)" }
            let extra = twice.map { ",\"field_\($0)\":1" } ?? ""
            let nested = String(repeating: "{\"d\":", count: 62) + "5" + String(repeating: "}", count: 62)
            return
                "{\"ts\":1760000000000,\"account\":\"a\",\"d\":\(nested),\(keys.shuffled(using: &random).joined(separator: ","))\(extra)}"
        }
        #expect(bench.outcome(record(leaving: nil)).hasSuffix("field_91=91 field_92=92 deep=5"))
        for out in 0..<93 {
            #expect(bench.outcome(record(leaving: out)) == "missing_field field_\(out) @0")
            #expect(bench.outcome(record(leaving: nil, twice: out)).hasPrefix("duplicate_field field_\(out) "))
        }
        wide.fields[5].path = FieldPath(keys: deep + ["d"])
        #expect(throws: Never.self) { try plan([wide]) }
        wide.fields[5].path = FieldPath(keys: deep + ["d", "d"])
        #expect(throws: DecodePlanError.self) { try plan([wide]) }
    }

    @Test func `the buffers of a warm decoder grow no more`() throws {
        var bench = Bench(try plan(mixed))
        let records = [
            Array(#"{"ts":1760000000000,"account":"a\n","item":7,"type":"order","x":[1.25e-200,{"y":"\u00e4"}]}"#.utf8),
            Array(#"{"type":"click","ts":1760000000000,"account":"a","item":"x"}"#.utf8),
            Array(#"{"type":"click","ts":1760000000000,"account":"a","item":5}"#.utf8),
        ]
        for _ in 0..<100 { for record in records { _ = bench.decode(record) } }
        bench.batch.removeAll()
        let buffers = bench.batch.memoryBytes
        for _ in 0..<1_000 {
            for _ in 0..<30 { for record in records { _ = bench.decode(record) } }
            bench.batch.removeAll()
        }
        #expect(bench.batch.memoryBytes == buffers)
    }
}

@Suite struct EventsCSVTests {
    let schema = EventSchema(
        name: "line",
        topic: "lines",
        format: .csv,
        fields: [
            FieldSchema(name: "invoice", path: ["InvoiceNo"], type: .string, isRequired: true, entity: "invoice"),
            FieldSchema(name: "description", path: ["Description"], type: .string),
            FieldSchema(name: "quantity", path: ["Quantity"], type: .int),
            FieldSchema(name: "time", path: ["InvoiceDate"], type: .timestamp, isRequired: true, timeFormat: .rfc3339),
            FieldSchema(name: "price", path: ["UnitPrice"], type: .double),
            FieldSchema(name: "paid", path: ["Paid"], type: .money, moneyScale: 2),
            FieldSchema(name: "gift", path: ["Gift"], type: .bool),
            FieldSchema(name: "tags", path: ["Tags"], type: .stringList),
        ],
        time: .field(3),
        idField: nil,
        subjectField: 0
    )

    static let header = "InvoiceNo,Ignored,Description,Quantity,InvoiceDate,UnitPrice,Paid,Gift,Tags"
    static let good = "time=1291192200000"

    @Test(arguments: [
        (
            "5,x,WHITE,6,2010-12-01T08:30:00Z,2.55,1.5,1,a;b",
            "invoice='5' description='WHITE' quantity=6 \(good) price=2.55 paid=150 gift=true tags=[a b]"
        ),
        ("5,,,,2010-12-01 08:30:00,,,,", "invoice='5' \(good)"),
        ("5,,,,2010-12-01 08:30:00", "invoice='5' \(good)"),
        (
            "5,,\"a \"\"b\"\", c\n\",-007,2010-12-01 08:30:00,1e-2,,false,",
            "invoice='5' description='a \"b\", c\n' quantity=-7 \(good) price=0.01 gift=false"
        ),
        (
            "\"5\",,\"\",\"6\",\"2010-12-01 08:30:00\",\"2.5\",\"3\",\"true\",\"x\"",
            "invoice='5' quantity=6 \(good) price=2.5 paid=300 gift=true tags=[x]"
        ),
        (
            "5,,ä \"quoted\" b,6,2010-12-01 08:30:00,,,,",
            "invoice='5' description='ä \"quoted\" b' quantity=6 \(good)"
        ),
        // More columns than the header has: one that nobody quoted has shifted them.
        ("5,,ä \"quoted\" b,6,2010-12-01 08:30:00,,,,,more", "invalid_csv - @42"),
        ("5,,red, large,6,2010-12-01 08:30:00,1,1,1,a", "invalid_csv - @41"),
        ("5,,,,2010-12-01 08:30:00,,,,,", "invalid_csv - @28"),
        ("", "missing_field InvoiceNo @0"),
        (",,,,2010-12-01 08:30:00", "missing_field InvoiceNo @0"),
        ("5,,,,", "missing_field InvoiceDate @5"),
        ("5,,,x,2010-12-01 08:30:00", "invoice='5' \(good) damaged quantity wrong_type"),
        ("5,,,6 ,2010-12-01 08:30:00", "invoice='5' \(good) damaged quantity wrong_type"),
        ("5,,,1.5,2010-12-01 08:30:00,1", "invoice='5' \(good) price=1.0 damaged quantity wrong_type"),
        ("5,,,99999999999999999999,2010-12-01 08:30:00", "invoice='5' \(good) damaged quantity number_out_of_range"),
        ("5,,,6,12/1/2010 8:26", "invalid_timestamp InvoiceDate @6"),
        ("5,,,6,1999-12-01 08:30:00", "timestamp_out_of_range InvoiceDate @6"),
        ("5,,,,2010-12-01 08:30:00,,1.005", "invoice='5' \(good) damaged paid too_many_decimals"),
        ("5,,,,2010-12-01 08:30:00,x,,yes", "invoice='5' \(good) damaged price wrong_type damaged gift wrong_type"),
        ("5,,\"open,6,2010-12-01 08:30:00", "invalid_csv - @3"),
        ("5,,\"x\"y,6,2010-12-01 08:30:00", "invalid_csv - @6"),
        ("5,,a\u{0}b,6,2010-12-01 08:30:00", "invoice='5' quantity=6 \(good) damaged description control_character"),
        (
            "5,,\"a\u{0}b\",6,2010-12-01 08:30:00",
            "invoice='5' quantity=6 \(good) damaged description control_character"
        ),
        ("5,a\u{0}b,,6,2010-12-01 08:30:00", "invoice='5' quantity=6 \(good)"),
        ("\u{1}5,,,6,2010-12-01 08:30:00", "control_character InvoiceNo @0"),
    ])
    func `a line gives its values or its mistake`(_ line: String, _ expected: String) throws {
        let plan = try plan([schema])
        var decoder = try csvDecoder(EventsCSVTests.header, types: [0], plan)
        var batch = EventBatch()
        let result = Array(line.utf8).withUnsafeBytes {
            decoder.decode(partition: 0, offset: 1, value: $0, into: &batch)
        }
        switch result {
        case .events: #expect(describe(batch.event(0), plan) == expected)
        case .rejected(let letter):
            #expect("\(letter.code.name) \(plan.path(of: letter) ?? "-") @\(letter.byteOffset)" == expected)
        case .full, .ignored: Issue.record("\(result)")
        }
    }

    @Test(arguments: [
        (
            "InvoiceNo,Description",
            "the header has no column `InvoiceDate`, which the required field `time` of event type line needs; its columns are InvoiceNo, Description"
        ),
        ("InvoiceNo,InvoiceDate,InvoiceNo", "the header names the column `InvoiceNo` twice"),
        ("InvoiceNo,\"InvoiceDate", "the header line is not valid CSV in UTF-8"),
        ("\u{FEFF}InvoiceNo,\"InvoiceDate\"\r\n", "fine"),
    ])
    func `a header fits or says what is missing`(_ header: String, _ expected: String) throws {
        let plan = try plan([schema])
        var message = "fine"
        do { _ = try csvDecoder(header, types: [0], plan) } catch { message = "\(error)" }
        #expect(message == expected)
    }

    @Test func `several types in one file are told apart by a column`() throws {
        func csv(_ name: String) -> EventSchema {
            var schema = type(
                name,
                topic: "f",
                extra: [FieldSchema(name: name, path: ["v"], type: .string)],
                format: .csv
            )
            schema.fields[0].timeFormat = .seconds
            return schema
        }
        let plan = try plan([csv("a"), csv("b")])
        var decoder = try csvDecoder("ts,account,type,v", types: [0, 1], plan)
        var batch = EventBatch()
        for line in ["1760000000,x,b,1", "1760000000,x,a,2", "1760000000,x,c,2"] {
            _ = Array(line.utf8).withUnsafeBytes { decoder.decode(partition: 0, offset: 1, value: $0, into: &batch) }
        }
        #expect(batch.count == 2)
        #expect(describe(batch.event(0), plan) == "ts=1760000000000 account='x' b='1'")
        #expect(describe(batch.event(1), plan) == "ts=1760000000000 account='x' a='2'")
    }

    @Test func `rows written with any quoting are read back`() throws {
        let names = ["InvoiceNo", "Description", "InvoiceDate", "Other"]
        let plan = try plan([schema])
        var random = SplitMix64(seed: 11)
        let letters = Array("ab,\"\n\r ;ä€0".unicodeScalars).map { Character($0) }
        for _ in 0..<300 {
            let order = names.shuffled(using: &random)
            var records: [String] = []
            var expected: [String] = []
            for row in 0..<20 {
                var values: [String: String] = [:]
                for name in names {
                    let text = String(
                        (0..<Int.random(in: 0..<12, using: &random)).map { _ in
                            letters.randomElement(using: &random) ?? "x"
                        }
                    )
                    values[name] =
                        name == "InvoiceDate" ? "2010-12-01T08:30:00Z" : name == "InvoiceNo" ? "\(row)\(text)" : text
                }
                let columns = order.map { name in
                    let value = values[name] ?? ""
                    let isBare = !value.unicodeScalars.contains { $0 == "," || $0 == "\"" || $0 == "\n" || $0 == "\r" }
                    return isBare && Bool.random(using: &random)
                        ? value : "\"" + value.replacing("\"", with: "\"\"") + "\""
                }
                records.append(columns.joined(separator: ","))
                let description =
                    (values["Description"] ?? "").isEmpty ? "" : " description='\(values["Description"] ?? "")'"
                expected.append("invoice='\(values["InvoiceNo"] ?? "")'\(description) \(EventsCSVTests.good)")
            }
            var decoder = try csvDecoder(order.joined(separator: ","), types: [0], plan)
            var batch = EventBatch()
            for record in records {
                let result = Array(record.utf8).withUnsafeBytes {
                    decoder.decode(partition: 0, offset: 0, value: $0, into: &batch)
                }
                #expect(result == .events(1))
            }
            #expect((0..<batch.count).map { describe(batch.event($0), plan) } == expected)
        }
    }
}
