import Foundation
import Glibc
import KafkaClient
import KafkaTestBroker
import Synchronization
import Testing
import Waiting

@testable import Pipeline

/// Requests delayed in the network, on a real broker: with the rule of re-creation every result is exact; without it
/// (the negative control) the same delays tear transactions while every call answers OK.
@Suite(.serialized, .enabled(if: TestBroker.isAvailable, "\(TestBroker.absence)"))
struct KafkaLogDelayTests {
    private let topic = TestBroker.unique("delayed")

    private func setUp(_ broker: TestBroker.Started = TestBroker.plain) throws -> KafkaLogProxy {
        let address = try broker.get().address
        let admin = try AdminClient(KafkaConfiguration(["bootstrap.servers": address]))
        defer { admin.close() }
        try admin.create([AdminClient.NewTopic(topic, partitions: 2)])
        return try KafkaLogProxy(broker: address)
    }

    private func configuration(_ proxy: KafkaLogProxy) -> KafkaConfiguration {
        KafkaConfiguration(["bootstrap.servers": proxy.address, "socket.timeout.ms": "1000"])
    }

    private func producer(_ proxy: KafkaLogProxy, rule: Bool) throws -> TransactionalProducer {
        var options = TransactionalProducer.Options(transactionalIDs: [TestBroker.unique("delayed")])
        options.callMilliseconds = rule ? 5000 : -1
        if !rule { options.slowCallMilliseconds = .infinity }
        let made = try TransactionalProducer(configuration(proxy), options: options)
        try made.initialise()
        return made
    }

    private func write(_ producer: TransactionalProducer, _ value: String, _ partition: Int32) throws {
        let index = producer.topic(named: topic)
        try Array(value.utf8).withUnsafeBytes {
            try producer.produce(topic: index, partition: partition, key: nil, value: $0)
        }
    }

    /// What a reader of committed records sees, partition by partition, once all transactions have their markers; with `isLeftOpen`
    /// one never gets them, and all the reader can do is to wait a while for what should not come.
    private func visible(
        _ broker: TestBroker.Started = TestBroker.plain,
        isLeftOpen: Bool = false
    ) throws -> [String] {
        var options = KafkaLog.Options(application: TestBroker.unique("reader"))
        options.journalTopic = "none"
        let log = try KafkaLog(
            configuration: KafkaConfiguration(["bootstrap.servers": broker.get().address]),
            options: options
        )
        defer { log.close() }
        let admin = try AdminClient(KafkaConfiguration(["bootstrap.servers": broker.get().address]))
        defer { admin.close() }
        var found: [String] = []
        for partition in 0...1 as ClosedRange<Int32> {
            let source = TopicPartition(topic, partition)
            let high = try admin.watermarks(of: KafkaPartition(topic, partition)).high
            try Waiting.until(seconds: isLeftOpen ? 0.5 : Waiting.limit) { try log.bounds(of: source).end >= high }
            try log.read(source, from: 0, to: log.bounds(of: source).end) { record, _ in
                found.append(record.value.map { String(decoding: $0, as: UTF8.self) } ?? "-")
                return true
            }
        }
        return found
    }

    @Test(arguments: [true, false])
    func `A: a delayed commit does not commit a later transaction that aborts`(rule: Bool) throws {
        let proxy = try setUp()
        defer { proxy.close() }
        let producer = try producer(proxy, rule: rule)
        defer { producer.close() }
        try producer.begin()
        try write(producer, "first", 0)
        proxy.arm(KafkaLogProxy.Api.endTransaction, .hold)
        #expect(producer.commit() == .committed)
        #expect(proxy.heldCount == 1)
        #expect(producer.isSuspect == rule)
        try producer.begin()
        try write(producer, "aborted", 0)
        try producer.flush()
        proxy.release()
        try write(producer, "aborted too", 1)
        try producer.flush()
        try producer.abort()
        #expect(try visible() == (rule ? ["first"] : ["first", "aborted"]))
    }

