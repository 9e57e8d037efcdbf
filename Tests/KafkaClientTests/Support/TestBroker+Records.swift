import Foundation
import KafkaClient
import KafkaTestBroker
import Waiting

/// What the client's own tests ask of a broker.
extension TestBroker {
    /// Runs one of Kafka's own tools on the guarded broker.
    static func guardedTool(_ arguments: [String]) throws {
        try control("tool", guarded.get().directory, arguments)
    }

    /// Makes a topic of a fresh name.
    static func topic(_ stem: String, partitions: Int = 1, settings: [String: String] = [:]) throws -> String {
        let name = unique(stem)
        let admin = try AdminClient(configuration())
        defer { admin.close() }
        try admin.create([AdminClient.NewTopic(name, partitions: partitions, settings: settings)])
        return name
    }

    /// Every record of a partition up to its end, as text; of committed ones, once the markers of what was committed have been
    /// written.
    ///
    /// A commit returns before them. Where a transaction stays open on purpose (`whileOpen`) there is nothing to wait for.
    static func values(
        _ topic: String,
        partition: Int32 = 0,
        readUncommitted: Bool = false,
        whileOpen: Bool = false,
        _ configuration: KafkaConfiguration? = nil
    ) throws -> [String] {
        var options = Consumer.Options()
        options.partitionEnd = true
        options.fetchWaitMilliseconds = 10
        options.readUncommitted = readUncommitted
        let consumer = try Consumer(try configuration ?? self.configuration(), options: options)
        defer { consumer.close() }
        let source = KafkaPartition(topic, partition)
        let admin = try AdminClient(try configuration ?? self.configuration())
        defer { admin.close() }
        let high = try admin.watermarks(of: source).high
        if !whileOpen { try Waiting.until { try consumer.watermarks(of: source).high >= high } }
        let end = try consumer.watermarks(of: source).high
        try consumer.assign([KafkaOffset(source, 0)])
        var found: [String] = []
        let isRead = try Waiting.until {
            try consumer.poll(0, limit: 1000) { record in
                found.append(record.value.map { String(decoding: $0, as: UTF8.self) } ?? "(tombstone)")
                return true
            }
            try consumer.wait(milliseconds: 10)
            return try consumer.position(0) >= end
        }
        if !isRead { throw Failure(text: "end \(end) of \(source) not reached: at \(try consumer.position(0))") }
        return found
    }
}

extension String {
    /// Lends the text's bytes.
    func lend<R>(_ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R { try Array(utf8).withUnsafeBytes(body) }
}

extension TransactionalProducer {
    func write(_ topic: String, _ value: String, key: String? = nil, partition: Int32 = -1) throws {
        let index = self.topic(named: topic)
        try value.lend { value in
            if let key {
                try key.lend { try self.produce(topic: index, partition: partition, key: $0, value: value) }
            } else {
                try self.produce(topic: index, partition: partition, key: nil, value: value)
            }
        }
    }
}
