import KafkaClient
import KafkaTestBroker
import Testing

/// The shared brokers as the tests of commands want them: by address, and only where there is a program to run.
enum CommandsBroker {
    static let absence: Comment = "no ../shared/kafka/kafka-local (or WEIR_SHARED): tests on a real broker are skipped"
    static let program = WeirProgram.path == nil ? nil : TestBroker.program

    /// Bootstrap address of the plain broker.
    static let plain = TestBroker.plain.map(\.address)

    /// Makes a topic of one partition on the plain broker.
    static func create(_ topic: String, settings: [String: String]) throws {
        let admin = try AdminClient(KafkaConfiguration(["bootstrap.servers": try plain.get()]))
        defer { admin.close() }
        try admin.create([AdminClient.NewTopic(topic, partitions: 1, settings: settings)])
    }

    /// One that asks for a password (PLAIN: weir/weir-secret).
    static let guarded = TestBroker.guarded.map(\.address)
}
