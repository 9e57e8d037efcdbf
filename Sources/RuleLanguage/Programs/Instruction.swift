/// One step of a program: sixteen bytes.
///
/// | bytes | what |
/// |---|---|
/// | 0–1 | opcode |
/// | 2–3 | register that takes the result |
/// | 4–5, 6–7 | operands `a` and `b`: bank in the upper three bits (``Bank``), index in the lower thirteen |
/// | 8–11 | `target`: a jump's destination, counted from the program's first instruction, or an index |
/// | 12–15 | `extra`: a further small number |
///
/// A value that could not be computed travels as a slot whose `aux` is all ones, like a missing field; its `bits` say why
/// (``Failure``). So an operation tests its operands, and `&&` and `||` absorb failures as CEL asks.
struct Instruction {
    var opcode: Opcode
    var result: UInt16
    var a: UInt16
    var b: UInt16
    var target: Int32
    var extra: Int32
}

/// Where an operand stands.
enum Bank {
    static let fields: UInt16 = 0
    static let features: UInt16 = 1
    static let signals: UInt16 = 2
    static let constants: UInt16 = 3
    static let registers: UInt16 = 4
    static let count = 5
    static let capacity = 0x2000

    static func operand(_ bank: UInt16, _ index: Int) -> UInt16 { bank << 13 | UInt16(index) }
    static func bank(of operand: UInt16) -> UInt16 { operand >> 13 }
    static func index(of operand: UInt16) -> Int { Int(operand & 0x1FFF) }
}

enum Opcode: UInt16 {
    case move
    // Comparisons of slots of one kind; ints serve timestamps and durations, bits also bools and texts.
    case equalBits, notEqualBits, lessInt, lessOrEqualInt
    case equalDouble, notEqualDouble, lessDouble, lessOrEqualDouble
    case equalIntDouble, notEqualIntDouble, lessIntDouble, lessOrEqualIntDouble, lessDoubleInt, lessOrEqualDoubleInt
    case lessText, lessOrEqualText, equalList, notEqualList
    // The frequent ones as an operand of `&&` or `||`.
    case equalBitsAnd, notEqualBitsAnd, lessIntAnd, lessOrEqualIntAnd, lessDoubleAnd, lessOrEqualDoubleAnd
    case equalBitsOr, notEqualBitsOr, lessIntOr, lessOrEqualIntOr, lessDoubleOr, lessOrEqualDoubleOr
    // Logic. `andJump` and `orJump` join the result so far with operand `b` and leave for `target` when that decides.
    case not, andJump, orJump
    case jump, jumpIfFalse, jumpIfTrue, jumpIfMissing, branch
    case isPresent
    // Arithmetic.
    case addInt, subtractInt, multiplyInt, divideInt, remainderInt, negateInt
    case addDouble, subtractDouble, multiplyDouble, divideDouble, negateDouble
    case addTime, subtractTime, differenceOfTimes, addDuration, subtractDuration
    case ratio, intToDouble, doubleToInt, textToInt, textToDouble, textToBool, timestampToInt, intToTimestamp
    case textToTimestamp, textToDuration
    case intToText, doubleToText, boolToText, timestampToText, durationToText
    case timePart, durationPart
    // Texts and lists.
    case contains, startsWith, endsWith, matches, textSize, listSize, lowerAscii, upperAscii, joinTexts, joinLists
    case inBits, inDouble, inIntDouble, inDoubleInt, inList
    case element, newList, append, loopNext, countTrue, countIsOne
    // Keeps the first exception that could not be decided; `target` is its index, and an `extra` of 0
    // says that it is the first one looked at.
    case noteUndecided
    // Ends of programs.
    case result, quiet, fired, excepted

    /// The form that joins its outcome to `&&` (or `||`) in the same step.
    func joined(isAnd: Bool) -> Opcode? {
        switch self {
        case .equalBits: isAnd ? .equalBitsAnd : .equalBitsOr
        case .notEqualBits: isAnd ? .notEqualBitsAnd : .notEqualBitsOr
        case .lessInt: isAnd ? .lessIntAnd : .lessIntOr
        case .lessOrEqualInt: isAnd ? .lessOrEqualIntAnd : .lessOrEqualIntOr
        case .lessDouble: isAnd ? .lessDoubleAnd : .lessDoubleOr
        case .lessOrEqualDouble: isAnd ? .lessOrEqualDoubleAnd : .lessOrEqualDoubleOr
        default: nil
        }
    }
}

/// Why a value could not be computed, in the `bits` of its slot: the operand in the lowest 16, the kind from bit 32 on.
///
/// What a rule's program says of an exception that could not be decided has the exception's index from bit 40 on besides.
enum Failure {
    static let exceptionShift: UInt64 = 40

    static let missing: UInt64 = 1
    static let overflow: UInt64 = 2
    static let divisionByZero: UInt64 = 3
    static let conversion: UInt64 = 4
    static let range: UInt64 = 5
    static let limit: UInt64 = 6

    @inline(__always)
    static func slot(_ kind: UInt64, _ operand: UInt16 = 0) -> Slot {
        Slot(bits: kind << 32 | UInt64(operand), aux: .max)
    }
}

/// What the accessors of timestamps and durations ask for.
enum TimePart: Int32 {
    case fullYear, month, date, dayOfMonth, dayOfWeek, dayOfYear, hours, minutes, seconds, milliseconds
}
