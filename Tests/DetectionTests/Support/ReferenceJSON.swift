import RuleLanguage

@testable import Detection

/// A strict JSON reader in the plainest form, to compare with: recursive, on arrays, no speed.
///
/// What it throws has a type, since the test library keeps a backtrace of each error that is thrown without one: over millions of
/// records that would hide what a decoder keeps.
struct ReferenceJSON {
    indirect enum Value {
        case object([(key: String, value: Value)])
        case array([Value])
        case string(String)
        case number(String)
        case word(String)
    }

    struct Refused: Error {}

    var bytes: [UInt8]
    var at = 0

    /// The value of a whole text, or nil when it is not JSON in UTF-8.
    static func read(_ bytes: [UInt8]) -> Value? {
        guard String(validating: bytes, as: UTF8.self) != nil else { return nil }
        var reader = ReferenceJSON(bytes: bytes)
        guard let value = try? reader.value() else { return nil }
        reader.blanks()
        return reader.at == bytes.count ? value : nil
    }

    var byte: UInt8? { at < bytes.count ? bytes[at] : nil }

    mutating func blanks() {
        while let byte, [0x20, 0x09, 0x0A, 0x0D].contains(byte) { at += 1 }
    }

    mutating func take(_ text: String) throws(Refused) {
        guard bytes[at...].starts(with: text.utf8) else { throw Refused() }
        at += text.utf8.count
    }

    mutating func value() throws(Refused) -> Value {
        blanks()
        switch byte {
        case UInt8(ascii: "{"):
            at += 1
            var members: [(String, Value)] = []
            blanks()
            if byte == UInt8(ascii: "}") {
                at += 1
                return .object([])
            }
            while true {
                blanks()
                let key = try string()
                blanks()
                try take(":")
                members.append((key, try value()))
                blanks()
                if byte == UInt8(ascii: ",") {
                    at += 1
                    continue
                }
                try take("}")
                return .object(members)
            }
        case UInt8(ascii: "["):
            at += 1
            var elements: [Value] = []
            blanks()
            if byte == UInt8(ascii: "]") {
                at += 1
                return .array([])
            }
            while true {
                elements.append(try value())
                blanks()
                if byte == UInt8(ascii: ",") {
                    at += 1
                    continue
                }
                try take("]")
                return .array(elements)
            }
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"):
            try take("true")
            return .word("true")
        case UInt8(ascii: "f"):
            try take("false")
            return .word("false")
        case UInt8(ascii: "n"):
            try take("null")
            return .word("null")
        default: return .number(try number())
        }
    }

    mutating func digits() throws(Refused) {
        let first = at
        while let byte, byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") { at += 1 }
        if at == first { throw Refused() }
    }

    mutating func number() throws(Refused) -> String {
        let first = at
        if byte == UInt8(ascii: "-") { at += 1 }
        if byte == UInt8(ascii: "0") { at += 1 } else { try digits() }
        if byte == UInt8(ascii: ".") {
            at += 1
            try digits()
        }
        if byte == UInt8(ascii: "e") || byte == UInt8(ascii: "E") {
            at += 1
            if byte == UInt8(ascii: "+") || byte == UInt8(ascii: "-") { at += 1 }
            try digits()
        }
        return String(decoding: bytes[first..<at], as: UTF8.self)
    }

    mutating func hex() throws(Refused) -> UInt16 {
        guard at + 4 <= bytes.count, bytes[at..<at + 4].allSatisfy({ Character(Unicode.Scalar($0)).isHexDigit }),
            let unit = UInt16(String(decoding: bytes[at..<at + 4], as: UTF8.self), radix: 16)
        else { throw Refused() }
        at += 4
        return unit
    }

    mutating func string() throws(Refused) -> String {
        try take("\"")
        var result: [UInt8] = []
        while let byte {
            at += 1
            if byte == UInt8(ascii: "\"") { return String(decoding: result, as: UTF8.self) }
            if byte < 0x20 { throw Refused() }
            if byte != UInt8(ascii: "\\") {
                result.append(byte)
                continue
            }
            guard let escaped = self.byte else { throw Refused() }
            at += 1
            switch escaped {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): result.append(escaped)
            case UInt8(ascii: "b"): result.append(8)
            case UInt8(ascii: "f"): result.append(12)
            case UInt8(ascii: "n"): result.append(10)
            case UInt8(ascii: "r"): result.append(13)
            case UInt8(ascii: "t"): result.append(9)
            case UInt8(ascii: "u"):
                var units = [try hex()]
                if UTF16.isTrailSurrogate(units[0]) { throw Refused() }
                if UTF16.isLeadSurrogate(units[0]) {
                    try take("\\u")
                    units.append(try hex())
                    if !UTF16.isTrailSurrogate(units[1]) { throw Refused() }
                }
                result.append(contentsOf: String(decoding: units, as: UTF16.self).utf8)
            default: throw Refused()
            }
        }
        throw Refused()
    }
}

