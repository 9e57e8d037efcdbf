extension Generator {
    static let globalNames = [
        "size", "int", "double", "string", "bool", "duration", "timestamp", "matches", "ratio", "has",
    ]
    static let memberNames = [
        "contains", "startsWith", "endsWith", "matches", "size", "lowerAscii", "upperAscii", "getFullYear", "getMonth",
        "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear", "getHours", "getMinutes", "getSeconds",
        "getMilliseconds", "all", "exists", "exists_one", "map", "filter",
    ]
    /// CEL's functions that rules lack; refused by name.
    static let laterNames = ["uint", "bytes", "type", "dyn"]

    mutating func call(
        _ expression: Expression,
        _ target: Expression?,
        _ name: String,
        _ nameSpan: Span,
        _ arguments: [Expression],
        _ into: UInt16?
    ) -> Value {
        if let target {
            if name == "matches" { return matches(target, arguments, nameSpan, into) }
            if let part = Generator.timePart(name) { return accessor(part, name, target, arguments, nameSpan, into) }
            return member(target, name, nameSpan, arguments, into)
        }
        if AggregateFunction(rawValue: name) != nil {
            error(
                nameSpan,
                "'\(name)' is an aggregate and stands in a let or feature",
                suggestion: "let x = \(name)(…) of EVENT by KEY over 1h"
            )
            return .failed
        }
        if name == "matches", arguments.count == 2 {
            return matches(arguments[0], [arguments[1]], nameSpan, into)
        }
        guard Generator.globalNames.contains(name) else {
            let hints: [String: String] = [
                "now": "there is no current time in rules: use the event's time field",
                "len": "write size(x)", "lower": "write x.lowerAscii()", "length": "write size(x)",
            ]
            let nearest = Diagnostic.nearest(to: name, among: Generator.globalNames).map { "did you mean '\($0)'?" }
            let asMember = Generator.memberNames.contains(name) && arguments.count >= 1
            error(
                nameSpan,
                Generator.laterNames.contains(name)
                    ? "'\(name)' is not supported in rules yet" : "no function '\(name)'",
                suggestion: hints[name] ?? Diagnostic.nearest(to: name, among: hints.keys.sorted()).flatMap {
                    hints[$0]
                } ?? (asMember ? "write \(text(arguments[0])).\(name)(…)" : nearest)
            )
            return .failed
        }
        let wanted = name == "ratio" ? 2 : 1
        guard arguments.count == wanted else {
            error(
                expression.span,
                "\(name)() takes \(wanted) argument\(wanted == 1 ? "" : "s"), not \(arguments.count)"
            )
            return .failed
        }
        if name == "ratio" { return ratio(arguments, into) }
        if name == "duration" || name == "timestamp", case .string(let bytes) = arguments[0].kind {
            return timeLiteral(name, bytes, arguments[0])
        }
        return convert(name, arguments[0], nameSpan, into)
    }

    private mutating func simple(
        _ opcode: Opcode,
        _ type: StaticType,
        _ value: Value,
        _ mark: Int,
        _ into: UInt16?,
        keepsPersonal: Bool = false,
        target: Int = 0,
        extra: Int = 0
    ) -> Value {
        release(mark)
        let result = into ?? allocate()
        emit(opcode, result: result, value.operand, target: target, extra: extra)
        return Value(type: type, operand: result, isPersonal: keepsPersonal && value.isPersonal)
    }

    private mutating func convert(_ name: String, _ argument: Expression, _ nameSpan: Span, _ into: UInt16?) -> Value {
        let mark = mark
        let value = generate(argument)
        if value.isFailed { return .failed }
        let found: (Opcode, StaticType)?
        switch (name, value.type) {
        case ("size", .string): found = (.textSize, .int)
        case ("size", .list): found = (.listSize, .int)
        case ("int", .int), ("double", .double), ("string", .string), ("bool", .bool), ("duration", .duration),
            ("timestamp", .timestamp):
            return value
        case ("int", .double): found = (.doubleToInt, .int)
        case ("int", .string): found = (.textToInt, .int)
        case ("int", .timestamp): found = (.timestampToInt, .int)
        case ("double", .int): found = (.intToDouble, .double)
        case ("double", .string): found = (.textToDouble, .double)
        case ("string", .int): found = (.intToText, .string)
        case ("string", .double): found = (.doubleToText, .string)
        case ("string", .bool): found = (.boolToText, .string)
        case ("string", .timestamp): found = (.timestampToText, .string)
        case ("string", .duration): found = (.durationToText, .string)
        case ("bool", .string): found = (.textToBool, .bool)
        case ("duration", .string): found = (.textToDuration, .duration)
        case ("timestamp", .string): found = (.textToTimestamp, .timestamp)
        case ("timestamp", .int): found = (.intToTimestamp, .timestamp)
        default: found = nil
        }
        guard let (opcode, type) = found else {
            error(argument.span, "\(name)() does not take \(value.type.withArticle)")
            return .failed
        }
        return simple(opcode, type, value, mark, into, keepsPersonal: name != "size")
    }

    private mutating func ratio(_ arguments: [Expression], _ into: UInt16?) -> Value {
        let mark = mark
        let a = generate(arguments[0])
        let b = generate(arguments[1])
        if a.isFailed || b.isFailed { return .failed }
        for (value, argument) in [(a, arguments[0]), (b, arguments[1])] where value.type != .int {
            error(
                argument.span,
                "ratio() takes two ints, and this is \(value.type.withArticle)",
                suggestion: value.type == .double ? "write a / b for doubles" : nil
            )
            return .failed
        }
        release(mark)
        let result = into ?? allocate()
        emit(.ratio, result: result, a.operand, b.operand)
        return Value(type: .double, operand: result)
    }

    /// `duration("1h")` and `timestamp("…")` become constants.
    private mutating func timeLiteral(_ name: String, _ bytes: [UInt8], _ argument: Expression) -> Value {
        let written = String(decoding: bytes, as: UTF8.self)
        if name == "duration" {
            if let value = bytes.withUnsafeBufferPointer({ TimeText.duration($0) }) {
                return Value(type: .duration, operand: constant(Slot(value)))
            }
            let isLong = written.hasSuffix("d") || written.hasSuffix("w")
            error(
                argument.span,
                isLong ? "duration() knows no days and weeks" : "duration() cannot read this text",
                suggestion: isLong && DurationText.milliseconds(written) != nil
                    ? "write duration(\"\(Parser.celDuration(written))\")" : "for example duration(\"1h30m\")"
            )
            return .failed
        }
        if let value = bytes.withUnsafeBufferPointer({ TimeText.timestamp($0) }) {
            return Value(type: .timestamp, operand: constant(Slot(value)))
        }
        error(
            argument.span,
            "timestamp() cannot read this text",
            suggestion: "for example timestamp(\"2026-01-05T08:00:00Z\")"
        )
        return .failed
    }

    private mutating func member(
        _ target: Expression,
        _ name: String,
        _ nameSpan: Span,
        _ arguments: [Expression],
        _ into: UInt16?
    ) -> Value {
        let binary: [String: Opcode] = ["contains": .contains, "startsWith": .startsWith, "endsWith": .endsWith]
        guard Generator.memberNames.contains(name) else {
            if let chain = target.nameChain, scope.meaning(of: chain.joined(separator: ".")) == nil,
                variables.allSatisfy({ $0.name != chain[0] })
            {
                let whole = chain.joined(separator: ".")
                if ["graph", "score", "math", "strings"].contains(whole) {
                    error(
                        target.span.union(nameSpan),
                        "no function '\(whole).\(name)'",
                        suggestion: signalHint()
                    )
                } else {
                    unknown(whole, target.span)
                }
                return .failed
            }
            let nearest = Diagnostic.nearest(to: name, among: Generator.memberNames).map { "did you mean '\($0)'?" }
            error(nameSpan, "no function '\(name)'", suggestion: name == "length" ? "write size()" : nearest)
            return .failed
        }
        let mark = mark
        let value = generate(target)
        if value.isFailed { return .failed }
        let wanted = binary[name] == nil ? 0 : 1
        guard arguments.count == wanted, Expression.Macro(rawValue: name) == nil else {
            error(
                nameSpan,
                "\(name)() takes \(Expression.Macro(rawValue: name) == nil ? "\(wanted) argument\(wanted == 1 ? "" : "s")" : "a variable and an expression")"
            )
            return .failed
        }
        if name == "size" {
            if case .list = value.type { return simple(.listSize, .int, value, mark, into) }
            if value.type == .string { return simple(.textSize, .int, value, mark, into) }
        }
        guard value.type == .string else {
            var suggestion: String?
            if case .list = value.type, name == "contains" {
                suggestion = "write \(text(arguments[0])) in \(text(target))"
            }
            error(
                nameSpan,
                "\(name)() works on a string, and this is \(value.type.withArticle)",
                suggestion: suggestion
            )
            return .failed
        }
        if name == "lowerAscii" { return simple(.lowerAscii, .string, value, mark, into, keepsPersonal: true) }
        if name == "upperAscii" { return simple(.upperAscii, .string, value, mark, into, keepsPersonal: true) }
        guard let opcode = binary[name] else { return .failed }
        let argument = generate(arguments[0])
        if argument.isFailed { return .failed }
        guard argument.type == .string else {
            error(arguments[0].span, "\(name)() looks for a string, and this is \(argument.type.withArticle)")
            return .failed
        }
        release(mark)
        let result = into ?? allocate()
        emit(opcode, result: result, value.operand, argument.operand)
        return Value(type: .bool, operand: result)
    }

    /// RE2 patterns are compiled here, once; so they have to be literals.
    private mutating func matches(
        _ target: Expression,
        _ arguments: [Expression],
        _ nameSpan: Span,
        _ into: UInt16?
    ) -> Value {
        let mark = mark
        let value = generate(target)
        if value.isFailed { return .failed }
        guard value.type == .string else {
            error(target.span, "matches() works on a string, and this is \(value.type.withArticle)")
            return .failed
        }
        guard arguments.count == 1, case .string(let pattern) = arguments[0].kind else {
            error(
                arguments.first?.span ?? nameSpan,
                "the pattern of matches() stands in quotes",
                suggestion: "email.matches(r\"^[a-z]+@\")"
            )
            return .failed
        }
        switch builder.pattern(pattern) {
        case .success(let index): return simple(.matches, .bool, value, mark, into, target: index)
        case .failure(let problem):
            error(
                arguments[0].span,
                "this pattern cannot be used: \(problem.message)",
                suggestion: "patterns are RE2's: no look-around, no back-references"
            )
            return .failed
        }
    }

    private static func timePart(_ name: String) -> TimePart? {
        switch name {
        case "getFullYear": .fullYear
        case "getMonth": .month
        case "getDate": .date
        case "getDayOfMonth": .dayOfMonth
        case "getDayOfWeek": .dayOfWeek
        case "getDayOfYear": .dayOfYear
        case "getHours": .hours
        case "getMinutes": .minutes
        case "getSeconds": .seconds
        case "getMilliseconds": .milliseconds
        default: nil
        }
    }

    private mutating func accessor(
        _ part: TimePart,
        _ name: String,
        _ target: Expression,
        _ arguments: [Expression],
        _ nameSpan: Span,
        _ into: UInt16?
    ) -> Value {
        let mark = mark
        let value = generate(target)
        if value.isFailed { return .failed }
        if value.type == .duration, arguments.isEmpty, [.hours, .minutes, .seconds, .milliseconds].contains(part) {
            return simple(.durationPart, .int, value, mark, into, extra: Int(part.rawValue))
        }
        guard value.type == .timestamp, arguments.count <= 1 else {
            error(nameSpan, "\(name)() works on a timestamp, and this is \(value.type.withArticle)")
            return .failed
        }
        var minutes = 0
        if let zone = arguments.first {
            guard case .string(let bytes) = zone.kind else {
                error(zone.span, "a time zone stands in quotes", suggestion: "\(name)(\"+02:00\")")
                return .failed
            }
            if let offset = bytes.withUnsafeBufferPointer({ TimeText.offsetMinutes($0) }) {
                minutes = offset
            } else if bytes != Array("UTC".utf8), bytes != Array("Z".utf8) {
                error(
                    zone.span,
                    "named time zones are not supported: their rules change, and a replay would too",
                    suggestion: "write a fixed offset: \(name)(\"+02:00\")"
                )
                return .failed
            }
        }
        return simple(.timePart, .int, value, mark, into, target: minutes, extra: Int(part.rawValue))
    }
}
