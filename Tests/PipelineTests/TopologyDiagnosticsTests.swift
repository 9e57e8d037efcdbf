import Glibc
import RuleLanguage
import Testing

@testable import Pipeline

/// One entry of `Fixtures/topology-diagnostics.txt`.
struct GoldenDiagnostic: Sendable, CustomTestStringConvertible {
    var sentence: String
    var yaml: String
    var expected: String
    var testDescription: String { sentence }

    static let path = "Tests/PipelineTests/Fixtures/topology-diagnostics.txt"

    static let all: [GoldenDiagnostic] = {
        var cases: [GoldenDiagnostic] = []
        var isExpected = false
        for line in PackageFolder.text(path).split(separator: "\n", omittingEmptySubsequences: false) {
            if line.hasPrefix("== ") {
                cases.append(GoldenDiagnostic(sentence: String(line.dropFirst(3)), yaml: "", expected: ""))
                isExpected = false
            } else if cases.isEmpty {
                continue
            } else if line == "--" {
                isExpected = true
            } else if isExpected {
                // Blank lines only part the cases.
                if !line.isEmpty { cases[cases.count - 1].expected += line + "\n" }
            } else {
                cases[cases.count - 1].yaml += line + "\n"
            }
        }
        return cases
    }()
}

@Suite struct TopologyDiagnosticsTests {
    @Test func `every mistake of the table is answered word for word`() {
        #expect(GoldenDiagnostic.all.count > 50, "the table \(GoldenDiagnostic.path) is not there")
        if getenv("WEIR_UPDATE_GOLDEN") != nil {
            let head = PackageFolder.text(GoldenDiagnostic.path).split(separator: "\n").prefix { $0.hasPrefix("#") }
            var text = head.joined(separator: "\n") + "\n"
            for item in GoldenDiagnostic.all {
                text += "\n== \(item.sentence)\n\(item.yaml)--\n\(TopologyText.diagnostics(item.yaml))"
            }
            PackageFolder.write(text, to: GoldenDiagnostic.path)
            return
        }
        for item in GoldenDiagnostic.all {
            #expect(TopologyText.diagnostics(item.yaml) == item.expected, "\(item.sentence)")
        }
    }

    @Test func `a folder that is not there, a file, and a folder without a topology are told apart`() {
        func message(_ folder: String) -> [String] {
            do {
                _ = try TopologyDescription.load(folder: folder)
                return []
            } catch {
                return error.diagnostics.map(\.message)
            }
        }
        #expect(message("/nonexistent/shop/") == ["there is no folder '/nonexistent/shop'"])
        let package = "\(PackageFolder.root)/Package.swift"
        #expect(message(package) == ["'\(package)' is a file, not a topology folder"])
        let tests = "\(PackageFolder.root)/Tests"
        #expect(message(tests) == ["the folder '\(tests)' holds no topology.yaml"])
    }

    @Test func `bytes that are no text are refused with their place`() {
        func message(_ bytes: [UInt8]) -> String {
            do {
                _ = try TopologyText.load(bytes: bytes)
                return "none"
            } catch {
                return error.diagnostics.first.map { "\($0.line):\($0.column) \($0.message)" } ?? "none"
            }
        }
        #expect(message(Array("topology: a\nx: ".utf8) + [0xFF]) == "2:4 the file is not valid UTF-8")
        #expect(message(Array("topology: a\nx: \u{0}".utf8)).hasPrefix("2:4 not valid YAML: control characters"))
        #expect(message(Array("topology: \u{1}".utf8)).hasPrefix("1:11 not valid YAML: control characters"))
    }

    @Test func `hostile YAML ends in a diagnostic, not in a stack or memory overflow`() {
        func first(_ yaml: String) -> String {
            do {
                _ = try TopologyText.load(yaml)
                return "none"
            } catch {
                return error.diagnostics.first?.message ?? "none"
            }
        }
        #expect(first(String(repeating: "[", count: 100_000)) == "nested more than 16 deep")
        #expect(first(String(repeating: "{a: ", count: 100_000)) == "nested more than 16 deep")
        #expect(first("a: [\(String(repeating: "x,", count: 60_000))]") == "more than 50000 values in one file")
        #expect(first("a: &a [1, 1]\nb: [*a, *a]\n") == "anchors (&name) are not allowed")
    }

