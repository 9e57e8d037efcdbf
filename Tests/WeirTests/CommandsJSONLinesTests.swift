import Foundation
import Testing

@testable import weir

/// `weir run --json`: whatever is on stderr is for a log shipper, line by line.
@Suite(.enabled(if: WeirProgram.path != nil, Commands.absence))
struct CommandsJSONLinesTests {
    private struct Line: Decodable {
        var ts: String
        var level: String
        var msg: String
        var text: String?
        var syslog_level: Int?
    }

    private func lines(_ errors: String) throws -> [Line] {
        try errors.split(separator: "\n").map { line in
            do { return try JSONDecoder().decode(Line.self, from: Data(line.utf8)) } catch {
                Issue.record("no JSON: \(line)")
                throw error
            }
        }
    }

    @Test func `a broker that nobody reaches, from the first warning to the reason of the end`() throws {
        let folder = try Commands.Folder()
        let file = try folder.write(
            "k.properties",
            "bootstrap.servers=127.0.0.1:9\nweir.connect.ms=3000\nenable.ssl.certificate.verification=false\n"
        )
        let topology = Commands.topology("quickstart")
        let run = try Commands.weir("run", "--topology", topology, "--kafka", file, "--json")
        #expect(run.code == 5 && run.output.isEmpty)
        let found = try lines(run.errors)
        #expect(found.last?.level == "error" && found.last?.text?.contains("127.0.0.1:9") == true, "\(run.errors)")
        #expect(found.contains { $0.msg == "a setting is unsafe" })
        let library = found.filter { $0.msg == "librdkafka" }
        #expect(!library.isEmpty && library.allSatisfy { $0.syslog_level != nil })
    }

    @Test func `mistakes of the command line, of the topology and of the log`() throws {
        let folder = try Commands.Folder()
        let topology = Commands.topology("quickstart")
        let broken = try folder.write("topology.yaml", "topology: 7\nevents: what\n")
        let cases: [([String], Int32)] = [
            (["run", "--json"], 2), (["run", "--json", "--nonsense"], 2),
            (["run", "--json", "--topology", folder.url.path, "--log", folder.path("a.db")], 3),
            (["run", "--json", "--topology", topology, "--log", folder.path("no/such/folder.db")], 5),
        ]
        #expect(FileManager.default.fileExists(atPath: broken))
        for (words, code) in cases {
            let result = try WeirProgram.run(try #require(WeirProgram.path), words)
            #expect(result.code == code, "\(words): \(result)")
            #expect(try lines(result.errors).contains { $0.level == "error" }, "\(words)")
        }
    }
}
