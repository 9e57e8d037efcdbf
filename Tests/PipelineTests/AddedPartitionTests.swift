import Detection
import Models
import Testing

@testable import Pipeline

/// Partitions that are added to an input topic are read from their beginning on, and nothing is late for that.
@Suite struct AddedPartitionTests {
    /// What it says of an event hangs on its own account alone.
    private static let deployment = Result {
        let text = WorkerTopology.text
        return try WorkerTopology.load(
            String(text[..<(text.firstRange(of: "detectors:")?.lowerBound ?? text.endIndex)]),
            rules: """
                rule busy "Many orders" {
                  owner "test"  severity low
                  on order
                  let orders = count() of order by account over 30m
                  let spent = sum(amount) of order by account over 1h
                  when orders >= 3
                  then review, score +5
                  because "{orders} orders, {spent} cents"
                }

                """
        )
    }

    private static let minute: Int64 = 60_000
    /// More rounds than it takes to ask all topics once.
    private static let rounds = 150

    /// A shop in which every partition has its own accounts.
    private struct Shop {
        let world: WorkerWorld
        var sent = 0

        init(_ seed: UInt64) throws { world = try WorkerWorld(seed: seed, deployment: deployment.get()) }

        /// Orders and clicks in order, one a minute, between two minutes.
        mutating func send(_ source: TopicPartition, _ minutes: Range<Int64>) {
            for minute in minutes {
                let time = WorkerWorld.start + minute * AddedPartitionTests.minute
                let account = "\(source)-\(minute % 3)"
                let fields = source.topic == "orders" ? ",\"id\":\"\(sent)\",\"amount\":\(minute % 7).50" : ""
                let coupon = source.topic == "coupons" ? ",\"coupon\":\"c\"" : ""
                let value = "{\"ts\":\(time),\"account\":\"\(account)\"\(fields)\(coupon)}"
                world.store.append(source, key: nil, value: bytes(value))
                sent += 1
            }
        }

        /// Runs a worker for a minute or so, or until it dies.
        func run(
            _ faults: SimulatedFaults = SimulatedFaults(),
            options: WorkerOptions? = nil,
            step: (Int) throws -> Void = { _ in }
        ) throws -> LogError? {
            var rounds = 0
            return try world.run(
                faults,
                options: options,
                until: { _, _ in
                    rounds += 1
                    world.clock.pause(for: .milliseconds(500))
                    return rounds > AddedPartitionTests.rounds
                },
                step: step
            ).error
        }

        func late() throws -> Int64 { try world.journal().reduce(0) { $0 + $1.counts.late } }

        /// Sources that the journal names as aligned.
        func aligned() throws -> Set<TopicPartition> { Set(try world.journal().flatMap { $0.aligned.map(\.source) }) }

        /// The verdicts without the numbers of their epochs.
        func verdicts() -> [[UInt8]] {
            world.outputs()[OutputTopics.verdicts, default: []].map(\.value).sorted { $0.lexicographicallyPrecedes($1) }
        }
    }

    enum Moment: String, CaseIterable, Sendable {
        /// A worker reads the topic.
        case running
        /// A worker reads it, and the partition has nothing for a while.
        case empty
        /// Nobody reads the topic.
        case down
        /// The worker dies behind the first epochs that have it.
        case crash
    }

    @Test(arguments: Moment.allCases)
    func `the backlog of an added partition is judged as if it had always been there`(_ moment: Moment) throws {
        var shop = try Shop(81)
        let world = shop.world
        for source in world.sources { shop.send(source, 0..<120) }
        #expect(try world.run().error == nil)
        #expect(try world.isDone())
        var added: TopicPartition?
        func add() {
            added = world.addPartition(to: "orders")
            for source in world.sources where source != added { shop.send(source, 120..<130) }
        }
        func fill() { if let added { shop.send(added, 0..<130) } }
        switch moment {
        case .running, .empty:
            #expect(
                try shop.run { step in
                    if step == 5 { add() }
                    if step == (moment == .empty ? 100 : 6) { fill() }
                } == nil
            )
        case .down:
            add()
            fill()
            #expect(try shop.run() == nil)
        case .crash:
            var faults = SimulatedFaults(seed: 3)
            // The journal names the partition, and has not all of it.
            faults.crash = .init(.afterCommit, visit: 3)
            var options = world.options()
            (options.epochRecords, options.transactionRecords) = (30, 30)
            let error = try shop.run(faults, options: options) { step in
                if step == 5 { add() }
                if step == 6 { fill() }
            }
            #expect(error.map(SimulatedLog.isCrash) == true)
            let taken = try world.journal().flatMap(\.ranges).filter { $0.source == added }.map(\.to).max()
            #expect((1..<130).contains(taken ?? 0), "\(String(describing: taken))")
            #expect(try shop.run() == nil)
        }
        #expect(try world.isDone())
        #expect(try shop.late() == 0)
        #expect(try shop.aligned() == Set([added].compactMap { $0 }))
        #expect(try world.findings(threads: [1, 2]).isEmpty)

