import Synchronization
import Testing

@testable import Pipeline

/// A journal that cannot be believed stops a start before anything is said.
@Suite struct StartChecksTests {
    private let journal = TopicPartition(OutputTopics.journal, 0)

    /// A world that a worker has judged, and how many verdicts that gave.
    private func judged(seed: UInt64) throws -> (world: WorkerWorld, verdicts: Int) {
        let world = try WorkerWorld(seed: seed)
        try world.produce(300)
        #expect(try world.run().error == nil)
        let verdicts = world.outputs()[OutputTopics.verdicts, default: []].count
        try #require(verdicts > 0)
        return (world, verdicts)
    }

    /// Takes the journal's records from an offset on away, as a broker does that lost its disk.
    private func cut(_ world: WorkerWorld, keeping count: Int) {
        world.store.content.withLock { content in
            var left = SimulatedStore.Partition()
            if let records = content.topics[journal.topic]?.first?.records {
                left.records = Array(records.prefix(count))
            }
            left.end = left.records.last.map { $0.offset + 1 } ?? 0
            content.topics[journal.topic] = [left]
        }
    }

    @Test func `positions ahead of the journal stop a start, as the journal has lost its end`() throws {
        let (world, verdicts) = try judged(seed: 41)
        let epochs = try world.journal().count
        cut(world, keeping: epochs / 2)
        // To start anew is for an empty one.
        for startsAnew in [false, true] {
            var options = world.options()
            options.startsAnew = startsAnew
            let error = try world.run(options: options).error
            #expect(error?.kind == .corrupt)
            #expect(error?.message.contains("its last epoch is \(epochs / 2 - 1)") == true, "\(error?.message ?? "")")
        }
        #expect(world.outputs()[OutputTopics.verdicts, default: []].count == verdicts, "nothing is said again")
        #expect(try world.journal().count == epochs / 2)
    }

    @Test func `positions behind the journal are told, and the journal counts`() throws {
        let (world, verdicts) = try judged(seed: 42)
        world.store.content.withLock { content in
            for source in world.sources { content.owners["weir"]?.positions[source] = 1 }
        }
        #expect(try world.run().error == nil)
        #expect(world.outputs()[OutputTopics.verdicts, default: []].count == verdicts)
    }

    @Test func `an empty journal beside committed positions or verdicts stops a start`() throws {
        for leavesPositions in [true, false] {
            let (world, verdicts) = try judged(seed: 43)
            cut(world, keeping: 0)
            if !leavesPositions { world.store.content.withLock { $0.owners["weir"]?.positions = [:] } }
            let error = try world.run().error
            #expect(error?.kind == .corrupt)
            #expect(
                error?.message.contains(leavesPositions ? "is committed" : "there is a verdict at weir.verdicts/")
                    == true,
                "\(error?.message ?? "")"
            )
            #expect(error?.message.contains("--start-anew") == true)
            #expect(world.outputs()[OutputTopics.verdicts, default: []].count == verdicts, "nothing is said again")
        }
    }

    @Test func `to start anew judges the inputs from their beginning, and says all again under the same ids`() throws {
        let (world, verdicts) = try judged(seed: 44)
        cut(world, keeping: 0)
        var options = world.options()
        options.startsAnew = true
        #expect(try world.run(options: options).error == nil)
        var times: [[UInt8]: Int] = [:]
        for partition in 0..<3 as Range<Int32> {
            for record in world.store.records(of: TopicPartition(OutputTopics.verdicts, partition)) {
                let id = try #require(record.headers.first { $0.name == "ce_id" })
                times[id.value, default: 0] += 1
            }
        }
        #expect(times.count == verdicts)
        #expect(times.values.allSatisfy { $0 == 2 })
        // What follows is an ordinary start.
        try world.produce(50)
        #expect(try world.run().error == nil)
    }

    @Test func `an empty journal and a verdict topic of tombstones are a first start`() throws {
        let world = try WorkerWorld(seed: 45)
        try world.produce(100)
        #expect(try world.run().error == nil)
        let fresh = try WorkerWorld(seed: 45)
        try SimulatedLog(fresh.store).create(OutputTopics.requirements(partitions: 3))
        fresh.store.append(TopicPartition(OutputTopics.verdicts, 1), key: bytes("settle"), value: nil)
        try fresh.produce(100)
        #expect(try fresh.run().error == nil)
        #expect(try fresh.journal().count > 0)
    }

    @Test func `a journal of several partitions, or one that loses records, is refused before anything is judged`()
        throws
    {
        let good = ["cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"]
        let cases: [(partitions: Int32, settings: [String: String], named: String)] = [
            (3, good, "3 partitions"),
            (1, good.merging(["cleanup.policy": "compact"]) { $1 }, "cleanup.policy=compact"),
            (1, good.merging(["cleanup.policy": "compact,delete"]) { $1 }, "cleanup.policy=compact,delete"),
            (1, good.merging(["retention.ms": "604800000"]) { $1 }, "retention.ms=604800000"),
            (1, good.merging(["retention.bytes": "1000"]) { $1 }, "retention.bytes=1000"), (1, good, ""), (1, [:], ""),
        ]
        for (partitions, settings, named) in cases {
            let world = try WorkerWorld(seed: 46)
            try world.produce(50)
            let error = try world.run(over: { log in
                let altered = AlteredLog(log)
                altered.partitionsOf = { topic, found in
                    topic == OutputTopics.journal ? found.map { _ in Array(0..<partitions) } : found
                }
                altered.settingsOf = { _ throws(LogError) in TopicSettings(values: settings, replicas: 1) }
                return altered
            }).error
            if named.isEmpty {
                #expect(error == nil, "\(settings)")
            } else {
                #expect(error?.kind == .refused)
                #expect(error?.message.contains(named) == true, "\(error?.message ?? "")")
                #expect(world.outputs()[OutputTopics.verdicts, default: []].isEmpty)
            }
        }
    }

    @Test func `settings that may not be read are no reason to stay down`() throws {
        let world = try WorkerWorld(seed: 47)
        try world.produce(50)
        let error = try world.run(over: { log in
            let altered = AlteredLog(log)
            altered.settingsOf = { _ throws(LogError) in throw LogError(.notAuthorised, "no DescribeConfigs") }
            return altered
        }).error
        #expect(error == nil)
        #expect(try world.journal().count > 0)
    }
}
