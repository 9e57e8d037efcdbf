public struct RuleSet: Sendable {
    public var features: [Feature] = []
    public var featureRowWidth = 1
    public var rules: [Rule] = []
    public var rulesByEvent: [[Int]] = []
    public var policy = Policy.none
}
public enum RuleOutcome { case quiet, fired, excepted(Int), undetermined
  public var hasFired: Bool { if case .fired = self { return true } else { return false } } }
public struct Evaluator: ~Copyable {
    public init(_ rules: RuleSet) {}
    public mutating func isTrue(_ program: borrowing Program, _ input: EvaluationInput) -> Bool { false }
    public mutating func evaluate(_ program: borrowing Program, _ input: EvaluationInput) -> Slot { .missing }
    public mutating func judge(event: Int, _ input: EvaluationInput) {}
    public func outcome(_ i: Int) -> RuleOutcome { .quiet }
    public func undeterminedField(rule: Int) -> String { "" }
    public func appendReason(rule: Int, _ input: EvaluationInput, to: inout [UInt8]) {}
    public func appendValues(rule: Int, _ input: EvaluationInput, to: inout [UInt8]) {}
}
extension RuleSeverity { public static func < (a: RuleSeverity, b: RuleSeverity) -> Bool { rank(a) < rank(b) }
 static func rank(_ s: RuleSeverity) -> Int { switch s { case .low: 0; case .medium: 1; case .high: 2; case .critical: 3 } } }
