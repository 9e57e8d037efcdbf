import Foundation
import Glibc
import Testing

/// A real Apache Kafka for the tests of this process: started at first use, ended by a watchdog when the process is gone.
enum CommandsBroker {
    static let absence: Comment = "no ../shared/kafka/kafka-local (or WEIR_SHARED): tests on a real broker are skipped"

    static let program: String? = {
        let shared =
            ProcessInfo.processInfo.environment["WEIR_SHARED"]
            ?? Commands.root.deletingLastPathComponent().appendingPathComponent("shared").path
        let found = shared + "/kafka/kafka-local"
        return FileManager.default.isExecutableFile(atPath: found) && WeirProgram.path != nil ? found : nil
    }()

    struct Failure: Error { var text: String }

    /// Bootstrap address of a plain broker.
    static let plain = Result { try start("") }
    /// One that asks for a password (PLAIN: weir/weir-secret).
    static let guarded = Result { try start("--acl") }

    private static func start(_ option: String) throws -> String {
        let program = try #require(program)
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent(
            "weir-kafka-\(UUID().uuidString.prefix(8))"
        ).path
        // A shell of its own: Foundation's Process would wait for the broker that stays behind.
        let output = folder + ".out"
        let script = """
            "$0" start --dir "$1" --port auto $2 > "$3" 2>&1 < /dev/null && echo ready >> "$3"
            while kill -0 "$4" 2>/dev/null; do sleep 0.3; done
            "$0" stop --dir "$1"; rm -f "$3"
            """
        let words: [String] = ["/bin/sh", "-c", script, program, folder, option, output, String(getpid())]
        var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) }
        arguments.append(nil)
        defer { for argument in arguments { free(argument) } }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        for descriptor: Int32 in 0...2 {
            posix_spawn_file_actions_addopen(&actions, descriptor, "/dev/null", O_RDWR, 0)
        }
        var child: pid_t = 0
        guard posix_spawn(&child, "/bin/sh", &actions, nil, arguments, environ) == 0 else {
            throw Failure(text: "no shell")
        }
        let deadline = Date().addingTimeInterval(90)
        while Date() < deadline {
            let text = (try? String(contentsOfFile: output, encoding: .utf8)) ?? ""
            if text.hasSuffix("ready\n"),
                let address = text.split(separator: "\n").first(where: { $0.hasPrefix("127.0.0.1:") })
            {
                return String(address)
            }
            Thread.sleep(forTimeInterval: 0.1)
        }
        throw Failure(text: "the broker did not start: \((try? String(contentsOfFile: output, encoding: .utf8)) ?? "")")
    }
}
