/// One command of `weir` as data.
///
/// Parsing, help, usage errors, suggestions and shell completions are all derived from it, so they cannot contradict
/// each other.
struct CommandDefinition: Sendable {
    /// The word after `weir`.
    var name: String
    /// One line for the list of commands: a verb phrase without a period.
    var summary: String
    /// Paragraphs for `weir COMMAND --help`, separated by empty lines; wrapped when printed.
    var discussion: String
    /// Positional arguments, in order.
    var arguments: [ArgumentDefinition] = []
    var flags: [FlagDefinition]
    /// Flags that exclude each other.
    var alternatives: [FlagAlternative] = []
    var examples: [Example]
    /// The codes it can leave with besides `ok` and `usage`, which every command has.
    var exitCodes: [ExitCode] = []

    /// A line to type and what it does.
    struct Example: Sendable {
        var line: String
        var effect: String
    }

    /// The flag of this name, or nil.
    func flag(named name: String) -> FlagDefinition? { allFlags.first { $0.name == name } }

    /// Its own flags and `--help`.
    var allFlags: [FlagDefinition] { flags + [FlagDefinition.help] }
}

/// A positional argument; always required, since optional things are flags.
struct ArgumentDefinition: Sendable {
    /// In capitals, as usage lines show it, such as `DIR`.
    var name: String
    var value: ValueKind
    var help: String
}

/// Flags of which at most one may be given, or exactly one where `isRequired`.
struct FlagAlternative: Sendable {
    var names: [String]
    var isRequired: Bool
    /// What the flags decide, to complete "say …", such as "where the verdicts are".
    var purpose: String
}

/// What may stand as a value: checked while parsing, before any work is done, and known to the completions.
enum ValueKind: Sendable, Equatable {
    case text
    /// A path; `-` means standard input or output where the command says so.
    case file
    case directory
    /// Digits, `_` between them allowed.
    case integer(ClosedRange<Int>)
    /// A whole number and `ms`, `s`, `m`, `h`, `d` or `w`.
    case duration
    case choice([String])
}

/// A flag: a switch without a value, or an option with one or several.
struct FlagDefinition: Sendable, Equatable {
    /// Long name without the dashes.
    var name: String
    /// One letter for `-x`, or nil.
    var short: Character?
    /// nil for a switch.
    var value: ValueKind?
    /// How help names the value, in capitals.
    var valueName: String = ""
    /// Takes all values up to the next flag, and may be given several times.
    var takesList = false
    var isRequired = false
    /// What holds when it is not given; shown in help and returned by the look-ups.
    var defaultValue: String?
    var help: String

    /// A flag without a value.
    static func toggle(_ name: String, short: Character? = nil, _ help: String) -> FlagDefinition {
        FlagDefinition(name: name, short: short, help: help)
    }

    /// A flag with a value.
    static func option(
        _ name: String,
        _ valueName: String,
        _ value: ValueKind,
        required: Bool = false,
        list: Bool = false,
        default defaultValue: String? = nil,
        _ help: String
    ) -> FlagDefinition {
        FlagDefinition(
            name: name,
            short: nil,
            value: value,
            valueName: valueName,
            takesList: list,
            isRequired: required,
            defaultValue: defaultValue,
            help: help
        )
    }

    /// The flag every command has.
    static let help = FlagDefinition.toggle("help", short: "h", "show this help")

    /// As usage lines show it: `--topology DIR`.
    var usage: String {
        guard value != nil else { return "--\(name)" }
        return "--\(name) \(valueName)" + (takesList ? "..." : "")
    }
}
