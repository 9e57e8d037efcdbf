import Glibc
import KafkaClient
import KafkaTestBroker
import Models
import Testing
import Waiting

@testable import Pipeline

/// Transactions on a real broker whose decisions and positions are cut at random and arrive a quarter to over half a second later.
///
/// With the rule of re-creation none is torn. With less than the rule, where only calls that fail make a producer anew, some
/// are (the negative control): their calls answer OK.
///
/// `WEIR_LONG=1` runs 10,000 transactions.
@Suite(.serialized, .enabled(if: TestBroker.isAvailable, "\(TestBroker.absence)"))
struct KafkaLogStormTests {
    private static let isLong = getenv("WEIR_LONG") != nil

    /// What a run of transactions came to.
    private struct Findings {
        /// Transactions of which a reader of committed records sees something else than was said of them.
        var torn: [String] = []
        var transactions = 0
        var late = 0
        var recreations = 0
    }

    @Test func `no transaction is torn where decisions and positions come late`() throws {
        let found = try run(transactions: KafkaLogStormTests.isLong ? 10_000 : 60, share: 0.12, seed: 5, rule: true)
        #expect(found.torn == [])
        #expect(found.late > 0)
        #expect(found.recreations >= found.late / 2)
        print(
            "storm: \(found.transactions) transactions, \(found.late) requests late, producers made anew \(found.recreations) times"
        )
    }

    @Test func `where only errors make a producer anew, transactions are torn`() throws {
        var found = Findings()
        // Of chance: a seed more for each that finds none.
        for seed in 1...20 as ClosedRange<UInt64> where found.torn.isEmpty {
            found = try run(transactions: 60, share: 0.4, seed: seed, rule: false)
        }
        #expect(found.torn != [], "of \(found.transactions) transactions with \(found.late) requests late")
        print(
            "storm without the rule: \(found.torn.first ?? "") after \(found.transactions) transactions, \(found.late) requests late"
        )
    }

    /// Runs transactions, each with a record before and one behind a pause; without the rule until one is torn.
    private func run(transactions: Int, share: Double, seed: UInt64, rule: Bool) throws -> Findings {
        let topic = TestBroker.unique("storm")
        let admin = try AdminClient(TestBroker.configuration())
        defer { admin.close() }
        try admin.create([AdminClient.NewTopic(topic, partitions: 2)])
        let proxy = try KafkaLogProxy(broker: TestBroker.plain.get().address)
        defer { proxy.close() }
        var options = TransactionalProducer.Options(transactionalIDs: [TestBroker.unique("storm")])
        options.callMilliseconds = rule ? 600 : -1
        if !rule { options.slowCallMilliseconds = .infinity }
        let settings = [
            "bootstrap.servers": proxy.address, "socket.timeout.ms": "1000", "retry.backoff.ms": "200",
            // What is cut again and again is connected again at once.
            "reconnect.backoff.max.ms": "200",
        ]
        let producer = try TransactionalProducer(KafkaConfiguration(settings), options: options)
        defer { producer.close() }
        try producer.initialise()
        let member = try Consumer(TestBroker.configuration(["group.id": TestBroker.unique("storm")]))
        defer { member.close() }
        var storm = Storm(topic: topic, chance: SplitMix64(seed: seed))
        var found = Findings()
        proxy.meet(
            KafkaLogProxy.Storm(
                [KafkaLogProxy.Api.endTransaction, KafkaLogProxy.Api.offsetCommit],
                share: share,
                seconds: 0.25...0.6,
                seed: seed
            )
        )
        while found.transactions < transactions {
            storm.transact(found.transactions, producer, member)
            found.transactions += 1
            if !rule, found.transactions % 10 == 0 {
                found.torn = try storm.torn(producer, recreating: false)
                if !found.torn.isEmpty { break }
            }
        }
        proxy.meet(nil)
        found.late = proxy.lateCount
        found.recreations = producer.recreations
        if found.torn.isEmpty { found.torn = try storm.torn(producer, recreating: true) }
        return found
    }

    /// The transactions of a run and what was said of each.
    private struct Storm {
        let topic: String
        var chance: SplitMix64
        /// Whether each was committed; nil: nobody knows.
        private var said: [Bool?] = []

        init(topic: String, chance: SplitMix64) { (self.topic, self.chance) = (topic, chance) }

        /// One transaction, which the application gives up in 15 of 100 cases.
        mutating func transact(_ number: Int, _ producer: TransactionalProducer, _ member: Consumer) {
            let isAborted = Double.random(in: 0..<1, using: &chance) < 0.15
            let pause = Double.random(in: 0..<0.15, using: &chance)
            do {
                try producer.begin()
                try write(number, producer, 0)
                Waiting.fault(seconds: pause)
                try write(number, producer, 1)
            } catch {
                producer.discard()
                return said.append(false)
            }
            if isAborted {
                // An abort that fails leaves it to the next producer of the id, which aborts it too.
                try? producer.abort()
                return said.append(false)
            }
            let position = KafkaOffset(KafkaPartition(topic, 0), Int64(number + 1))
            switch producer.commit(offsets: [position], consumer: member) {
            case .committed: said.append(true)
            case .notCommitted: said.append(false)
            case .unknown: said.append(nil)
            }
        }

        private func write(_ number: Int, _ producer: TransactionalProducer, _ partition: Int32) throws {
            let index = producer.topic(named: topic)
            try Array(String(number).utf8).withUnsafeBytes {
                try producer.produce(topic: index, partition: partition, key: nil, value: $0)
            }
            try producer.flush()
        }

        /// What a reader of committed records sees otherwise than it was said.
        ///
        /// - Parameter recreating: ends first what is open.
        func torn(_ producer: TransactionalProducer, recreating: Bool) throws -> [String] {
            if recreating { try producer.recreate() }
            var options = KafkaLog.Options(application: TestBroker.unique("reader"))
            options.journalTopic = "none"
            let log = try KafkaLog(configuration: TestBroker.configuration(), options: options)
            defer { log.close() }
            var seen = [[Int]](repeating: [0, 0], count: said.count)
            for partition in 0...1 as ClosedRange<Int32> {
                let source = TopicPartition(topic, partition)
                try log.read(source, from: 0, to: log.bounds(of: source).end) { record, _ in
                    guard let number = record.value.flatMap({ Int(String(decoding: $0, as: UTF8.self)) }) else {
                        return true
                    }
                    seen[number][Int(partition)] += 1
                    return true
                }
            }
            return said.indices.compactMap { number in
                let wanted: [[Int]] =
                    switch said[number] {
                    case true: [[1, 1]]
                    case false: [[0, 0]]
                    case nil: [[0, 0], [1, 1]]
                    }
                // The last one's markers may be on their way.
                if !recreating, number == said.count - 1 { return nil }
                return wanted.contains(seen[number])
                    ? nil : "\(number) of which was said \(String(describing: said[number])): \(seen[number])"
            }
        }
    }
}
