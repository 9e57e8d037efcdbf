import KafkaClient

/// `weir version`.
enum VersionCommand {
    /// The program's version, and that of the client library it runs with, which may be another tomorrow.
    static var line: String { "weir \(weirVersion) (librdkafka \(KafkaLibrary.version))" }

    /// The command's body.
    static func run(_ parsed: ParsedArguments, _ terminal: Terminal) -> ExitCode {
        let json = #"{"name":"weir","version":"\#(weirVersion)","librdkafka":"\#(KafkaLibrary.version)"}"#
        terminal.line(parsed.isSet("json") ? json : line)
        return .ok
    }
}

extension VersionCommand: Command {
    static var definition: CommandDefinition {
        CommandDefinition(
            name: "version",
            summary: "print the version, and that of the Kafka client library in use",
            discussion: "weir --version prints the same line.",
            flags: [.json("as JSON")],
            examples: []
        )
    }
}
