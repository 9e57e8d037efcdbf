/// How comments are written: their width, and one word for what a function gives back.
enum WordingRules {
    /// The widest a line may be that is a comment, in characters.
    static let commentWidthMax = 132

    /// Findings in one file of Swift.
    static func findings(_ path: String, _ source: SwiftText) -> [Finding] {
        var found: [Finding] = []
        // Between the quotes of a text of several lines; the quotes themselves are code.
        var isInText = false
        for (index, line) in source.lines.enumerated() {
            if source.code[index].ranges(of: "\"\"\"").count % 2 == 1 { isInText.toggle() }
            if isInText { continue }
            let text = line.trimmed
            // A comment, not text in a string: nothing of it is left in the code.
            guard text.hasPrefix("//"), source.code[index].trimmed.isEmpty else { continue }
            if line.count > commentWidthMax {
                let message = "a comment of \(line.count) columns, more than \(commentWidthMax): break the line"
                found.append(Finding(path: path, line: index + 1, message: message))
            }
            if text.hasPrefix("///"), saysAnswers(text) {
                let message = "a function returns, so write Returns; brokers, logs and people answer"
                found.append(Finding(path: path, line: index + 1, message: message))
            }
        }
        return found
    }

    /// Whether a line says of a function that it answers: at the beginning of a sentence or clause, so that nobody else can be
    /// meant.
    private static func saysAnswers(_ text: String) -> Bool {
        let words = text.split { $0 == " " }.map(String.init)
        for (index, word) in words.enumerated() where word == "answers" || word == "Answers" || word == "Answers:" {
            guard index > 0 else { continue }
            let before = words[index - 1]
            // `/// Answers …`, `…: answers …`, `…; answers …`, `…, and answers …`.
            if before == "///" || before.hasSuffix(":") || before.hasSuffix(";") || before.hasSuffix(".") {
                return true
            }
            if before == "and", index > 1 { return true }
        }
        return false
    }
}
