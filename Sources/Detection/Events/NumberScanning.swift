import Models
import func Glibc.strtod

/// A decimal number as written: `mantissa × 10^exponent`.
struct DecimalNumber {
    /// The first 19 significant digits.
    var mantissa: UInt64
    var exponent: Int
    var isNegative: Bool
    /// Digits other than zero did not fit into the mantissa.
    var isInexact: Bool
}

/// How far a scan came, and why it stopped there if it did.
struct NumberStep {
    var next: UnsafePointer<UInt8>
    var fault: DeadLetterCode?
    var number: DecimalNumber
}

/// Which grammar a number is written in.
enum NumberGrammar {
    /// RFC 8259: no leading zeros, no plus sign, digits on both sides of the point.
    case json
    /// Text columns and amounts in strings: leading zeros allowed.
    case text
}

/// Scans a number; the byte behind it ends it, so one byte that belongs to no number must follow the text.
@inline(__always)
func scanNumber(_ start: UnsafePointer<UInt8>, digits limit: Int, grammar: NumberGrammar) -> NumberStep {
    var at = start
    let isNegative = at.pointee == UInt8(ascii: "-")
    if isNegative { at += 1 }
    let first = at
    var mantissa: UInt64 = 0
    var word = UnsafeRawPointer(at).loadUnaligned(as: UInt64.self)
    if areDigits(word) {
        mantissa = eightDigits(word)
        at += 8
        word = UnsafeRawPointer(at).loadUnaligned(as: UInt64.self)
        if areDigits(word) {
            mantissa = mantissa &* 100_000_000 &+ eightDigits(word)
            at += 8
        }
    }
    while true {
        let digit = at.pointee &- UInt8(ascii: "0")
        if digit > 9 { break }
        mantissa = mantissa &* 10 &+ UInt64(digit)
        at += 1
    }
    var count = at - first
    var exponent = 0
    // A leading zero is rare enough for the careful path to decide, and so is what is not a number at all.
    let startsWell = count > 0 && (first.pointee != UInt8(ascii: "0") || count == 1)
    if at.pointee == UInt8(ascii: ".") {
        at += 1
        let fraction = at
        while true {
            let digit = at.pointee &- UInt8(ascii: "0")
            if digit > 9 { break }
            mantissa = mantissa &* 10 &+ UInt64(digit)
            at += 1
        }
        exponent = fraction - at
        count &-= exponent
        if exponent == 0 { count = 0 }
    }
    if count > 19 || count == 0 || !startsWell || at.pointee | 0x20 == UInt8(ascii: "e") || count > limit {
        return scanUnusualNumber(start, digits: limit, grammar: grammar)
    }
    return NumberStep(
        next: at,
        fault: nil,
        number: DecimalNumber(mantissa: mantissa, exponent: exponent, isNegative: isNegative, isInexact: false)
    )
}

