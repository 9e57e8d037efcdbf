import Testing

@testable import Pipeline

/// Fields that stand in a record's key and headers, from the log to the verdict.
@Suite struct HeaderFieldTests {
    private static let topology = """
        topology: world
        events:
          delivered:
            topic: hooks
            when: { "@headers.kind": delivered }
            time: ts
            subject: shop
            emit: all
            context: [attempt]
            fields:
              ts: { type: timestamp, format: rfc3339, path: "@headers.time" }
              shop: { type: string, entity: shop, path: "@key" }
              attempt: { type: int, path: "@headers.attempt" }

        """
    static let rules = """
        rule busy "B" {
          owner "test"  severity low
          on delivered
          let seen = count() of delivered by shop over 1h
          when seen >= 1
          then review
          because "{seen} of {shop}"
        }

        """

    @Test(arguments: [false, true])
    func `a field of the key or a header is judged, and found again by a recovery`(markers: Bool) throws {
        let store = SimulatedStore(clock: 1_767_600_000_000, transactionMarkers: markers)
        try SimulatedLog(store).create([TopicRequirement(name: "hooks", partitions: 1)])
        let deployment = try WorkerTopology.load(Self.topology, rules: Self.rules)
        func send(_ second: Int, key: String?, kind: String = "delivered") {
            store.append(
                TopicPartition("hooks", 0),
                key: key.map { Array($0.utf8) },
                value: Array("{}".utf8),
                headers: [
                    ("kind", "another"), ("kind", kind), ("time", "2026-01-05T08:00:0\(second)Z"),
                    ("attempt", "\(second)"),
                ].map { SimulatedStore.Header(name: $0.0, value: Array($0.1.utf8)) }
            )
        }
        var judged = EpochCounts()
        for round in 0..<3 {
            send(2 * round, key: "s1")
            send(2 * round + 1, key: round == 1 ? nil : "s2", kind: round == 2 ? "returned" : "delivered")
            // Each worker rebuilds from the journal what those before it have judged.
            let worker = Worker(deployment, log: SimulatedLog(store), threads: 1)
            try worker.run { worker.isReady }
            judged += worker.counts
        }
        #expect(judged.events == 4 && judged.deadLetters == 2)
        let verdicts = (Int32(0)..<4).flatMap { store.records(of: TopicPartition(OutputTopics.verdicts, $0)) }.map {
            String(decoding: $0.value ?? [], as: UTF8.self)
        }
        for (text, attempt) in [("1 of s1", 0), ("1 of s2", 1), ("2 of s1", 2), ("3 of s1", 4)] {
            #expect(
                verdicts.count { $0.contains("\"text\":\"\(text)\"") && $0.contains("{\"attempt\":\(attempt)}") } == 1,
                "\(text) \(verdicts)"
            )
        }
        let letters = store.records(of: TopicPartition(OutputTopics.deadLetters, 0)).map {
            String(decoding: $0.value ?? [], as: UTF8.self)
        }
        #expect(letters.count { $0.contains("missing_field") && $0.contains("\"field\":\"@key\"") } == 1, "\(letters)")
        #expect(letters.count { $0.contains("unknown_event_type") } == 1, "\(letters)")
    }
}
