import Foundation
import Glibc
import Testing
import Waiting

@Suite(.enabled(if: WeirProgram.path != nil, Commands.absence))
struct CommandsReplayTests {
    private let folder: Commands.Folder
    private let quickstart = Commands.topology("quickstart")
    private let input: String
    private static let orders = (1...50).map {
        "{\"id\":\"o\($0)\",\"ts\":\(1_772_618_400_000 + $0 * 1000),\"account\":\"ada\",\"amount\":200.00}\n"
    }.joined()

    init() throws {
        folder = try Commands.Folder()
        input = try folder.write("in.jsonl", CommandsReplayTests.orders)
    }

    private func replay(_ arguments: [String], input: String = "") throws -> WeirProgram.Result {
        try WeirProgram.run(
            try #require(WeirProgram.path),
            ["replay", "--topology", quickstart] + arguments,
            input: input
        )
    }

    // MARK: The end

    @Test func `a replay that is stopped leaves the old files whole and says so`() throws {
        let old = "the verdicts of yesterday\n"
        let outputs = try ["v.jsonl", "f.jsonl", "d.jsonl"].map { try folder.write($0, old) }
        let fifo = folder.path("pipe")
        #expect(mkfifo(fifo, 0o600) == 0)
        let running = try RunningProgram(
            try #require(WeirProgram.path),
            [
                "replay", "--topology", quickstart, "--input", fifo, "--output", outputs[0], "--features", outputs[1],
                "--dead-letters", outputs[2],
            ]
        )
        // So many epochs that there are verdicts in the file when the signal comes; the input does not end before.
        let writer = try #require(FileHandle(forWritingAtPath: fifo))
        defer { try? writer.close() }
        let orders = (0..<6000).map { n in
            "{\"id\":\"o\(n)\",\"ts\":\(1_772_618_400_000 + n * 1000),\"account\":\"a\(n / 5)\",\"amount\":200.00}\n"
        }
        writer.write(Data(orders.joined().utf8))
        #expect(running.wait { _ in folder.gathered("v.jsonl") > 0 }, "\(running.errors)")
        running.send(SIGINT)
        let result = try running.wait()
        #expect(result.code == 130, "\(result)")
        #expect(result.errors.contains("stopped before the end") && result.errors.contains("v.jsonl"), "\(result)")
        for name in ["v.jsonl", "f.jsonl", "d.jsonl"] { #expect(try folder.text(name) == old) }
        let left = try FileManager.default.contentsOfDirectory(atPath: folder.url.path)
        #expect(!left.contains { $0.hasSuffix(".tmp") }, "\(left)")
    }

    @Test(arguments: [(SIGINT, 130), (SIGTERM, 143)] as [(Int32, Int32)])
    func `one signal ends a replay that waits for its input or reads without end`(signal: Int32, code: Int32) throws {
        let output = try folder.write("v.jsonl", "old\n")
        let (silent, begun) = (folder.path("silent"), folder.path("begun"))
        #expect(mkfifo(silent, 0o600) == 0 && mkfifo(begun, 0o600) == 0)
        // Held open for writing; on Linux this needs no reader.
        let writer = try FileHandle(forUpdating: URL(fileURLWithPath: begun))
        writer.write(Data(CommandsReplayTests.orders.utf8.prefix(100)))
        let program = try #require(WeirProgram.path)
        let replay = "exec \"$0\" replay --topology \"$1\" --output \"$2\" --input "
        // Nobody has opened the pipe for writing; half a line and no more; the same as standard input; a line without an end.
        for input in ["'\(silent)'", "'\(begun)'", "- < '\(begun)'", "/dev/zero", "'\(self.input)' '\(silent)'"] {
            let running = try RunningProgram("/bin/bash", ["-c", replay + input, program, quickstart, output])
            let waited = input.hasPrefix("/dev") ? "/dev/zero" : input.contains("silent") ? silent : begun
            #expect(running.wait { $0.takes(signal) && $0.isUsing(waited) }, "\(input) \(running.errors)")
            #expect(Waiting.holds(seconds: 0.3) { running.isRunning }, "\(input) \(running.errors)")
            running.send(signal)
            let result = try running.wait()
            #expect(result.code == code, "\(input) \(result)")
            #expect(result.errors.contains("stopped before the end"), "\(input) \(result)")
            #expect(try folder.text("v.jsonl") == "old\n")
            writer.write(Data(CommandsReplayTests.orders.utf8.prefix(100)))
        }
        let left = try FileManager.default.contentsOfDirectory(atPath: folder.url.path)
        #expect(!left.contains { $0.hasSuffix(".tmp") }, "\(left)")
    }

    @Test func `a replay that fails leaves the old files whole`() throws {
        let output = try folder.write("v.jsonl", "old\n")
        let broken = try folder.write("cut.jsonl", CommandsReplayTests.orders)
        #expect(system("gzip -n '\(broken)' && truncate -s -9 '\(broken).gz'") == 0)
        let damaged = try replay(["--input", broken + ".gz", "--output", output])
        #expect(damaged.code == 3 && damaged.errors.contains("breaks off"), "\(damaged)")
        // The second output is full: the first one must not be there alone.
        let full = try replay(["--input", input, "--output", output, "--features", "/dev/full"])
        #expect(full.code == 3 && full.errors.contains("/dev/full"), "\(full)")
        #expect(try folder.text("v.jsonl") == "old\n")
    }

    @Test func `a reader that leaves early leaves no part of another output behind`() throws {
        let features = try folder.write("f.jsonl", "old\n")
        let many = try folder.write("many.jsonl", String(repeating: CommandsReplayTests.orders, count: 1000))
        let script =
            "\"$0\" replay --topology \"$1\" --input \"$2\" --output - --features \"$3\" | head -n 1; "
            + "exit ${PIPESTATUS[0]}"
        let result = try WeirProgram.run(
            "/bin/bash",
            ["-c", script, try #require(WeirProgram.path), quickstart, many, features]
        )
        #expect(result.code == 0 && result.output.split(separator: "\n").count == 1, "\(result)")
        #expect(result.errors.contains("stopped before the end") && result.errors.contains("f.jsonl"), "\(result)")
        #expect(try folder.text("f.jsonl") == "old\n")
    }

    @Test func `a CSV file without a header is told as what it is`() throws {
        for (name, text) in [("empty.csv", ""), ("blank.csv", "\n\n")] {
            let path = try folder.write(name, text)
            let result = try Commands.weir("replay", "--topology", Commands.topology("online-retail"), "--input", path)
            #expect(result.code == 3 && result.errors.contains("\(name): the file is empty"), "\(result)")
            #expect(!result.errors.contains("its columns are"), "\(result)")
        }
    }

    @Test(arguments: [
        (
            "InvoiceNo;StockCode;Quantity\n1;2;3\n",
            ["odd.csv:1: the header has no column", "csv: { delimiter: \";\" }"]
        ),
        ("\n1,2,3,2010-12-01T08:26:00Z,2.55\n", ["odd.csv:2: the header has no column", "csv: { header: [NAME, …] }"]),
        ("{\"InvoiceNo\":\"1\"}\n", ["odd.csv:1: the header has no column", "format: json"]),
        ("PK\u{3}\u{4}xl/workbook.xml", ["odd.csv: the file is an Excel workbook"]),
    ])
    func `a file that is no such CSV is refused with what it looks like`(_ text: String, _ says: [String]) throws {
        let path = try folder.write("odd.csv", text)
        let result = try Commands.weir("replay", "--topology", Commands.topology("online-retail"), "--input", path)
        #expect(result.code == 3, "\(result)")
        for part in says { #expect(result.errors.contains(part), "\(result)") }
    }

    @Test func `a column that a field names and the file lacks is told, and CSV for a topology of JSON`() throws {
        let text = "InvoiceNo,StockCode,Quantity,InvoiceDate,UnitPrice\n1,2,3,2010-12-01T08:26:00Z,2.55\n"
        let path = try folder.write("short.csv", text)
        let result = try Commands.weir("replay", "--topology", Commands.topology("online-retail"), "--input", path)
        #expect(result.code == 0, "\(result)")
        for field in ["Description", "CustomerID", "Country"] {
            #expect(result.errors.contains("the header has no column `\(field)`, which is field"), "\(result)")
        }
        let other = try replay(["--input", path])
        #expect(
            other.errors.contains("it looks like CSV with 5 columns; an event reads it with 'format: csv'"),
            "\(other)"
        )
    }

    @Test
    func `a CSV row with more columns than the header is a dead letter, and a header without the id is told once`()
        throws
    {
        let text = try String(contentsOfFile: quickstart + "/topology.yaml", encoding: .utf8)
        _ = try folder.write(
            "csv/topology.yaml",
            text.replacing("    topic: orders", with: "    topic: orders\n    format: csv")
        )
        let rule = try String(contentsOfFile: quickstart + "/rules/first.weir", encoding: .utf8)
        _ = try folder.write("csv/rules/first.weir", rule)
        let rows = "1772618400000,ada,2.00\n1772618401000,smith, bob,2.00\n1772618402000,eve,2.00\n"
        let path = try folder.write("rows.csv", "ts,account,amount\n" + rows)
        let result = try Commands.weir(
            "replay",
            "--topology",
            folder.path("csv"),
            "--input",
            path,
            "--dead-letters",
            folder.path("dead")
        )
        #expect(result.code == 0 && result.output.contains("dead letters  1\n"), "\(result)")
        #expect(try folder.text("dead").contains("\"invalid_csv\""))
        let warnings = result.errors.split(separator: "\n").filter { $0.contains("the header has no column `id`") }
        #expect(warnings.count == 1, "\(result)")
        let whole = try folder.write("whole.csv", "id,ts,account,amount\n1,1772618400000,ada,2.00\n")
        let quiet = try Commands.weir("replay", "--topology", folder.path("csv"), "--input", whole)
        #expect(quiet.code == 0 && quiet.errors.isEmpty, "\(quiet)")
    }

    // MARK: What is late

    @Test func `the summary says what late events are and what to do about them`() throws {
        let line = CommandsReplayTests.orders.split(separator: "\n")[0]
        let early = line.replacing("\"o1\"", with: "\"early\"").replacing("17726184", with: "17726000")
        let orders = String(repeating: CommandsReplayTests.orders, count: 100)
        let mixed = try folder.write("mixed.jsonl", orders + early + "\n")
        let result = try replay(["--input", mixed])
        #expect(result.code == 0, "\(result)")
        #expect(result.output.contains("late          1  (judged as the oldest that may be"), "\(result)")
        #expect(result.output.contains("`replay: { sort: true }` in "), "\(result)")
        let clean = try replay(["--input", input])
        #expect(clean.output.contains("late          0\n"), "\(clean)")
    }

    // MARK: One file, one purpose

    @Test func `an output that is also an input is refused and the input keeps its bytes`() throws {
        #expect(symlink(input, folder.path("link.jsonl")) == 0)
        #expect(link(input, folder.path("second-name.jsonl")) == 0)
        let before = try folder.text("in.jsonl")
        for output in ["in.jsonl", "link.jsonl", "second-name.jsonl", "../\(folder.url.lastPathComponent)/in.jsonl"] {
            for flag in ["--output", "--features", "--dead-letters"] {
                let result = try replay(["--input", input, flag, folder.path(output)])
                #expect(result.code == 2 && result.errors.contains("the same file"), "\(output) \(result)")
            }
        }
        let named = try replay(["--input", "orders=\(input)", "--output", input])
        #expect(named.code == 2 && named.errors.contains("the same file"), "\(named)")
        #expect(try folder.text("in.jsonl") == before)
        // Lines are gathered beside the output under a name that nobody has.
        let neighbour = try folder.write("v.jsonl.tmp", before)
        let beside = try replay(["--input", neighbour, "--output", folder.path("v.jsonl")])
        #expect(beside.code == 0, "\(beside)")
        #expect(try folder.text("v.jsonl.tmp") == before)
    }

    @Test func `two outputs in one file are refused before anything is written`() throws {
        let path = folder.path("new.jsonl")
        let same = try replay(["--input", input, "--output", path, "--features", folder.path("./new.jsonl")])
        #expect(same.code == 2 && same.errors.contains("--output") && same.errors.contains("--features"), "\(same)")
        #expect(!FileManager.default.fileExists(atPath: path))
        let both = try replay(["--input", input, "--output", "-", "--features", "-"])
        #expect(both.code == 2 && both.errors.contains("standard output") && both.output.isEmpty, "\(both)")
        let twice = try replay(["--input", "-", "-"], input: CommandsReplayTests.orders)
        #expect(twice.code == 2 && twice.errors.contains("standard input"), "\(twice)")
        let null = try replay(["--input", input, "--output", "/dev/null", "--features", "/dev/null"])
        #expect(null.code == 0, "\(null)")
    }

    @Test func `simulate and run look at their files the same way`() throws {
        let same = try Commands.weir("simulate", "--output", folder.path("a"), "--truth", folder.path("./a"))
        #expect(same.code == 2 && same.errors.contains("the same file"), "\(same)")
        let stdout = try Commands.weir("simulate", "--events", "10", "--truth", "-")
        #expect(stdout.code == 2 && stdout.output.isEmpty, "\(stdout)")
        let log = folder.path("shop.db")
        #expect(try Commands.weir("simulate", "--events", "10", "--log", log).code == 0)
        let before = try Data(contentsOf: URL(fileURLWithPath: log))
        let truth = try Commands.weir("simulate", "--events", "10", "--log", log, "--truth", log)
        #expect(truth.code == 2 && truth.errors.contains("--truth"), "\(truth)")
        let metrics = try Commands.weir(
            "run",
            "--topology",
            Commands.topology("marketplace"),
            "--log",
            log,
            "--metrics",
            log
        )
        #expect(metrics.code == 2 && metrics.errors.contains("--metrics"), "\(metrics)")
        #expect(try Data(contentsOf: URL(fileURLWithPath: log)) == before)
    }
}