/// The full grammar, digit by digit: exponents, long numbers, and the place of every mistake.
@inline(never)
func scanUnusualNumber(_ start: UnsafePointer<UInt8>, digits limit: Int, grammar: NumberGrammar) -> NumberStep {
    var at = start
    var number = DecimalNumber(mantissa: 0, exponent: 0, isNegative: at.pointee == UInt8(ascii: "-"), isInexact: false)
    if number.isNegative { at += 1 }
    var kept = 0
    var seen = 0
    func step(_ fault: DeadLetterCode?) -> NumberStep { NumberStep(next: at, fault: fault, number: number) }
    func take(_ digit: UInt8, afterPoint: Bool) {
        seen += 1
        if kept < 19 {
            number.mantissa = number.mantissa * 10 + UInt64(digit)
            if number.mantissa > 0 { kept += 1 }
            if afterPoint { number.exponent -= 1 }
        } else {
            if digit != 0 { number.isInexact = true }
            if !afterPoint { number.exponent += 1 }
        }
    }
    let first = at
    while case let digit = at.pointee &- UInt8(ascii: "0"), digit <= 9 {
        if at == first + 1, grammar == .json, first.pointee == UInt8(ascii: "0") { return step(.invalidJSON) }
        take(digit, afterPoint: false)
        if seen > limit { return step(.numberOutOfRange) }
        at += 1
    }
    if at == first { return step(.invalidJSON) }
    if at.pointee == UInt8(ascii: ".") {
        at += 1
        let fraction = at
        while case let digit = at.pointee &- UInt8(ascii: "0"), digit <= 9 {
            take(digit, afterPoint: true)
            if seen > limit { return step(.numberOutOfRange) }
            at += 1
        }
        if at == fraction { return step(.invalidJSON) }
    }
    if at.pointee | 0x20 == UInt8(ascii: "e") {
        at += 1
        let isNegative = at.pointee == UInt8(ascii: "-")
        if isNegative || at.pointee == UInt8(ascii: "+") { at += 1 }
        let power = at
        var exponent = 0
        while case let digit = at.pointee &- UInt8(ascii: "0"), digit <= 9 {
            // Beyond this every value is zero or infinite; the sum must not overflow.
            exponent = min(exponent * 10 + Int(digit), 1_000_000)
            seen += 1
            if seen > limit { return step(.numberOutOfRange) }
            at += 1
        }
        if at == power { return step(.invalidJSON) }
        number.exponent += isNegative ? -exponent : exponent
    }
    return step(nil)
}

/// Whether all eight bytes are decimal digits.
@inline(__always)
private func areDigits(_ word: UInt64) -> Bool {
    ((word & 0xF0F0_F0F0_F0F0_F0F0) | (((word &+ 0x0606_0606_0606_0606) & 0xF0F0_F0F0_F0F0_F0F0) >> 4))
        == 0x3333_3333_3333_3333
}

/// The value of eight digits, the first in the lowest byte: pairs, then fours, then all, three multiplications.
@inline(__always)
private func eightDigits(_ word: UInt64) -> UInt64 {
    let digits = word &- 0x3030_3030_3030_3030
    let pairs = (digits &* 10 &+ digits >> 8) & 0x00FF_00FF_00FF_00FF
    let fours = (pairs &* 100 &+ pairs >> 16) & 0x0000_FFFF_0000_FFFF
    return (fours &* 10_000 &+ fours >> 32) & 0xFFFF_FFFF
}

/// An integer made of a decimal number, and what was lost.
struct IntegerConversion {
    /// Rounded towards minus infinity.
    var value: Int64
    var isExact: Bool
    var isInRange: Bool
}

extension DecimalNumber {
    /// The integer `self × 10^shift`.
    @inline(__always)
    func integer(shift: Int) -> IntegerConversion {
        if exponent &+ shift == 0, !isInexact, mantissa <= UInt64(Int64.max) {
            let value = Int64(truncatingIfNeeded: mantissa)
            return IntegerConversion(value: isNegative ? 0 &- value : value, isExact: true, isInRange: true)
        }
        return unusualInteger(shift: shift)
    }

    @inline(never)
    private func unusualInteger(shift: Int) -> IntegerConversion {
        let outside = IntegerConversion(value: 0, isExact: false, isInRange: false)
        if mantissa == 0 { return IntegerConversion(value: 0, isExact: true, isInRange: true) }
        var magnitude = mantissa
        var isExact = !isInexact
        let power = exponent + shift
        if power > 0 {
            guard power <= 19 else { return outside }
            let product = magnitude.multipliedReportingOverflow(by: integerPowersOfTen[power])
            guard !product.overflow else { return outside }
            magnitude = product.partialValue
        } else if power < 0 {
            if power < -19 {
                magnitude = 0
                isExact = false
            } else {
                let division = magnitude.quotientAndRemainder(dividingBy: integerPowersOfTen[-power])
                magnitude = division.quotient
                if division.remainder != 0 { isExact = false }
            }
        }
        if isNegative, !isExact { magnitude &+= 1 }
        guard magnitude <= UInt64(Int64.max) + (isNegative ? 1 : 0) else { return outside }
        let value = Int64(truncatingIfNeeded: magnitude)
        return IntegerConversion(value: isNegative ? 0 &- value : value, isExact: isExact, isInRange: true)
    }

