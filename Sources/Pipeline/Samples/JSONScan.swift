/// The steps of a walk over JSON that knows no schema and forgives what it need not understand: texts end at their quote, words at
/// what cannot be in one.
///
/// For looking at samples: what a record is worth is for the decoder to say.
struct JSONScan {
    private let bytes: UnsafeRawBufferPointer
    private var at = 0

    init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    /// The byte in hand; 0 at the end.
    var peek: UInt8 { at < bytes.count ? bytes[at] : 0 }

    /// Whether nothing but blanks follows.
    var isAtEnd: Bool {
        mutating get {
            skipBlanks()
            return at == bytes.count
        }
    }

    mutating func advance() { at += 1 }

    mutating func take(_ byte: UInt8) -> Bool {
        guard peek == byte, at < bytes.count else { return false }
        at += 1
        return true
    }

    mutating func skipBlanks() {
        while at < bytes.count, bytes[at] == 0x20 || 0x09...0x0D ~= bytes[at] { at += 1 }
    }

    /// The inside of the text in hand, escapes as they stand; nil where it does not end or there is none.
    mutating func text() -> UnsafeRawBufferPointer? {
        guard take(UInt8(ascii: "\"")) else { return nil }
        let start = at
        while at < bytes.count {
            if bytes[at] == UInt8(ascii: "\"") {
                at += 1
                return UnsafeRawBufferPointer(rebasing: bytes[start..<(at - 1)])
            }
            at += bytes[at] == UInt8(ascii: "\\") ? 2 : 1
        }
        return nil
    }

    /// A number or word; empty where there is none.
    mutating func word() -> UnsafeRawBufferPointer {
        let start = at
        while at < bytes.count {
            switch bytes[at] {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "."):
                at += 1
            default: return UnsafeRawBufferPointer(rebasing: bytes[start..<at])
            }
        }
        return UnsafeRawBufferPointer(rebasing: bytes[start..<at])
    }

    /// Passes any value by its quotes and brackets alone; false where it does not end.
    mutating func skipValue() -> Bool {
        var level = 0
        while at < bytes.count {
            switch bytes[at] {
            case UInt8(ascii: "\""): if text() == nil { return false }
            case UInt8(ascii: "{"), UInt8(ascii: "["):
                level += 1
                at += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                level -= 1
                at += 1
                if level < 0 { return false }
            case UInt8(ascii: ","), UInt8(ascii: ":"), 0x20, 0x09...0x0D:
                if level == 0 { return false }
                at += 1
            default: if word().isEmpty { return false }
            }
            if level == 0 { return true }
        }
        return false
    }

    /// The scalar at a path of keys, escapes as they stand; nil where there is none.
    static func scalar(_ path: [String], in record: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
        var scan = JSONScan(record)
        var depth = 0
        scan.skipBlanks()
        guard !path.isEmpty, scan.take(UInt8(ascii: "{")) else { return nil }
        while true {
            scan.skipBlanks()
            guard let key = scan.text() else { return nil }
            scan.skipBlanks()
            guard scan.take(UInt8(ascii: ":")) else { return nil }
            scan.skipBlanks()
            if key.elementsEqual(path[depth].utf8) {
                depth += 1
                if depth == path.count {
                    if scan.peek == UInt8(ascii: "\"") { return scan.text() }
                    let word = scan.word()
                    return word.isEmpty ? nil : word
                }
                guard scan.take(UInt8(ascii: "{")) else { return nil }
                continue
            }
            guard scan.skipValue() else { return nil }
            scan.skipBlanks()
            guard scan.take(UInt8(ascii: ",")) else { return nil }
        }
    }
}

/// What a number looks like, as JSON writes numbers, leading zeros allowed.
struct NumberShape {
    var isInteger: Bool
    /// A whole number that is a code rather than a quantity: it begins with a zero, or does not fit into 64 bits.
    var isCode: Bool
    var fractionDigits: Int
    var value: Double

