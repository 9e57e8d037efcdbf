/// Which target may import what.
///
/// Imports run one way, each C library has one door, and the pure targets stay pure.
///
/// `CRdKafka ← KafkaClient ← Pipeline ← Console ← weir`; `RuleLanguage, Models ← Detection ← Pipeline`;
/// `Models ← Simulation ← weir`; `Telemetry ← Pipeline, Console, weir`.
enum ImportArrows {
    /// Modules by importing target; the standard library needs no import.
    static let allowed: [String: Set<String>] = [
        "Telemetry": ["Glibc", "Synchronization"],
        "KafkaClient": ["CRdKafka", "Glibc", "Synchronization"],
        "RuleLanguage": ["CRE2", "Glibc"],
        "Models": [],
        "Detection": ["RuleLanguage", "Models"],
        "Pipeline": [
            "KafkaClient", "Detection", "RuleLanguage", "Models", "Telemetry", "CSQLite", "CYAML", "CCrypto", "CZlib",
            "CZstd",
            "CPlatform", "Glibc", "Synchronization",
        ],
        "Console": [
            "Pipeline", "Detection", "RuleLanguage", "Models", "Telemetry", "CMicroHTTPD", "Glibc", "Synchronization",
            "FoundationEssentials",
        ],
        "Simulation": ["RuleLanguage", "Models"],
        "weir": [
            "Console", "Pipeline", "Simulation", "Detection", "RuleLanguage", "Models", "KafkaClient", "Telemetry",
            "Glibc",
            "Synchronization",
            "FoundationEssentials",
        ],
    ]

    /// Targets that may take single functions of the C library, such as `import func Glibc.exp`.
    static let scopedOnly: Set<String> = ["Detection", "Models"]

    /// What even a scoped import may not bring into the data plane.
    static let impure: Set<String> = [
        "time", "clock", "clock_gettime", "gettimeofday", "localtime", "localtime_r", "rand", "random", "rand_r",
        "drand48",
        "getrandom", "arc4random", "getenv", "getpid", "pthread_self",
    ]

    /// Imports that go against the arrows.
    static func findings(_ path: String, _ source: SwiftText) -> [Finding] {
        let folders = path.split(separator: "/")
        guard folders.count > 2, folders[1] != "CLibraries" else { return [] }
        let target = String(folders[1])
        guard let modules = allowed[target] else {
            let message =
                "\(target) is not in the table of targets: extend a target that exists, or add it in ImportArrows with its reason"
            return [Finding(path: path, line: 1, message: message)]
        }
        var found: [Finding] = []
        for (index, line) in source.code.enumerated() {
            guard let (module, member) = imported(line) else { continue }
            if let complaint = complaint(target, module, member, modules) {
                found.append(Finding(path: path, line: index + 1, message: complaint))
            }
        }
        return found
    }

    private static func complaint(_ target: String, _ module: String, _ member: String?, _ modules: Set<String>)
        -> String?
    {
        if scopedOnly.contains(target), module == "Glibc" {
            guard let member else {
                return "\(target) imports all of Glibc: import the functions it needs, such as import func Glibc.exp"
            }
            return impure.contains(member)
                ? "\(target) imports \(member): time and chance are arguments here, so that a replay is exact" : nil
        }
        if modules.contains(module) { return nil }
        if module.hasPrefix("C"), let owner = allowed.first(where: { $0.value.contains(module) })?.key {
            return "\(target) imports \(module), which only \(owner) may: ask \(owner) for what you need"
        }
        if module.hasPrefix("Foundation") {
            return "\(target) imports \(module): below the console use the standard library and Glibc"
        }
        return "\(target) imports \(module) against the arrows; it may import "
            + (modules.isEmpty ? "nothing" : modules.sorted().joined(separator: ", "))
    }

    /// Module and, where the import is scoped, member of an import line.
    static func imported(_ line: String) -> (module: String, member: String?)? {
        guard line.hasWord("import") else { return nil }
        var words = line.split { $0 == " " || $0 == "\t" || $0 == ";" }.map(String.init)
        while let first = words.first,
            first.hasPrefix("@") || ["public", "package", "internal", "fileprivate", "private"].contains(first)
        {
            words.removeFirst()
        }
        guard words.count >= 2, words.removeFirst() == "import" else { return nil }
        let kinds = ["func", "struct", "class", "enum", "protocol", "typealias", "var", "let"]
        if kinds.contains(words[0]), words.count >= 2 { words.removeFirst() }
        let parts = words[0].split(separator: ".").map(String.init)
        guard let module = parts.first else { return nil }
        return (module, parts.count > 1 ? parts.last : nil)
    }
}
