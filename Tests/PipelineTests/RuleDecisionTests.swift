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
        func json(_ value: Any?) throws -> String {
            guard let value else { return "-" }
            return String(
                decoding: try JSONSerialization.data(withJSONObject: value, options: [.sortedKeys]),
                as: UTF8.self
            )
        }
        #expect(
            try verdicts.map { try json($0["decided_by"]) } == [
                "-", #"{"at":40,"policy":"shop"}"#, #"{"rule":"block"}"#, #"{"allow":"trust"}"#,
            ]
        )
        #expect(
            try verdicts.map { try json(($0["event"] as? [String: Any])?["context"]) }[...1] == [
                #"{"account":"ada","id":"o0","phone":null,"weight":null}"#,
                #"{"account":"ada","id":"o1","phone":null,"weight":2}"#,
            ]
        )
        #expect(try verdicts.allSatisfy { try json($0["revision"]) == "-" })
    }
}
