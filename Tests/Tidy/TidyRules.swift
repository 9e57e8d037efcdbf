/// A breach of a rule: where, what, and what to write instead.
struct Finding: Hashable, CustomStringConvertible {
    var path: String
    var line: Int
    var message: String
    var description: String { "\(path):\(line): \(message)" }
}

/// The house's rules on text.
///
/// Each is a function of a path and its content, so that each can be tested on a bad snippet.
///
/// A rule exists because a compiler or formatter cannot hold it; its message names the better way.
enum TidyRules {
    /// All findings in one file; `path` is relative to the package.
    ///
    /// `requirements` are the members that the package's own protocols document, so that conformers need not say it again.
    static func findings(path: String, text: String, requirements: Set<String> = []) -> [Finding] {
        var found = everywhere(path, text)
        if path.hasSuffix(".py") { found += sleepsInPython(path, text) }
        guard path.hasSuffix(".swift") else { return found }
        let source = SwiftText(text)
        found += SizeRules.functionFindings(path, source) + WordingRules.findings(path, source)
        found += AllocationRules.findings(path, source)
        if path.hasPrefix("Tests/") { found += sleeps(path, source) }
        if path.hasPrefix("Sources/") {
            found += ClockRules.findings(path, source)
            found += bannedInSources(path, source) + forceUnwraps(path, source) + impureInDataPlane(path, source)
            found +=
                undocumented(path, source, requirements) + unexplained(path, source)
                + ImportArrows.findings(path, source)
        }
        return found
    }

    // Written in parts, so that this file does not break its own rules.
    private static let reminders = ["TO" + "DO", "FIX" + "ME", "X" + "XX"]
    private static let machinePaths = ["/wo" + "rk/", "/ro" + "ot/", "/ho" + "me/"]
    private static let unchecked = "-Oun" + "checked"

    private static func everywhere(_ path: String, _ text: String) -> [Finding] {
        var found: [Finding] = []
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        for (index, line) in lines.enumerated() {
            func add(_ message: String) { found.append(Finding(path: path, line: index + 1, message: message)) }
            for word in reminders where line.hasWord(word) {
                add("leftover \(word): finish it, or say in a comment what holds now and why")
            }
            for place in machinePaths where line.contains(place) {
                add("\(place) is a path of one machine: start at the package's root or take an environment variable")
            }
            if line.contains(unchecked) {
                add(
                    "\(unchecked) removes the checks that keep bad input harmless: use -c release, and spans in hot loops"
                )
            }
        }
        let isCode = [".swift", ".c", ".cpp", ".h"].contains(where: path.hasSuffix)
        if isCode { found += SizeRules.fileFindings(path, lines.count - 1) }
        return found
    }

    /// Where alone a test may let time pass.
    private static let waitingPlaces = ["Tests/Waiting/Waiting.swift", "Tests/EndToEnd/waiting.py"]

    /// Waits for a fixed time, which are too long on a good day and too short on a bad one.
    private static func sleeps(_ path: String, _ source: SwiftText) -> [Finding] {
        guard !waitingPlaces.contains(path) else { return [] }
        let words = ["Thread.sleep(", "Task.sleep(", "usleep(", "nanosleep(", "sleep("]
        return source.code.enumerated().compactMap { index, line in
            words.first(where: line.hasWord).map {
                let message = "\($0) in a test: Waiting.until a condition holds; Waiting.fault where a fault lasts"
                return Finding(path: path, line: index + 1, message: message)
            }
        }
    }

    private static func sleepsInPython(_ path: String, _ text: String) -> [Finding] {
        guard !waitingPlaces.contains(path) else { return [] }
        return text.split(separator: "\n", omittingEmptySubsequences: false).enumerated().compactMap { index, line in
            guard String(line).hasWord("time.sleep(") else { return nil }
            let message = "time.sleep in a test: support.wait_for a condition; waiting.moment for a moment of chance"
            return Finding(path: path, line: index + 1, message: message)
        }
    }

