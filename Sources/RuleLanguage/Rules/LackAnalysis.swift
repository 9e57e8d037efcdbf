/// Which of the things that a rule reads may be missing so that its conditions, or its exceptions, cannot be decided.
///
/// Goes through the expressions once for each thing that may be missing, and keeps all ways in which each part can come out. What
/// two parts have in common is not seen but through `has`, so it may name one thing too many and never one too few. Failures that
/// nothing missing causes (an overflow, the work budget) are left out.
struct LackAnalysis {
    /// The ways in which an expression can come out; a value that is no bool is `yes` and `no`.
    private struct Outcomes: OptionSet {
        var rawValue: UInt8
        static let yes = Outcomes(rawValue: 1)
        static let no = Outcomes(rawValue: 2)
        static let failure = Outcomes(rawValue: 4)
        static let any: Outcomes = [.yes, .no]
    }

    /// What is taken to be missing.
    private struct Lack {
        var name: String
        var field: Int?
        var features: Set<Int>
    }

    private let scope: Scope
    private let rule: RuleSyntax
    private let event: Int

    init(_ rule: RuleSyntax, _ scope: Scope, event: Int) {
        self.rule = rule
        self.scope = scope
        self.event = event
    }

    /// What can leave the conditions, and the exceptions, undecided, in the order of `reads`.
    func names(_ reads: [Generator.Read]) -> (conditions: [String], exceptions: [String]) {
        var names: (conditions: [String], exceptions: [String]) = ([], [])
        for lack in lacks(reads) {
            var lets: [String: Outcomes] = [:]
            let conditions = rule.whens.reduce(Outcomes.yes) { both($0, outcomes($1, lack, [], &lets), .no) }
            if conditions.contains(.failure) { names.conditions.append(lack.name) }
            let exceptions = rule.unlesses.reduce(Outcomes.no) { both($0, outcomes($1, lack, [], &lets), .yes) }
            if conditions.contains(.yes), exceptions.contains(.failure) { names.exceptions.append(lack.name) }
        }
        return names
    }

    /// Optional fields, with the windows that they are keys of, and windows that may be empty.
    private func lacks(_ reads: [Generator.Read]) -> [Lack] {
        guard let schema = scope.schema else { return [] }
        var lacks: [Lack] = []
        func add(field: Int, feature: Int?) {
            if schema.fields[field].isRequired { return }
            let known = lacks.firstIndex { $0.field == field }
            if known == nil { lacks.append(Lack(name: schema.fields[field].name, field: field, features: [])) }
            if let feature { lacks[known ?? lacks.count - 1].features.insert(feature) }
        }
        for read in reads {
            let index = Bank.index(of: read.operand)
            switch Bank.bank(of: read.operand) {
            case Bank.fields: add(field: index, feature: nil)
            case Bank.features:
                guard let feature = scope.table.feature(atColumn: index) else { continue }
                for field in scope.table.reads[feature].readers[event].sorted() { add(field: field, feature: feature) }
                if mayBeEmpty(feature, schema) {
                    lacks.append(Lack(name: read.name, field: nil, features: [feature]))
                }
            default: continue
            }
        }
        return lacks
    }

    /// Whether a window can hold nothing at an event that reads it and has its keys, and its value then is missing.
    private func mayBeEmpty(_ index: Int, _ schema: EventSchema) -> Bool {
        let feature = scope.table.features[index]
        if [.count, .sum, .distinct].contains(feature.function) { return false }
        guard feature.event == event, !feature.excludesCurrent, feature.filter == nil,
            case .field(let argument)? = feature.argument, schema.fields[argument].isRequired
        else { return true }
        // Then the event itself is in it, if it is counted under the key that it reads by.
        let keys = feature.readers[event]?.map { if case .field(let field) = $0 { field } else { -1 } }
        return keys != feature.countedKeys
    }

