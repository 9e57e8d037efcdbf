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

    /// A text with the escapes resolved that keep one sign, such as `\/`; others stay as they stand.
    static func plain(_ bytes: some Sequence<UInt8>) -> [UInt8] {
        var text: [UInt8] = []
        var isEscaped = false
        for byte in bytes {
            if !isEscaped, byte == UInt8(ascii: "\\") {
                isEscaped = true
                continue
            }
            if isEscaped, ![UInt8(ascii: "/"), UInt8(ascii: "\""), UInt8(ascii: "\\")].contains(byte) {
                text.append(UInt8(ascii: "\\"))
            }
            text.append(byte)
            isEscaped = false
        }
        return text
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
    /// A whole number that does not fit into 64 bits, or one that begins with a zero as codes do.
    var isLong: Bool
    var hasLeadingZero: Bool
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
        isLong = isInteger && whole > 18
        hasLeadingZero = isInteger && whole > 1 && bytes[first] == UInt8(ascii: "0")
        value = isNegative ? -magnitude : magnitude
    }
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
