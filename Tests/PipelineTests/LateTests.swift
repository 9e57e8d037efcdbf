import Detection
import Models
import Testing

@testable import Pipeline

/// Events behind the watermark: judged there and marked, or set aside where the topology says so; and those of a source for which
/// nobody had waited, which are not late.
@Suite struct LateTests {
    private static let start = WorkerWorld.start

    /// Every verdict shows the time that rules see.
    private static func deployment(_ time: String) throws -> Deployment {
        try WorkerTopology.load(
            WorkerTopology.text.replacing("time: { lateness: 1m, idle: 1d }", with: "time: { \(time) }")
                .replacing("emit: all\n    fields:", with: "emit: all\n    context: [ts]\n    fields:")
                .replacing("emit: flagged\n    fields:", with: "emit: all\n    context: [ts]\n    fields:"),
            rules: WorkerTopology.rules
        )
    }

    /// A click or an order of one account.
    private struct Sample {
        var time: Int64
        var account: Int
        var isOrder: Bool
        var value: [UInt8] {
            bytes(
                isOrder
                    ? "{\"id\":\"o\",\"ts\":\(time),\"account\":\"a\(account)\",\"amount\":150.00}"
                    : "{\"ts\":\(time),\"account\":\"a\(account)\",\"item\":\"i\"}"
            )
        }
    }

    /// What the epochs of 64 records give, and where each late event was judged, by its index.
    private func judge(
        _ samples: [Sample],
        _ deployment: Deployment
    ) throws -> (verdicts: [String], counts: EpochCounts, placed: [Int: Int64]) {
        let team = ThreadTeam(lanes: 1)
        defer { team.stop() }
        let processor = EpochProcessor(deployment, team: team)
        let sources = [TopicPartition("clicks", 0), TopicPartition("orders", 0)]
        let block = DecodedBlock(deployment, sources: sources, lanes: 1)
        // One source: who is late does not hang on who is idle.
        var tracker = WatermarkTracker(sources: 1, latenessMilliseconds: 60_000)
        var verdicts: [String] = []
        var counts = EpochCounts()
        var placed: [Int: Int64] = [:]
        for start in stride(from: 0, to: samples.count, by: 64) {
            block.removeAll()
            for n in start..<min(start + 64, samples.count) {
                samples[n].value.withUnsafeBytes {
                    block.stage(source: samples[n].isOrder ? 1 : 0, offset: Int64(n), appendTime: nil, value: $0)
                }
            }
            block.decode(team)
            let watermark = tracker.advance()
            processor.process(
                block.events,
                records: block.stagedCount,
                rejected: block.rejected.count,
                watermark: watermark,
                accepted: { tracker.see(source: 0, time: block.events[$0].time) }
            )
            counts += processor.counts
            for event in block.events.prefix(Int(processor.counts.events)) where event.flags.contains(.late) {
                placed[Int(event.offset)] = event.time
                #expect(event.time == watermark && event.writtenTime == samples[Int(event.offset)].time)
            }
            processor.engine.forEachOutput { output in
                verdicts += String(decoding: output.verdicts.bytes, as: UTF8.self).split(separator: "\n").map(
                    String.init
                )
            }
        }
        return (verdicts, counts, placed)
    }

    /// Takes the mark out of a verdict: `,"late":"…"`.
    private func withoutMark(_ verdict: String) -> String {
        guard let start = verdict.firstRange(of: ",\"late\":\"") else { return verdict }
        let end = verdict[start.upperBound...].firstIndex(of: "\"") ?? verdict.endIndex
        return String(verdict[..<start.lowerBound]) + String(verdict[verdict.index(after: end)...])
    }

    private func samples(seed: UInt64) -> [Sample] {
        var random = SplitMix64(seed: seed)
        var now = Self.start
        return (0..<3000).map { _ in
            now += Int64(random.below(1500))
            let back = random.chance(5) ? 60_000 + random.below(3_600_000) : random.below(20_000)
            return Sample(time: now - Int64(back), account: random.below(5), isOrder: random.chance(40))
        }
    }

    @Test(arguments: [UInt64(1), 2, 3])
    func `a late event is judged as one whose time is the watermark would be`(seed: UInt64) throws {
        let deployment = try Self.deployment("lateness: 1m")
        let samples = samples(seed: seed)
        let found = try judge(samples, deployment)
        #expect(found.counts.late > 50 && found.placed.count == Int(found.counts.late) && found.counts.setAside == 0)
        #expect(found.counts.events == 3000 && found.verdicts.count == 3000)
        var placed = samples
        for (n, time) in found.placed { placed[n].time = time }
        let wanted = try judge(placed, deployment)
        #expect(wanted.counts.late == 0 && wanted.placed.isEmpty)
        #expect(found.verdicts.map(withoutMark) == wanted.verdicts)
        #expect(found.verdicts.count { $0.contains(",\"late\":\"") } == found.placed.count)
        #expect(wanted.verdicts.count { $0.contains("\"decision\":\"review\"") } > 50, "rules speak")
    }

