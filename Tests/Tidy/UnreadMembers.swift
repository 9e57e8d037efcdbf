/// Stored properties and functions of the sources that nothing in the sources reads.
///
/// By their text: a member counts as read when its name occurs anywhere but where it is declared. So a name that two types share
/// hides an unread one, and nothing is reported that is read. Who else reads one stands in ``readElsewhere``; what only tests read
/// is internal, which they see.
enum UnreadMembers {
    /// Names whose reader the sources do not show, and who it is.
    static let readElsewhere: [String: String] = [
        "_writeASCII": "number printing of the standard library",
        "actorEstimate": "tests: how large the sketch takes a set to be",
        "bytesRead": "tests: that the whole file was taken",
        "callAsFunction": "whoever calls a cell with an offset",
        "deleteRecords": "tests, and whoever uses KafkaClient or looks after a log",
        "isReady": "tests: whether a worker has caught up",
        "memoryBytes": "tests: that buffers stay as they are",
        "reveal": "tests, and whoever has to show a secret to its owner",
        "sections": "tests: the reference has all keys",
        "subscribe": "whoever uses KafkaClient with a group",
    ]

    /// Words that protocols of the standard library and the compiler call.
    private static let conventional: Set<String> = [
        "main", "description", "debugDescription", "hash", "encode", "next", "makeIterator", "rawValue", "customMirror",
        "init",
        "subscript", "deinit", "_", "allCases",
    ]

    /// A member that is declared and where.
    private struct Member {
        var name: String
        var path: String
        var line: Int
        var isPublic: Bool
    }

    /// Findings over the files of Swift in Sources, by path.
    static func findings(
        _ files: [(path: String, source: SwiftText)],
        readElsewhere: [String: String] = readElsewhere
    ) -> [Finding] {
        var members: [Member] = []
        var counts: [String: Int] = [:]
        for (path, source) in files {
            for (index, code) in source.code.enumerated() {
                for word in words(code) { counts[word, default: 0] += 1 }
                guard let name = declared(code) else { continue }
                members.append(Member(name: name, path: path, line: index + 1, isPublic: code.hasWord("public")))
            }
        }
        var declarations: [String: Int] = [:]
        for member in members { declarations[member.name, default: 0] += 1 }
        return members.compactMap { member in
            if member.isPublic, readElsewhere[member.name]?.hasPrefix("tests:") == true {
                let message = "only tests read \(member.name), and they see what is internal: take its public away"
                return Finding(path: member.path, line: member.line, message: message)
            }
            guard counts[member.name, default: 0] <= declarations[member.name, default: 0],
                readElsewhere[member.name] == nil, !conventional.contains(member.name)
            else { return nil }
            let message = "nothing reads \(member.name): delete it; or name its reader in UnreadMembers.readElsewhere"
            return Finding(path: member.path, line: member.line, message: message)
        }
            + readElsewhere.keys.sorted().compactMap { name in
                guard declarations[name] == nil else { return nil }
                let message = "\(name) is declared nowhere any more: take it off UnreadMembers.readElsewhere"
                return Finding(path: "Tests/Tidy/UnreadMembers.swift", line: 1, message: message)
            }
    }

    /// The name that a line declares as a function, a variable or a constant of a type, or nil.
    private static func declared(_ code: String) -> String? {
        let parts = code.split { !($0.isLetter || $0.isNumber || "_@()`".contains($0)) }.map(String.init)
        for (index, part) in parts.enumerated() {
            if ["func", "var", "let"].contains(part), index + 1 < parts.count {
                // Not a binding inside an expression.
                if index > 0, ["if", "guard", "case", "while", "for", "import"].contains(parts[index - 1]) {
                    return nil
                }
                let name = String(parts[index + 1].prefix { $0.isLetter || $0.isNumber || $0 == "_" })
                return name.isEmpty ? nil : name
            }
            // Only words that may stand before a declaration.
            guard part.hasPrefix("@") || part.allSatisfy({ $0.isLetter || "()_".contains($0) }) else { return nil }
        }
        return nil
    }

    private static func words(_ code: String) -> [String] {
        code.split { !($0.isLetter || $0.isNumber || $0 == "_") }.map(String.init)
    }
}
