@testable import Detection
import RuleLanguage
import Testing

@testable import Pipeline

@Suite struct IntakeReportTests {
    private let folder = TemporaryFolder()

    /// A shop whose rules lack something now and then.
    private func deployment() throws -> Deployment {
        folder.makeFolder("t")
        folder.write(
            """
            topology: shop
            events:
              order:
                topic: orders
                time: ts
                subject: account
                fields:
                  ts: timestamp
                  account: { type: string, entity: account }
                  amount: { type: money, required: true }
                  os: string
                  country: string
                  tags: list<string>
            rules: [all.weir]

            """,
            "t/topology.yaml"
        )
        folder.write(
            """
            rule dear "Dear" { on order when amount > 5000 unless os == "kiosk" then review because "{amount}" }
            rule abroad "Abroad" { on order when country == "XX" && os == "ios" then review because "x" }
            rule never "Never" { on order when size(tags) > 0 then review because "x" }
            rule heavy "Heavy" { on order when "aaaaaaaaaaaaaaaaaaaa".size() > 0 then tag "x" because "x" }

            """,
            "t/all.weir"
        )
        return try Deployment(folder: folder.file("t"))
    }

    private func replay(_ lines: [String], threads: Int = 1) throws -> ReplaySummary {
        folder.write(lines.map { $0 + "\n" }.joined(), "in.jsonl")
        return try FileReplay(
            deployment(),
            inputs: [folder.file("in.jsonl")],
            outputs: ReplayOutputs(),
            threads: threads
        ).run()
    }

    private func order(_ n: Int, _ more: String = "") -> String {
        "{\"ts\":\(1_767_571_200_000 + n),\"account\":\"a\",\"amount\":\(n % 100)\(more)}"
    }

    @Test(arguments: [1, 2, 4]) func `fields and rules are counted as they came, on any number of threads`(threads: Int)
        throws
    {
        var lines: [String] = []
        var missing = ["os": 0, "country": 0]
        var (excepted, undecided, fired, undetermined) = (0, 0, 0, 0)
        for n in 0..<10_000 {
            let os = ["ios", "kiosk", nil][n % 3]
            let country = ["XX", "NO", nil, "SE", "DK"][n % 5]
            lines.append(
                order(n, (os.map { ",\"os\":\"\($0)\"" } ?? "") + (country.map { ",\"country\":\"\($0)\"" } ?? ""))
            )
            if os == nil { missing["os", default: 0] += 1 }
            if country == nil { missing["country", default: 0] += 1 }
            if n % 100 > 50 {
                if os == "kiosk" { excepted += 1 } else { fired += 1 }
                if os == nil { undecided += 1 }
            }
            // One that decides absorbs what is missing on the other side.
            if country == nil && os != "kiosk" || os == nil && country == "XX" { undetermined += 1 }
        }
        let report = try replay(lines, threads: threads).intake
        let fields = report.oddFields.map { "\(report.name($0)) \($0[.missing])" }
        #expect(
            fields == [
                "order.os \(missing["os"] ?? 0)", "order.country \(missing["country"] ?? 0)", "order.tags 10000",
            ]
        )
        #expect(report.judged == [10_000])
        let dear = report.rules[0]
        #expect([dear.fired, dear.excepted, dear.undecided, dear.undetermined] == [fired, excepted, undecided, 0])
        #expect(dear.lacks.isEmpty && dear.exceptionLacks == ["os": undecided])
        #expect(
            report.rules[1].undetermined == undetermined && report.rules[1].lacks.values.reduce(0, +) == undetermined
        )
        #expect(Set(report.rules[1].lacks.keys) == ["os", "country"])
        #expect(
            report.warnings(records: 10_000) == [
                "field 'tags' (path 'tags') was missing in all 10000 records of event 'order'",
                "rule 'never' could never be decided, for lack of 'tags'",
            ]
        )
    }

    @Test func `dead letters are told by reason and field, with the first place and what stood there, masked`() throws {
        let lines =
            [order(1), "{\"ts\":\"1/12/2010 8:26\",\"account\":\"a\",\"amount\":1}", "no json", order(2)]
            + (0..<3).map { order($0).replacing("\"amount\":", with: "\"amount\":\"Ada's \($0)\",\"x\":") }
        let summary = try replay(lines)
        let told = summary.intake.dead.map { "\($0.code.name) \($0.path ?? "-") \($0.count) \($0.first) \($0.example)" }
        let path = folder.file("in.jsonl")
        #expect(
            told == [
                "invalid_timestamp ts 1 \(path):2 9/99/9999 9:99", "invalid_json - 1 \(path):3 aaaa",
                "wrong_type amount 3 \(path):5 aaa'a 9",
            ]
        )
        #expect(summary.intake.warnings(records: 7).last == "5 of 7 records were dead letters")
        // A tenth is no news.
        let few = try replay((0..<9).map { order($0, ",\"tags\":[\"x\"]") } + ["no json"])
        #expect(!few.intake.warnings(records: 10).contains { $0.contains("dead") })
    }

    @Test func `what is too much to be told apart is counted by its reason, and none is lost`() throws {
        let deployment = try deployment()
        var report = IntakeReport(deployment, deadMax: 2)
        let letters: [(DeadLetterCode, Int32)] = [
            (.invalidJSON, -1), (.wrongType, 0), (.wrongType, 1), (.missingField, 1), (.wrongType, 2), (.wrongType, 0),
            (.missingField, 2), (.invalidJSON, -1),
        ]
        for (code, path) in letters {
            report.add(DeadLetter(code, path: path), deployment.decodePlan, topic: "orders", isCSV: false, value: nil) {
                ""
            }
        }
        let told = report.dead.map { "\($0.code.name) \($0.path == nil ? "-" : "path") \($0.count)" }
        #expect(told == ["invalid_json - 2", "wrong_type path 2", "wrong_type - 2", "missing_field - 2"])
    }

    @Test func `what happened since an earlier report is the difference`() throws {
        let deployment = try deployment()
        var report = IntakeReport(deployment)
        let plan = deployment.decodePlan
        func add(_ letter: DeadLetter) {
            report.add(letter, plan, topic: "orders", isCSV: false, value: nil) { "here" }
        }
        add(.tooLarge(limit: 1))
        let earlier = report
        #expect(report.since(earlier).isEmpty && !report.isEmpty)
        add(.tooLarge(limit: 1))
        add(.tooLarge(limit: 1))
        #expect(report.since(earlier).dead.map(\.count) == [2])
    }
}
