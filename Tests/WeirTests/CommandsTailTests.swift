import Foundation
import Pipeline
import Testing

@testable import weir

@Suite(.enabled(if: WeirProgram.path != nil, Commands.absence))
struct CommandsTailTests {
    @Test func `verdicts come as lines with tags for subjects, as data, and chosen`() throws {
        let folder = try Commands.Folder()
        let path = try Commands.judgedLog(folder)
        let log = try EmbeddedLog(path: path)
        defer { log.close() }
        func tail(_ arguments: String..., until lines: Int) throws -> WeirProgram.Result {
            let running = try RunningProgram(try #require(WeirProgram.path), ["tail", "--log", path] + arguments)
            #expect(running.wait { $0.output.split(separator: "\n").count >= lines }, "\(running.errors)")
            running.send(SIGINT)
            return try running.wait()
        }
        let verdicts = try Commands.records(log, OutputTopics.verdicts)
        let bodies = Set(verdicts.map { String(decoding: $0.value ?? [], as: UTF8.self) })

        let data = try tail("--since", "1h", "--json", until: verdicts.count)
        #expect(data.code == 130)
        #expect(Set(data.output.split(separator: "\n").map(String.init)) == bodies)
        let lines = try tail("--since", "1h", until: verdicts.count).output.split(separator: "\n")
        #expect(lines.count == verdicts.count)
        #expect(lines.allSatisfy { $0.contains(#/ [a-z]+:#[0-9a-f]{6} /#) && !$0.contains("\u{1b}") })
        // Date, time, severity.
        let wanted = lines.filter { ["high", "critical"].contains($0.split(separator: " ")[2]) }
        #expect(!wanted.isEmpty && wanted.count < lines.count)
        let high = try tail("--since", "1h", "--unmask", "--severity", "high", until: wanted.count).output.split(
            separator: "\n"
        )
        #expect(
            high.count == wanted.count
                && high.allSatisfy { ["high", "critical"].contains($0.split(separator: " ")[2]) }
        )
        // Subjects are told apart, and shown where that is asked for.
        func ended(_ arguments: String...) throws -> WeirProgram.Result {
            let words = ["tail", "--log", path, "--since", "1h", "--no-follow"] + arguments
            return try WeirProgram.run(try #require(WeirProgram.path), words)
        }
        let subjects = try verdicts.map { try #require($0.key.map { String(decoding: $0, as: UTF8.self) }) }
        func named(_ lines: [Substring]) -> Set<Substring> { Set(lines.map { $0.split(separator: " ")[5] }) }
        #expect(named(lines).count == Set(subjects).count)
        let unmasked = try ended("--unmask")
        #expect(unmasked.code == 0)
        let ids = named(unmasked.output.split(separator: "\n")).map { String($0.drop { $0 != ":" }.dropFirst()) }
        #expect(Set(ids) == Set(subjects))
        let first = try #require(subjects.first)
        let ofOne = try ended("--subject", first, "--json")
        #expect(ofOne.output.split(separator: "\n").count == subjects.count { $0 == first })
        #expect(ofOne.errors.contains("\(verdicts.count - subjects.count { $0 == first }) not asked for"))
        let newest = try ended("--last", "3", "--json").output.split(separator: "\n").map(String.init)
        #expect(newest == Array(try ended("--json").output.split(separator: "\n").map(String.init).suffix(3)))
        #expect(try ended("--last", "3").errors.contains("3 of \(verdicts.count) verdicts shown"))
        #expect(try ended("--rule", "nobody's").output.isEmpty)
        // Without --since only what comes is shown.
        let following = try RunningProgram(try #require(WeirProgram.path), ["tail", "--log", path])
        try Commands.mark(log, until: following)
        following.send(SIGINT)
        #expect(try following.wait().output.split(separator: "\n").allSatisfy { $0.contains("mark") })
    }

    @Test func `it may be started before the pipeline, and sees what is committed meanwhile`() throws {
        let folder = try Commands.Folder()
        let path = folder.path("shop.db")
        _ = try Commands.weir("simulate", "--events", "5000", "--log", path)
        let running = try RunningProgram(try #require(WeirProgram.path), ["tail", "--log", path])
        #expect(running.wait { $0.errors.contains("waiting until weir run") })
        try Commands.judge(path, with: Commands.topology("marketplace"))
        #expect(running.wait { !$0.output.isEmpty })
        running.send(SIGTERM)
        #expect(try running.wait().code == 143)
    }

    @Test func `what is no verdict shows escaped, and what was deleted leaves a gap line`() throws {
        let folder = try Commands.Folder()
        let path = folder.path("t.db")
        let log = try EmbeddedLog(path: path)
        defer { log.close() }
        try log.create(OutputTopics.requirements(partitions: 1))
        try Commands.append(log, OutputTopics.verdicts, key: nil, value: Array("old".utf8))
        let running = try RunningProgram(try #require(WeirProgram.path), ["tail", "--log", path])
        try Commands.mark(log, until: running)
        try Commands.append(log, OutputTopics.verdicts, key: nil, value: Array("a\u{1b}[31m\n".utf8))
        #expect(running.wait { $0.output.contains("\\x1b[31m\\n\n") }, "\(running.output)")
        #expect(!running.output.contains("old") && !running.output.contains("\u{1b}"))
        running.send(SIGSTOP)
        let source = TopicPartition(OutputTopics.verdicts, 0)
        let end = try log.bounds(of: source).end
        for text in ["eaten", "eaten too", "kept"] {
            try Commands.append(log, OutputTopics.verdicts, key: nil, value: Array(text.utf8))
        }
        try log.deleteRecords(of: source, before: end + 2)
        running.send(SIGCONT)
        #expect(
            running.wait { $0.output.contains("kept") && $0.errors.contains("offsets \(end) to \(end + 1)") },
            "\(running.errors)"
        )
        #expect(!running.output.contains("eaten"))
        running.send(SIGTERM)
        _ = try running.wait()
    }

    @Test func `a log that does not answer is told of once, and when it is back`() {
        let second: UInt64 = 1_000_000_000
        var silence = TailSilence(after: 5, now: 0)
        var asked = 0
        func nothing(_ at: UInt64, isAtEnd: Bool) -> String? {
            silence.nothing(now: at * second) {
                asked += 1
                return isAtEnd
            }
        }
        #expect(nothing(4, isAtEnd: false) == nil && asked == 0)
        // A quiet night is none.
        #expect(nothing(5, isAtEnd: true) == nil && asked == 1)
        #expect(nothing(10, isAtEnd: false) == nil && nothing(14, isAtEnd: false) == nil && asked == 2)
        #expect(
            nothing(15, isAtEnd: false)
                == "gap: the log has not answered for 10 s; verdicts of this time come when it is back"
        )
        #expect(nothing(20, isAtEnd: false) == nil && asked == 4)
        #expect(nothing(25, isAtEnd: true) == "the log is back after 20 s")
        #expect(nothing(30, isAtEnd: false) == nil && nothing(35, isAtEnd: false) != nil)
        #expect(silence.something(now: 36 * second) == "the log is back after 11 s")
        #expect(silence.something(now: 37 * second) == nil)
    }

    @Test func `on a terminal the severe are shown, the others up to a bound, and what is left out is counted`() throws
    {
        let definition = TailCommand.definition
        guard case .run(let arguments) = try ArgumentParser(definitions: [definition]).parse(["tail", "--log", "a.db"])
        else {
            preconditionFailure("a command")
        }
        let terminal = Terminal(capturingAsTerminal: true, environment: { $0 == "NO_COLOR" ? "1" : nil })
        var printer = TailPrinter(arguments, terminal)
        func verdict(_ severity: String) -> [UInt8] {
            Array(
                """
                {"decision":"block","score":1,"subject":{"type":"account","id":"a"},"event":{"type":"order","id":"o","time":"2026-01-05T08:00:00Z"},\
                "reasons":[{"rule":"r","severity":"\(severity)","text":"t"}]}
                """.utf8
            )
        }
        // What was there at the start is shown whole.
        for _ in 0..<200 { printer.take(verdict("low"), committed: 0) }
        printer.endBacklog()
        #expect(terminal.captured.output.split(separator: "\n").count == 200)
        for _ in 0..<400 { printer.take(verdict("low"), committed: 0) }
        for _ in 0..<30 { printer.take(verdict("critical"), committed: 0) }
        let lines = terminal.captured.output.split(separator: "\n")
        #expect(lines.count { $0.contains("critical") } == 30)
        let shown = lines.count { !$0.contains("more") }
        // The clock may have begun a new second in between, and then another fifty.
        #expect(shown < 200 + 430)
        #expect(printer.summary == "\(shown) of 630 verdicts shown, \(630 - shown) left out")
    }

    @Test func `event times are shown as wall time here`() {
        setenv("TZ", "UTC", 1)
        tzset()
        #expect(LocalTime.text("2026-01-05T08:00:00Z") == "2026-01-05 08:00:00Z")
        #expect(LocalTime.text("2026-01-05T08:00:00.250Z") == "2026-01-05 08:00:00Z")
        setenv("TZ", "IST-5:30", 1)
        tzset()
        #expect(LocalTime.text("2026-01-05T22:00:00Z") == "2026-01-06 03:30:00+05:30")
        setenv("TZ", "UTC", 1)
        tzset()
        #expect(LocalTime.text("yesterday") == nil && LocalTime.text("2026-01-05T08:00:00+01:00") == nil)
    }
}
