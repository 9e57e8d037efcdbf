import Testing

@testable import Pipeline

/// Records that make several events or none, from the log to the verdicts and the journal.
@Suite struct RecordShapeTests {
    private static let topology = """
        topology: world
        topics: { orders: { ignore: [other_types, tombstones] } }
        events:
          line:
            topic: [orders, eu.orders]
            when: { kind: order }
            each: lines
            time: ts
            id: id
            subject: who
            emit: all
            context: [sku]
            fields:
              id: string
              ts: { type: timestamp, format: ms }
              who: { type: string, entity: account }
              sku: { type: string, path: "lines[].sku", required: true }

        """
    private static let rules = """
        rule seen "S" {
          owner "test"  severity low
          on line
          let lines = count() of line by account over 1h
          when lines >= 1
          then review
          because "line {lines} of {who}"
        }

        """

    private static func order(_ id: Int, _ lines: [String]) -> String {
        let list = lines.map { $0.isEmpty ? "{}" : "{\"sku\":\"\($0)\"}" }.joined(separator: ",")
        return
            "{\"kind\":\"order\",\"id\":\"o\(id)\",\"ts\":\(1_767_600_000_000 + id),\"who\":\"ada\",\"lines\":[\(list)]}"
    }

    @Test func `each element has a verdict of its own, and the journal tells records, events and ignored ones apart`()
        throws
    {
        let store = SimulatedStore(clock: 1_767_600_000_000)
        for topic in ["orders", "eu.orders"] {
            try SimulatedLog(store).create([TopicRequirement(name: topic, partitions: 1)])
        }
        let deployment = try WorkerTopology.load(Self.topology, rules: Self.rules)
        func send(_ value: String?, to topic: String = "orders") {
            store.append(TopicPartition(topic, 0), key: nil, value: value.map { Array($0.utf8) })
        }
        var judged = EpochCounts()
        func run() throws {
            let worker = Worker(deployment, log: SimulatedLog(store), threads: 1)
            try worker.run { worker.isReady }
            judged += worker.counts
        }
        send(Self.order(1, ["a", "b"]))
        send(nil)
        send("{\"kind\":\"click\"}")
        send(Self.order(2, []))
        try run()
        // The next worker rebuilds from the journal what this one has judged.
        send(Self.order(3, ["c", "", "d"]), to: "eu.orders")
        send("{\"kind\":\"click\"}", to: "eu.orders")
        try run()
        #expect(judged.records == 6 && judged.events == 4 && judged.ignored == 3 && judged.deadLetters == 2)

        let verdicts = (Int32(0)..<4).flatMap { store.records(of: TopicPartition(OutputTopics.verdicts, $0)) }.map {
            String(decoding: $0.value ?? [], as: UTF8.self)
        }
        #expect(verdicts.count == 4)
        for (said, id, sku) in [
            ("line 1 of ada", "o1#0", "a"), ("line 2 of ada", "o1#1", "b"), ("line 3 of ada", "o3#0", "c"),
            ("line 4 of ada", "o3#2", "d"),
        ] {
            let found = verdicts.filter { $0.contains("\"text\":\"\(said)\"") }
            #expect(found.count == 1 && found[0].contains("\"id\":\"\(id)\""), "\(said) \(found)")
            #expect(found.first?.contains("\"context\":{\"sku\":\"\(sku)\"}") == true, "\(found)")
        }
        #expect(verdicts.count { $0.contains("\"offset\":0,\"part\":2,\"id\"") } == 1)
        let ids = verdicts.compactMap { $0.firstRange(of: "\"verdict_id\":\"").map { $0.upperBound } }.enumerated().map
        {
            verdicts[$0.offset][$0.element...].prefix(36)
        }
        #expect(Set(ids).count == 4, "\(ids)")
        let letters = store.records(of: TopicPartition(OutputTopics.deadLetters, 0)).map {
            String(decoding: $0.value ?? [], as: UTF8.self)
        }
        #expect(
            letters.count { $0.contains("missing_field") && $0.contains("\"offset\":0,\"part\":1,") } == 1,
            "\(letters)"
        )
        #expect(letters.count { $0.contains("unknown_event_type") } == 1, "another topic ignores nothing: \(letters)")
    }
}