    private static func bannedInSources(_ path: String, _ source: SwiftText) -> [Finding] {
        var bans: [(word: String, instead: String)] = [
            ("try!", "let the error reach somebody who can report it, or handle it with do and catch"),
            ("as!", "use as? and say what happens otherwise"),
            (
                "fatalError(",
                "malformed input is a value or a thrown error; an impossible state is a precondition that says why"
            ),
        ]
        if !path.hasPrefix("Sources/weir/") {
            let instead = "targets below the command line return values; people are told through Telemetry's Log"
            bans += [("print(", instead), ("debugPrint(", instead), ("dump(", instead)]
        }
        return source.code.enumerated().flatMap { index, line in
            bans.filter { line.hasWord($0.word) && !line.contains("func \($0.word)") && !line.contains(".\($0.word)") }
                .map { Finding(path: path, line: index + 1, message: "\($0.word) is banned: \($0.instead)") }
        }
    }

    /// A `!` behind a value: unwrapping by force, or a type that does so silently.
    private static func forceUnwraps(_ path: String, _ source: SwiftText) -> [Finding] {
        var found: [Finding] = []
        for (index, line) in source.code.enumerated() {
            let bytes = Array(line.utf8)
            for position in bytes.indices.dropFirst() where bytes[position] == UInt8(ascii: "!") {
                let before = bytes[position - 1]
                let isPostfix =
                    before.isIdentifier
                    || [")", "]", "\"", "`", "?"].contains { $0 == Character(Unicode.Scalar(before)) }
                let isNotEqual = position + 1 < bytes.count && bytes[position + 1] == UInt8(ascii: "=")
                let lead = String(decoding: bytes[..<position], as: UTF8.self)
                // These have their own messages.
                let isKeyword = ["try", "as"].contains {
                    lead.hasSuffix(" \($0)") || lead == $0 || lead.hasSuffix("(\($0)")
                }
                if isPostfix, !isNotEqual, !isKeyword {
                    let message =
                        "force unwrap: use guard let, or ?? with a value that is right; a nil here ends the whole pipeline"
                    found.append(Finding(path: path, line: index + 1, message: message))
                    break
                }
            }
        }
        return found
    }

    private static func impureInDataPlane(_ path: String, _ source: SwiftText) -> [Finding] {
        let isPure = ["Sources/Detection/", "Sources/Models/", "Sources/RuleLanguage/"].contains(where: path.hasPrefix)
        let isLockFree = ["Sources/Detection/", "Sources/Models/"].contains(where: path.hasPrefix)
        guard isPure else { return [] }
        let clock = "time is an argument here: take it from the event or the epoch, so that a replay is exact"
        let chance =
            "chance is seeded here: take the seed as an argument and hash it with the event, so that a replay is exact"
        let hash = "Swift seeds its hashes per process: use the deployment's keyed hash, so that a replay is exact"
        let lock = "stages are pure and own their state: let the pipeline decide what runs at the same time"
        var bans: [(word: String, instead: String)] = [
            ("ContinuousClock", clock), ("SuspendingClock", clock), ("clock_gettime", clock), ("gettimeofday", clock),
            ("SystemRandomNumberGenerator", chance), (".random(", chance), (".randomElement(", chance),
            (".shuffled(", chance),
            (".shuffle(", chance), ("Hasher()", hash), (".hashValue", hash),
        ]
        if isLockFree { bans += ["async", "await", "Mutex", "Atomic", "Task"].map { ($0, lock) } }
        return source.code.enumerated().flatMap { index, line in
            bans.filter { line.hasWord($0.word) }
                .map { Finding(path: path, line: index + 1, message: "\($0.word) in the data plane: \($0.instead)") }
        }
    }

    /// Public types, functions, subscripts and computed properties without a doc comment.
    ///
    /// Exempt is what the rest explains: initialisers, cases, stored properties and one-line accessors (their type says what they
    /// are), operators, and members that protocols of the standard library define.
    private static func undocumented(_ path: String, _ source: SwiftText, _ requirements: Set<String>) -> [Finding] {
        // The product's own face has no users that read its symbols.
        guard !path.hasPrefix("Sources/weir/") else { return [] }
        var found: [Finding] = []
        for (index, line) in source.code.enumerated() where line.hasWord("public") || line.hasWord("open") {
            guard let name = documentedName(line), !requirements.contains(String(name)), !isDocumented(index, source)
            else { continue }
            let message =
                "public \(name) has no doc comment: one summary line, then units, cost, errors; or make it internal"
            found.append(Finding(path: path, line: index + 1, message: message))
        }
        return found
    }