/// An event type without bounds, so that acceptance is JSON plus types plus required plus no known key twice.
let plainType = EventSchema(
    name: "plain",
    topic: "plain",
    fields: [
        FieldSchema(name: "ts", path: ["ts"], type: .timestamp, isRequired: true),
        FieldSchema(
            name: "account",
            path: ["buyer", "id"],
            type: .string,
            isRequired: true,
            entity: "account",
            maximumLength: 65_536
        ),
        FieldSchema(name: "ratio", path: ["buyer", "ratio"], type: .double),
        FieldSchema(name: "count", path: ["count"], type: .int),
        FieldSchema(name: "first", path: ["first"], type: .bool),
        FieldSchema(name: "tags", path: ["tags"], type: .stringList, maximumLength: 65_536),
    ],
    time: .field(0),
    idField: nil,
    subjectField: 1
)

extension ReferenceJSON {
    /// Why a value is none of a field's.
    struct Damage: Error { var code: String }

    /// What decoding must give of strict JSON, in the form of `describe`, or nil for a dead letter.
    static func expected(_ value: Value) -> String? {
        guard case .object(let members) = value else { return nil }
        /// The only value of a key: nil where there is none, or null.
        func member(_ name: String, of members: [(key: String, value: Value)]?) throws(Damage) -> Value? {
            let all = (members ?? []).filter { $0.key == name }
            if all.count > 1 { throw Damage(code: "duplicate_field") }
            if case .word("null") = all.first?.value { return nil }
            return all.first?.value
        }
        /// The members of an object, where there is one.
        func object(_ value: Value?) throws(Damage) -> [(key: String, value: Value)]? {
            switch value {
            case .object(let members): return members
            case nil: return nil
            case .array(let elements) where elements.isEmpty: return nil
            case .string(let text) where text.isEmpty: return nil
            default: throw Damage(code: "wrong_type")
            }
        }
        func number(_ value: Value?) throws(Damage) -> String? {
            switch value {
            case .number(let text): return text
            case nil: return nil
            default: throw Damage(code: "wrong_type")
            }
        }
        var parts: [String] = []
        var damages: [String] = []
        func optional(_ name: String, _ value: () throws(Damage) -> String?) {
            do throws(Damage) {
                if let text = try value() { parts.append("\(name)=\(text)") }
            } catch { damages.append("damaged \(name) \(error.code)") }
        }
        guard case .number(let time) = try? member("ts", of: members), let time = integer(time),
            (946_684_800_000...4_102_444_800_000).contains(time)
        else { return nil }
        parts.append("ts=\(time)")
        guard case .object(let inner) = try? member("buyer", of: members),
            case .string(let account) = try? member("id", of: inner), !account.isEmpty
        else { return nil }
        parts.append("account='\(account)'")
        optional("ratio") { () throws(Damage) in
            guard let text = try number(try member("ratio", of: inner)) else { return nil }
            guard let value = Double(text), value.isFinite, digitCount(text) <= 64 else {
                throw Damage(code: "number_out_of_range")
            }
            return "\(value)"
        }
        optional("count") { () throws(Damage) in
            guard let text = try number(try member("count", of: members)) else { return nil }
            if digitCount(text) > 64 { throw Damage(code: "number_out_of_range") }
            guard let value = integer(text) else {
                throw Damage(code: isWithinInt64(text) ? "wrong_type" : "number_out_of_range")
            }
            return "\(value)"
        }
        optional("first") { () throws(Damage) in
            switch try member("first", of: members) {
            case .word(let word): return word
            case nil: return nil
            default: throw Damage(code: "wrong_type")
            }
        }
        optional("tags") { () throws(Damage) in
            switch try member("tags", of: members) {
            case .array(let elements):
                let texts = try elements.map { element throws(Damage) in
                    guard case .string(let text) = element else { throw Damage(code: "wrong_type") }
                    return text
                }
                return "[\(texts.joined(separator: " "))]"
            case nil: return nil
            default: throw Damage(code: "wrong_type")
            }
        }
        return (parts + damages).joined(separator: " ")
    }

    static func digitCount(_ text: String) -> Int { text.count { $0.isNumber } }

    /// Whether a number that is no integer lies among them.
    static func isWithinInt64(_ text: String) -> Bool { (Double(text) ?? .infinity).magnitude < 0x1p63 }

    /// The value of a JSON number if it is an integer of 64 bits, by decimal arithmetic on its digits.
    static func integer(_ text: String) -> Int64? {
        let isNegative = text.hasPrefix("-")
        let parts = text.lowercased().drop { $0 == "-" }.split(separator: "e", omittingEmptySubsequences: false)
        let exponent = parts.count > 1 ? Int(parts[1]) ?? 1_000_000 : 0
        let halves = parts[0].split(separator: ".", omittingEmptySubsequences: false)
        let fraction = halves.count > 1 ? String(halves[1]) : ""
        var digits = String(halves[0]) + fraction
        var power = exponent - fraction.count
        while digits.hasSuffix("0"), digits.count > 1 {
            digits.removeLast()
            power += 1
        }
        if digits.allSatisfy({ $0 == "0" }) { return 0 }
        guard power >= 0, power <= 19 else { return nil }
        return Int64((isNegative ? "-" : "") + digits + String(repeating: "0", count: power))
    }
}
