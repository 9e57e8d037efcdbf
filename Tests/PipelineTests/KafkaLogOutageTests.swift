import Foundation
import KafkaClient
import KafkaTestBroker
import Synchronization
import Testing
import Waiting

@testable import Pipeline

/// A broker of one's own that dies under commits and comes back.
@Suite(.serialized, .enabled(if: TestBroker.isAvailable, "\(TestBroker.absence)"))
struct KafkaLogOutageTests {
    private let topic = TestBroker.unique("outage")
    private let journal = "journal"
    private let input = TopicPartition("input", 0)
    private let application = TestBroker.unique("killed")
    /// How long a commit waits for its answer.
    private static let callMilliseconds = 2000

    private func open(_ address: String) throws -> KafkaLog {
        var options = KafkaLog.Options(application: application)
        options.journalTopic = journal
        // A broker that starts again on a busy machine takes its time.
        options.connectMilliseconds = 30_000
        options.callMilliseconds = Self.callMilliseconds
        return try KafkaLog(configuration: KafkaConfiguration(["bootstrap.servers": address]), options: options)
    }

    /// As a worker starts: makes sure of its topics, where a coordinator that restarted may have left transactions open, and takes
    /// ownership, which ends those.
    private func start(_ address: String) throws -> KafkaLog {
        let log = try open(address)
        try log.create([
            TopicRequirement(name: journal, partitions: 1), TopicRequirement(name: topic, partitions: 2),
            TopicRequirement(name: input.topic, partitions: 1),
        ])
        try log.writer.takeOwnership()
        try log.assign([SourcePosition(source: input, next: 0)])
        return log
    }

    private func batch(_ epoch: Int64) -> OutputBatch {
        var batch = OutputBatch(topics: [topic, journal])
        batch.append(topic: 0, key: { $0.append(1) }, value: { $0.append(contentsOf: "\(epoch)".utf8) })
        batch.append(topic: 1, key: nil, value: { $0 += JournalRecord.stub(epoch) })
        batch.epochs = epoch...epoch
        return batch
    }

    /// What the one who kills sees of the one who commits.
    private final class Progress: Sendable {
        let committed = Atomic<Int64>(0)
        /// The epoch of the commit under way; 0: none is.
        let underWay = Atomic<Int64>(0)
        let failures = Atomic<Int>(0)
        let isRestarted = Atomic<Bool>(false)
        /// Why no commit can be said to have met the outage.
        let trouble = Mutex("the broker was not killed")

        /// Kills the broker once commits have succeeded, until one of them has met the outage.
        func kill(_ folder: String) {
            defer { isRestarted.store(true, ordering: .releasing) }
            guard Waiting.until({ committed.load(ordering: .acquiring) >= 3 }) else { return }
            do { try TestBroker.control("kill", folder, ["1"]) } catch { return trouble.withLock { $0 = "\(error)" } }
            // It failed, or it takes longer than an attempt may. What an attempt of unknown outcome comes to is not the same in
            // each run: the same commit goes on, is repeated, or is fenced.
            let hasMet = Waiting.until {
                let epoch = underWay.load(ordering: .acquiring)
                return failures.load(ordering: .acquiring) > 0
                    || epoch > 0
                        && Waiting.holds(seconds: 2.5 * Double(KafkaLogOutageTests.callMilliseconds) / 1000) {
                            underWay.load(ordering: .acquiring) == epoch && failures.load(ordering: .acquiring) == 0
                        }
            }
            trouble.withLock { $0 = hasMet ? "" : "no commit met the outage" }
            do { try TestBroker.control("restart", folder, ["1"]) } catch { trouble.withLock { $0 = "\(error)" } }
        }
    }

