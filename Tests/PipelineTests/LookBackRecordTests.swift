import Foundation
import Testing

@testable import Pipeline

/// The acts that a ring's record names.
@Suite struct LookBackRecordTests {
    private static func topology(lookBack: String) -> String {
        """
        topology: world
        events:
          redeemed:
            topic: coupons
            time: ts
            id: id
            subject: account
            emit: flagged
            fields:
              id: string
              ts: { type: timestamp, format: ms }
              account: { type: string, entity: account, required: true }
              coupon: { type: string, entity: coupon }
        detectors:
          lockstep:
            - { name: ring, events: [redeemed], actor: account, target: coupon, window: 1h, minimum_actors: 3\(lookBack) }
        """
    }

    /// The records of rings after four accounts have redeemed three coupons, the last of them without an id, and all ticks have
    /// ended.
    private func rings(lookBack: String) throws -> [[String: Any]] {
        let deployment = try WorkerTopology.load(Self.topology(lookBack: lookBack), rules: "")
        let store = SimulatedStore(clock: 1_767_700_000_000)
        let log = SimulatedLog(store)
        try log.create([TopicRequirement(name: "coupons", partitions: 1)])
        var time = 1_767_600_000_000
        func append(_ account: String, _ coupon: String, id: String) {
            time += 1000
            store.append(
                TopicPartition("coupons", 0),
                key: nil,
                value: Array("{\"ts\":\(time),\"account\":\"\(account)\",\"coupon\":\(coupon)\(id)}".utf8)
            )
        }
        // An honest crowd first, so that the population is not only the ring.
        for n in 0..<200 { append("crowd\(n)", "\"own\(n)\"", id: "") }
        for coupon in 0..<3 {
            for account in ["ada", "bob", "cyd", "dan"] {
                append(account, "\"c\(coupon)\"", id: coupon == 2 ? "" : ",\"id\":\"\(account)\(coupon)\"")
            }
            // Redeems nothing: no act that the detector learns from.
            append("ada", "null", id: ",\"id\":\"none\"")
        }
        append("zoe", "\"z\"", id: ",\"id\":\"z\"")
        let worker = Worker(deployment, log: SimulatedLog(store), threads: 1)
        try worker.run { worker.isReady }
        return try store.records(of: TopicPartition(OutputTopics.rings, 0)).map { record in
            try #require(try JSONSerialization.jsonObject(with: Data(record.value ?? [])) as? [String: Any])
        }
    }

    @Test func `a ring's record names what its members did last, each member's oldest act first`() throws {
        let rings = try rings(lookBack: ", look_back: 2")
        let last = try #require(rings.last)
        #expect(last["size"] as? Int == 4)
        let events = try #require(last["events"] as? [[String: Any]])
        let said = events.map { event in
            "\(event["member"] ?? "") \(event["type"] ?? "") \(event["topic"] ?? "")/\(event["partition"] ?? "")/\(event["offset"] ?? "") \(event["id"] ?? "-") \(event["time"] ?? "")"
        }
        #expect(
            said.sorted() == [
                "ada redeemed coupons/0/205 ada1 2026-01-05T08:03:26Z",
                "ada redeemed coupons/0/210 - 2026-01-05T08:03:31Z",
                "bob redeemed coupons/0/206 bob1 2026-01-05T08:03:27Z",
                "bob redeemed coupons/0/211 - 2026-01-05T08:03:32Z",
                "cyd redeemed coupons/0/207 cyd1 2026-01-05T08:03:28Z",
                "cyd redeemed coupons/0/212 - 2026-01-05T08:03:33Z",
                "dan redeemed coupons/0/208 dan1 2026-01-05T08:03:29Z",
                "dan redeemed coupons/0/213 - 2026-01-05T08:03:34Z",
            ]
        )
        let members = try #require(last["members"] as? [String])
        #expect(events.map { $0["member"] as? String } == members.flatMap { [$0, $0] })
        let first = try #require(rings.first?["events"] as? [[String: Any]])
        #expect(first.allSatisfy { ($0["offset"] as? Int ?? .max) < 214 })
    }

    @Test func `a detector that does not look back names no acts`() throws {
        let rings = try rings(lookBack: "")
        #expect(!rings.isEmpty && rings.allSatisfy { $0["events"] == nil })
    }
}
