/// Which characters of foreign text never reach a terminal or a log line as they are.
///
/// What could move the cursor, give orders to the terminal, or hide and reorder text: control characters (C0, DEL, C1), line and
/// paragraph separators, the bidirectional and zero-width characters with which one name can be made to look like another, and
/// others that have no shape (Unicode's Default_Ignorable_Code_Point, but for variation selectors, which stand behind emoji).
public enum TerminalText {
    /// Whether a character is one of them.
    public static func canSteer(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0..<0x20, 0x7F...0x9F: true
        case 0x20..<0xAD: false
        case 0xAD, 0x034F, 0x061C, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180B...0x180F, 0x200B...0x200F, 0x2028...0x202E,
            0x2060...0x206F, 0x3164, 0xFEFF, 0xFFA0, 0xFFF0...0xFFFB, 0x1BCA0...0x1BCA3, 0x1D173...0x1D17A,
            0xE0000...0xE0FFF:
            true
        default: false
        }
    }

    /// JSON with these characters as `\\u` escapes: the same values, as they stand in strings only.
    ///
    /// Line feeds stay: in JSON they stand between values only. Also for what is no JSON: it then is harmless text.
    public static func escapedJSON(_ text: String) -> String {
        guard text.unicodeScalars.contains(where: canSteer) else { return text }
        var result = ""
        result.reserveCapacity(text.utf8.count + 16)
        for scalar in text.unicodeScalars {
            if scalar != "\n", canSteer(scalar) {
                result += escape(scalar)
            } else {
                result.unicodeScalars.append(scalar)
            }
        }
        return result
    }

    /// A character as JSON escapes it: one unit of UTF-16, or two.
    static func escape(_ scalar: Unicode.Scalar) -> String {
        UTF16.width(scalar) == 1
            ? unit(UInt16(scalar.value)) : unit(UTF16.leadSurrogate(scalar)) + unit(UTF16.trailSurrogate(scalar))
    }

    private static func unit(_ value: UInt16) -> String {
        let hex = String(value, radix: 16)
        return "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
    }
}
