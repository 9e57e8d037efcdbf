import Glibc

/// The program `weir`: the command table and the bodies of its commands.
@main
struct Weir {
    static func main() {
        StopSignal.ignoreBrokenPipes()
        let terminal = Terminal()
        let words = Array(CommandLine.arguments.dropFirst())
        exit(CommandTable.run(words, terminal: terminal, body: body(of:)).rawValue)
    }

    /// What each command does.
    static func body(of name: CommandName) -> CommandBody {
        switch name {
        case .completion: Completion.run
        case .version: VersionCommand.run
        case .replay: ReplayCommand.run
        case .run: RunCommand.run
        case .demo: DemoCommand.run
        case .simulate: SimulateCommand.run
        case .check: CheckCommand.run
        case .audit: AuditCommand.run
        case .tail: TailCommand.run
        case .doctor: DoctorCommand.run
        }
    }
}