    private func outcomes(
        _ expression: Expression,
        _ lack: Lack,
        _ variables: Set<String>,
        _ lets: inout [String: Outcomes]
    ) -> Outcomes {
        if let chain = expression.nameChain { return outcomes(of: chain, lack, variables, &lets) }
        switch expression.kind {
        case .bool(let value): return value ? .yes : .no
        case .has(let operand):
            return outcomes(operand, lack, variables, &lets) == .failure ? .no : .any
        case .unary(.not, let operand):
            let value = outcomes(operand, lack, variables, &lets)
            var result = value.intersection(.failure)
            if value.contains(.yes) { result.insert(.no) }
            if value.contains(.no) { result.insert(.yes) }
            return result
        case .and(let items):
            return items.reduce(.yes) { both($0, outcomes($1, lack, variables, &lets), .no) }
        case .or(let items):
            return items.reduce(.no) { both($0, outcomes($1, lack, variables, &lets), .yes) }
        case .conditional(let condition, let yes, let no):
            let value = outcomes(condition, lack, variables, &lets)
            var result = value.intersection(.failure)
            if value.contains(.yes) { result.formUnion(outcomes(yes, lack, variables, &lets)) }
            if value.contains(.no) { result.formUnion(outcomes(no, lack, variables, &lets)) }
            return result
        case .comprehension(_, let target, let variable, let arguments):
            let list = outcomes(target, lack, variables, &lets)
            if list == .failure { return .failure }
            let inner = variables.union([variable])
            // Of an empty list the rest is never asked.
            return arguments.reduce(list.union(.any)) {
                $0.union(outcomes($1, lack, inner, &lets).intersection(.failure))
            }
        default:
            var result = Outcomes.any
            for child in expression.children {
                let value = outcomes(child, lack, variables, &lets)
                if value == .failure { return .failure }
                result.formUnion(value.intersection(.failure))
            }
            return result
        }
    }

    private func outcomes(
        of chain: [String],
        _ lack: Lack,
        _ variables: Set<String>,
        _ lets: inout [String: Outcomes]
    ) -> Outcomes {
        if variables.contains(chain[0]) { return .any }
        let name = chain.joined(separator: ".")
        switch scope.meaning(of: name) {
        case .field(let field)?: return field == lack.field ? .failure : .any
        case .feature(let feature)?: return lack.features.contains(feature) ? .failure : .any
        case .letExpression(_, let expression)?:
            if let known = lets[name] { return known }
            let value = outcomes(expression, lack, [], &lets)
            lets[name] = value
            return value
        case .signal?, .failed?, nil: return .any
        }
    }

    /// `&&` of two where `decider` is `no`, `||` where it is `yes`.
    private func both(_ a: Outcomes, _ b: Outcomes, _ decider: Outcomes) -> Outcomes {
        let other = decider == .no ? Outcomes.yes : .no
        var result = a.union(b).intersection(decider)
        if a.contains(other), b.contains(other) { result.insert(other) }
        let (restOfA, restOfB) = (a.subtracting(decider), b.subtracting(decider))
        if !restOfA.isEmpty, !restOfB.isEmpty, restOfA.union(restOfB).contains(.failure) { result.insert(.failure) }
        return result
    }
}

/// What a rule's conditions depend on, over all event types that it is judged on.
struct RuleNeeds {
    private(set) var fields: Set<RuleRead> = []
    private(set) var signals: Set<Int> = []
    private(set) var undeterminedBy: [String] = []
    private(set) var undecidedBy: [String] = []

    /// Adds what the conditions read on one event type.
    mutating func add(_ rule: RuleSyntax, _ scope: Scope, _ event: Int, _ reads: [Generator.Read]) {
        for read in reads {
            let index = Bank.index(of: read.operand)
            switch Bank.bank(of: read.operand) {
            case Bank.fields: fields.insert(RuleRead(event: event, field: index))
            case Bank.signals: signals.insert(index)
            case Bank.features:
                guard let feature = scope.table.feature(atColumn: index) else { continue }
                let (counted, readers) = scope.table.reads[feature]
                let countedEvent = scope.table.features[feature].event
                for field in counted { fields.insert(RuleRead(event: countedEvent, field: field)) }
                for field in readers[event] { fields.insert(RuleRead(event: event, field: field)) }
            default: continue
            }
        }
        let names = LackAnalysis(rule, scope, event: event).names(reads)
        for name in names.conditions where !undeterminedBy.contains(name) { undeterminedBy.append(name) }
        for name in names.exceptions where !undecidedBy.contains(name) { undecidedBy.append(name) }
    }
}
