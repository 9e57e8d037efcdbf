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

    @Test func `metrics are of the process and its folder: what a changed folder no longer has is gone from them`()
        throws
    {
        let folder = try Commands.Folder()
        let (path, metrics) = (folder.path("shop.db"), folder.path("weir.prom"))
        let log = try EmbeddedLog(path: path)
        defer { log.close() }
        try log.create([TopicRequirement(name: "orders", partitions: 1)])
        func order(_ second: Int, _ amount: String = "150.00") throws {
            let time = 1_772_618_400_000 + second * 1000
            let text = "{\"id\":\"o\(second)\",\"ts\":\(time),\"account\":\"a\",\"amount\":\(amount)}"
            try Commands.append(log, "orders", key: nil, value: Array(text.utf8))
        }
        /// The file that a worker leaves when all is judged, and whether it spoke of these before.
        func run(_ topology: String, records: Int) throws -> (text: String, atStart: String) {
            let running = try RunningProgram(
                try #require(WeirProgram.path),
                ["run", "--topology", topology, "--log", path, "--metrics", metrics]
            )
            #expect(running.wait { $0.errors.contains("msg=ready") }, "\(running.errors)")
            let atStart = try folder.text("weir.prom")
            let isDone = running.wait { _ in
                (try? Journal(in: log).newest())?.ranges.last?.to == Int64(records)
            }
            #expect(isDone, "\(running.errors)")
            running.send(SIGTERM)
            #expect(try running.wait().code == 143)
            return (try folder.text("weir.prom"), atStart)
        }
        for second in 0..<5 { try order(second) }
        try order(5, "\"much\"")
        try Commands.append(log, "orders", key: nil, value: Array("{".utf8))
        let names = [
            "weir_rule_hits_total{mode=\"live\",rule=\"order_burst\",topology=\"quickstart\"}",
            "weir_dlq_records_total{code=\"truncated_json\",topic=\"orders\",topology=\"quickstart\"}",
            "weir_field_values_total{event=\"order\",field=\"amount\",state=\"damaged\",topology=\"quickstart\"}",
            "weir_rule_undetermined_total{lacks=\"",
        ]
        let first = try run(Commands.topology("quickstart"), records: 7).text
        for name in names.dropLast() { #expect(first.contains(name + " "), "\(name) in \(first)") }

        try FileManager.default.copyItem(atPath: Commands.topology("quickstart"), toPath: folder.path("changed"))
        for (file, old, new) in [
            ("topology.yaml", "amount: {", "price: { path: amount,"),
            ("rules/first.weir", "rule order_burst", "rule order_rush"),
            ("rules/first.weir", "sum(amount)", "sum(price)"),
        ] {
            let text = try folder.text("changed/\(file)")
            #expect(text.contains(old))
            _ = try folder.write("changed/\(file)", text.replacing(old, with: new))
        }
        for second in 10..<12 { try order(second) }
        let second = try run(folder.path("changed"), records: 9)
        for text in [second.text, second.atStart] {
            for name in names + ["order_burst", "field=\"amount\""] {
                #expect(!text.contains(name), "\(name) in \(text)")
            }
        }
        let ours = ",topology=\"quickstart\"}"
        #expect(
            second.text.contains("weir_rule_hits_total{mode=\"live\",rule=\"order_rush\"\(ours) 2\n"),
            "\(second.text)"
        )
        #expect(second.text.contains("weir_replay_events_total{topology=\"quickstart\"} 6\n"), "\(second.text)")
        #expect(second.text.contains("weir_events_consumed_total{topic=\"orders\"\(ours) 2\n"), "\(second.text)")
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
