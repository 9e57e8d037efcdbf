/// A checked expression, compiled to a flat list of instructions over typed slots.
///
/// The instructions live in the rule set's one buffer (``CodeUnit``); a program is a place in it. Run it with an ``Evaluator``.
public struct Program: Sendable {
    let unit: CodeUnit
    let start: Int
    let count: Int
    /// Where its constants begin.
    let constants: Int
    /// What it results in.
    public let type: ValueType

    /// Which rule set it belongs to: equal to that one's ``RuleSet/stamp``, and to no other's in this process.
    public var stamp: UInt64 { unit.stamp }

    /// The program without its owner, for hot loops.
    public var handle: ProgramHandle {
        ProgramHandle(start: Int32(start), constants: Int32(constants), stamp: unit.stamp)
    }

    init(unit: CodeUnit, start: Int, count: Int, constants: Int, type: ValueType) {
        self.unit = unit
        self.start = start
        self.count = count
        self.constants = constants
        self.type = type
    }
}

/// A program's place in its rule set: a plain value, so that hot loops copy it without counting references.
///
/// Valid for evaluators of the same ``RuleSet`` only, which must outlive it; they check that.
public struct ProgramHandle: Sendable, BitwiseCopyable {
    let start: Int32
    let constants: Int32
    /// Tells rule sets apart within one process.
    let stamp: UInt64
}

/// The banks a program reads; all pointers are lent for the call.
///
/// In another order than the machine's banks: two that follow each other in both would be copied as one 16-byte word, which waits
/// until the two 8-byte writes just before it, and all work before them, are through.
public struct EvaluationInput {
    /// The event's row: one slot per declared field.
    public var fields: UnsafePointer<Slot>
    /// The event's signal row; see ``RuleEnvironment/Signal``.
    public var signals: UnsafePointer<Slot>
    /// The event's feature row; see ``Feature/column``.
    public var features: UnsafePointer<Slot>
    /// Start of the batch's text, for string slots of the fields.
    public var text: UnsafePointer<UInt8>
    /// Start of the batch's list table, for list slots of the fields.
    public var lists: UnsafePointer<Slot>

    @inlinable public init(
        fields: UnsafePointer<Slot>,
        features: UnsafePointer<Slot>,
        signals: UnsafePointer<Slot>,
        text: UnsafePointer<UInt8>,
        lists: UnsafePointer<Slot>
    ) {
        self.fields = fields
        self.features = features
        self.signals = signals
        self.text = text
        self.lists = lists
    }
}
