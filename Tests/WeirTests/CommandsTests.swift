import Foundation
import Glibc
import Pipeline
import Simulation
import Testing

@testable import weir

@Suite(.enabled(if: WeirProgram.path != nil, Commands.absence))
struct CommandsSimulateTests {
    @Test func `traffic begins at the day that is asked for, and is the same otherwise`() throws {
        let day: Int64 = 1_764_460_800_000
        #expect(try SimulateCommand.startTime("2025-11-30") == day)
        #expect(try SimulateCommand.startTime("now", now: 5) == 5)
        #expect(try SimulateCommand.startTime("2024-02-29") == 1_709_164_800_000)
        for wrong in ["2025-02-29", "2025-13-01", "30.11.2025", "yesterday", "1999-12-31", "2025-1-1"] {
            #expect(throws: CommandFailure.self) { try SimulateCommand.startTime(wrong) }
        }
        func lines(_ arguments: String...) throws -> [Substring] {
            let words = ["simulate", "--events", "2000", "--seed", "4"] + arguments
            let result = try WeirProgram.run(try #require(WeirProgram.path), words)
            return result.output.split(separator: "\n")
        }
        let usual = try lines()
        let moved = try lines("--start", "2025-11-30")
        let time = #/"ts":(\d+)/#
        #expect(usual.count == 2000 && moved.count == 2000)
        for (a, b) in zip(usual, moved) {
            let (first, second) = (try #require(a.firstMatch(of: time)), try #require(b.firstMatch(of: time)))
            #expect(try #require(Int64(second.1)) - day == (try #require(Int64(first.1))) - TrafficSimulator.start)
            #expect(a.replacing(time, with: "") == b.replacing(time, with: ""))
        }
    }

    @Test func `the same seed gives the same bytes in a file, on stdout and in a log`() throws {
        let folder = try Commands.Folder()
        let file = try Commands.weir(
            "simulate",
            "--events",
            "3000",
            "--seed",
            "9",
            "--output",
            folder.path("e.jsonl"),
            "--truth",
            folder.path("t.jsonl")
        )
        #expect(file.code == 0 && file.output.isEmpty)
        #expect(file.errors.contains("3,000 events in"))
        let stdout = try Commands.weir("simulate", "--events", "3000", "--seed", "9", "--truth", folder.path("u.jsonl"))
        let events = try folder.text("e.jsonl")
        #expect(stdout.output == events)
        #expect(try folder.text("t.jsonl") == folder.text("u.jsonl"))
        let other = try Commands.weir("simulate", "--events", "3000", "--seed", "10")
        #expect(other.output != events)

        let path = folder.path("e.db")
        #expect(try Commands.weir("simulate", "--events", "3000", "--seed", "9", "--log", path).code == 0)
        let log = try EmbeddedLog(path: path, opening: .reading)
        defer { log.close() }
        var lines: Set<String> = []
        for topic in TrafficSimulator.topics {
            #expect(try log.partitions(of: topic) == [0])
            for record in try Commands.records(log, topic) {
                let line = String(decoding: record.value ?? [], as: UTF8.self)
                #expect(!(record.key ?? []).isEmpty)
                lines.insert(line)
            }
        }
        #expect(lines == Set(events.split(separator: "\n").map(String.init)))
    }

    @Test func `the truth has a line for every event`() throws {
        struct Truth: Decodable {
            var id: String
            var attack: String?
            var ring: String?
            var accounts: [String]
        }
        let folder = try Commands.Folder()
        let path = folder.path("t.jsonl")
        let result = try Commands.weir("simulate", "--events", "5000", "--truth", path)
        let truths = try folder.text("t.jsonl").split(separator: "\n").map {
            try JSONDecoder().decode(Truth.self, from: Data($0.utf8))
        }
        #expect(truths.count == 5000 && result.output.split(separator: "\n").count == 5000)
        #expect(truths.contains { $0.attack != nil })
        #expect(truths.allSatisfy { ($0.attack == nil) == $0.accounts.isEmpty })
    }

    @Test func `a rate is kept and SIGTERM ends with whole files`() throws {
        let folder = try Commands.Folder()
        let began = ContinuousClock.now
        let running = try RunningProgram(
            try #require(WeirProgram.path),
            [
                "simulate", "--events", "1000000", "--rate", "500", "--output", folder.path("e.jsonl"), "--truth",
                folder.path("t.jsonl"),
            ]
        )
        #expect(running.wait { _ in folder.gathered("e.jsonl") > 200 * 300 }, "\(running.errors)")
        running.send(SIGTERM)
        let result = try running.wait()
        #expect(result.code == 143)
        let seconds = began.duration(to: .now) / .seconds(1)
        let events = try folder.text("e.jsonl").split(separator: "\n").count
        let truths = try folder.text("t.jsonl").split(separator: "\n").count
        #expect(events == truths)
        #expect(Double(events) <= seconds * 500, "\(events) in \(seconds) s")
        #expect(result.errors.contains("events in"))
    }

    @Test func `what cannot be written is refused before the first event`() throws {
        let folder = try Commands.Folder()
        let file = try Commands.weir("simulate", "--output", folder.path("absent/e.jsonl"))
        #expect(file.code == 3 && file.errors.contains("cannot write") && file.output.isEmpty)
        let log = try Commands.weir("simulate", "--log", folder.path("absent/e.db"))
        #expect(log.code == 5 && log.errors.contains("Check the path"))
        let same = try Commands.weir("simulate", "--output", folder.path("a"), "--truth", folder.path("a"))
        #expect(same.code == 2)
        let full = try Commands.weir("simulate", "--events", "5000", "--output", "/dev/full")
        #expect(full.code == 3 && full.errors.contains("No space left"), "\(full)")
    }
}

@Suite(.enabled(if: WeirProgram.path != nil, Commands.absence))
struct CommandsCheckTests {
    @Test(arguments: ["marketplace", "quickstart", "online-retail", "ad-clicks", "bench-12"])
    func `every topology that ships is without mistakes`(name: String) throws {
        let plain = try Commands.weir("check", Commands.topology(name))
        #expect(plain.code == 0, "\(plain.errors)")
        #expect(plain.output.hasPrefix("\(name) version 1: "))
        let lines = try Commands.weir("check", "--json", Commands.topology(name)).output.split(separator: "\n")
        let summary =
            try JSONSerialization.jsonObject(with: Data(try #require(lines.last).utf8)) as? [String: [String: Any]]
        #expect(summary?["summary"]?["valid"] as? Bool == true)
        #expect(summary?["summary"]?["topology"] as? String == name)
    }

    @Test func `how many keys are kept is told by the kind of key, as it holds`() throws {
        let folder = try Commands.Folder()
        try FileManager.default.copyItem(atPath: Commands.topology("quickstart"), toPath: folder.path("shop"))
        let plain = try String(contentsOfFile: Commands.topology("quickstart") + "/topology.yaml", encoding: .utf8)
        // A slot keeps at least sixteen.
        for (limit, kept) in [("2000000", "2,000,000"), ("7000", "6,976"), ("10", "1,024")] {
            _ = try folder.write("shop/topology.yaml", plain + "limits: { keys: \(limit) }\n")
            let text = try Commands.weir("check", folder.path("shop"))
            #expect(text.output.contains("\nkeys    at most \(kept) of each kind: account\n"), "\(text)")
            let data = try Commands.weir("check", "--json", folder.path("shop"))
            let number = kept.filter { $0 != "," }
            #expect(data.output.contains("\"keys_max\":\(number),\"key_kinds\":[\"account\"],"), "\(data)")
        }
    }

    @Test func `one of a kind is told in the singular`() throws {
        let plain = try Commands.weir("check", Commands.topology("quickstart"))
        let first = "quickstart version 1: 1 event type on 1 topic, 1 rule, 2 windows, no mistakes\n"
        #expect(plain.output.hasPrefix(first), "\(plain.output)")
        // A warning is no mistake, and is counted beside them.
        let folder = try Commands.Folder()
        try FileManager.default.copyItem(atPath: Commands.topology("quickstart"), toPath: folder.path("shop"))
        let rule = try folder.text("shop/rules/first.weir")
        _ = try folder.write(
            "shop/rules/first.weir",
            rule.replacing("  let orders", with: "  let idle = count() of order by account over 5m\n  let orders")
        )
        let warned = try Commands.weir("check", folder.path("shop"))
        #expect(warned.code == 0, "\(warned)")
        #expect(warned.errors.contains("'idle' is never used"), "\(warned)")
        let heading = try #require(warned.output.split(separator: "\n").first)
        #expect(heading.hasSuffix(", no mistakes, 1 warning"), "\(warned)")
        let several = try Commands.weir("check", Commands.topology("marketplace"))
        #expect(several.output.contains(" event types on 9 topics, "), "\(several.output)")
    }

    @Test func `mistakes are shown with their place, all of them, as text and as data`() throws {
        let folder = try Commands.Folder()
        try FileManager.default.copyItem(atPath: Commands.topology("quickstart"), toPath: folder.path("shop"))
        _ = try folder.write(
            "shop/rules/bad.weir",
            """
            rule first_bad "A" {
              owner "you"  severity low
              on order
              when acount == "x"
              then review
              because "a"
            }
            rule second_bad "B" {
              owner "you"  severity low
              on order
              when amount > "x"
              then review
              because "b"
            }

            """
        )
        let plain = try Commands.weir("check", folder.path("shop"))
        #expect(plain.code == 3 && plain.output.isEmpty)
        #expect(plain.errors.contains("rules/bad.weir:4:8: error: "))
        #expect(plain.errors.contains("did you mean 'account'?") && plain.errors.contains("rules/bad.weir:11:"))
        let data = try Commands.weir("check", "--json", folder.path("shop"))
        #expect(data.code == 3 && data.errors.isEmpty)
        let objects = try data.output.split(separator: "\n").map {
            try #require(JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])
        }
        #expect(objects.count >= 3)
        #expect(objects[0]["line"] as? Int == 4 && objects[0]["column"] as? Int == 8)
        #expect((objects[0]["path"] as? String)?.hasSuffix("rules/bad.weir") == true)
        #expect((objects[0]["suggestion"] as? String)?.contains("account") == true)
        #expect((objects.last?["summary"] as? [String: Any])?["valid"] as? Bool == false)
    }

    @Test func `a folder that is none is named`() throws {
        for path in ["/nonexistent", "/etc", "/etc/passwd"] {
            let result = try Commands.weir("check", path)
            #expect(result.code == 3 && result.errors.contains(path), "\(result.errors)")
        }
    }
}

@Suite(.enabled(if: WeirProgram.path != nil, Commands.absence))
struct CommandsDoctorTests {
    private struct Report: Decodable {
        struct Finding: Decodable {
            var state: String
            var subject: String
            var message: String
            var remedy: String?
        }
        var state: String
        var findings: [Finding]
        func find(_ subject: String) -> [Finding] { findings.filter { $0.subject == subject } }
    }

    private func examine(_ arguments: String...) throws -> (code: Int32, report: Report) {
        let result = try WeirProgram.run(try #require(WeirProgram.path), ["doctor", "--json"] + arguments)
        return (result.code, try JSONDecoder().decode(Report.self, from: Data(result.output.utf8)))
    }

    @Test func `a machine without a log is looked at`() throws {
        let (code, report) = try examine()
        #expect(code == 0)
        #expect(Set(report.findings.map(\.subject)) == ["machine", "librdkafka", "sqlite"])
        let plain = try Commands.weir("doctor")
        #expect(plain.output.contains("cores") && plain.output.hasPrefix("ok "))
    }

    @Test func `a sound log with its topology is found sound, and its damages are named`() throws {
        let folder = try Commands.Folder()
        let path = try Commands.judgedLog(folder, events: 10_000)
        let marketplace = Commands.topology("marketplace")
        let (code, report) = try examine("--log", path, "--topology", marketplace)
        #expect(code == 0)
        for subject in ["topology", "log", "topics", "inputs", "journal", "retention", "positions"] {
            #expect(report.find(subject).map(\.state) == ["ok"], "\(subject): \(report.find(subject))")
        }
        // Another topology on the same log: the journal is not its own.
        let other = try examine("--log", path, "--topology", Commands.topology("ad-clicks"))
        let finding = try #require(other.report.find("journal").first)
        #expect(other.code == 3 && finding.state == "fail")
        #expect(finding.message.contains("'marketplace'") && finding.message.contains("'ad-clicks'"))
        do {
            let log = try EmbeddedLog(path: path)
            defer { log.close() }
            try log.deleteRecords(of: TopicPartition("orders", 0), before: 5)
        }
        let eaten = try examine("--log", path, "--topology", marketplace)
        #expect(eaten.code == 7 && eaten.report.find("retention").first?.message.contains("orders/0") == true)
        do {
            let log = try EmbeddedLog(path: path)
            defer { log.close() }
            try log.deleteRecords(of: TopicPartition(OutputTopics.journal, 0), before: 1)
        }
        let cut = try examine("--log", path)
        #expect(cut.code == 7 && cut.report.find("journal").first?.state == "fail")
    }

    @Test(.enabled(if: access("/usr/bin/sqlite3", X_OK) == 0, "needs sqlite3 (Debian package sqlite3)"))
    func `records and tables that are missing in a log are named`() throws {
        let folder = try Commands.Folder()
        let path = try Commands.judgedLog(folder, events: 500)
        #expect(try examine("--log", path).report.find("records").map(\.state) == ["ok"])
        func change(_ sql: String) throws {
            #expect(system("sqlite3 '\(path)' \"\(sql)\"") == 0)
        }
        let log = try EmbeddedLog(path: path)
        let end = try log.bounds(of: TopicPartition("orders", 0)).end
        log.close()
        try #require(end > 10)
        let script =
            "sqlite3 '\(path)' \"SELECT 'records_' || id FROM partitions WHERE topic = 'orders'\" > '\(folder.path("name"))'"
        try #require(system(script) == 0)
        let name = try folder.text("name").split(separator: "\n")[0]
        try change("DELETE FROM \(name) WHERE offset IN (3, 4)")
        let gap = try examine("--log", path)
        #expect(gap.code == 7, "\(gap)")
        #expect(
            gap.report.find("records").map(\.message)
                == ["orders/0 lacks 2 of its records, offsets 0 to \(end - 1)"],
            "\(gap)"
        )
        try change("DROP TABLE \(name)")
        let dropped = try examine("--log", path)
        #expect(dropped.code == 7, "\(dropped)")
        #expect(dropped.report.find("records").map(\.message) == ["orders/0 has lost its table \(name)"], "\(dropped)")
    }

    @Test func `a wrong path, topology or properties file is a finding with its code`() throws {
        let folder = try Commands.Folder()
        #expect(try examine("--log", folder.path("none.db")).code == 5)
        #expect(try examine("--topology", "/nonexistent").code == 3)
        let broken = try folder.write("k.properties", "bootstrap.server=x\n")
        #expect(try examine("--kafka", broken).code == 3)
        let dead = try folder.write("d.properties", "bootstrap.servers=127.0.0.1:1\nweir.connect.ms=300\n")
        let (code, report) = try examine("--kafka", dead)
        #expect(code == 5 && report.find("log").first?.message.contains("127.0.0.1:1") == true)
    }
}

/// Each way in which a start fails: the documented code and a message that says what to do.
@Suite(.enabled(if: WeirProgram.path != nil, Commands.absence))
struct CommandsFailureTests {
    private static let marketplace = Commands.topology("marketplace")

    /// Commands that need a log, without it.
    private static let commands = [
        ["run", "--topology", marketplace], ["audit", "--topology", marketplace], ["tail"],
        ["simulate", "--events", "10"],
    ]

    @Test(arguments: commands)
    func `no broker ends with 5 within the time that the properties give`(command: [String]) throws {
        let folder = try Commands.Folder()
        let file = try folder.write("k.properties", "bootstrap.servers=127.0.0.1:1\nweir.connect.ms=400\n")
        let result = try WeirProgram.run(try #require(WeirProgram.path), command + ["--kafka", file])
        #expect(result.code == 5, "\(result.errors)")
        #expect(result.errors.contains("127.0.0.1:1") && result.errors.contains("bootstrap.servers"))
    }

    @Test(arguments: [
        ("bootstrap.servers=h:1\nsecurity.protocl=ssl\n", "did you mean"),
        ("security.protocol=ssl\n", "bootstrap.servers"),
        ("bootstrap.servers=h:1\nweir.conect.ms=5\n", "weir.connect.ms"),
        ("bootstrap.servers=h:1\nweir.connect.ms=soon\n", "milliseconds"),
        ("bootstrap.servers=h:1\nnonsense\n", "line 2"),
        (
            "bootstrap.servers=h:1\nsasl.password=hunter2\nsasl.mechanisms=PLAIN\nsecurity.protocol=SASL\n",
            "security.protocol"
        ),
    ])
    func `a properties file that is wrong ends with 3 and shows no secret`(text: String, said: String) throws {
        let folder = try Commands.Folder()
        let file = try folder.write("k.properties", text)
        for command in CommandsFailureTests.commands {
            let result = try WeirProgram.run(try #require(WeirProgram.path), command + ["--kafka", file])
            #expect(result.code == 3 && result.errors.contains(said), "\(command) \(result.errors)")
            #expect(!result.errors.contains("hunter2"))
        }
    }

    @Test func `a properties file that is absent ends with 3`() throws {
        let result = try Commands.weir("tail", "--kafka", "/nonexistent/k.properties")
        #expect(result.code == 3 && result.errors.contains("/nonexistent/k.properties"))
    }

    @Test(arguments: [["run"], ["audit"]])
    func `a wrong topology or rule ends with 3 and its place`(command: [String]) throws {
        let folder = try Commands.Folder()
        let path = folder.path("x.db")
        let absent = try WeirProgram.run(
            try #require(WeirProgram.path),
            command + ["--topology", "/nonexistent", "--log", path]
        )
        #expect(absent.code == 3 && absent.errors.contains("there is no folder"))
        try FileManager.default.copyItem(atPath: Commands.topology("quickstart"), toPath: folder.path("shop"))
        _ = try folder.write("shop/rules/bad.weir", "rule bad \"x\" {\n")
        let rule = try WeirProgram.run(
            try #require(WeirProgram.path),
            command + ["--topology", folder.path("shop"), "--log", path]
        )
        #expect(rule.code == 3 && rule.errors.contains("rules/bad.weir:"), "\(rule.errors)")
        #expect(!FileManager.default.fileExists(atPath: path))
    }

    @Test func `a file that is no log is not touched`() throws {
        let folder = try Commands.Folder()
        let path = try folder.write(
            "notes.txt",
            "these are my notes, and they are longer than one hundred bytes, so that SQLite looks at them as a header.\n"
        )
        for command in CommandsFailureTests.commands {
            let result = try WeirProgram.run(try #require(WeirProgram.path), command + ["--log", path])
            #expect(result.code != 0 && result.errors.contains("notes.txt"), "\(command) \(result.errors)")
        }
        #expect(try folder.text("notes.txt").hasPrefix("these are my notes"))
    }
}
