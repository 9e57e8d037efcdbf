import Glibc
import KafkaClient
import KafkaTestBroker
import Pipeline
import Testing
import Waiting

/// One log under the shared suite: how to open it, as often as a test likes, over the same stored content.
struct LogCase: Sendable, CustomTestStringConvertible {
    var name: String
    var make: @Sendable () throws -> any LogFixture
    var testDescription: String { name }

    init(_ name: String, make: @escaping @Sendable () throws -> any LogFixture) {
        self.name = name
        self.make = make
    }
}

/// Content that outlives its handles; cleaned up when it goes.
protocol LogFixture: AnyObject {
    /// A name for a topic nobody else uses.
    func topic(_ name: String) -> String
    /// Opens a handle as a restarted process would; nothing is owned yet.
    func open() throws -> any EventLog
    /// Waits until readers see what has been committed to a partition.
    func settle(_ source: TopicPartition, of log: any EventLog) throws
    /// Whether taking ownership alone fences a former owner that has become doubtful of its connection, before anything new is in
    /// the journal.
    var fencesByOwnership: Bool { get }
}

/// Logs whose commits are seen at once.
extension LogFixture {
    func settle(_ source: TopicPartition, of log: any EventLog) throws {}
    var fencesByOwnership: Bool { true }
}

extension LogFixture {
    /// Everything committed to a partition.
    func readAll(_ log: any EventLog, _ source: TopicPartition) throws -> [Copied] {
        try settle(source, of: log)
        return try PipelineTests.readAll(log, source)
    }

    /// Opens a handle that owns the application from here on.
    func own() throws -> (log: any EventLog, writer: any LogWriter) {
        let log = try open()
        return (log, try log.takeOwnership())
    }
}

/// A record copied out of a log.
struct Copied: Equatable {
    var offset: Int64
    var key: [UInt8]?
    var value: [UInt8]?
    var headers: [String] = []
}

func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

extension OutputBatch {
    mutating func add(_ topic: Int, key: String?, value: String?, headers: [(String, [UInt8])] = []) {
        append(
            topic: topic,
            key: key.map { key in { $0 += Array(key.utf8) } },
            value: value.map { value in { $0 += Array(value.utf8) } },
            headers: headers
        )
    }
}

