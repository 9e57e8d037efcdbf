import Testing

@testable import Pipeline

/// What a worker does at the edges: stops, stalls, lost beginnings, foreign journals.
@Suite struct WorkerEdgeTests {
    private static let impatient = Result {
        try WorkerTopology.load(WorkerTopology.text.replacing("idle: 1d", with: "idle: 100ms"))
    }

    // MARK: Time

    @Test func `the watermark follows what was judged, restarts or not`() throws {
        for seed in UInt64(0)..<12 {
            let world = try WorkerWorld(seed: seed, markers: seed % 2 == 0)
            // Every source has something from the beginning: none is ever idle.
            try world.produce(300)
            for visit in 1..<6 {
                var faults = SimulatedFaults(seed: seed)
                faults.crash = SimulatedFaults.Crash(.afterCommit, visit: visit)
                let error = try world.run(faults).error
                #expect(error.map(SimulatedLog.isCrash) != false, "seed \(seed): \(error?.message ?? "")")
                try world.produce(60)
            }
            #expect(try world.run().error == nil)
            var differing: [Int64] = []
            var equal = 0
            _ = try world.replay(threads: 1) { record, watermark, newest in
                // What sources have given and must wait may raise it, but never above the newest of what was judged.
                let most = newest.map { $0 - 60_000 }
                if record.watermark ?? .min < watermark ?? .min
                    || record.watermark ?? .min > max(watermark ?? .min, most ?? .min)
                {
                    differing.append(record.epoch)
                }
                equal += record.watermark == watermark ? 1 : 0
            }
            #expect(equal > 0)
            #expect(differing.isEmpty, "seed \(seed)")
            #expect(try world.journal().reduce(0) { $0 + $1.counts.late } > 0, "seed \(seed)")
            #expect(try world.findings().isEmpty, "seed \(seed)")
        }
    }

    @Test func `a source that gives no events holds the watermark no longer than an idle one`() throws {
        let world = try WorkerWorld(seed: 8, deployment: WorkerEdgeTests.impatient.get())
        // Something to wait for is there from the start.
        world.store.append(world.sources[2], key: nil, value: bytes("no event"))
        var end = Duration.zero
        func isOver(_ step: Int) throws -> Bool { try world.journal().last?.watermark != nil || step > 1000 }
        _ = try world.run(until: { _, step in try isOver(step) }) { _ in
            try world.produce(20, into: [0, 1, 3, 4, 5])
            world.store.append(world.sources[2], key: nil, value: bytes("no event"))
            world.clock.pause(for: .milliseconds(5))
            if try world.journal().last?.watermark == nil { end = world.clock.now }
        }
        #expect(try world.journal().last?.watermark != nil)
        #expect(end >= .milliseconds(100) && end < .milliseconds(200), "\(end)")
    }

    // MARK: Pace

    @Test(arguments: [("100ms", 0.1), ("1d", 10.0)])
    func `a source that never reaches its end does not stop the others for longer than idle, nor than ten seconds`(
        idle: String,
        seconds: Double
    ) throws {
        let world = try WorkerWorld(
            seed: 9,
            deployment: WorkerTopology.load(WorkerTopology.text.replacing("idle: 1d", with: "idle: \(idle)"))
        )
        try world.produce(20, into: [2])
        try world.produce(2000, into: [0, 1, 3, 4, 5])
        var options = world.options()
        options.epochRecords = 100
        var done: Duration?
        let stuck = world.sources[2]
        let (error, _, _) = try world.run(
            options: options,
            over: { log in
                let altered = AlteredLog(log)
                altered.boundsOf = { source, bounds in
                    source == stuck ? (bounds.start, bounds.end + 5) : bounds
                }
                return altered
            },
            until: { _, step in
                if done == nil, try world.isDone() { done = world.clock.now }
                return done != nil || step > 100_000
            },
            step: { _ in world.clock.pause(for: .milliseconds(5)) }
        )
        #expect(error == nil)
        let waited = try #require(done?.inSeconds)
        #expect(waited > seconds, "the others do wait at first")
        #expect(waited < seconds + 2)
        #expect(try world.findings().isEmpty)
    }

