import Foundation
import Glibc
import KafkaClient

/// A real Apache Kafka for the tests of this process: started at first use, ended by a watchdog when the process is
/// gone.
enum TestBroker {
    static let program: String? = {
        var root = URL(filePath: #filePath)
        while root.path != "/", !FileManager.default.fileExists(atPath: root.appending(path: "Package.swift").path) {
            root.deleteLastPathComponent()
        }
        let shared =
            ProcessInfo.processInfo.environment["WEIR_SHARED"]
            ?? root.deletingLastPathComponent().appending(path: "shared").path
        let found = shared + "/kafka/kafka-local"
        return FileManager.default.isExecutableFile(atPath: found) ? found : nil
    }()

    static var isAvailable: Bool { program != nil }
    static let absence = "no ../shared/kafka/kafka-local (or WEIR_SHARED): tests on a real broker are skipped"

    struct Failure: Error { var text: String }

    /// Bootstrap address of the plain broker.
    static let plain = Result { try start([]) }
    /// One that asks for a password (PLAIN: weir/weir-secret, admin/admin-secret) and checks access control lists.
    static let guarded = Result { try start(["--acl"]) }

    static func configuration(_ more: [String: String] = [:]) throws -> KafkaConfiguration {
        KafkaConfiguration(["bootstrap.servers": try plain.get().address].merging(more) { $1 })
    }

    static func guardedConfiguration(user: String, password: String) throws -> KafkaConfiguration {
        KafkaConfiguration([
            "bootstrap.servers": try guarded.get().address, "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanisms": "PLAIN",
            "sasl.username": user, "sasl.password": password,
        ])
    }

    private static func start(_ options: [String]) throws -> (address: String, directory: String) {
        guard let program else { throw Failure(text: absence) }
        let directory = FileManager.default.temporaryDirectory.appending(
            path: "weir-kafka-\(UUID().uuidString.prefix(8))"
        ).path
        _ = try spawn(
            [
                "/bin/sh", "-c", "while kill -0 \"$0\" 2>/dev/null; do sleep 0.3; done; exec \"$1\" stop --dir \"$2\"",
                String(getpid()), program, directory,
            ], output: "/dev/null")
        // After the watchdog, so that a crash meanwhile leaves no broker behind.
        let address = try run([program, "start", "--dir", directory, "--port", "auto"] + options)
        return (address, directory)
    }

    /// Runs one of Kafka's own tools on the guarded broker.
    static func guardedTool(_ arguments: [String]) throws {
        guard let program else { throw Failure(text: absence) }
        _ = try run([program, "tool", "--dir", try guarded.get().directory] + arguments)
    }

    @discardableResult
    static func run(_ command: [String]) throws -> String {
        let output = FileManager.default.temporaryDirectory.appending(path: "weir-out-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: output) }
        let child = try spawn(command, output: output)
        var status: Int32 = 0
        while waitpid(child, &status, 0) < 0 && errno == EINTR {}
        let text = try String(contentsOfFile: output, encoding: .utf8).trimmingCharacters(in: .whitespacesAndNewlines)
        if status != 0 { throw Failure(text: "\(command.joined(separator: " ")) ended with status \(status): \(text)") }
        return text
    }

    /// Starts a process.
    ///
    /// Foundation's own `Process` takes a child for running as long as any grandchild, here the broker, lives.
    private static func spawn(_ command: [String], output: String) throws -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)
        var arguments: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) }
        arguments.append(nil)
        defer { for argument in arguments { free(argument) } }
        var child: pid_t = 0
        let code = posix_spawn(&child, command[0], &actions, nil, arguments, environ)
        if code != 0 { throw Failure(text: "\(command[0]): \(String(cString: strerror(code)))") }
        return child
    }

    /// A name no other test uses.
    static func unique(_ stem: String) -> String { "\(stem)-\(UUID().uuidString.prefix(8).lowercased())" }

    /// Makes a topic of a fresh name.
    static func topic(_ stem: String, partitions: Int = 1, settings: [String: String] = [:]) throws -> String {
        let name = unique(stem)
        let admin = try AdminClient(configuration())
        defer { admin.close() }
        try admin.create([AdminClient.NewTopic(name, partitions: partitions, settings: settings)])
        return name
    }

    /// Every record of a partition up to its end, as text.
    static func values(
        _ topic: String, partition: Int32 = 0, readUncommitted: Bool = false, _ configuration: KafkaConfiguration? = nil
    ) throws -> [String] {
        var options = Consumer.Options()
        options.partitionEnd = true
        options.fetchWaitMilliseconds = 10
        options.readUncommitted = readUncommitted
        let consumer = try Consumer(try configuration ?? self.configuration(), options: options)
        defer { consumer.close() }
        let source = KafkaPartition(topic, partition)
        let end = try consumer.watermarks(of: source).high
        try consumer.assign([KafkaOffset(source, 0)])
        var found: [String] = []
        let deadline = Date().addingTimeInterval(20)
        while try consumer.position(0) < end {
            try consumer.poll(0, limit: 1000) { record in
                found.append(record.value.map { String(decoding: $0, as: UTF8.self) } ?? "(tombstone)")
                return true
            }
            try consumer.wait(milliseconds: 10)
            if Date() > deadline {
                throw Failure(text: "end \(end) of \(source) not reached: at \(try consumer.position(0))")
            }
        }
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
