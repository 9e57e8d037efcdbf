import Pipeline
import RuleLanguage

/// A command of `weir`: what it is called, takes and promises, and what it does.
///
/// To add one: a file in `Commands/` with a type of this kind, and its place in ``CommandTable/commands``. Help, usage errors,
/// suggestions and completions follow from its definition; tests ask for its row in the page for operators.
protocol Command: SendableMetatype {
    /// Cheap: nothing is opened or read for it.
    static var definition: CommandDefinition { get }
    /// Reads checked arguments, writes through the terminal, returns the code to leave with.
    static func run(_ arguments: ParsedArguments, _ terminal: Terminal) throws -> ExitCode
}

/// All commands as data, and the one way from the words of the command line to an exit code.
enum CommandTable {
    /// In the order help lists them: by what a newcomer needs first.
    static let commands: [any Command.Type] = [
        DemoCommand.self, RunCommand.self, ReplayCommand.self, SimulateCommand.self, LoadCommand.self, InitCommand.self,
        CheckCommand.self, AuditCommand.self, TailCommand.self, StatusCommand.self, DoctorCommand.self,
        StateCommand.self,
        SimCommand.self, Completion.self, VersionCommand.self,
    ]

    static let definitions: [CommandDefinition] = commands.map { $0.definition }

    /// Parses, runs the command and turns whatever it throws into a message on stderr and an exit code.
    static func run(_ words: [String], terminal: Terminal, commands: [any Command.Type] = commands) -> ExitCode {
        let definitions = commands.map { $0.definition }
        var code: ExitCode
        // Before anything is said: a log shipper would drop just the line that tells why nothing runs.
        if words.first == RunCommand.definition.name, words.contains("--json") { terminal.writeNotesAsJSON() }
        do {
            switch try ArgumentParser(definitions: definitions).parse(words) {
            case .help(nil):
                terminal.write(HelpText.overview(definitions))
                code = .ok
            case .help(let definition?):
                terminal.write(HelpText.command(definition))
                code = .ok
            case .version:
                terminal.line(VersionCommand.line)
                code = .ok
            case .run(let parsed):
                let command = commands.first { $0.definition.name == parsed.definition.name }
                code = try command?.run(parsed, terminal) ?? .usage
            }
        } catch {
            code = report(error, to: terminal)
        }
        guard let failure = terminal.finish() else { return code }
        return code == .ok ? report(failure, to: terminal) : code
    }

    /// Says on stderr what went wrong and what to do, and returns the code for it.
    static func report(_ error: any Error, to terminal: Terminal) -> ExitCode {
        switch error {
        case let failure as CommandFailure:
            terminal.fail(failure.message, hint: failure.hint)
            return failure.code
        case let failure as LogError:
            if failure.kind == .stopped, let stopped = StopSignal.received { return stopped }
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
