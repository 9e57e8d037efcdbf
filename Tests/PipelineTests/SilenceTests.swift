import Detection
import Testing

@testable import Pipeline

/// In silence no event ends a tick: the worker does, by a decision that stands in the journal.
@Suite struct SilenceTests {
    /// One tick for all that a test produces, and sources that are idle after five seconds.
    private static let deployment = Result {
        try WorkerTopology.load(WorkerTopology.text.replacing("idle: 1d", with: "idle: 5s, tick: 1h"))
    }

    /// Runs a worker, a tenth of a second each time it looks for a stop, until so much time has passed since it had nothing to do.
    private func run(_ world: WorkerWorld, silentFor silence: Duration) throws {
        var since: Duration?
        let (error, _, _) = try world.run(
            until: { log, _ in
                let now = world.clock.now
                if since == nil, try world.isDone(), log.visits["wait", default: 0] > 2 { since = now }
                return since.map { now - $0 > silence } ?? false
            },
            step: { _ in world.clock.pause(for: .milliseconds(100)) }
        )
        #expect(error == nil)
    }

    private func triggers(_ world: WorkerWorld) throws -> [JournalRecord] {
        try world.journal().filter { !$0.triggers.isEmpty }
    }

    @Test(arguments: [UInt64(1), 2, 3])
    func `silence ends the open tick once, says what it taught, and a replay does it at the same place`(
        seed: UInt64
    ) throws {
        let world = try WorkerWorld(seed: seed, deployment: Self.deployment.get())
        try world.produce(600)
        try run(world, silentFor: .seconds(4))
        #expect(try triggers(world).isEmpty)
        #expect(world.outputs()[OutputTopics.rings, default: []].isEmpty, "nothing else ends this tick")
        // A start anew has not been silent for long, and goes on with the tick that was open.
        try run(world, silentFor: .seconds(60))
        let ended = try triggers(world)
        #expect(ended.map(\.triggers) == [[.endTick(at: WorkerWorld.start + 3_600_000)]])
        #expect(ended.allSatisfy { $0.ranges.isEmpty && $0.counts.events == 0 && $0.counts.verdicts == 0 })
        let rings = world.outputs()[OutputTopics.rings, default: []].count
        #expect(rings > 0)
        #expect(try world.findings(threads: [1, 2]) == [])
        // Events that come late for that tick are judged, and teach the next one.
        try world.produce(100)
        try run(world, silentFor: .seconds(60))
        #expect(
            try triggers(world).flatMap(\.triggers) == [
                .endTick(at: WorkerWorld.start + 3_600_000), .endTick(at: WorkerWorld.start + 7_200_000),
            ]
        )
        #expect(world.seen.late < 50, "the decision makes no event late")
        #expect(try world.findings(threads: [1, 2]) == [])
    }

    @Test func `a log that is away is not silent, and silence begins when it is back`() throws {
        let world = try WorkerWorld(seed: 5, deployment: Self.deployment.get())
        try world.produce(300)
        var (away, back): (Duration?, Duration?)
        var (ofOutage, early) = (0, 0)
        let (error, _, _) = try world.run(
            until: { log, _ in
                let now = world.clock.now
                guard let began = away else {
                    if try world.isDone(), log.visits["wait", default: 0] > 2 {
                        away = now
                        log.isAway = { _ in true }
                    }
                    return false
                }
                guard let end = back else {
                    if now - began > .seconds(60) {
                        ofOutage = try triggers(world).count
                        back = now
                        log.isAway = { _ in false }
                    }
                    return false
                }
                if now - end < .seconds(4) { early = try triggers(world).count }
                return now - end > .seconds(60)
            },
            step: { _ in world.clock.pause(for: .milliseconds(100)) }
        )
        #expect(error == nil)
        #expect(ofOutage == 0, "nobody knows whether the sources were silent")
        #expect(try early == 0 && triggers(world).count == 1)
        #expect(try world.findings(threads: [1, 2]) == [])
    }

    @Test func `a partition whose broker is away holds the watermark back, one that is silent does not`() throws {
        let world = try WorkerWorld(seed: 6, deployment: Self.deployment.get())
        try world.produce(300)
        var (away, isBack): (Duration?, Bool) = (nil, false)
        let (error, _, _) = try world.run(
            until: { log, _ in
                if let away, !isBack, world.clock.now - away > .seconds(30) {
                    isBack = true
                    log.isAway = { _ in false }
                } else if away == nil, try world.isDone() {
                    away = world.clock.now
                    log.isAway = { $0 == world.sources[1] }
                    // Appended, and not to be had.
                    try world.produce(100, into: [1])
                }
                return try isBack && world.isDone()
            },
            step: { _ in
                world.clock.pause(for: .milliseconds(100))
                // Far ahead of the other by the end.
                if away != nil, !isBack { try world.produce(2, into: [0]) }
            }
        )
        #expect(error == nil)
        #expect(try world.findings(threads: [1, 2]) == [])
        #expect(world.seen.events > 800 && world.seen.late < 60, "\(world.seen)")
    }

    @Test func `a source that gives events keeps the tick open for all`() throws {
        let world = try WorkerWorld(seed: 4, deployment: Self.deployment.get())
        try world.produce(200)
        var steps = 0
        let (error, _, _) = try world.run(
            until: { _, _ in
                steps += 1
                return steps > 300
            },
            step: { step in
                world.clock.pause(for: .milliseconds(100))
                // The others are idle by then.
                if step % 30 == 0 { try world.produce(5, into: [0]) }
            }
        )
        #expect(error == nil)
        #expect(world.records >= 240, "it gave events again and again")
        #expect(try triggers(world).isEmpty)
    }
}
