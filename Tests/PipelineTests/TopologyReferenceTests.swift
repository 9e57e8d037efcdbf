import Detection
import Testing

@testable import Pipeline
@testable import RuleLanguage

/// `topologies/README.md`, `topologies/RULES.md` and what the README says of topologies are held to the tables by which files are
/// read.
@Suite struct TopologyReferenceTests {
    static let reference = PackageFolder.text("topologies/README.md")
    static let rules = PackageFolder.text("topologies/RULES.md")

    /// The lines under a heading of either page, up to the next one.
    private func section(_ title: String) throws -> [Substring] {
        let text = TopologyReferenceTests.reference + "\n" + TopologyReferenceTests.rules
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        let start = try #require(
            lines.firstIndex { $0 == "### \(title)" || $0 == "## \(title)" },
            "a section '\(title)'"
        )
        return Array(lines[(start + 1)...].prefix { !$0.hasPrefix("##") })
    }

    /// The cells of a table's row.
    private func cells(_ row: some StringProtocol) -> [String] {
        String(row).replacing("\\|", with: "¦").split(separator: "|").map { cell in
            String(cell.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
        }
    }

    @Test func `every key of topology.yaml has its row, and no row is of a key that is not there`() throws {
        for (name, keys) in TopologyKeys.sections {
            // The first table of a section is that of its keys.
            let rows = try section(name).drop { !$0.hasPrefix("|") }.prefix { $0.hasPrefix("|") }.dropFirst(2)
            #expect(rows.map { cells($0)[0] } == keys.map { "`\($0)`" }, "\(name)")
        }
        for key in SignalKinds.standard.detectors.map({ $0.kind }) + SignalKinds.standard.models.map({ $0.kind }) {
            #expect(TopologyReferenceTests.reference.contains("`\(key)`"), "\(key)")
        }
        let types = try section("field").drop { !$0.hasPrefix("| type") }.dropFirst(2).prefix { $0.hasPrefix("|") }
        #expect(types.map { cells($0)[0] } == FieldType.allCases.map { "`\($0.rawValue)`" })
    }

    @Test func `the defaults in the reference are those of the code`() throws {
        let (time, limits) = (TimeSettings(), LimitSettings())
        func check(_ name: String, _ defaults: [String: String]) throws {
            for row in try section(name).filter({ $0.hasPrefix("| `") }).map({ cells($0) }) {
                #expect(defaults["\(row[0])"] == row[2], "\(name) \(row[0])")
            }
        }
        func duration(_ value: Int64) -> String { "`\(DurationText.text(milliseconds: value))`" }
        try check(
            "time",
            [
                "`tick`": duration(time.tickMilliseconds), "`lateness`": duration(time.latenessMilliseconds),
                "`late`": time.setsLateAside ? "`set_aside`" : "`judge`", "`future`": duration(time.futureMilliseconds),
                "`idle`": duration(time.idleMilliseconds), "`earliest`": "`2000-01-01`", "`latest`": "`2100-01-01`",
            ]
        )
        #expect(
            time.earliest == DateText.milliseconds("2000-01-01") && time.latest == DateText.milliseconds("2100-01-01")
        )
        try check(
            "limits",
            [
                "`keys`": "`\(limits.keys)`", "`entries_per_key`": "`\(limits.entriesPerKey)`",
                "`dedupe_ids`": "`\(limits.dedupeIds)`", "`events_per_record`": "`\(limits.eventsPerRecord)`",
                "`text_bytes`": "`\(limits.textBytes)`",
                "`record_bytes`": "`\(limits.recordBytes)`",
                "`window`": duration(limits.windowMilliseconds),
            ]
        )
    }

    @Test func `every word of the rule language stands in its section`() throws {
        func check(_ title: String, _ words: [String]) throws {
            let text = try section(title).joined(separator: "\n")
            for word in words {
                // As code, alone or with what belongs to it: `word`, `word x`, `x.word(…)`, `word(…)`.
                let found = ["`\(word)`", "`\(word) ", "`\(word)(", ".\(word)(", ", `\(word)`"].contains {
                    text.contains($0)
                }
                #expect(found, "\(title): \(word)")
            }
        }
        let blocks = try section("Blocks").joined(separator: "\n")
        for block in Parser.blocks { #expect(blocks.contains("| `\(block)` "), "\(block)") }
        try check("Windows", AggregateFunction.allCases.map(\.rawValue) + ["excluding this", "where", "by", "over"])
        try check("Clauses", Parser.clauses)
        try check(
            "Clauses",
            RuleSeverity.allCases.map(\.rawValue) + RuleMode.allCases.map(\.rawValue)
                + MissingPolicy.allCases.map(\.rawValue)
        )
        try check("Actions", Parser.actions + Decision.allCases.map(\.name))
        try check("Expressions", Generator.globalNames + Generator.memberNames)
        try check(
            "Expressions",
            SignalLayout(detectors: ["NAME"], models: ["NAME"]).declarations.map(\.name) + ValueType.documented
        )
        let operators = try section("Expressions").joined(separator: "\n").replacing("\\|", with: "|")
        for sign in Expression.Binary.all + ["!", "&&", "||"] { #expect(operators.contains("`\(sign)`"), "\(sign)") }
        try check(
            "Not there yet",
            Parser.laterBlocks + Parser.laterClauses + Parser.laterActions + Parser.laterAggregates
                + Generator.laterNames
        )
    }

    @Test func `every limit of rules has its row with its bound`() throws {
        let rows = try section("Limits").filter { $0.hasPrefix("|") }.dropFirst(2).map { cells($0) }
        #expect(
            rows.map { "\($0[0]) \($0[1].filter { $0 != "," })" } == RuleLimits.all.map { "\($0.name) \($0.bound)" }
        )
        #expect(rows.allSatisfy { $0.count == 3 })
    }

    @Test func `the README shows the quickstart as it is`() throws {
        let readme = PackageFolder.text("README.md")
        /// The text of the first fenced block behind a mark.
        func block(_ fence: String, after mark: String) throws -> String {
            let parts = try #require(readme.split(separator: mark, maxSplits: 1).last).split(
                separator: "\(fence)\n",
                maxSplits: 1
            )
            return String(try #require(parts.last?.split(separator: "```", maxSplits: 1).first))
        }
        /// A file without the comment it begins with.
        func file(_ path: String) -> String {
            let lines = PackageFolder.text("topologies/quickstart/\(path)").split(
                separator: "\n",
                omittingEmptySubsequences: false
            )
            return lines.drop { $0.hasPrefix("#") || $0.hasPrefix("//") }.joined(separator: "\n")
        }
        #expect(try block("```yaml", after: "declares one event type:") == file("topology.yaml"))
        #expect(try block("```", after: "checked against the fields above:") == file("rules/first.weir"))
    }
}

extension ValueType {
    fileprivate static let documented = ["int", "double", "bool", "string", "timestamp", "duration"]
}

extension Expression.Binary {
    fileprivate static let all = ["<", "<=", ">", ">=", "==", "!=", "in", "+", "-", "*", "/", "%"]
}
