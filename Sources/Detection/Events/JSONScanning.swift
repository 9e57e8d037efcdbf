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

/// The schema-free part of the limits, and memory to count with.
///
/// A text or number that is passed over has no limit but the record's: whoever pads a field that no topology reads must not escape
/// judgement by it.
struct SkipLimits {
    var depth: Int
    var keysPerObject: UInt32
    var arrayElements: UInt32
    /// Of texts and numbers that are read.
    var textBytes: Int
    var numberDigits: Int
    /// One counter per level.
    var counts: UnsafeMutablePointer<UInt32>
}

/// Passes a text from behind its opening quote, checking its escapes; `scratch` has room for it unescaped.
@inline(__always)
func skipText(_ start: UnsafePointer<UInt8>, scratch: UnsafeMutablePointer<UInt8>) -> ScanStep {
    let end = endOfPlainText(start)
    if end.pointee == UInt8(ascii: "\"") { return ScanStep(next: end + 1, fault: nil) }
    return skipEscapedText(start, scratch: scratch)
}

@inline(never)
private func skipEscapedText(_ start: UnsafePointer<UInt8>, scratch: UnsafeMutablePointer<UInt8>) -> ScanStep {
    var count = 0
    return unescape(start, into: scratch, count: &count)
}

/// Passes any JSON value, fully validated, without recursion: the open levels are bits of one word (1 = object).
///
/// `depth` is the number of levels open around it.
@inline(never)
func skipValue(
    _ start: UnsafePointer<UInt8>,
    depth outer: Int,
    _ limits: SkipLimits,
    scratch: UnsafeMutablePointer<UInt8>
) -> ScanStep {
    var at = start
    var kinds: UInt64 = 0
    var level = 0
    // Each turn passes one value, then everything up to the start of the next.
    while true {
        switch at.pointee {
        case UInt8(ascii: "\""):
            let step = skipText(at + 1, scratch: scratch)
            if step.fault != nil { return step }
            at = step.next
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"):
            let step = scanNumber(at, digits: .max, grammar: .json)
            if let fault = step.fault { return ScanStep(next: step.next, fault: fault) }
            at = step.next
        case UInt8(ascii: "t"), UInt8(ascii: "f"), UInt8(ascii: "n"):
            let step = scanWord(at)
            if step.fault != nil { return step }
            at = step.next
        case UInt8(ascii: "{"), UInt8(ascii: "["):
            if outer + level >= limits.depth { return ScanStep(next: at, fault: .depthExceeded) }
            let isObject = at.pointee == UInt8(ascii: "{")
            kinds = kinds << 1 | (isObject ? 1 : 0)
            limits.counts[level] = 1
            level += 1
            at = skipBlanks(at + 1)
            if at.pointee == (isObject ? UInt8(ascii: "}") : UInt8(ascii: "]")) {
                // Left to the closing loop below.
            } else if isObject {
                let step = skipKey(at, scratch: scratch)
                if step.fault != nil { return step }
                at = step.next
                continue
            } else {
                continue
            }
        default: return ScanStep(next: at, fault: .invalidJSON)
        }
        closing: while true {
            if level == 0 { return ScanStep(next: at, fault: nil) }
            at = skipBlanks(at)
            let isObject = kinds & 1 == 1
            if at.pointee == UInt8(ascii: ",") {
                limits.counts[level - 1] += 1
                if isObject {
                    if limits.counts[level - 1] > limits.keysPerObject {
                        return ScanStep(next: at, fault: .tooManyKeys)
                    }
                    let step = skipKey(skipBlanks(at + 1), scratch: scratch)
                    if step.fault != nil { return step }
                    at = step.next
                } else {
                    if limits.counts[level - 1] > limits.arrayElements {
                        return ScanStep(next: at, fault: .tooManyElements)
                    }
                    at = skipBlanks(at + 1)
                }
                break closing
            }
            guard at.pointee == (isObject ? UInt8(ascii: "}") : UInt8(ascii: "]")) else {
                return ScanStep(next: at, fault: .invalidJSON)
            }
            at += 1
            kinds >>= 1
            level -= 1
        }
    }
}

/// Passes a key and its colon up to the value.
@inline(__always)
private func skipKey(_ start: UnsafePointer<UInt8>, scratch: UnsafeMutablePointer<UInt8>) -> ScanStep {
    guard start.pointee == UInt8(ascii: "\"") else { return ScanStep(next: start, fault: .invalidJSON) }
    let step = skipText(start + 1, scratch: scratch)
    if step.fault != nil { return step }
    let colon = skipBlanks(step.next)
    guard colon.pointee == UInt8(ascii: ":") else { return ScanStep(next: colon, fault: .invalidJSON) }
    return ScanStep(next: skipBlanks(colon + 1), fault: nil)
}
