import Detection
import Testing

@testable import Pipeline

/// The journal's records, and whose journal a log holds.
@Suite struct JournalTests {
    private static let record = {
        var counts = EpochCounts()
        (counts.records, counts.events, counts.deadLetters, counts.late, counts.verdicts) = (3, 2, 1, 1, 1)
        return JournalRecord(
            epoch: 12,
            topologyName: "world-2",
            watermark: -5,
            ranges: [.init(source: TopicPartition("orders", 3), from: 7, to: 9)],
            counts: counts,
            topologyDigest: "aa",
            releaseDigest: "bb"
        )
    }()

    private static func parse(_ text: String) throws -> JournalRecord { try JournalRecord(bytes: Array(text.utf8)) }

    @Test func `a record is one JSON object with its keys in fixed order, and reads back as it was written`() throws {
        var record = Self.record
        record.ranges.append(.init(source: TopicPartition("clicks", 11), from: 0, to: 9_007_199_254_740_993))
        var bytes: [UInt8] = []
        record.write(to: &bytes)
        let text = String(decoding: bytes, as: UTF8.self)
        let expected =
            #"{"version":4,"epoch":12,"topology_name":"world-2","watermark":-5,"ranges":[["orders",3,7,9],["clicks",11,0,9007199254740993]],"#
            + #""records":3,"events":2,"dead_letters":1,"late":1,"verdicts":1,"topology":"aa","release":"bb"}"#
        #expect(text == expected)
        #expect(try Self.parse(text) == record)

        record.triggers = [.endTick(at: -1000), .endTick(at: 1_767_600_001_000)]
        bytes = []
        record.write(to: &bytes)
        let triggered = expected.replacing(
            #""ranges""#,
            with: #""triggers":[["end_tick",-1000],["end_tick",1767600001000]],"ranges""#
        )
        #expect(String(decoding: bytes, as: UTF8.self) == triggered)
        #expect(try Self.parse(triggered) == record)
        #expect(logError { _ = try Self.parse(triggered.replacing("end_tick", with: "begin")) }?.kind == .corrupt)

        record.triggers = []
        record.aligned = [
            .init(source: TopicPartition("orders", 3), from: -60_000),
            .init(source: TopicPartition("clicks", 0), from: .min),
        ]
        record.counts.ignored = 4
        record.counts.early = 5
        record.counts.setAside = 6
        record.counts.duplicates = 7
        bytes = []
        record.write(to: &bytes)
        let aligned = #""aligned":[["orders",3,-60000],["clicks",0,-9223372036854775808]],"ranges""#
        let rare =
            expected
            .replacing(#""ranges""#, with: aligned)
            .replacing(#""late":1"#, with: #""ignored":4,"late":1,"early":5,"set_aside":6,"duplicates":7"#)
        #expect(String(decoding: bytes, as: UTF8.self) == rare)
        #expect(try Self.parse(rare) == record)
        #expect(
            logError { _ = try Self.parse(rare.replacing(#""clicks",0,"#, with: #""clicks","#)) }?.kind == .corrupt
        )
        #expect(logError { _ = try Self.parse(rare.replacing(#""early":5"#, with: #""early":-5"#)) }?.kind == .corrupt)

        record = Self.record
        record.ranges.append(.init(source: TopicPartition("clicks", 11), from: 0, to: 9_007_199_254_740_993))
        record.keyFingerprint = "0123456789abcdef"
        bytes = []
        record.write(to: &bytes)
        let keyed = expected.replacing(#""release":"bb""#, with: #""release":"bb","key":"0123456789abcdef""#)
        #expect(String(decoding: bytes, as: UTF8.self) == keyed)
        #expect(try Self.parse(keyed) == record)
        record.keyFingerprint = nil

        record.ranges[0].digest = InputDigest(content: 0x0123_4567_89ab_cdef)
        record.ranges[1].digest = InputDigest(content: 1, headers: .max)
        record.proof = .init(engine: "0.1.0", inputDigest: 15, verdictDigest: 0xfedc_ba98_7654_3210)
        bytes = []
        record.write(to: &bytes)
        let proven =
            expected
            .replacing(#""version":4"#, with: #""version":5"#)
            .replacing(#"["orders",3,7,9]"#, with: #"["orders",3,7,9,"0123456789abcdef"]"#)
            .replacing(#"740993]"#, with: #"740993,"0000000000000001","ffffffffffffffff"]"#)
            .replacing(
                #""release":"bb""#,
                with:
                    #""release":"bb","engine":"0.1.0","input_digest":"000000000000000f","verdict_digest":"fedcba9876543210""#
            )
        #expect(String(decoding: bytes, as: UTF8.self) == proven)
        #expect(try Self.parse(proven) == record)
        for (part, instead) in [
            (#","0123456789abcdef"]"#, "]"), (#""0123456789abcdef""#, #""0123456789abcdeg""#),
            (#""0123456789abcdef""#, #""123456789abcdef""#), (#","engine":"0.1.0""#, ""),
            (#","input_digest":"000000000000000f""#, ""), (#","verdict_digest":"fedcba9876543210""#, ""),
            (#""version":5"#, #""version":4"#),
        ] {
            #expect(proven.contains(part))
            #expect(logError { _ = try Self.parse(proven.replacing(part, with: instead)) }?.kind == .corrupt, "\(part)")
        }
        record.proof = nil

        record.watermark = nil
        record.ranges = []
        bytes = []
        record.write(to: &bytes)
        #expect(String(decoding: bytes, as: UTF8.self).contains(#""world-2","ranges":[],"records":3,"events":2,"#))
    }

    @Test(arguments: [
        #"{"version":6,"epoch":12,"what":{"nobody":["knows"]},"topology_name":7}"#, #"{"version":3}"#,
        #"{"epoch":12,"topology_name":"world-2","ranges":[],"version":1}"#,
    ])
    func `a record of another version is told as that, whatever keys follow`(_ text: String) {
        let error = logError { _ = try Self.parse(text) }
        #expect(error?.kind == .incompatible, "\(error?.message ?? "")")
        #expect(error?.message.contains("this program reads 4 and 5") == true, "\(error?.message ?? "")")
    }

    @Test(arguments: [#"{"epochs":12}"#, #"{"topology_name":"world-2","version":4}"#, "{}", "[2]", #"{"version":"2"}"#])
    func `what does not begin with a version is no record`(_ text: String) {
        #expect(logError { _ = try Self.parse(text) }?.kind == .corrupt)
    }

    @Test(arguments: [
        (#""epoch":12"#, #""epoch":9223372036854775807"#), (#""epoch":12"#, #""epoch":-1"#),
        (#""records":3"#, #""records":-3"#), (#""events":2"#, #""events":-2"#), (#""late":1"#, #""late":-1"#),
        (#""verdicts":1"#, #""verdicts":-1"#),
        (#""dead_letters":1"#, #""dead_letters":-1"#), (#""late":1"#, #""late":1,"late":1"#),
        (#"["orders",3,7,9]"#, #"["orders",3,7,9]["orders",3,9,10]"#), (#"["orders",3,7,9]"#, #"["orders",3,7,9],"#),
        (#""release":"bb"}"#, #""release":"bb"}}"#), (#""release":"bb"}"#, #""release":"bb"} "#),
        (#""release":"bb"}"#, #""release":"bb""#),
    ])
    func `what Weir would not have written is no record`(_ part: String, _ instead: String) throws {
        var bytes: [UInt8] = []
        Self.record.write(to: &bytes)
        let text = String(decoding: bytes, as: UTF8.self)
        #expect(text.contains(part))
        #expect(try Self.parse(text) == Self.record)
        #expect(logError { _ = try Self.parse(text.replacing(part, with: instead)) }?.kind == .corrupt)
    }

    @Test func `a record that does not name its topology is corrupt, whatever else it says`() throws {
        var bytes: [UInt8] = []
        Self.record.write(to: &bytes)
        let text = String(decoding: bytes, as: UTF8.self)
        for change in ["", "\"topology_name\":\"\","] {
            let error = logError { _ = try Self.parse(text.replacing("\"topology_name\":\"world-2\",", with: change)) }
            #expect(error?.kind == .corrupt)
            #expect(error?.message.contains("epoch 12 does not say which topology") == true, "\(error?.message ?? "")")
        }
    }

    /// The world's topology under another name: it reads the same topics.
    private static func other() throws -> Deployment {
        try WorkerTopology.load(WorkerTopology.text.replacing("topology: world", with: "topology: other"))
    }

    @Test func `another topology's journal is refused before anything is owned or written`() throws {
        let world = try WorkerWorld(seed: 31)
        try world.produce(200)
        #expect(try world.run().error == nil)
        // As the ownership of a Kafka log leaves them.
        let journal = TopicPartition(OutputTopics.journal, 0)
        world.store.append(journal, key: nil, value: nil)
        let before = Self.everything(world.store)
        let log = SimulatedLog(world.store, application: "weir-other")
        let worker = Worker(try Self.other(), log: log, threads: 1)
        let error = logError { try worker.run { false } }
        #expect(error?.kind == .refused)
        let message = error?.message ?? ""
        #expect(message.contains("'world'") && message.contains("'other'") && message.contains("of its own"))
        #expect(log.visits["ownership"] == nil && Self.everything(world.store) == before)

        let audit = JournalAudit(try Self.other(), log: log, threads: 1)
        #expect(logError { _ = try audit.run { _ in true } }?.kind == .refused)
        // Its own topology goes on.
        try world.produce(50)
        #expect(try world.run().error == nil)
    }

    @Test func `a journal that begins with our epochs and goes on with another's is refused by the replay`() throws {
        let world = try WorkerWorld(seed: 32)
        try world.produce(100)
        #expect(try world.run().error == nil)
        var foreign = try #require(try world.journal().last)
        foreign.epoch += 1
        foreign.topologyName = "other"
        var bytes: [UInt8] = []
        foreign.write(to: &bytes)
        world.store.append(TopicPartition(OutputTopics.journal, 0), key: nil, value: bytes)
        let error = try world.run().error
        #expect(error?.kind == .refused)
        #expect(error?.message.contains("epoch \(foreign.epoch)") == true, "\(error?.message ?? "")")
    }

    private static func everything(_ store: SimulatedStore) -> [String: [SimulatedStore.Record]] {
        var all: [String: [SimulatedStore.Record]] = [:]
        for topic in OutputTopics.all {
            for partition in Int32(0)..<4 {
                all["\(topic)/\(partition)"] = store.records(of: TopicPartition(topic, partition))
            }
        }
        return all
    }
}
