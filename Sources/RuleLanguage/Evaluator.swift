/// What a rule said about an event.
@frozen
public struct RuleOutcome: Sendable, Equatable {
    /// The ways a rule can end; the raw values are stable.
    public enum Kind: UInt8, Sendable {
        /// Its conditions do not hold.
        case quiet = 0
        case fired = 1
        /// Its conditions hold and so does an `unless`; ``RuleOutcome/exception`` says which.
        case excepted = 2
        /// A value that a `when` needs is missing or cannot be computed, and the others do not decide; act as ``Rule/missing``
        /// says.
        case undetermined = 3
    }

    /// Index in ``RuleSet/rules``.
    public var rule: Int32
    public var kind: Kind
    /// Index in ``Rule/exceptions`` of the `unless` that held; of a rule that fired, of the first that could not be decided.
    public var exception: Int32
    /// Why it, or the exception, could not be decided; see ``RuleSet/undeterminedField(_:event:)``.
    ///
    /// 0: nothing was undecided.
    public var failure: UInt64

    /// It fired though an exception could not be decided: whether that one holds is not known, so it does not.
    @inlinable public var isUndecided: Bool { kind == .fired && failure != 0 }

    /// It, or the exception, could not be decided as it met the budget of work.
    public var isCut: Bool { failure >> 32 == Failure.limit }
}

/// Runs the programs of a rule set on events: one per thread, no allocation once made.
///
/// Texts computed by a program (``TextBank/scratch``) stay valid until the evaluator runs again. Sizes are fixed: 256 KiB of text,
/// 16,384 list elements and 20,000 units of work per rule, 200,000 per event (a round of a loop is one unit); what needs more fails
/// like a missing field.
public struct Evaluator: ~Copyable {
    let ruleSet: RuleSet
    var machine: Machine
    private let outcomes: UnsafeMutablePointer<RuleOutcome>
    let table: JudgeTable
    let sentences: SentenceTable
    let unit: CodeUnit
    private let stamp: UInt64

    /// Makes an evaluator for the programs of `ruleSet`, those of its features included.
    public init(_ ruleSet: RuleSet) {
        self.ruleSet = ruleSet
        table = ruleSet.judgeTable
        sentences = ruleSet.sentences
        unit = ruleSet.unit
        stamp = ruleSet.unit.stamp
        machine = Machine(registers: unit.header.pointee.registers)
        outcomes = .allocate(capacity: max(1, table.longest))
        outcomes.initialize(
            repeating: RuleOutcome(rule: 0, kind: .quiet, exception: 0, failure: 0),
            count: max(1, table.longest)
        )
    }

    deinit {
        machine.deallocate()
        outcomes.deallocate()
    }

    /// The value of a program, or its failure with ``Slot/isMissing`` set.
    @inline(__always)
    mutating func run(_ program: ProgramHandle, _ input: EvaluationInput) -> Slot {
        precondition(program.stamp == stamp, "a program of the evaluator's own rule set")
        let header = unit.header
        machine.aim(input, header)
        return machine.run(
            header.pointee.instructions + Int(program.start),
            constants: header.pointee.constants + Int(program.constants),
            header
        )
    }

    /// Evaluates a value; ``Slot/missing`` when a field it needs is missing or it cannot be computed.
    ///
    /// The program must belong to the evaluator's rule set.
    public mutating func evaluate(_ program: borrowing Program, _ input: EvaluationInput) -> Slot {
        evaluate(program.handle, input)
    }

    /// Evaluates a value by its handle; see ``evaluate(_:_:)-(Program,_)``.
    public mutating func evaluate(_ program: ProgramHandle, _ input: EvaluationInput) -> Slot {
        machine.reset()
        let slot = run(program, input)
        return slot.isMissing ? .missing : slot
    }

    /// The bytes of a text that the last evaluation gave; valid until the evaluator runs again or what it ran on goes.
    public func text(_ slot: Slot) -> UnsafeBufferPointer<UInt8> { machine.text(slot) }

    /// Evaluates a condition; missing counts as false.
    public mutating func isTrue(_ program: borrowing Program, _ input: EvaluationInput) -> Bool {
        isTrue(program.handle, input)
    }

    /// Evaluates a condition by its handle; missing counts as false.
    public mutating func isTrue(_ program: ProgramHandle, _ input: EvaluationInput) -> Bool {
        machine.reset()
        let slot = run(program, input)
        return !slot.isMissing && slot.bool
    }

    /// Judges an event by every rule of its type, shadow rules included.
    ///
    /// The outcomes are in the order of ``RuleSet/rulesByEvent`` and lie in a buffer of the evaluator that the next call
    /// overwrites.
    public mutating func judge(event: Int, _ input: EvaluationInput) -> UnsafeBufferPointer<RuleOutcome> {
        precondition(event >= 0 && event < table.eventCount, "an event type of the rule set's topology")
        let header = unit.header
        machine.aim(input, header)
        let start = table.starts[event]
        let count = table.starts[event + 1] - start
        var left = Machine.eventLimit
        for index in 0..<count {
            let entry = table.entries[start + index]
            machine.reset()
            machine.allowance = min(Machine.ruleLimit, left)
            let slot = machine.run(
                header.pointee.instructions + Int(entry.start),
                constants: header.pointee.constants + Int(entry.constants),
                header
            )
            left -= min(left, machine.steps)
            let kind = RuleOutcome.Kind(rawValue: UInt8(truncatingIfNeeded: slot.bits)) ?? .quiet
            let exception = kind == .fired ? slot.aux >> Failure.exceptionShift : kind == .excepted ? slot.aux : 0
            outcomes[index] = RuleOutcome(
                rule: entry.rule,
                kind: kind,
                exception: Int32(truncatingIfNeeded: exception),
                failure: kind == .excepted ? 0 : slot.aux & (1 << Failure.exceptionShift - 1)
            )
        }
        machine.allowance = Machine.ruleLimit
        return UnsafeBufferPointer(start: outcomes, count: count)
    }
}

extension RuleSet {
    /// What an undetermined rule or an undecided exception lacked: the name of a field, feature or signal, or what went wrong in a
    /// word.
    public func undeterminedField(_ outcome: RuleOutcome, event: Int) -> String {
        let operand = UInt16(truncatingIfNeeded: outcome.failure)
        switch outcome.failure >> 32 {
        case Failure.missing:
            let index = Bank.index(of: operand)
            switch Bank.bank(of: operand) {
            case Bank.fields where index < environment.events[event].fields.count:
                return environment.events[event].fields[index].name
            case Bank.features: return features.first { $0.column == index }?.name ?? "feature"
            case Bank.signals where index < environment.signals.count: return environment.signals[index].name
            default: return "value"
            }
        case Failure.overflow: return "overflow"
        case Failure.divisionByZero: return "division by zero"
        case Failure.conversion: return "conversion"
        case Failure.range: return "index out of range"
        default: return "limit"
        }
    }
}
