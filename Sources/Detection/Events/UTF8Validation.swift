/// Index of the first byte that breaks UTF-8 (Unicode 15, table 3-7), or nil; reads only `count` bytes.
///
/// Overlong forms, surrogates and code points above U+10FFFF are refused. ASCII is passed eight bytes at a time.
func firstInvalidUTF8(_ bytes: UnsafePointer<UInt8>, count: Int) -> Int? {
    var at = 0
    while at < count {
        if count - at >= 8, UnsafeRawPointer(bytes + at).loadUnaligned(as: UInt64.self) & 0x8080_8080_8080_8080 == 0 {
            at += 8
            continue
        }
        let lead = bytes[at]
        if lead < 0x80 {
            at += 1
            continue
        }
        let length = characterLength(lead)
        guard length > 0, count - at >= length, isContinued(bytes + at, count: length) else { return at }
        at += length
    }
    return nil
}

/// Bytes of a character by its first byte; 0 for a byte that starts none.
private func characterLength(_ lead: UInt8) -> Int {
    switch lead {
    case 0xC2...0xDF: 2
    case 0xE0...0xEF: 3
    case 0xF0...0xF4: 4
    default: 0
    }
}

/// Whether the bytes after the first are those of a character, as far as `count` goes.
private func isContinued(_ bytes: UnsafePointer<UInt8>, count: Int) -> Bool {
    guard count > 1 else { return true }
    let second: ClosedRange<UInt8> =
        switch bytes[0] {
        case 0xE0: 0xA0...0xBF
        case 0xED: 0x80...0x9F
        case 0xF0: 0x90...0xBF
        case 0xF4: 0x80...0x8F
        default: 0x80...0xBF
        }
    guard second.contains(bytes[1]) else { return false }
    for i in 2..<max(count, 2) where bytes[i] & 0xC0 != 0x80 { return false }
    return true
}

/// Whether these last bytes are the beginning of a longer character.
func isCutCharacter(_ bytes: UnsafePointer<UInt8>, count: Int) -> Bool {
    characterLength(bytes[0]) > count && isContinued(bytes, count: count)
}

/// Copies a record and tells whether it is ASCII throughout; 32 bytes at a time, reads and writes only `count` bytes.
@inline(__always)
func copyNotingASCII(_ source: UnsafeRawPointer, to target: UnsafeMutableRawPointer, count: Int) -> Bool {
    if count >= 32 {
        var seen = SIMD4<UInt64>()
        var at = 0
        let last = count &- 32
        while at < last {
            let block = (source + at).loadUnaligned(as: SIMD4<UInt64>.self)
            seen |= block
            (target + at).storeBytes(of: block, as: SIMD4<UInt64>.self)
            at &+= 32
        }
        // The last block overlaps the one before instead of reading past the end.
        let block = (source + last).loadUnaligned(as: SIMD4<UInt64>.self)
        seen |= block
        (target + last).storeBytes(of: block, as: SIMD4<UInt64>.self)
        return (seen[0] | seen[1] | seen[2] | seen[3]) & 0x8080_8080_8080_8080 == 0
    }
    var seen: UInt8 = 0
    for at in 0..<count {
        let byte = source.load(fromByteOffset: at, as: UInt8.self)
        seen |= byte
        target.storeBytes(of: byte, toByteOffset: at, as: UInt8.self)
    }
    return seen < 0x80
}
