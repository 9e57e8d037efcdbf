import CRE2

/// The registers and scratch space of one thread, and the loop that runs programs on them.
///
/// Raw pointers on purpose: they keep reference counting, exclusivity and bounds checks out of the loop. ``Evaluator`` owns the memory and
/// keeps it alive while the machine runs; operands were checked against the banks' sizes when the program was compiled.
struct Machine {
    static let textCapacity = 1 << 18
    static let listCapacity = 1 << 14
    /// Rounds of loops one evaluation may take.
    static let stepLimit = 20_000

    /// Base of each ``Bank``.
    let banks: UnsafeMutablePointer<UnsafePointer<Slot>>
    /// Base of each ``TextBank``.
    let texts: UnsafeMutablePointer<UnsafePointer<UInt8>>
    /// Base of each kind of list: of the event, of the constants, of the scratch space.
    let lists: UnsafeMutablePointer<UnsafePointer<Slot>>
    let registers: UnsafeMutablePointer<Slot>
    let scratchText: UnsafeMutablePointer<UInt8>
    let scratchList: UnsafeMutablePointer<Slot>
    var textUsed = 0
    var listUsed = 0
    var steps = 0

    init(registers count: Int) {
        banks = .allocate(capacity: 8)
        texts = .allocate(capacity: 8)
        lists = .allocate(capacity: 4)
        registers = .allocate(capacity: count)
        registers.initialize(repeating: .missing, count: count)
        scratchText = .allocate(capacity: Machine.textCapacity)
        scratchText.initialize(repeating: 0, count: Machine.textCapacity)
        scratchList = .allocate(capacity: Machine.listCapacity)
        scratchList.initialize(repeating: .missing, count: Machine.listCapacity)
        banks.initialize(repeating: UnsafePointer(registers), count: 8)
        texts.initialize(repeating: UnsafePointer(scratchText), count: 8)
        lists.initialize(repeating: UnsafePointer(scratchList), count: 4)
    }

    func deallocate() {
        banks.deallocate()
        texts.deallocate()
        lists.deallocate()
        registers.deallocate()
        scratchText.deallocate()
        scratchList.deallocate()
    }

    /// Points the banks at an event.
    @inline(__always)
    mutating func aim(_ input: EvaluationInput, _ header: CodeUnit.Header) {
        banks[0] = input.fields
        banks[1] = input.features
        banks[2] = input.signals
        texts[0] = input.text
        texts[1] = UnsafeRawPointer(input.features).assumingMemoryBound(to: UInt8.self)
        texts[2] = UnsafePointer(header.text)
        texts[4] = UnsafeRawPointer(input.signals).assumingMemoryBound(to: UInt8.self)
        lists[0] = input.lists
    }

    @inline(__always)
    mutating func reset() {
        textUsed = 0
        listUsed = 0
        steps = 0
    }

    @inline(__always)
    func load(_ operand: UInt16) -> Slot { banks[Int(operand &>> 13)][Int(operand & 0x1FFF)] }

    /// The failure an operand stands for: what a register says, or that the field, feature or signal is missing.
    @inline(never)
    func failure(_ operand: UInt16) -> Slot {
        operand &>> 13 == Bank.registers ? load(operand) : Failure.slot(Failure.missing, operand)
    }

    @inline(never)
    func failure(_ a: UInt16, _ b: UInt16) -> Slot { load(a).isMissing ? failure(a) : failure(b) }

    @inline(__always)
    func text(_ slot: Slot) -> UnsafeBufferPointer<UInt8> {
        UnsafeBufferPointer(start: texts[Int(slot.textBank)] + slot.textOffset, count: slot.textLength)
    }

    /// The elements of a list; for lists `bits` names the base they count from.
    @inline(__always)
    func list(_ slot: Slot) -> UnsafeBufferPointer<Slot> {
        UnsafeBufferPointer(start: lists[Int(slot.bits & 3)] + slot.listOffset, count: slot.listCount)
    }

