import Foundation
import Pipeline
import Telemetry
import Testing
import Waiting

@testable import weir

/// A clock that shows another time of day.
private struct ShiftedClock: WorkerClock {
    let shift: Int64
    private let clock = SystemClock()
    init(shift: Int64) { self.shift = shift }
    var now: Duration { clock.now }
    var wallMilliseconds: Int64 { clock.wallMilliseconds + shift }
    func pause(for duration: Duration) { clock.pause(for: duration) }
}

@Suite(.enabled(if: WeirProgram.path != nil, Commands.absence))
struct CommandsStatusTests {
    private struct Report: Decodable {
        struct Topic: Decodable {
            var topic: String
            var lag: Int64
            var unread_partitions: [Int32]
            var lost: Int64
        }
        struct Note: Decodable { var text: String }
        var state: String
        var running: Bool?
        var exit_code: Int32
        var epoch: Int64?
        var lag: Int64
        var oldest_uncommitted_seconds: Double?
        var is_folders_release: Bool?
        var engine: String?
        var topics: [Topic]
        var notes: [Note]
    }

    private func status(_ path: String) throws -> Report {
        let result = try Commands.weir(
            "status",
            "--topology",
            Commands.topology("quickstart"),
            "--log",
            path,
            "--apart",
            "1",
            "--json"
        )
        let report = try JSONDecoder().decode(Report.self, from: Data(result.output.utf8))
        #expect(report.exit_code == result.code, "\(result)")
        return report
    }

    private func add(_ count: Int, to log: EmbeddedLog, partition: Int32 = 0) throws {
        let order = #"{"id":"o1","ts":1772618400000,"account":"ada","amount":120.00}"#
        for _ in 0..<count {
            try Commands.append(log, "orders", partition: partition, key: nil, value: Array(order.utf8))
        }
    }

    @Test func `from a log alone: never ran, judged, waiting for a moment, stopped, not read, deleted`() throws {
        let folder = try Commands.Folder()
        let path = folder.path("shop.db")
        let log = try EmbeddedLog(path: path, application: "weir-quickstart")
        defer { log.close() }
        try log.create([TopicRequirement(name: "orders", partitions: 1)])
        try add(10, to: log)
        let fresh = try status(path)
        #expect(fresh.state == "never_ran" && fresh.exit_code == 10 && fresh.running == false)

        try Commands.judge(path, with: Commands.topology("quickstart"))
        let positions = try log.committedPositions(of: [TopicPartition("orders", 0)])
        let judged = try status(path)
        #expect(judged.state == "judging" && judged.exit_code == 0 && judged.lag == 0, "\(judged)")
        #expect(judged.is_folders_release == true && judged.engine == Deployment.engineVersion && judged.epoch != nil)

        try add(3, to: log)
        let waiting = try status(path)
        #expect(waiting.state == "unclear" && waiting.exit_code == 11 && waiting.running == nil && waiting.lag == 3)
        let doctor = try Commands.weir("doctor", "--topology", Commands.topology("quickstart"), "--log", path)
        #expect(doctor.code == 0 && doctor.output.contains("warn  worker"), "\(doctor)")
        #expect(doctor.output.contains("3 records wait"))

        // Looking has moved nothing.
        #expect(try log.committedPositions(of: [TopicPartition("orders", 0)]) == positions)

        try log.deleteRecords(of: TopicPartition("orders", 0), before: 12)
        let lost = try status(path)
        #expect(lost.state == "lost" && lost.exit_code == 7 && lost.topics.first?.lost == 2)
        #expect(lost.notes.contains { $0.text.contains("2 offsets were deleted before they were judged") })
    }

    @Test func `records that wait for an hour say that nobody judges them, and one who does is seen`() throws {
        let folder = try Commands.Folder()
        let path = folder.path("shop.db")
        let old = try EmbeddedLog(path: path, application: "weir-quickstart", clock: ShiftedClock(shift: -3_600_000))
        defer { old.close() }
        try old.create([TopicRequirement(name: "orders", partitions: 1)])
        try add(2, to: old)
        try Commands.judge(path, with: Commands.topology("quickstart"))
        try add(3, to: old)
        let stopped = try status(path)
        #expect(stopped.state == "stopped" && stopped.exit_code == 10 && stopped.running == false, "\(stopped)")
        #expect(try #require(stopped.oldest_uncommitted_seconds) > 3_500)
        let words = ["status", "--topology", Commands.topology("quickstart"), "--log", path]
        let text = try WeirProgram.run(try #require(WeirProgram.path), words)
        #expect(text.code == 10 && text.output.contains("no worker judges what waits"), "\(text)")
        #expect(text.output.contains("3 records wait") && text.output.contains("the oldest for 60 min"))

        let run = try RunningProgram(
            try #require(WeirProgram.path),
            ["run", "--topology", Commands.topology("quickstart"), "--log", path]
        )
        var seen: Report?
        try Waiting.until {
            seen = try status(path)
            return seen?.exit_code == 0
        }
        #expect(seen?.state == "judging" && seen?.running == true && seen?.lag == 0, "\(run.errors)")
        run.send(SIGTERM)
        #expect(try run.wait().code == 143)
    }

    @Test func `another topology's log and one that is not there have codes of their own`() throws {
        let folder = try Commands.Folder()
        let path = try Commands.judgedLog(folder, events: 200)
        let other = try Commands.weir("status", "--topology", Commands.topology("quickstart"), "--log", path)
        #expect(other.code == 3 && other.errors.contains("'marketplace'"), "\(other)")
        let none = try Commands.weir(
            "status",
            "--topology",
            Commands.topology("quickstart"),
            "--log",
            folder.path("no.db")
        )
        #expect(none.code == 5, "\(none)")
    }
}
