import Foundation
import Detection
import Glibc
import KafkaClient
import KafkaTestBroker
import Testing
import Waiting

@testable import Pipeline

/// One record as text, so that expectations can be read.
private struct Seen: Equatable {
    var offset: Int64
    var key: String?
    var value: String?
    var headers: [String]
}

@Suite(.serialized, .enabled(if: TestBroker.isAvailable, "\(TestBroker.absence)"))
struct KafkaLogTests {
    private let journal = TestBroker.unique("journal")
    private let verdicts = TestBroker.unique("verdicts")
    private let input = TestBroker.unique("input")
    private let application = TestBroker.unique("app")

    private func log(
        _ change: (inout KafkaLog.Options) -> Void = { _ in },
        configuration: KafkaConfiguration? = nil
    ) throws -> KafkaLog {
        var options = KafkaLog.Options(application: application)
        options.journalTopic = journal
        change(&options)
        return try KafkaLog(configuration: try configuration ?? TestBroker.configuration(), options: options)
    }

    private func makeTopics(_ log: KafkaLog) throws {
        try log.create([
            TopicRequirement(name: journal, partitions: 1), TopicRequirement(name: verdicts, partitions: 1),
            TopicRequirement(name: input, partitions: 2),
        ])
    }

    private func batch(epochs: ClosedRange<Int64>, values: [String]) -> OutputBatch {
        var batch = OutputBatch(topics: [verdicts, journal])
        for value in values {
            batch.append(
                topic: 0,
                key: { $0.append(contentsOf: "k".utf8) },
                value: { $0.append(contentsOf: value.utf8) },
                headers: [("ce_id", Array(value.utf8.prefix(20)))]
            )
        }
        for epoch in epochs {
            batch.append(topic: 1, key: nil, value: { $0 += JournalRecord.stub(epoch) })
        }
        batch.epochs = epochs
        return batch
    }

    /// The end once the markers of the last commits are there.
    private func settledEnd(_ log: KafkaLog, _ source: TopicPartition) throws -> Int64 {
        let admin = try AdminClient(TestBroker.configuration())
        defer { admin.close() }
        let high = try admin.watermarks(of: KafkaPartition(source.topic, source.partition)).high
        try Waiting.until { try log.bounds(of: source).end >= high }
        return try log.bounds(of: source).end
    }

    private func all(_ log: KafkaLog, _ topic: String) throws -> [Seen] {
        var found: [Seen] = []
        try log.read(TopicPartition(topic, 0), from: 0, to: settledEnd(log, TopicPartition(topic, 0))) {
            record,
            headers in
            found.append(
                Seen(
                    offset: record.offset,
                    key: record.key.map { String(decoding: $0, as: UTF8.self) },
                    value: record.value.map { String(decoding: $0, as: UTF8.self) },
                    headers: headers.map { "\($0.0)=\(String(decoding: $0.1, as: UTF8.self))" }
                )
            )
            return true
        }
        return found
    }

