import Testing

/// Memory by hand is found, and the list of where it may be can only shrink.
@Suite struct AllocationRuleTests {
    private let path = "Sources/Detection/A.swift"

    private func found(_ text: String, _ path: String? = nil, _ allowed: [String: Int] = [:]) -> [String] {
        AllocationRules.findings(path ?? self.path, SwiftText(text), allowed: allowed).map(\.message)
    }

    @Test(arguments: [
        ("a = .allocate(capacity: 1)", 1), ("let a = UnsafeMutablePointer<Int>.allocate(capacity: 1)", 1),
        ("let a = UnsafeMutableRawPointer.allocate(byteCount: 1, alignment: 16)", 1), ("a.deallocate()", 1),
        ("a.deinitialize(count: 1).deallocate()", 1), ("malloc(1)", 1), ("free(realloc(a, 1))", 1),
        ("mmap(nil, 1, 2, 3, -1, 0)", 1), ("posix_memalign(&a, 1, 2)", 1), ("let a = arena.allocate(bytes: 1)", 0),
        ("let a = into ?? allocate()", 0), ("func deallocate() {", 0), ("weir_re2_free(a)", 0),
        ("import func Glibc.free", 0), ("// malloc(1)", 0), ("let a = \"malloc(1)\"", 0), ("var free = 1", 0),
    ])
    func `memory by hand is found where it is made and where it is given back`(text: String, count: Int) {
        #expect(found(text).count == count)
    }

    @Test func `only the data plane is looked at`() {
        for folder in ["Detection/State", "Models", "RuleLanguage/Programs"] {
            #expect(found("malloc(1)", "Sources/\(folder)/A.swift").count == 1)
        }
        for file in ["Sources/Pipeline/A.swift", "Sources/KafkaClient/A.swift", "Tests/DetectionTests/ATests.swift"] {
            #expect(found("malloc(1)", file) == [])
        }
    }

    @Test func `an exception allows what there is, no more and no less`() {
        let two = "let a = malloc(1)\nfree(a)"
        #expect(found(two, nil, [path: 2]) == [])
        #expect(found(two, nil, [path: 1]).map { $0.contains("2 places, 1 allowed") } == [true])
        #expect(found(two, nil, [path: 3]).map { $0.contains("say 2") } == [true])
        #expect(found("let a = 1", nil, [path: 1]).map { $0.contains("take it off") } == [true])
    }

    @Test func `every file is looked at, and no exception is for one that is gone`() throws {
        #expect(TidyRules.findings(path: path, text: "let a = malloc(1)\n").count == 1)
        #expect(Set(AllocationRules.byHand.keys).subtracting(try Repository().files()) == [])
    }
}
