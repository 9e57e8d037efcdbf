import Foundation
import Glibc
public import KafkaClient

/// A real Apache Kafka for all tests of this process: started at first use, ended by a watchdog when the process is
/// gone.
///
/// Tests share the brokers, so they give their topics and groups names of their own: see ``unique(_:)``.
public enum TestBroker {
    /// The script that starts and stops brokers; nil where it is missing.
    public static let program: String? = {
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

    /// Whether there is a broker to test with.
    public static var isAvailable: Bool { program != nil }
    /// Why tests on it are skipped.
    public static let absence = "no ../shared/kafka/kafka-local (or WEIR_SHARED): tests on a real broker are skipped"

    /// What went wrong with the broker or what a test waited for.
    public struct Failure: Error {
        public var text: String
        public init(text: String) { self.text = text }
    }

    /// Where a broker listens and keeps its data, or why it did not start.
    public typealias Started = Result<(address: String, directory: String), any Error>

    /// Bootstrap address of the plain broker.
    public static let plain: Started = Result { try start([]) }
    /// One that asks for a password (PLAIN: weir/weir-secret, admin/admin-secret) and checks access control lists.
    public static let guarded: Started = Result { try start(["--acl"]) }

    /// One that takes records of a transaction its coordinator does not know of, as a coordinator leaves them that
    /// restarts before it knows its topics.
    public static let trusting: Started = Result {
        try start(["--set", "transaction.partition.verification.enable=false"])
    }

    /// How a client reaches the plain broker.
    public static func configuration(_ more: [String: String] = [:]) throws -> KafkaConfiguration {
        KafkaConfiguration(["bootstrap.servers": try plain.get().address].merging(more) { $1 })
    }

    /// How a client reaches the guarded one.
    public static func guardedConfiguration(user: String, password: String) throws -> KafkaConfiguration {
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
            ],
            output: "/dev/null"
        )
        // After the watchdog, so that a crash meanwhile leaves no broker behind.
        let address = try run([program, "start", "--dir", directory, "--port", "auto"] + options)
        return (address, directory)
    }

    /// A broker for one test that does harm to it.
    public static func own() throws -> (address: String, directory: String) { try start([]) }

    /// Runs a command of kafka-local, such as `kill`.
    public static func control(_ command: String, _ directory: String, _ arguments: [String] = []) throws {
        guard let program else { throw Failure(text: absence) }
        _ = try run([program, command, "--dir", directory] + arguments)
    }

    @discardableResult
    private static func run(_ command: [String]) throws -> String {
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
        // The broker outlives whoever waits for the end of a pipe that another test has just opened.
        for descriptor in 3..<min(1024, getdtablesize()) { posix_spawn_file_actions_addclose(&actions, descriptor) }
        var arguments: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) }
        arguments.append(nil)
        defer { for argument in arguments { free(argument) } }
        var child: pid_t = 0
        let code = posix_spawn(&child, command[0], &actions, nil, arguments, environ)
        if code != 0 { throw Failure(text: "\(command[0]): \(String(cString: strerror(code)))") }
        return child
    }

    /// A name no other test uses.
    public static func unique(_ stem: String) -> String { "\(stem)-\(UUID().uuidString.prefix(8).lowercased())" }
}
