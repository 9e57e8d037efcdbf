/// How long a file and a function may be.
///
/// Both lists of exceptions say how long and only shrink: an entry that is no longer needed is a finding, and so is one that has
/// grown, or that allows more than there is.
enum SizeRules {
    /// The longest a file of code may be, in lines.
    static let fileLinesMax = 500
    /// The longest a function may be, from its first line to its closing brace.
    static let functionLinesMax = 100

    /// Files that are longer still, and how long at most.
    static let longFiles: [String: Int] = [
        "Sources/KafkaClient/TransactionalProducer.swift": 522,
        "Tests/DetectionTests/LockstepTests.swift": 578,
    ]

    /// Functions that are longer with a reason, as `file: name`, and how long at most; of several with one name the longest counts.
    static let longFunctions: [String: Int] = [
        // One pass over the bytes, whose state lives in registers.
        "Sources/Detection/Events/RecordScanning.swift: scanRecord": 195,
        // The plan of all streams, in the order in which each part needs the one before.
        "Sources/Detection/Windows/WindowPlan.swift: init": 101,
        // The layout of a stream, drawn field by field.
        "Sources/Detection/Windows/WindowPlan.swift: layOut": 152,
        // The tables of a plan, each filled once.
        "Sources/Detection/Windows/WindowProgram.swift: init": 114,
        // One switch over the rare instructions.
        "Sources/RuleLanguage/Programs/Machine+Rare.swift: compute": 118,
        // One switch over the instructions, whose state lives in registers.
        "Sources/RuleLanguage/Programs/Machine.swift: run": 303,
    ]

    /// Whether a file is too long, or on the list without need; `allowed` is the list.
    static func fileFindings(_ path: String, _ lines: Int, allowed: [String: Int] = longFiles) -> [Finding] {
        guard let most = allowed[path] else {
            if lines <= fileLinesMax { return [] }
            let message = "\(lines) lines, more than \(fileLinesMax): one idea per file; split it as Type+Part.swift"
            return [Finding(path: path, line: lines, message: message)]
        }
        if lines <= fileLinesMax {
            let message = "no longer too long: take it off SizeRules.longFiles, so that it stays so"
            return [Finding(path: path, line: 1, message: message)]
        }
        if lines > most {
            let message = "\(lines) lines, and SizeRules.longFiles allows it \(most): split it as Type+Part.swift"
            return [Finding(path: path, line: lines, message: message)]
        }
        if lines < most {
            let message =
                "\(lines) lines, and SizeRules.longFiles allows it \(most): say \(lines) there, so that it stays so"
            return [Finding(path: path, line: 1, message: message)]
        }
        return []
    }

    /// Functions that are too long and not on the list, and names on the list without need.
    static func functionFindings(
        _ path: String,
        _ source: SwiftText,
        allowed: [String: Int] = longFunctions
    ) -> [Finding] {
        let long = functions(source).filter { $0.lines > functionLinesMax }
        var found: [Finding] = []
        for function in long where allowed["\(path): \(function.name)"] == nil {
            let message =
                "\(function.name) has \(function.lines) lines, more than \(functionLinesMax): let it decide and leave the work to "
                + "functions with names; or say in SizeRules.longFunctions why it is one"
            found.append(Finding(path: path, line: function.line, message: message))
        }
        for (entry, most) in allowed where entry.hasPrefix(path + ": ") {
            guard let longest = long.filter({ "\(path): \($0.name)" == entry }).max(by: { $0.lines < $1.lines }) else {
                let message = "\(entry) is no longer too long: take it off SizeRules.longFunctions"
                found.append(Finding(path: path, line: 1, message: message))
                continue
            }
            guard longest.lines != most else { continue }
            let remedy =
                longest.lines > most
                ? "leave work to functions with names" : "say \(longest.lines) there, so that it stays so"
            let message =
                "\(longest.name) has \(longest.lines) lines, and SizeRules.longFunctions allows it \(most): \(remedy)"
            found.append(Finding(path: path, line: longest.line, message: message))
        }
        return found
    }

    /// A function with a body: its name, its first line, and how many lines it has.
    struct Function: Equatable {
        var name: String
        var line: Int
        var lines: Int
    }

    /// All functions, initialisers and subscripts with a body, in the order in which they begin.
    static func functions(_ source: SwiftText) -> [Function] {
        var found: [Function] = []
        for (index, line) in source.code.enumerated() {
            guard let name = declaredName(line, source.lines[index]), let end = bodyEnd(source.code, from: index) else {
                continue
            }
            found.append(Function(name: name, line: index + 1, lines: end - index + 1))
        }
        return found
    }

    /// The name of the function that a line declares, or nil.
    private static func declaredName(_ code: String, _ line: String) -> String? {
        let words = code.split { $0 == " " || $0 == "\t" }
        for (index, word) in words.enumerated() {
            if word == "func" {
                // A name in back-ticks is blanked in the code, and there in the line.
                guard let keyword = line.firstRange(of: "func ") else { return nil }
                let rest = line[keyword.upperBound...]
                if rest.hasPrefix("`") { return String(rest.dropFirst().prefix { $0 != "`" }) }
                return String(rest.prefix { $0 != "(" && $0 != "<" && $0 != " " })
            }
            for kind in ["init", "deinit", "subscript"] where word == kind || word.hasPrefix(kind) {
                let next = word.dropFirst(kind.count).first
                if next == nil && kind != "deinit" { continue }
                if let next, !"(<?".contains(next) { continue }
                return kind
            }
            // Only words that may stand before a declaration.
            let isModifier = word.hasPrefix("@") || word.hasSuffix(")") || word.allSatisfy { $0.isLetter || $0 == "(" }
            if !isModifier || index > 8 || ["return", "let", "var", "case", "if", "import"].contains(word) {
                return nil
            }
        }
        return nil
    }

    /// The line on which the body ends that begins on or behind a line; nil where there is none.
    private static func bodyEnd(_ code: [String], from start: Int) -> Int? {
        var parentheses = 0
        var braces = 0
        for index in start..<code.count {
            // The next member before any body: a requirement of a protocol.
            if index > start, braces == 0, parentheses == 0, code[index].hasWord("func") || code[index].hasWord("var") {
                return nil
            }
            for byte in code[index].utf8 {
                switch byte {
                case UInt8(ascii: "("), UInt8(ascii: "["): parentheses += 1
                case UInt8(ascii: ")"), UInt8(ascii: "]"): parentheses -= 1
                case UInt8(ascii: "{") where parentheses == 0 || braces > 0: braces += 1
                case UInt8(ascii: "}") where parentheses == 0 || braces > 0:
                    if braces == 0 { return nil }
                    braces -= 1
                    if braces == 0 { return index }
                default: break
                }
            }
        }
        return nil
    }
}
