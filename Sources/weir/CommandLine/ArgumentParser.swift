import RuleLanguage

/// Turns the words after `weir` into a checked request, by the table alone.
///
/// Grammar: `COMMAND`, then flags and positional arguments in any order. `--flag value` and `--flag=value` are the same; `-x` is
/// the short form of a switch; an option that takes a list takes all words up to the next flag; after `--` every word is
/// positional. A word that starts with `-` is a value only as `--flag=-word`, as a lone `-`, or as a negative number for an integer
/// option, so that a forgotten value is reported at once and not swallowed. Names are never abbreviated: a new flag must not break
/// a script.
struct ArgumentParser {
    let definitions: [CommandDefinition]

    /// What was asked for.
    enum Request {
        case run(ParsedArguments)
        /// Help on one command, or on all.
        case help(CommandDefinition?)
        case version
    }

    /// Reads the words of the command line, without the program's own name.
    func parse(_ words: [String]) throws(CommandFailure) -> Request {
        guard let first = words.first else {
            throw .usage("no command given", hint: "weir --help lists them; weir demo needs no set-up")
        }
        switch first {
        case "--help", "-h": return .help(nil)
        case "--version": return .version
        case "help":
            guard words.count > 1 else { return .help(nil) }
            return .help(try definition(named: words[1]))
        default: break
        }
        if first.hasPrefix("-") {
            let flags = ["help", "version"]
            let near = Diagnostic.nearest(to: String(first.drop { $0 == "-" }), among: flags)
            throw .usage(
                "unknown flag \(first); flags of a command stand behind it",
                hint: near.map { "did you mean --\($0)?" } ?? "weir --help lists the commands"
            )
        }
        let definition = try definition(named: first)
        let rest = words.dropFirst()
        if rest.prefix(while: { $0 != "--" }).contains(where: { $0 == "--help" || $0 == "-h" }) {
            return .help(definition)
        }
        return .run(try parse(rest, of: definition))
    }

    private func definition(named name: String) throws(CommandFailure) -> CommandDefinition {
        if let found = definitions.first(where: { $0.name == name }) { return found }
        let near = Diagnostic.nearest(to: name, among: definitions.map(\.name))
        throw .usage(
            "unknown command '\(name)'",
            hint: near.map { "did you mean weir \($0)?" } ?? "weir --help lists the commands"
        )
    }

    private func parse(_ words: ArraySlice<String>, of definition: CommandDefinition) throws(CommandFailure)
        -> ParsedArguments
    {
        var values: [String: [String]] = [:]
        var positional: [String] = []
        var rest = words
        while let word = rest.popFirst() {
            if word == "--" {
                positional += rest
                break
            }
            guard word.hasPrefix("-"), word != "-" else {
                positional.append(word)
                continue
            }
            let (flag, attached) = try flag(of: word, in: definition)
            if values[flag.name] != nil, !flag.takesList { throw .usage("--\(flag.name) is given twice") }
            guard let kind = flag.value else {
                if let attached { throw .usage("--\(flag.name) takes no value, but got '\(attached)'") }
                values[flag.name] = []
                continue
            }
            var taken: [String] = []
            if let attached {
                taken = [attached]
            } else {
                while let next = rest.first, isValue(next, of: kind), flag.takesList || taken.isEmpty {
                    taken.append(next)
                    rest.removeFirst()
                }
            }
            guard !taken.isEmpty else { throw .usage("--\(flag.name) needs a value: \(flag.usage)", hint: flag.help) }
            for value in taken { try check(value, of: kind, name: "--\(flag.name)") }
            values[flag.name, default: []] += taken
        }
        let parsed = ParsedArguments(definition: definition, values: values, positional: positional)
        try checkWhole(parsed)
        return parsed
    }

    private func flag(
        of word: String,
        in definition: CommandDefinition
    ) throws(CommandFailure) -> (FlagDefinition, attached: String?) {
        if word.hasPrefix("--") {
            let body = word.dropFirst(2)
            let name = String(body.prefix { $0 != "=" })
            let attached = name.count < body.count ? String(body.dropFirst(name.count + 1)) : nil
            if let flag = definition.flag(named: name) { return (flag, attached) }
            let near = Diagnostic.nearest(to: name, among: definition.allFlags.map(\.name))
            throw .usage(
                "unknown flag --\(name)",
                hint: near.map { "did you mean --\($0)?" } ?? "weir \(definition.name) --help lists the flags"
            )
        }
        if word.count == 2, let flag = definition.allFlags.first(where: { $0.short == word.last }) {
            return (flag, nil)
        }
        // "-topology" is the likely slip: one dash instead of two.
        let name = String(word.dropFirst())
        let near = Diagnostic.nearest(to: name, among: definition.allFlags.map(\.name))
        throw .usage(
            "unknown flag \(word)",
            hint: near.map { "did you mean --\($0)?" } ?? "weir \(definition.name) --help lists the flags"
        )
    }

    private func isValue(_ word: String, of kind: ValueKind) -> Bool {
        guard word.hasPrefix("-"), word != "-" else { return true }
        if case .integer = kind { return ValueKind.parseInteger(word) != nil }
        return false
    }

    private func check(_ value: String, of kind: ValueKind, name: String) throws(CommandFailure) {
        guard let complaint = kind.complaint(about: value) else { return }
        var hint: String?
        if case .choice(let choices) = kind {
            hint = Diagnostic.nearest(to: value, among: choices).map { "did you mean \($0)?" }
        }
        throw .usage("\(name) \(value): \(complaint)", hint: hint)
    }

    private func checkWhole(_ parsed: ParsedArguments) throws(CommandFailure) {
        let definition = parsed.definition
        for alternative in definition.alternatives {
            let given = alternative.names.filter { parsed.values[$0] != nil }
            if given.count > 1 {
                throw .usage(given.map { "--\($0)" }.joined(separator: " and ") + " exclude each other")
            }
            if alternative.isRequired, given.isEmpty {
                let choices = alternative.names.compactMap { definition.flag(named: $0)?.usage }
                throw .usage("say \(alternative.purpose): " + choices.joined(separator: " or "))
            }
        }
        for flag in definition.flags where flag.isRequired && parsed.values[flag.name] == nil {
            throw .usage("\(flag.usage) is missing", hint: flag.help)
        }
        guard parsed.positional.count <= definition.arguments.count else {
            let extra = parsed.positional[definition.arguments.count]
            throw .usage(
                "unexpected argument '\(extra)'",
                hint: "flags start with --; weir \(definition.name) --help shows them"
            )
        }
        for (index, argument) in definition.arguments.enumerated() {
            guard index < parsed.positional.count else {
                throw .usage("\(argument.name) is missing", hint: argument.help)
            }
            try check(parsed.positional[index], of: argument.value, name: argument.name)
        }
    }
}