        // As who finds everything at its start judges it.
        let again = try Shop(82)
        while again.world.sources.count < world.sources.count { _ = again.world.addPartition(to: "orders") }
        for source in world.sources {
            for record in world.store.records(of: source) {
                again.world.store.append(source, key: record.key, value: record.value)
            }
        }
        #expect(try again.world.run().error == nil)
        #expect(try again.late() == 0)
        #expect(shop.verdicts() == again.verdicts())

        // It has come as far as the others: from here on it is late like any other.
        if let added { shop.send(added, 10..<11) }
        #expect(try shop.run() == nil)
        #expect(try shop.late() == 1)
        #expect(try world.findings().isEmpty)
    }

    @Test func `partitions are added at any moment, workers die, and every event is judged once`() throws {
        var added = 0
        for seed in UInt64(0)..<12 {
            let world = try WorkerWorld(seed: seed, markers: seed % 2 == 1)
            var random = SplitMix64(seed: seed ^ 0xADD)
            for _ in 0..<4 {
                try world.produce(60)
                var faults = SimulatedFaults(seed: random.next())
                faults.tornPolls = 0.2
                faults.delayedRequests = 0.2
                if random.chance(50) {
                    let points: [SimulatedFaults.CrashPoint] = [.afterCommit, .beforeCommit, .assign, .poll]
                    faults.crash = .init(points[random.below(points.count)], visit: 1 + random.below(6))
                }
                let at = 2 + random.below(40)
                var rounds = 0
                let error = try world.run(
                    faults,
                    until: { _, _ in
                        rounds += 1
                        world.clock.pause(for: .milliseconds(800))
                        return rounds > 100
                    },
                    step: { step in
                        guard step == at else { return }
                        _ = world.addPartition(to: WorkerWorld.topics[random.below(3)])
                        added += 1
                        try world.produce(60)
                    }
                ).error
                #expect(error.map(SimulatedLog.isCrash) != false, "seed \(seed): \(String(describing: error))")
            }
            #expect(try world.run().error == nil, "seed \(seed)")
            #expect(try world.findings(threads: [1, 2]) == [], "seed \(seed)")
        }
        #expect(added > 30, "\(added)")
    }

    @Test func `a partition that nobody can ask about yet is taken in when it answers`() throws {
        var shop = try Shop(83)
        let world = shop.world
        for source in world.sources { shop.send(source, 0..<20) }
        let added = world.addPartition(to: "clicks")
        var isAway = false
        var rounds = 0
        var before: Int?
        let run = try world.run(
            over: { log in
                log.isAway = { isAway && $0 == added }
                let altered = AlteredLog(log)
                // It comes while the worker runs.
                altered.partitionsOf = { topic, found in topic == "clicks" && rounds < 10 ? [0, 1] : found }
                return altered
            },
            until: { _, _ in
                rounds += 1
                world.clock.pause(for: .milliseconds(500))
                if rounds == 10 {
                    isAway = true
                    shop.send(added, 0..<20)
                }
                if rounds == 150 {
                    before = try world.journal().flatMap(\.ranges).filter { $0.source == added }.count
                    isAway = false
                }
                return rounds > 300
            }
        )
        #expect(run.error == nil && before == 0)
        #expect(try world.findings(threads: [1, 2]) == [])
        #expect(try shop.late() == 0)
    }

    @Test func `a source that is added is behind until it has come as far as the others`() {
        var tracker = WatermarkTracker(sources: 1, latenessMilliseconds: 1000)
        tracker.addSource(isIdle: true)
        #expect(tracker.behindFrom == [nil, nil], "there is no watermark yet")
        tracker.see(source: 0, time: 100_000)
        #expect(tracker.advance() == 99_000)
        tracker.addSource(isIdle: false)
        #expect(tracker.behindFrom[2] == .min && tracker.advance() == 99_000)
        #expect(tracker.behindFrom == [nil, .min, .min])
        tracker.see(source: 2, time: 50_000)
        #expect(tracker.advance() == 99_000 && tracker.behindFrom[2] == 49_000)
        tracker.see(source: 2, time: 100_000)
        tracker.see(source: 0, time: 101_000)
        #expect(tracker.advance() == 99_000 && tracker.behindFrom[2] == nil)
    }
}
