import RuleLanguage

/// What a command was given, already checked against its definition: types, ranges, choices, required flags, alternatives.
///
/// A look-up by a name that the definition does not have is a mistake in our code, so it is a precondition.
struct ParsedArguments: Sendable {
    let definition: CommandDefinition
    /// Values by flag name in the order given; a switch that is set has an empty list.
    let values: [String: [String]]
    /// The positional arguments, as many as the definition has.
    let positional: [String]

    /// Whether the flag was given; a default does not count.
    func isSet(_ name: String) -> Bool {
        _ = known(name)
        return values[name] != nil
    }

    /// The value of an option, else its default, else nil.
    func string(_ name: String) -> String? {
        let flag = known(name)
        return values[name]?.last ?? flag.defaultValue
    }

    /// The value of an option that is required or has a default, or of the positional argument of this name.
    func required(_ name: String) -> String {
        if let index = definition.arguments.firstIndex(where: { $0.name == name }) { return positional[index] }
        let flag = known(name)
        precondition(flag.isRequired || flag.defaultValue != nil, "--\(name) is neither required nor has it a default")
        return string(name) ?? ""
    }

    /// All values of an option that takes several; empty when not given.
    func strings(_ name: String) -> [String] {
        _ = known(name)
        return values[name] ?? []
    }

    /// The value of an integer option, else its default, else nil.
    func int(_ name: String) -> Int? {
        guard case .integer = known(name).value else { preconditionFailure("--\(name) is not an integer option") }
        return string(name).flatMap(ValueKind.parseInteger)
    }

    /// The same with a narrower range than the definition's, for limits known only at run time.
    func int(_ name: String, in range: ClosedRange<Int>) throws(CommandFailure) -> Int? {
        guard let value = int(name) else { return nil }
        guard range.contains(value) else {
            throw .usage("--\(name) \(value) is out of range: \(range.lowerBound) to \(range.upperBound)")
        }
        return value
    }

    /// The value of a duration option in milliseconds, else its default, else nil.
    func durationMilliseconds(_ name: String) -> Int64? {
        guard known(name).value == .duration else { preconditionFailure("--\(name) is not a duration option") }
        return string(name).flatMap(ValueKind.parseDuration)
    }

    private func known(_ name: String) -> FlagDefinition {
        guard let flag = definition.flag(named: name) else {
            preconditionFailure("weir \(definition.name) has no flag --\(name)")
        }
        return flag
    }
}

extension ValueKind {
    /// A whole number, with `_` allowed between digits; nil when it is none or does not fit.
    static func parseInteger(_ text: String) -> Int? {
        guard text.first != "_", text.last != "_" else { return nil }
        let digits = text.filter { $0 != "_" }
        guard digits.utf8.first != UInt8(ascii: "+") else { return nil }
        return Int(digits)
    }

    /// Milliseconds of `15m`, `200ms`, `7d` …; nil when it is no duration or does not fit.
    static func parseDuration(_ text: String) -> Int64? {
        DurationText.milliseconds(text)
    }

    /// What is wrong with a value of this kind, to follow "--name VALUE: "; nil when nothing is.
    func complaint(about text: String) -> String? {
        switch self {
        case .text: return nil
        case .file, .directory: return text.isEmpty ? "the path is empty" : nil
        case .integer(let range):
            guard let value = ValueKind.parseInteger(text) else { return "not a whole number" }
            guard range.contains(value) else {
                return range.upperBound == .max
                    ? "must be at least \(range.lowerBound)" : "must be \(range.lowerBound) to \(range.upperBound)"
            }
            return nil
        case .duration:
            return ValueKind.parseDuration(text) == nil
                ? "not a duration; write a whole number and ms, s, m, h, d or w, such as 15m" : nil
        case .choice(let choices):
            return choices.contains(text) ? nil : "must be one of " + choices.joined(separator: ", ")
        }
    }
}
