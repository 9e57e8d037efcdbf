import Glibc

/// Where a deployment keeps what it needs between starts: its hash key and its snapshots.
///
/// `--state DIR`; without it beside the embedded log, or in the folder for state of the service or the user, under the topology's
/// name.
struct StatePlace {
    /// What a file's name is put behind.
    private let prefix: String

    /// Nil without `--state` where neither log nor environment says where state is kept.
    ///
    /// - Parameters:
    ///   - topology: its name; nil where the command was given none.
    ///   - environment: by which a folder for state is found.
    init?(
        _ arguments: ParsedArguments,
        topology: String?,
        environment: (String) -> String? = { name in getenv(name).map { String(cString: $0) } }
    ) {
        func set(_ name: String) -> String? { environment(name).flatMap { $0.isEmpty ? nil : $0 } }
        if let folder = arguments.string("state") {
            prefix = "\(folder)/"
        } else if let log = arguments.string("log") {
            prefix = "\(log)."
        } else if let topology {
            // systemd's StateDirectory= may name several.
            let system = set("STATE_DIRECTORY").flatMap { $0.split(separator: ":").first.map(String.init) }
            let user =
                set("XDG_STATE_HOME").map { "\($0)/weir" } ?? set("HOME").map { "\($0)/.local/state/weir" }
            guard let base = system ?? user else { return nil }
            prefix = "\(base)/\(topology)/"
        } else {
            return nil
        }
    }

    var hashKey: String { prefix + "hash-key" }
    var snapshots: String { prefix + "snapshots" }
}
