/// `weir version`.
enum VersionCommand {
    /// The command's body.
    static func run(_ parsed: ParsedArguments, _ terminal: Terminal) -> ExitCode {
        terminal.line(parsed.isSet("json") ? #"{"name":"weir","version":"\#(weirVersion)"}"# : "weir \(weirVersion)")
        return .ok
    }
}
