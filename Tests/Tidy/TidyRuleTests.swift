import Testing

/// Every rule can fail: each has bad snippets that it finds and good ones that it leaves alone.
@Suite struct TidyRuleTests {
    private func messages(_ text: String, at path: String = "Sources/Pipeline/A.swift") -> [String] {
        TidyRules.findings(path: path, text: text).map(\.description)
    }

    @Test(arguments: [
        ("let a = try! f()", "try! is banned"), ("let a = b as! Int", "as! is banned"), ("let a = b!", "force unwrap"),
        ("f(a!.b)", "force unwrap"), ("a[0]! += 1", "force unwrap"), ("f()!", "force unwrap"),
        ("var a: Int!", "force unwrap"),
        ("let a = \"\\(b!)\"", "force unwrap"), ("let a = #\"\\#(b!)\"#", "force unwrap"),
        ("let a = \"\"\"\n  x\n  \\(b!)\n  \"\"\"", "A.swift:3: force unwrap"),
        ("fatalError(\"x\")", "fatalError( is banned"),
        ("print(a)", "print( is banned"), ("debugPrint(a)", "debugPrint( is banned"),
        ("/* a /* b */ c */ print(a)", "print( is banned"),
    ])
    func `dangerous code is found`(text: String, message: String) {
        let found = messages(text)
        #expect(found.count == 1 && found[0].contains(message), "\(found)")
    }

    @Test(arguments: [
        "// let a = b!", "/* try! */", "let a = \"b! try! as! print(\"", "let a = #\"b\"!\"#", "if a != b {}",
        "if !a {}",
        "let a = !b", "a !== b", "let a = \"\"\"\n  b! \"c\"! print(\n  \"\"\"", "let a = \"\\\"b!\"",
        "func print(_ a: Int) {}",
        "log.print(a)", "let a = try? f()", "let a = b as? Int", "func `what! now`() {}", "footprint(a)", "f(!a, !b)",
        "let a = \"\\(f(\"b!\"))\"", "#if !DEBUG\n#endif",
    ])
    func `text and harmless code are left alone`(text: String) {
        #expect(messages(text) == [])
    }

    @Test func `the command line may print`() {
        #expect(messages("print(a)", at: "Sources/weir/A.swift") == [])
    }

    @Test(arguments: ["TO" + "DO: later", "FIX" + "ME", "(X" + "XX)"])
    func `reminders are found in every kind of file`(text: String) {
        for path in [
            "Sources/Models/A.swift", "Tests/A/B.swift", "scripts/demo", "README.md", "topologies/a/rules/b.weir",
        ] {
            #expect(messages("// " + text, at: path).count == 1)
        }
        #expect(messages("mktemp -d weir.XXXXXX", at: "scripts/demo") == [])
    }

    @Test func `paths of one machine and unchecked builds are found`() {
        for place in ["/wo" + "rk/a", "/ro" + "ot/a", "/ho" + "me/a"] {
            #expect(messages("let a = \"\(place)\"").count == 1)
            #expect(messages("cd \(place)", at: "scripts/test").count == 1)
        }
        #expect(messages("swift build -Xswiftc -Oun" + "checked", at: "scripts/bench").count == 1)
        #expect(messages("cd \"$root/..\"", at: "scripts/test") == [])
    }

    @Test(arguments: [
        ("Telemetry", "import KafkaClient", "against the arrows"),
        ("KafkaClient", "import Pipeline", "against the arrows"),
        ("Detection", "import Glibc", "imports all of Glibc"),
        ("Models", "public import Glibc", "imports all of Glibc"),
        ("Detection", "import func Glibc.time", "time and chance are arguments"),
        ("Detection", "import Synchronization", "against the arrows"),
        ("Models", "import Detection", "may import nothing"),
        ("RuleLanguage", "import Models", "against the arrows"),
        ("Detection", "import Foundation", "below the console"),
        ("Pipeline", "import FoundationEssentials", "below the console"),
        ("weir", "import Foundation", "below the console"),
        ("Console", "import KafkaClient", "against the arrows"),
        ("Console", "import CSQLite", "which only Pipeline may"),
        ("Pipeline", "internal import CRdKafka", "which only KafkaClient may"),
        ("Detection", "import CRE2", "which only RuleLanguage may"),
        ("Pipeline", "@preconcurrency import Dispatch", "against the arrows"),
        ("Extra", "let a = 1", "not in the table"),
    ])
    func `an import against the arrows is found`(target: String, text: String, message: String) {
        let found = messages("// First.\n" + text, at: "Sources/\(target)/A.swift")
        #expect(found.count == 1 && found[0].contains(message), "\(found)")
    }