    @Test func `a commit appends outputs, journal and positions at once`() throws {
        let log = try log()
        defer { log.close() }
        #expect(try log.partitions(of: journal) == nil)
        try makeTopics(log)
        try makeTopics(log)
        #expect(try log.partitions(of: input) == [0, 1])
        try log.writer.takeOwnership()
        #expect(try log.writer.lastJournalEpoch() == nil)
        let sources = [TopicPartition(input, 0), TopicPartition(input, 1)]
        #expect(try log.committedPositions(of: sources) == [])
        try log.assign(sources.map { SourcePosition(source: $0, next: 0) })
        try log.writer.commit(
            batch(epochs: 0...1, values: ["a", "b"]),
            positions: [SourcePosition(source: sources[0], next: 3)]
        )
        try log.writer.commit(
            batch(epochs: 2...2, values: ["c"]),
            positions: [SourcePosition(source: sources[1], next: 9)]
        )
        #expect(try log.writer.lastJournalEpoch() == 2)
        #expect(try all(log, verdicts).map(\.value) == ["a", "b", "c"])
        #expect(try all(log, verdicts).first == Seen(offset: 0, key: "k", value: "a", headers: ["ce_id=a"]))
        #expect(
            try all(log, journal).compactMap(\.value)
                == (0...2).map { String(decoding: JournalRecord.stub($0), as: UTF8.self) }
        )
        #expect(
            try log.committedPositions(of: sources) == [
                SourcePosition(source: sources[0], next: 3), SourcePosition(source: sources[1], next: 9),
            ]
        )
    }

    @Test func `assigned partitions are polled from their offsets, over transaction markers`() throws {
        let log = try log()
        defer { log.close() }
        try makeTopics(log)
        try log.writer.takeOwnership()
        var records = OutputBatch(topics: [input])
        for number in 0..<100 {
            records.append(topic: 0, key: { $0.append(UInt8(number)) }, value: { $0.append(UInt8(number)) })
        }
        try log.append(records)
        records.removeAll()
        records.append(topic: 0, key: { $0.append(7) }, value: nil)
        try log.writer.commit(records, positions: [])
        let sources = [TopicPartition(input, 0), TopicPartition(input, 1)]
        let ends = try sources.map { try settledEnd(log, $0) }
        #expect(ends.reduce(0, +) >= 101)
        try log.assign(sources.map { SourcePosition(source: $0, next: 2) })
        var seen = 0
        var tombstones = 0
        var next: [Int64] = [2, 2]
        let deadline = Date().addingTimeInterval(Waiting.limit)
        while next != ends, Date() < deadline {
            try log.wait(milliseconds: 50)
            for source in 0...1 {
                next[source] = try log.poll(source: source, limit: 16) { record in
                    #expect(record.source == source)
                    #expect(record.appendTime != nil)
                    seen += 1
                    if record.value == nil { tombstones += 1 }
                    return true
                }
            }
        }
        #expect(next == ends)
        #expect(seen == 101 - 4)
        #expect(tombstones == 1)
    }

    @Test func `only a topic with LogAppendTime says when its records were appended`() throws {
        let log = try log()
        defer { log.close() }
        for (kind, isKnown) in [("CreateTime", false), ("LogAppendTime", true)] {
            let source = TopicPartition("\(input)-\(kind)", 0)
            try log.create([
                TopicRequirement(name: source.topic, partitions: 1, settings: ["message.timestamp.type": kind])
            ])
            var records = OutputBatch(topics: [source.topic])
            records.append(topic: 0, key: nil, value: { $0.append(1) })
            try log.append(records)
            var seen = 0
            try log.read(source, from: 0, to: settledEnd(log, source)) { record, _ in
                #expect(record.timestamp != nil && (record.appendTime != nil) == isKnown)
                seen += 1
                return true
            }
            #expect(seen == 1)
        }
    }

    @Test func `the former owner is fenced and writes nothing more`() throws {
        let former = try log()
        defer { former.close() }
        try makeTopics(former)
        try former.writer.takeOwnership()
        try former.writer.commit(batch(epochs: 0...0, values: ["a"]), positions: [])
        let newer = try log()
        defer { newer.close() }
        try newer.writer.takeOwnership()
        #expect(try newer.writer.lastJournalEpoch() == 0)
        let error = #expect(throws: LogError.self) {
            try former.writer.commit(batch(epochs: 1...1, values: ["zombie"]), positions: [])
        }
        #expect(error?.kind == .fenced)
        try newer.writer.commit(batch(epochs: 1...1, values: ["b"]), positions: [])
        #expect(try all(newer, verdicts).map(\.value) == ["a", "b"])
    }

    @Test func `the longest verdict is taken by a broker as it comes, and read back whole`() throws {
        let log = try log()
        defer { log.close() }
        try makeTopics(log)
        try log.writer.takeOwnership()
        let subject = [UInt8](repeating: UInt8(ascii: "s"), count: 65_535)
        var batch = OutputBatch(topics: [verdicts, journal])
        batch.append(
            topic: 0,
            key: { $0 += subject },
            value: { $0 += [UInt8](repeating: UInt8(ascii: "v"), count: VerdictRecord.bytesMax) },
            headers: [
                ("ce_subject", subject), ("ce_partitionkey", subject), ("others", [UInt8](repeating: 1, count: 5000)),
            ]
        )
        batch.append(topic: 1, key: nil, value: { $0 += JournalRecord.stub(0) })
        batch.epochs = 0...0
        try log.writer.commit(batch, positions: [])
        #expect(try all(log, verdicts).map { $0.value?.utf8.count } == [VerdictRecord.bytesMax])
    }

    @Test func `the journal's last epoch is found behind many markers, and a foreign record is corrupt`() throws {
        let log = try log()
        defer { log.close() }
        try makeTopics(log)
        try log.writer.takeOwnership()
        for epoch in 0...40 as ClosedRange<Int64> {
            try log.writer.commit(batch(epochs: epoch...epoch, values: []), positions: [])
        }
        #expect(try log.writer.lastJournalEpoch() == 40)
        var foreign = OutputBatch(topics: [journal])
        foreign.append(topic: 0, key: nil, value: { $0.append(contentsOf: "hello".utf8) })
        try log.append(foreign)
        #expect(#expect(throws: LogError.self) { _ = try log.writer.lastJournalEpoch() }?.kind == .corrupt)
    }

    @Test func `who reads on from the end of the journal fetches it no further`() throws {
        let log = try log()
        defer { log.close() }
        try makeTopics(log)
        try log.writer.takeOwnership()
        try log.writer.commit(batch(epochs: 0...3, values: ["a"]), positions: [])
        #expect(log.writerQuestions.readingAhead == [])
        #expect(try log.writer.lastJournalEpoch() == 3)
        #expect(log.writerQuestions.readingAhead == [])
        #expect(try all(log, journal).count > 3)
        #expect(log.questions.readingAhead == [KafkaPartition(journal, 0)])
        let source = SourcePosition(source: TopicPartition(input, 0), next: 0)
        try log.assign([source])
        #expect(log.questions.readingAhead == [])
        // Questions are answered all the same, and the journal can be read again.
        #expect(log.areEnds([source]) == [true])
        try log.writer.commit(batch(epochs: 4...4, values: []), positions: [])
        #expect(try all(log, journal).count > 4)
    }

    @Test func `a record above the limit refuses the commit and says what to raise`() throws {
        let log = try log()
        defer { log.close() }
        try makeTopics(log)
        try log.writer.takeOwnership()
        let error = #expect(throws: LogError.self) {
            try log.writer.commit(
                batch(epochs: 0...0, values: [String(repeating: "x", count: 2_000_000)]),
                positions: []
            )
        }
        #expect(error?.kind == .refused)
        #expect(error?.message.contains("message.max.bytes") == true)
        try log.writer.commit(batch(epochs: 0...0, values: ["short"]), positions: [])
        #expect(try all(log, verdicts).map(\.value) == ["short"])
    }

    @Test func `ranges of several partitions are read side by side, and a deleted one is out of range`() throws {
        let log = try log()
        defer { log.close() }
        try makeTopics(log)
        try log.writer.takeOwnership()
        var expected: [[Int64]] = [[], []]
        for round in 0..<20 {
            var records = OutputBatch(topics: [input])
            for number in 0..<10 {
                records.append(topic: 0, key: { $0.append(UInt8(number)) }, value: { $0.append(UInt8(round)) })
            }
            try log.writer.commit(records, positions: [])
        }
        let ends = try (0...1).map { try settledEnd(log, TopicPartition(input, $0)) }
        for partition in 0...1 {
            try log.read(TopicPartition(input, Int32(partition)), from: 0, to: ends[partition]) { record, _ in
                expected[partition].append(record.offset)
                return true
            }
        }
        #expect(expected[0].count + expected[1].count == 200)
        var seen: [[Int64]] = [[], []]
        var at: [Int64] = [0, 0]
        while at != ends {
            for partition in 0...1 {
                let to = min(at[partition] + 7, ends[partition])
                try log.read(TopicPartition(input, Int32(partition)), from: at[partition], to: to) { record, _ in
                    seen[partition].append(record.offset)
                    return true
                }
                at[partition] = to
            }
        }
        #expect(seen == expected)
        let admin = try AdminClient(TestBroker.configuration())
        defer { admin.close() }
        try admin.deleteRecords(before: [KafkaOffset(KafkaPartition(input, 0), 5)])
        let error = #expect(throws: LogError.self) {
            try log.read(TopicPartition(input, 0), from: 0, to: 3) { _, _ in true }
        }
        #expect(error?.kind == .outOfRange)
    }

    @Test func `nobody listens, wrong password, missing right, unknown topic: each says what to do`() throws {
        let nobody = try log(
            { $0.connectMilliseconds = 1500 },
            configuration: KafkaConfiguration(["bootstrap.servers": "127.0.0.1:1"])
        )
        let unreachable = #expect(throws: LogError.self) { try nobody.writer.takeOwnership() }
        #expect(unreachable?.kind == .unreachable)
        #expect(unreachable?.message.contains("Check bootstrap.servers") == true, "\(unreachable?.message ?? "")")

        let wrong = try log(configuration: TestBroker.guardedConfiguration(user: "weir", password: "wrong"))
        let began = Date()
        let refused = #expect(throws: LogError.self) { _ = try wrong.partitions(of: "x") }
        #expect(refused?.kind == .notAuthorised)
        #expect(refused?.message.contains("sasl.password") == true, "\(refused?.message ?? "")")
        #expect(Date().timeIntervalSince(began) < 8)

        let poor = try log(configuration: TestBroker.guardedConfiguration(user: "weir", password: "weir-secret"))
        defer { poor.close() }
        let forbidden = #expect(throws: LogError.self) { try poor.writer.takeOwnership() }
        #expect(forbidden?.kind == .notAuthorised)
        #expect(
            forbidden?.message.contains("transactional ids that begin with '\(application)'") == true,
            "\(forbidden?.message ?? "")"
        )

        let plain = try log()
        defer { plain.close() }
        let unknown = #expect(throws: LogError.self) {
            try plain.assign([SourcePosition(source: TopicPartition("nowhere", 0), next: 0)])
        }
        #expect(unknown?.kind == .refused)
        #expect(throws: LogError.self) {
            _ = try log(configuration: KafkaConfiguration(["bootstrap.servers": "x", "bootstrap.serverz": "y"]))
        }
    }
}
