import Detection
import Models
import Synchronization
import Testing

@testable import Pipeline

/// Inputs that move otherwise than by growing are named for what they are, and nothing is said of them.
@Suite struct InputStateTests {
    private static func change(
        _ world: WorkerWorld,
        _ source: TopicPartition,
        _ body: (inout SimulatedStore.Partition) -> Void
    ) {
        world.store.content.withLock { content in
            body(&content.topics[source.topic, default: []][Int(source.partition)])
        }
    }

    /// As a topic that was deleted and made anew, with the first so many of its records.
    private static func renew(_ world: WorkerWorld, _ source: TopicPartition, keeping count: Int) {
        change(world, source) { partition in
            partition.records = Array(partition.records.prefix(count))
            partition.start = 0
            partition.end = Int64(count)
        }
    }

    struct Case: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var says: [String]
        var apply: @Sendable (WorkerWorld, TopicPartition) -> Void
    }

    static let cases: [Case] = [
        Case(testDescription: "an end that went back", says: ["ends at offset 5, and was taken up to", "made anew"]) {
            renew($0, $1, keeping: 5)
        },
        Case(testDescription: "a topic without records", says: ["ends at offset 0, and was taken up to"]) {
            renew($0, $1, keeping: 0)
        },
        Case(testDescription: "fewer partitions", says: ["does not exist any more", "fewer partitions"]) {
            world,
            source in
            world.store.content.withLock { _ = $0.topics[source.topic]?.removeLast() }
        },
    ]

    @Test(arguments: cases) func `what became of an input while nobody ran is said at the start`(_ one: Case) throws {
        let world = try WorkerWorld(seed: 71)
        try world.produce(300)
        #expect(try world.run().error == nil)
        let before = world.outputs()
        let source = world.sources[1]
        one.apply(world, source)
        for _ in 0..<2 {
            let error = try world.run().error
            #expect(error?.kind == .corrupt)
            for part in one.says + ["\(source)", "--start-anew"] {
                #expect(error?.message.contains(part) == true, "\(error?.message ?? "")")
            }
        }
        #expect(world.outputs() == before)
    }

    @Test(
        arguments: cases + [
            Case(
                testDescription: "records deleted before they were judged",
                says: ["is wanted next, and the partition begins at"]
            ) {
                world,
                source in
                change(world, source) { partition in
                    partition.records = []
                    partition.end += 50
                    partition.start = partition.end
                }
            },
            Case(testDescription: "a topic that is gone", says: ["does not exist any more"]) { world, source in
                world.store.content.withLock { _ = $0.topics.removeValue(forKey: source.topic) }
            },
        ]
    )
    func `what became of an input while it was read ends the worker with that`(_ one: Case) throws {
        let world = try WorkerWorld(seed: 72)
        try world.produce(300)
        let source = world.sources[1]
        var before: [String: [WorkerWorld.Output]]?
        var rounds = 0
        let run = try world.run(until: { _, _ in
            rounds += 1
            if before == nil, try world.isDone() {
                before = world.outputs()
                one.apply(world, source)
            }
            return rounds > 10_000
        })
        #expect(before != nil)
        #expect(run.error?.kind == .corrupt || run.error?.kind == .outOfRange)
        // Of a topic that is gone every partition is.
        for part in one.says + [one.testDescription.contains("topic that is gone") ? "orders/0" : "\(source)"] {
            #expect(run.error?.message.contains(part) == true, "\(run.error?.message ?? "")")
        }
        #expect(world.outputs() == before)
    }

    /// A client that is told of nothing goes on asking, and the worker looks by itself.
    @Test(arguments: ["its end went back", "it is gone", "its beginning is gone", "it is away"])
    func `a source that is silent for long is looked after`(_ what: String) throws {
        let world = try WorkerWorld(seed: 76)
        try world.produce(200)
        let source = world.sources[3]
        let at = Int64(world.store.records(of: source).count)
        var isOver = false
        var rounds = 0
        let run = try world.run(
            over: { log in
                let altered = AlteredLog(log)
                altered.boundsOf = { asked, found in
                    if !isOver || asked != source { return found }
                    return what == "its end went back" ? (0, at - 1) : (at + 5, at + 9)
                }
                altered.partitionsOf = { topic, found in
                    isOver && topic == source.topic && what == "it is gone" ? [] : found
                }
                if what == "it is away" { log.isAway = { isOver && $0 == source } }
                return altered
            },
            until: { _, _ in
                if try !isOver && world.isDone() { isOver = true }
                // Not so long that the worker takes it for a pause of its own.
                if isOver { world.clock.pause(for: .milliseconds(100)) }
                rounds += isOver ? 1 : 0
                if rounds > 600 { isOver = false }
                return rounds > 600
            }
        )
        switch what {
        case "its end went back":
            #expect(
                run.error?.message.contains("\(source) ends at offset \(at - 1), and was taken up to \(at)") == true
            )
        case "it is gone": #expect(run.error?.message.contains("clicks/0 does not exist any more") == true)
        case "its beginning is gone":
            #expect(
                run.error?.message.contains("offset \(at) is wanted next, and the partition begins at \(at + 5)")
                    == true
            )
        default: #expect(run.error == nil)
        }
        #expect(rounds > 90 && (run.error == nil || rounds < 400), "\(rounds)")
    }

    @Test func `an end that is known a little later is waited for`() throws {
        let world = try WorkerWorld(seed: 73)
        try world.produce(200)
        #expect(try world.run().error == nil)
        let source = world.sources[0]
        var asked = 0
        let run = try world.run(over: { log in
            let altered = AlteredLog(log)
            altered.boundsOf = { asking, found in
                guard asking == source else { return found }
                asked += 1
                return asked < 10 ? (found.start, found.end - 3) : found
            }
            return altered
        })
        #expect(run.error == nil && asked >= 10)
    }

    /// A topic that was made anew and has been written to as far is known by its last record alone.
    @Test func `another record where the last one was taken is seen`() throws {
        let world = try WorkerWorld(seed: 74)
        try world.produce(200)
        let log = SimulatedLog(world.store)
        let source = world.sources[2]
        let records = world.store.records(of: source)
        let last = try #require(records.last)
        var digest = ContentDigest()
        digest.add(last.offset, last.appendTime)
        digest.add(-1, Int64(last.value?.count ?? -1))
        if let value = last.value { value.withUnsafeBytes { digest.addUncounted($0) } }
        let taken = TakenRecord(offset: last.offset, digest: digest.value)
        func look(_ last: TakenRecord?) throws(LogError) -> InputState {
            try InputState.look(at: source, next: taken.offset + 1, taken: taken.offset + 1, last: last, in: log)
        }
        #expect(try look(nil) == .sound)
        #expect(try look(taken) == .sound)
        Self.change(world, source) { $0.records[$0.records.count - 1].value = bytes("{}") }
        #expect(try look(taken) == .replaced(offset: taken.offset))
        let error = InputState.replaced(offset: taken.offset).error(source, next: 1, taken: 1)
        #expect(
            error?.kind == .corrupt && error?.message.contains("holds another record at offset \(taken.offset)") == true
        )
        // What retention took of it later says nothing.
        Self.change(world, source) { partition in
            partition.records = []
            partition.start = partition.end
        }
        #expect(try look(taken) == .sound)
    }

    @Test func `a compacted input is refused before anything is judged, one that nobody may look at is not`() throws {
        for (policy, isRefused) in [("compact", true), ("compact,delete", true), ("delete", false)] {
            let world = try WorkerWorld(seed: 75)
            try world.produce(50)
            let error = try world.run(over: { log in
                let altered = AlteredLog(log)
                altered.settingsOf = { topic throws(LogError) in
                    if topic == "coupons" { throw LogError(.notAuthorised, "no DescribeConfigs") }
                    return topic == "clicks" ? TopicSettings(values: ["cleanup.policy": policy], replicas: 1) : nil
                }
                return altered
            }).error
            #expect(error?.kind == (isRefused ? .refused : nil))
            if isRefused {
                #expect(error?.message.contains("'clicks' is compacted (cleanup.policy=\(policy))") == true)
                #expect(world.outputs()[OutputTopics.verdicts, default: []].isEmpty)
            }
        }
    }
}
