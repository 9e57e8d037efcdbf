import Foundation
import KafkaClient
import KafkaTestBroker
import Testing

@Suite(.serialized, .enabled(if: TestBroker.isAvailable, "\(TestBroker.absence)"))
struct TransactionTests {
    private func producer(
        _ ids: [String] = [TestBroker.unique("txn")],
        slow: Double? = nil,
        _ more: [String: String] = [:]
    ) throws -> TransactionalProducer {
        var options = TransactionalProducer.Options(transactionalIDs: ids)
        options.slowCallMilliseconds = slow
        return try TransactionalProducer(TestBroker.configuration(more), options: options)
    }

    @Test func `what is committed is visible, what is aborted or discarded never is`() throws {
        let topic = try TestBroker.topic("visible")
        let producer = try producer()
        defer { producer.close() }
        try producer.initialise()
        try producer.begin()
        try producer.write(topic, "committed 1")
        #expect(producer.commit() == .committed)
        #expect(try TestBroker.values(topic) == ["committed 1"])
        try producer.begin()
        try producer.write(topic, "aborted")
        try producer.flush()
        #expect(try TestBroker.values(topic, whileOpen: true) == ["committed 1"])
        try producer.abort()
        try producer.begin()
        try producer.write(topic, "discarded")
        try producer.flush()
        producer.discard()
        try producer.begin()
        #expect(producer.recreations == 1)
        try producer.write(topic, "committed 2")
        #expect(producer.commit() == .committed)
        #expect(try TestBroker.values(topic) == ["committed 1", "committed 2"])
        #expect(
            try TestBroker.values(topic, readUncommitted: true) == [
                "committed 1", "aborted", "discarded", "committed 2",
            ]
        )
    }

    @Test func `a zombie is fenced, and what it wrote stays hidden`() throws {
        let topic = try TestBroker.topic("zombie")
        let id = TestBroker.unique("zombie")
        let old = try producer([id])
        defer { old.close() }
        try old.initialise()
        try old.begin()
        try old.write(topic, "old")
        try old.flush()
        let new = try producer([id])
        defer { new.close() }
        try new.initialise()
        var fenced: KafkaError?
        do {
            try old.write(topic, "old again")
            if case .notCommitted(let error) = old.commit() { fenced = error }
        } catch { fenced = error as? KafkaError }
        #expect(fenced?.kind == .fenced)
        #expect(fenced?.disposition == .stop)
        try new.begin()
        try new.write(topic, "new")
        #expect(new.commit() == .committed)
        #expect(try TestBroker.values(topic) == ["new"])
    }

    @Test func `positions move with the transaction that carries them and with no other`() throws {
        let topic = try TestBroker.topic("positions")
        let input = try TestBroker.topic("input")
        let configuration = try TestBroker.configuration(["group.id": TestBroker.unique("app")])
        let consumer = try Consumer(configuration)
        defer { consumer.close() }
        let source = KafkaPartition(input, 0)
        try consumer.assign([KafkaOffset(source, 0)])
        let producer = try producer()
        defer { producer.close() }
        try producer.initialise()
        try producer.begin()
        try producer.write(topic, "one")
        #expect(producer.commit(offsets: [KafkaOffset(source, 5)], consumer: consumer) == .committed)
        #expect(try consumer.committed([source]) == [KafkaOffset(source, 5)])
        try producer.begin()
        try producer.write(topic, "two")
        try producer.abort()
        #expect(try consumer.committed([source]) == [KafkaOffset(source, 5)])
        // Only positions, no record.
        try producer.begin()
        #expect(producer.commit(offsets: [KafkaOffset(source, 7)], consumer: consumer) == .committed)
        #expect(try consumer.committed([source]) == [KafkaOffset(source, 7)])
    }

    @Test func `after a slow call that answered OK the producer is made anew before the next transaction`() throws {
        let topic = try TestBroker.topic("slow")
        let eager = try producer(slow: 0)
        defer { eager.close() }
        try eager.initialise()
        for number in 0..<3 {
            try eager.begin()
            try eager.write(topic, "\(number)")
            #expect(eager.commit() == .committed)
            #expect(eager.isSuspect)
        }
        #expect(eager.recreations == 2)
        #expect(eager.slowCalls >= 3)
        let calm = try producer(slow: .infinity)
        defer { calm.close() }
        try calm.initialise()
        for number in 3..<6 {
            try calm.begin()
            try calm.write(topic, "\(number)")
            #expect(calm.commit() == .committed)
        }
        #expect(calm.recreations == 0)
        #expect(try TestBroker.values(topic) == (0..<6).map(String.init))
        // The threshold follows the back-off.
        #expect(try producer(slow: nil, ["retry.backoff.ms": "200"]).slowCallMilliseconds == 150)
        #expect(try producer().slowCallMilliseconds == 375)
    }

    @Test func `transactions that take turns keep their order`() throws {
        let topic = try TestBroker.topic("turns")
        let stem = TestBroker.unique("turns")
        let producer = try producer((0..<3).map { "\(stem)-\($0)" })
        defer { producer.close() }
        try producer.initialise()
        for number in 0..<30 {
            try producer.begin()
            try producer.write(topic, "\(number)")
            #expect(producer.commit() == .committed)
        }
        #expect(try TestBroker.values(topic) == (0..<30).map(String.init))
    }

    @Test func `records are sent compressed unless the configuration says otherwise`() throws {
        let topic = try TestBroker.topic("compressed", settings: ["max.message.bytes": "100000"])
        let text = String(repeating: "x", count: 200_000)
        let producer = try producer()
        defer { producer.close() }
        try producer.initialise()
        try producer.begin()
        try producer.write(topic, text)
        #expect(producer.commit() == .committed, "as it came it would be twice what the topic takes")
        #expect(try TestBroker.values(topic) == [text])
    }

    @Test func `a record above the client's limit is refused alone, one above the topic's takes its transaction along`()
        throws
    {
        let topic = try TestBroker.topic("large", settings: ["max.message.bytes": "100000"])
        // A topic's limit is for records as they are sent, and these would be sent as next to nothing.
        let producer = try producer(
            [TestBroker.unique("large")],
            slow: nil,
            ["message.max.bytes": "1000000", "compression.type": "none"]
        )
        defer { producer.close() }
        try producer.initialise()
        try producer.begin()
        let error = #expect(throws: KafkaError.self) {
            try producer.write(topic, String(repeating: "x", count: 2_000_000))
        }
        #expect(error?.kind == .tooLarge)
        try producer.write(topic, "small")
        #expect(producer.commit() == .committed)
        try producer.begin()
        try producer.write(topic, String(repeating: "x", count: 200_000))
        guard case .notCommitted(let refused) = producer.commit() else {
            Issue.record("a record above the topic's limit was accepted")
            return
        }
        #expect(refused.kind == .tooLarge)
        #expect(refused.text.contains(topic))
        try producer.begin()
        try producer.write(topic, "after")
        #expect(producer.commit() == .committed)
        #expect(try TestBroker.values(topic) == ["small", "after"])
    }
}
