import Pipeline
import RuleLanguage

/// The commands of this version.
///
/// A new case does not compile until it has a definition here and a body in `Main.swift`.
enum CommandName: String, CaseIterable, Sendable {
    case demo, run, replay, simulate, check, audit, tail, doctor, completion, version
}

/// What a command does: reads checked arguments, writes through the terminal, answers the code to leave with.
typealias CommandBody = (ParsedArguments, Terminal) throws -> ExitCode

/// All commands as data, and the one way from the words of the command line to an exit code.
enum CommandTable {
    /// In the order help lists them: by what a newcomer needs first.
    static let definitions: [CommandDefinition] = CommandName.allCases.map(definition(of:))

    /// Parses, runs the body and turns whatever it throws into a message on stderr and an exit code.
    ///
    /// `body` is asked only for the command that was named, so starting `weir --help` builds nothing else.
    static func run(_ words: [String], terminal: Terminal, body: (CommandName) -> CommandBody) -> ExitCode {
        var code: ExitCode
        do {
            switch try ArgumentParser(definitions: definitions).parse(words) {
            case .help(nil):
                terminal.write(HelpText.overview(definitions))
                code = .ok
            case .help(let definition?):
                terminal.write(HelpText.command(definition))
                code = .ok
            case .version:
                terminal.line("weir \(weirVersion)")
                code = .ok
            case .run(let parsed):
                code = try body(parsed.definition.name)(parsed, terminal)
            }
        } catch {
            code = report(error, to: terminal)
        }
        guard let failure = terminal.finish() else { return code }
        return code == .ok ? report(failure, to: terminal) : code
    }

    /// Says on stderr what went wrong and what to do, and answers the code for it.
    static func report(_ error: any Error, to terminal: Terminal) -> ExitCode {
        switch error {
        case let failure as CommandFailure:
            terminal.fail(failure.message, hint: failure.hint)
            return failure.code
        case let failure as LogError:
            terminal.fail(failure.message, hint: nil)
            return ExitCode(failure.kind)
        case let failure as DiagnosticError:
            for diagnostic in failure.diagnostics { terminal.show(diagnostic) }
            return .invalid
        case let diagnostic as Diagnostic:
            terminal.show(diagnostic)
            return .invalid
        default:
            terminal.fail(String(describing: error), hint: nil)
            return .failure
        }
    }
}

// The flags several commands share, so that one word means one thing everywhere.
extension FlagDefinition {
    fileprivate static let topology = option(
        "topology", "DIR", .directory, required: true, "folder with topology.yaml, rules/ and samples/")
    fileprivate static let kafka = option(
        "kafka", "FILE", .file,
        "librdkafka properties (bootstrap.servers, security.protocol ...), and weir.connect.ms: how long to wait for a broker (30000); secrets belong in this file, never in a flag"
    )
    fileprivate static let embedded = option("log", "FILE.db", .file, "embedded log: one SQLite file")
    fileprivate static let threads = option(
        "threads", "N", .integer(1...64), "worker threads; results do not depend on it (without it: one per core)")
    fileprivate static let seed = option(
        "seed", "S", .integer(0...Int.max), default: "1", "the same seed gives the same traffic, byte for byte")
    fileprivate static func json(_ help: String) -> FlagDefinition { toggle("json", help) }
}

extension FlagAlternative {
    fileprivate static func log(required: Bool, _ purpose: String) -> FlagAlternative {
        FlagAlternative(names: ["kafka", "log"], isRequired: required, purpose: purpose)
    }
}

extension CommandTable {
    /// Codes of everything that reads or writes a log.
    private static let logCodes: [ExitCode] = [.failure, .unreachable, .notAuthorised, .stateCorrupt, .incompatible]
    private static let stopCodes: [ExitCode] = [.interrupted, .terminated]

    static func definition(of name: CommandName) -> CommandDefinition {
        switch name {
        case .demo: demo
        case .run: run
        case .replay: replay
        case .simulate: simulate
        case .check: check
        case .audit: audit
        case .tail: tail
        case .doctor: doctor
        case .completion: completion
        case .version: version
        }
    }

    private static var demo: CommandDefinition {
        CommandDefinition(
            name: .demo,
            summary: "simulated marketplace traffic through the flagship topology; needs no set-up",
            discussion: """
                Simulates honest shoppers and several attacks, runs the marketplace topology on the embedded log, prints each
                verdict as it is committed, and ends with a summary: what was caught, what was missed, what was flagged wrongly,
                by attack.
                """,
            flags: [
                .option("events", "N", .integer(1...1_000_000_000), default: "100000", "how many events to simulate"),
                .seed,
                .option("log", "FILE.db", .file, "keep the embedded log in this file; without it, it is thrown away"),
                .json(
                    "verdicts as JSON Lines, and the summary as the last: attacks with caught and missed, honest with false"
                ),
            ],
            examples: [
                .init(line: "weir demo", effect: "watch it work"),
                .init(
                    line: "weir demo --events 20000 --log demo.db",
                    effect: "keep the log, then look around in it: weir tail --log demo.db --since 1h"),
            ],
            exitCodes: [.failure] + stopCodes)
    }

