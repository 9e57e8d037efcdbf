// Values that nobody reads. What stands in a place no topology declares must not keep an event from being judged, so it is passed
// by its frame alone: where its texts end and how its brackets close. Whether it is JSON inside is nobody's question, and whoever
// writes broken JSON there is not told.

/// Passes the value that starts here, whatever it is, up to the first byte behind it.
///
/// A text ends at its quote, whatever escapes, control characters or bytes it holds; an object or array where its brackets are
/// balanced, however deep and long it is; all else is one word of letters, digits, `+`, `-`, `.` and `_` (`NaN`, `None`, `007`,
/// `-Infinity`). What remains broken is a fault: no value at all, a bracket closed by one of the other kind, the record's end
/// inside. Linear in the bytes passed, no recursion, reads at most eight bytes behind `end`, where zero bytes follow.
@inline(never)
func skipLoosely(_ start: UnsafePointer<UInt8>, before end: UnsafePointer<UInt8>) -> ScanStep {
    switch start.pointee {
    case UInt8(ascii: "\""): return skipTextLoosely(start + 1, before: end)
    case UInt8(ascii: "{"), UInt8(ascii: "["): return skipBrackets(start, before: end)
    default:
        var at = start
        while isOfWord(at.pointee) { at += 1 }
        return ScanStep(next: at, fault: at == start ? .invalidJSON : nil)
    }
}

/// Passes a text from behind its opening quote, whatever it holds.
@inline(__always)
func skipTextLoosely(_ start: UnsafePointer<UInt8>, before end: UnsafePointer<UInt8>) -> ScanStep {
    var at = endOfPlainText(start)
    while at.pointee != UInt8(ascii: "\"") {
        // A zero byte inside the record is a control character like others; the first one behind it is its end.
        if at >= end { return ScanStep(next: end, fault: .invalidJSON) }
        at = endOfPlainText(at + (at.pointee == UInt8(ascii: "\\") ? 2 : 1))
    }
    return ScanStep(next: at + 1, fault: nil)
}

/// Passes an object or array; of the outermost 64 levels it knows what closes them, further in it only counts.
private func skipBrackets(_ start: UnsafePointer<UInt8>, before end: UnsafePointer<UInt8>) -> ScanStep {
    var at = start
    // Bit n: level n is an object.
    var objects: UInt64 = 0
    var depth = 0
    while true {
        at += bytesToBracket(UnsafeRawPointer(at).loadUnaligned(as: UInt64.self))
        switch at.pointee {
        case UInt8(ascii: "\""):
            let step = skipTextLoosely(at + 1, before: end)
            if step.fault != nil { return step }
            at = step.next
            continue
        case UInt8(ascii: "{"), UInt8(ascii: "["):
            if depth < 64 {
                let bit: UInt64 = 1 &<< UInt64(truncatingIfNeeded: depth)
                objects = at.pointee == UInt8(ascii: "{") ? objects | bit : objects & ~bit
            }
            depth += 1
        case UInt8(ascii: "}"), UInt8(ascii: "]"):
            depth -= 1
            if depth < 64 {
                let isObject = (objects &>> UInt64(truncatingIfNeeded: depth)) & 1 == 1
                if isObject != (at.pointee == UInt8(ascii: "}")) { return ScanStep(next: at, fault: .invalidJSON) }
            }
            if depth == 0 { return ScanStep(next: at + 1, fault: nil) }
        default:
            if at >= end { return ScanStep(next: end, fault: .invalidJSON) }
        }
        at += 1
    }
}

/// How many of eight bytes may be passed: those before the first quote, bracket or zero byte, or before what only looks like one.
@inline(__always)
private func bytesToBracket(_ word: UInt64) -> Int {
    // With the bits of 0x26 set, the four brackets are 0x7F, and so are `Y`, `_`, `y` and 0x7F, at which it stops for nothing. No
    // byte carries into the next, and bytes from 0x80 up belong to no hit.
    let low = word & 0x7F7F_7F7F_7F7F_7F7F
    let brackets = (low | 0x2626_2626_2626_2626) &+ 0x0101_0101_0101_0101
    let noQuote = (low ^ 0x2222_2222_2222_2222) &+ 0x7F7F_7F7F_7F7F_7F7F
    let noZero = low &+ 0x7F7F_7F7F_7F7F_7F7F
    let hits = (brackets | ~(noQuote & noZero)) & ~word & 0x8080_8080_8080_8080
    return hits == 0 ? 8 : hits.trailingZeroBitCount >> 3
}

/// Of a number or a word, or of what some senders write for one.
@inline(__always)
func isOfWord(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"),
        UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "."),
        UInt8(ascii: "_"):
        true
    default: false
    }
}