    /// Nil where it is no number.
    init?(_ bytes: UnsafeRawBufferPointer) {
        var at = 0
        func digits() -> Int {
            let start = at
            while at < bytes.count, bytes[at] &- UInt8(ascii: "0") <= 9 { at += 1 }
            return at - start
        }
        guard !bytes.isEmpty, bytes.count <= 64 else { return nil }
        let isNegative = bytes[0] == UInt8(ascii: "-")
        if isNegative { at += 1 }
        let first = at
        let whole = digits()
        guard whole > 0 else { return nil }
        var magnitude = 0.0
        for index in first..<at { magnitude = magnitude * 10 + Double(bytes[index] - UInt8(ascii: "0")) }
        isInteger = true
        fractionDigits = 0
        if at < bytes.count, bytes[at] == UInt8(ascii: ".") {
            at += 1
            let start = at
            fractionDigits = digits()
            guard fractionDigits > 0 else { return nil }
            var unit = 1.0
            for index in start..<at {
                unit /= 10
                magnitude += Double(bytes[index] - UInt8(ascii: "0")) * unit
            }
            isInteger = false
        }
        if at < bytes.count, bytes[at] | 0x20 == UInt8(ascii: "e") {
            at += 1
            if at < bytes.count, bytes[at] == UInt8(ascii: "-") || bytes[at] == UInt8(ascii: "+") { at += 1 }
            guard digits() > 0 else { return nil }
            isInteger = false
            // Only bounds and order are asked of the value, and those of times are never written so.
            magnitude = Double(String(decoding: bytes, as: UTF8.self)).map { abs($0) } ?? magnitude
        }
        guard at == bytes.count else { return nil }
        isCode = isInteger && (whole > 18 || whole > 1 && bytes[first] == UInt8(ascii: "0"))
        value = isNegative ? -magnitude : magnitude
    }
}

/// Whether a text is a time as `format: rfc3339` reads it.
func isRFC3339(_ text: UnsafeRawBufferPointer) -> Bool {
    guard text.count >= 19 else { return false }
    for (index, byte) in text.prefix(19).enumerated() {
        switch index {
        case 4, 7: if byte != UInt8(ascii: "-") { return false }
        case 10: if byte != 0x20, byte | 0x20 != UInt8(ascii: "t") { return false }
        case 13, 16: if byte != UInt8(ascii: ":") { return false }
        default: if byte &- UInt8(ascii: "0") > 9 { return false }
        }
    }
    var rest = text.dropFirst(19)
    if rest.first == UInt8(ascii: ".") {
        let digits = rest.dropFirst().prefix { $0 &- UInt8(ascii: "0") <= 9 }
        if digits.isEmpty { return false }
        rest = rest.dropFirst(1 + digits.count)
    }
    guard let sign = rest.first else { return true }
    if sign | 0x20 == UInt8(ascii: "z") { return rest.count == 1 }
    let offset = Array(rest.dropFirst())
    return (sign == UInt8(ascii: "+") || sign == UInt8(ascii: "-")) && offset.count == 5
        && offset[2] == UInt8(ascii: ":")
        && [0, 1, 3, 4].allSatisfy { offset[$0] &- UInt8(ascii: "0") <= 9 }
}

/// A value of somebody's data as it may be shown: its form, not what it says.
enum MaskedExample {
    /// Longest, in characters.
    static let lengthMax = 40

    /// Letters become `a`, digits `9`, and what follows the first 40 characters is cut.
    static func text(_ bytes: UnsafeRawBufferPointer) -> String {
        var masked = ""
        var count = 0
        for character in String(decoding: bytes.prefix(lengthMax * 4 + 4), as: UTF8.self) {
            if count == lengthMax { return masked + "…" }
            if character.isLetter {
                masked += "a"
            } else if character.isNumber {
                masked += "9"
            } else {
                masked.append(character)
            }
            count += 1
        }
        return masked
    }
}
