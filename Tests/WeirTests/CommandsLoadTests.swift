import Foundation
import Glibc
import KafkaTestBroker
import Pipeline
import Testing

@Suite(.enabled(if: WeirProgram.path != nil, Commands.absence))
struct CommandsLoadTests {
    private let folder: Commands.Folder
    private let marketplace = Commands.topology("marketplace")
    private let quickstart = Commands.topology("quickstart")

    init() throws { folder = try Commands.Folder() }

    /// Lines of a file of JSON by the topic that their kind stands for.
    private func lines(_ path: String) throws -> [String] {
        try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n").map(String.init)
    }

    private func load(_ arguments: String...) throws -> WeirProgram.Result {
        try WeirProgram.run(try #require(WeirProgram.path), ["load", "--topology"] + arguments)
    }

    @Test func `a file that is loaded and judged gives the verdicts of its replay, byte for byte`() throws {
        let orders = quickstart + "/samples/orders.jsonl"
        let result = try load(quickstart, "--input", orders, "--log", folder.path("shop.db"))
        #expect(result.code == 0 && result.output.isEmpty && result.errors.contains("5 records in"), "\(result)")
        try Commands.judge(folder.path("shop.db"), with: quickstart)
        let replay = try Commands.weir("replay", "--topology", quickstart, "--input", orders, "--output", "-")
        let log = try EmbeddedLog(path: folder.path("shop.db"), opening: .reading)
        defer { log.close() }
        let verdicts = try Commands.records(log, OutputTopics.verdicts).map {
            String(decoding: $0.value ?? [], as: UTF8.self)
        }
        #expect(verdicts.count == 1 && verdicts.joined(separator: "\n") + "\n" == replay.output)
        let loaded = try Commands.records(log, "orders")
        let wanted = try lines(orders)
        #expect(loaded.map { String(decoding: $0.value ?? [], as: UTF8.self) } == wanted)
        let accounts = try wanted.map { line in
            try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
        }.map { $0?["account"] as? String }
        #expect(loaded.map { $0.key.map { String(decoding: $0, as: UTF8.self) } } == accounts)
    }

    @Test func `files of all topics are merged by time, each record into its own, and judged as in a replay`() throws {
        #expect(
            try Commands.weir("simulate", "--events", "6000", "--seed", "3", "--output", folder.path("all.jsonl")).code
                == 0
        )
        let all = try lines(folder.path("all.jsonl"))
        // Runs of different lengths in two files, one of them compressed.
        let parts = [0, 1].map { part in
            all.enumerated().filter { ($0.offset / 37 + $0.offset / 500) % 2 == part }.map(\.element)
        }
        let inputs = try parts.enumerated().map { n, part in
            try folder.write("part\(n).jsonl", part.joined(separator: "\n") + "\n")
        }
        #expect(system("gzip -n '\(inputs[1])'") == 0)
        let result = try load(
            marketplace,
            "--input",
            inputs[0],
            inputs[1] + ".gz",
            "--log",
            folder.path("shop.db"),
            "--json"
        )
        #expect(result.code == 0 && result.output.contains("{\"records\":6000,\"unreadable\":0,"), "\(result)")
        let counts = try Commands.judge(folder.path("shop.db"), with: marketplace)
        #expect(counts.records == 6000 && counts.deadLetters == 0 && counts.late + counts.setAside == 0)

        /// Verdicts by the event's id, without what tells where its record stands.
        func said(_ verdicts: [String]) -> [Substring: String] {
            Dictionary(
                verdicts.map { verdict in
                    let topic = verdict.firstRange(of: ",\"topic\":")?.lowerBound ?? verdict.startIndex
                    let id = verdict.firstRange(of: ",\"id\":\"e")?.lowerBound ?? verdict.endIndex
                    return (verdict[id...].prefix(20), String(verdict[..<topic].dropFirst(51)) + verdict[id...])
                },
                uniquingKeysWith: { $0 + $1 }
            )
        }
        let replay = try Commands.weir(
            "replay",
            "--topology",
            marketplace,
            "--input",
            folder.path("all.jsonl"),
            "--output",
            "-"
        )
        let log = try EmbeddedLog(path: folder.path("shop.db"), opening: .reading)
        defer { log.close() }
        let live = try Commands.records(log, OutputTopics.verdicts).map {
            String(decoding: $0.value ?? [], as: UTF8.self)
        }
        let wanted = said(replay.output.split(separator: "\n").map(String.init))
        #expect(wanted.count > 50 && said(live) == wanted)
        var loaded: [String] = []
        for topic in try Deployment(folder: marketplace).description.topics {
            loaded += try Commands.records(log, topic).map { String(decoding: $0.value ?? [], as: UTF8.self) }
        }
        #expect(loaded.sorted() == all.sorted())
    }

    @Test func `what cannot be read is loaded where its topic is known, and told where not`() throws {
        let mixed = try folder.write(
            "mixed.jsonl",
            "no json\n" + (try lines(quickstart + "/samples/orders.jsonl")[0]) + "\n{\"id\":\"x\"}\n"
        )
        let result = try load(quickstart, "--input", mixed, "--log", folder.path("a.db"))
        #expect(result.code == 0 && result.errors.contains("3 records in"), "\(result)")
        #expect(result.errors.contains("2 unreadable among them"))
        let counts = try Commands.judge(folder.path("a.db"), with: quickstart)
        #expect(counts.deadLetters == 2 && counts.events == 1)

        let named = try load(marketplace, "--input", "orders=\(mixed)", "--log", folder.path("b.db"), "--json")
        #expect(named.code == 0 && named.output.hasPrefix("{\"records\":3,\"unreadable\":3,"), "\(named)")
        let unnamed = try load(marketplace, "--input", mixed, "--log", folder.path("c.db"))
        #expect(unnamed.code == 3 && unnamed.errors.contains("no record could be loaded"), "\(unnamed)")
        #expect(unnamed.errors.contains("3 records not loaded") && unnamed.errors.contains("TOPIC=FILE"))
    }