    @Test func `a stop ends a worker whose input never ends`() throws {
        let world = try WorkerWorld(seed: 10)
        var options = world.options()
        options.epochRecords = 32
        var steps = 0
        let (error, _, _) = try world.run(options: options, until: { _, step in step >= 10 }) { step in
            steps = step
            if step < 200 { try world.produce(200) }
        }
        #expect(error == nil)
        // What was there when the stop came is judged still, and no more.
        #expect(steps < 150, "\(steps) rounds")
        #expect(try world.findings(allowLeftovers: true).isEmpty)
        #expect(try world.run().error == nil)
        #expect(try world.findings().isEmpty)
    }

    @Test(arguments: [0, 50])
    func `in a backlog the events of all sources are judged in the order of their times, also among bad clocks`(
        minutesFast: Int64
    ) throws {
        let world = try WorkerWorld(seed: 11)
        // Six sources over the same two hours, from an event in 200 ms to one in half an hour; the last begins in the second hour.
        let steps: [Int64] = [60_000, 1_800_000, 200, 7_000, 400_000, 90_000]
        var times: [TopicPartition: [Int64: Int64]] = [:]
        for (source, step) in zip(world.sources, steps) {
            let start = WorkerWorld.start + (step == 90_000 ? 3_600_000 : 0)
            for time in stride(from: start, to: WorkerWorld.start + 7_200_000, by: Int(step)) {
                let at = time + Int64(world.random.below(100))
                world.store.append(
                    source,
                    key: nil,
                    value: bytes("{\"ts\":\(at),\"account\":\"a\",\"amount\":1.00,\"coupon\":\"c\",\"id\":\"i\"}")
                )
                if let record = world.store.records(of: source).last { times[source, default: [:]][record.offset] = at }
                // Three in a thousand of the busiest source, so that a block ends with one now and then.
                if minutesFast > 0, step == 200, world.random.below(1000) < 3 {
                    world.store.append(
                        source,
                        key: nil,
                        value: bytes(
                            "{\"ts\":\(at + minutesFast * 60_000),\"account\":\"fast\",\"amount\":1.00,\"id\":\"f\"}"
                        )
                    )
                }
            }
        }
        var options = world.options()
        options.epochRecords = 500
        #expect(try world.run(options: options).error == nil)
        #expect(try world.isDone())
        #expect(try world.findings().isEmpty)
        let journal = try world.journal()
        var newest = Int64.min
        for record in journal {
            let span = record.ranges.flatMap { range in
                (range.from..<range.to).compactMap { times[range.source]?[$0] }
            }
            #expect(span.min() ?? .max >= newest, "epoch \(record.epoch)")
            // Nobody's wait holds the watermark back: it follows what was judged before, by the lateness of a minute and one
            // event's gap.
            if newest > WorkerWorld.start + 1_800_000 {
                #expect(record.watermark ?? .min >= newest - 1_860_000, "epoch \(record.epoch)")
            }
            newest = max(newest, span.max() ?? .min)
        }
        #expect(journal.allSatisfy { $0.counts.late == 0 && $0.counts.setAside == 0 })
        // Waiting for each other must not make the epochs small.
        let events = journal.reduce(0) { $0 + $1.counts.events }
        #expect(events > 36_000 && journal.count < 2 * Int(events) / 500, "\(events) events in \(journal.count) epochs")
    }

    @Test func `four threads and big epochs give the bytes of one`() throws {
        let world = try WorkerWorld(seed: 12)
        try world.produce(3000)
        world.threads = 4
        var options = world.options()
        options.epochRecords = 1000
        #expect(try world.run(options: options).error == nil)
        #expect(try world.findings(threads: [1, 2, 4]).isEmpty)
        #expect(world.outputs()[OutputTopics.rings, default: []].isEmpty == false)
    }

    @Test func `a late event near a broker's limit is cut and says so`() throws {
        let deployment = try WorkerTopology.load(
            WorkerTopology.text.replacing("record_bytes: 2048", with: "record_bytes: 1048576")
                .replacing("lateness: 1m,", with: "lateness: 1m, late: set_aside,")
        )
        let world = try WorkerWorld(seed: 19, deployment: deployment)
        try world.produce(600)
        #expect(try world.run().error == nil)
        let length = 1_000_000
        let head = "{\"ts\":\(WorkerWorld.start - 86_400_000),\"account\":\"a\",\"item\":\"i\",\"pad\":\""
        let tail = "\"}"
        let pad = String(repeating: "x", count: 20_000 - 3)
        var value = head
        while value.utf8.count < length - 25_000 { value += pad + "\",\"pad\":\"" }
        value += String(repeating: "y", count: length - value.utf8.count - tail.utf8.count) + tail
        world.store.append(world.sources[2], key: nil, value: bytes(value))
        #expect(try world.run().error == nil)
        let late = world.outputs()[OutputTopics.late, default: []].first { $0.value.count > 10_000 }
        #expect(late?.value.count == OutputAssembler.lateBytesMax)
        #expect(late?.headers.contains("weir_length=\(length)") == true)
        #expect(try world.findings().isEmpty)
    }