    @Test func `the same events set aside are not judged, and the others know nothing of them`() throws {
        let samples = samples(seed: 1)
        let judged = try judge(samples, try Self.deployment("lateness: 1m"))
        let found = try judge(samples, try Self.deployment("lateness: 1m, late: set_aside"))
        #expect(found.counts.setAside == judged.counts.late && found.counts.late == 0)
        #expect(found.counts.records == 3000 && found.counts.events == 3000 - found.counts.setAside)
        let others = samples.indices.filter { judged.placed[$0] == nil }
        #expect(found.verdicts.count == others.count)
        // But for the digest of the topology, which says how late events are handled.
        func body(_ verdict: String) -> Substring {
            verdict.firstRange(of: ",\"versions\":").map { verdict[..<$0.lowerBound] } ?? verdict[...]
        }
        let wanted = judged.verdicts.filter { !$0.contains(",\"late\":\"") }
        #expect(found.verdicts.map(body) != wanted.map(body))
    }

    // MARK: A source that was idle

    /// Clicks of one partition, of accounts of its own, while orders run on in another.
    private func click(_ n: Int, at time: Int64) -> [UInt8] {
        bytes("{\"ts\":\(time),\"account\":\"k\(n % 40)\",\"item\":\"i\(n % 7)\"}")
    }

    private func order(_ n: Int, at time: Int64) -> [UInt8] {
        bytes("{\"id\":\"o\(n)\",\"ts\":\(time),\"account\":\"a\(n % 9)\",\"amount\":10.00}")
    }

    private static let hour: Int64 = 3_600_000

    /// The clicks of the hour in which their partition was silent, which begins ten minutes after the last click before it.
    private func backlog(_ count: Int) -> [[UInt8]] {
        (0..<count).map { click($0, at: Self.start + 700_000 + Int64($0) * (Self.hour - 800_000) / Int64(count)) }
    }

    private let clicks = TopicPartition("clicks", 0)
    private let orders = TopicPartition("orders", 0)

    /// Appends a minute of both, then an hour of orders alone.
    private func begin(_ world: WorkerWorld) {
        for n in 0..<60 {
            world.store.append(clicks, key: nil, value: click(n, at: Self.start + Int64(n) * 1000))
            world.store.append(orders, key: nil, value: order(n, at: Self.start + Int64(n) * 1000))
        }
    }

    private func go(on world: WorkerWorld) {
        for n in 60..<3600 { world.store.append(orders, key: nil, value: order(n, at: Self.start + Int64(n) * 1000)) }
    }

    /// Runs workers until all is judged and, with `idle`, for so long beyond that.
    private func run(_ world: WorkerWorld, idle: Duration = .zero, epochs: Int? = nil) throws {
        var since: Duration?
        var options = world.options()
        options.epochRecords = 300
        if epochs != nil { options.drainMilliseconds = 0 }
        let before = try world.journal().count
        let (error, _, _) = try world.run(
            options: options,
            until: { log, _ in
                if let epochs, try world.journal().count >= before + epochs { return true }
                if since == nil, try world.isDone(), log.visits["wait", default: 0] > 2 { since = world.clock.now }
                return since.map { world.clock.now - $0 >= idle } ?? false
            },
            step: { _ in world.clock.pause(for: .milliseconds(100)) }
        )
        #expect(error == nil)
    }

    private func verdicts(on topic: String, _ world: WorkerWorld) -> [[UInt8]] {
        let wanted = Array("\"topic\":\"\(topic)\"".utf8)
        return world.outputs()[OutputTopics.verdicts, default: []].map(\.value)
            .filter { $0.firstRange(of: wanted) != nil }.sorted { $0.lexicographicallyPrecedes($1) }
    }

    private func world() throws -> WorkerWorld {
        try WorkerWorld(seed: 41, partitions: 1, deployment: Self.deployment("lateness: 1m, idle: 5s"))
    }

    /// One worker for the minute and the silence, the others for what comes then.
    private func woken(_ world: WorkerWorld, restarts: Int, _ backlog: [[UInt8]]) throws {
        begin(world)
        try run(world, idle: .seconds(12))
        go(on: world)
        try run(world, idle: .seconds(12))
        #expect(try world.journal().last?.watermark ?? 0 > Self.start + Self.hour - 120_000, "nobody waits for it")
        for value in backlog { world.store.append(clicks, key: nil, value: value) }
        for _ in 0..<restarts {
            try run(world, epochs: 7)
            #expect(try !world.isDone(), "it stops in the middle")
        }
        try run(world)
    }

