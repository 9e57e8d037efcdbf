import Foundation
import Testing

@testable import Pipeline

/// What rules' outcomes become in a verdict, from the record to the record.
@Suite struct RuleDecisionTests {
    private static let topology = """
        topology: world
        events:
          order:
            topic: orders
            time: ts
            id: id
            subject: account
            emit: all
            fields:
              id: string
              ts: { type: timestamp, format: ms }
              account: { type: string, entity: account }
              weight: double
        """

    /// The verdicts on orders of these weights; nil is an order without one.
    private static func verdicts(
        _ rules: String,
        _ weights: [Double?],
        topology: String = topology
    ) throws -> [[String: Any]] {
        let store = SimulatedStore(clock: 1_767_600_000_000)
        let log = SimulatedLog(store)
        try log.create([TopicRequirement(name: "orders", partitions: 1)])
        for (n, weight) in weights.enumerated() {
            let field = weight.map { ",\"weight\":\($0)" } ?? ""
            store.append(
                TopicPartition("orders", 0),
                key: nil,
                value: Array("{\"ts\":\(1_767_600_000_000 + n),\"id\":\"o\(n)\",\"account\":\"ada\"\(field)}".utf8)
            )
        }
        let worker = Worker(try WorkerTopology.load(topology, rules: rules), log: log, threads: 1)
        try worker.run { worker.isReady }
        let records = (Int32(0)..<4).flatMap { store.records(of: TopicPartition(OutputTopics.verdicts, $0)) }
        return try records.map {
            try #require(try JSONSerialization.jsonObject(with: Data($0.value ?? [])) as? [String: Any])
        }
    }

    private static func said(_ verdict: [String: Any]) -> String {
        func names(_ list: String) -> String {
            ((verdict[list] as? [[String: Any]]) ?? []).compactMap { $0["rule"] as? String }.joined(separator: " ")
        }
        return
            "\(verdict["decision"] ?? "") \(verdict["score"] ?? ""); spoke: \(names("reasons")); shadow: \(names("shadow")); undetermined: \(names("undetermined"))"
    }