    @Test func `a broker killed under commits comes back and nothing is lost, torn or doubled`() throws {
        let broker = try TestBroker.own()
        var log = try start(broker.address)
        // Epoch 0 has nothing to say: the others are numbered as their input positions.
        var first = OutputBatch(topics: [journal])
        first.append(topic: 0, key: nil, value: { $0 += JournalRecord.stub(0) })
        first.epochs = 0...0
        try log.writer.commit(first, positions: [])
        let progress = Progress()
        let killer = Thread { progress.kill(broker.directory) }
        killer.start()
        var epoch: Int64 = 1
        let began = Date()
        // Until an epoch that was begun after the restart is committed.
        var isOver = false
        while !isOver {
            let isRestarted = progress.isRestarted.load(ordering: .acquiring)
            progress.underWay.store(epoch, ordering: .releasing)
            let error = logError {
                try log.writer.commit(batch(epoch), positions: [SourcePosition(source: input, next: epoch)])
            }
            progress.underWay.store(0, ordering: .releasing)
            guard let error else {
                progress.committed.store(epoch, ordering: .releasing)
                epoch += 1
                isOver = isRestarted
                continue
            }
            progress.failures.add(1, ordering: .releasing)
            if Date().timeIntervalSince(began) > Waiting.limit { throw error }
            if error.kind == .transient { continue }
            guard error.kind == .fenced else { throw error }
            // Away for longer than a transaction may last, the broker ends it as it would a zombie's: the worker
            // stops, and whoever watches it starts it again.
            log.close()
            log = try start(broker.address)
            epoch = try (log.writer.lastJournalEpoch() ?? 0) + 1
        }
        #expect(progress.trouble.withLock { $0 } == "")
        try check(log, upTo: epoch - 1)
        log.close()
        try TestBroker.control("stop", broker.directory)
    }

    /// Each epoch is in the log once, and input flows.
    private func check(_ log: KafkaLog, upTo last: Int64) throws {
        #expect(try log.writer.lastJournalEpoch() == last)
        #expect(try log.committedPositions(of: [input]).first?.next == last)
        for (name, count) in [(topic, 2), (journal, 1)] as [(String, Int32)] {
            // What a broker that has just come back says of a partition's end may be too low for a moment.
            var found: [Int64] = []
            try Waiting.until {
                found = try epochs(log, name, count)
                return found.count >= (name == journal ? last + 1 : last)
            }
            #expect(found == Array((name == journal ? 0 : 1)...last), "\(name)")
        }
        var records = OutputBatch(topics: [input.topic])
        records.append(topic: 0, key: nil, value: { $0.append(7) })
        try log.append(records)
        #expect(try drain(log, source: 0, count: 1).map(\.value) == [[7]])
    }

    /// The epochs whose records a topic has, in order.
    private func epochs(_ log: KafkaLog, _ name: String, _ count: Int32) throws -> [Int64] {
        var found: [Int64] = []
        for partition in 0..<count {
            let source = TopicPartition(name, partition)
            try log.read(source, from: 0, to: log.bounds(of: source).end) { record, _ in
                guard let value = record.value else { return true }
                found.append(
                    name == journal
                        ? (try? JournalRecord(bytes: [UInt8](value)))?.epoch ?? -1
                        : Int64(String(decoding: value, as: UTF8.self)) ?? -1
                )
                return true
            }
        }
        return found.sorted()
    }

    @Test func `a log whose broker is away says of no partition that it ends`() throws {
        let broker = try TestBroker.own()
        let log = try open(broker.address)
        defer { log.close() }
        try log.create([TopicRequirement(name: input.topic, partitions: 1)])
        let end = SourcePosition(source: input, next: 0)
        #expect(log.areEnds([end]) == [true])
        try TestBroker.control("kill", broker.directory, ["1"])
        #expect(log.areEnds([end]) == [false])
        try TestBroker.control("restart", broker.directory, ["1"])
        Waiting.until { log.areEnds([end]) == [true] }
        #expect(log.areEnds([end]) == [true])
        try TestBroker.control("stop", broker.directory)
    }
}