    @Test(arguments: [0, 3])
    func `a partition that was idle is judged at its own times when it wakes, also by workers that start meanwhile`(
        restarts: Int
    ) throws {
        let backlog = backlog(10_000)
        let world = try world()
        try woken(world, restarts: restarts, backlog)
        #expect(try world.findings(threads: [1, 2]) == [])
        #expect(world.seen.late == 0 && world.seen.setAside == 0 && world.seen.events == 13_660, "\(world.seen)")
        let journal = try world.journal()
        #expect(journal.count { $0.aligned.map(\.source) == [clicks] } > 20)
        let marks = journal.compactMap(\.watermark)
        #expect(zip(marks, marks.dropFirst()).allSatisfy { $0 <= $1 }, "no watermark goes back")

        let other = try self.world()
        begin(other)
        go(on: other)
        for value in backlog { other.store.append(clicks, key: nil, value: value) }
        try run(other)
        #expect(try other.findings() == [])
        #expect(try other.journal().allSatisfy { $0.aligned.isEmpty } && other.seen.late == 0)
        let wanted = verdicts(on: "clicks", other)
        #expect(wanted.count == 10_060 && verdicts(on: "clicks", world) == wanted)
        #expect(wanted.count { $0.firstRange(of: Array("\"rule\":\"clicker\"".utf8)) != nil } > 1000, "windows matter")
    }

    @Test func `a partition that gives events is late with an old one`() throws {
        let world = try world()
        begin(world)
        go(on: world)
        for n in 60..<3600 { world.store.append(clicks, key: nil, value: click(n, at: Self.start + Int64(n) * 1000)) }
        try run(world)
        world.store.append(clicks, key: nil, value: click(0, at: Self.start))
        world.store.append(orders, key: nil, value: order(3600, at: Self.start + Self.hour))
        try run(world)
        #expect(try world.findings() == [])
        #expect(world.seen.late == 1, "\(world.seen)")
        #expect(try world.journal().allSatisfy { $0.aligned.isEmpty })
        let late = world.outputs()[OutputTopics.verdicts, default: []].filter {
            $0.value.firstRange(of: Array("\"late\":".utf8)) != nil
        }
        #expect(late.count == 1 && world.outputs()[OutputTopics.late, default: []].isEmpty)
    }

    @Test func `who wakes is late with what its own clock has passed`() throws {
        let world = try world()
        // Two minutes before its last event, and one within the lateness of a minute.
        let old = [click(0, at: Self.start - 61_000), click(0, at: Self.start + 1000)]
        try woken(world, restarts: 0, old + backlog(100))
        #expect(try world.findings() == [])
        #expect(world.seen.late == 1, "\(world.seen)")
        #expect(try world.journal().count { !$0.aligned.isEmpty } > 0)
    }

    @Test func `a source that has caught up is waited for, and late like any other`() throws {
        let world = try world()
        try woken(world, restarts: 0, backlog(2000))
        // On from where the others are, and then one of an hour ago.
        for n in 3540..<3700 {
            world.store.append(clicks, key: nil, value: click(n, at: Self.start + Int64(n) * 1000))
            world.store.append(orders, key: nil, value: order(n, at: Self.start + Int64(n) * 1000))
        }
        try run(world)
        world.store.append(clicks, key: nil, value: click(0, at: Self.start))
        try run(world)
        #expect(try world.findings() == [])
        #expect(world.seen.late == 1, "\(world.seen)")
    }

    @Test func `who was passed while idle is behind until its clock has come as far as the others`() {
        var tracker = WatermarkTracker(sources: 2, latenessMilliseconds: 60_000)
        tracker.see(source: 0, time: 0)
        tracker.see(source: 1, time: 0)
        #expect(tracker.advance() == -60_000 && tracker.behindFrom == [nil, nil])
        tracker.isIdle[1] = true
        tracker.see(source: 0, time: 50_000)
        #expect(tracker.advance() == -10_000 && tracker.behindFrom == [nil, -60_000])
        tracker.isIdle[1] = false
        tracker.see(source: 1, time: 40_000)
        #expect(
            tracker.advance() == -10_000 && tracker.behindFrom == [nil, -20_000],
            "late is what is late by its own clock"
        )
        tracker.see(source: 1, time: 50_000)
        #expect(tracker.advance() == -10_000 && tracker.behindFrom == [nil, nil])
        // Whoever is waited for is never behind, however far the others are.
        tracker.see(source: 0, time: 100_000)
        #expect(tracker.advance() == -10_000 && tracker.behindFrom == [nil, nil])
    }
}