    /// The integer nearest to `self × 10^shift`, half to even, by the digits as written; `start` is where they stand.
    @inline(never)
    func rounded(shift: Int, writtenAt start: UnsafePointer<UInt8>) -> IntegerConversion {
        let outside = IntegerConversion(value: 0, isExact: false, isInRange: false)
        let power = exponent + shift
        if mantissa == 0 || power > 0 { return integer(shift: shift) }
        var magnitude = mantissa
        var isExact = !isInexact
        // What is cut off, against half a unit: -1 below, 0 the half itself, 1 above.
        var rest = -1
        if power < -19 {
            magnitude = 0
            isExact = false
        } else if power < 0 {
            let unit = integerPowersOfTen[0 &- power]
            let division = mantissa.quotientAndRemainder(dividingBy: unit)
            magnitude = division.quotient
            if division.remainder != 0 { isExact = false }
            let left = unit - division.remainder
            rest = division.remainder < left ? -1 : division.remainder > left || isInexact ? 1 : 0
        } else if isInexact {
            rest = DecimalNumber.rest(behind: 19, writtenAt: start)
        }
        if !isExact, rest > 0 || rest == 0 && magnitude & 1 == 1 { magnitude &+= 1 }
        guard magnitude <= UInt64(Int64.max) + (isNegative ? 1 : 0) else { return outside }
        let value = Int64(truncatingIfNeeded: magnitude)
        return IntegerConversion(value: isNegative ? 0 &- value : value, isExact: isExact, isInRange: true)
    }

    /// The digits behind the first significant ones of a long number, against half a unit of the last of these.
    private static func rest(behind kept: Int, writtenAt start: UnsafePointer<UInt8>) -> Int {
        var at = start.pointee == UInt8(ascii: "-") ? start + 1 : start
        var seen = 0
        var rest = -1
        while true {
            let digit = at.pointee &- UInt8(ascii: "0")
            if digit > 9, at.pointee != UInt8(ascii: ".") { return rest }
            at += 1
            if digit > 9 || seen == 0 && digit == 0 { continue }
            seen += 1
            if seen == kept + 1 { rest = digit < 5 ? -1 : digit > 5 ? 1 : 0 }
            if seen > kept + 1, digit > 0, rest == 0 { rest = 1 }
        }
    }

    /// The nearest double (ties to even), infinite when there is none.
    ///
    /// `start` is where the number is written.
    ///
    /// Mantissa and power of ten that are both exact doubles need one correctly rounded operation (W. D. Clinger, "How to read
    /// floating point numbers accurately", 1990); the rest is left to the C library, which is exact and does not allocate.
    @inline(__always)
    func double(writtenAt start: UnsafePointer<UInt8>) -> Double {
        if mantissa <= 1 << 53, exponent >= -22, exponent <= 22, !isInexact {
            let magnitude = Double(mantissa)
            let value =
                exponent < 0 ? magnitude / doublePowersOfTen[0 &- exponent] : magnitude * doublePowersOfTen[exponent]
            return isNegative ? -value : value
        }
        return UnsafeRawPointer(start).withMemoryRebound(to: CChar.self, capacity: 1) { strtod($0, nil) }
    }
}

// Raw tables instead of arrays: no bounds check, no reference count, one lazy initialisation at the first plan.

/// The powers 10^0 to 10^19.
///
/// Written once, never freed, only read afterwards.
nonisolated(unsafe) private let integerPowersOfTen = OwnedBuffer<UInt64>(count: 20) {
    (0..<$0).reduce(1) { power, _ in power &* 10 }
}

/// The powers 10^0 to 10^22, all exact.
///
/// Written once, never freed, only read afterwards.
nonisolated(unsafe) private let doublePowersOfTen = OwnedBuffer<Double>(count: 23) {
    (0..<$0).reduce(1) { power, _ in power * 10 }
}
