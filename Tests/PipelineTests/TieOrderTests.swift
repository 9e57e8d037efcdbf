import Testing

@testable import Pipeline

/// Events of several topics at the same time.
@Suite struct TieOrderTests {
    private static let order = """
          order:
            topic: orders
            time: ts
            subject: account
            emit: all
            fields: { ts: { type: timestamp, format: ms }, account: { type: string, entity: account } }

        """
    private static let click = """
          click:
            topic: clicks
            time: ts
            subject: account
            emit: all
            fields: { ts: { type: timestamp, format: ms }, account: { type: string, entity: account } }

        """
    private static let rules = """
        rule orders "O" {
          owner "test"  severity low
          on click
          let orders = count() of order by account over 1m
          when orders >= 0
          then review
          because "{orders} orders"
        }
        rule clicks "C" {
          owner "test"  severity low
          on order
          let clicks = count() of click by account over 1m
          when clicks >= 0
          then review
          because "{clicks} clicks"
        }

        """

    /// What the rules say of a click and an order at the same time, with the event types in this order.
    private static func said(_ types: String) throws -> [String] {
        let store = SimulatedStore(clock: 1_767_600_000_000)
        let log = SimulatedLog(store)
        for topic in ["orders", "clicks"] {
            try log.create([TopicRequirement(name: topic, partitions: 1)])
            store.append(
                TopicPartition(topic, 0),
                key: nil,
                value: Array("{\"ts\":1767600000000,\"account\":\"ada\"}".utf8)
            )
        }
        let deployment = try WorkerTopology.load("topology: world\nevents:\n\(types)", rules: rules)
        let worker = Worker(deployment, log: log, threads: 1)
        try worker.run { worker.isReady }
        return (Int32(0)..<4).flatMap { store.records(of: TopicPartition(OutputTopics.verdicts, $0)) }.map {
            let text = String(decoding: $0.value ?? [], as: UTF8.self)
            let start = text.firstRange(of: "\"text\":\"")?.upperBound ?? text.startIndex
            return String(text[start...].prefix { $0 != "\"" })
        }.sorted()
    }

    @Test func `the topic that comes first by name is judged first, wherever the topology mentions it`() throws {
        #expect(try Self.said(Self.order + Self.click) == ["0 orders", "1 clicks"])
        #expect(try Self.said(Self.click + Self.order) == ["0 orders", "1 clicks"])
    }
}
