/// References of comments, ``StaleReferences/findings(_:paths:)`` or a file's name, that lead to nothing that is there.
///
/// A type may be the standard library's; all else has to be declared in the package, a member in its type, in an extension or in
/// what that inherits from, and with these labels.
enum StaleReferences {
    /// Findings over all files of Swift; `paths` are those of the whole package.
    static func findings(_ files: [(path: String, source: SwiftText)], paths: [String]) -> [Finding] {
        var declarations = Declarations()
        for file in files { declarations.add(file.source) }
        var found: [Finding] = []
        for (path, source) in files {
            for (index, line) in source.lines.enumerated() {
                // A comment, not text in a string: nothing of it is left in the code.
                guard line.contains("`"), line.trimmed.hasPrefix("//"), source.code[index].trimmed.isEmpty else {
                    continue
                }
                for reference in quoted(line, by: "``") where !declarations.has(reference) {
                    let message = "``\(reference)`` leads nowhere: say what it is called now"
                    found.append(Finding(path: path, line: index + 1, message: message))
                }
                let plain = line.replacingDoubled()
                for name in quoted(plain, by: "`") where isFile(name) && !paths.contains(where: { isAt($0, name) }) {
                    let message = "there is no file \(name): say where it is now"
                    found.append(Finding(path: path, line: index + 1, message: message))
                }
            }
        }
        return found
    }

    /// What stands between each pair of marks.
    private static func quoted(_ line: String, by mark: String) -> [String] {
        let parts = line.split(separator: mark, omittingEmptySubsequences: false)
        return parts.indices.filter { $0 % 2 == 1 && $0 + 1 < parts.count }.map { String(parts[$0]) }
    }

    private static func isFile(_ name: String) -> Bool {
        [".swift", ".py"].contains(where: name.hasSuffix)
            && name.utf8.allSatisfy { $0.isIdentifier || "/+.-".utf8.contains($0) }
    }

    private static func isAt(_ path: String, _ name: String) -> Bool { path == name || path.hasSuffix("/" + name) }

    /// What the package declares, by its text: no types are worked out, and what a function declares inside counts as its type's.
    private struct Declarations {
        private var names: Set<String> = []
        private var words: Set<String> = []
        private var members: [String: Set<String>] = [:]
        /// What a type inherits from or conforms to.
        private var parents: [String: Set<String>] = [:]
        /// `labels:of:parameters:` by name, and by `Type.name`.
        private var signatures: [String: Set<String>] = [:]

        /// Whether a reference, `Type/member(label:)`, leads somewhere.
        func has(_ reference: String) -> Bool {
            // What follows ` )-` tells overloads apart.
            let parts = reference.split(separator: "/").map { part in
                (name: String(part.prefix { $0 != "(" && $0 != "-" }), rest: part.drop { $0 != "(" }.dropFirst())
            }
            guard let last = parts.last, last.name.utf8.allSatisfy(\.isIdentifier), !last.name.isEmpty else {
                return false
            }
            let labels = String(last.rest.prefix { $0 != ")" })
            let type = parts.count > 1 ? parts[parts.count - 2].name : nil
            guard let type, names.contains(type) else {
                if let type { return words.contains(type) }
                let isLibrarys = last.name.first?.isUppercase == true && words.contains(last.name)
                guard names.contains(last.name) || isLibrarys else { return false }
                return labels.isEmpty || signatures[last.name]?.contains(labels) == true
            }
            return has(last.name, labels, in: type, seen: [])
        }

        private func has(_ name: String, _ labels: String, in type: String, seen: Set<String>) -> Bool {
            if members[type]?.contains(name) == true,
                labels.isEmpty || signatures["\(type).\(name)"]?.contains(labels) == true
            {
                return true
            }
            let seen = seen.union([type])
            return (parents[type] ?? []).contains { !seen.contains($0) && has(name, labels, in: $0, seen: seen) }
        }

