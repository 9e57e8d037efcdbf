import Testing

@testable import Pipeline

/// What is in force, apart from the topology.
@Suite struct ReleaseTests {
    private static let topology = """
        topology: shop
        events:
          order:
            topic: o
            time: ts
            subject: account
            fields: { ts: timestamp, account: { type: string, entity: account, required: true }, a: int, b: int }
        models:
          anomaly: { features: [a], events: [order] }
        """
    private static let rule = """
        rule many "Many orders of one account" {
          owner "me"  severity medium
          on order
          let orders = count() of order by account over 1h
          when orders > 3
          then review
          because "{orders} orders"
        }
        """

    private static func deployment(_ topology: String = topology, rules: [String: String]) throws -> Deployment {
        let folder = TemporaryFolder()
        folder.write(topology, "topology.yaml")
        folder.makeFolder("rules")
        for (name, text) in rules { folder.write(text, "rules/\(name).weir") }
        return try withExtendedLifetime(folder) { try Deployment(folder: folder.path) }
    }

    @Test func `rules and inputs of models change the release and leave the topology as it is`() throws {
        let base = try Self.deployment(rules: ["a": Self.rule])
        let changes = try [
            Self.deployment(rules: ["a": Self.rule.replacing("> 3", with: "> 4")]),
            Self.deployment(rules: ["a": Self.rule.replacing("then review", with: "mode shadow\n  then review")]),
            Self.deployment(rules: ["a": Self.rule, "b": Self.rule.replacing("rule many", with: "rule more")]),
            Self.deployment(Self.topology.replacing("[a]", with: "[b]"), rules: ["a": Self.rule]),
            Self.deployment(Self.topology.replacing("[a]", with: "[a, b]"), rules: ["a": Self.rule]),
        ]
        #expect(Set((changes + [base]).map(\.release.digest)).count == 6)
        #expect(changes.allSatisfy { $0.topologyDigest == base.topologyDigest })
    }

    @Test func `a release's shape is its windows, who reads them, and what models read`() throws {
        let feature = "feature seen = count() of order by account over 2h\n"
        let reads = Self.topology.replacing("[a]", with: "[seen]")
        func shape(_ rules: String, of topology: String = Self.topology) throws -> String {
            try Self.deployment(topology, rules: ["a": rules]).release.stateShape
        }
        let base = try shape(Self.rule)
        for same in try [
            shape(Self.rule.replacing("> 3", with: "> 4")),
            shape(Self.rule.replacing("then review", with: "mode shadow\n  then block")),
            shape(Self.rule + Self.rule.replacing("rule many", with: "rule more")),
            shape(
                Self.rule.replacing("let orders", with: "let n").replacing("orders >", with: "n >").replacing(
                    "{orders}",
                    with: "{n}"
                )
            ),
        ] { #expect(same == base) }
        let others = try [
            base, shape(Self.rule.replacing("1h", with: "2h")),
            shape(feature + Self.rule),
            shape(
                Self.rule.replacing(
                    "when orders",
                    with: "let b1 = sum(b) of order by account over 1h\n  when b1 > 2 || orders"
                )
            ),
            shape(Self.rule, of: Self.topology.replacing("[a]", with: "[b]")),
            shape(feature + Self.rule, of: reads),
            // The same name, and another number.
            shape(feature.replacing("2h", with: "1h") + Self.rule, of: reads),
        ]
        #expect(Set(others).count == others.count)
    }

    @Test func `files, comments and the topology do not change a release`() throws {
        let base = try Self.deployment(rules: ["a": Self.rule])
        for same in try [
            Self.deployment(rules: ["z": "// why\n\n" + Self.rule]),
            Self.deployment(
                Self.topology.replacing("topology: shop", with: "topology: shop\nversion: 7"),
                rules: ["a": Self.rule]
            ),
        ] { #expect(same.release.digest == base.release.digest) }
    }
}
