import Detection
import Models
import Testing

@testable import Pipeline

/// A follower that goes on as the journal grows: its state is the one of a fresh replay, and a leader takes over from it.
@Suite struct FollowerTests {
    /// A process that follows the journal of a world on a handle of its own, and keeps what each epoch gives.
    private final class Standby {
        let log: SimulatedLog
        let follower: Follower
        private(set) var epochs: [[String: [WorkerWorld.Output]]] = []
        private let world: WorkerWorld
        private let team: ThreadTeam
        private let assembler: OutputAssembler

        init(_ world: WorkerWorld, threads: Int = 1) throws {
            self.world = world
            log = SimulatedLog(world.store)
            team = ThreadTeam(lanes: threads)
            assembler = OutputAssembler(world.deployment)
            follower = try Follower(
                EpochProcessor(world.deployment, team: team),
                log: log,
                sources: world.sources,
                snapshots: nil,
                releases: FolderReleases(world.deployment, former: world.former),
                clock: world.clock
            )
        }

        deinit { team.stop() }

        /// Follows to the journal's end, or so many epochs.
        func advance(epochs wanted: Int = .max) throws(LogError) {
            var left = wanted
            try follower.advance { (record) throws(LogError) in
                epochs.append(try world.outputs(of: follower.processor, follower.block, assembler, record))
                left -= 1
                return left > 0
            }
        }

        /// Leads from here until there was nothing to do twice.
        func lead(_ options: WorkerOptions) throws -> EpochCounts {
            let committer = Committer(try log.takeOwnership(), world.clock)
            defer { committer.stop() }
            // What was committed before the log was ours.
            try advance()
            let leader = try Leader(
                follower,
                log: log,
                committer: committer,
                options: options,
                clock: world.clock
            )
            let waitsBefore = log.visits["wait", default: 0]
            try leader.run { log.visits["wait", default: 0] >= waitsBefore + 2 }
            return leader.counts
        }

        var all: [String: [WorkerWorld.Output]] {
            epochs.reduce(into: [:]) { all, epoch in
                for (topic, outputs) in epoch { all[topic, default: []] += outputs }
            }
        }
    }