    private static let kinds: Set<Substring> = [
        "struct", "enum", "class", "actor", "protocol", "func", "subscript", "typealias", "var",
    ]
    private static let standardMembers: Set<Substring> = [
        "description", "debugDescription", "customMirror", "hash", "encode", "next", "makeIterator", "rawValue", "id",
        "startIndex", "endIndex", "errorDescription",
    ]

    /// The name a public declaration on this line must be documented under, or nil.
    private static func documentedName(_ line: String) -> Substring? {
        let words = line.split { $0 == " " || $0 == "\t" }
        guard let access = words.firstIndex(where: { $0 == "public" || $0 == "open" }) else { return nil }
        guard words[..<access].allSatisfy({ $0.hasPrefix("@") || $0.hasSuffix(")") }) else { return nil }
        guard !words.contains("import"), !words.contains("extension") else { return nil }
        guard let kind = words.indices.first(where: { $0 > access && kinds.contains(words[$0].prefix { $0.isLetter }) })
        else {
            return nil
        }
        if words[kind].hasPrefix("subscript") { return "subscript" }
        guard kind + 1 < words.count else { return nil }
        // `class func` and `static var`: the next word is the kind.
        let isNested = words[kind] == "class" && kinds.contains(words[kind + 1])
        let position = isNested ? kind + 1 : kind
        guard position + 1 < words.count else { return nil }
        let name = words[position + 1].prefix { $0.isLetter || $0.isNumber || $0 == "_" || $0 == "`" }
        if name.isEmpty || standardMembers.contains(name) { return nil }
        // A body that stands beside the name: `enum Severity { case error, warning }`.
        if line.hasSuffix("}"), kinds.contains(words[position]), !["func", "class", "var"].contains(words[position]) {
            return words.contains("case") ? nil : name
        }
        // Stored properties, and computed ones whose whole body stands beside the name.
        if words[position] == "var", line.split(separator: " ").last != "{" || line.contains("didSet") { return nil }
        return name
    }

    /// Names of the members that public protocols in this file require.
    static func protocolRequirements(_ text: String) -> Set<String> {
        var names: Set<String> = []
        var isInside = false
        for line in SwiftText(text).code {
            let words = line.split { !($0.isLetter || $0.isNumber || $0 == "_") }
            if line.hasPrefix("public protocol ") { isInside = true }
            if line.hasPrefix("}") { isInside = false }
            guard isInside, let kind = words.firstIndex(where: { $0 == "func" || $0 == "var" }), kind + 1 < words.count
            else {
                continue
            }
            names.insert(String(words[kind + 1]))
        }
        return names
    }

    private static func isDocumented(_ index: Int, _ source: SwiftText) -> Bool {
        var above = index - 1
        while above >= 0 {
            let line = source.lines[above].trimmed
            if line.hasPrefix("///") || line.hasSuffix("*/") { return true }
            // Attributes and conditions may stand between.
            guard line.hasPrefix("@") || line.hasPrefix("#if") else { return false }
            above -= 1
        }
        return false
    }

    /// Promises the compiler cannot check, without a line that says who keeps them.
    ///
    /// For `Unmanaged` the promise is made where an object is passed, not where a callback takes it up again.
    private static func unexplained(_ path: String, _ source: SwiftText) -> [Finding] {
        let words = ["@unchecked Sendable", "passRetained(", "passUnretained(", "nonisolated(unsafe)"]
        var found: [Finding] = []
        for (index, line) in source.code.enumerated() {
            guard let word = words.first(where: line.hasWord) else { continue }
            var above = index - 1
            while above >= 0, source.lines[above].trimmed.hasPrefix("@") { above -= 1 }
            let hasComment = above >= 0 && source.lines[above].trimmed.hasPrefix("//")
            // Two lines that belong together share the comment above the first.
            let follows = above >= 0 && words.contains(where: source.code[above].hasWord)
            if !hasComment, !follows {
                let message = "\(word) without a comment directly above: say which lock, thread or owner keeps it true"
                found.append(Finding(path: path, line: index + 1, message: message))
            }
        }
        return found
    }
}

extension String {
    /// Without blanks at both ends.
    var trimmed: String {
        var rest = self[...]
        while let first = rest.first, first.isWhitespace { rest.removeFirst() }
        while let last = rest.last, last.isWhitespace { rest.removeLast() }
        return String(rest)
    }
}
