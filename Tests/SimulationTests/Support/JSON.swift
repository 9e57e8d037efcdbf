/// A JSON value as these tests need it.
///
/// Foundation's parser does not tell `12.90` from `12.9` or a number from its text; the tests look at the bytes' own form.
indirect enum JSON {
    case null
    case bool(Bool)
    case number(String)
    case string(String)
    case list([JSON])
    case object([(key: String, value: JSON)])

    subscript(key: String) -> JSON? {
        if case .object(let members) = self { return members.first { $0.key == key }?.value }
        return nil
    }

    var text: String? {
        if case .string(let text) = self { return text }
        return nil
    }

    var digits: String? {
        if case .number(let digits) = self { return digits }
        return nil
    }

    /// Parses exactly one value with no space around it, which is how the simulator writes; nil for anything else.
    static func parse(_ bytes: [UInt8]) -> JSON? {
        var at = 0
        guard let value = value(bytes, &at), at == bytes.count else { return nil }
        return value
    }

    private static func value(_ bytes: [UInt8], _ at: inout Int) -> JSON? {
        guard at < bytes.count else { return nil }
        switch bytes[at] {
        case UInt8(ascii: "{"):
            var members: [(key: String, value: JSON)] = []
            repeat {
                at += 1
                guard case .string(let key)? = value(bytes, &at), at < bytes.count, bytes[at] == UInt8(ascii: ":"),
                    !members.contains(where: { $0.key == key })
                else { return nil }
                at += 1
                guard let member = value(bytes, &at), at < bytes.count else { return nil }
                members.append((key, member))
            } while bytes[at] == UInt8(ascii: ",")
            guard bytes[at] == UInt8(ascii: "}") else { return nil }
            at += 1
            return .object(members)
        case UInt8(ascii: "["):
            var elements: [JSON] = []
            repeat {
                at += 1
                guard let element = value(bytes, &at), at < bytes.count else { return nil }
                elements.append(element)
            } while bytes[at] == UInt8(ascii: ",")
            guard bytes[at] == UInt8(ascii: "]") else { return nil }
            at += 1
            return .list(elements)
        case UInt8(ascii: "\""):
            guard let end = bytes[(at + 1)...].firstIndex(of: UInt8(ascii: "\"")) else { return nil }
            let text = bytes[(at + 1)..<end]
            guard text.allSatisfy({ $0 >= 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "\\") }) else { return nil }
            at = end + 1
            return .string(String(decoding: text, as: UTF8.self))
        default:
            let rest = bytes[at...].prefix {
                $0 != UInt8(ascii: ",") && $0 != UInt8(ascii: "}") && $0 != UInt8(ascii: "]")
            }
            at += rest.count
            let word = String(decoding: rest, as: UTF8.self)
            switch word {
            case "null": return .null
            case "true", "false": return .bool(word == "true")
            default: return Double(word) == nil ? nil : .number(word)
            }
        }
    }
}
