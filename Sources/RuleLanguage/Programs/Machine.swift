import CRE2

/// The registers and scratch space of one thread, and the loop that runs programs on them.
///
/// Raw pointers on purpose: they keep reference counting, exclusivity and bounds checks out of the loop. ``Evaluator`` owns the
/// memory and keeps it alive while the machine runs; operands were checked against the banks' sizes when the program was compiled.
struct Machine {
    static let textCapacity = 1 << 18
    static let listCapacity = 1 << 14
    /// Units of work one rule, and all rules on one event, may take: a round of a loop is one, long texts and lists cost by their
    /// size.
    static let ruleLimit = 20_000
    static let eventLimit = 200_000

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
    /// What is left for this evaluation.
    var allowance = Machine.ruleLimit

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
    mutating func aim(_ input: EvaluationInput, _ header: UnsafePointer<CodeUnit.Header>) {
        banks[0] = input.fields
        banks[1] = input.features
        banks[2] = input.signals
        texts[0] = input.text
        texts[1] = UnsafeRawPointer(input.features).assumingMemoryBound(to: UInt8.self)
        texts[2] = UnsafePointer(header.pointee.text)
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
    static func load(_ banks: UnsafePointer<UnsafePointer<Slot>>, _ operand: UInt16) -> Slot {
        banks[Int(operand &>> 13)][Int(operand & 0x1FFF)]
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

    /// Keeps the failure of an exception, with the exception's index, unless there is one already.
    @inline(__always)
    func noteUndecided(_ i: Instruction) {
        let result = registers + Int(i.result)
        guard i.extra == 0 || !result.pointee.isMissing else { return }
        let index = UInt64(truncatingIfNeeded: i.target) << Failure.exceptionShift
        result.pointee = load(i.a).isMissing ? Slot(bits: failure(i.a).bits | index, aux: .max) : Slot(false)
    }

    @inline(__always)
    func text(_ slot: Slot) -> UnsafeBufferPointer<UInt8> {
        UnsafeBufferPointer(start: texts[Int(slot.textBank)] + slot.textOffset, count: slot.textLength)
    }

    /// The elements of a list; for lists `bits` names the base they count from.
    @inline(__always)
    func list(_ slot: Slot) -> UnsafeBufferPointer<Slot> {
        UnsafeBufferPointer(start: lists[Int(slot.bits & 3)] + slot.listOffset, count: slot.listCount)
    }

    /// Runs from `code` to the program's end.
    ///
    /// For a value the slot is the value; for a rule see ``RuleOutcome``. The cases repeat themselves so that each is one jump away
    /// and keeps its operands in processor registers: a shared body with a second switch was twice as slow.
    mutating func run(
        _ code: UnsafePointer<Instruction>,
        constants: UnsafePointer<Slot>,
        _ header: UnsafePointer<CodeUnit.Header>
    ) -> Slot {
        banks[3] = constants
        lists[1] = constants
        let registers = registers
        let banks = UnsafePointer(banks)
        var at = code
        while true {
            let i = at.pointee
            at += 1
            switch i.opcode {
            case .move:
                let x = Machine.load(banks, i.a)
                registers[Int(i.result)] = x.isMissing ? failure(i.a) : x

            case .equalBits:
                let x = Machine.load(banks, i.a)
                let y = Machine.load(banks, i.b)
                registers[Int(i.result)] = !x.isMissing && !y.isMissing ? Slot(x.bits == y.bits) : failure(i.a, i.b)
            case .notEqualBits:
                let x = Machine.load(banks, i.a)
                let y = Machine.load(banks, i.b)
                registers[Int(i.result)] = !x.isMissing && !y.isMissing ? Slot(x.bits != y.bits) : failure(i.a, i.b)
            case .lessInt:
                let x = Machine.load(banks, i.a)
                let y = Machine.load(banks, i.b)
                registers[Int(i.result)] = !x.isMissing && !y.isMissing ? Slot(x.int < y.int) : failure(i.a, i.b)
            case .lessOrEqualInt:
                let x = Machine.load(banks, i.a)
                let y = Machine.load(banks, i.b)
                registers[Int(i.result)] = !x.isMissing && !y.isMissing ? Slot(x.int <= y.int) : failure(i.a, i.b)
            case .lessDouble:
                let x = Machine.load(banks, i.a)
                let y = Machine.load(banks, i.b)
                registers[Int(i.result)] = !x.isMissing && !y.isMissing ? Slot(x.double < y.double) : failure(i.a, i.b)
            case .lessOrEqualDouble:
                let x = Machine.load(banks, i.a)
                let y = Machine.load(banks, i.b)
                registers[Int(i.result)] = !x.isMissing && !y.isMissing ? Slot(x.double <= y.double) : failure(i.a, i.b)
            case .equalDouble:
                let x = Machine.load(banks, i.a)
                let y = Machine.load(banks, i.b)
                registers[Int(i.result)] = !x.isMissing && !y.isMissing ? Slot(x.double == y.double) : failure(i.a, i.b)
            case .notEqualDouble:
                let x = Machine.load(banks, i.a)
                let y = Machine.load(banks, i.b)
                registers[Int(i.result)] = !x.isMissing && !y.isMissing ? Slot(x.double != y.double) : failure(i.a, i.b)

            // A comparison as one operand of `&&`: the result so far is true or a failure, and false ends it. `||` is its mirror.
            case .equalBitsAnd:
                let x = Machine.load(banks, i.a)
                let y = Machine.load(banks, i.b)
                if !x.isMissing, !y.isMissing {
                    if !(x.bits == y.bits) {
                        registers[Int(i.result)] = Slot(false)
                        at = code + Int(i.target)
                    }
                } else if !registers[Int(i.result)].isMissing {
                    registers[Int(i.result)] = failure(i.a, i.b)
                }
            case .notEqualBitsAnd:
                let x = Machine.load(banks, i.a)
                let y = Machine.load(banks, i.b)
                if !x.isMissing, !y.isMissing {
                    if !(x.bits != y.bits) {
                        registers[Int(i.result)] = Slot(false)
                        at = code + Int(i.target)
                    }
                } else if !registers[Int(i.result)].isMissing {
                    registers[Int(i.result)] = failure(i.a, i.b)
                }
            case .lessIntAnd:
                let x = Machine.load(banks, i.a)
                let y = Machine.load(banks, i.b)
                if !x.isMissing, !y.isMissing {
                    if !(x.int < y.int) {
                        registers[Int(i.result)] = Slot(false)
                        at = code + Int(i.target)
                    }
                } else if !registers[Int(i.result)].isMissing {
                    registers[Int(i.result)] = failure(i.a, i.b)
                }
            case .lessOrEqualIntAnd:
                let x = Machine.load(banks, i.a)
                let y = Machine.load(banks, i.b)
                if !x.isMissing, !y.isMissing {
                    if !(x.int <= y.int) {
                        registers[Int(i.result)] = Slot(false)
                        at = code + Int(i.target)
                    }
                } else if !registers[Int(i.result)].isMissing {
                    registers[Int(i.result)] = failure(i.a, i.b)
                }
            case .lessDoubleAnd:
                let x = Machine.load(banks, i.a)
                let y = Machine.load(banks, i.b)
                if !x.isMissing, !y.isMissing {
                    if !(x.double < y.double) {
                        registers[Int(i.result)] = Slot(false)
                        at = code + Int(i.target)
                    }
                } else if !registers[Int(i.result)].isMissing {
                    registers[Int(i.result)] = failure(i.a, i.b)
                }
            case .lessOrEqualDoubleAnd:
                let x = Machine.load(banks, i.a)
                let y = Machine.load(banks, i.b)
                if !x.isMissing, !y.isMissing {
                    if !(x.double <= y.double) {
                        registers[Int(i.result)] = Slot(false)
                        at = code + Int(i.target)
                    }
                } else if !registers[Int(i.result)].isMissing {
                    registers[Int(i.result)] = failure(i.a, i.b)
                }
            case .equalBitsOr:
                let x = Machine.load(banks, i.a)
                let y = Machine.load(banks, i.b)
                if !x.isMissing, !y.isMissing {
                    if (x.bits == y.bits) {
                        registers[Int(i.result)] = Slot(true)
                        at = code + Int(i.target)
                    }
                } else if !registers[Int(i.result)].isMissing {
                    registers[Int(i.result)] = failure(i.a, i.b)
                }
            case .notEqualBitsOr:
                let x = Machine.load(banks, i.a)
                let y = Machine.load(banks, i.b)
                if !x.isMissing, !y.isMissing {
                    if (x.bits != y.bits) {
                        registers[Int(i.result)] = Slot(true)
                        at = code + Int(i.target)
                    }
                } else if !registers[Int(i.result)].isMissing {
                    registers[Int(i.result)] = failure(i.a, i.b)
                }
            case .lessIntOr:
                let x = Machine.load(banks, i.a)
                let y = Machine.load(banks, i.b)
                if !x.isMissing, !y.isMissing {
                    if (x.int < y.int) {
                        registers[Int(i.result)] = Slot(true)
                        at = code + Int(i.target)
                    }
                } else if !registers[Int(i.result)].isMissing {
                    registers[Int(i.result)] = failure(i.a, i.b)
                }
            case .lessOrEqualIntOr:
                let x = Machine.load(banks, i.a)
                let y = Machine.load(banks, i.b)
                if !x.isMissing, !y.isMissing {
                    if (x.int <= y.int) {
                        registers[Int(i.result)] = Slot(true)
                        at = code + Int(i.target)
                    }
                } else if !registers[Int(i.result)].isMissing {
                    registers[Int(i.result)] = failure(i.a, i.b)
                }
            case .lessDoubleOr:
                let x = Machine.load(banks, i.a)
                let y = Machine.load(banks, i.b)
                if !x.isMissing, !y.isMissing {
                    if (x.double < y.double) {
                        registers[Int(i.result)] = Slot(true)
                        at = code + Int(i.target)
                    }
                } else if !registers[Int(i.result)].isMissing {
                    registers[Int(i.result)] = failure(i.a, i.b)
                }
            case .lessOrEqualDoubleOr:
                let x = Machine.load(banks, i.a)
                let y = Machine.load(banks, i.b)
                if !x.isMissing, !y.isMissing {
                    if (x.double <= y.double) {
                        registers[Int(i.result)] = Slot(true)
                        at = code + Int(i.target)
                    }
                } else if !registers[Int(i.result)].isMissing {
                    registers[Int(i.result)] = failure(i.a, i.b)
                }

            case .not:
                let x = Machine.load(banks, i.a)
                registers[Int(i.result)] = x.isMissing ? failure(i.a) : Slot(!x.bool)

            case .andJump:
                let y = Machine.load(banks, i.b)
                if y.isMissing {
                    if !registers[Int(i.result)].isMissing { registers[Int(i.result)] = failure(i.b) }
                } else if !y.bool {
                    registers[Int(i.result)] = Slot(false)
                    at = code + Int(i.target)
                }

            case .orJump:
                let y = Machine.load(banks, i.b)
                if y.isMissing {
                    if !registers[Int(i.result)].isMissing { registers[Int(i.result)] = failure(i.b) }
                } else if y.bool {
                    registers[Int(i.result)] = Slot(true)
                    at = code + Int(i.target)
                }

            case .jump: at = code + Int(i.target)
            case .jumpIfFalse:
                let x = Machine.load(banks, i.a)
                if !x.isMissing, !x.bool { at = code + Int(i.target) }
            case .jumpIfTrue:
                let x = Machine.load(banks, i.a)
                if !x.isMissing, x.bool { at = code + Int(i.target) }
            case .jumpIfMissing:
                if Machine.load(banks, i.a).isMissing { at = code + Int(i.target) }
            case .branch:
                // `a ? … : …`: to `target` when false, to `extra` with the failure as result.
                let x = Machine.load(banks, i.a)
                if x.isMissing {
                    registers[Int(i.result)] = failure(i.a)
                    at = code + Int(i.extra)
                } else if !x.bool {
                    at = code + Int(i.target)
                }
            case .isPresent: registers[Int(i.result)] = Slot(!Machine.load(banks, i.a).isMissing)

            case .addInt:
                let x = Machine.load(banks, i.a)
                let y = Machine.load(banks, i.b)
                guard !x.isMissing, !y.isMissing else {
                    registers[Int(i.result)] = failure(i.a, i.b)
                    continue
                }
                let sum = x.int.addingReportingOverflow(y.int)
                registers[Int(i.result)] = sum.overflow ? Failure.slot(Failure.overflow) : Slot(sum.partialValue)
            case .subtractInt:
                let x = Machine.load(banks, i.a)
                let y = Machine.load(banks, i.b)
                guard !x.isMissing, !y.isMissing else {
                    registers[Int(i.result)] = failure(i.a, i.b)
                    continue
                }
                let sum = x.int.subtractingReportingOverflow(y.int)
                registers[Int(i.result)] = sum.overflow ? Failure.slot(Failure.overflow) : Slot(sum.partialValue)
            case .multiplyInt:
                let x = Machine.load(banks, i.a)
                let y = Machine.load(banks, i.b)
                guard !x.isMissing, !y.isMissing else {
                    registers[Int(i.result)] = failure(i.a, i.b)
                    continue
                }
                let sum = x.int.multipliedReportingOverflow(by: y.int)
                registers[Int(i.result)] = sum.overflow ? Failure.slot(Failure.overflow) : Slot(sum.partialValue)
            case .addDouble:
                let x = Machine.load(banks, i.a)
                let y = Machine.load(banks, i.b)
                registers[Int(i.result)] = !x.isMissing && !y.isMissing ? Slot(x.double + y.double) : failure(i.a, i.b)
            case .subtractDouble:
                let x = Machine.load(banks, i.a)
                let y = Machine.load(banks, i.b)
                registers[Int(i.result)] = !x.isMissing && !y.isMissing ? Slot(x.double - y.double) : failure(i.a, i.b)
            case .multiplyDouble:
                let x = Machine.load(banks, i.a)
                let y = Machine.load(banks, i.b)
                registers[Int(i.result)] = !x.isMissing && !y.isMissing ? Slot(x.double * y.double) : failure(i.a, i.b)
            case .divideDouble:
                let x = Machine.load(banks, i.a)
                let y = Machine.load(banks, i.b)
                registers[Int(i.result)] = !x.isMissing && !y.isMissing ? Slot(x.double / y.double) : failure(i.a, i.b)

            case .loopNext:
                // Next element of list `a` into the result; `b` counts, `target` when there is none left.
                let x = Machine.load(banks, i.a)
                let counter = Bank.index(of: i.b)
                let index = Int(truncatingIfNeeded: registers[counter].bits)
                guard !x.isMissing, index < x.listCount else {
                    at = code + Int(i.target)
                    continue
                }
                steps &+= 1
                registers[counter].bits = UInt64(truncatingIfNeeded: index &+ 1)
                registers[Int(i.result)] = lists[Int(x.bits & 3)][x.listOffset + index]
                if steps > allowance {
                    registers[Int(i.extra)] = Failure.slot(Failure.limit)
                    at = code + Int(i.target)
                }

            case .result:
                let x = Machine.load(banks, i.a)
                return x.isMissing ? failure(i.a) : x
            case .quiet: return Slot(bits: 0, aux: 0)
            case .noteUndecided: noteUndecided(i)
            case .fired:
                // What is left of the conditions (`a`) is certain or a failure. An exception (`b`) that is one does not hold.
                if Machine.load(banks, i.a).isMissing { return Slot(bits: 3, aux: failure(i.a).bits) }
                return Slot(bits: 1, aux: Machine.load(banks, i.b).isMissing ? failure(i.b).bits : 0)
            case .excepted: return Slot(bits: 2, aux: UInt64(UInt32(truncatingIfNeeded: i.target)))

            default: rare(i, Machine.load(banks, i.a), header)
            }
        }
    }
}
