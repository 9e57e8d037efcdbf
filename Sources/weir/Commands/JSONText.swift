/// JSON written by hand, for results with a fixed order of keys.
enum JSONText {
    /// The text as a JSON string, quotes included.
    static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\t": result += "\\t"
            case "\r": result += "\\r"
            case _ where scalar.value < 0x20 || scalar.value == 0x7F:
                let hex = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }

    /// The text as a JSON string, or `null`.
    static func quoted(_ text: String?) -> String { text.map { quoted($0) } ?? "null" }

    /// An array of strings.
    static func array(_ texts: [String]) -> String { "[" + texts.map { quoted($0) }.joined(separator: ",") + "]" }
}
