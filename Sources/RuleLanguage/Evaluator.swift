public struct Evaluator: ~Copyable {
    public init() {}
    public mutating func isTrue(_ program: borrowing Program, _ input: EvaluationInput) -> Bool { false }
    public mutating func evaluate(_ program: borrowing Program, _ input: EvaluationInput) -> Slot { .missing }
}