    @Test func `a model's features are checked against the compiled ones, each at its place`() throws {
        let topology = try TopologyText.load(
            """
            topology: shop
            events:
              order: { topic: o, time: ts, subject: a, fields: { ts: timestamp, a: { type: string, entity: account }, n: int } }
              visit: { topic: v, time: ts, subject: a, fields: { ts: timestamp, a: { type: string, entity: account } } }
            models:
              anomaly:
                features: [n, order_count, ordr_count, last_item, item_count]
                events: [order, visit]
            """
        )
        let problems = topology.featureDiagnostics(declared: [
            .init(name: "order_count", type: .int, readingEvents: [0, 1]),
            .init(name: "last_item", type: .string, readingEvents: [0, 1]),
            .init(name: "item_count", type: .int, readingEvents: [0]),
        ])
        #expect(
            problems.map { "\($0.line):\($0.column) \($0.message)" } == [
                "7:16 'n' is neither a declared feature nor a numeric field of event 'visit'",
                "7:32 'ordr_count' is neither a declared feature nor a numeric field of event 'order'",
                "7:44 the model needs numbers, but feature 'last_item' is a string",
                "7:55 feature 'item_count' cannot be read in event 'visit', which has no field for its key",
            ]
        )
        #expect(problems[1].suggestion == "did you mean 'order_count'?")
    }

    @Test func `rule files that are unreadable, too large or no text are named`() throws {
        let folder = TemporaryFolder()
        folder.write(TopologyTests.small, "topology.yaml")
        folder.makeFolder("rules")
        folder.write("// fine\n", "rules/b.weir")
        folder.write("// first\n", "rules/a.weir")
        folder.write("not a rule", "rules/.hidden.weir")
        folder.write("not a rule", "rules/a.weir~")
        let topology = try TopologyDescription.load(folder: folder.path)
        #expect(topology.rules.map(\.path) == ["\(folder.path)/rules/a.weir", "\(folder.path)/rules/b.weir"])
        #expect(topology.rules.map(\.text) == ["// first\n", "// fine\n"])

        folder.makeFolder("rules/c.weir")
        folder.write("", "rules/d.weir", bytes: Array("// a\nrule ".utf8) + [0xFC])
        folder.write("", "rules/f.weir", bytes: [0xFF, 0xFE, 0x72, 0])
        folder.write(String(repeating: " ", count: TopologyDescription.maximumFileBytes + 1), "rules/e.weir")
        do {
            _ = try TopologyDescription.load(folder: folder.path)
            Issue.record("loaded")
        } catch {
            #expect(
                error.diagnostics.map { "\($0.path):\($0.line):\($0.column) \($0.message)" } == [
                    "\(folder.path)/rules/c.weir:1:1 the rule file cannot be read: it is not a regular file",
                    "\(folder.path)/rules/e.weir:1:1 the rule file cannot be read: it is larger than 1048576 bytes",
                    "\(folder.path)/rules/f.weir:1:1 the file is UTF-16, not UTF-8",
                    "\(folder.path)/rules/d.weir:2:6 the file is not valid UTF-8",
                ]
            )
        }
        folder.write(String(repeating: "#", count: TopologyDescription.maximumFileBytes + 1), "topology.yaml")
        do {
            _ = try TopologyDescription.load(folder: folder.path)
            Issue.record("loaded")
        } catch {
            #expect(error.diagnostics.map(\.message) == ["the file is larger than 1048576 bytes"])
        }
    }

    @Test func `a model's unknown feature can be blamed at its place later`() throws {
        let topology = try TopologyText.load(
            """
            topology: shop
            events:
              order: { topic: o, time: ts, subject: a, fields: { ts: timestamp, a: { type: string, entity: account } } }
            models:
              anomaly: { features: [order_count_1h, ordr_sum], events: [order] }
            """
        )
        let model = try #require(topology.models.first).inputs
        #expect(model.features == ["order_count_1h", "ordr_sum"])
        let diagnostic = topology.diagnostic(
            at: model.marks[1],
            message: "no feature is called 'ordr_sum'",
            suggestion: "did you mean 'order_sum'?"
        )
        #expect(
            diagnostic.rendered == """
                shop/topology.yaml:5:41: error: no feature is called 'ordr_sum'
                   5 |   anomaly: { features: [order_count_1h, ordr_sum], events: [order] }
                     |                                         ^~~~~~~~
                     = did you mean 'order_sum'?

                """
        )
    }
}
