/// What the names in an expression mean: one event type's fields and, inside rules, its lets, the declared features and the
/// signals.
struct Scope {
    enum LetValue {
        case feature(Int)
        case expression(Expression)
        /// Its clause was wrong and reported.
        case failed
    }

    enum Meaning {
        case field(Int)
        case feature(Int)
        case signal(Int)
        case letExpression(String, Expression)
        case failed
    }

    var source: SourceText
    var event: Int?
    var schema: EventSchema?
    var lets: [String: LetValue] = [:]
    /// Lets that come later in the rule, for telling so.
    var letsBelow: Set<String> = []
    /// Inside a rule; an aggregate's own expressions and its keys see nothing but one event's fields.
    var seesFeatures = false
    /// The value of a key in the event that reads a window: worked out before any window is read or signal given.
    var isKey = false
    /// Lets of the rule that cannot be seen from here, for telling so.
    var hidden: Set<String> = []
    let table: FeatureTable
    let environment: RuleEnvironment

    func meaning(of name: String) -> Meaning? {
        switch lets[name] {
        case .feature(let index)?: return .feature(index)
        case .expression(let expression)?: return .letExpression(name, expression)
        case .failed?: return .failed
        case nil: break
        }
        if let field = schema?.field(named: name) { return .field(field) }
        guard seesFeatures else { return nil }
        if let feature = table.declared[name] { return .feature(feature) }
        if table.broken.contains(name) { return .failed }
        if let signal = environment.signals.firstIndex(where: { $0.name == name }) { return .signal(signal) }
        return nil
    }

    /// Every name that could stand here, for suggestions.
    var names: [String] {
        var names = lets.keys.sorted() + (schema?.fields.map(\.name) ?? [])
        if seesFeatures { names += table.declared.keys.sorted() + environment.signals.map(\.name) }
        return names
    }
}

/// The features gathered so far: equal canonical texts share one.
final class FeatureTable {
    var features: [Feature] = []
    /// Whether a feature's value is a personal field's.
    var isPersonal: [Bool] = []
    /// Which fields decide about a feature's value.
    var reads: [(counted: Set<Int>, readers: [Set<Int>])] = []
    /// Names of `feature` blocks.
    var declared: [String: Int] = [:]
    /// Names of `feature` blocks that were wrong and reported.
    var broken: Set<String> = []
    var byCanonical: [String: Int] = [:]
    var width = 0

    /// The feature whose value begins at a column.
    func feature(atColumn column: Int) -> Int? { features.firstIndex { $0.column == column } }
}