    @Test func `after every epoch a follower that goes on gives the bytes of a fresh replay`() throws {
        for seed in UInt64(0)..<20 {
            let world = try WorkerWorld(seed: seed, markers: seed % 2 == 1)
            var random = SplitMix64(seed: seed ^ 0xF0110)
            // There is not even a journal yet.
            let standby = try Standby(world, threads: 1 + Int(seed % 2))
            try standby.advance()
            for _ in 0..<6 {
                try world.produce(20 + random.below(80))
                var faults = SimulatedFaults(seed: random.next())
                if random.chance(50) { faults.crash = .init(.afterCommit, visit: 1 + random.below(4)) }
                let error = try world.run(faults).error
                #expect(error.map(SimulatedLog.isCrash) != false, "seed \(seed)")
                // Now and then it ends before the journal does, or does not come at all.
                if random.chance(30) { continue }
                if random.chance(50) { try standby.advance(epochs: 1 + random.below(3)) }
                if random.chance(70) { try standby.advance() }
            }
            try standby.advance()
            let fresh = try Standby(world)
            try fresh.advance()
            #expect(standby.epochs.count == (try world.journal().count), "seed \(seed)")
            for (epoch, outputs) in standby.epochs.enumerated() {
                #expect(outputs == fresh.epochs[epoch], "seed \(seed), epoch \(epoch)")
            }
            #expect(
                standby.follower.processor.engine.windowCounters == fresh.follower.processor.engine.windowCounters
            )
            // And these are what stands in the log.
            let written = world.outputs()
            for topic in OutputTopics.all where topic != OutputTopics.journal {
                #expect(
                    standby.all[topic, default: []].sorted() == written[topic, default: []].sorted(),
                    "seed \(seed), \(topic)"
                )
            }
        }
    }

    @Test func `a leader takes over from a follower where the leader before it died`() throws {
        var judged: Int64 = 0
        for seed in UInt64(0)..<20 {
            let world = try WorkerWorld(seed: seed, markers: seed % 2 == 1)
            let standby = try Standby(world)
            try world.produce(150)
            #expect(try world.run().error == nil)
            try standby.advance()
            try world.produce(150)
            var faults = SimulatedFaults(seed: seed)
            let points: [SimulatedFaults.CrashPoint] = [.afterCommit, .beforeCommit, .amidProduce, .poll]
            faults.crash = .init(points[Int(seed) % points.count], visit: 2)
            faults.delayedRequests = 0.3
            #expect(try world.run(faults).error.map(SimulatedLog.isCrash) == true)
            if seed % 3 == 0 { try standby.advance() }
            judged += try standby.lead(world.options()).records
            #expect(try world.isDone(), "seed \(seed)")
            #expect(try world.findings().isEmpty, "seed \(seed)")
            // The next start finds the journal of one worker.
            try world.produce(50)
            #expect(try world.run().error == nil)
            #expect(try world.findings(threads: [1, 2]).isEmpty, "seed \(seed)")
        }
        #expect(judged > 1000, "something is left to take over: \(judged)")
    }

    @Test func `a follower reads the partitions that the journal takes from an epoch on`() throws {
        for seed in UInt64(0)..<10 {
            let world = try WorkerWorld(seed: seed, markers: seed % 2 == 1)
            let standby = try Standby(world)
            if seed % 3 != 0 {
                try world.produce(100)
                #expect(try world.run().error == nil)
                try standby.advance()
            }
            for topic in ["orders", "clicks"] {
                let added = world.addPartition(to: topic)
                try world.produce(150)
                // The first record there is a part of what no epoch may leave out.
                try world.produce(1, into: [world.sources.count - 1])
                #expect(try world.run().error == nil)
                try standby.advance()
                #expect(standby.follower.sources.last == added, "seed \(seed)")
            }
            let fresh = try Standby(world)
            try fresh.advance()
            #expect(standby.epochs == fresh.epochs, "seed \(seed)")
            try world.produce(60)
            #expect(try standby.lead(world.options()).records == 60, "seed \(seed)")
            #expect(try world.findings(threads: [1, 2]).isEmpty, "seed \(seed)")
        }
    }

    @Test func `a follower of a journal whose releases change leads with its own from a state that is warm`() throws {
        let folders = try ReleaseHistoryTests.folders.get()
        for seed in UInt64(0)..<15 {
            let world = try WorkerWorld(seed: seed)
            var random = SplitMix64(seed: seed ^ 0xF0110)
            world.former = random.chance(50) ? folders : []
            world.deployment = folders[random.below(folders.count)]
            let own = world.deployment
            let standby = try Standby(world, threads: 1 + Int(seed % 2))
            for _ in 0..<4 {
                // Releases come that nobody knew of when the first epoch was replayed.
                world.deployment = folders[random.below(folders.count)]
                try world.produce(100)
                #expect(try world.run().error == nil)
                if random.chance(70) { try standby.advance() }
            }
            world.deployment = own
            try world.produce(100)
            #expect(try standby.lead(world.options()).records == 100, "seed \(seed)")
            world.former = folders
            #expect(try world.findings(threads: [1, 2]).isEmpty, "seed \(seed)")
        }
    }

    @Test func `a leader that takes over from a follower that is behind writes nothing`() throws {
        let world = try WorkerWorld(seed: 4)
        try world.produce(200)
        let standby = try Standby(world)
        #expect(try world.run().error == nil)
        try standby.advance(epochs: 1)
        let committer = Committer(try standby.log.takeOwnership(), world.clock)
        defer { committer.stop() }
        let leader = try Leader(
            standby.follower,
            log: standby.log,
            committer: committer,
            options: world.options(),
            clock: world.clock
        )
        var rounds = 0
        let before = world.outputs()
        let error = logError {
            try leader.run {
                rounds += 1
                return rounds > 100
            }
        }
        #expect(error?.kind == .corrupt)
        #expect(world.outputs() == before)
        #expect(try world.findings().isEmpty)
    }
}
