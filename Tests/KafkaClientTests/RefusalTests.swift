import Foundation
import KafkaClient
import KafkaTestBroker
import Synchronization
import Testing
import Waiting

@Suite(.serialized, .enabled(if: TestBroker.isAvailable, "\(TestBroker.absence)"))
struct RefusalTests {
    private func error(milliseconds: Int = 10_000, _ configuration: KafkaConfiguration) throws -> (
        error: KafkaError?, seconds: Double
    ) {
        let began = Date()
        let admin = try AdminClient(configuration, milliseconds: milliseconds)
        defer { admin.close() }
        var found: KafkaError?
        do { try admin.connect() } catch { found = error }
        return (found, Date().timeIntervalSince(began))
    }

    @Test func `nobody listens: unreachable after the time limit, with the reason`() throws {
        let (error, seconds) = try error(milliseconds: 1500, KafkaConfiguration(["bootstrap.servers": "127.0.0.1:1"]))
        #expect(error?.kind == .unreachable)
        #expect(error?.text.contains("Connection refused") == true, "\(error?.text ?? "")")
        #expect(seconds > 1)
    }

    @Test func `who waits for a broker gives up once an end is wanted, whatever is asked`() throws {
        let nobody = KafkaConfiguration(["bootstrap.servers": "127.0.0.1:1", "group.id": "stops"])
        let partition = KafkaPartition("t", 0)
        let asked = Atomic(0)
        // The end comes while the first question waits.
        let observer = KafkaObserver(isEndWanted: { asked.wrappingAdd(1, ordering: .relaxed).newValue > 2 })
        let admin = try AdminClient(nobody, milliseconds: 1_000_000, observer: observer)
        defer { admin.close() }
        let consumer = try Consumer(nobody, observer: observer)
        defer { consumer.close() }
        let producer = try TransactionalProducer(nobody, options: .init(transactionalIDs: ["a"]), observer: observer)
        defer { producer.close() }
        let questions: [(String, () throws -> Void)] = [
            ("connect", { try admin.connect() }), ("describe", { _ = try admin.describe(topic: "t") }),
            ("watermarks", { _ = try consumer.watermarks(of: partition) }),
            ("ends", { _ = try consumer.ends(of: [partition]) }),
            ("committed", { _ = try consumer.committed([partition]) }), ("initialise", { try producer.initialise() }),
        ]
        for (name, ask) in questions {
            let error = #expect(throws: KafkaError.self, "\(name)") { try ask() }
            #expect(error?.kind == .stopped && error?.disposition == .stop, "\(name): \(String(describing: error))")
        }
    }

    @Test func `a wrong password is named within seconds by every client`() throws {
        let wrong = try TestBroker.guardedConfiguration(user: "weir", password: "wrong")
        // Long before the time limit.
        let (error, seconds) = try error(milliseconds: 1_000_000, wrong)
        #expect(error?.kind == .authentication)
        #expect(error?.disposition == .stop)
        #expect(seconds < Waiting.limit)
        let producer = try TransactionalProducer(wrong, options: .init(transactionalIDs: ["a"]))
        defer { producer.close() }
        #expect(#expect(throws: KafkaError.self) { try producer.initialise() }?.kind == .authentication)
        let consumer = try Consumer(wrong)
        defer { consumer.close() }
        #expect(
            #expect(throws: KafkaError.self) { _ = try consumer.watermarks(of: KafkaPartition("t", 0)) }?.kind
                == .authentication
        )
    }

    @Test func `the right password works, a plaintext client on that port is told about the protocol`() throws {
        #expect(try error(TestBroker.guardedConfiguration(user: "admin", password: "admin-secret")).error == nil)
        let address = try TestBroker.guarded.get().address
        let (error, _) = try error(milliseconds: 3000, KafkaConfiguration(["bootstrap.servers": address]))
        #expect(error?.kind == .unreachable)
        // Newer librdkafka no longer guesses at the reason and only says that the other side hung up.
        let said = error?.text ?? ""
        #expect(said.contains("security.protocol") || said.contains("Disconnected"), "\(said)")
    }

    @Test func `a missing right names what it is about`() throws {
        let weir = try TestBroker.guardedConfiguration(user: "weir", password: "weir-secret")
        let producer = try TransactionalProducer(weir, options: .init(transactionalIDs: ["forbidden"]))
        defer { producer.close() }
        let error = #expect(throws: KafkaError.self) { try producer.initialise() }
        #expect(error?.kind == .authorisation)
        #expect(error?.name == "TRANSACTIONAL_ID_AUTHORIZATION_FAILED")
    }

    @Test func `SCRAM is refused with the reason where the library cannot do it`() throws {
        let scram = KafkaConfiguration(["bootstrap.servers": "127.0.0.1:1", "sasl.mechanisms": "SCRAM-SHA-512"])
        let error = #expect(throws: KafkaError.self) {
            try KafkaLibrary.check(scram, transactions: false, version: KafkaLibrary.Version(2, 0, 2))
        }
        #expect(error?.kind == .incompatible)
        #expect(error?.text.contains("CVE-2024-56128") == true)
        try KafkaLibrary.check(scram, transactions: true, version: KafkaLibrary.Version(2, 6, 1))
        #expect(throws: KafkaError.self) {
            try KafkaLibrary.check(KafkaConfiguration(), transactions: true, version: KafkaLibrary.Version(1, 9, 2))
        }
    }
}

