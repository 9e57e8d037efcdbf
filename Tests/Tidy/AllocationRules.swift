/// Where the data plane may ask for memory by hand: in `OwnedBuffer` alone, which gives it back when its owner goes.
///
/// The list of exceptions says how often and only shrinks: a file is a finding when it has more, and when it has fewer.
enum AllocationRules {
    /// Files with memory of their own making, and how many places in them ask for some or give it back.
    static let byHand: [String: Int] = [
        // The owned buffer itself: `malloc`, `calloc`, `realloc`, `free`.
        "Sources/Models/OwnedBuffer.swift": 4,
        // RuleLanguage imports nothing of the house, and so does not see the owned buffer.
        //
        // The header lies behind a pointer, so that a reader pays no exclusivity check; its tables are made twice.
        "Sources/RuleLanguage/Programs/CodeUnit.swift": 11,
        // The registers of a thread, copied as pointers.
        "Sources/RuleLanguage/Programs/Machine.swift": 12,
        // The outcomes of an event, lent as pointers.
        "Sources/RuleLanguage/Evaluator.swift": 3,
        // The tables of the judging loop.
        "Sources/RuleLanguage/Rules/RuleSet+Storage.swift": 4,
    ]

    private static let dataPlane = ["Sources/Detection/", "Sources/Models/", "Sources/RuleLanguage/"]
    private static let calls = [
        "allocate(capacity:", "allocate(byteCount:", "deallocate()", "malloc(", "calloc(", "realloc(", "free(", "mmap(",
        "munmap(", "mremap(", "aligned_alloc(", "posix_memalign(",
    ]

    /// Places in a file that are not on the list, or the list's entry where it says more than there are.
    static func findings(_ path: String, _ source: SwiftText, allowed: [String: Int] = byHand) -> [Finding] {
        guard dataPlane.contains(where: path.hasPrefix) else { return [] }
        let places = source.code.enumerated().flatMap { index, line in
            [Int](repeating: index + 1, count: count(line))
        }
        let most = allowed[path] ?? 0
        if places.count > most {
            let message =
                "memory by hand: an OwnedBuffer gives it back where its owner goes; \(places.count) places, \(most) allowed"
            return [Finding(path: path, line: places.last ?? 1, message: message)]
        }
        if places.count < most {
            let message =
                "\(places.count) places with memory by hand, and AllocationRules.byHand allows \(most): say \(places.count) "
                + "there, or take it off, so that it stays so"
            return [Finding(path: path, line: 1, message: message)]
        }
        return []
    }

    /// How many calls on a line ask for memory or give it back; not their declarations.
    private static func count(_ line: String) -> Int {
        calls.reduce(0) { sum, call in
            line.ranges(of: call).count { range in
                let before = line[..<range.lowerBound]
                let isOther = before.last.map { $0.isLetter || $0.isNumber || $0 == "_" } ?? false
                return !isOther && !before.hasSuffix("func ")
            } + sum
        }
    }
}
