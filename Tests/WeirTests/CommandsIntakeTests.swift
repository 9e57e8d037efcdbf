import Foundation
import Testing

/// What people are told of records and fields that were not as they should be.
@Suite(.enabled(if: WeirProgram.path != nil, Commands.absence))
struct CommandsIntakeTests {
    private let folder: Commands.Folder
    private let quickstart = Commands.topology("quickstart")

    init() throws { folder = try Commands.Folder() }

    private func order(_ n: Int) -> String {
        "{\"id\":\"o\(n)\",\"ts\":\(1_772_618_400_000 + n * 1000),\"account\":\"ada\",\"amount\":2.00}\n"
    }

    private func replay(_ text: String, _ more: String...) throws -> WeirProgram.Result {
        let input = try folder.write("in.jsonl", text)
        return try WeirProgram.run(
            try #require(WeirProgram.path),
            ["replay", "--topology", quickstart, "--input", input] + more
        )
    }

    @Test func `a replay of nothing but dead letters ends with exit code 3 and says why`() throws {
        let result = try replay(String(repeating: "{\"id\":\"o\",\"ts\":1772618400000,\"acount\":\"a\"}\n", count: 20))
        #expect(result.code == 3, "\(result)")
        #expect(
            result.output.contains("missing_field 20, account, first in \(folder.path("in.jsonl")):1"),
            "\(result.output)"
        )
        #expect(result.errors.contains("every record was a dead letter"), "\(result.errors)")
        // One event is enough, and so is a file without a record.
        #expect(try replay("no json\n" + order(1)).code == 0)
        #expect(try replay("\n").code == 0)
    }

    @Test func `a field that was never there and a tenth of dead letters are warned about`() throws {
        let renamed = (0..<5).map { order($0).replacingOccurrences(of: "amount", with: "amuont") }.joined()
        let result = try replay(renamed)
        #expect(
            result.code == 0
                && result.errors.contains(
                    "field 'amount' (path 'amount') was missing in all 5 records of event 'order'"
                ),
            "\(result)"
        )
        #expect(result.output.contains("order.amount  missing 5"), "\(result.output)")
        #expect(try !replay((0..<5).map { order($0) }.joined()).errors.contains("warning"))
        let poisoned = try replay((0..<8).map { order($0) }.joined() + "no json\n")
        #expect(poisoned.errors.contains("1 of 9 records were dead letters"), "\(poisoned)")
    }

    @Test func `the summary as JSON has fields, dead letters and rules`() throws {
        let result = try replay(
            (0..<5).map { order($0) }.joined() + "{\"id\":7}\n{\"id\":\"x\",\"ts\":1772618400000,\"account\":\"b\"}\n",
            "--json"
        )
        let object = try #require(
            try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any],
            "\(result)"
        )
        #expect(object["records"] as? Int == 7 && object["events"] as? Int == 6)
        #expect(object["fields"] as? [String: [String: [String: Int]]] == ["order": ["amount": ["missing": 1]]])
        let dead = try #require(object["dead"] as? [[String: Any]])
        #expect(
            dead.count == 1 && dead[0]["count"] as? Int == 1
                && dead[0]["first"] as? String == "\(folder.path("in.jsonl")):6"
        )
        let rules = try #require(object["rules"] as? [String: [String: Any]])
        #expect(
            rules["order_burst"]?["undetermined"] as? Int == 0
                && rules["order_burst"]?["lacks"] as? [String: Int] == [:]
        )
    }

    @Test func `a topology is made from a file, fits it, and does not fit another`() throws {
        let input = try folder.write("orders.jsonl", (0..<50).map { order($0) }.joined())
        let made = folder.path("made")
        let result = try Commands.weir("init", input, "--output", made, "--name", "payments")
        #expect(
            result.code == 0 && result.errors.isEmpty && result.output.contains("time ts, id id, subject account"),
            "\(result)"
        )
        #expect(try folder.text("made/topology.yaml").contains("topology: payments\n"))
        #expect(try Commands.weir("check", made, "--against", input).code == 0)
        let again = try Commands.weir("init", input, "--output", made)
        #expect(again.code == 3 && again.errors.contains("exists already"), "\(again)")
        let other = try folder.write(
            "other.jsonl",
            "{\"id\":\"o\",\"ts\":1772618400000,\"acount\":\"a\",\"net\":{\"ip\":\"10.0.0.1\"}}\n"
        )
        let unfit = try Commands.weir("check", made, "--against", other)
        #expect(
            unfit.code == 3
                && unfit.errors.contains(
                    "field 'account' (path 'account') of event 'order' is required and in no record"
                ),
            "\(unfit)"
        )
        #expect(
            unfit.output.contains("      net.ip: { type: string, entity: ip, personal: true }\n"),
            "\(unfit.output)"
        )
        #expect(!unfit.output.contains("10.0.0.1"), "examples are masked")
        let json = try Commands.weir("check", made, "--json", "--against", other).output.split(separator: "\n")
        let object =
            try JSONSerialization.jsonObject(with: Data(try #require(json.last).utf8)) as? [String: [String: Any]]
        #expect(object?["against"]?["fits"] as? Bool == false)
        #expect(try Commands.weir("check", made, "--against", folder.path("absent")).code == 3)
    }
}
