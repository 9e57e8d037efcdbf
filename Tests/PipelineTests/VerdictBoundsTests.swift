import Detection
import Foundation
import Testing

@testable import Pipeline

/// No event and no rule makes a record that brokers refuse: such a record would end every worker that tries to write it.
@Suite struct VerdictBoundsTests {
    /// Every kind of long part at once: texts whose every byte is escaped, many rules, long tags, exceptions and reasons.
    private static func deployment(rules count: Int) throws -> Deployment {
        let topology = """
            topology: world
            limits: { record_bytes: 4194304 }
            verdicts: { source: \(String(repeating: "x", count: 256)) }
            events:
              order:
                topic: orders
                time: ts
                id: id
                subject: account
                emit: all
                context: [note, account, tags]
                fields:
                  id: { type: string, max_length: 65535 }
                  ts: { type: timestamp, format: ms }
                  account: { type: string, entity: account, required: true, max_length: 65535 }
                  note: { type: string, max_length: 65535 }
                  tags: list<string>
                  absent: string
            """
        var rules = ""
        for n in 0..<count {
            rules += """
                rule long_\(n) "Long" {
                  owner "test"  severity high  mode \(n % 3 == 2 ? "shadow" : "live")
                  tags "\(String(repeating: "t", count: n == 1 ? 660_000 : 300))"
                  on order
                  let length = size(tags)
                  when length >= 0 && note != "other" && id != "other" && size(tags) >= 0
                  then review, score +1, tag "seen"
                  because "{note} of {id} by {account}: {tags}"
                }
                rule excepted_\(n) "Excepted" {
                  owner "test"  severity low
                  on order
                  when note != "other"
                  unless size(tags) >= 0 && note != "\(String(repeating: "e", count: 400))"
                  then review
                }
                rule missing_\(n) "Missing" {
                  owner "test"  severity low
                  on order
                  when absent == "x"
                  then review
                }

                """
        }
        return try WorkerTopology.load(topology, rules: rules)
    }

    /// A record as JSON; each character of `text` is written as an escape where `isEscaped`.
    private static func event(_ text: String, length: Int, isEscaped: Bool, tags: Int) -> [UInt8] {
        let long = String(repeating: isEscaped ? "\\u0001" : text, count: length)
        let list = Array(repeating: "\"\(isEscaped ? "\\u0002" : text)\"", count: tags).joined(separator: ",")
        return Array(
            "{\"ts\":1767600000000,\"id\":\"\(long)\",\"account\":\"\(long)\",\"note\":\"\(long)\",\"tags\":[\(list)]}"
                .utf8
        )
    }

    private static func judged(_ deployment: Deployment, _ events: [[UInt8]], threads: Int = 1) throws
        -> [SimulatedStore.Record]
    {
        let store = SimulatedStore(clock: 1_767_600_000_000)
        let log = SimulatedLog(store)
        try log.create([TopicRequirement(name: "orders", partitions: 1)])
        for event in events { store.append(TopicPartition("orders", 0), key: nil, value: event) }
        let worker = Worker(deployment, log: log, threads: threads)
        try worker.run { worker.isReady }
        let dead = store.records(of: TopicPartition(OutputTopics.deadLetters, 0))
        #expect(
            dead.isEmpty,
            "\(dead.first.map { String(decoding: ($0.value ?? []).prefix(300), as: UTF8.self) } ?? "")"
        )
        // What a replay gives is cut alike.
        let audit = try JournalAudit(deployment, log: SimulatedLog(store, application: "audit"), threads: 1)
            .run { _ in true }
        #expect(audit.isClean && audit.verdicts == Int64(events.count), "\(audit)")
        return (Int32(0)..<4).flatMap { store.records(of: TopicPartition(OutputTopics.verdicts, $0)) }
    }

    private static func size(_ record: SimulatedStore.Record) -> Int {
        record.headers.reduce((record.key ?? []).count + (record.value ?? []).count) {
            $0 + $1.name.utf8.count + $1.value.count
        }
    }

    private static func body(_ record: SimulatedStore.Record) throws -> [String: Any] {
        try #require(try JSONSerialization.jsonObject(with: Data(record.value ?? [])) as? [String: Any])
    }

    @Test func `the longest texts in many rules make a verdict that a broker takes, and it says what is missing`()
        throws
    {
        let deployment = try Self.deployment(rules: 200)
        let events = [
            Self.event("", length: 65_535 / 6, isEscaped: true, tags: 1000),
            // DEL needs no escape in what comes in, and gets one of six bytes in what goes out.
            Self.event("\u{7F}", length: 65_535, isEscaped: false, tags: 1000),
            Self.event("é", length: 32_767, isEscaped: false, tags: 1000),
        ]
        let records = try Self.judged(deployment, events)
        #expect(records.count == 3)
        for record in records {
            #expect((record.value ?? []).count <= VerdictRecord.bytesMax)
            #expect(Self.size(record) <= 900_000)
            let body = try Self.body(record)
            let truncated = try #require(body["truncated"] as? [String: Any])
            #expect(truncated["event_id"] as? Bool == true)
            let kept = ["reasons", "shadow", "excepted", "undetermined"].reduce(0) {
                $0 + ((body[$1] as? [Any])?.count ?? 0)
            }
            let leftOut = truncated["left_out"] as? Int ?? 0
            let shortened = truncated["shortened"] as? Int ?? 0
            let context = try #require((body["event"] as? [String: Any])?["context"] as? [String: Any])
            #expect(
                kept + context.count + leftOut == 603 && leftOut > 0 && shortened > 0 && kept > 100,
                "\(kept) kept, \(truncated)"
            )
            // Decision and score count what has no room as well: 134 live rules with a point each.
            #expect(body["score"] as? Int == 134 && body["decision"] as? String == "review")
            let reasons = try #require(body["reasons"] as? [[String: Any]])
            let cut = try #require(reasons.last)
            #expect((cut["text"] as? String)?.hasSuffix("…") == true)
            #expect((cut["values"] as? [String: Any])?.keys.sorted() == ["length"])
            let subject = try #require(body["subject"] as? [String: Any])
            #expect((subject["id"] as? String).map { Array($0.utf8) } == record.key)
        }
    }

    @Test func `the cut does not hang on threads, and short verdicts are not touched`() throws {
        let deployment = try Self.deployment(rules: 12)
        let events = (0..<10).map { n in
            Self.event("x", length: 1 + n * (n % 2 == 0 ? 1000 : 7000), isEscaped: n % 2 == 0, tags: n)
        }
        let one = try Self.judged(deployment, events)
        let four = try Self.judged(deployment, events, threads: 4)
        #expect(one.map(\.value) == four.map(\.value))
        for record in one {
            #expect(Self.size(record) <= 900_000)
            // One rule's tag alone is longer than what reasons may take.
            let truncated = try #require(try Self.body(record)["truncated"] as? [String: Any])
            #expect(truncated["left_out"] as? Int ?? 0 > 0)
        }
        let plain = try Self.judged(try Self.deployment(rules: 1), events).map(Self.body)
        let whole = try #require(plain.first { $0["truncated"] == nil })
        let members = [
            "decided_by", "decision", "event", "excepted", "reasons", "score", "subject", "undetermined", "verdict_id",
            "versions",
        ]
        #expect(whole.keys.sorted() == members)
    }
}
