import Foundation
import Telemetry
import Testing

/// Prometheus' tool that tries rules.
private enum Promtool {
    /// `PROMTOOL`, else where scripts/install --tests puts it, else where PATH has it.
    static let path: String? = {
        let environment = ProcessInfo.processInfo.environment
        var places = environment["PROMTOOL"].map { [$0] } ?? []
        places.append(Commands.root.appendingPathComponent(".build/tools/promtool").path)
        places += (environment["PATH"] ?? "").split(separator: ":").map { "\($0)/promtool" }
        return places.first { FileManager.default.isExecutableFile(atPath: $0) }
    }()
    static let absence: Comment = "no promtool (scripts/install --tests gets it): the alerts are not tried"
}

/// The example alerts: what they ask for exists, and they fire in the outages that they are for and in no other.
@Suite struct AlertsTests {
    private static let file = Commands.root.appendingPathComponent("Sources/weir/alerts.yaml")
    private static let outages = Commands.root.appendingPathComponent("Tests/Fixtures/Alerts/outages.yaml")

    private func promtool(_ arguments: [String]) throws -> WeirProgram.Result {
        try WeirProgram.run(try #require(Promtool.path), arguments)
    }

    @Test(.enabled(if: Promtool.path != nil, Promtool.absence))
    func `each alert fires in its outage after its time, and none in a quiet night`() throws {
        let result = try promtool(["test", "rules", Self.outages.path])
        #expect(result.code == 0 && result.output.contains("SUCCESS"), "\(result.output) \(result.errors)")
    }

    @Test(.enabled(if: Promtool.path != nil, Promtool.absence))
    func `rules that wait too long are found out`() throws {
        let folder = try Commands.Folder()
        let rules = try String(contentsOf: Self.file, encoding: .utf8)
        let slow = try folder.write("alerts.yaml", rules.replacing("> 60\n", with: "> 6000\n"))
        let series = try String(contentsOf: Self.outages, encoding: .utf8)
        let tests = try folder.write(
            "outages.yaml",
            series.replacing("../../../Sources/weir/alerts.yaml", with: slow)
        )
        #expect(try promtool(["test", "rules", tests]).code != 0)
    }

    @Test func `every metric of the alerts and of their outages is one that the page for operators names`() throws {
        let page = try String(
            contentsOf: Commands.root.appendingPathComponent("Sources/weir/README.md"),
            encoding: .utf8
        )
        // A test holds these rows to what a run exports.
        let rows = page.split(separator: "\n").filter { $0.hasPrefix("| `weir_") }
        let known = Set(rows.map { String($0.dropFirst(3).prefix { $0 != "`" && $0 != "{" }) })
        #expect(known.count > 50)
        let alerts = try String(contentsOf: Self.file, encoding: .utf8)
        let series = try String(contentsOf: Self.outages, encoding: .utf8)
        func metrics(_ text: String) -> Set<String> {
            Set(text.matches(of: #/weir_[a-z_]+/#).map { String($0.output) })
        }
        #expect(metrics(alerts).subtracting(known).isEmpty && metrics(series).subtracting(known).isEmpty)
        #expect(metrics(alerts).count > 10)

        // Each alert is tried both ways: silent at one time, and firing at another.
        let names = alerts.matches(of: #/- alert: (\w+)/#).map { String($0.output.1) }
        #expect(names.count == 10)
        for name in names {
            #expect(series.contains("alertname: \(name)}"), "\(name) is never shown silent")
            #expect(series.contains("alertname: \(name)\n        exp_alerts:"), "\(name) is never shown firing")
            #expect(page.contains("`\(name)`"), "the page for operators does not name \(name)")
        }
    }
}
