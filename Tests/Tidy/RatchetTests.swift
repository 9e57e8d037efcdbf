import Testing

/// The rules with lists of exceptions: each can fail, and each list can only shrink.
@Suite struct RatchetTests {
    private let path = "Sources/Pipeline/A.swift"

    private func function(_ lines: Int, named name: String = "long") -> String {
        "struct A {\n    func \(name)(_ a: Int) -> Int {\n" + String(repeating: "        a\n", count: lines - 2)
            + "    }\n}\n"
    }

    @Test func `a file that is too long is found, and one on the list that has grown or no longer needs it`() {
        let most = SizeRules.fileLinesMax
        #expect(SizeRules.fileFindings(path, most) == [])
        #expect(SizeRules.fileFindings(path, most + 1).count == 1)
        let allowed = [path: most + 50]
        #expect(SizeRules.fileFindings(path, most + 50, allowed: allowed) == [])
        #expect(SizeRules.fileFindings(path, most + 51, allowed: allowed).count == 1)
        #expect(
            SizeRules.fileFindings(path, most + 49, allowed: allowed).map { $0.message.contains("say \(most + 49)") }
                == [true]
        )
        #expect(
            SizeRules.fileFindings(path, most, allowed: allowed).map { $0.message.contains("take it off") } == [true]
        )
        let line = "let a = 1\n"
        #expect(TidyRules.findings(path: path, text: String(repeating: line, count: most)) == [])
        #expect(TidyRules.findings(path: path, text: String(repeating: line, count: most + 1)).count == 1)
        #expect(TidyRules.findings(path: "README.md", text: String(repeating: line, count: 2_000)) == [])
    }

    @Test func `a function that is too long is found, and an exception that is none any more`() {
        let most = SizeRules.functionLinesMax
        func found(_ text: String, _ allowed: [String: Int] = [:]) -> [String] {
            SizeRules.functionFindings(path, SwiftText(text), allowed: allowed).map(\.description)
        }
        #expect(found(function(most)) == [])
        #expect(found(function(most + 1)).map { $0.hasPrefix("\(path):2: long has \(most + 1) lines") } == [true])
        let allowed = ["\(path): long": most + 9]
        #expect(found(function(most + 9), allowed) == [])
        #expect(found(function(most + 10), allowed).map { $0.contains("leave work to functions") } == [true])
        #expect(found(function(most + 8), allowed).map { $0.contains("say \(most + 8) there") } == [true])
        #expect(found(function(most + 9) + function(most + 2), allowed) == [])
        #expect(found(function(most), allowed).map { $0.contains("take it off") } == [true])
        #expect(found(function(most), ["Sources/Pipeline/B.swift: long": most + 9]) == [])
    }

    @Test(arguments: [
        ("func a() {\n}", ["a 2"]),
        ("  public static func a<B>(_ b: B) throws(C) -> [B] where B: D {\n    b\n}", ["a 3"]),
        ("init(a: Int) {\n}", ["init 2"]), ("public convenience init?<A>(\n  a: A\n) {\n}", ["init 4"]),
        ("subscript(a: Int) -> Int {\n  a\n}", ["subscript 3"]), ("deinit {\n}", ["deinit 2"]),
        ("@Test func `a b`() {\n}", ["a b 2"]), ("func a() { b { c in\n}\n}", ["a 3"]),
        ("func a(_ b: () -> Int = { 1 }) {\n}", ["a 2"]), ("func a() {\n  func b() {\n  }\n}", ["a 4", "b 2"]),
        ("protocol A {\n  func a()\n  func b()\n}\nfunc c() {}", ["c 1"]),
        ("import func Glibc.exp\nstruct A {\n}", []), ("let a = b.init(c)\nif d {\n}", []),
        ("func a() -> String {\n  \"}\" // }\n}", ["a 3"]),
    ])
    func `functions are found with their length`(text: String, functions: [String]) {
        #expect(SizeRules.functions(SwiftText(text)).map { "\($0.name) \($0.lines)" } == functions)
    }

    @Test func `the rules are held over files`() {
        let most = SizeRules.functionLinesMax
        let tests = "Tests/PipelineTests/ATests.swift"
        #expect(TidyRules.findings(path: tests, text: function(most)) == [])
        #expect(TidyRules.findings(path: tests, text: function(most + 1)).count == 1)
        #expect(TidyRules.findings(path: tests, text: "/// Answers it.\n").count == 1)
    }

    @Test func `a member that nothing reads is found, and a reader of one that is gone`() {
        func found(_ text: String, _ readElsewhere: [String: String] = [:]) -> [String] {
            UnreadMembers.findings([(path, SwiftText(text))], readElsewhere: readElsewhere).map(\.message)
        }
        let text =
            "struct A {\n    public private(set) var used = 1\n    var unused = used\n    static func idle() {}\n}"
        #expect(found(text).map { $0.prefix(20) } == ["nothing reads unused", "nothing reads idle: "])
        #expect(found(text, ["unused": "tests", "idle": "tests"]) == [])
        #expect(found(text, ["unused": "tests: x", "idle": "tests: x"]) == [])
        let open = text.replacing("    var unused", with: "    public var unused")
        #expect(found(open, ["unused": "tests and others", "idle": "tests"]) == [])
        #expect(
            found(open, ["unused": "tests: x", "idle": "tests"]).map { $0.prefix(22) } == ["only tests read unused"]
        )
        #expect(
            found("let a = 1\nlet b = \"\\(a)\"\nlet c = \"b\"").map {
                $0.contains("reads b") || $0.contains("reads c")
            } == [true, true]
        )
        #expect(found("let a = 1\nf(a)", ["b": "tests"]).map { $0.contains("declared nowhere") } == [true])
        #expect(found("func f() {\n    if let a = b {}\n    case let .c(d): d\n}\nf()") == [])
        #expect(found("// unused\nvar unused: Int { 1 }").count == 1)
    }

    @Test func `a comment that is too wide is found`() {
        let most = WordingRules.commentWidthMax
        func found(_ line: String) -> Int { WordingRules.findings(path, SwiftText(line)).count }
        let words = String(repeating: "é", count: most - 8)
        #expect(found("    /// \(words)") == 0)
        #expect(found("    /// \(words)a") == 1)
        #expect(found("    //   \(words)") == 1)
        #expect(found("let a = \"// \(words)aaaaaaaaaaaaaaaa\"") == 0)
        #expect(found("let a = \"\"\"\n// \(words)aaaaaa\n\"\"\"") == 0)
    }

    @Test(arguments: [
        ("/// Answers how many.", 1), ("/// Writes it; answers how many.", 1),
        ("/// Writes it and answers how many.", 1),
        ("/// - Parameter body: answers false to stop.", 1), ("/// Writes it. Answers how many.", 1),
        ("/// Waits until a broker answers.", 0), ("/// A call answers OK.", 0), ("/// What brokers answer.", 0),
        ("// Nobody answers.", 0), ("/// Returns the answers.", 0), ("let a = \"Answers it.\"", 0),
    ])
    func `a function returns, and does not answer`(text: String, count: Int) {
        #expect(WordingRules.findings(path, SwiftText(text)).count == count)
    }
}
