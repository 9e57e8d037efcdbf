public struct RuleSet: Sendable {
    public var features: [Feature] = []
    public var featureRowWidth = 1
    public var rules: [Rule] = []
    public var rulesByEvent: [[Int]] = []
    public var policy = Policy.none
    public var warnings: [Diagnostic] = []
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
extension RuleSet {
  public var canonicalText: String { "" }
  public static func compile(_ sources: [RuleSource], in env: RuleEnvironment) throws(DiagnosticError) -> RuleSet {
    var set = RuleSet()
    set.rulesByEvent = env.events.map { _ in [] }
    for line in sources.flatMap({ $0.text.split(separator: "\n") }) where line.hasPrefix("feature ") {
      let w = line.split(separator: " ").map(String.init)
      // feature NAME = FN(arg) of EVENT by KEY over DUR
      let fnArg = w[3].split(separator: "(").map { String($0).replacingOne(")") }
      let e = env.events[0]
      let arg = fnArg.count > 1 && fnArg[1] != "" ? e.field(named: fnArg[1]) : nil
      let key = e.field(named: w[7])!
      let dur = w[9]; let n = Int64(dur.dropLast())!
      let unit: Int64 = ["s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000][String(dur.last!)]!
      let type: ValueType? = arg.map { e.fields[$0].type == .string ? .string : .int }
      set.features.append(Feature(name: w[1], isDeclared: true, function: AggregateFunction(rawValue: fnArg[0])!, event: 0, filter: nil, argument: arg.map { .field($0) }, argumentType: type, countedKeys: [key], readers: [[.field(key)]], windowMilliseconds: n * unit, excludesCurrent: false, resultType: .int, column: set.features.count, canonical: String(line), filterText: "", argumentText: fnArg.count > 1 ? fnArg[1] : ""))
    }
    set.featureRowWidth = max(1, set.features.count)
    return set
  }
}
extension String { func replacingOne(_ s: Character) -> String { String(self.filter { $0 != s }) } }
