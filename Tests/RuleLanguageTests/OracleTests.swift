import Models
import Testing

@testable import RuleLanguage

/// A value of the oracle: what CEL says an expression is, computed by walking the tree with Swift's own types.
private enum Answer: Equatable {
    case int(Int64)
    case double(Double)
    case bool(Bool)
    case text(String)
    case failure
}

/// Evaluates a tree the slow and obvious way.
private struct Oracle {
    var fields: [String: Answer]
    var variables: [String: Answer] = [:]
    var list: [String]

    func evaluate(_ expression: ParsedExpression) -> Answer {
        switch expression.kind {
        case .int(let value): return .int(value)
        case .double(let value): return .double(value)
        case .bool(let value): return .bool(value)
        case .string(let bytes): return .text(bytes.text)
        case .identifier(let name): return variables[name] ?? fields[name] ?? .failure
        case .has(let operand): return .bool(fields[operand.nameChain?.joined() ?? ""] != nil)
        case .unary(.not, let operand):
            guard case .bool(let value) = evaluate(operand) else { return .failure }
            return .bool(!value)
        case .unary(.negate, let operand):
            switch evaluate(operand) {
            case .int(let value): return value == .min ? .failure : .int(-value)
            case .double(let value): return .double(-value)
            default: return .failure
            }
        case .and(let items): return joined(items.map(evaluate), decides: false)
        case .or(let items): return joined(items.map(evaluate), decides: true)
        case .conditional(let test, let yes, let no):
            guard case .bool(let value) = evaluate(test) else { return .failure }
            return evaluate(value ? yes : no)
        case .binary(let operation, let a, let b): return binary(operation, evaluate(a), evaluate(b))
        case .call(nil, "size", _, let arguments):
            guard case .text(let value) = evaluate(arguments[0]) else { return .failure }
            return .int(Int64(value.unicodeScalars.count))
        case .comprehension(let macro, _, let variable, let arguments):
            let answers = list.map { element in
                var inner = self
                inner.variables[variable] = .text(element)
                return inner.evaluate(arguments[0])
            }
            if macro == .exists || macro == .all { return joined(answers, decides: macro == .exists) }
            if answers.contains(.failure) { return .failure }
            return .bool(answers.filter { $0 == .bool(true) }.count == 1)
        default: return .failure
        }
    }

    private func joined(_ answers: [Answer], decides: Bool) -> Answer {
        if answers.contains(.bool(decides)) { return .bool(decides) }
        return answers.contains(.failure) ? .failure : .bool(!decides)
    }

    private func binary(_ operation: ParsedExpression.Binary, _ a: Answer, _ b: Answer) -> Answer {
        if a == .failure || b == .failure { return .failure }
        switch (a, b) {
        case (.int(let x), .int(let y)):
            func checked(_ result: (partialValue: Int64, overflow: Bool)) -> Answer {
                result.overflow ? .failure : .int(result.partialValue)
            }
            switch operation {
            case .add: return checked(x.addingReportingOverflow(y))
            case .subtract: return checked(x.subtractingReportingOverflow(y))
            case .multiply: return checked(x.multipliedReportingOverflow(by: y))
            case .divide: return y == 0 ? .failure : checked(x.dividedReportingOverflow(by: y))
            case .remainder: return y == 0 ? .failure : checked(x.remainderReportingOverflow(dividingBy: y))
            default: return compared(operation, x < y, x == y)
            }
        case (.double(let x), .double(let y)):
            switch operation {
            case .add: return .double(x + y)
            case .subtract: return .double(x - y)
            case .multiply: return .double(x * y)
            case .divide: return .double(x / y)
            default: return compared(operation, x < y, x == y, unordered: x.isNaN || y.isNaN)
            }
        // The numbers here are small, so that a double holds every int.
        case (.int(let x), .double(let y)):
            return compared(operation, Double(x) < y, Double(x) == y, unordered: y.isNaN)
        case (.double(let x), .int(let y)):
            return compared(operation, x < Double(y), x == Double(y), unordered: x.isNaN)
        case (.text(let x), .text(let y)):
            if operation == .add { return .text(x + y) }
            return compared(operation, Array(x.utf8).lexicographicallyPrecedes(Array(y.utf8)), x == y)
        case (.bool(let x), .bool(let y)): return compared(operation, !x && y, x == y)
        default: return .failure
        }
    }

    private func compared(
        _ operation: ParsedExpression.Binary,
        _ less: Bool,
        _ equal: Bool,
        unordered: Bool = false
    ) -> Answer {
        if unordered { return .bool(operation == .notEqual) }
        switch operation {
        case .less: return .bool(less)
        case .lessOrEqual: return .bool(less || equal)
        case .greater: return .bool(!less && !equal)
        case .greaterOrEqual: return .bool(!less)
        case .equal: return .bool(equal)
        default: return .bool(!equal)
        }
    }
}

/// Writes random expressions of a wanted type over the fields of an order.
private struct Writer {
    var random: SplitMix64
    var depthOfLoops = 0

    mutating func pick(_ bound: Int) -> Int { random.below(bound) }

    mutating func pick(_ words: [String]) -> String { words[pick(words.count)] }

    mutating func int(_ depth: Int) -> String {
        guard depth > 0 else { return pick(["items", "amount", "0", "1", "3", "-2", "9223372036854775807"]) }
        switch pick(7) {
        case 0: return "(\(bool(depth - 1)) ? \(int(depth - 1)) : \(int(depth - 1)))"
        case 1: return "-(\(int(depth - 1)))"
        case 2: return "size(\(text(depth - 1)))"
        default: return "(\(int(depth - 1)) \(pick(["+", "-", "*", "/", "%"])) \(int(depth - 1)))"
        }
    }

