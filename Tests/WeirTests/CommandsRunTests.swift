import Foundation
import Glibc
import Pipeline
import Testing

@Suite(.enabled(if: WeirProgram.path != nil, Commands.absence))
struct CommandsRunTests {
    @Test func `run on a fresh file makes the input topics and judges what somebody writes to them`() throws {
        let folder = try Commands.Folder()
        let path = folder.path("shop.db")
        let running = try RunningProgram(
            try #require(WeirProgram.path),
            ["run", "--topology", Commands.topology("quickstart"), "--log", path]
        )
        #expect(running.wait { $0.errors.contains("msg=ready") }, "\(running.errors)")
        #expect(running.errors.contains("topics=orders") && running.errors.contains("somebody must write to them"))
        let log = try EmbeddedLog(path: path)
        defer { log.close() }
        #expect(try log.partitions(of: "orders") == [0])
        let samples = try String(
            contentsOfFile: Commands.topology("quickstart") + "/samples/orders.jsonl",
            encoding: .utf8
        )
        for line in samples.split(separator: "\n") {
            try Commands.append(log, "orders", key: nil, value: Array(line.utf8))
        }
        var verdicts: [Commands.Stored] = []
        #expect(
            running.wait { _ in
                verdicts = (try? Commands.records(log, OutputTopics.verdicts)) ?? []
                return !verdicts.isEmpty
            },
            "\(running.errors)"
        )
        running.send(SIGTERM)
        #expect(try running.wait().code == 143)
        #expect(verdicts.count == 1)
    }

    @Test func `another topology's log gets no topics`() throws {
        let folder = try Commands.Folder()
        let path = try Commands.judgedLog(folder, events: 500)
        let result = try Commands.weir("run", "--topology", Commands.topology("bench-12"), "--log", path)
        #expect(result.code == 3 && result.errors.contains("belongs to topology 'marketplace'"), "\(result)")
        let log = try EmbeddedLog(path: path, opening: .reading)
        defer { log.close() }
        #expect(try log.partitions(of: "events") == nil)
    }

    @Test(arguments: ["run", "audit"])
    func `a topology for CSV files is refused on a log, and nothing is made`(command: String) throws {
        let folder = try Commands.Folder()
        for name in ["online-retail", "ad-clicks"] {
            let result = try Commands.weir(
                command,
                "--topology",
                Commands.topology(name),
                "--log",
                folder.path("shop.db")
            )
            #expect(result.code == 3 && result.output.isEmpty, "\(result)")
            #expect(result.errors.contains("`format: csv`") && result.errors.contains("weir replay"), "\(result)")
        }
        #expect(!FileManager.default.fileExists(atPath: folder.path("shop.db")))
    }

    @Test func `doctor says before a start what a log lacks and which topology is for files`() throws {
        let folder = try Commands.Folder()
        let path = folder.path("shop.db")
        #expect(try Commands.weir("simulate", "--events", "10", "--log", path).code == 0)
        let absent = try Commands.weir("doctor", "--topology", Commands.topology("bench-12"), "--log", path)
        #expect(absent.code == 0 && absent.output.contains("weir run makes them"), "\(absent)")
        let csv = try Commands.weir("doctor", "--topology", Commands.topology("online-retail"), "--log", path)
        #expect(csv.code == 3 && csv.output.contains("reads CSV"), "\(csv)")
    }
}
