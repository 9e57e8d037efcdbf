import Foundation
import RuleLanguage
import Testing

@testable import Pipeline

/// Who says what: each detector and model speaks under its own name, in sentences and in verdicts.
@Suite struct SignalTests {
    private static let event = """
            time: ts
            subject: account
            emit: all
            fields:
              ts: { type: timestamp, format: ms }
              account: { type: string, entity: account, required: true }
              thing: { type: string, required: true }
        """

    private static func detector(_ name: String, _ event: String) -> String {
        "    - { name: \(name), events: [\(event)], actor: account, target: thing, window: 1h, minimum_actors: 3, minimum_targets: 2 }"
    }

    private static let topology = """
        topology: world
        events:
          coupon:
            topic: coupons
        \(event)
          click:
            topic: clicks
        \(event)
          visit:
            topic: visits
        \(event)
        detectors:
          lockstep:
        \(detector("coupon_ring", "coupon"))
        \(detector("click_farm", "click"))
        models:
          anomaly:
            - { name: usual, events: [visit], features: [visits], trees: 5, depth: 4, window: 10 }
            - { name: also_usual, events: [coupon], features: [visits], trees: 5, depth: 4, window: 10 }
        """

    private static let rules = """
        feature visits = count() of visit by account over 5m
        rule redeems_in_step "Redeems in step" {
          owner "promotions" ticket "RISK-7" on coupon, click, visit
          when coupon_ring.size >= 3
          then review
          because "{coupon_ring.size} accounts of ring {coupon_ring.id} redeem the same coupons ({coupon_ring.score})"
        }
        rule clicks_in_step "Clicks in step" {
          on coupon, click, visit
          when click_farm.size >= 3
          then score +10
          because "{click_farm.size} accounts of ring {click_farm.id} click the same items ({click_farm.score})"
        }
        """

    /// Acts of accounts, each on two things.
    private static func acts(_ accounts: [String], on kind: String, from time: Int64) -> [[UInt8]] {
        (0..<2).flatMap { thing in
            accounts.enumerated().map { n, account in
                Array(
                    "{\"ts\":\(time + Int64(thing * 60_000 + n * 100)),\"account\":\"\(account)\",\"thing\":\"\(kind)\(thing)\"}"
                        .utf8
                )
            }
        }
    }

    /// Ada redeems with three others and clicks with four; then each of them comes to see.
    private static func verdicts() throws -> [String: [String: Any]] {
        let deployment = try WorkerTopology.load(topology, rules: rules)
        let start: Int64 = 1_767_600_000_000
        let store = SimulatedStore(clock: start)
        let log = SimulatedLog(store)
        try log.create(["coupons", "clicks", "visits"].map { TopicRequirement(name: $0, partitions: 1) })
        func runToEnd() throws {
            let worker = Worker(deployment, log: SimulatedLog(store), threads: 1)
            try worker.run { worker.isReady }
        }
        // An honest crowd first, so that the population is not only the rings.
        for n in 0..<200 {
            store.append(
                TopicPartition("coupons", 0),
                key: nil,
                value: Array("{\"ts\":\(start + Int64(n)),\"account\":\"crowd\(n)\",\"thing\":\"own\(n)\"}".utf8)
            )
        }
        for act in acts(["ada", "bob", "cyd", "cat"], on: "SAVE", from: start + 60_000) {
            store.append(TopicPartition("coupons", 0), key: nil, value: act)
        }
        for act in acts(["ada", "dan", "eve", "fay", "gus"], on: "item", from: start + 60_000) {
            store.append(TopicPartition("clicks", 0), key: nil, value: act)
        }
        try runToEnd()
        for (n, account) in ["ada", "bob", "dan", "crowd1"].enumerated() {
            store.append(
                TopicPartition("visits", 0),
                key: nil,
                value: Array(
                    "{\"ts\":\(start + 240_000 + Int64(n)),\"account\":\"\(account)\",\"thing\":\"door\"}".utf8
                )
            )
        }
        try runToEnd()
        var found: [String: [String: Any]] = [:]
        for partition in Int32(0)..<4 {
            for record in store.records(of: TopicPartition(OutputTopics.verdicts, partition)) {
                let body = try #require(
                    try JSONSerialization.jsonObject(with: Data(record.value ?? [])) as? [String: Any]
                )
                guard let event = body["event"] as? [String: Any], event["type"] as? String == "visit" else { continue }
                let subject = try #require(body["subject"] as? [String: Any])
                found[try #require(subject["id"] as? String)] = body
            }
        }
        return found
    }

