// The flags several commands share, so that one word means one thing everywhere.
extension FlagDefinition {
    static let topology = option(
        "topology",
        "DIR",
        .directory,
        required: true,
        "folder with topology.yaml, rules/ and samples/"
    )
    static let former = option(
        "release",
        "DIR",
        .directory,
        list: true,
        "the topology's folder as it was when earlier epochs were judged: other rules or inputs of models, and nothing else"
    )
    static let kafka = option(
        "kafka",
        "FILE",
        .file,
        "librdkafka properties (bootstrap.servers, security.protocol ...), and weir.connect.ms: how long to wait for a broker (30000); secrets belong in this file, never in a flag"
    )
    static let embedded = option("log", "FILE.db", .file, "embedded log: one SQLite file")
    /// Of which log is meant: a command that takes one takes all of them.
    static let logs = [kafka, embedded]
    static let state = option(
        "state",
        "DIR",
        .directory,
        "folder of what this deployment keeps for itself: its hash key and snapshots of its state"
    )
    static let hashKeyFile = option(
        "hash-key-file",
        "FILE",
        .file,
        "hash key to use, 32 hexadecimal digits that only the owner may read (openssl rand -hex 16); it is never made"
    )
    static let threads = option(
        "threads",
        "N",
        .integer(1...64),
        "worker threads; results do not depend on it (without it: one per core)"
    )
    static let seed = option(
        "seed",
        "S",
        .integer(0...Int.max),
        default: "1",
        "the same seed gives the same traffic, byte for byte"
    )
    static func json(_ help: String) -> FlagDefinition { toggle("json", help) }
}

extension FlagAlternative {
    static func log(required: Bool, _ purpose: String) -> FlagAlternative {
        FlagAlternative(names: FlagDefinition.logs.map(\.name), isRequired: required, purpose: purpose)
    }
}

extension ExitCode {
    /// Of everything that reads or writes a log.
    static let ofLogs: [ExitCode] = [.failure, .unreachable, .notAuthorised, .stateCorrupt, .incompatible]
    /// Of what goes on until it is stopped, or may be.
    static let ofStops: [ExitCode] = [.interrupted, .terminated]
}