@Suite struct TopicTests {
    @Test(.enabled(if: TestBroker.isAvailable, "\(TestBroker.absence)"))
    func `topics are made with their settings, described, and left alone when they exist`() throws {
        let admin = try AdminClient(TestBroker.configuration())
        defer { admin.close() }
        let name = TestBroker.unique("made")
        #expect(try admin.describe(topic: name) == nil)
        let wanted = AdminClient.NewTopic(name, partitions: 3, settings: ["cleanup.policy": "compact"])
        #expect(try admin.create([wanted]) == [name])
        #expect(try admin.create([wanted]) == [])
        #expect(try admin.describe(topic: name)?.partitions == [0, 1, 2])
        #expect(try admin.settings(ofTopic: name)["cleanup.policy"]?.value == "compact")
        #expect(try admin.topics().map(\.name).contains(name))
        let error = #expect(throws: KafkaError.self) {
            try admin.create([AdminClient.NewTopic("bad name", partitions: 1)])
        }
        #expect(error?.name == "TOPIC_EXCEPTION")
        let wrong = #expect(throws: KafkaError.self) {
            try admin.create([
                AdminClient.NewTopic(TestBroker.unique("made"), partitions: 1, settings: ["cleanup.policy": "shred"])
            ])
        }
        #expect(wrong?.text.contains("shred") == true, "\(String(describing: wrong))")
    }

    @Test(.enabled(if: TestBroker.isAvailable, "\(TestBroker.absence)"))
    func `an offset is found by time, and the end when nothing is that late`() throws {
        let topic = try TestBroker.topic("times", settings: ["message.timestamp.type": "LogAppendTime"])
        let producer = try Producer(TestBroker.configuration())
        defer { producer.close() }
        let index = producer.topic(named: topic)
        try "a".lend { try producer.produce(topic: index, key: nil, value: $0) }
        try producer.flush()
        // Broker and test read one clock; the second record must be of a later millisecond than the time asked for.
        func now() -> Int64 { Int64(Date().timeIntervalSince1970 * 1000) }
        let after = now()
        Waiting.until { now() > after }
        let between = now()
        Waiting.until { now() > between }
        try "b".lend { try producer.produce(topic: index, key: nil, value: $0) }
        try producer.flush()
        let source = KafkaPartition(topic, 0)
        let consumer = try Consumer(TestBroker.configuration())
        defer { consumer.close() }
        #expect(try consumer.offsets([source], at: between) == [KafkaOffset(source, 1)])
        #expect(try consumer.offsets([source], at: between + 60_000) == [KafkaOffset(source, 2)])
    }
}
