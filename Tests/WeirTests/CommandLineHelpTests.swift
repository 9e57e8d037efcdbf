import Pipeline
import RuleLanguage
import Testing

@testable import weir

@Suite struct CommandLineHelpTests {
    @Test func `help on a command shows everything a caller needs`() {
        let expected = """
            weir tail: follow the verdicts, one line each

            Usage: weir tail (--kafka FILE | --log FILE.db) [--since DURATION] [--severity LEVEL]
                [--subject ID] [--rule ID] [--last N] [--no-follow] [--unmask] [--json]

            Prints time, severity, decision, score, subject, rules and reason of each committed
            verdict, coloured by severity on a terminal, and follows until stopped. It joins no
            consumer group, so it never disturbs production. Control characters in foreign text are
            shown escaped. Times are wall time here (TZ=UTC for UTC). A subject is shown as a tag
            that is the same for the same subject as long as this command runs, and says nothing
            else; --unmask shows its id. On a terminal at most 50 lines a second are shown of what
            comes, those of severity high and critical always; what is left out is counted. A log
            that does not answer for ten seconds is told of, and when it is back.

            Flags:
              --kafka FILE      librdkafka properties (bootstrap.servers, security.protocol ...),
                                and weir.connect.ms: how long to wait for a broker (30000); secrets
                                belong in this file, never in a flag
              --log FILE.db     embedded log: one SQLite file
              --since DURATION  begin this long ago, such as 15m (without it: now)
              --severity LEVEL  only verdicts of this severity or higher (low | medium | high |
                                critical)
              --subject ID      only verdicts about this subject, by its whole id
              --rule ID         only verdicts that this rule gave a reason for, in shadow too
              --last N          of what is there at the start only the newest so many (without
                                --since: of all) (1 to 100000)
              --no-follow       end where the log ends now
              --unmask          show subjects by their ids
              --json            verdicts as JSON Lines
              -h, --help        show this help

            Examples:
              weir tail --kafka kafka.properties --since 15m --severity high
                  what woke me up?
              weir tail --log shop.db --since 7d --last 20 --no-follow
                  the twenty newest of the week
              weir tail --log demo.db --since 7d --json | jq .subject
                  as data

            Exit codes:
              0    done
              1    failed; the message says why
              2    wrong use of the command line
              3    invalid rules, topology, input or output file, or another topology's log
              5    Kafka or the log file cannot be reached, at a stop too, or the file is locked
              6    not authorised
              7    state, journal and verdicts contradict each other
              8    incompatible version of a library, broker or file, or not what judged the journal
              130  stopped by SIGINT (Ctrl-C), cleanly
              143  stopped by SIGTERM, cleanly

            """
        #expect(HelpText.command(TailCommand.definition) == expected)
    }

    @Test func `the overview names every command once`() {
        let lines = HelpText.overview(CommandTable.definitions).split(separator: "\n")
        for name in CommandTable.definitions.map(\.name) {
            #expect(lines.count { $0.hasPrefix("  \(name) ") } == 1, "\(name)")
        }
        #expect(Set(CommandTable.definitions.map(\.name)).count == CommandTable.commands.count)
    }