    @Test func `a pace is kept`() throws {
        let orders = (0..<200).map {
            "{\"id\":\"o\($0)\",\"ts\":\(1_772_618_400_000 + $0 * 100),\"account\":\"ada\",\"amount\":200.00}"
        }
        // One clock is an hour ahead: nobody waits for it.
        let ahead = "{\"id\":\"x\",\"ts\":\(1_772_618_400_000 + 3_600_000),\"account\":\"eve\",\"amount\":200.00}"
        let path = try folder.write(
            "o.jsonl",
            (orders[..<100] + [ahead] + orders[100...]).joined(separator: "\n") + "\n"
        )
        for (n, pace) in [["--rate", "400"], ["--speed", "40"], ["--rate", "1000000"]].enumerated() {
            let start = ContinuousClock.now
            let result = try load(quickstart, "--input", path, "--log", folder.path("\(n).db"), pace[0], pace[1])
            #expect(result.code == 0 && result.errors.contains("201 records in"), "\(result)")
            // 201 records at 400 a second; 20 seconds 40 times as fast.
            if n < 2 { #expect(start.duration(to: .now) >= .milliseconds(490), "\(pace)") }
        }
    }

    @Test func `what cannot go into a log is refused, and nothing is made`() throws {
        let csv = try load(Commands.topology("online-retail"), "--input", "x.csv", "--log", folder.path("a.db"))
        #expect(csv.code == 3 && csv.errors.contains("reads CSV"), "\(csv)")
        let absent = try load(quickstart, "--input", folder.path("absent"), "--log", folder.path("a.db"))
        #expect(absent.code == 3 && absent.errors.contains("absent"), "\(absent)")
        #expect(!FileManager.default.fileExists(atPath: folder.path("a.db")))
        let orders = quickstart + "/samples/orders.jsonl"
        let judged = try Commands.judgedLog(folder, events: 300)
        let other = try load(quickstart, "--input", orders, "--log", judged)
        #expect(other.code == 3 && other.errors.contains("belongs to topology 'marketplace'"), "\(other)")
        let both = try load(quickstart, "--input", orders, "--log", judged, "--rate", "1", "--speed", "1")
        #expect(both.code == 2 && both.errors.contains("--rate and --speed exclude each other"), "\(both)")
    }

    @Test func `a damaged file ends a load after what came before, with the reason`() throws {
        let text = (0..<3000).map {
            "{\"id\":\"o\($0)\",\"ts\":\(1_772_618_400_000 + $0 * 100),\"account\":\"ada\",\"amount\":\($0)}"
        }.joined(separator: "\n")
        let path = try folder.write("o.jsonl", text)
        #expect(system("gzip -n '\(path)' && truncate -s -2000 '\(path).gz'") == 0)
        let result = try load(quickstart, "--input", path + ".gz", "--log", folder.path("a.db"))
        #expect(result.code != 0 && result.errors.contains("o.jsonl.gz"), "\(result)")
    }
}

/// The same on a real broker.
@Suite(.enabled(if: CommandsBroker.program != nil, CommandsBroker.absence), .serialized)
struct CommandsLoadKafkaTests {
    @Test func `load makes topics on Kafka only when told to, and what it sends is judged`() throws {
        let broker = try TestBroker.own()
        defer { try? TestBroker.control("stop", broker.directory) }
        let folder = try Commands.Folder()
        let file = try folder.write(
            "k.properties",
            "bootstrap.servers=\(broker.address)\nweir.connect.ms=20000\n"
        )
        let quickstart = Commands.topology("quickstart")
        let orders = quickstart + "/samples/orders.jsonl"
        let load = ["load", "--topology", quickstart, "--input", orders, "--kafka", file]
        let weir = try #require(WeirProgram.path)
        let absent = try WeirProgram.run(weir, load)
        #expect(absent.code == 3 && absent.errors.contains("'orders' does not exist"), "\(absent)")
        #expect(absent.errors.contains("--create --topic orders"))
        let made = try WeirProgram.run(weir, load + ["--create"])
        #expect(made.code == 0 && made.errors.contains("5 records in"), "\(made)")
        let run = try RunningProgram(weir, ["run", "--topology", quickstart, "--kafka", file])
        let tail = try RunningProgram(weir, ["tail", "--kafka", file, "--since", "1h", "--json"])
        #expect(tail.wait { $0.output.contains("order_burst") }, "\(run.errors) \(tail.errors)")
        tail.send(SIGINT)
        let verdict = try tail.wait().output
        let replay = try Commands.weir("replay", "--topology", quickstart, "--input", orders, "--output", "-").output
        // The same but for where its record stands.
        let head = verdict.prefix(while: { $0 != "\n" }).dropFirst(51).prefix(60)
        #expect(replay.contains(head) && head.count == 60)
        run.send(SIGTERM)
        #expect(try run.wait().code == 143)
    }
}
