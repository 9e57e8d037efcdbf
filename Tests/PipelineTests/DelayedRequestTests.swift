import KafkaClient
import Testing

@testable import Pipeline

/// Requests that come late into a later transaction of the same producer, one by one: what the rule of re-creation is for.
///
/// Each case is right with the rule, and must be wrong without it.
@Suite struct DelayedRequestTests {
    /// A broker with one topic of two partitions, and a producer's life in which one request is held up.
    private final class Stage {
        let clock = ModelClock()
        let broker: ModelBroker
        let life: FaultedLife

        init(_ point: FaultPoint, milliseconds: Int) {
            broker = ModelBroker(clock)
            broker.create("out", partitions: 2)
            let held = Fault(life: 0, point: point, visit: 1, effect: .held, milliseconds: milliseconds)
            life = FaultedLife(0, [held], clock, broker, note: { _ in }, mark: { _, _, _ in }, takeover: {})
        }

        func producer(withRule: Bool) throws -> TransactionalProducer {
            var options = TransactionalProducer.Options(transactionalIDs: ["one"])
            if !withRule { options.slowCallMilliseconds = .infinity }
            return try life.producer(options)
        }

        /// What readers of committed records see.
        func visible(_ partition: Int32) -> [String] {
            let entries = broker.partition(TopicPartition("out", partition))?.entries ?? []
            return entries.filter(\.isVisible).map { String(decoding: $0.value ?? [], as: UTF8.self) }
        }
    }

    private func write(_ text: String, to partition: Int32, by producer: TransactionalProducer) throws {
        try Array(text.utf8).withUnsafeBytes { bytes in
            try producer.produce(topic: producer.topic(named: "out"), partition: partition, key: nil, value: bytes)
        }
        try producer.flush()
    }

    @Test(arguments: [true, false]) func `A: a late commit ends no later transaction that is given up`(withRule: Bool)
        throws
    {
        let stage = Stage(.decide, milliseconds: 12)
        let producer = try stage.producer(withRule: withRule)
        try producer.initialise()
        try producer.begin()
        try write("first", to: 1, by: producer)
        #expect(producer.commit() == .committed)
        try producer.begin()
        try write("given up", to: 0, by: producer)
        stage.life.wait(50)
        try write("given up too", to: 1, by: producer)
        producer.discard()
        try producer.recreate()
        #expect(stage.visible(1).first == "first")
        #expect(stage.visible(0).isEmpty == withRule)
    }

    @Test(arguments: [true, false]) func `B: a late abort ends no later transaction that is committed`(withRule: Bool)
        throws
    {
        let stage = Stage(.decide, milliseconds: 12)
        let producer = try stage.producer(withRule: withRule)
        try producer.initialise()
        try producer.begin()
        try write("aborted", to: 1, by: producer)
        try producer.abort()
        try producer.begin()
        try write("committed", to: 0, by: producer)
        stage.life.wait(50)
        try write("committed too", to: 1, by: producer)
        #expect(producer.commit() == .committed)
        #expect(stage.visible(1) == ["committed too"])
        #expect(stage.visible(0).isEmpty == !withRule)
    }

    @Test func `E: late positions do not take the place of later ones`() throws {
        var wrong = 0
        for milliseconds in 0..<40 {
            for withRule in [true, false] {
                let stage = Stage(.sendPositions, milliseconds: milliseconds)
                let producer = try stage.producer(withRule: withRule)
                let member = ModelQuestions(stage.life)
                try producer.initialise()
                for position in [Int64(5), 10] {
                    try producer.begin()
                    try write("up to \(position)", to: 0, by: producer)
                    let offsets = [KafkaOffset(KafkaPartition("in", 0), position)]
                    #expect(producer.commit(offsets: offsets, consumer: member) == .committed)
                }
                stage.life.wait(100)
                let position = stage.broker.positions[TopicPartition("in", 0)]
                if withRule { #expect(position == 10, "\(milliseconds) ms") } else if position != 10 { wrong += 1 }
            }
        }
        #expect(wrong > 0, "without the rule some delay puts the position back")
    }
}
