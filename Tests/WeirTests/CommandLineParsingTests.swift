import Testing

@testable import weir

/// Parses a line split at spaces.
private func parse(_ line: String) throws -> ArgumentParser.Request {
    try ArgumentParser(definitions: CommandTable.definitions).parse(line.split(separator: " ").map(String.init))
}

private func arguments(_ line: String) throws -> ParsedArguments {
    guard case .run(let parsed) = try parse(line) else { throw CommandFailure(.failure, "no command in '\(line)'") }
    return parsed
}

@Suite struct CommandLineParsingTests {
    /// The command lines that scripts rely on; a change here breaks somebody.
    @Test(arguments: [
        "demo", "demo --events 20000 --seed 3 --log demo.db", "run --topology t --kafka kafka.properties --threads 2",
        "run --topology t --log w.db",
        "replay --topology t --input a.jsonl b.csv.gz --output verdicts.jsonl --features f.jsonl",
        "replay --topology t --input a --dead-letters d --threads 4 --json",
        "simulate --scenario marketplace --events 1000 --seed 1 --output e.jsonl --truth t.jsonl",
        "simulate --scenario honest --events 1000 --seed 1 --kafka k.properties --rate 10000",
        "simulate --scenario marketplace --events 5 --seed 1 --log w.db --truth t.jsonl",
        "replay --topology t --input a --rings r.jsonl",
        "load --topology t --input a.jsonl b.jsonl.gz --log w.db --rate 100",
        "load --topology t --input orders=a.jsonl --kafka k.properties --create --speed 60 --json",
        "check topologies/marketplace",
        "audit --topology t --kafka k.properties --json", "audit --topology t --log w.db",
        "tail --kafka k.properties --since 15m --severity high --json", "tail --log w.db", "doctor", "completion bash",
        "completion zsh", "completion fish", "version",
    ])
    func `the lines of the contract are understood`(line: String) throws {
        _ = try arguments(line)
    }

    @Test func `values are read in every written form`() throws {
        let parsed = try arguments("replay --input a b --topology=t --threads 1_6 --input=c --json --output -")
        #expect(parsed.strings("input") == ["a", "b", "c"])
        #expect(parsed.required("topology") == "t")
        #expect(parsed.int("threads") == 16)
        #expect(parsed.string("output") == "-")
        #expect(parsed.isSet("json"))
        #expect(!parsed.isSet("features") && parsed.string("features") == nil && parsed.strings("dead-letters") == [])
        #expect(try arguments("tail --log a.db --since 90s").durationMilliseconds("since") == 90_000)
        #expect(try arguments("check -- -odd-folder").required("DIR") == "-odd-folder")
        #expect(try arguments("demo --log=-odd.db").string("log") == "-odd.db")
        #expect(try arguments("demo --log=a=b").string("log") == "a=b")
    }

    @Test func `defaults are values but not set`() throws {
        let parsed = try arguments("simulate")
        #expect(parsed.required("scenario") == "marketplace")
        #expect(parsed.int("events") == 100_000)
        #expect(parsed.int("seed") == 1)
        #expect(!parsed.isSet("seed"))
        #expect(parsed.int("rate") == nil)
    }