        /// Takes in a file.
        mutating func add(_ source: SwiftText) {
            let tokens = Declarations.tokens(source)
            words.formUnion(tokens)
            // Per open brace the type whose body it begins, or nil.
            var open: [String?] = []
            var at = 0
            func token(_ index: Int) -> String { tokens.indices.contains(index) ? tokens[index] : "" }
            func isName(_ index: Int) -> Bool { token(index).utf8.first.map { $0.isIdentifier } ?? false }
            while at < tokens.count {
                let type = open.last { $0 != nil } ?? nil
                switch tokens[at] {
                case "{": open.append(nil)
                case "}": _ = open.popLast()
                case "struct", "class", "enum", "protocol", "actor", "extension":
                    guard isName(at + 1), !["func", "var", "let", "subscript"].contains(token(at + 1)) else { break }
                    var name = at + 1
                    while token(name + 1) == ".", isName(name + 2) { name += 2 }
                    if tokens[at] != "extension" { declare(tokens[name], in: type) }
                    var end = name + 1
                    while end < tokens.count, tokens[end] != "{" {
                        if isName(end) { parents[tokens[name], default: []].insert(tokens[end]) }
                        end += 1
                    }
                    open.append(tokens[name])
                    at = end
                case "func", "var", "let", "typealias", "associatedtype":
                    if isName(at + 1) { declare(tokens[at + 1], in: type, signature: signature(tokens, at + 2)) }
                case "init", "subscript":
                    if token(at - 1) != "." { declare(tokens[at], in: type, signature: signature(tokens, at + 1)) }
                case "case":
                    var name = at + 1
                    while isName(name) {
                        declare(tokens[name], in: type, signature: signature(tokens, name + 1))
                        name += 1
                        if token(name) == "(" { name = closing(tokens, name) + 1 }
                        guard token(name) == "," else { break }
                        name += 1
                    }
                default: break
                }
                at += 1
            }
        }

        private mutating func declare(_ name: String, in type: String?, signature: String? = nil) {
            names.insert(name)
            if let type { members[type, default: []].insert(name) }
            guard let signature else { return }
            signatures[name, default: []].insert(signature)
            if let type {
                signatures["\(type).\(name)", default: []].insert(signature)
                // `Type(label:)` is an initialiser.
                if name == "init" { signatures[type, default: []].insert(signature) }
            }
        }

        /// The labels of the parameters that begin behind a name, or nil where there are none.
        private func signature(_ tokens: [String], _ start: Int) -> String? {
            var at = start
            while at < tokens.count, ["?", "!"].contains(tokens[at]) { at += 1 }
            if at < tokens.count, tokens[at] == "<" {
                while at < tokens.count, tokens[at] != "(" { at += 1 }
            }
            guard at < tokens.count, tokens[at] == "(" else { return nil }
            let end = closing(tokens, at)
            var labels = ""
            var depth = 0
            var isFirst = true
            for index in (at + 1)..<max(at + 1, end) {
                let token = tokens[index]
                if isFirst {
                    let isLabelled = tokens[index + 1] == ":" || (index + 2 < end && tokens[index + 2] == ":")
                    labels += (isLabelled ? token : "_") + ":"
                    isFirst = false
                }
                if ["(", "[", "{", "<"].contains(token) { depth += 1 }
                if [")", "]", "}"].contains(token) || (token == ">" && tokens[index - 1] != "-") { depth -= 1 }
                if token == ",", depth == 0 { isFirst = true }
            }
            return labels
        }

        /// The parenthesis that closes the one at an index.
        private func closing(_ tokens: [String], _ start: Int) -> Int {
            var depth = 0
            for index in start..<tokens.count {
                if tokens[index] == "(" { depth += 1 }
                if tokens[index] == ")" {
                    depth -= 1
                    if depth == 0 { return index }
                }
            }
            return tokens.count - 1
        }

        /// Words, and each other character by itself.
        private static func tokens(_ source: SwiftText) -> [String] {
            var tokens: [String] = []
            for line in source.code {
                let bytes = Array(line.utf8)
                var at = 0
                while at < bytes.count {
                    var end = at
                    while end < bytes.count, bytes[end].isIdentifier { end += 1 }
                    if end > at {
                        tokens.append(String(decoding: bytes[at..<end], as: UTF8.self))
                    } else {
                        if bytes[at] != UInt8(ascii: " ") { tokens.append(String(Unicode.Scalar(bytes[at]))) }
                        end = at + 1
                    }
                    at = end
                }
            }
            return tokens
        }
    }
}

extension String {
    /// Without what stands between double back-ticks.
    fileprivate func replacingDoubled() -> String {
        let parts = split(separator: "``", omittingEmptySubsequences: false)
        return parts.indices.filter { $0 % 2 == 0 }.map { String(parts[$0]) }.joined()
    }
}
