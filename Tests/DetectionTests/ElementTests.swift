import RuleLanguage
import Testing

@testable import Detection

/// An order of which each line is an event.
private func lines(topic: String = "t", envelope: Envelope? = nil) throws -> EventSchema {
    EventSchema(
        name: "line",
        topic: topic,
        envelope: envelope,
        each: ["order", "lines"],
        fields: [
            FieldSchema(name: "ts", path: ["ts"], type: .timestamp, isRequired: true),
            FieldSchema(name: "who", path: ["who"], type: .string, isRequired: true, entity: "account"),
            FieldSchema(name: "sku", path: try FieldPath(text: "order.lines[].sku"), type: .string, isRequired: true),
            FieldSchema(name: "price", path: try FieldPath(text: "order.lines[].price"), type: .money),
            FieldSchema(name: "marks", path: try FieldPath(text: "order.lines[].marks[].text"), type: .stringList),
            FieldSchema(name: "codes", path: try FieldPath(text: "codes[]"), type: .stringList),
            FieldSchema(name: "note", path: ["note"], type: .string),
        ],
        time: .field(0),
        idField: nil,
        subjectField: 1
    )
}

/// A path that leads outside the envelope.
private func around(_ keys: String...) -> FieldPath { FieldPath(origin: .around, steps: keys.map { .key($0) }) }

/// A row of a database as a change of it is told.
private func account(_ operations: Set<ChangeOperation>, name: String = "account") -> EventSchema {
    EventSchema(
        name: name,
        topic: "db",
        discriminator: (path: around("source", "table"), value: name),
        envelope: .debezium(operations),
        fields: [
            FieldSchema(
                name: "ts",
                path: around("ts_ms"),
                type: .timestamp,
                isRequired: true
            ),
            FieldSchema(name: "who", path: ["who"], type: .string, isRequired: true, entity: "account"),
            FieldSchema(name: "again", path: ["who"], type: .string, entity: "person"),
            FieldSchema(name: "op", path: around("op"), type: .string),
            FieldSchema(name: "was", path: around("before", "who"), type: .string),
        ],
        time: .field(0),
        idField: nil,
        subjectField: 1
    )
}

/// All events and dead letters that one record gives, each as text.
private func outcomes(
    _ record: String?,
    _ schemas: [EventSchema],
    readings: [String: TopicReading] = [:],
    limit: Int = 10_000
)
    throws -> [String]
{
    var limits = DecodeLimits()
    limits.eventsPerRecord = limit
    let plan = try DecodePlan(
        schemas: schemas,
        topics: Set(schemas.flatMap(\.topics)).sorted(),
        readings: readings,
        limits: limits,
        hash: TextHash(key: .fixed)
    )
    var decoder = EventDecoder(plan: plan)
    var batch = EventBatch()
    func letter(_ letter: DeadLetter) -> String {
        "\(letter.code.name) \(plan.path(of: letter) ?? "-") @\(letter.byteOffset)"
            + (letter.part < 0 ? "" : " part \(letter.part)")
    }
    let result =
        record.map { record in
            Array(record.utf8).withUnsafeBytes {
                decoder.decode(topic: 0, partition: 0, offset: 0, value: $0, into: &batch)
            }
        } ?? decoder.decode(topic: 0, partition: 0, offset: 0, value: nil, into: &batch)
    switch result {
    case .events(let count):
        #expect(count == batch.count)
        return (0..<count).map { index in
            let event = batch.event(index)
            #expect(event.recordLength == record?.utf8.count ?? 0)
            return "\(event.part): \(describe(event, plan))"
        } + decoder.partLetters.map(letter)
    case .rejected(let refused):
        #expect(batch.isEmpty && batch.textBytes == 0)
        return [letter(refused)]
    case .ignored:
        #expect(batch.isEmpty && batch.textBytes == 0)
        return ["ignored"]
    case .full: return ["full"]
    }
}

@Suite struct ElementTests {
    private static func record(_ lines: [String], _ rest: String = #""codes":["x","y\u0041"]"#) -> String {
        #"{"order":{"lines":[\#(lines.joined(separator: " , "))],"n":1},"who":"a\u0064a",\#(rest),"ts":1760000000000}"#
    }
    private static let three = [
        #"{"sku":"a","price":1.5,"marks":[{"text":"new"},{"text":"r\u0065d"}]}"#,
        #"{ "price" : "2" , "sku" : "b\n" , "gift" : [ { "sku" : "no" } ] }"#,
        #"{"sku":"c","marks":[]}"#,
    ]