    private static var run: CommandDefinition {
        CommandDefinition(
            name: .run,
            summary: "run a topology on Kafka or on the embedded log until stopped",
            discussion: """
                Reads the topology's topics, decides about every event and commits verdicts, rings, dead letters, journal
                and input positions in one transaction. Makes its own topics (weir.*) where they are missing, and in an embedded
                log the input topics too; on Kafka those are for their producers to make. After a crash it goes on at the last
                commit: nothing is lost and nothing is said twice to readers of committed records.
                The records of a log are JSON: a topology with format: csv is for weir replay.
                One log belongs to one topology: another one's is refused (exit 3) before anything is written to it.

                SIGTERM or Ctrl-C drains and commits, then leaves; a second one ends at once, which is safe too.
                """,
            flags: [
                .topology, .kafka, .embedded, .threads,
                .option(
                    "metrics", "FILE", .file,
                    "write metrics in Prometheus' text format to this file every 10 s, for node_exporter's textfile collector"
                ),
                .json("log lines on stderr as JSON instead of logfmt"),
            ],
            alternatives: [.log(required: true, "which log to run on")],
            examples: [
                .init(
                    line: "weir run --topology topologies/marketplace --kafka kafka.properties",
                    effect: "production: Kafka, one thread per core"),
                .init(
                    line: "weir run --topology topologies/marketplace --log shop.db --threads 1",
                    effect:
                        "a laptop or a small shop: one file, nothing to install; weir simulate --log shop.db fills it"),
                .init(
                    line:
                        "weir run --topology topologies/marketplace --kafka kafka.properties --metrics /var/lib/node_exporter/weir.prom",
                    effect: "with metrics for Prometheus"),
            ],
            exitCodes: [.invalid] + logCodes + stopCodes)
    }

    private static var replay: CommandDefinition {
        CommandDefinition(
            name: .replay,
            summary: "run a topology over files and write verdicts, features and dead letters",
            discussion: """
                Inputs are JSON Lines or CSV as the topology says, plain or .gz; several are merged by event time. The same input
                gives the same output bytes, whatever the number of threads. An output named - is standard output. A file gets
                its name at the end: a replay that fails or is stopped leaves what stood there before.

                The summary goes to stderr, or to stdout when no output is stdout. With --json it is one object with the keys
                events, verdicts, silent, dead_letters, late, epochs, seconds, events_per_second and state_bytes.
                """,
            flags: [
                .topology,
                .option(
                    "input", "FILE", .file, required: true, list: true,
                    "events to read; - is standard input, and TOPIC=FILE says which topic's records a file holds"),
                .option("output", "FILE", .file, "write verdicts as JSON Lines"),
                .option(
                    "features", "FILE", .file,
                    "write for every event one flat JSON object: its id and every declared feature by name; late events and dead letters have no row"
                ),
                .option("dead-letters", "FILE", .file, "write what could not be read, with the reason, as JSON Lines"),
                .threads,
                .json("the summary as JSON"),
            ],
            examples: [
                .init(
                    line:
                        "weir replay --topology topologies/quickstart --input topologies/quickstart/samples/orders.jsonl --output -",
                    effect: "what would these rules have said?"),
                .init(
                    line:
                        "weir replay --topology topologies/marketplace --input mon.jsonl.gz tue.jsonl.gz --output - | jq .decision",
                    effect: "two days in order of time, verdicts into a pipe"),
            ],
            exitCodes: [.failure, .invalid] + stopCodes)
    }

    private static var simulate: CommandDefinition {
        CommandDefinition(
            name: .simulate,
            summary: "make synthetic traffic, with the truth about who attacks",
            discussion: """
                Scenario marketplace: honest shoppers with daily rhythm and uneven popularity, and among them a coupon ring, a
                click farm, a brushing ring and an account take-over. Scenario honest: the same without the attacks. Same
                scenario, number and seed: same bytes.

                Events go to --output, or into the topics of a log; without either, to standard output. The truth file has one
                JSON object per event: id, attack (null or its name), ring (null or its name), accounts (those to blame).
                """,
            flags: [
                .option(
                    "scenario", "NAME", .choice(["marketplace", "honest"]), default: "marketplace", "what happens"),
                .option("events", "N", .integer(1...1_000_000_000), default: "100000", "how many events"),
                .seed,
                .option("output", "FILE", .file, "write events as JSON Lines; - is standard output"),
                .option("truth", "FILE", .file, "write who attacked, as JSON Lines"),
                .kafka, .embedded,
                .option(
                    "rate", "N", .integer(1...100_000_000),
                    "at most this many events per second (without it: as fast as it goes)"),
            ],
            alternatives: [
                FlagAlternative(names: ["output", "kafka", "log"], isRequired: false, purpose: "where the events go")
            ],
            examples: [
                .init(
                    line:
                        "weir simulate --scenario marketplace --events 1000000 --seed 7 --output events.jsonl --truth truth.jsonl",
                    effect: "a test set with answers"),
                .init(
                    line:
                        "weir simulate --scenario honest --events 600000 --seed 7 --kafka kafka.properties --rate 10000",
                    effect: "a minute of steady load on a broker"),
            ],
            exitCodes: [.invalid] + logCodes + stopCodes)
    }

