import Detection
import RuleLanguage
import Testing

@testable import Pipeline

/// An event type whose time no field holds.
private func visits(_ time: String, format: String = "json") throws -> TopologyDescription {
    try TopologyText.load(
        """
        topology: visits
        events:
          visit:
            topic: visits
            format: \(format)
            time: \(time)
            subject: who
            fields:
              who: { type: string, entity: account }
        """
    )
}

private func outcome(_ description: TopologyDescription, offset: Int64, appendTime: Int64?) throws -> String {
    let plan = try DecodePlan(schemas: description.events, topics: description.topics, hash: TextHash(key: .fixed))
    var batch = EventBatch()
    let isCSV = description.events[0].format == .csv
    let result = try Array((isCSV ? "ada" : #"{"who":"ada"}"#).utf8).withUnsafeBytes { bytes in
        if isCSV {
            var decoder = try CSVDecoder(columns: ["who"], types: [0], plan: plan)
            return decoder.decode(partition: 0, offset: offset, value: bytes, appendTime: appendTime, into: &batch)
        }
        var decoder = EventDecoder(plan: plan)
        return decoder.decode(
            topic: 0,
            partition: 0,
            offset: offset,
            value: bytes,
            appendTime: appendTime,
            into: &batch
        )
    }
    switch result {
    case .events: return "\(batch.event(0).time)"
    case .rejected(let letter): return letter.code.name
    case .ignored: return "ignored"
    case .full: return "full"
    }
}

@Suite struct EventTimeTests {
    @Test func `the log's append time is the event's, and a record without one is a dead letter`() throws {
        let description = try visits("append")
        #expect(description.events[0].time == .append)
        #expect(try outcome(description, offset: 0, appendTime: 1_760_000_000_000) == "1760000000000")
        #expect(try outcome(description, offset: 0, appendTime: nil) == "missing_append_time")
        #expect(try outcome(description, offset: 0, appendTime: 946_684_799_999) == "timestamp_out_of_range")
        #expect(try outcome(description, offset: 0, appendTime: 4_102_444_800_001) == "timestamp_out_of_range")
    }

    @Test func `the place of a record is its time where it tells none, in JSON and CSV alike`() throws {
        for format in ["json", "csv"] {
            let description = try visits("{ from: 2012-01-01, every: 250ms }", format: format)
            #expect(description.events[0].time == .rows(from: 1_325_376_000_000, every: 250))
            #expect(try outcome(description, offset: 0, appendTime: nil) == "1325376000000")
            #expect(try outcome(description, offset: 5, appendTime: nil) == "1325376001250")
            for far in [1 << 40, 1 << 62, Int64.max] {
                #expect(try outcome(description, offset: far, appendTime: nil) == "timestamp_out_of_range", "\(far)")
            }
        }
        // One that is too far ahead of its log's clock is judged when the log took it, as any other.
        let description = try visits("{ from: 2012-01-01, every: 1h }")
        #expect(try outcome(description, offset: 2, appendTime: 1_325_376_000_000) == "1325376000000")
        #expect(try outcome(description, offset: 1, appendTime: 1_325_376_000_000) == "1325379600000")
    }

    @Test func `each source of times is another topology`() throws {
        let sources = [
            "append", "{ from: 2012-01-01, every: 1s }", "{ from: 2012-01-02, every: 1s }",
            "{ from: 2012-01-01, every: 2s }",
        ]
        #expect(Set(try sources.map { try visits($0).canonicalText }).count == sources.count)
    }

    @Test func `a field that is called append is a field`() throws {
        let description = try TopologyText.load(
            """
            topology: visits
            events:
              visit:
                topic: visits
                time: append
                subject: who
                fields:
                  who: { type: string, entity: account }
                  append: timestamp
            """
        )
        #expect(description.events[0].time == .field(1))
    }

    @Test func `a file of events whose time the log gives is put into a log, and not replayed`() throws {
        let folder = TemporaryFolder()
        folder.makeFolder("rules")
        let fields = "{ who: { type: string, entity: account } }"
        folder.write(
            """
            topology: visits
            events:
              visit: { topic: visits, time: append, subject: who, fields: \(fields) }
            """,
            "topology.yaml"
        )
        folder.write("{\"who\":\"ada\"}\n{\"who\":\"bob\"}\n{}\n", "visits.jsonl")
        let deployment = try Deployment(folder: folder.path)
        let input = folder.file("visits.jsonl")
        #expect(throws: LogError.self) { try InputFile(input, partition: 0, deployment, { false }) }
        let records = try InputRecords(deployment, inputs: [input], shouldStop: { false }, warn: { _ in })
        var keys: [String] = []
        while let record = try records.next() {
            keys.append(record.key.map { String(decoding: $0, as: UTF8.self) } ?? "-")
        }
        #expect(keys.sorted() == ["-", "ada", "bob"] && records.unreadable == 1)
        #expect(try SampleComparison(deployment, input: input).trial.events == 2)
    }
}