    @Test func `a stop is heeded during recovery`() throws {
        let world = try WorkerWorld(seed: 20)
        try world.produce(300)
        #expect(try world.run().error == nil)
        let epochs = try world.journal().count
        let (error, _, worker) = try world.run(until: { _, _ in true })
        #expect(error == nil)
        #expect(!worker.isReady)
        #expect(try world.journal().count == epochs)
    }

    // MARK: Topics that change

    @Test func `a partition that appears later is read from its beginning`() throws {
        let world = try WorkerWorld(seed: 13)
        try world.produce(200)
        let first = try world.run(over: { log in
            let altered = AlteredLog(log)
            altered.partitionsOf = { topic, partitions in topic == "clicks" ? [0] : partitions }
            return altered
        })
        #expect(first.error == nil)
        #expect(try !world.isDone())
        try world.produce(100)
        #expect(try world.run().error == nil)
        #expect(try world.findings().isEmpty)
    }

    @Test func `inputs whose beginning is gone are named`() throws {
        for isNamedLate in [false, true] {
            let world = try WorkerWorld(seed: 14)
            let source = world.sources[3]
            if isNamedLate {
                try world.produce(50, into: [0])
                _ = try world.run()
            }
            try world.produce(50, into: [3])
            _ = try world.run()
            world.store.deleteRecords(of: source, before: 7)
            let error = try world.run().error
            #expect(error?.kind == .outOfRange, "\(error?.message ?? "no error")")
            #expect(error?.message.contains("clicks/1") == true)
            #expect(error?.message.contains("retention") == true)
        }
    }

    @Test func `unread inputs whose beginning is gone begin later`() throws {
        let world = try WorkerWorld(seed: 15)
        try world.produce(50, into: [3])
        world.store.deleteRecords(of: world.sources[3], before: 7)
        #expect(try world.run().error == nil)
        let ranges = try world.journal().flatMap(\.ranges)
        #expect(ranges.first?.from == 7)
        #expect(ranges.last?.to == 50)
        try world.produce(50)
        #expect(try world.run().error == nil)
    }

    @Test func `a journal whose beginning is gone is not continued`() throws {
        let world = try WorkerWorld(seed: 16)
        try world.produce(200)
        _ = try world.run()
        world.store.deleteRecords(of: TopicPartition(OutputTopics.journal, 0), before: 2)
        let error = try world.run().error
        #expect(error?.kind == .outOfRange, "\(error?.message ?? "no error")")
        #expect(error?.message.contains("journal") == true)
    }

    @Test func `a journal of a topology with other topics is refused by name`() throws {
        let world = try WorkerWorld(seed: 17)
        try world.produce(200)
        _ = try world.run()
        let other = try WorkerTopology.load(
            WorkerTopology.text.replacing("topic: coupons", with: "topic: vouchers")
        )
        let log = SimulatedLog(world.store)
        try log.create([TopicRequirement(name: "vouchers", partitions: 1)])
        let worker = Worker(other, log: log, threads: 1)
        var steps = 0
        let error = logError {
            try worker.run {
                steps += 1
                return steps > 1000
            }
        }
        #expect(error?.kind == .refused)
        #expect(error?.message.contains("coupons") == true, "\(error?.message ?? "")")
    }

    // MARK: A log that has its troubles

    @Test func `a commit that may work later is tried again, until the worker is stopped`() throws {
        for stops in [false, true] {
            let world = try WorkerWorld(seed: 18)
            try world.produce(100)
            var refusals = 0
            let (error, _, _) = try world.run(
                over: { log in
                    let altered = AlteredLog(log)
                    altered.beforeCommit = {
                        refusals += 1
                        return refusals <= (stops ? .max : 2) ? LogError(.transient, "the brokers are away") : nil
                    }
                    return altered
                },
                until: { log, step in (stops && refusals > 1) || log.visits["wait", default: 0] >= 2 }
            )
            #expect(stops == (error?.kind == .unreachable))
            #expect(stops == (error?.message.contains("the next start judges it again") == true))
            #expect(try stops || world.findings().isEmpty)
        }
    }
}