    @Test(arguments: [
        ("Telemetry", "import Glibc"), ("KafkaClient", "import CRdKafka"), ("Detection", "import func Glibc.exp"),
        ("Models", "import func Glibc.log"), ("Detection", "public import RuleLanguage"),
        ("Pipeline", "public import Detection"),
        ("weir", "import FoundationEssentials"), ("RuleLanguage", "internal import CRE2"),
        ("Models", "// import Glibc"),
        ("Models", "let important = 1"),
    ])
    func `an import along the arrows is left alone`(target: String, text: String) {
        #expect(messages(text, at: "Sources/\(target)/A.swift") == [])
    }

    @Test(arguments: [
        "let a = ContinuousClock.now", "let a = Int.random(in: 0...1)", "a.shuffled()", "let a = b.hashValue",
        "var a = Hasher()",
        "let a = SystemRandomNumberGenerator()", "func f() async {}", "let a = await f()", "let a = Mutex(0)",
        "let a: Atomic<Int>",
    ])
    func `time, chance and locks are found in the data plane`(text: String) {
        #expect(messages(text, at: "Sources/Detection/A.swift").count == 1)
        #expect(messages(text, at: "Sources/weir/A.swift") == [])
    }

    @Test(arguments: [
        "public func f() {}", "public struct A {}", "public final class A {}", "public struct A { let b: Int }",
        "@inlinable public func f() {}",
        "@inline(__always) public static func f() {}", "  public var a: Int {\n    1\n  }",
        "public subscript(a: Int) -> Int { a }",
        "public typealias A = Int", "public class func f() {}", "// Not a doc comment.\npublic enum A {}",
        "/// Of another.\nlet a = 1\npublic protocol A {}", "public static var a: Int {\n  1\n}",
    ])
    func `a public declaration without words is found`(text: String) {
        let found = messages(text)
        #expect(found.count == 1 && found[0].contains("has no doc comment"), "\(found)")
    }

    @Test(arguments: [
        "/// Does it.\npublic func f() {}", "/// Does it.\n@inlinable\npublic func f() {}", "public init(a: Int) {}",
        "public let a: Int", "public var a: Int", "public var a: Int { 1 }", "public private(set) var a = 1",
        "public var description: String { \"\" }",
        "public static func < (a: A, b: A) -> Bool { true }", "public func hash(into hasher: inout Hasher) {}",
        "func f() {}",
        "public import Detection", "public enum A: Int { case b, c }", "/** Does it. */\npublic func f() {}",
        "\"public func f() {}\"",
    ])
    func `what is documented or explains itself is left alone`(text: String) {
        #expect(messages(text) == [])
    }

    @Test(arguments: [
        "final class A: @unchecked Sendable {}", "let a = Unmanaged.passRetained(b)",
        "let a = Unmanaged<B>.passUnretained(b)", "nonisolated(unsafe) var a = 1",
    ])
    func `a promise without a reason is found`(text: String) {
        #expect(messages(text).count == 1)
        #expect(messages("// The lock keeps it true.\n\n" + text).count == 1)
        #expect(messages("// The lock keeps it true.\n" + text) == [])
        #expect(messages("// The lock keeps it true.\n@available(*, deprecated)\n" + text) == [])
        #expect(messages("// The lock keeps it true.\n" + text + "\n" + text) == [])
    }

    @Test func `what a protocol of ours documents needs no second comment`() {
        let text =
            "public protocol A {\n    /// Does it.\n    func f(_ a: Int) -> Int\n    var b: Int { get }\n}\nfunc g() {}"
        #expect(TidyRules.protocolRequirements(text) == ["f", "b"])
        let conformer = "public func f(_ a: Int) -> Int {\n    a\n}"
        #expect(TidyRules.findings(path: "Sources/Pipeline/A.swift", text: conformer, requirements: ["f"]) == [])
        #expect(TidyRules.findings(path: "Sources/Pipeline/A.swift", text: conformer, requirements: ["b"]).count == 1)
    }

    @Test(arguments: [
        "Thread.sleep(forTimeInterval: 1)", "try await Task.sleep(for: .seconds(1))", "usleep(10)", "sleep(2)",
    ])
    func `a test that waits for a fixed time is found`(text: String) {
        #expect(messages(text, at: "Tests/A/B.swift").count == 1)
        #expect(messages(text, at: "Tests/Waiting/Waiting.swift") == [])
        #expect(messages("// \(text)", at: "Tests/A/B.swift") == [])
        #expect(messages("run(\"\(text)\")", at: "Tests/A/B.swift") == [])
        let python = "    time.sleep(1)"
        #expect(messages(python, at: "Tests/EndToEnd/a.py").map { $0.contains("wait_for") } == [true])
        #expect(messages(python, at: "Tests/EndToEnd/waiting.py") == [])
        #expect(messages("overtime.sleep(1)", at: "Tests/EndToEnd/a.py") == [])
    }