    private static var check: CommandDefinition {
        CommandDefinition(
            name: .check,
            summary: "check a topology and its rules without running them",
            discussion: """
                Reads topology.yaml and every rule, resolves names and types, and compiles the programs.
                Prints every mistake with file, line, caret, reason and suggestion.
                """,
            arguments: [ArgumentDefinition(name: "DIR", value: .directory, help: "the topology's folder")],
            flags: [.json("findings and summary as JSON Lines")],
            examples: [
                .init(
                    line: "weir check topologies/marketplace",
                    effect: "in a commit hook: exit 0 and what each rule costs, or the mistakes and exit 3")
            ],
            exitCodes: [.invalid])
    }

    private static var audit: CommandDefinition {
        CommandDefinition(
            name: .audit,
            summary: "replay the journal from the inputs and compare with the committed verdicts",
            discussion: """
                Reads only committed records and writes nothing; it may run beside weir run. Every byte of every verdict is
                compared, except the recorded time. With --json it prints one object with the keys epochs, inputs, verdicts,
                revisions (the same verdict given anew by a later epoch), missing, repeated (twice in one epoch) and different.
                """,
            flags: [.topology, .kafka, .embedded, .json("the result as JSON")],
            alternatives: [.log(required: true, "which log to audit")],
            examples: [
                .init(
                    line: "weir audit --topology topologies/marketplace --kafka kafka.properties",
                    effect: "after an incident: is every verdict there, once, and as computed?")
            ],
            exitCodes: [.invalid] + logCodes + stopCodes)
    }

    private static var tail: CommandDefinition {
        CommandDefinition(
            name: .tail,
            summary: "follow the verdicts, one line each",
            discussion: """
                Prints time, severity, decision, score, subject, rules and reason of each committed verdict, coloured by severity
                on a terminal, and follows until stopped. It joins no consumer group, so it never disturbs production. Control
                characters in foreign text are shown escaped.
                """,
            flags: [
                .kafka, .embedded,
                .option("since", "DURATION", .duration, "begin this long ago, such as 15m (without it: now)"),
                .option(
                    "severity", "LEVEL", .choice(["low", "medium", "high", "critical"]),
                    "only verdicts of this severity or higher"),
                .json("verdicts as JSON Lines"),
            ],
            alternatives: [.log(required: true, "where the verdicts are")],
            examples: [
                .init(
                    line: "weir tail --kafka kafka.properties --since 15m --severity high",
                    effect: "what woke me up?"),
                .init(line: "weir tail --log demo.db --since 7d --json | jq .subject", effect: "as data"),
            ],
            exitCodes: [.invalid] + logCodes + stopCodes)
    }

    private static var doctor: CommandDefinition {
        CommandDefinition(
            name: .doctor,
            summary: "look at libraries, broker, topics and settings, and say what to repair",
            discussion: """
                Without flags it looks at the machine and the libraries. With a log it also looks at what is stored there; with a
                topology, whether the two fit together. It changes nothing.
                """,
            flags: [
                .option("topology", "DIR", .directory, "also check this topology against the log"),
                .kafka, .embedded, .json("findings as JSON"),
            ],
            alternatives: [.log(required: false, "which log to look at")],
            examples: [
                .init(line: "weir doctor", effect: "is this machine ready?"),
                .init(line: "weir doctor --kafka kafka.properties", effect: "and is the broker?"),
            ],
            exitCodes: [.invalid] + logCodes)
    }

    private static var completion: CommandDefinition {
        CommandDefinition(
            name: .completion,
            summary: "print a completion script for your shell",
            discussion: "The script is derived from the same table as this help.",
            arguments: [
                ArgumentDefinition(name: "SHELL", value: .choice(["bash", "zsh", "fish"]), help: "bash, zsh or fish")
            ],
            flags: [],
            examples: [
                .init(
                    line: "source <(weir completion bash)",
                    effect: "bash, this session; put it into ~/.bashrc to keep it"),
                .init(line: "weir completion zsh > \"${fpath[1]}/_weir\"", effect: "zsh"),
                .init(line: "weir completion fish > ~/.config/fish/completions/weir.fish", effect: "fish"),
            ])
    }

    private static var version: CommandDefinition {
        CommandDefinition(
            name: .version, summary: "print the version", discussion: "weir --version prints the same line.",
            flags: [.json("as JSON")], examples: [])
    }
}
