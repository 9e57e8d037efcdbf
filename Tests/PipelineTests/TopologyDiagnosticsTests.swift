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

    @Test func `a model's unknown feature can be blamed at its place later`() throws {
        let topology = try TopologyText.load(
            """
            topology: shop
            events:
              order: { topic: o, time: ts, subject: a, fields: { ts: timestamp, a: { type: string, entity: account } } }
            models:
              anomaly: { features: [order_count_1h, ordr_sum], events: [order] }
            """)
        let model = try #require(topology.anomaly.first)
        #expect(model.features == ["order_count_1h", "ordr_sum"])
        let diagnostic = topology.diagnostic(
            at: model.featureMarks[1], message: "no feature is called 'ordr_sum'",
            suggestion: "did you mean 'order_sum'?")
        #expect(
            diagnostic.rendered == """
                shop/topology.yaml:5:41: error: no feature is called 'ordr_sum'
                   5 |   anomaly: { features: [order_count_1h, ordr_sum], events: [order] }
                     |                                         ^~~~~~~~
                     = did you mean 'order_sum'?

                """)
    }
}