    @Test(arguments: [true, false])
    func `B: a delayed abort does not abort a later transaction that commits`(rule: Bool) throws {
        let proxy = try setUp()
        defer { proxy.close() }
        let producer = try producer(proxy, rule: rule)
        defer { producer.close() }
        try producer.begin()
        try write(producer, "aborted", 0)
        try producer.flush()
        proxy.arm(KafkaLogProxy.Api.endTransaction, .hold)
        try producer.abort()
        #expect(proxy.heldCount == 1)
        try producer.begin()
        try write(producer, "one", 0)
        try producer.flush()
        proxy.release()
        try write(producer, "two", 1)
        #expect(producer.commit() == .committed)
        #expect(try visible() == (rule ? ["one", "two"] : ["two"]))
    }

    /// Without the rule too: the client hears of what happened, but only after a reader has seen what was to be undone.
    @Test(arguments: [true, false])
    func `C: a commit that is asked for again, and delayed, does not commit a later transaction`(rule: Bool) throws {
        let proxy = try setUp()
        defer { proxy.close() }
        let producer = try producer(proxy, rule: rule)
        defer { producer.close() }
        try producer.begin()
        try write(producer, "first", 0)
        proxy.arm(KafkaLogProxy.Api.endTransaction, .cut)
        #expect(producer.commit() == .committed)
        #expect(proxy.heldCount == 1)
        #expect(producer.isSuspect == rule)
        try producer.begin()
        try write(producer, "aborted", 0)
        try producer.flush()
        proxy.release()
        let failure = Result { try producer.abort() }
        #expect(try visible() == (rule ? ["first"] : ["first", "aborted"]))
        if case .failure = failure { #expect(!rule) } else { #expect(rule) }
    }

    @Test(arguments: [true, false])
    func `D: a delayed commit does not commit a later transaction before it has ended`(rule: Bool) throws {
        let proxy = try setUp()
        defer { proxy.close() }
        let producer = try producer(proxy, rule: rule)
        defer { producer.close() }
        try producer.begin()
        try write(producer, "first", 0)
        proxy.arm(KafkaLogProxy.Api.endTransaction, .hold)
        #expect(producer.commit() == .committed)
        try producer.begin()
        try write(producer, "one", 0)
        try producer.flush()
        proxy.release()
        if !rule { #expect(try visible() == ["first", "one"]) }
        try write(producer, "two", 0)
        let outcome = producer.commit()
        #expect((outcome == .committed) == rule, "\(outcome)")
        if rule { #expect(try visible() == ["first", "one", "two"]) }
    }

    @Test(arguments: [true, false])
    func `E: delayed positions do not set later ones back`(rule: Bool) throws {
        let proxy = try setUp()
        defer { proxy.close() }
        let producer = try producer(proxy, rule: rule)
        defer { producer.close() }
        let consumer = try Consumer(TestBroker.configuration(["group.id": TestBroker.unique("delayed")]))
        defer { consumer.close() }
        let source = KafkaPartition(topic, 0)
        try consumer.assign([KafkaOffset(source, 0)])
        try producer.begin()
        try write(producer, "first", 0)
        proxy.arm(KafkaLogProxy.Api.offsetCommit, .hold)
        #expect(producer.commit(offsets: [KafkaOffset(source, 5)], consumer: consumer) == .committed)
        #expect(proxy.heldCount == 1)
        try producer.begin()
        try write(producer, "second", 0)
        proxy.release(before: KafkaLogProxy.Api.endTransaction)
        #expect(producer.commit(offsets: [KafkaOffset(source, 10)], consumer: consumer) == .committed)
        let wanted = [KafkaOffset(source, rule ? 10 : 5)]
        try Waiting.until { try consumer.committed([source]) == wanted }
        #expect(try Waiting.holds(seconds: 0.3) { try consumer.committed([source]) == wanted })
    }

    /// Runs a test on a log behind the proxy, with a journal of its own, whose commits give up waiting after half a
    /// second.
    private func withLog(
        _ broker: TestBroker.Started = TestBroker.plain,
        _ body: (KafkaLog, KafkaLogProxy, String) throws -> Void
    ) throws {
        let proxy = try setUp(broker)
        defer { proxy.close() }
        let journal = TestBroker.unique("journal")
        var options = KafkaLog.Options(application: TestBroker.unique("unknown"))
        options.journalTopic = journal
        options.callMilliseconds = 500
        let log = try KafkaLog(
            configuration: KafkaConfiguration(["bootstrap.servers": proxy.address]),
            options: options
        )
        defer { log.close() }
        try log.create([TopicRequirement(name: journal, partitions: 1)])
        try log.writer.takeOwnership()
        try log.writer.commit(first(journal), positions: [])
        try body(log, proxy, journal)
    }

    /// Epoch 0, which has nothing to say: the tests count from 1.
    private func first(_ journal: String) -> OutputBatch {
        var batch = OutputBatch(topics: [journal])
        batch.append(topic: 0, key: nil, value: { $0 += JournalRecord.stub(0) })
        batch.epochs = 0...0
        return batch
    }

    private func batch(_ epoch: Int64, journal: String) -> OutputBatch {
        var batch = OutputBatch(topics: [topic, journal])
        batch.append(topic: 0, key: { $0.append(1) }, value: { $0.append(contentsOf: "\(epoch)".utf8) })
        batch.append(topic: 1, key: nil, value: { $0 += JournalRecord.stub(epoch) })
        batch.epochs = epoch...epoch
        return batch
    }

    @Test func `a commit whose answer is lost is found in the journal and not written twice`() throws {
        try withLog { log, proxy, journal in
            try log.writer.commit(batch(1, journal: journal), positions: [])
            proxy.arm(KafkaLogProxy.Api.endTransaction, .dropAnswer)
            try log.writer.commit(batch(2, journal: journal), positions: [])
            #expect(log.writer.recreations == 1)
            try log.writer.commit(batch(3, journal: journal), positions: [])
            #expect(try log.writer.lastJournalEpoch() == 3)
            #expect(try visible().sorted() == ["1", "2", "3"])
        }
    }

    @Test
    func
        `a commit that never arrives is not in the journal and is written again, and its late arrival changes nothing`()
        throws
    {
        try withLog { log, proxy, journal in
            try log.writer.commit(batch(1, journal: journal), positions: [])
            proxy.arm(KafkaLogProxy.Api.endTransaction, .hold)
            try log.writer.commit(batch(2, journal: journal), positions: [])
            #expect(proxy.heldCount == 1)
            proxy.release()
            try log.writer.commit(batch(3, journal: journal), positions: [])
            #expect(try log.writer.lastJournalEpoch() == 3)
            #expect(try visible().sorted() == ["1", "2", "3"])
        }
    }

    @Test func `a worker that makes its producers anew stops when another has written meanwhile`() throws {
        try withLog { former, proxy, journal in
            try former.writer.commit(batch(1, journal: journal), positions: [])
            // The decision of this commit is held, its outcome is learnt, and from then on the former owner is alone again.
            proxy.arm(KafkaLogProxy.Api.endTransaction, .hold)
            try former.writer.commit(batch(2, journal: journal), positions: [])
            var options = former.options
            options.callMilliseconds = 5000
            let newer = try KafkaLog(configuration: TestBroker.configuration(), options: options)
            defer { newer.close() }
            try newer.writer.takeOwnership()
            try newer.writer.commit(batch(3, journal: journal), positions: [])
            // Lost answers make the former owner think that only its network is bad.
            proxy.arm(KafkaLogProxy.Api.endTransaction, .hold)
            let error = #expect(throws: LogError.self) {
                try former.writer.commit(batch(3, journal: journal), positions: [])
            }
            #expect(error?.kind == .fenced)
            #expect(try visible().sorted() == ["1", "2", "3"])
        }
    }

    @Test func `a worker whose slow commit made it suspect looks before it writes, and finds the newer owner's epoch`()
        throws
    {
        let proxy = try setUp()
        defer { proxy.close() }
        let journal = TestBroker.unique("journal")
        var options = KafkaLog.Options(application: TestBroker.unique("suspect"))
        options.journalTopic = journal
        let former = try KafkaLog(configuration: configuration(proxy), options: options)
        defer { former.close() }
        try former.create([TopicRequirement(name: journal, partitions: 1)])
        try former.writer.takeOwnership()
        try former.writer.commit(first(journal), positions: [])
        let before = former.writer.recreations
        // The answer is lost once, librdkafka asks again by itself and the commit answers OK, late.
        proxy.arm(KafkaLogProxy.Api.endTransaction, .dropAnswer)
        try former.writer.commit(batch(1, journal: journal), positions: [])
        #expect(former.writer.recreations == before)
        let newer = try KafkaLog(configuration: TestBroker.configuration(), options: options)
        defer { newer.close() }
        try newer.writer.takeOwnership()
        try newer.writer.commit(batch(2, journal: journal), positions: [])
        let error = #expect(throws: LogError.self) {
            try former.writer.commit(batch(2, journal: journal), positions: [])
        }
        #expect(error?.kind == .fenced)
        #expect(error?.message.contains("has written epoch 2") == true, "\(error?.message ?? "")")
        #expect(former.writer.recreations > before)
        #expect(try visible().sorted() == ["1", "2"])
    }

    /// Of the newer owner's epoch by its topology's name: one that differs from ours, and one that is the same byte for byte.
    @Test(arguments: ["another", "stub"])
    func `an epoch of the same number by who took over meanwhile is not taken for our own`(topology: String) throws {
        let proxy = try setUp()
        defer { proxy.close() }
        let journal = TestBroker.unique("journal")
        var options = KafkaLog.Options(application: TestBroker.unique("same"))
        options.journalTopic = journal
        // Given up before the client asks again by itself, which would tell of the newer owner.
        options.callMilliseconds = 3000
        let former = try KafkaLog(
            configuration: KafkaConfiguration(["bootstrap.servers": proxy.address]),
            options: options
        )
        defer { former.close() }
        try former.create([TopicRequirement(name: journal, partitions: 1)])
        let owned = try former.takeOwnership()
        try owned.commit(first(journal), positions: [])
        try owned.commit(batch(1, journal: journal), positions: [])
        // While the decision is held, another takes over and commits its own epoch of this number.
        proxy.arm(KafkaLogProxy.Api.endTransaction, .hold)
        let newer = try KafkaLog(configuration: TestBroker.configuration(), options: options)
        defer { newer.close() }
        let topic = topic
        let took = Mutex<Result<Void, any Error>?>(nil)
        // The thread is the only one that uses it until it has said what it took.
        nonisolated(unsafe) let other = newer
        let takeover = Thread {
            let result = Result {
                Waiting.until { proxy.heldCount == 1 }
                var batch = OutputBatch(topics: [topic, journal])
                batch.append(topic: 0, key: { $0.append(1) }, value: { $0 += Array("2 of the newer".utf8) })
                batch.append(topic: 1, key: nil, value: { $0 += JournalRecord.stub(2, topology: topology) })
                batch.epochs = 2...2
                try other.takeOwnership().commit(batch, positions: [])
            }
            took.withLock { $0 = result }
        }
        takeover.start()
        let error = logError { try owned.commit(batch(2, journal: journal), positions: []) }
        Waiting.until { took.withLock { $0 != nil } }
        let hasTaken = took.withLock { if case .success = $0 { true } else { false } }
        // Whichever came first: on a slow machine the former may have the ids back before the newer has written.
        #expect(error?.kind == (hasTaken ? .fenced : nil))
        #expect(try visible().sorted() == ["1", hasTaken ? "2 of the newer" : "2"])
    }

    @Test func `what a transaction given up may have left open is ended before the next, and leaves nothing to see`()
        throws
    {
        let admin = try AdminClient(TestBroker.configuration())
        defer { admin.close() }
        try admin.create([AdminClient.NewTopic(topic, partitions: 2)])
        var options = TransactionalProducer.Options(transactionalIDs: ["a", "b"].map { "\(topic)-\($0)" })
        options.trackedTopic = topic
        let producer = try TransactionalProducer(TestBroker.configuration(), options: options)
        defer { producer.close() }
        try producer.initialise()
        #expect(!producer.needsSweep)
        try producer.begin()
        try write(producer, "given up", 0)
        try producer.flush()
        try write(producer, "given up too", 1)
        producer.discard()
        try producer.recreate()
        #expect(producer.needsSweep)
        let ends = try producer.sweep()
        // The second record may or may not have been sent.
        #expect(ends.contains { $0.partition == KafkaPartition(topic, 0) && $0.offset >= 2 })
        #expect(producer.needsSweep)
        producer.didSweep()
        #expect(!producer.needsSweep)
        try producer.begin()
        try write(producer, "one", 0)
        #expect(producer.commit() == .committed)
        #expect(try visible() == ["one"])
        _ = try producer.probe(topic: topic, partition: 1)
        // One of each id.
        #expect(try visible() == ["one", "-", "-"])
    }

    /// Where a batch of epoch `n` says that the input was read up to `n`.
    private var input: TopicPartition { TopicPartition(topic, 0) }

    /// Commits a batch whose records or positions the coordinator does not know of, and so leaves open.
    private func commitLeftOpen(_ log: KafkaLog, _ proxy: KafkaLogProxy, _ api: Int16, journal: String) throws {
        proxy.pretend(api, true)
        defer { proxy.pretend(api, false) }
        try log.writer.commit(batch(2, journal: journal), positions: [SourcePosition(source: input, next: 2)])
    }

    @Test func `what a coordinator left open of a decided commit is ended before one given up is swept`() throws {
        try withLog(TestBroker.trusting) { log, proxy, journal in
            try log.writer.commit(batch(1, journal: journal), positions: [])
            try commitLeftOpen(log, proxy, KafkaLogProxy.Api.addPartitions, journal: journal)
            // The control: nobody sees it, though it is committed.
            #expect(try visible(TestBroker.trusting, isLeftOpen: true) == ["1"])
            let before = log.writer.recreations
            proxy.arm(KafkaLogProxy.Api.offsetCommit, .hold)
            try log.writer.commit(batch(3, journal: journal), positions: [SourcePosition(source: input, next: 3)])
            #expect(log.writer.recreations > before)
            let seen = try visible(TestBroker.trusting)
            #expect(seen.filter { $0 != "-" } == ["1", "2", "3"])
            // One tombstone: the other id's, in the place that was open.
            #expect(seen.filter { $0 == "-" }.count == 1)
            #expect(try log.writer.lastJournalEpoch() == 3)
            #expect(try log.committedPositions(of: [input]).first?.next == 3)
        }
    }

    @Test(arguments: [KafkaLogProxy.Api.addPartitions, KafkaLogProxy.Api.addOffsets])
    func `a worker that starts ends what a coordinator left open of the last commit`(api: Int16) throws {
        try withLog(TestBroker.trusting) { former, proxy, journal in
            try former.writer.commit(batch(1, journal: journal), positions: [SourcePosition(source: input, next: 1)])
            try commitLeftOpen(former, proxy, api, journal: journal)
            // The controls: the records are not seen, the positions not told.
            if api == KafkaLogProxy.Api.addPartitions {
                #expect(try visible(TestBroker.trusting, isLeftOpen: true) == ["1"])
            } else {
                var options = former.options
                options.connectMilliseconds = 1500
                let asking = try KafkaLog(configuration: configuration(proxy), options: options)
                defer { asking.close() }
                #expect(throws: LogError.self) { try asking.committedPositions(of: [input]) }
            }
            let newer = try KafkaLog(configuration: configuration(proxy), options: former.options)
            defer { newer.close() }
            try newer.create([TopicRequirement(name: topic, partitions: 2)])
            try newer.writer.takeOwnership()
            #expect(try newer.writer.lastJournalEpoch() == 2)
            #expect(try newer.committedPositions(of: [input]).first?.next == 2)
            #expect(try visible(TestBroker.trusting).filter { $0 != "-" } == ["1", "2"])
            try newer.writer.commit(batch(3, journal: journal), positions: [SourcePosition(source: input, next: 3)])
            #expect(try visible(TestBroker.trusting).filter { $0 != "-" } == ["1", "2", "3"])
        }
    }

    @Test func `a connection that breaks between two commits makes the producers suspect`() throws {
        try withLog { log, proxy, journal in
            try log.writer.commit(batch(1, journal: journal), positions: [])
            let before = log.writer.recreations
            try log.writer.commit(batch(2, journal: journal), positions: [])
            #expect(log.writer.recreations == before)
            proxy.cut()
            try log.writer.commit(batch(3, journal: journal), positions: [])
            #expect(log.writer.recreations == before + 1)
            #expect(try visible() == ["1", "2", "3"])
        }
    }
}
