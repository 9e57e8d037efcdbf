import CRE2
import func Glibc.memcmp

extension Machine {
    /// The operations that do real work; kept out of the loop so that the loop stays in registers.
    @inline(never)
    mutating func rare(_ i: Instruction, _ x: Slot, _ header: UnsafePointer<CodeUnit.Header>) {
        let result = Int(i.result)
        // Operations that look at failures themselves.
        switch i.opcode {
        case .newList:
            // Room for as many elements as list `a` has, or `target`; filled by `append`.
            let room = i.extra == 1 ? x.listCount : Int(i.target)
            if i.extra == 1, x.isMissing {
                registers[result] = failure(i.a)
            } else if listUsed + room > Machine.listCapacity {
                registers[result] = Failure.slot(Failure.limit)
            } else {
                registers[result] = Slot(bits: 2, aux: UInt64(listUsed) << 32)
                listUsed += room
            }
            return
        case .append:
            // Adds `a` to the list in the result's register; a failed element fails the list.
            guard !registers[result].isMissing else { return }
            guard !x.isMissing else {
                registers[result] = failure(i.a)
                return
            }
            let list = registers[result]
            scratchList[list.listOffset + list.listCount] = x
            registers[result].aux += 1
            return
        case .countTrue:
            // exists_one: counts trues; a failure sticks.
            guard !registers[result].isMissing else { return }
            if x.isMissing { registers[result] = failure(i.a) } else if x.bool { registers[result].bits += 1 }
            return
        default: break
        }
        guard !x.isMissing else {
            registers[result] = failure(i.a)
            return
        }
        if usesSecond(i.opcode), load(i.b).isMissing {
            registers[result] = failure(i.b)
            return
        }
        steps &+= work(i, x)
        registers[result] = steps > allowance ? Failure.slot(Failure.limit) : compute(i, x, header)
    }

    /// Units beyond the instruction itself, so that long texts inside loops are cut as long loops are.
    private func work(_ i: Instruction, _ x: Slot) -> Int {
        switch i.opcode {
        case .matches: x.textLength >> 4
        case .contains, .joinTexts: (x.textLength + load(i.b).textLength) >> 6
        case .lowerAscii, .upperAscii, .textSize: x.textLength >> 6
        case .joinLists, .equalList, .notEqualList: (x.listCount + load(i.b).listCount) >> 2
        case .inBits, .inDouble, .inIntDouble, .inDoubleInt, .inList: load(i.b).listCount >> 2
        default: 0
        }
    }

    private func usesSecond(_ opcode: Opcode) -> Bool {
        switch opcode {
        case .equalIntDouble, .notEqualIntDouble, .lessIntDouble, .lessOrEqualIntDouble, .lessDoubleInt,
            .lessOrEqualDoubleInt, .lessText, .lessOrEqualText, .equalList, .notEqualList, .divideInt, .remainderInt,
            .addTime, .subtractTime, .differenceOfTimes, .addDuration, .subtractDuration, .ratio, .contains,
            .startsWith, .endsWith, .joinTexts, .joinLists, .inBits, .inDouble, .inIntDouble, .inDoubleInt, .inList,
            .element:
            true
        default: false
        }
    }