    @Test func `no rule's sentence speaks of another detector's ring`() throws {
        let verdicts = try Self.verdicts()
        #expect(verdicts.count == 4)
        /// The rings of a verdict by detector, as `size id score`.
        func rings(_ account: String) -> [String: (size: Int, id: String, score: Double)] {
            var found: [String: (size: Int, id: String, score: Double)] = [:]
            for ring in verdicts[account]?["rings"] as? [[String: Any]] ?? [] {
                guard let detector = ring["detector"] as? String, let size = ring["size"] as? Int,
                    let id = ring["id"] as? String, let score = ring["score"] as? Double
                else { continue }
                found[detector] = (size, id, score)
            }
            return found
        }
        func sentences(_ account: String) -> [String] {
            (verdicts[account]?["reasons"] as? [[String: Any]] ?? []).compactMap { $0["text"] as? String }
        }
        let ada = rings("ada")
        #expect(ada.keys.sorted() == ["click_farm", "coupon_ring"])
        let coupons = try #require(ada["coupon_ring"])
        let clicks = try #require(ada["click_farm"])
        #expect(coupons.size == 4 && clicks.size == 5 && coupons.id != clicks.id && coupons.id.utf8.count == 16)
        #expect(
            sentences("ada") == [
                "4 accounts of ring \(coupons.id) redeem the same coupons (\(coupons.score))",
                "5 accounts of ring \(clicks.id) click the same items (\(clicks.score))",
            ]
        )
        #expect(rings("bob").keys.sorted() == ["coupon_ring"] && rings("bob")["coupon_ring"]?.id == coupons.id)
        #expect(sentences("bob") == [sentences("ada")[0]])
        #expect(rings("dan").keys.sorted() == ["click_farm"] && rings("dan")["click_farm"]?.id == clicks.id)
        #expect(sentences("dan") == [sentences("ada")[1]])
        #expect(verdicts["crowd1"]?["rings"] == nil && sentences("crowd1") == [])
    }

    @Test func `a reason names its rule's title, owner and ticket, and a rule that only scores has no decision`() throws
    {
        let verdicts = try Self.verdicts()
        let reasons = try #require(verdicts["ada"]?["reasons"] as? [[String: Any]])
        #expect(reasons.map { $0["title"] as? String } == ["Redeems in step", "Clicks in step"])
        #expect(reasons.map { $0["owner"] as? String } == ["promotions", nil])
        #expect(reasons.map { $0["ticket"] as? String } == ["RISK-7", nil])
        #expect(reasons.map { $0["decision"] as? String } == ["review", nil])
        #expect(verdicts["ada"]?["decided_by"] as? [String: String] == ["rule": "redeems_in_step"])
        // Ten points and no policy decide nothing.
        #expect(verdicts["dan"]?["decision"] as? String == "allow" && verdicts["dan"]?["decided_by"] == nil)
    }

    @Test func `rules see the groups of the topology's detectors and models, and no others`() throws {
        func mistakes(_ condition: String, topology: String = Self.topology) throws -> [String] {
            do {
                _ = try WorkerTopology.load(
                    topology,
                    rules: """
                        feature visits = count() of visit by account over 5m
                        rule r "R" { on visit when \(condition) then review }
                        """
                )
                return []
            } catch let error as DiagnosticError {
                return error.diagnostics.map { "\($0.message): \($0.suggestion ?? "")" }
            }
        }
        #expect(try mistakes("usual.score > 0.9 && also_usual.score > 0.9 && click_farm.id != \"\"") == [])
        #expect(
            try mistakes("coupon_rings.size >= 3") == [
                "no field or signal 'coupon_rings.size' in event 'visit': did you mean 'coupon_ring.size'?"
            ]
        )
        #expect(
            try mistakes("ring.size >= 3") == [
                "no field or signal 'ring.size' in event 'visit': signals are named after their detector or model: coupon_ring.size, click_farm.size"
            ]
        )
        #expect(
            try mistakes("anomaly.score > 0.9") == [
                "no field or signal 'anomaly.score' in event 'visit': signals are named after their detector or model: coupon_ring.score, click_farm.score, usual.score, also_usual.score"
            ]
        )
        let bare = String(Self.topology.prefix(upTo: try #require(Self.topology.range(of: "detectors:")).lowerBound))
        #expect(
            try mistakes("ring.size >= 3", topology: bare) == [
                "no field or signal 'ring.size' in event 'visit': the topology declares no detector and no model"
            ]
        )
    }
}
