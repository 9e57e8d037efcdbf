/// The bounds of rules; the reference has a row for each.
enum RuleLimits {
    static let fileBytes = 1 << 20
    /// Of the names of rules and policies, as a verdict says who decided, whatever else has no room in it.
    static let nameCharacters = 128
    static let lets = 64
    static let keys = 8
    static let depth = Expression.depthLimit
    /// Of one program: a list that stands behind `in` takes two for each element, and one.
    static let constants = Bank.capacity
    /// Slots of all windows' values; a text takes ``Feature/stringWidth``.
    static let windowValues = Bank.capacity
    static let patternBytes = 1024
    static let patterns = 2000
    /// Of a number in an action or a policy.
    static let number = 1_000_000
    static let cap = 1000
    static let ruleWork = Machine.ruleLimit
    static let eventWork = Machine.eventLimit
    static let textBytes = Machine.textCapacity
    static let listElements = Machine.listCapacity

    /// All of them, by what the reference calls them, in its order.
    static let all: [(name: String, bound: Int)] = [
        ("bytes of a rule file", fileBytes), ("characters of the name of a rule or policy", nameCharacters),
        ("`let` clauses of a rule", lets), ("keys of a window", keys), ("levels of an expression", depth),
        ("constants of a rule", constants), ("values of all windows", windowValues),
        ("bytes of a pattern", patternBytes), ("patterns of a rule set", patterns),
        ("a number in `score`, `at` or `cap`", number), ("the `cap` of a policy", cap),
        ("units of work of a rule on one event", ruleWork), ("units of work of all rules on one event", eventWork),
        ("bytes of the texts that a rule makes", textBytes), ("elements of the lists that a rule makes", listElements),
    ]
}