    mutating func double(_ depth: Int) -> String {
        guard depth > 0 else { return pick(["weight", "0.5", "2.0", "-1.5"]) }
        return "(\(double(depth - 1)) \(pick(["+", "-", "*", "/"])) \(double(depth - 1)))"
    }

    mutating func text(_ depth: Int) -> String {
        guard depth > 0 else {
            return pick(["channel", "id", "\"web\"", "\"ü\""] + (depthOfLoops > 0 ? ["c", "c"] : []))
        }
        return "(\(text(depth - 1)) + \(text(depth - 1)))"
    }

    mutating func bool(_ depth: Int) -> String {
        guard depth > 0 else {
            return pick(["express", "true", "false", "has(weight)", "items > 2", "channel == \"web\""])
        }
        let comparison = pick(["<", "<=", ">", ">=", "==", "!="])
        switch pick(10) {
        case 0: return "!(\(bool(depth - 1)))"
        case 1: return "(\(int(depth - 1)) \(comparison) \(int(depth - 1)))"
        case 2: return "(\(double(depth - 1)) \(comparison) \(double(depth - 1)))"
        case 3: return "(\(text(depth - 1)) \(comparison) \(text(depth - 1)))"
        case 4: return "(weight \(comparison) \(pick(["items", "2", "7"])))"
        case 5 where depthOfLoops < 2:
            depthOfLoops += 1
            defer { depthOfLoops -= 1 }
            return "coupons.\(pick(["exists", "all", "exists_one"]))(c, \(bool(depth - 1)))"
        case 6: return "(\(bool(depth - 1)) ? \(bool(depth - 1)) : \(bool(depth - 1)))"
        default:
            let sign = pick(["&&", "||"])
            let parts = (0...(1 + pick(3))).map { _ in bool(depth - 1) }
            return "(" + parts.joined(separator: " \(sign) ") + ")"
        }
    }
}

@Test func `compiled conditions agree with a tree walk on thousands of random ones`() throws {
    var writer = Writer(random: SplitMix64(seed: 42))
    var decided = 0
    var undecided = 0
    for round in 0..<150 {
        let conditions = (0..<12).map { _ in writer.bool(1 + writer.pick(4)) }
        // Two clauses a rule, a let in between, an unless: the ways conditions are combined.
        var text = ""
        for index in 0..<4 {
            text += """
                rule r\(index) "R" { on order let x = \(conditions[index * 3])
                  when x when \(conditions[index * 3 + 1]) unless !x && express unless \(conditions[index * 3 + 2])
                  then block }

                """
        }
        let set = try Shop.compile(text)
        var evaluator = Evaluator(set)
        for _ in 0..<6 {
            var cells: [String: Cell] = [:]
            var fields: [String: Answer] = [:]
            let list = (0..<writer.pick(4)).map { _ in writer.pick(["web", "ü", "abc"]) }
            cells["coupons"] = .texts(list)
            if writer.pick(3) > 0 {
                let value = Int64(writer.pick(6)) - 2
                cells["items"] = .int(value)
                fields["items"] = .int(value)
            }
            if writer.pick(3) > 0 {
                cells["amount"] = .int(7)
                fields["amount"] = .int(7)
            }
            if writer.pick(3) > 0 {
                cells["weight"] = .double(2.5)
                fields["weight"] = .double(2.5)
            }
            if writer.pick(3) > 0 {
                let value = writer.pick(2) == 1
                cells["express"] = .bool(value)
                fields["express"] = .bool(value)
            }
            for name in ["channel", "id"] where writer.pick(3) > 0 {
                let value = writer.pick(["web", "app", "ü"])
                cells[name] = .text(value)
                fields[name] = .text(value)
            }
            let oracle = Oracle(fields: fields, list: list)
            let rows = Rows(Shop.order, cells)
            let outcomes = evaluator.judge(event: 0, rows.input)
            for index in 0..<4 {
                let answers = try conditions[index * 3...index * 3 + 1].map {
                    oracle.evaluate(try parsed($0))
                }
                let exceptions = try ["!(\(conditions[index * 3])) && express", conditions[index * 3 + 2]].map {
                    oracle.evaluate(try parsed($0))
                }
                let outcome = outcomes[index]
                let expected: RuleOutcome.Kind
                if answers.contains(.bool(false)) {
                    expected = .quiet
                } else if let held = exceptions.firstIndex(of: .bool(true)) {
                    expected = .excepted
                    #expect(outcome.exception == held)
                } else {
                    expected = answers.contains(.failure) ? .undetermined : .fired
                    let lacking = exceptions.firstIndex(of: .failure)
                    #expect(outcome.isUndecided == (expected == .fired && lacking != nil))
                    if outcome.isUndecided {
                        undecided += 1
                        #expect(Int(outcome.exception) == lacking)
                    }
                }
                if expected != .undetermined { decided += 1 }
                #expect(
                    outcome.kind == expected,
                    "round \(round): rule \(index) of \(conditions) on \(fields) \(list)"
                )
            }
        }
    }
    #expect(decided > 1000 && undecided > 20)
}

private func parsed(_ text: String) throws -> ParsedExpression {
    var parser = Parser(SourceText(path: "", text: text), DiagnosticSink())
    return try parser.expression()
}