    /// Runs from `start` to the program's end.
    ///
    /// For a value the slot is the value; for a rule see ``RuleOutcome``.
    mutating func run(
        _ code: UnsafePointer<Instruction>, constants: UnsafePointer<Slot>, _ header: CodeUnit.Header
    ) -> Slot {
        banks[3] = constants
        lists[1] = constants
        let registers = registers
        var at = 0
        while true {
            let i = code[at]
            at &+= 1
            let x = load(i.a)
            switch i.opcode {
            case .move:
                registers[Int(i.result)] = x.isMissing ? failure(i.a) : x

            case .equalBits, .notEqualBits, .lessInt, .lessOrEqualInt, .equalDouble, .notEqualDouble, .lessDouble,
                .lessOrEqualDouble:
                let y = load(i.b)
                guard !x.isMissing, !y.isMissing else {
                    registers[Int(i.result)] = failure(i.a, i.b)
                    continue
                }
                let holds: Bool
                switch i.opcode {
                case .equalBits: holds = x.bits == y.bits
                case .notEqualBits: holds = x.bits != y.bits
                case .lessInt: holds = x.int < y.int
                case .lessOrEqualInt: holds = x.int <= y.int
                case .equalDouble: holds = x.double == y.double
                case .notEqualDouble: holds = x.double != y.double
                case .lessDouble: holds = x.double < y.double
                default: holds = x.double <= y.double
                }
                registers[Int(i.result)] = Slot(holds)

            case .not:
                registers[Int(i.result)] = x.isMissing ? failure(i.a) : Slot(!x.bool)

            case .and, .andJump:
                // `a` is the result so far, true or failed; false decides, then failure, then true.
                let y = load(i.b)
                let joined: Slot
                if y.isMissing {
                    joined = x.isMissing ? failure(i.a) : failure(i.b)
                } else if !y.bool {
                    joined = y
                } else {
                    joined = x.isMissing ? failure(i.a) : y
                }
                let isFalse = !joined.isMissing && !joined.bool
                registers[Int(i.result)] = joined
                if i.opcode == .andJump, isFalse { at = Int(i.target) }

            case .or, .orJump:
                let y = load(i.b)
                let joined: Slot
                if y.isMissing {
                    joined = x.isMissing ? failure(i.a) : failure(i.b)
                } else if y.bool {
                    joined = y
                } else {
                    joined = x.isMissing ? failure(i.a) : y
                }
                let isTrue = !joined.isMissing && joined.bool
                registers[Int(i.result)] = joined
                if i.opcode == .orJump, isTrue { at = Int(i.target) }

            case .jump: at = Int(i.target)
            case .jumpIfFalse: if !x.isMissing, !x.bool { at = Int(i.target) }
            case .jumpIfTrue: if !x.isMissing, x.bool { at = Int(i.target) }
            case .branch:
                // `a ? … : …`: to `target` when false, to `extra` with the failure as result.
                if x.isMissing {
                    registers[Int(i.result)] = failure(i.a)
                    at = Int(i.extra)
                } else if !x.bool {
                    at = Int(i.target)
                }
            case .isPresent: registers[Int(i.result)] = Slot(!x.isMissing)

            case .addInt, .subtractInt, .multiplyInt:
                let y = load(i.b)
                guard !x.isMissing, !y.isMissing else {
                    registers[Int(i.result)] = failure(i.a, i.b)
                    continue
                }
                let (value, overflow) =
                    i.opcode == .addInt
                    ? x.int.addingReportingOverflow(y.int)
                    : i.opcode == .subtractInt
                        ? x.int.subtractingReportingOverflow(y.int) : x.int.multipliedReportingOverflow(by: y.int)
                registers[Int(i.result)] = overflow ? Failure.slot(Failure.overflow) : Slot(value)

            case .addDouble, .subtractDouble, .multiplyDouble, .divideDouble:
                let y = load(i.b)
                guard !x.isMissing, !y.isMissing else {
                    registers[Int(i.result)] = failure(i.a, i.b)
                    continue
                }
                let value: Double
                switch i.opcode {
                case .addDouble: value = x.double + y.double
                case .subtractDouble: value = x.double - y.double
                case .multiplyDouble: value = x.double * y.double
                default: value = x.double / y.double
                }
                registers[Int(i.result)] = Slot(value)

            case .loopNext:
                // Next element of list `a` into the result; `b` counts, `target` when there is none left.
                let index = Int(registers[Bank.index(of: i.b)].bits)
                guard !x.isMissing, index < x.listCount else {
                    at = Int(i.target)
                    continue
                }
                steps &+= 1
                registers[Bank.index(of: i.b)].bits = UInt64(index &+ 1)
                registers[Int(i.result)] = list(x)[index]
                if steps > Machine.stepLimit {
                    registers[Int(i.extra)] = Failure.slot(Failure.limit)
                    at = Int(i.target)
                }

            case .result: return x.isMissing ? failure(i.a) : x
            case .quiet: return Slot(bits: 0, aux: 0)
            case .fired: return Slot(bits: 1, aux: 0)
            case .excepted: return Slot(bits: 2, aux: UInt64(UInt32(i.target)))
            case .undetermined: return Slot(bits: 3, aux: failure(i.a).bits)

            default: rare(i, x, header)
            }
        }
    }
}
