/// `weir version`.
enum VersionCommand {
    /// The command's body.
    static func run(_ parsed: ParsedArguments, _ terminal: Terminal) -> ExitCode {
        terminal.line(parsed.isSet("json") ? #"{"name":"weir","version":"\#(weirVersion)"}"# : "weir \(weirVersion)")
        return .ok
    }
}

extension VersionCommand: Command {
    static var definition: CommandDefinition {
        CommandDefinition(
            name: "version",
            summary: "print the version",
            discussion: "weir --version prints the same line.",
            flags: [.json("as JSON")],
            examples: []
        )
    }
}