    private mutating func compute(_ i: Instruction, _ x: Slot, _ header: UnsafePointer<CodeUnit.Header>) -> Slot {
        let y = usesSecond(i.opcode) ? load(i.b) : x
        switch i.opcode {
        case .equalIntDouble: return Slot(Machine.order(x.int, y.double) == 0)
        case .notEqualIntDouble: return Slot(Machine.order(x.int, y.double) != 0)
        case .lessIntDouble: return Slot(Machine.order(x.int, y.double).map { $0 < 0 } ?? false)
        case .lessOrEqualIntDouble: return Slot(Machine.order(x.int, y.double).map { $0 <= 0 } ?? false)
        case .lessDoubleInt: return Slot(Machine.order(y.int, x.double).map { $0 > 0 } ?? false)
        case .lessOrEqualDoubleInt: return Slot(Machine.order(y.int, x.double).map { $0 >= 0 } ?? false)
        case .lessText: return Slot(compare(x, y) < 0)
        case .lessOrEqualText: return Slot(compare(x, y) <= 0)
        case .equalList: return Slot(listsEqual(x, y, i.extra))
        case .notEqualList: return Slot(!listsEqual(x, y, i.extra))
        case .divideInt:
            if y.int == 0 { return Failure.slot(Failure.divisionByZero) }
            let (value, overflow) = x.int.dividedReportingOverflow(by: y.int)
            return overflow ? Failure.slot(Failure.overflow) : Slot(value)
        case .remainderInt:
            if y.int == 0 { return Failure.slot(Failure.divisionByZero) }
            let (value, overflow) = x.int.remainderReportingOverflow(dividingBy: y.int)
            return overflow ? Failure.slot(Failure.overflow) : Slot(value)
        case .negateInt: return x.int == .min ? Failure.slot(Failure.overflow) : Slot(-x.int)
        case .negateDouble: return Slot(-x.double)
        case .addTime: return time(x.int.addingReportingOverflow(y.int))
        case .subtractTime: return time(x.int.subtractingReportingOverflow(y.int))
        case .differenceOfTimes:
            // CEL's durations are 64-bit nanoseconds where two times make one.
            let span = duration(x.int.subtractingReportingOverflow(y.int))
            return span.isMissing || span.int.magnitude > 9_223_372_036_854 ? Failure.slot(Failure.overflow) : span
        case .subtractDuration: return duration(x.int.subtractingReportingOverflow(y.int))
        case .addDuration: return duration(x.int.addingReportingOverflow(y.int))
        case .ratio: return Slot(y.int == 0 ? 0.0 : Double(x.int) / Double(y.int))
        case .intToDouble: return Slot(Double(x.int))
        case .doubleToInt:
            let value = x.double.rounded(.towardZero)
            // CEL leaves out the ends, where a double cannot tell neighbours apart.
            guard value > -0x1p63, value < 0x1p63 else { return Failure.slot(Failure.conversion) }
            return Slot(Int64(value))
        case .textToInt: return Machine.parseInt(text(x)).map { Slot($0) } ?? Failure.slot(Failure.conversion)
        case .textToDouble:
            guard x.textLength <= 400, let value = Double(String(decoding: text(x), as: UTF8.self)) else {
                return Failure.slot(Failure.conversion)
            }
            return Slot(value)
        case .textToBool:
            switch String(decoding: text(x).prefix(6), as: UTF8.self) {
            case "true", "True", "TRUE", "t", "1": return Slot(true)
            case "false", "False", "FALSE", "f", "0": return Slot(false)
            default: return Failure.slot(Failure.conversion)
            }
        case .timestampToInt:
            let quotient = x.int / 1000
            return Slot(x.int % 1000 < 0 ? quotient - 1 : quotient)
        case .intToTimestamp: return time(x.int.multipliedReportingOverflow(by: 1000))
        case .textToTimestamp: return TimeText.timestamp(text(x)).map { Slot($0) } ?? Failure.slot(Failure.conversion)
        case .textToDuration: return TimeText.duration(text(x)).map { Slot($0) } ?? Failure.slot(Failure.conversion)
        case .intToText, .doubleToText, .boolToText, .timestampToText, .durationToText:
            return written(i.opcode, x, header)
        case .timePart:
            guard let part = TimePart(rawValue: i.extra) else { return Failure.slot(Failure.range) }
            // A zone moves the first and last times of the calendar out of it; their parts are those of the neighbouring years.
            let (local, overflow) = x.int.addingReportingOverflow(Int64(i.target) * 60_000)
            return overflow ? Failure.slot(Failure.overflow) : Slot(TimeText.part(part, local))
        case .durationPart:
            switch TimePart(rawValue: i.extra) {
            case .hours: return Slot(x.int / 3_600_000)
            case .minutes: return Slot(x.int / 60_000)
            case .seconds: return Slot(x.int / 1000)
            default: return Slot(x.int % 1000)
            }
        case .contains:
            let (whole, part) = (text(x), text(y))
            guard let start = whole.baseAddress, let needle = part.baseAddress else { return Slot(false) }
            return Slot(weir_text_contains(start, whole.count, needle, part.count) == 1)
        case .startsWith, .endsWith:
            let (whole, part) = (text(x), text(y))
            guard part.count <= whole.count, let start = whole.baseAddress, let other = part.baseAddress else {
                return Slot(false)
            }
            let shift = i.opcode == .endsWith ? whole.count - part.count : 0
            return Slot(memcmp(start + shift, other, part.count) == 0)
        case .matches:
            let bytes = text(x)
            guard let start = bytes.baseAddress else { return Slot(false) }
            let found = UnsafeRawPointer(start).withMemoryRebound(to: CChar.self, capacity: bytes.count) {
                weir_re2_matches(header.pointee.expressions[Int(i.target)], $0, bytes.count)
            }
            return Slot(found == 1)
        case .textSize:
            var count: Int64 = 0
            for byte in text(x) where byte & 0xC0 != 0x80 { count += 1 }
            return Slot(count)
        case .listSize: return Slot(Int64(x.listCount))
        case .lowerAscii, .upperAscii: return recased(x, upper: i.opcode == .upperAscii, header)
        case .joinTexts: return joined(x, y, header)
        case .joinLists: return joinedLists(x, y)
        case .inBits:
            for element in list(y) where element.bits == x.bits { return Slot(true) }
            return Slot(false)
        case .inDouble:
            for element in list(y) where element.double == x.double { return Slot(true) }
            return Slot(false)
        case .inIntDouble:
            for element in list(y) where Machine.order(x.int, element.double) == 0 { return Slot(true) }
            return Slot(false)
        case .inDoubleInt:
            for element in list(y) where Machine.order(element.int, x.double) == 0 { return Slot(true) }
            return Slot(false)
        case .inList:
            for element in list(y) where listsEqual(x, element, i.extra) { return Slot(true) }
            return Slot(false)
        case .element:
            guard y.int >= 0, y.int < Int64(x.listCount) else { return Failure.slot(Failure.range) }
            return list(x)[Int(y.int)]
        case .countIsOne: return Slot(x.bits == 1)
        default: return Failure.slot(Failure.limit)
        }
    }