    @Test func `an undetermined rule does what its missing clause says`() throws {
        let skip = "rule skip \"S\" { on order when weight > 1.0 then block, score +60, score -10 }\n"
        let fire = "rule fire \"F\" { on order when weight > 1.0 then challenge \"otp\", score +60 missing fire }\n"
        let review = "rule ask \"A\" { on order when weight > 1.0 then block, score +60 missing review }\n"
        let shadow =
            "rule watch \"W\" { on order when weight > 1.0 then block, score +60 missing review mode shadow }\n"
        func said(_ rules: String) throws -> [String] { try Self.verdicts(rules, [2, nil, 1]).map(Self.said) }
        #expect(
            try said(skip) == [
                "block 50; spoke: skip; shadow: ; undetermined: ", "allow 0; spoke: ; shadow: ; undetermined: skip",
                "allow 0; spoke: ; shadow: ; undetermined: ",
            ]
        )
        #expect(
            try said(fire) == [
                "challenge 60; spoke: fire; shadow: ; undetermined: ",
                "challenge 60; spoke: fire; shadow: ; undetermined: fire", "allow 0; spoke: ; shadow: ; undetermined: ",
            ]
        )
        #expect(
            try said(review) == [
                "block 60; spoke: ask; shadow: ; undetermined: ", "review 0; spoke: ask; shadow: ; undetermined: ask",
                "allow 0; spoke: ; shadow: ; undetermined: ",
            ]
        )
        #expect(
            try said(shadow) == [
                "allow 0; spoke: ; shadow: watch; undetermined: ",
                "allow 0; spoke: ; shadow: watch; undetermined: watch",
                "allow 0; spoke: ; shadow: ; undetermined: ",
            ]
        )
        // Together the severest decides, and scores add up.
        #expect(
            try said(skip + fire + review + shadow)[1]
                == "challenge 60; spoke: fire ask; shadow: watch; undetermined: skip fire ask watch"
        )
    }

    private static func json(_ value: Any?) throws -> String {
        guard let value else { return "-" }
        return String(
            decoding: try JSONSerialization.data(withJSONObject: value, options: [.sortedKeys, .fragmentsAllowed]),
            as: UTF8.self
        )
    }

    @Test func `an exception that cannot be decided does not hold, and the verdict names it`() throws {
        let rule = "rule heavy \"H\" { on order when true unless account == \"eve\" unless weight < 1.0 then block }\n"
        let verdicts = try Self.verdicts(rule, [2, nil, 0.5])
        #expect(
            verdicts.map(Self.said) == [
                "block 0; spoke: heavy; shadow: ; undetermined: ", "block 0; spoke: heavy; shadow: ; undetermined: ",
                "allow 0; spoke: ; shadow: ; undetermined: ",
            ]
        )
        #expect(
            try verdicts.map { try Self.json($0["undecided"]) } == [
                "-", #"[{"field":"weight","rule":"heavy","unless":"weight < 1.0"}]"#, "-",
            ]
        )
        #expect(try Self.json(verdicts[2]["excepted"]) == #"[{"rule":"heavy","unless":"weight < 1.0"}]"#)
        // A condition that lacks the field all the same is as before.
        let both = "rule heavy \"H\" { on order when weight > 0.0 unless weight < 1.0 then block }\n"
        #expect(try Self.verdicts(both, [nil]).map(Self.said) == ["allow 0; spoke: ; shadow: ; undetermined: heavy"])
    }

    @Test func `the reason of an undetermined rule says what it did and what was missing`() throws {
        func reason(_ missing: String, _ weight: Double?) throws -> String {
            let rule =
                "rule r \"R\" { on order when weight > 1.0 then challenge \"otp\", score +60 missing \(missing) }\n"
            let reasons = try Self.verdicts(rule, [weight])[0]["reasons"] as? [[String: Any]]
            let reason = try #require(reasons?.first)
            return try ["decision", "weight", "undetermined", "actions"].map { try Self.json(reason[$0]) }
                .joined(separator: " ")
        }
        #expect(try reason("review", 2) == #""challenge" 60 - [{"challenge":"otp"}]"#)
        #expect(try reason("review", nil) == #""review" 0 "weight" -"#)
        #expect(try reason("fire", 2) == #""challenge" 60 - [{"challenge":"otp"}]"#)
        #expect(try reason("fire", nil) == #""challenge" 60 "weight" [{"challenge":"otp"}]"#)
    }

    @Test func `the counts say what was done`() throws {
        let rules = ["skip", "fire", "review"].map {
            "rule \($0) \"R\" { on order when weight > 1.0 then block missing \($0) }\n"
        }
        let exception = "rule excepted \"E\" { on order when true unless weight > 1.0 then block }\n"
        let folder = TemporaryFolder()
        let events = [2, nil, 0].enumerated().map { n, weight in
            "{\"ts\":\(1_767_600_000_000 + n),\"id\":\"o\(n)\",\"account\":\"ada\"\(weight.map { ",\"weight\":\($0)" } ?? "")}\n"
        }
        save(Array(events.joined().utf8), folder.file("orders.jsonl"))
        let summary = try FileReplay(
            try WorkerTopology.load(Self.topology, rules: rules.joined() + exception),
            inputs: [folder.file("orders.jsonl")],
            outputs: ReplayOutputs(),
            threads: 1
        ).run()
        #expect(summary.intake.rules.map(\.fired) == [1, 2, 1, 2])
        #expect(summary.intake.rules.map(\.undetermined) == [1, 1, 1, 0])
        #expect(summary.intake.rules.map(\.undecided) == [0, 0, 0, 1])
    }

    /// Seven rules of the flagship spare kiosks; none may be talked out of speaking by not telling the device's system.
    @Test func `the flagship's rules fire as often where no device tells its system`() throws {
        let flagship = try Deployment(folder: "\(PackageFolder.root)/topologies/marketplace")
        let folder = TemporaryFolder()
        var spoke = 0
        for name in ["account_takeover", "card_testing", "coupon_ring", "honest"] {
            let path = "\(PackageFolder.root)/topologies/marketplace/samples/\(name).jsonl"
            let text = String(decoding: load(path), as: UTF8.self)
            let bare = text.replacing(/,?"os":"[^"]*"/, with: "").replacing("{,", with: "{")
            #expect(bare != text)
            save(Array(bare.utf8), folder.file("bare.jsonl"))
            let counts = try [path, folder.file("bare.jsonl")].map {
                try FileReplay(flagship, inputs: [$0], outputs: ReplayOutputs(), threads: 1).run()
            }
            #expect(counts[0].counts.deadLetters == 0 && counts[1].counts == counts[0].counts)
            #expect(counts[1].intake.rules.map(\.fired) == counts[0].intake.rules.map(\.fired), "\(name)")
            spoke += counts[1].intake.rules.reduce(0) { $0 + $1.undecided }
        }
        #expect(spoke > 20)
    }

    @Test func `a verdict says who decided and quotes the fields that the topology lists`() throws {
        let rules = """
            rule block "B" { on order when weight > 8.0 then block }
            rule trust "T" { on order when weight > 9.0 then allow }
            rule points "P" { on order when weight > 1.0 then score +50 }
            policy shop { score review at 40 cap 100 }
            """
        let topology =
            Self.topology.replacing("emit: all", with: "emit: all\n    context: [weight, account, id, phone]")
            + "\n      phone: { type: string, personal: true }"
        let verdicts = try Self.verdicts(rules, [nil, 2, 8.5, 9.5], topology: topology)
        #expect(
            try verdicts.map { try Self.json($0["decided_by"]) } == [
                "-", #"{"at":40,"policy":"shop"}"#, #"{"rule":"block"}"#, #"{"allow":"trust"}"#,
            ]
        )
        #expect(
            try verdicts.map { try Self.json(($0["event"] as? [String: Any])?["context"]) }[...1] == [
                #"{"account":"ada","id":"o0","phone":null,"weight":null}"#,
                #"{"account":"ada","id":"o1","phone":null,"weight":2}"#,
            ]
        )
        #expect(try verdicts.allSatisfy { try Self.json($0["revision"]) == "-" })
    }
}