    @Test func `a record with several elements is the same as several with one each`() throws {
        let together = try outcomes(Self.record(Self.three), [lines()])
        let apart = try Self.three.flatMap { try outcomes(Self.record([$0]), [lines()]) }
        func row(_ text: String) -> Substring { text.drop { $0 != " " } }
        #expect(together.map(row) == apart.map(row))
        #expect(
            together == [
                "0: ts=1760000000000 who='ada' sku='a' price=150 marks=[new red] codes=[x yA]",
                "1: ts=1760000000000 who='ada' sku='b\n' price=200 codes=[x yA]",
                "2: ts=1760000000000 who='ada' sku='c' marks=[] codes=[x yA]",
            ]
        )
    }

    @Test func `an element that cannot be judged is a dead letter of its own, and the others are events`() throws {
        let record = Self.record([#"{"price":1}"#, #"{"sku":"b"}"#, "7", #"{"sku":"d"}"#])
        let found = try outcomes(record, [lines()])
        #expect(found.map { $0.prefix { $0 != " " } } == ["1:", "3:", "missing_field", "not_an_object"])
        #expect(found[2].hasPrefix("missing_field order.lines[].sku @") && found[2].hasSuffix(" part 0"))
        #expect(found[3].hasSuffix(" part 2"))
        #expect(try outcomes(Self.record([#"{"price":1}"#]), [lines()]).map { $0.hasSuffix("part 0") } == [true])
    }

    @Test func `the dead letter of an element holds the element, however long its record is`() throws {
        let plan = try DecodePlan(schemas: [lines()], topics: ["t"], hash: TextHash(key: .fixed))
        let record = Array(
            ("\u{FEFF}" + Self.record((0..<3000).map { $0 % 1000 == 7 ? #"{ "price": \#($0) }"# : #"{"sku":"b"}"# }))
                .utf8
        )
        var decoder = EventDecoder(plan: plan)
        var batch = EventBatch()
        record.withUnsafeBytes { bytes in
            let result = decoder.decode(topic: 0, partition: 3, offset: 5, value: bytes, into: &batch)
            #expect(result == .events(2997) && decoder.partLetters.count == 3)
            for (index, letter) in decoder.partLetters.enumerated() {
                var text: [UInt8] = []
                plan.appendRecord(of: letter, topic: "t", partition: 3, offset: 5, value: bytes, to: &text)
                let part = index * 1000 + 7
                let ending =
                    #","topic":"t","partition":3,"offset":5,"part":\#(part),"record":"{ \"price\": \#(part) }"}"#
                #expect(String(decoding: text, as: UTF8.self).hasSuffix(ending))
                #expect(bytes[Int(letter.byteOffset)] == UInt8(ascii: "{"))
            }
        }
    }

    @Test(
        arguments: [
            #"{"ts":1760000000000,"who":"ada"}"#, #"{"ts":1760000000000,"who":"ada","order":{"lines":[ ]}}"#,
            #"{"ts":1760000000000,"who":"ada","order":{"lines":null}}"#,
        ]
    )
    func `a record without elements is ignored`(_ record: String) throws {
        #expect(try outcomes(record, [lines()]) == ["ignored"])
    }

    @Test func `what the record itself lacks, none of its elements has`() throws {
        #expect(
            try outcomes(#"{"ts":1760000000000,"order":{"lines":[{"sku":"a"}]}}"#, [lines()]) == [
                "missing_field who @0"
            ]
        )
    }

    @Test func `a record of too many elements gives the first ones and one dead letter`() throws {
        let many = (0..<30).map { "{\"sku\":\"s\($0)\"}" }
        let found = try outcomes(Self.record(many), [lines()], limit: 20)
        #expect(
            found.count == 21 && found[19].hasPrefix("19: ") && found[20].hasPrefix("too_many_events order.lines @")
        )
        #expect(try outcomes(Self.record(Array(many.prefix(20))), [lines()], limit: 20).count == 20)
    }

    @Test func `a thousand elements with long texts grow the batch while they are read`() throws {
        let many = (0..<1_000).map { "{\"sku\":\"\\u0073\(String(repeating: "x", count: $0))\"}" }
        let found = try outcomes(Self.record(many), [lines()])
        #expect(found.count == 1_000)
        #expect(found[999].contains("sku='s\(String(repeating: "x", count: 999))' codes=[x yA]"))
    }

    // MARK: Envelopes

    private static func change(_ op: String, _ rest: String, table: String = "account") -> String {
        #"{\#(rest),"source":{"table":"\#(table)"},"op":"\#(op)","ts_ms":1760000000000}"#
    }

    @Test func `a change is read from its row after it, with a schema beside it or without`() throws {
        let schema = account([.create, .update])
        let row = #""before":{"who":"b"},"after":{"who":"a"}"#
        let event = "0: ts=1760000000000 who='a' again='a' op='u' was='b'"
        #expect(try outcomes(Self.change("u", row), [schema]) == [event])
        #expect(try outcomes(#"{"schema":{"type":"struct"},"payload":\#(Self.change("u", row))}"#, [schema]) == [event])
        let created = #""before":null,"after":{"who":"a"}"#
        #expect(try outcomes(Self.change("c", created), [schema]) == ["0: ts=1760000000000 who='a' again='a' op='c'"])
    }

    @Test func `changes of other kinds and tombstones are ignored, those of other tables are not`() throws {
        let schema = account([.create, .update])
        #expect(try outcomes(Self.change("r", #""after":{"who":"a"}"#), [schema]) == ["ignored"])
        #expect(try outcomes(Self.change("d", #""before":{"who":"a"},"after":null"#), [schema]) == ["ignored"])
        #expect(try outcomes(nil, [schema]) == ["ignored"])
        let other = try outcomes(Self.change("c", #""after":{"who":"a"}"#, table: "stock"), [schema])
        #expect(other.map { $0.hasPrefix("unknown_event_type @source.table") } == [true])
        #expect(
            try outcomes(Self.change("c", #""after":{}"#), [schema]).map { $0.hasPrefix("missing_field who") } == [true]
        )
    }

    @Test func `a row's values are converted with a schema beside it and without`() throws {
        var schema = account([.create, .update])
        schema.fields[1].conversion.coercions = .ids
        schema.fields[2].conversion.coercions = .ids
        schema.fields[2].conversion.nullWords = ["7"]
        for (who, said) in [
            ("12", "who='12' again='12' op='c' coerced who coerced again"), ("7", "who='7' op='c' coerced who"),
            (#""x""#, "who='x' again='x' op='c'"),
        ] {
            let change = Self.change("c", #""after":{"who":\#(who)}"#)
            let event = "0: ts=1760000000000 \(said)"
            #expect(try outcomes(change, [schema]) == [event])
            #expect(try outcomes(#"{"payload":\#(change)}"#, [schema]) == [event])
        }
    }

    @Test func `a delete is read from the row before it`() throws {
        let schema = account([.delete])
        let record = Self.change("d", #""before":{"who":"b"},"after":null"#)
        #expect(try outcomes(record, [schema]) == ["0: ts=1760000000000 who='b' again='b' op='d' was='b'"])
    }

    @Test func `tables that share a topic are told apart outside their rows`() throws {
        let schemas = [account([.create]), account([.create], name: "address")]
        for table in ["account", "address"] {
            let found = try outcomes(Self.change("c", #""after":{"who":"a"}"#, table: table), schemas)
            #expect(found == ["0: ts=1760000000000 who='a' again='a' op='c'"])
        }
    }

    @Test func `events inside an envelope may be several too`() throws {
        let schema = try lines(envelope: .cloudEvents)
        let record =
            #"{"id":"1","type":"order","data":{"ts":1760000000000,"who":"ada","order":{"lines":[{"sku":"a"},{"sku":"b"}]}}}"#
        #expect(
            try outcomes(record, [schema]) == [
                "0: ts=1760000000000 who='ada' sku='a'", "1: ts=1760000000000 who='ada' sku='b'",
            ]
        )
        #expect(try outcomes(#"{"data_base64":"e30="}"#, [schema]) == ["missing_field ts @0"])
    }

    @Test func `records as Debezium's connectors write them are read, changes of every kind`() throws {
        func customer(_ operations: Set<ChangeOperation>) -> EventSchema {
            EventSchema(
                name: "customer",
                topic: "shop.inventory.customers",
                envelope: .debezium(operations),
                fields: [
                    FieldSchema(
                        name: "ts",
                        path: around("ts_ms"),
                        type: .timestamp,
                        isRequired: true
                    ),
                    FieldSchema(name: "id", path: ["id"], type: .int, isRequired: true),
                    FieldSchema(name: "who", path: ["email"], type: .string, isRequired: true, entity: "email"),
                    FieldSchema(name: "was", path: around("before", "email"), type: .string),
                    FieldSchema(name: "table", path: around("source", "table"), type: .string),
                ],
                time: .field(0),
                idField: nil,
                subjectField: 2
            )
        }
        // The form of the MySQL connector with its schema (JsonConverter's default), and that of PostgreSQL's without.
        let row =
            #"{"type":"struct","fields":[{"type":"int32","optional":false,"field":"id"},{"type":"string","optional":false,"field":"email"}],"optional":true,"name":"shop.inventory.customers.Value","field":"after"}"#
        func mysql(_ op: String, _ before: String, _ after: String, snapshot: String = "false") -> String {
            #"{"schema":{"type":"struct","fields":[\#(row),{"type":"string","optional":false,"field":"op"},{"type":"int64","optional":true,"field":"ts_ms"}],"optional":false,"name":"shop.inventory.customers.Envelope","version":2},"payload":{"before":\#(before),"after":\#(after),"source":{"version":"2.7.3.Final","connector":"mysql","name":"shop","ts_ms":1760000000000,"snapshot":"\#(snapshot)","db":"inventory","sequence":null,"ts_us":1760000000000000,"ts_ns":1760000000000000000,"table":"customers","server_id":223344,"gtid":null,"file":"mysql-bin.000003","pos":401,"row":0,"thread":7,"query":null},"transaction":null,"op":"\#(op)","ts_ms":1760000000123,"ts_us":1760000000123456,"ts_ns":1760000000123456789}}"#
        }
        func postgres(_ op: String, _ before: String, _ after: String) -> String {
            #"{"before":\#(before),"after":\#(after),"source":{"version":"2.7.3.Final","connector":"postgresql","name":"shop","ts_ms":1760000000000,"snapshot":"first","db":"inventory","sequence":"[null,\"23456\"]","schema":"public","table":"customers","txId":556,"lsn":46523128,"xmin":null},"transaction":{"id":"556:46523128","total_order":1,"data_collection_order":1},"op":"\#(op)","ts_ms":1760000000123}"#
        }
        let anne = #"{"id":1004,"first_name":"Anne","email":"annek@example.org"}"#
        let marie = #"{"id":1004,"first_name":"Anne Marie","email":"am@example.org"}"#
        for write in [{ mysql($0, $1, $2) }, { postgres($0, $1, $2) }] as [(String, String, String) -> String] {
            let head = "0: ts=1760000000123 id=1004 who="
            for (op, before, after, kind, said) in [
                ("c", "null", anne, ChangeOperation.create, "'annek@example.org' table='customers'"),
                ("u", anne, marie, .update, "'am@example.org' was='annek@example.org' table='customers'"),
                ("u", "null", marie, .update, "'am@example.org' table='customers'"),
                ("r", "null", anne, .snapshot, "'annek@example.org' table='customers'"),
                ("d", anne, "null", .delete, "'annek@example.org' was='annek@example.org' table='customers'"),
            ] {
                let record = write(op, before, after)
                #expect(try outcomes(record, [customer([kind])]) == [head + said], "\(op)")
                let others = Set(ChangeOperation.allCases).subtracting([kind, .delete])
                #expect(try outcomes(record, [customer(others)]) == ["ignored"], "\(op)")
            }
        }
        // The record that lets a compacted topic forget the row; a table that was emptied; what a program wrote into the log.
        #expect(try outcomes(nil, [customer([.delete])]) == ["ignored"])
        #expect(try outcomes(postgres("t", "null", "null"), [customer([.create, .update])]) == ["ignored"])
        let message =
            #"{"op":"m","ts_ms":1760000000123,"source":{"table":""},"message":{"prefix":"p","content":"Zm9v"}}"#
        #expect(try outcomes(message, [customer([.create, .update])]) == ["ignored"])
        // The delete's form in which a row has its key alone lacks what is required, and says so.
        let bare = postgres("d", #"{"id":1004}"#, "null")
        #expect(try outcomes(bare, [customer([.delete])]).map { $0.hasPrefix("missing_field email") } == [true])
    }

    @Test func `records in the structured mode of CloudEvents are read, whatever their data is`() throws {
        let attributes =
            #""specversion":"1.0","type":"com.example.order","source":"/shop","id":"C234-1234-1234","time":"2025-10-09T08:53:20Z","comexampleextension1":"value","datacontenttype":"application/json""#
        let schema = EventSchema(
            name: "order",
            topic: "t",
            discriminator: (
                path: around("type"), value: "com.example.order"
            ),
            envelope: .cloudEvents,
            fields: [
                FieldSchema(
                    name: "ts",
                    path: around("time"),
                    type: .timestamp,
                    isRequired: true,
                    timeFormat: .rfc3339
                ),
                FieldSchema(
                    name: "id",
                    path: around("id"),
                    type: .string
                ),
                FieldSchema(name: "who", path: ["who"], type: .string, isRequired: true, entity: "account"),
                // The data's own members are not the attributes.
                FieldSchema(name: "type", path: ["type"], type: .string),
            ],
            time: .field(0),
            idField: 1,
            subjectField: 2
        )
        let event = "0: ts=1760000000000 id='C234-1234-1234' who='ada' type='gift'"
        #expect(try outcomes(#"{\#(attributes),"data":{"who":"ada","type":"gift"}}"#, [schema]) == [event])
        #expect(try outcomes(#"{"data":{"type":"gift","who":"ada"},\#(attributes)}"#, [schema]) == [event])
        for data in [#""data_base64":"eyJ3aG8iOiJhZGEifQ==""#, #""data":"<much wow=\"xml\"/>""#, #""data":null"#] {
            let found = try outcomes(#"{\#(attributes),\#(data)}"#, [schema])
            #expect(
                found.count == 1 && found[0].hasPrefix("missing_field who") || found[0].hasPrefix("wrong_type"),
                "\(found)"
            )
        }
    }

    // MARK: What is nobody's concern

    @Test func `other types and tombstones are ignored where the topic says so, and broken records are not`() throws {
        var reading = TopicReading()
        reading.ignoresOtherTypes = true
        reading.ignoresTombstones = true
        let schema = EventSchema(
            name: "order",
            topic: "t",
            discriminator: (path: ["type"], value: "order"),
            fields: [
                FieldSchema(name: "ts", path: ["ts"], type: .timestamp, isRequired: true),
                FieldSchema(name: "who", path: ["who"], type: .string, isRequired: true, entity: "account"),
            ],
            time: .field(0),
            idField: nil,
            subjectField: 1
        )
        for (record, plain, ignored) in [
            (#"{"type":"click"}"#, "unknown_event_type", "ignored"), (#"{}"#, "unknown_event_type", "ignored"),
            (nil, "tombstone", "ignored"), (#"{"type":"click""#, "truncated_json", "truncated_json"),
            (#"{"type":"order"}"#, "missing_field", "missing_field"),
        ] as [(String?, String, String)] {
            #expect(try outcomes(record, [schema]).map { $0.hasPrefix(plain) } == [true])
            #expect(try outcomes(record, [schema], readings: ["t": reading]).map { $0.hasPrefix(ignored) } == [true])
        }
    }

    @Test func `a row of CSV is of the topic that its file is named for`() throws {
        var schema = EventSchema(
            name: "order",
            topic: "b",
            format: .csv,
            fields: [
                FieldSchema(name: "ts", path: ["ts"], type: .timestamp, isRequired: true),
                FieldSchema(name: "who", path: ["who"], type: .string, isRequired: true, entity: "account"),
            ],
            time: .field(0),
            idField: nil,
            subjectField: 1
        )
        schema.topics = ["b", "a"]
        let plan = try DecodePlan(schemas: [schema], topics: ["a", "b"], hash: TextHash(key: .fixed))
        for topic in [0, 1, nil] as [Int?] {
            var stage = try DecodeStage(
                plan: plan,
                sources: [SourceDecoding(topic: topic, partition: 0, csv: (columns: ["ts", "who"], types: [0]))],
                lanes: 1
            )
            let row = Array("1760000000000,ada".utf8)
            let staged = [
                StagedRecord(offset: 0, appendTime: nil, start: 0, length: row.count, source: 0, fullLength: row.count)
            ]
            row.withUnsafeBytes { bytes in
                staged.withUnsafeBufferPointer { records in
                    guard let start = bytes.baseAddress else { return }
                    stage.begin(records, bytes: start, lanes: 1)
                    stage.run(0)
                    stage.end()
                    #expect(stage.events.map(\.topic) == [UInt16(topic ?? 1)])
                }
            }
        }
    }

    @Test func `an event type of several topics is told by the topic each record came from`() throws {
        var schema = try lines()
        schema.topics = ["b", "a"]
        let plan = try DecodePlan(schemas: [schema], topics: ["a", "b"], hash: TextHash(key: .fixed))
        var decoder = EventDecoder(plan: plan)
        var batch = EventBatch()
        let record = Array(#"{"ts":1760000000000,"who":"ada","order":{"lines":[{"sku":"a"}]}}"#.utf8)
        for topic in [0, 1, nil] as [Int?] {
            let result = record.withUnsafeBytes {
                decoder.decode(topic: topic, partition: 0, offset: 0, value: $0, into: &batch)
            }
            #expect(result == .events(1))
        }
        #expect((0..<3).map { batch.event($0).topic } == [0, 1, 1])
    }
}
