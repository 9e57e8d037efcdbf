import RuleLanguage

// The pieces of the JSON scanner that know no schema. All of them rely on zero bytes behind the record: a zero ends every text,
// number and blank, so none needs to ask for the end on its way; the caller tells "ends too early" from "is wrong" by the place.

/// How far a scan came, and why it stopped there if it did.
struct ScanStep {
    var next: UnsafePointer<UInt8>
    var fault: DeadLetterCode?
}

/// The high bit of each byte that may end a text: quote, backslash, control character, zero; exact at the lowest one.
@inline(__always)
private func textEnds(_ word: UInt64) -> UInt64 {
    // Per byte b below 0x80: (b ^ 0x5C) + 0x7F has its high bit set unless b is a backslash; (b ^ 2) + 0x5F has it set unless b ^ 2
    // is below 0x21, which says that b is a quote or below 0x20. No byte carries into the next, so the lowest hit is exact. Bytes
    // from 0x80 up belong to no hit.
    let low = word & 0x7F7F_7F7F_7F7F_7F7F
    let noBackslash = (low ^ 0x5C5C_5C5C_5C5C_5C5C) &+ 0x7F7F_7F7F_7F7F_7F7F
    let noOther = (low ^ 0x0202_0202_0202_0202) &+ 0x5F5F_5F5F_5F5F_5F5F
    return ~((noBackslash & noOther) | word) & 0x8080_8080_8080_8080
}

/// The first quote, backslash, control character or zero byte, eight bytes at a time.
@inline(__always)
func endOfPlainText(_ start: UnsafePointer<UInt8>) -> UnsafePointer<UInt8> {
    var at = start
    while true {
        let ends = textEnds(UnsafeRawPointer(at).loadUnaligned(as: UInt64.self))
        if ends != 0 { return at + ends.trailingZeroBitCount >> 3 }
        at += 8
    }
}

/// The same with the hash of the text up to there: each word is read once.
@inline(__always)
func endOfPlainText(_ start: UnsafePointer<UInt8>, _ hash: TextHash) -> (end: UnsafePointer<UInt8>, hash: UInt64) {
    var words = hash.begin()
    var at = start
    while true {
        let word = UInt64(littleEndian: UnsafeRawPointer(at).loadUnaligned(as: UInt64.self))
        let ends = textEnds(word)
        if ends != 0 {
            let end = at + ends.trailingZeroBitCount >> 3
            // All bits below the byte of the lowest hit.
            let rest = word & (((ends & (0 &- ends)) &>> 7) &- 1)
            return (end, words.finish(rest, count: end - start))
        }
        words.add(word)
        at += 8
    }
}

/// The first byte that is no blank.
@inline(__always)
func skipBlanks(_ start: UnsafePointer<UInt8>) -> UnsafePointer<UInt8> {
    start.pointee > 0x20 ? start : skipMoreBlanks(start)
}

@inline(never)
func skipMoreBlanks(_ start: UnsafePointer<UInt8>) -> UnsafePointer<UInt8> {
    var at = start
    while case let byte = at.pointee, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { at += 1 }
    return at
}

/// Writes a text's bytes with its escapes resolved, up to its closing quote; `next` is behind the quote.
///
/// Never writes more bytes than it reads. UTF-16 surrogates must come in pairs.
@inline(never)
func unescape(_ start: UnsafePointer<UInt8>, into target: UnsafeMutablePointer<UInt8>, count: inout Int) -> ScanStep {
    var at = start
    var out = target
    while true {
        let stop = endOfPlainText(at)
        out.update(from: at, count: stop - at)
        out += stop - at
        at = stop
        switch at.pointee {
        case UInt8(ascii: "\""):
            count = out - target
            return ScanStep(next: at + 1, fault: nil)
        case UInt8(ascii: "\\"): break
        default: return ScanStep(next: at, fault: .controlCharacter)
        }
        let plain: UInt8
        switch at[1] {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): plain = at[1]
        case UInt8(ascii: "b"): plain = 0x08
        case UInt8(ascii: "f"): plain = 0x0C
        case UInt8(ascii: "n"): plain = 0x0A
        case UInt8(ascii: "r"): plain = 0x0D
        case UInt8(ascii: "t"): plain = 0x09
        case UInt8(ascii: "u"):
            guard var character = fourHexDigits(at + 2) else { return ScanStep(next: at, fault: .invalidEscape) }
            var used = 6
            if character & 0xFC00 == 0xD800 {
                guard at[6] == UInt8(ascii: "\\"), at[7] == UInt8(ascii: "u"), let second = fourHexDigits(at + 8),
                    second & 0xFC00 == 0xDC00
                else { return ScanStep(next: at, fault: .invalidEscape) }
                character = 0x10000 + (character & 0x3FF) << 10 + second & 0x3FF
                used = 12
            } else if character & 0xFC00 == 0xDC00 {
                return ScanStep(next: at, fault: .invalidEscape)
            }
            out = appendUTF8(character, to: out)
            at += used
            continue
        default: return ScanStep(next: at, fault: .invalidEscape)
        }
        out.pointee = plain
        out += 1
        at += 2
    }
}

/// The value of four hexadecimal digits; reads no further than the first byte that is none.
private func fourHexDigits(_ at: UnsafePointer<UInt8>) -> UInt32? {
    var value: UInt32 = 0
    for i in 0..<4 {
        let digit: UInt8
        switch at[i] {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = at[i] - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = at[i] - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): digit = at[i] - UInt8(ascii: "A") + 10
        default: return nil
        }
        value = value << 4 | UInt32(digit)
    }
    return value
}

private func appendUTF8(_ character: UInt32, to target: UnsafeMutablePointer<UInt8>) -> UnsafeMutablePointer<UInt8> {
    func byte(_ lead: UInt32, _ shift: UInt32, _ mask: UInt32) -> UInt8 {
        UInt8(truncatingIfNeeded: lead | (character >> shift) & mask)
    }
    switch character {
    case 0..<0x80:
        target[0] = UInt8(truncatingIfNeeded: character)
        return target + 1
    case 0x80..<0x800:
        target[0] = byte(0xC0, 6, 0x1F)
        target[1] = byte(0x80, 0, 0x3F)
        return target + 2
    case 0x800..<0x10000:
        target[0] = byte(0xE0, 12, 0x0F)
        target[1] = byte(0x80, 6, 0x3F)
        target[2] = byte(0x80, 0, 0x3F)
        return target + 3
    default:
        target[0] = byte(0xF0, 18, 0x07)
        target[1] = byte(0x80, 12, 0x3F)
        target[2] = byte(0x80, 6, 0x3F)
        target[3] = byte(0x80, 0, 0x3F)
        return target + 4
    }
}

/// Checks one of the words `true`, `false` and `null` by its first letter.
@inline(__always)
func scanWord(_ start: UnsafePointer<UInt8>) -> ScanStep {
    let word = UnsafeRawPointer(start).loadUnaligned(as: UInt32.self)
    if word == 0x6C6C_756E || word == 0x6575_7274 { return ScanStep(next: start + 4, fault: nil) }
    if word == 0x736C_6166, start[4] == UInt8(ascii: "e") { return ScanStep(next: start + 5, fault: nil) }
    // Point at the first byte that differs, so that a word cut short is told from a wrong one.
    let expected: StaticString =
        start[0] == UInt8(ascii: "t") ? "true" : start[0] == UInt8(ascii: "f") ? "false" : "null"
    var at = 0
    while at < expected.utf8CodeUnitCount, start[at] == expected.utf8Start[at] { at += 1 }
    return ScanStep(next: start + at, fault: .invalidJSON)
}