    private func time(_ sum: (partialValue: Int64, overflow: Bool)) -> Slot {
        let inside = !sum.overflow && sum.partialValue >= TimeText.minimum && sum.partialValue <= TimeText.maximum
        return inside ? Slot(sum.partialValue) : Failure.slot(Failure.overflow)
    }

    private func duration(_ sum: (partialValue: Int64, overflow: Bool)) -> Slot {
        let inside = !sum.overflow && sum.partialValue.magnitude <= UInt64(TimeText.durationLimit)
        return inside ? Slot(sum.partialValue) : Failure.slot(Failure.overflow)
    }

    /// Exact order of an int and a double: negative, 0 or positive; nil beside NaN.
    static func order(_ a: Int64, _ b: Double) -> Int? {
        if b.isNaN { return nil }
        if b >= 0x1p63 { return -1 }
        if b < -0x1p63 { return 1 }
        let whole = b.rounded(.towardZero)
        let integer = Int64(whole)
        if a != integer { return a < integer ? -1 : 1 }
        return b == whole ? 0 : b > whole ? -1 : 1
    }

    private func compare(_ x: Slot, _ y: Slot) -> Int {
        let (a, b) = (text(x), text(y))
        guard let p = a.baseAddress, let q = b.baseAddress else { return a.count - b.count }
        let order = Int(memcmp(p, q, min(a.count, b.count)))
        return order != 0 ? order : a.count - b.count
    }

    /// `kind`: 0 bits, 1 doubles, 2 + kind for a list of lists.
    private func listsEqual(_ x: Slot, _ y: Slot, _ kind: Int32) -> Bool {
        let (a, b) = (list(x), list(y))
        guard a.count == b.count else { return false }
        for index in 0..<a.count {
            switch kind {
            case 0: if a[index].bits != b[index].bits { return false }
            case 1: if a[index].double != b[index].double { return false }
            default: if !listsEqual(a[index], b[index], kind - 2) { return false }
            }
        }
        return true
    }