/// Polls one source until it has given `count` records.
func drain(_ log: any EventLog, source: Int, count: Int, limit: Int = 100, withHeaders: Bool = false) throws -> [Copied]
{
    var got: [Copied] = []
    try Waiting.until {
        let next = try log.poll(source: source, limit: limit, withHeaders: withHeaders) { record in
            got.append(
                Copied(
                    offset: record.offset,
                    key: record.key.map { [UInt8]($0) },
                    value: record.value.map { [UInt8]($0) },
                    headers: record.headers.map {
                        "\(String(decoding: $0.name, as: UTF8.self))="
                            + ($0.value.map { String(decoding: $0, as: UTF8.self) } ?? "")
                    }
                )
            )
            return true
        }
        if let last = got.last { #expect(next > last.offset, "the next offset lies behind what was lent") }
        if got.count >= count { return true }
        try log.wait(milliseconds: 50)
        return false
    }
    return got
}

func readAll(_ log: any EventLog, _ source: TopicPartition) throws -> [Copied] {
    let edges = try log.bounds(of: source)
    var got: [Copied] = []
    try log.read(source, from: edges.start, to: edges.end) { record, headers in
        got.append(
            Copied(
                offset: record.offset,
                key: record.key.map { [UInt8]($0) },
                value: record.value.map { [UInt8]($0) },
                headers: headers.map { "\($0)=\(String(decoding: $1, as: UTF8.self))" }
            )
        )
        return true
    }
    return got
}

func logError(_ body: () throws -> Void) -> LogError? {
    do { try body() } catch { return error as? LogError }
    return nil
}

/// What every log promises to the pipeline.
///
/// A new log joins by adding itself to `cases`.
@Suite struct LogsConformance {
    static let cases: [LogCase] =
        [
            LogCase("embedded") { EmbeddedFixture() },
            LogCase("simulated") { SimulatedFixture(markers: false) },
            LogCase("simulated with transaction markers") { SimulatedFixture(markers: true) },
        ] + (TestBroker.isAvailable ? [LogCase("Kafka") { KafkaFixture() }] : [])

    /// Skipped, in the report, where the cases lack it.
    @Test(.enabled(if: TestBroker.isAvailable, "\(TestBroker.absence)"))
    func `Kafka keeps these promises too`() { #expect(LogsConformance.cases.contains { $0.name == "Kafka" }) }

    @Test(arguments: cases)
    func `topics are made once and list their partitions`(_ logCase: LogCase) throws {
        let fixture = try logCase.make()
        let log = try fixture.open()
        let name = fixture.topic("orders")
        #expect(try log.partitions(of: name) == nil)
        try log.create([TopicRequirement(name: name, partitions: 3)])
        try log.create([TopicRequirement(name: name, partitions: 5)])
        #expect(try log.partitions(of: name) == [0, 1, 2])
        let edges = try log.bounds(of: TopicPartition(name, 2))
        #expect(edges.start == 0 && edges.end == 0)
        log.close()
        log.close()
    }

    @Test(arguments: cases)
    func `a commit is read back in order with keys, tombstones, empty values and headers`(_ logCase: LogCase) throws {
        let fixture = try logCase.make()
        let (log, writer) = try fixture.own()
        let name = fixture.topic("verdicts")
        try log.create([TopicRequirement(name: name, partitions: 1)])
        var batch = OutputBatch(topics: [name])
        batch.add(0, key: "a", value: "first", headers: [("ce_id", bytes("1")), ("empty", [])])
        batch.add(0, key: nil, value: "")
        batch.add(0, key: "", value: nil, headers: [("gone", bytes("yes"))])
        batch.add(0, key: "b", value: "\u{0}ÿ", headers: [])
        try writer.commit(batch, positions: [])

        let source = TopicPartition(name, 0)
        let copies = try fixture.readAll(log, source)
        #expect(copies.map(\.key) == [bytes("a"), nil, bytes(""), bytes("b")])
        #expect(copies.map(\.value) == [bytes("first"), bytes(""), nil, bytes("\u{0}ÿ")])
        #expect(copies.map(\.headers) == [["ce_id=1", "empty="], [], ["gone=yes"], []])
        #expect(copies.map(\.offset) == copies.map(\.offset).sorted())

        try log.assign([SourcePosition(source: source, next: 0)])
        let polled = try drain(log, source: 0, count: 4, limit: 3)
        #expect(polled.map(\.value) == copies.map(\.value))
        #expect(polled.map(\.key) == copies.map(\.key))
        #expect(polled.map(\.headers) == [[], [], [], []], "nobody asked for headers")
        try log.assign([SourcePosition(source: source, next: 0)])
        let full = try drain(log, source: 0, count: 4, limit: 3, withHeaders: true)
        #expect(full == copies, "a poll with headers lends what a read does")
        log.close()
    }

    @Test(arguments: cases)
    func `a partition ends where its last record was polled, and not before`(_ logCase: LogCase) throws {
        let fixture = try logCase.make()
        let (log, writer) = try fixture.own()
        let source = TopicPartition(fixture.topic("events"), 0)
        try log.create([TopicRequirement(name: source.topic, partitions: 1)])
        let start = SourcePosition(source: source, next: 0)
        #expect(log.areEnds([start]) == [true])
        var batch = OutputBatch(topics: [source.topic])
        for i in 0..<10 { batch.add(0, key: nil, value: "\(i)") }
        try writer.commit(batch, positions: [])
        try fixture.settle(source, of: log)
        #expect(log.areEnds([start]) == [false])
        try log.assign([start])
        var end = start
        try Waiting.until {
            end.next = try log.poll(source: 0, limit: 100) { _ in true }
            if log.areEnds([end]) == [true] { return true }
            try log.wait(milliseconds: 50)
            return false
        }
        #expect(log.areEnds([end, start, end]) == [true, false, true])
        #expect(log.areEnds([SourcePosition(source: TopicPartition("nowhere", 0), next: 0)]) == [false])
    }

    @Test(arguments: cases)
    func `a poll keeps to its limit and goes on where the last one ended`(_ logCase: LogCase) throws {
        let fixture = try logCase.make()
        let (log, writer) = try fixture.own()
        let name = fixture.topic("events")
        try log.create([TopicRequirement(name: name, partitions: 2)])
        var batch = OutputBatch(topics: [name])
        for i in 0..<100 { batch.add(0, key: "k\(i)", value: "\(i)") }
        try writer.commit(batch, positions: [])
        let first = try fixture.readAll(log, TopicPartition(name, 0))
        let second = try fixture.readAll(log, TopicPartition(name, 1))
        #expect(first.count + second.count == 100)
        #expect(min(first.count, second.count) > 20, "keys spread over the partitions")

        let middle = first[10].offset
        try log.assign([
            SourcePosition(source: TopicPartition(name, 1), next: 0),
            SourcePosition(source: TopicPartition(name, 0), next: middle),
        ])
        var seen: [Int64] = []
        var most = 0
        try Waiting.until {
            var count = 0
            _ = try log.poll(source: 1, limit: 7) {
                #expect($0.source == 1)
                seen.append($0.offset)
                count += 1
                // Told to stop, a log lends the rest later.
                return count < 5
            }
            most = max(most, count)
            try log.wait(milliseconds: 20)
            return seen.count >= first.count - 10
        }
        #expect(most <= 5)
        #expect(seen == first.dropFirst(10).map(\.offset))
        #expect(try drain(log, source: 0, count: second.count, limit: 9).map(\.value) == second.map(\.value))
        log.close()
    }

    @Test(arguments: cases)
    func `records of one key stay in one partition and in order`(_ logCase: LogCase) throws {
        let fixture = try logCase.make()
        let (log, writer) = try fixture.own()
        let name = fixture.topic("keyed")
        try log.create([TopicRequirement(name: name, partitions: 3)])
        for round in 0..<3 {
            var batch = OutputBatch(topics: [name])
            for key in ["abc", "21", "foobar"] { batch.add(0, key: key, value: "\(key)\(round)") }
            try writer.commit(batch, positions: [])
        }
        // Partitions of Kafka's default partitioner: murmur2 is 479470107, -973932308 and -790332482 for these keys.
        for (key, hash) in [("abc", 479_470_107), ("21", -973_932_308), ("foobar", -790_332_482)] as [(String, Int32)] {
            let copies = try fixture.readAll(log, TopicPartition(name, (hash & 0x7fff_ffff) % 3))
            #expect(copies.filter { $0.key == bytes(key) }.map(\.value) == (0..<3).map { bytes("\(key)\($0)") })
        }
        log.close()
    }

    @Test(arguments: cases)
    func `a record with a partition of its own goes there, whatever its key`(_ logCase: LogCase) throws {
        let fixture = try logCase.make()
        let (log, writer) = try fixture.own()
        let name = fixture.topic("placed")
        try log.create([TopicRequirement(name: name, partitions: 3)])
        var batch = OutputBatch(topics: [name])
        for i in 0..<30 {
            batch.append(topic: 0, partition: 1, key: { $0 += Array("k\(i)".utf8) }, value: { $0 += [UInt8(i)] })
        }
        try writer.commit(batch, positions: [])
        try log.append(batch)
        #expect(try fixture.readAll(log, TopicPartition(name, 1)).count == 60)
        log.close()
    }

    @Test(arguments: cases)
    func `outputs and positions of a commit come together and survive a restart`(_ logCase: LogCase) throws {
        let fixture = try logCase.make()
        let name = fixture.topic("out")
        let input = fixture.topic("in")
        let source = TopicPartition(input, 0)
        let (log, writer) = try fixture.own()
        try log.create([TopicRequirement(name: name, partitions: 1), TopicRequirement(name: input, partitions: 1)])
        #expect(try log.committedPositions(of: [source]) == [])
        var batch = OutputBatch(topics: [name])
        for i in 0..<5 { batch.add(0, key: nil, value: "\(i)") }
        var inputs = OutputBatch(topics: [input])
        for i in 0..<50 { inputs.add(0, key: nil, value: "\(i)") }
        try writer.commit(inputs, positions: [])
        try writer.commit(batch, positions: [SourcePosition(source: source, next: 17)])
        batch.removeAll()
        batch.add(0, key: nil, value: "5")
        try writer.commit(batch, positions: [SourcePosition(source: source, next: 42)])
        // Without outputs the positions still move.
        batch.removeAll()
        try writer.commit(batch, positions: [SourcePosition(source: source, next: 43)])
        log.close()
        let again = try fixture.open()
        #expect(
            try again.committedPositions(of: [source, TopicPartition(name, 0)]) == [
                SourcePosition(source: source, next: 43)
            ]
        )
        #expect(try fixture.readAll(again, TopicPartition(name, 0)).map(\.value) == (0..<6).map { bytes("\($0)") })
        again.close()
    }

    @Test(arguments: cases)
    func `a commit to an unknown topic is refused and leaves nothing behind`(_ logCase: LogCase) throws {
        let fixture = try logCase.make()
        let (log, writer) = try fixture.own()
        let name = fixture.topic("known")
        try log.create([TopicRequirement(name: name, partitions: 1)])
        var batch = OutputBatch(topics: [name, fixture.topic("unknown")])
        batch.add(0, key: nil, value: "half")
        batch.add(1, key: nil, value: "other half")
        #expect(logError { try writer.commit(batch, positions: []) }?.kind == .refused)
        #expect(try fixture.readAll(log, TopicPartition(name, 0)) == [])
        batch.removeAll()
        batch.add(0, key: nil, value: "whole")
        try writer.commit(batch, positions: [])
        #expect(try fixture.readAll(log, TopicPartition(name, 0)).map(\.value) == [bytes("whole")])
        log.close()
    }

    @Test(arguments: cases)
    func `a second owner fences the first, whose outputs are not seen`(_ logCase: LogCase) throws {
        let fixture = try logCase.make()
        let (first, former) = try fixture.own()
        let name = fixture.topic("fenced")
        let journal = fixture.topic("weir.journal")
        try first.create([
            TopicRequirement(name: name, partitions: 1), TopicRequirement(name: journal, partitions: 1),
        ])
        func batch(_ value: String, epoch: Int64) -> OutputBatch {
            var batch = OutputBatch(topics: [name, journal])
            batch.add(0, key: nil, value: value)
            batch.append(topic: 1, key: nil, value: { $0 += JournalRecord.stub(epoch) })
            batch.epochs = epoch...epoch
            return batch
        }
        try former.commit(batch("by the first", epoch: 0), positions: [])
        let (second, newer) = try fixture.own()
        if fixture.fencesByOwnership {
            #expect(logError { try former.commit(batch("by a zombie", epoch: 1), positions: []) }?.kind == .fenced)
        }
        try newer.commit(batch("by the second", epoch: 1), positions: [])
        for epoch in 1...2 as ClosedRange<Int64> {
            #expect(logError { try former.commit(batch("by a zombie", epoch: epoch), positions: []) }?.kind == .fenced)
        }
        #expect(
            try fixture.readAll(second, TopicPartition(name, 0)).map(\.value) == [
                bytes("by the first"), bytes("by the second"),
            ]
        )
        first.close()
        second.close()
    }

    @Test(arguments: cases)
    func `an epoch that does not follow the newest of the journal is not written, now or by the next owner`(
        _ logCase: LogCase
    ) throws {
        let fixture = try logCase.make()
        var (log, writer) = try fixture.own()
        let name = fixture.topic("next")
        let journal = fixture.topic("weir.journal")
        try log.create([TopicRequirement(name: name, partitions: 1), TopicRequirement(name: journal, partitions: 1)])
        func commit(_ epochs: ClosedRange<Int64>) throws {
            var batch = OutputBatch(topics: [name, journal])
            batch.add(0, key: nil, value: "\(epochs)")
            for epoch in epochs { batch.append(topic: 1, key: nil, value: { $0 += JournalRecord.stub(epoch) }) }
            batch.epochs = epochs
            try writer.commit(batch, positions: [])
        }
        #expect(logError { try commit(1...1) }?.kind == .corrupt)
        try commit(0...1)
        for wrong in [0...0, 1...2, 3...3] as [ClosedRange<Int64>] {
            #expect(logError { try commit(wrong) }?.kind == .corrupt, "\(wrong)")
        }
        try commit(2...2)
        log.close()
        (log, writer) = try fixture.own()
        #expect(logError { try commit(2...2) }?.kind == .corrupt)
        #expect(logError { try commit(4...4) }?.kind == .corrupt)
        try commit(3...3)
        #expect(
            try fixture.readAll(log, TopicPartition(name, 0)).map(\.value)
                == ["0...1", "2...2", "3...3"].map { bytes($0) }
        )
        log.close()
    }

    @Test(arguments: cases)
    func `a position behind the end or an unknown source is an error with a reason`(_ logCase: LogCase) throws {
        let fixture = try logCase.make()
        let log = try fixture.open()
        let name = fixture.topic("short")
        try log.create([TopicRequirement(name: name, partitions: 1)])
        #expect(logError { _ = try log.bounds(of: TopicPartition(fixture.topic("absent"), 0)) }?.kind == .refused)
        #expect(logError { _ = try log.bounds(of: TopicPartition(name, 7)) }?.kind == .refused)
        #expect(
            logError { try log.read(TopicPartition(name, 0), from: 0, to: 3) { _, _ in true } }?.kind == .outOfRange
        )
        log.close()
    }

    @Test(arguments: cases)
    func `a read ends where its body says so`(_ logCase: LogCase) throws {
        let fixture = try logCase.make()
        let (log, writer) = try fixture.own()
        let name = fixture.topic("journal")
        try log.create([TopicRequirement(name: name, partitions: 1)])
        var batch = OutputBatch(topics: [name])
        for i in 0..<10 { batch.add(0, key: nil, value: "\(i)") }
        try writer.commit(batch, positions: [])
        try fixture.settle(TopicPartition(name, 0), of: log)
        var seen = 0
        let end = try log.bounds(of: TopicPartition(name, 0)).end
        try log.read(TopicPartition(name, 0), from: 0, to: end) { _, _ in
            seen += 1
            return seen < 4
        }
        #expect(seen == 4)
        // The next read is not disturbed by the one broken off.
        #expect(try fixture.readAll(log, TopicPartition(name, 0)).count == 10)
        log.close()
    }
}

