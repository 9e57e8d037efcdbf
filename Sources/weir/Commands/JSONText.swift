import RuleLanguage

/// JSON written by hand, for results with a fixed order of keys.
extension JSONText {
    /// The text as a JSON string, quotes included.
    static func quoted(_ text: String) -> String { "\"" + String(decoding: escaped(text.utf8), as: UTF8.self) + "\"" }

    /// The text as a JSON string, or `null`.
    static func quoted(_ text: String?) -> String { text.map { quoted($0) } ?? "null" }

    /// An array of strings.
    static func array(_ texts: [String]) -> String { "[" + texts.map { quoted($0) }.joined(separator: ",") + "]" }
}