    static func parseInt(_ text: UnsafeBufferPointer<UInt8>) -> Int64? {
        var at = 0
        let isNegative = text.first == UInt8(ascii: "-")
        if isNegative || text.first == UInt8(ascii: "+") { at = 1 }
        guard at < text.count else { return nil }
        var value: Int64 = 0
        while at < text.count {
            guard Lexer.isDigit(text[at]) else { return nil }
            let (times, overflow) = value.multipliedReportingOverflow(by: 10)
            let (sum, overflowToo) = times.subtractingReportingOverflow(Int64(text[at] - 0x30))
            if overflow || overflowToo { return nil }
            value = sum
            at += 1
        }
        if isNegative { return value }
        return value == .min ? nil : -value
    }

    // MARK: Texts made here

    /// The text written from `start` to the end of the scratch space as a value.
    private func finished(_ start: Int, _ header: UnsafePointer<CodeUnit.Header>) -> Slot {
        Slot(
            hash: header.pointee.hash(scratchText + start, count: textUsed - start),
            offset: start,
            length: textUsed - start,
            bank: .scratch
        )
    }

    private mutating func written(_ opcode: Opcode, _ x: Slot, _ header: UnsafePointer<CodeUnit.Header>) -> Slot {
        guard textUsed + 64 <= Machine.textCapacity else { return Failure.slot(Failure.limit) }
        let start = textUsed
        var used = textUsed
        let out = scratchText
        let put: (UInt8) -> Void = { byte in
            out[used] = byte
            used += 1
        }
        withoutActuallyEscaping(put) { put in
            switch opcode {
            case .intToText: TimeText.write(int: x.int, to: put)
            case .timestampToText: TimeText.write(timestamp: x.int, to: put)
            case .durationToText: TimeText.write(duration: x.int, to: put)
            case .boolToText: for byte in (x.bool ? "true" : "false").utf8 { put(byte) }
            default:
                guard x.double.isFinite else {
                    for byte in x.double.description.utf8 { put(byte) }
                    break
                }
                withUnsafeTemporaryAllocation(of: UInt8.self, capacity: ShortestDecimal.byteCountMax) { text in
                    guard let start = text.baseAddress else { return }
                    let length = ShortestDecimal.write(x.double, to: start)
                    // Whole numbers are written without their `.0`.
                    let isWhole = start[length - 1] == UInt8(ascii: "0") && start[length - 2] == UInt8(ascii: ".")
                    for byte in text[..<(length - (isWhole ? 2 : 0))] { put(byte) }
                }
            }
        }
        textUsed = used
        return finished(start, header)
    }

    private mutating func recased(_ x: Slot, upper: Bool, _ header: UnsafePointer<CodeUnit.Header>) -> Slot {
        let bytes = text(x)
        guard textUsed + bytes.count <= Machine.textCapacity else { return Failure.slot(Failure.limit) }
        let start = textUsed
        let first = upper ? UInt8(ascii: "a") : UInt8(ascii: "A")
        for byte in bytes {
            scratchText[textUsed] = byte >= first && byte < first + 26 ? byte ^ 0x20 : byte
            textUsed += 1
        }
        return finished(start, header)
    }

    private mutating func joined(_ x: Slot, _ y: Slot, _ header: UnsafePointer<CodeUnit.Header>) -> Slot {
        guard textUsed + x.textLength + y.textLength <= Machine.textCapacity else { return Failure.slot(Failure.limit) }
        let start = textUsed
        for part in [text(x), text(y)] {
            for byte in part {
                scratchText[textUsed] = byte
                textUsed += 1
            }
        }
        return finished(start, header)
    }

    private mutating func joinedLists(_ x: Slot, _ y: Slot) -> Slot {
        guard listUsed + x.listCount + y.listCount <= Machine.listCapacity else { return Failure.slot(Failure.limit) }
        let start = listUsed
        for part in [list(x), list(y)] {
            for element in part {
                scratchList[listUsed] = element
                listUsed += 1
            }
        }
        return Slot(bits: 2, aux: UInt64(start) << 32 | UInt64(listUsed - start))
    }
}
