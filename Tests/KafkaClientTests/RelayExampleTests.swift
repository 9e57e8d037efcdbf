import Foundation
import KafkaClient
import KafkaTestBroker
import Testing

@Suite(.enabled(if: TestBroker.isAvailable, "\(TestBroker.absence)"))
struct RelayExampleTests {
    // The lines between the marks stand in the documentation of `TransactionalProducer`.
    // begin
    func relay(_ configuration: KafkaConfiguration, from source: KafkaPartition, to topic: String) throws {
        let consumer = try Consumer(configuration)
        defer { consumer.close() }
        let options = TransactionalProducer.Options(transactionalIDs: ["relay-0", "relay-1"])
        let producer = try TransactionalProducer(configuration, options: options)
        defer { producer.close() }
        // Ends what a former self left open: only then is the group's position final.
        try producer.initialise()
        let start = try consumer.committed([source]).first?.offset ?? -1
        try consumer.assign([KafkaOffset(source, start >= 0 ? start : try consumer.watermarks(of: source).low)])
        let output = producer.topic(named: topic)
        let end = try consumer.watermarks(of: source).high
        while try !consumer.isBehind(0, end) {
            guard try consumer.wait(milliseconds: 100) else { continue }
            try producer.begin()
            var failure: KafkaError?
            try consumer.poll(0, limit: 1000) { record in
                do throws(KafkaError) {
                    try producer.produce(topic: output, key: record.key, value: record.value)
                } catch { failure = error }
                return failure == nil
            }
            if let failure { throw failure }
            switch producer.commit(offsets: [KafkaOffset(source, consumer.next(0))], consumer: consumer) {
            case .committed: continue
            // Whether it is there or not, the group's position tells the next start.
            case .notCommitted(let error), .unknown(let error): throw error
            }
        }
    }
    // end

    @Test func `the example of the documentation relays each record once, over several starts`() throws {
        let source = KafkaPartition(try TestBroker.topic("relay-in"), 0)
        let target = try TestBroker.topic("relay-out")
        let configuration = try TestBroker.configuration(["group.id": TestBroker.unique("relay")])
        let traffic = try Producer(TestBroker.configuration())
        defer { traffic.close() }
        let input = traffic.topic(named: source.topic)
        var sent: [String] = []
        for round in 0..<3 {
            for n in 0..<2500 {
                let value = "\(round)/\(n)"
                try value.utf8.withContiguousStorageIfAvailable { bytes in
                    try traffic.produce(topic: input, key: nil, value: UnsafeRawBufferPointer(bytes))
                }
                sent.append(value)
            }
            try traffic.flush()
            try relay(configuration, from: source, to: target.description)
            #expect(try TestBroker.values(target) == sent)
        }
    }

    @Test func `the documentation shows the example that runs`() throws {
        let sources = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appending(path: "Sources/KafkaClient/TransactionalProducer.swift")
        let documentation = try String(contentsOf: sources, encoding: .utf8).split(separator: "\n")
            .filter { $0.hasPrefix("///") }.map { $0.dropFirst(3).trimmingCharacters(in: .whitespaces) }
        let lines = try String(contentsOfFile: #filePath, encoding: .utf8).split(separator: "\n")
            .map { $0.trimmingCharacters(in: .whitespaces) }
        let begin = try #require(lines.firstIndex(of: "// begin"))
        let end = try #require(lines.firstIndex(of: "// end"))
        let example = lines[(begin + 1)..<end]
        #expect(example.count > 20)
        let start = try #require(documentation.firstIndex(of: example.first ?? ""))
        #expect(documentation[start..<min(documentation.count, start + example.count)].elementsEqual(example))
    }
}
