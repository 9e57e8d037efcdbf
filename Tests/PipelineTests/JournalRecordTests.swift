import Testing

@testable import Pipeline

@Test func `a journal record is one JSON object with its keys in fixed order`() throws {
    var record = JournalRecord(
        epoch: 12, watermark: 1_767_600_000_000,
        ranges: [
            .init(source: TopicPartition("orders", 0), from: 100, to: 150),
            .init(source: TopicPartition("clicks", 11), from: 0, to: 9_007_199_254_740_993),
        ], events: 50, deadLetters: 1, late: 2, verdicts: 3, topologyDigest: "aa", ruleSetDigest: "bb",
        modelsDigest: "cc")
    var bytes: [UInt8] = []
    record.write(to: &bytes)
    let expected =
        #"{"epoch":12,"watermark":1767600000000,"ranges":[["orders",0,100,150],["clicks",11,0,9007199254740993]],"events":50,"#
        + #""dead_letters":1,"late":2,"verdicts":3,"topology":"aa","ruleset":"bb","models":"cc","version":1}"#
    #expect(String(decoding: bytes, as: UTF8.self) == expected)
    let read = try bytes.withUnsafeBytes { bytes throws(LogError) in try JournalRecord(parsing: bytes) }
    #expect(read == record)

    record.watermark = nil
    record.ranges = []
    bytes = []
    record.write(to: &bytes)
    #expect(String(decoding: bytes, as: UTF8.self).hasPrefix(#"{"epoch":12,"ranges":[],"events":50,"#))
}
