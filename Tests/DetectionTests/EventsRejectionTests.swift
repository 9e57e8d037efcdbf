import RuleLanguage
import Testing

@testable import Detection

@Suite struct EventsRejectionTests {
    /// Keys put behind the needed ones; code, path and byte offset expected.
    ///
    /// The keys begin at byte 40.
    @Test(arguments: [
        (#""count":12"#, "truncated_json - @50"),
        (#""count":1} x"#, "invalid_json - @51"),
        (#""count":01}"#, "wrong_type count @49"),
        (#""count":-}"#, "wrong_type count @49"),
        (#""count":+1}"#, "wrong_type count @48"),
        (#""count":1.}"#, "wrong_type count @50"),
        (#""count":.5}"#, "wrong_type count @48"),
        (#""count":1e}"#, "wrong_type count @50"),
        (#""count":NaN}"#, "wrong_type count @48"),
        (#""count":Infinity}"#, "wrong_type count @48"),
        (#""count":nul}"#, "wrong_type count @48"),
        (#""count":1,}"#, "invalid_json - @50"),
        (#""count":1 "x":2}"#, "invalid_json - @50"),
        (#""count" 1}"#, "invalid_json - @48"),
        (#"'count':1}"#, "invalid_json - @40"),
        (#""x":[1}"#, "invalid_json - @46"),
        (#""x":{"a":1]}"#, "invalid_json - @50"),
        (#""x":}"#, "invalid_json - @44"),
        (#""x":,"y":1}"#, "invalid_json - @44"),
        (#""x":'a'}"#, "invalid_json - @44"),
        (#""x":1 2}"#, "invalid_json - @46"),
        (#""x":["a\"]}"#, "truncated_json - @51"),
        (#""x":"a\"}"#, "truncated_json - @49"),
        (#""count":1/**/}"#, "invalid_json - @49"),
        ("\"id\":\"a\u{0}b\"}", "control_character id @47"),
        ("\"x\":1\u{0}}", "invalid_json - @45"),
        (#""id":"\ud800"}"#, "invalid_escape id @46"),
        (#""id":"\ud800\u0041"}"#, "invalid_escape id @46"),
        (#""id":"\udc00"}"#, "invalid_escape id @46"),
        (#""id":"\x41"}"#, "invalid_escape id @46"),
        (#""id":"\u00g0"}"#, "invalid_escape id @46"),
        (#""ts":1760000000000}"#, "duplicate_field ts @45"),
        (#""count":null,"count":1}"#, "duplicate_field count @61"),
        (#""buyer":{}}"#, "duplicate_field buyer @48"),
        (#""\u0074s":1}"#, "duplicate_field ts @50"),
        (#""count":9223372036854775808}"#, "number_out_of_range count @48"),
        (#""count":1e30}"#, "number_out_of_range count @48"),
        (#""count":1e999}"#, "number_out_of_range count @48"),
        (#""seconds":1e999}"#, "timestamp_out_of_range seconds @50"),
        (#""amount":1e999}"#, "number_out_of_range amount @49"),
        (#""amount":"1e999"}"#, "number_out_of_range amount @49"),
        (#""count":1.5}"#, "wrong_type count @48"),
        (#""count":"1"}"#, "wrong_type count @48"),
        (#""count":true}"#, "wrong_type count @48"),
        (#""count":[1]}"#, "wrong_type count @48"),
        (#""count":[1}"#, "invalid_json - @50"),
        (#""id":7}"#, "wrong_type id @45"),
        (#""id":{"a":1}}"#, "wrong_type id @45"),
        (#""first":1}"#, "wrong_type first @48"),
        (#""first":"true"}"#, "wrong_type first @48"),
        (#""first":tru}"#, "wrong_type first @51"),
        (#""tags":"a"}"#, "wrong_type tags @47"),
        (#""tags":["a",1]}"#, "wrong_type tags @52"),
        (#""tags":["a",null]}"#, "wrong_type tags @52"),
        (#""amount":"12,5"}"#, "wrong_type amount @49"),
        (#""amount":"" }"#, "wrong_type amount @49"),
        (#""amount":12.999}"#, "too_many_decimals amount @49"),
        (#""amount":"0.001"}"#, "too_many_decimals amount @49"),
        (#""amount":1e-400}"#, "too_many_decimals amount @49"),
        (#""amount":-0.01}"#, "value_out_of_range amount @49"),
        (#""count":-1001}"#, "value_out_of_range count @48"),
        (#""count":1000000000000000001}"#, "value_out_of_range count @48"),
        (#""channel":"fax"}"#, "value_not_allowed channel @50"),
        (#""channel":"""# + "}", "value_not_allowed channel @50"),
        (#""seconds":"now"}"#, "invalid_timestamp seconds @50"),
        // A timestamp that is not the event time has the calendar's bounds, years 1 to 9999.
        (#""seconds":253402300800}"#, "timestamp_out_of_range seconds @50"),
        (#""seconds":-62135596800.001}"#, "timestamp_out_of_range seconds @50"),
        (#""seconds":"9223372036854775"}"#, "timestamp_out_of_range seconds @50"),
        (#""micros":9223372036854775807}"#, "timestamp_out_of_range micros @49"),
        (#""micros":-9223372036854775808}"#, "timestamp_out_of_range micros @49"),
    ])
    func `a mistake has its code, its path and its place, and damages no more than its field`(
        _ keys: String,
        _ expected: String
    ) throws {
        let record = "{\(needed),\(keys)"
        var strict = order
        for index in strict.fields.indices {
            strict.fields[index].rejectsDamage = true
            strict.fields[index].isClosed = true
        }
        var bench = Bench(try plan([strict]))
        #expect(bench.outcome(record) == expected)
        #expect(bench.batch.count == 0)

        // The same where the event can be judged without the field.
        let (code, path) = (String(expected.prefix { $0 != " " }), String(expected.split(separator: " ")[1]))
        var open = Bench(try plan())
        if ["-", "ts", "buyer"].contains(path) {
            #expect(open.outcome(record) == expected)
        } else if code == "value_not_allowed" {
            #expect(open.outcome(record).hasSuffix("' unknownWord channel"))
        } else {
            #expect(open.outcome(record) == "ts=1760000000000 account='a1' damaged \(path) \(code)")
        }
    }

    @Test(arguments: [
        ("", "truncated_json - @0"),
        ("  ", "truncated_json - @2"),
        ("null", "not_an_object - @0"),
        ("[]", "not_an_object - @0"),
        ("[1", "truncated_json - @2"),
        ("7", "not_an_object - @0"),
        ("7,8", "invalid_json - @1"),
        ("NaN", "not_an_object - @0"),
        ("\u{FEFF}{}", "missing_field ts @3"),
        ("\u{0}", "invalid_json - @0"),
        ("{}", "missing_field ts @0"),
        (#"{"ts":1760000000000}"#, "missing_field buyer.id @0"),
        (#"{"ts":1760000000000,"buyer":{}}"#, "missing_field buyer.id @0"),
        (#"{"ts":1760000000000,"buyer":null}"#, "missing_field buyer.id @0"),
        (#"{"ts":1760000000000,"buyer":{"id":null}}"#, "missing_field buyer.id @0"),
        (#"{"ts":1760000000000,"buyer":"a1"}"#, "wrong_type buyer @28"),
        (#"{"ts":1760000000000,"buyer":[{"id":"a1"}]}"#, "wrong_type buyer @28"),
        (
            #"{"ts":1760000000000,"buyer":{"id":"a1","risk":{"ratio":1e999}}}"#,
            "ts=1760000000000 account='a1' damaged ratio number_out_of_range"
        ),
        (
            #"{"ts":1760000000000,"buyer":{"id":"a1","created":"2026-02-29T00:00:00Z"}}"#,
            "ts=1760000000000 account='a1' damaged created invalid_timestamp"
        ),
        (
            #"{"ts":1760000000000,"buyer":{"id":"a1","created":"0000-12-31T23:59:59Z"}}"#,
            "ts=1760000000000 account='a1' damaged created timestamp_out_of_range"
        ),
        (
            #"{"ts":1760000000000,"buyer":{"id":"a1","created":"9999-12-31T23:59:59-23:59","risk":[7]}}"#,
            "ts=1760000000000 account='a1' damaged ratio wrong_type damaged created timestamp_out_of_range"
        ),
        (
            #"{"ts":1760000000000,"buyer":{"id":"a1"},"seconds":-62135596800,"micros":253402300799999999}"#,
            "ts=1760000000000 account='a1' seconds=-62135596800000 micros=253402300799999"
        ),
        // An empty text names nobody.
        (#"{"ts":1760000000000,"buyer":{"id":""}}"#, "missing_field buyer.id @0"),
        (
            #"{"ts":1760000000000,"buyer":{"id":"a1"},"id":"","user_agent":""}"#,
            "id='' ts=1760000000000 account='a1' user_agent=''"
        ),
        (#"{"ts":null,"buyer":{"id":"a1"}}"#, "missing_field ts @0"),
        (#"{"ts":1760000000,"buyer":{"id":"a1"}}"#, "timestamp_out_of_range ts @6"),
        (#"{"ts":-1760000000000,"buyer":{"id":"a1"}}"#, "timestamp_out_of_range ts @6"),
        (#"{"ts":253402300799000,"buyer":{"id":"a1"}}"#, "timestamp_out_of_range ts @6"),
        (#"{"ts":1760000000000000,"buyer":{"id":"a1"}}"#, "timestamp_out_of_range ts @6"),
        (#"{"ts":9223372036854775808,"buyer":{"id":"a1"}}"#, "timestamp_out_of_range ts @6"),
        (#"{"ts":1760000000000.5,"buyer":{"id":"a1"}}"#, "invalid_timestamp ts @6"),
        (#"{"ts":946684800000,"buyer":{"id":"a1"}}"#, "ts=946684800000 account='a1'"),
        (#"{"ts":946684799999,"buyer":{"id":"a1"}}"#, "timestamp_out_of_range ts @6"),
    ])
    func `a whole record can be wrong`(_ record: String, _ expected: String) throws {
        var bench = Bench(try plan())
        #expect(bench.outcome(record) == expected)
    }

    @Test func `an event far ahead of its log's clock is judged when the log took it`() throws {
        var bench = Bench(try plan())
        let record = "{\(needed)}"
        let written: Int64 = 1_760_000_000_000
        for (appendTime, time) in [
            (written - 3_600_000, written), (written - 3_600_001, written - 3_600_001), (.max, written),
            (946_684_800_000, 946_684_800_000),
        ] {
            try #require(bench.decode(record, appendTime: appendTime) == .events(1))
            let event = bench.batch.event(bench.batch.count - 1)
            #expect(event.time == time && event.fields[1].int == time && event.writtenTime == written)
            #expect(event.flags == (time == written ? [] : .early))
        }
        // A log whose clock is that wrong tells no time.
        #expect(bench.outcome(record, appendTime: 946_684_799_999) == "timestamp_out_of_range ts @0")
        #expect(bench.decode(record, appendTime: .min) != .events(1))
    }

    /// Times that are refused, and what is said of them.
    private static let refusedTimes = [
        (
            #"{"ts":1760000000,"buyer":{"id":"a1"}}"#,
            "`ts` is 1970-01-21T08:53:20Z (1760000000 written), before 2000-01-01, which `time.earliest` sets; "
                + "seconds? Write 'format: s'"
        ),
        (
            #"{"ts":1760000000000000,"buyer":{"id":"a1"}}"#,
            "`ts` is 1760000000000000, after 2100-01-01, which `time.latest` sets; microseconds? Write 'format: us'"
        ),
        (
            #"{"ts": 4102444800001 ,"buyer":{"id":"a1"}}"#,
            "`ts` is 2100-01-01T00:00:00.001Z (4102444800001 written), after 2100-01-01, which `time.latest` sets"
        ),
        (
            #"{"ts":"-5","buyer":{"id":"a1"}}"#,
            "`ts` is 1969-12-31T23:59:59.995Z (-5 written), before 2000-01-01, which `time.earliest` sets"
        ),
        (
            "{\(needed)," + #""seconds":253402300800}"#,
            "`seconds` is 253402300800, after 9999-12-31T23:59:59.999Z"
        ),
    ]

    @Test(arguments: refusedTimes)
    func `a refused time is told with its value, the bound and the key that sets it`(
        _ record: String,
        _ wanted: String
    ) throws {
        var strict = order
        for index in strict.fields.indices { strict.fields[index].rejectsDamage = true }
        var bench = Bench(try plan([strict]))
        guard case .rejected(let letter) = bench.decode(record) else {
            Issue.record("it was taken")
            return
        }
        let plan = bench.decoder.plan
        #expect(Array(record.utf8).withUnsafeBytes { plan.explanation(of: letter, in: $0) } == wanted)
        // A letter that points at nothing says less.
        #expect(plan.explanation(of: letter).hasSuffix("is outside the accepted time range"))
        #expect([UInt8]().withUnsafeBytes { plan.explanation(of: letter, in: $0) }.hasSuffix("accepted time range"))
    }

    @Test(arguments: [
        [0xFF], [0xC0, 0x80], [0xC1, 0xBF], [0xE0, 0x80, 0x80], [0xED, 0xA0, 0x80], [0xF0, 0x80, 0x80, 0x80],
        [0xF4, 0x90, 0x80, 0x80], [0xF5, 0x80, 0x80, 0x80], [0x80], [0xC3], [0xE2, 0x82], [0xF0, 0x9F, 0x98],
        [0xE2, 0x28, 0xA1],
    ])
    func `bytes that are not UTF-8 harm the fields they are in`(_ bytes: [UInt8]) throws {
        var bench = Bench(try plan())
        func record(_ front: String, _ behind: String) -> [UInt8] {
            Array("{\(needed),\"id\":\"ä\",\(front)".utf8) + bytes + Array("\(behind)}".utf8)
        }
        let good = "id='ä' ts=1760000000000 account='a1'"
        #expect(bench.outcome(record("\"ignored\":\"ä", "\"")) == good)
        #expect(bench.outcome(record("\"ignored\":[\"ä", "\"]")) == good)
        #expect(bench.outcome(record("\"ignored", "\":1")) == good)
        #expect(bench.outcome(record("\"user_agent\":\"ä", "\"")) == good + " damaged user_agent invalid_utf8")
        #expect(bench.outcome(record("\"user_agent\":\"ä\\n", "\"")) == good + " damaged user_agent invalid_utf8")
        #expect(bench.outcome(record("\"channel\":\"", "\"")) == good + " damaged channel invalid_utf8")
        #expect(bench.outcome(record("\"tags\":[\"a\",\"", "\"]")) == good + " damaged tags invalid_utf8")
        #expect(bench.outcome(record("\"created\":{},\"count\":", "")).hasPrefix("invalid_json - @"))
        let account = Array("{\"ts\":1760000000000,\"buyer\":{\"id\":\"ä".utf8) + bytes + Array("\"}}".utf8)
        #expect(bench.outcome(account) == "invalid_utf8 buyer.id @35")
        #expect(bench.outcome(Array(account.dropLast(3))).hasPrefix("truncated_json - "))
        // What was remembered of such a text harms no other.
        for _ in 0..<20 { _ = bench.outcome(record("\"user_agent\":\"", "\"")) }
        #expect(bench.outcome(record("\"user_agent\":\"", "\"")) == good + " damaged user_agent invalid_utf8")
        #expect(bench.outcome("{\(needed),\"user_agent\":\"x\"}") == "ts=1760000000000 account='a1' user_agent='x'")
    }

    /// What stands where no field reads: JSON or not, it harms nothing.
    @Test(arguments: [
        #""x":NaN"#, #""x":-Infinity"#, #""x":None"#, #""x":undefined"#, #""x":007"#, #""x":+1."#, #""x":.5"#,
        #""x":1e"#,
        #""x":nul"#, #""x":tru"#, #""x":[1,]"#, #""x":[,]"#, #""x":{"a" 1}"#, #""x":{1:1}"#, #""x":{a:'b'}"#,
        #""x":[NaN]"#,
        #""x":"\ud83d""#, #""x":"\udc00\ud800""#, #""x":"\x41\u00g0\" ""#, #""x":{"k":["\q"]}"#, "\"x\":\"a\nb\u{0}\"",
        "\"x\":[\"\u{1}\",\u{0}]", "\"x\u{1}\":1", #""\ud83d":1"#, #""\x":"\x""#, #""x":1,"x":2,"x":{"x":3}"#,
        #""x":{"k":1,"k":2}"#, #""x":{"id":1,"ts":[],"buyer":"{"}"#, #""x":"}],{""#, #""x":["]","}","\"}"]"#,
        #""x":[[],{},[{}]]"#,
    ])
    func `a value that no field reads harms nothing`(_ keys: String) throws {
        var bench = Bench(try plan())
        #expect(bench.outcome("{\(needed),\(keys)}") == "ts=1760000000000 account='a1'")
        #expect(bench.outcome("{\(keys),\(needed)}") == "ts=1760000000000 account='a1'")
        #expect(bench.outcome("{\(keys) , \(needed)\n}") == "ts=1760000000000 account='a1'")
        #expect(
            bench.outcome("{\"ts\":1760000000000,\"buyer\":{\(keys),\"id\":\"a1\"}}") == "ts=1760000000000 account='a1'"
        )
    }

    @Test func `limits hold to the last one`() throws {
        var bench = Bench(try plan())
        func nested(_ open: String, _ close: String, _ depth: Int, around core: String) -> String {
            String(repeating: open, count: depth) + core + String(repeating: close, count: depth)
        }
        func record(_ keys: String) -> String { "{\(needed),\(keys)}" }
        let good = "ts=1760000000000 account='a1'"
        for depth in [63, 64, 65, 66, 200_000] {
            #expect(bench.outcome(record("\"x\":" + nested("[", "]", depth, around: ""))) == good)
            #expect(bench.outcome(record("\"x\":" + nested("{\"a\":", "}", depth / 2, around: "1"))) == good)
            #expect(
                bench.outcome(record("\"x\":" + nested("[", "]", depth, around: "") + "]"))
                    == "invalid_json - @\(44 + 2 * depth)"
            )
        }
        // A bracket of the wrong kind is told down to level 64.
        #expect(bench.outcome(record("\"x\":" + nested("[", "]", 63, around: "[}"))) == "invalid_json - @108")
        #expect(bench.outcome(record("\"x\":" + nested("[", "]", 64, around: "[}"))) == good)
        #expect(bench.outcome(record("\"x\":[" + nested("1,", "", 100_000, around: "1]"))) == good)
        #expect(bench.outcome(record("\"x\":{" + nested("\"k\":1,", "", 100_000, around: "\"k\":1}"))) == good)
        #expect(bench.outcome(record(nested("\"k\":1,", "", 100_000, around: "\"k\":1"))) == good)
        #expect(bench.outcome(record("\"tags\":[" + nested("\"\",", "", 1_023, around: "\"\"]"))) != "")
        #expect(
            bench.outcome(record("\"tags\":[" + nested("\"\",", "", 1_024, around: "\"\"]"))).hasSuffix(" cut tags")
        )
        // What is not read is bounded by the record alone: padding it is no way out.
        for text in [nested("a", "", 70_000, around: ""), nested("\\n", "", 70_000, around: "")] {
            #expect(bench.outcome(record("\"x\":\"\(text)\"")) == good)
            #expect(bench.outcome(record("\"x\":{\"k\":[\"\(text)\"]}")) == good)
            #expect(bench.outcome(record("\"x\(text)\":1")) == good)
            #expect(bench.outcome(record("\"x\":{\"\(text)\":1}")) == good)
        }
        #expect(bench.outcome(record("\"id\":\"" + nested("a", "", 1_024, around: "") + "\"")).hasPrefix("id='aaa"))
        for length in [1_025, 70_000] {
            let shown = nested("a", "", 1_024, around: "")
            #expect(
                bench.outcome(record("\"id\":\"" + nested("a", "", length, around: "") + "\""))
                    == "id='\(shown)' of a longer text \(good) cut id"
            )
        }
        let name = nested("a", "", 65, around: "")
        #expect(bench.outcome("{\"ts\":1760000000000,\"buyer\":{\"id\":\"\(name)\"}}") == "text_too_long buyer.id @34")
        #expect(
            bench.outcome(record("\"id\":\"\\n" + nested("a", "", 1_023, around: "") + "\"")).hasPrefix("id='\naaa")
        )
        for number in [
            nested("9", "", 10_000, around: ""), "1.\(nested("3", "", 10_000, around: ""))e-5",
            "1e99999999999999999999",
        ] {
            #expect(bench.outcome(record("\"x\":" + number)) == good)
        }
        let digits = nested("0", "", 63, around: "")
        #expect(bench.outcome(record("\"x\":1,\"amount\":0." + digits)).hasSuffix("amount=0"))
        #expect(
            bench.outcome(record("\"x\":1,\"amount\":0.0" + digits)) == good + " damaged amount number_out_of_range"
        )
    }

    @Test func `a text that is cut is told apart from its beginning and from others with it`() throws {
        var bench = Bench(try plan())
        func hash(_ id: String) -> UInt64 {
            #expect(bench.decode("{\(needed),\"id\":\"\(id)\"}") == .events(1))
            return bench.batch.event(bench.batch.count - 1).fields[0].bits
        }
        let beginning = String(repeating: "a", count: 1_024)
        let texts = [beginning, beginning + "a", beginning + "b", beginning + beginning, beginning + "ä"]
        #expect(Set(texts.map { hash($0) }) == Set(texts.map { bench.decoder.plan.hash($0) }))
        #expect(hash(beginning + "\\u00e4") == hash(beginning + "ä"))
    }

    @Test func `a record of doubled keys alone costs no more than its length`() throws {
        var wide = order
        wide.fields += (0..<82).map { FieldSchema(name: "f\($0)", path: ["o", "f\($0)"], type: .int) }
        var bench = Bench(try plan([wide]))
        let record = "{\(needed),\(String(repeating: "\"o\":{},", count: 100_000))\"x\":1}"
        let clock = ContinuousClock()
        var outcome = ""
        let time = clock.measure { outcome = bench.outcome(record) }
        #expect(outcome.hasPrefix("ts=1760000000000 account='a1' damaged f0 duplicate_field"))
        #expect(bench.batch.event(0).markCount == 82)
        // A second is a hundred times what it takes unoptimised; a walk over all fields at each key would take more.
        #expect(time < .seconds(1))
    }

    @Test func `poison is refused by name and the good events around it stay the same`() throws {
        let plan = try plan()
        let good = #"{"id":"o-1",\#(needed),"amount":12.99,"tags":["a","b"],"user_agent":"x\ty"}"#
        let poison: [(String, [UInt8]?)] = [
            ("invalid_utf8", Array(#"{"ts":1760000000000,"buyer":{"id":""#.utf8) + [0xC3, 0x28] + Array("\"}}".utf8)),
            ("truncated_json", Array(good.utf8.dropLast(9))),
            ("control_character", Array("{\"ts\":1760000000000,\"buyer\":{\"id\":\"\u{0}\"}}".utf8)),
            ("invalid_json", Array("{\(needed),\u{0}\"id\":\"\"}".utf8)),
            ("record_too_large", [UInt8](repeating: 0x20, count: 10 << 20)),
            ("truncated_json", [UInt8](repeating: UInt8(ascii: "["), count: 100_000)),
            (
                "truncated_json",
                Array("{\(needed),\"x\":".utf8) + Array(String(repeating: "{\"a\":", count: 100_000).utf8)
            ),
            ("duplicate_field", Array("{\(needed),\"buyer\":{\"id\":\"a1\"}}".utf8)),
            ("wrong_type", Array(#"{"ts":NaN,"buyer":{"id":"a"}}"#.utf8)),
            ("invalid_escape", Array(#"{"ts":1760000000000,"buyer":{"id":"\ud83d"}}"#.utf8)),
            ("tombstone", nil),
            ("timestamp_out_of_range", Array(#"{"ts":\#(String(repeating: "9", count: 60)),"buyer":{"id":"a"}}"#.utf8)),
            (
                "number_out_of_range",
                Array(#"{"ts":\#(String(repeating: "9", count: 10_000)),"buyer":{"id":"a"}}"#.utf8)
            ),
            ("timestamp_out_of_range", Array(#"{"ts":253402300799000,"buyer":{"id":"a"}}"#.utf8)),
            ("timestamp_out_of_range", Array(#"{"ts":-5,"buyer":{"id":"a"}}"#.utf8)),
            ("timestamp_out_of_range", Array(#"{"ts":1760000000,"buyer":{"id":"a"}}"#.utf8)),
            ("record_too_large", Array("{\(needed)\((0..<1_000_000).map { ",\"k\($0)\":1" }.joined())}".utf8)),
        ]
        var bench = Bench(plan)
        let expected = bench.outcome(good)
        for (code, bytes) in poison {
            let result: DecodeResult
            if let bytes {
                result = bench.decode(bytes)
            } else {
                result = bench.decoder.decode(topic: 0, partition: 3, offset: 41, value: nil, into: &bench.batch)
            }
            guard case .rejected(let letter) = result else {
                Issue.record("accepted: \(code)")
                continue
            }
            #expect(letter.code.name == code)
            #expect(!plan.explanation(of: letter).isEmpty)
            let before = bench.batch.textBytes
            #expect(bench.outcome(good) == expected)
            #expect(bench.batch.textBytes - before < 2 * good.utf8.count + 64)
        }
        #expect(bench.batch.count == poison.count + 1)
        #expect(bench.batch.memoryBytes < 16 << 20)
    }

    @Test func `a batch that is full says so and takes the record after it was emptied`() throws {
        var decoder = EventDecoder(plan: try plan())
        var batch = EventBatch(textLimit: 1_000)
        let record = Array("{\(needed)}".utf8)
        var taken = 0
        record.withUnsafeBytes { bytes in
            while decoder.decode(topic: 0, partition: 0, offset: Int64(taken), value: bytes, into: &batch) == .events(1)
            {
                taken += 1
            }
            #expect(taken > 3)
            #expect(decoder.decode(topic: 0, partition: 0, offset: 9, value: bytes, into: &batch) == .full)
            #expect(batch.count == taken)
            batch.removeAll()
            #expect(decoder.decode(topic: 0, partition: 0, offset: 9, value: bytes, into: &batch) == .events(1))
        }
        let large = Array("{\(needed),\"x\":\"\(String(repeating: "x", count: 1_000))\"}".utf8)
        batch.removeAll()
        large.withUnsafeBytes { bytes in
            let result = decoder.decode(topic: 0, partition: 0, offset: 9, value: bytes, into: &batch)
            #expect(result == .rejected(DeadLetter(.recordTooLarge)))
        }
    }

    @Test func `a dead letter keeps the original and says what was expected`() throws {
        let plan = try plan()
        func json(_ code: DeadLetterCode, path: String?, at: Int, _ value: [UInt8]?, limit: Int = 100) -> String {
            let path = path.flatMap { name in plan.paths.firstIndex { $0.text == name } } ?? -1
            var output: [UInt8] = []
            func append(_ bytes: UnsafeRawBufferPointer?) {
                plan.appendRecord(
                    of: DeadLetter(code, path: Int32(path), byteOffset: at),
                    topic: "orders",
                    partition: 2,
                    offset: 77,
                    value: bytes,
                    limit: limit,
                    to: &output
                )
            }
            if let value { value.withUnsafeBytes { append($0) } } else { append(nil) }
            return String(decoding: output, as: UTF8.self)
        }
        #expect(
            json(.valueNotAllowed, path: "channel", at: 9, Array("{\"a\\\n\u{1}ä\"}".utf8))
                == #"{"code":"value_not_allowed","message":"`channel` must be one of web, app","field":"channel","byte_offset":9,"#
                + #""topic":"orders","partition":2,"offset":77,"record":"{\"a\\\n\u0001ä\"}"}"#
        )
        #expect(
            json(.tombstone, path: nil, at: 0, nil)
                == #"{"code":"tombstone","message":"the record has no value (a tombstone)","field":null,"byte_offset":0,"#
                + #""topic":"orders","partition":2,"offset":77,"record":null}"#
        )
        #expect(
            json(.invalidUTF8, path: nil, at: 1, [0x41, 0xFF, 0x42, 0x43]).hasSuffix(#""record_base64":"Qf9CQw=="}"#)
        )
        #expect(json(.invalidUTF8, path: nil, at: 1, [0xFF, 0x42]).hasSuffix(#""record_base64":"/0I="}"#))
        #expect(
            json(.invalidJSON, path: nil, at: 1, Array("aää".utf8), limit: 4).hasSuffix(
                #""record":"aä","record_truncated":true,"record_bytes":5}"#
            )
        )
        #expect(json(.invalidJSON, path: nil, at: 1, Array("abc".utf8), limit: 3).hasSuffix(#""record":"abc"}"#))
        for code in DeadLetterCode.allCases {
            for path in [nil, "channel", "amount", "buyer"] {
                #expect(json(code, path: path, at: 0, []).hasSuffix("\"record\":\"\"}"))
            }
        }
        #expect(Set(DeadLetterCode.allCases.map(\.name)).count == DeadLetterCode.allCases.count)
    }

    @Test func `plans that the decoder cannot hold are refused`() {
        var many = order
        many.fields += (0..<90).map { FieldSchema(name: "f\($0)", path: ["f\($0)"], type: .int) }
        #expect(throws: DecodePlanError.self) { try plan([many]) }
        var secret = order
        secret.fields[0].isPseudonymised = true
        #expect(throws: DecodePlanError.self) { try plan([secret]) }
        var timeless = order
        timeless.time = .field(0)
        #expect(throws: DecodePlanError.self) { try plan([timeless]) }
    }
}