    @Test(arguments: CommandTable.definitions)
    func `every definition is consistent in itself`(definition: CommandDefinition) throws {
        #expect(!definition.summary.isEmpty && !definition.summary.hasSuffix(".") && definition.summary.count <= 88)
        let names = definition.allFlags.map(\.name)
        #expect(Set(names).count == names.count, "flag names")
        let letters = definition.allFlags.compactMap(\.short)
        #expect(Set(letters).count == letters.count, "short names")
        for alternative in definition.alternatives {
            #expect(alternative.names.count > 1)
            #expect(alternative.names.allSatisfy { definition.flag(named: $0) != nil })
        }
        // A list that takes all words up to the next flag would swallow positional arguments.
        #expect(definition.arguments.isEmpty || !definition.flags.contains { $0.takesList })
        for flag in definition.flags {
            #expect(!flag.help.isEmpty && !flag.help.hasSuffix("."), "--\(flag.name)")
            #expect((flag.value == nil) == flag.valueName.isEmpty, "--\(flag.name)")
            #expect(!(flag.isRequired && flag.defaultValue != nil), "--\(flag.name)")
            if let value = flag.defaultValue { #expect(flag.value?.complaint(about: value) == nil, "--\(flag.name)") }
        }
        for line in HelpText.command(definition).split(separator: "\n") where !line.contains("  weir ") {
            #expect(line.count <= HelpText.width, "\(line)")
        }
    }

    @Test(arguments: CommandTable.definitions)
    func `every example of the help can be typed`(definition: CommandDefinition) throws {
        for example in definition.examples {
            // Only what stands before a pipe or a redirection is ours.
            let words = example.line.split { " ()".contains($0) }.map(String.init)
            let mine = words.drop { $0 != "weir" }.dropFirst().prefix { !["|", ">"].contains($0) }
            guard case .run(let parsed) = try ArgumentParser(definitions: CommandTable.definitions).parse(Array(mine))
            else {
                Issue.record("not a command: \(example.line)")
                continue
            }
            #expect(parsed.definition.name == definition.name)
        }
    }

    @Test func `no flag asks for a secret`() {
        for flag in CommandTable.definitions.flatMap(\.flags) {
            for word in ["password", "secret", "token", "username"] { #expect(!flag.name.contains(word)) }
        }
    }

    @Test func `the exit codes are the documented numbers`() {
        #expect(ExitCode.allCases.map(\.rawValue) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 130, 143])
        let byKind: [(LogError.Kind, Int32)] = [
            (.unreachable, 5), (.notAuthorised, 6), (.outOfRange, 7), (.corrupt, 7), (.incompatible, 8), (.refused, 3),
            (.fenced, 1), (.transient, 1), (.stopped, 1),
        ]
        for (kind, code) in byKind { #expect(ExitCode(kind).rawValue == code) }
    }

    private struct Odd: Error, CustomStringConvertible { var description: String { "odd \u{1b}[2J" } }

    /// All that a new command needs, and its place in the table.
    private enum OddCommand: Command {
        static let definition = CommandDefinition(
            name: "odd",
            summary: "fail",
            discussion: "It fails.",
            flags: [.seed],
            examples: []
        )
        static func run(_ arguments: ParsedArguments, _ terminal: Terminal) throws -> ExitCode {
            terminal.line("seed \(arguments.string("seed") ?? "none")")
            throw Odd()
        }
    }

    @Test func `a command in the table is parsed, helped and run`() {
        let commands = CommandTable.commands + [OddCommand.self]
        func run(_ words: String...) -> (code: ExitCode, said: (output: String, errors: String)) {
            let terminal = Terminal(capturingAsTerminal: false)
            let code = CommandTable.run(words, terminal: terminal, commands: commands)
            return (code, terminal.captured)
        }
        let ran = run("odd", "--seed", "7")
        #expect(ran.code == .failure && ran.said == ("seed 7\n", "weir: error: odd \\x1b[2J\n"), "\(ran)")
        #expect(run("help", "odd").said.output.hasPrefix("weir odd: fail\n"))
        #expect(run("od").said.errors.contains("did you mean weir odd?"))
    }

    @Test func `whatever a command throws becomes a message and a code`() {
        let diagnostic = Diagnostic(
            path: "rules/a.weir",
            line: 2,
            column: 8,
            length: 6,
            message: "no field 'acount'",
            suggestion: "did you mean 'account'?",
            sourceLine: "  when acount >= 4"
        )
        let cases: [(any Error, Int32, String)] = [
            (CommandFailure(.stateCorrupt, "it differs", hint: "look"), 7, "weir: error: it differs\n  look\n"),
            (LogError(.unreachable, "no broker"), 5, "weir: error: no broker\n"),
            (DiagnosticError([diagnostic, diagnostic]), 3, diagnostic.rendered + diagnostic.rendered),
            (diagnostic, 3, diagnostic.rendered), (Odd(), 1, "weir: error: odd \\x1b[2J\n"),
        ]
        for (error, code, text) in cases {
            let terminal = Terminal(capturingAsTerminal: false)
            #expect(CommandTable.report(error, to: terminal).rawValue == code)
            #expect(terminal.captured.errors == text)
            #expect(terminal.captured.output == "")
        }
    }
}
