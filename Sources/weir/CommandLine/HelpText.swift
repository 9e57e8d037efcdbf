/// Help, derived from the command table.
///
/// Plain text: it is the same on a terminal and in a pipe.
enum HelpText {
    /// Lines are wrapped at this column.
    static let width = 88

    /// `weir --help`.
    static func overview(_ definitions: [CommandDefinition]) -> String {
        var text = "weir \(weirVersion): fraud detection on event streams, exactly once and replayable\n\n"
        text += "Usage: weir COMMAND [flags]\n\nCommands:\n"
        text += columns(definitions.map { ($0.name, $0.summary) })
        text += "\nweir COMMAND --help shows its flags, examples and exit codes; weir --version the version.\n"
        text += "First steps: weir demo needs no set-up.\n"
        return text
    }

    /// `weir COMMAND --help`.
    static func command(_ definition: CommandDefinition) -> String {
        var text = "weir \(definition.name): \(definition.summary)\n\n"
        text += wrapped("Usage: " + usage(definition), indent: 0, hanging: 4) + "\n"
        for paragraph in paragraphs(definition.discussion) { text += wrapped(paragraph, indent: 0) + "\n" }
        if !definition.arguments.isEmpty {
            text += "Arguments:\n" + columns(definition.arguments.map { ($0.name, $0.help) }) + "\n"
        }
        text += "Flags:\n" + columns(definition.allFlags.map { (flagColumn($0), flagHelp($0)) }) + "\n"
        if !definition.examples.isEmpty {
            text += "Examples:\n"
            for example in definition.examples { text += "  \(example.line)\n" + wrapped(example.effect, indent: 6) }
            text += "\n"
        }
        let codes = Set([.ok, .usage] + definition.exitCodes).sorted { $0.rawValue < $1.rawValue }
        text += "Exit codes:\n" + columns(codes.map { (String($0.rawValue), $0.meaning) })
        return text
    }

    /// The usage line: required flags first, alternatives in one bracket, switches last.
    static func usage(_ definition: CommandDefinition) -> String {
        var parts = ["weir", definition.name] + definition.arguments.map(\.name)
        let grouped = Set(definition.alternatives.flatMap(\.names))
        parts += definition.flags.filter { $0.isRequired }.map(\.usage)
        for alternative in definition.alternatives {
            let choices = alternative.names.compactMap { definition.flag(named: $0)?.usage }.joined(separator: " | ")
            parts.append(alternative.isRequired ? "(\(choices))" : "[\(choices)]")
        }
        parts += definition.flags.filter { !$0.isRequired && !grouped.contains($0.name) }.map { "[\($0.usage)]" }
        return parts.joined(separator: " ")
    }

    private static func flagColumn(_ flag: FlagDefinition) -> String {
        (flag.short.map { "-\($0), " } ?? "") + flag.usage
    }

    private static func flagHelp(_ flag: FlagDefinition) -> String {
        var text = flag.help
        var notes: [String] = []
        if flag.isRequired { notes.append("required") }
        if case .choice(let choices) = flag.value { notes.append(choices.joined(separator: " | ")) }
        if case .integer(let range) = flag.value, range.upperBound != .max {
            notes.append("\(range.lowerBound) to \(range.upperBound)")
        }
        if let value = flag.defaultValue { notes.append("default \(value)") }
        if !notes.isEmpty { text += " (" + notes.joined(separator: "; ") + ")" }
        return text
    }

    private static func columns(_ rows: [(String, String)]) -> String {
        let left = min(26, rows.map(\.0.count).max() ?? 0)
        var text = ""
        for (name, help) in rows {
            let body = wrapped(help, indent: left + 4)
            if name.count > left {
                text += "  \(name)\n" + body
            } else {
                let lead = "  " + name + String(repeating: " ", count: left - name.count + 2)
                text += lead + body.dropFirst(left + 4)
            }
        }
        return text
    }

    private static func paragraphs(_ text: String) -> [String] {
        var found: [String] = []
        var current: [Substring] = []
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            if line.isEmpty {
                if !current.isEmpty { found.append(current.joined(separator: " ")) }
                current = []
            } else {
                current.append(line)
            }
        }
        if !current.isEmpty { found.append(current.joined(separator: " ")) }
        return found
    }

    /// The words of `text` in lines of at most ``width`` columns, each ended by a line feed; brackets of usage lines stay whole.
    static func wrapped(_ text: String, indent: Int, hanging: Int = 0) -> String {
        var lines: [String] = []
        var line = ""
        for word in units(of: text) {
            let room = width - indent - (lines.isEmpty ? 0 : hanging)
            if !line.isEmpty, line.count + 1 + word.count > room {
                lines.append(line)
                line = word
            } else {
                line += (line.isEmpty ? "" : " ") + word
            }
        }
        if !line.isEmpty { lines.append(line) }
        return lines.enumerated().map { index, line in
            String(repeating: " ", count: indent + (index == 0 ? 0 : hanging)) + line + "\n"
        }.joined()
    }

    /// Words, where `[--flag VALUE]` counts as one.
    private static func units(of text: String) -> [String] {
        var units: [String] = []
        var open = 0
        for word in text.split(separator: " ") {
            if open > 0, let last = units.popLast() {
                units.append(last + " " + word)
            } else {
                units.append(String(word))
            }
            open += word.reduce(0) { $0 + ($1 == "[" ? 1 : $1 == "]" ? -1 : 0) }
        }
        return units
    }
}