    @Test func `a narrower range of the moment is checked at the look-up`() throws {
        let parsed = try arguments("run --topology t --log a --threads 8")
        #expect(try parsed.int("threads", in: 1...8) == 8)
        #expect(throws: CommandFailure.usage("--threads 8 is out of range: 1 to 4")) {
            try parsed.int("threads", in: 1...4)
        }
    }

    /// What somebody typed, what we answer and what we suggest.
    struct Slip: Sendable, CustomTestStringConvertible {
        var line: String
        var message: String
        var hint: String?
        init(_ line: String, _ message: String, _ hint: String? = nil) {
            self.line = line
            self.message = message
            self.hint = hint
        }
        var testDescription: String { "weir \(line)" }
    }

    @Test(arguments: [
        Slip("", "no command given", "weir --help lists them; weir demo needs no set-up"),
        Slip("tial", "unknown command 'tial'", "did you mean weir tail?"),
        Slip("frobnicate", "unknown command 'frobnicate'", "weir --help lists the commands"),
        Slip("--verson", "unknown flag --verson; flags of a command stand behind it", "did you mean --version?"),
        Slip("run --topologi t", "unknown flag --topologi", "did you mean --topology?"),
        Slip("run -topology t", "unknown flag -topology", "did you mean --topology?"),
        Slip("run -t t", "unknown flag -t", "weir run --help lists the flags"),
        Slip(
            "run --topology --log a",
            "--topology needs a value: --topology DIR",
            "folder with topology.yaml, rules/ and samples/"
        ),
        Slip("run --log a", "--topology DIR is missing", "folder with topology.yaml, rules/ and samples/"),
        Slip("run --topology t", "say which log to run on: --kafka FILE or --log FILE.db"),
        Slip("tail", "say where the verdicts are: --kafka FILE or --log FILE.db"),
        Slip("run --topology t --log a --kafka b", "--kafka and --log exclude each other"),
        Slip("simulate --output a --log b", "--output and --log exclude each other"),
        Slip("demo --events 5 --events 6", "--events is given twice"),
        Slip("demo --events many", "--events many: not a whole number"),
        Slip("demo --events 0", "--events 0: must be 1 to 1000000000"),
        Slip("demo --seed -1", "--seed -1: must be at least 0"),
        Slip("demo --events 99999999999999999999", "--events 99999999999999999999: not a whole number"),
        Slip("demo --json=yes", "--json takes no value, but got 'yes'"),
        Slip("demo --log=", "--log : the path is empty"),
        Slip("demo now", "unexpected argument 'now'", "flags start with --; weir demo --help shows them"),
        Slip("run --topology t --log a --threads 65", "--threads 65: must be 1 to 64"),
        Slip(
            "tail --log a --since yesterday",
            "--since yesterday: not a duration; write a whole number and ms, s, m, h, d or w, such as 15m"
        ),
        Slip(
            "tail --log a --severity hihg",
            "--severity hihg: must be one of low, medium, high, critical",
            "did you mean high?"
        ),
        Slip("check", "DIR is missing", "the topology's folder"),
        Slip("check a b", "unexpected argument 'b'", "flags start with --; weir check --help shows them"),
        Slip("completion tcsh", "SHELL tcsh: must be one of bash, zsh, fish"),
        Slip("help tial", "unknown command 'tial'", "did you mean weir tail?"),
    ])
    func `each slip is named with its repair`(slip: Slip) {
        #expect(throws: CommandFailure.usage(slip.message, hint: slip.hint)) { try parse(slip.line) }
    }

    @Test func `help wins over everything before a double dash`() throws {
        for line in ["run --help", "run --topologi --help", "run -h x y", "help run"] {
            guard case .help(let definition?) = try parse(line) else {
                Issue.record("no help for '\(line)'")
                continue
            }
            #expect(definition.name == "run")
        }
        for line in ["--help", "-h", "help"] {
            guard case .help(nil) = try parse(line) else {
                Issue.record("no overview for '\(line)'")
                continue
            }
        }
        guard case .version = try parse("--version") else {
            Issue.record("no version")
            return
        }
        #expect(try arguments("check -- --help").required("DIR") == "--help")
    }

    @Test(arguments: [
        ("0ms", 0), ("15m", 900_000), ("2h", 7_200_000), ("1d", 86_400_000), ("1w", 604_800_000), ("7s", 7_000),
    ])
    func `durations are whole numbers with a unit`(text: String, milliseconds: Int64) {
        #expect(ValueKind.parseDuration(text) == milliseconds)
    }

    @Test(arguments: ["", "m", "15", "-1m", "1.5h", "1h30m", "1 h", "1H", "99999999999999999w"])
    func `anything else is no duration`(text: String) {
        #expect(ValueKind.parseDuration(text) == nil)
    }

    @Test(arguments: ["", "+1", "_1", "1_", "1.0", "1e3", "0x10", "--1", " 1"])
    func `anything but digits is no whole number`(text: String) {
        #expect(ValueKind.parseInteger(text) == nil)
    }
}