final class EmbeddedFixture: LogFixture {
    let folder = TemporaryFolder()
    func topic(_ name: String) -> String { name }
    func open() throws -> any EventLog {
        try EmbeddedLog(path: folder.file("weir.db"), application: "marketplace")
    }
}

final class SimulatedFixture: LogFixture {
    let store: SimulatedStore
    init(markers: Bool) { store = SimulatedStore(transactionMarkers: markers) }
    func topic(_ name: String) -> String { name }
    func open() throws -> any EventLog { SimulatedLog(store) }
}

/// The broker is shared by all tests of the process; topics, application and journal are this fixture's own.
final class KafkaFixture: LogFixture {
    private let mark = TestBroker.unique("conformance")

    func topic(_ name: String) -> String { "\(mark)-\(name)" }

    func open() throws -> any EventLog {
        var options = KafkaLog.Options(application: mark)
        options.journalTopic = topic("weir.journal")
        // Also how long a range that is not there is waited for.
        options.connectMilliseconds = 10_000
        return try KafkaLog(configuration: TestBroker.configuration(), options: options)
    }

    /// Markers follow a commit within milliseconds; until then the end that readers are told lies before them.
    func settle(_ source: TopicPartition, of log: any EventLog) throws {
        let admin = try AdminClient(TestBroker.configuration())
        defer { admin.close() }
        let high = try admin.watermarks(of: KafkaPartition(source.topic, source.partition)).high
        let isSettled = try Waiting.until { try log.bounds(of: source).end >= high }
        #expect(isSettled, "nobody has a transaction open on \(source)")
    }

    /// Ids are taken back by a former owner that makes its producers anew, as after a slow commit; the journal then says whether
    /// somebody else has written.
    var fencesByOwnership: Bool { false }
}
