import RuleLanguage
import Testing

@testable import Detection

@Suite struct EventsDecodingTests {
    /// Keys put behind the needed ones, and the values they give (those of the needed ones left out).
    @Test(arguments: [
        (#""id":"o-1""#, "id='o-1' ts account"),
        (#""amount":12.99"#, "ts account amount=1299"),
        (#""amount":12"#, "ts account amount=1200"),
        (#""amount":"12.9""#, "ts account amount=1290"),
        (#""amount":1.299e1"#, "ts account amount=1299"),
        (#""amount":12.990000"#, "ts account amount=1299"),
        (#""amount":0"#, "ts account amount=0"),
        (#""channel":"app""#, "ts account channel='app'"),
        (#""tags":[]"#, "ts account tags=[]"),
        (#""tags":["a", "bc" ,"d\u0065"]"#, "ts account tags=[a bc de]"),
        (#""count":42"#, "ts account count=42"),
        (#""count":-7"#, "ts account count=-7"),
        (#""count":1e3"#, "ts account count=1000"),
        (#""count":5.0"#, "ts account count=5"),
        (#""count":123456789012345678"#, "ts account count=123456789012345678"),
        (#""first":true"#, "ts account first=true"),
        (#""first": false "#, "ts account first=false"),
        (#""seconds":1760000000.5"#, "ts account seconds=1760000000500"),
        (#""seconds":1760000000.0009"#, "ts account seconds=1760000000000"),
        (#""seconds":"1760000000""#, "ts account seconds=1760000000000"),
        (#""seconds":-1.5"#, "ts account seconds=-1500"),
        (#""micros":1760000000000999"#, "ts account micros=1760000000000"),
        (#""micros":-1"#, "ts account micros=-1"),
        (#""an_identifier_of_more_than_sixteen_bytes":"x""#, "ts account an_identifier_of_more_than_sixteen_bytes='x'"),
        (#""an_identifier_of_more_than_sixteen_bytez":"x""#, "ts account"),
        (#""id":null,"amount":null,"tags":null"#, "ts account"),
        (#""id":"""#, "id='' ts account"),
        (#""id":"a\"b\\c\/d\b\f\n\r\t""#, "id='a\"b\\c/d\u{8}\u{c}\n\r\t' ts account"),
        (#""id":"\u00e4\u20ac\ud83d\ude00""#, "id='ä€😀' ts account"),
        (#""id":"ä€😀""#, "id='ä€😀' ts account"),
        (#""\u0069d":"escaped key""#, "id='escaped key' ts account"),
        (#""other":{"a":[1,2.5e-3,{"b":null}],"c":"\ud83d\ude00"},"x":[],"y":{},"z":[[[]]]"#, "ts account"),
        (#""id2":"x","i":"y","":1"#, "ts account"),
    ])
    func `a record gives its values`(_ keys: String, _ expected: String) throws {
        var bench = Bench(try plan())
        let values = expected.replacing("ts account", with: "ts=1760000000000 account='a1'")
        #expect(bench.outcome("{\(needed),\(keys)}") == values)
        #expect(bench.outcome("{\(keys),\(needed)}") == values)
        #expect(bench.outcome(" {\n\t\(keys) , \(needed)\r\n}\n") == values)
    }

    @Test func `nested paths are followed and their siblings passed`() throws {
        var bench = Bench(try plan())
        let record =
            #"{"buyer":{"x":{"id":9},"risk":{"ratio":0.25,"id":1},"id":"a7","created":"2026-01-05T08:00:00Z"},"ts":1760000000001}"#
        #expect(bench.outcome(record) == "ts=1760000000001 account='a7' ratio=0.25 created=1767600000000")
    }

    @Test func `an event carries its origin and its original bytes`() throws {
        var bench = Bench(try plan())
        let record = #"{"ts":1760000000000,"buyer":{"id":"a\u0031"}}"#
        #expect(bench.decode(record) == .events(1))
        #expect(bench.decode(record) == .events(1))
        let event = bench.batch.event(1)
        #expect(
            event.partition == 3 && event.offset == 41 && event.topic == 0 && event.type == 0
                && event.time == 1_760_000_000_000
        )
        let original = UnsafeBufferPointer(start: event.text + Int(event.recordOffset), count: Int(event.recordLength))
        #expect(String(decoding: original, as: UTF8.self) == record)
        #expect(text(event.fields[2], event) == "a1")
    }
}