    @Test(arguments: ["usleep(10)", "let a = ContinuousClock.now", "clock_gettime(CLOCK_MONOTONIC, &a)"])
    func `a clock of the machine in the pipeline is found, one that is handed in is not`(text: String) {
        #expect(messages(text, at: "Sources/Pipeline/A.swift").filter { $0.contains("WorkerClock") }.count == 1)
        #expect(messages("clock.pause(for: .seconds(1))", at: "Sources/Pipeline/A.swift") == [])
        #expect(messages(text, at: "Sources/weir/A.swift") == [])
        // What is allowed is so as often as it is there, no more and no less.
        let place = "Sources/Pipeline/Threads/Monitor.swift"
        #expect(messages(text, at: place) == [])
        #expect(messages("\(text)\n\(text)", at: place).count == 2)
        #expect(messages("", at: place).contains { $0.contains("lower it") })
    }

    @Test func `links are resolved from the folder of their file`() {
        #expect(Repository.links("[a](b/c.md#d), [e](#f), [g](https://h.i/j) and [k](../l)") == ["b/c.md", "../l"])
        #expect(Repository.resolve("b/c.md", from: "README.md") == "b/c.md")
        #expect(Repository.resolve("../l", from: "x/y/README.md") == "x/l")
        #expect(Repository.resolve("./m", from: "x/README.md") == "x/m")
    }

    @Test func `a map that names a file that is gone is found`() {
        let files = ["Sources/A/B/C.swift", "Sources/A/D.swift", "Tests/E/F.swift"]
        func found(_ text: String) -> [String] {
            Repository.missing("Sources/A/README.md", text, files: files).map(\.message)
        }
        #expect(found("`B/C.swift`, `D.swift`, `B/`, `Tests/E/F.swift`, `Sources/A`, `a / b`, `x.y`, `weir.*`") == [])
        #expect(found("one\n`B/X.swift` and `G/`").map { $0.split(separator: " ")[3] } == ["B/X.swift,", "G/,"])
        #expect(found("`C.swift`").count == 1)
    }

    @Test func `files in wrong places are found`() {
        let good = [
            "Package.swift", "Sources/A/B.swift", ".ci/run", "scripts/demo", "topologies/a/README.md", ".gitignore",
            "Tests/ATests/BTests.swift", "Tests/ATests/Support/C.swift", "Tests/Tidy/D.swift",
        ]
        #expect(Repository.misplaced(good) { _ in true } == [])
        #expect(Repository.misplaced(good) { _ in false }.map(\.path) == [".ci/run", "scripts/demo"])
        let bad = ["Package.resolved", "notes.txt", "docs/a.md", "demo.db", "Tests/ATests/Support.swift"]
        #expect(Repository.misplaced(bad) { _ in true }.map(\.path) == bad)
    }

    @Test func `a reference that leads nowhere is found`() {
        let code = """
            protocol A { func shared() }
            struct B: A {
                case one(left: Int, Int), two
                let value = f { $0 > 1 }
                init?<T>(from text: T, _ next: (Int, Int) -> Int) {}
                struct C { static func `a name`() {} }
                func g(a b: [Int: Int] = [:], _ c: D<E, F>) -> Int { value.h(x: 1) }
            }
            extension B.C { subscript(at: Int) -> Int { 1 } }
            let c = Set<Int>()
            """
        func found(_ comment: String) -> Int {
            let files = [("Sources/A/B.swift", SwiftText("\(code)\n/// \(comment)\n"))]
            return StaleReferences.findings(files, paths: ["Sources/A/B.swift", "Tests/A/Support/b.py"]).count
        }
        for right in [
            "B", "B/value", "B/shared()", "B/init(from:_:)", "B(from:_:)", "B/g(a:_:)", "g(a:_:)", "g", "B/C",
            "B/C/subscript(at:)", "c",
            "B/one(left:_:)", "B/two", "Set", "Set/insert(_:)", "B/g(a:_:)-(D,_)",
        ] {
            #expect(found("See ``\(right)``.") == 0, "\(right)")
        }
        for wrong in [
            "H", "B/h", "B/g(a:)", "g(x:)", "B/init(from:)", "B/subscript(at:)", "A/value", "H/value", "insert", "h",
            "B/one(_:_:)",
            "B/C/name",
        ] {
            #expect(found("See ``\(wrong)``, ``B``.") == 1, "\(wrong)")
        }
        #expect(found("As `B.swift`, `A/B.swift`, `Sources/A/B.swift`, `Support/b.py` and `*.swift` say.") == 0)
        #expect(found("As `C.swift` and `a.py` say.") == 2)
        #expect(found("``B") == 0)
    }
}
