import Glibc
import Models
import Testing

@testable import Pipeline

/// The real commit logic over a simulated broker, by seed; `weir sim` shows a seed that fails.
@Suite struct FaultSimulationTests {
    private static let isLong = getenv("WEIR_LONG") != nil
    private static let simulation = Result { try FaultSimulation() }

    @Test func `whatever happens to workers, brokers and disks, every input is judged once and every fault happens`()
        throws
    {
        let simulation = try FaultSimulationTests.simulation.get()
        var fired: Set<String> = []
        var (deaths, cuts, refusals, failed, known) = (0, 0, 0, 0, 0)
        simulation.run(seeds: 0...(FaultSimulationTests.isLong ? 99_999 : 1999)) { outcome in
            fired.formUnion(outcome.fired)
            deaths += outcome.deaths
            cuts += outcome.cuts
            refusals += outcome.refusals
            if outcome.findings.isEmpty { return true }
            // Undone where a coordinator skipped markers, which is not repaired yet: right without that fault.
            let others = outcome.faults.filter { $0.effect != .skippedMarkers }
            if others.count < outcome.faults.count, known < 20,
                simulation.run(seed: outcome.seed, plan: others).findings.isEmpty
            {
                known += 1
                withKnownIssue { Issue.record("seed \(outcome.seed): \(outcome.findings)") }
                return true
            }
            failed += 1
            Issue.record("seed \(outcome.seed): \(outcome.findings)\n\(outcome.plan.joined(separator: "\n"))")
            return failed < 5
        }
        #expect(deaths > 1000, "workers do die: \(deaths)")
        #expect(
            cuts > refusals && refusals > 10,
            "inputs are deleted, and missed where no snapshot is whole: \(refusals) of \(cuts)"
        )
        #expect(FaultSimulation.faultNames.filter { !fired.contains($0) } == [], "these faults never happened")
    }

    @Test func `a crash at each point is repaired by the next worker`() throws {
        let simulation = try FaultSimulationTests.simulation.get()
        #expect(FaultSimulation.pointNames.count >= 20)
        for point in FaultSimulation.pointNames {
            var deaths = 0
            simulation.run(seeds: 0...(FaultSimulationTests.isLong ? 199 : 9), crashingAt: point) { outcome in
                deaths += outcome.deaths
                #expect(outcome.findings.isEmpty, "\(point), seed \(outcome.seed): \(outcome.plan)")
                return true
            }
            #expect(deaths > 0, "\(point)")
        }
    }

    @Test func `the same seed gives the same trace, byte for byte`() throws {
        let simulation = try FaultSimulationTests.simulation.get()
        for seed in UInt64(0)..<20 {
            let first = simulation.run(seed: seed, keepingTrace: true)
            let second = simulation.run(seed: seed, keepingTrace: true)
            #expect(
                first.trace == second.trace && first.digest == second.digest && !first.trace.isEmpty,
                "seed \(seed)"
            )
            #expect(simulation.run(seed: seed).digest == first.digest)
        }
    }

    /// Not repaired yet: at a start, what the abort of a former owner's transaction left open is committed, where another part of
    /// the same transaction is aborted.
    @Test func `what a dead worker left undecided is not decided in parts`() throws {
        let simulation = try FaultSimulationTests.simulation.get()
        withKnownIssue {
            for seed in UInt64(0)..<30 {
                var plan = [Fault(life: 0, point: .decide, visit: 4, effect: .crash)]
                plan += [1, 2].map { Fault(life: 1, point: .initialise, visit: $0, effect: .skippedAbort) }
                #expect(simulation.run(seed: seed, plan: plan).findings.isEmpty, "seed \(seed)")
            }
        }
    }

    /// Not repaired yet, and why a seed of the 2,000 fails: what a coordinator has decided and left open is ended by a tombstone
    /// in a transaction of the same producer; whoever fences or kills it before its decision aborts what was committed.
    @Test func `a repair of a decided commit that is cut short undoes nothing`() throws {
        let simulation = try FaultSimulationTests.simulation.get()
        withKnownIssue {
            for seed in UInt64(0)..<40 {
                for second in [FaultEffect.takeover, .crash] {
                    let plan = [
                        Fault(life: 0, point: .decide, visit: 3, effect: .skippedMarkers),
                        Fault(life: 1, point: .flushed, visit: 2, effect: second),
                    ]
                    let outcome = simulation.run(seed: seed, plan: plan)
                    #expect(outcome.findings.isEmpty, "seed \(seed), \(second): \(outcome.findings)")
                }
            }
        }
    }

    @Test func `who is overtaken while it recovers says so, and not that the journal is damaged`() throws {
        let simulation = try FaultSimulationTests.simulation.get()
        for seed in UInt64(0)..<20 {
            for visit in 1...8 {
                let plan = [0, 1].map { Fault(life: $0, point: .poll, visit: visit, effect: .takeover) }
                let outcome = simulation.run(seed: seed, plan: plan)
                #expect(outcome.findings.isEmpty, "seed \(seed), visit \(visit)")
            }
        }
    }

    // MARK: Proof that the checks can fail

    @Test(arguments: FaultMistake.allCases) func `a mistake is found out`(_ mistake: FaultMistake) throws {
        let simulation = try FaultSimulationTests.simulation.get()
        var failed = 0
        for seed in UInt64(0)..<300 where failed < 3 {
            var random = SplitMix64(seed: seed)
            var plan: [Fault] = []
            for life in 0..<FaultWorld.lives {
                switch mistake {
                case .keepsProducers:
                    let point: FaultPoint = random.next() % 2 == 0 ? .decide : .sendPositions
                    let effect: FaultEffect = random.next() % 2 == 0 ? .held : .cut
                    // It comes into one of the next transactions.
                    plan += (1...3).map { visit in
                        Fault(
                            life: life,
                            point: point,
                            visit: visit,
                            effect: effect,
                            milliseconds: Int(random.next() % 40)
                        )
                    }
                case .takesBack: plan.append(Fault.draw(&random, life, .positionsSent, .takeover))
                }
            }
            #expect(simulation.run(seed: seed, plan: plan).findings.isEmpty, "seed \(seed), without the mistake")
            if !simulation.run(seed: seed, plan: plan, mistake: mistake).findings.isEmpty { failed += 1 }
        }
        #expect(failed >= 3, "\(mistake)")
    }

    @Test func `a snapshot whose checksums are not looked at is found out`() throws {
        let simulation = try FaultSimulationTests.simulation.get()
        var (failed, seed) = (0, UInt64(0))
        while failed < 3, seed < 400 {
            var random = SplitMix64(seed: seed)
            let plan = (1..<FaultWorld.lives).map { Fault.draw(&random, $0, .snapshotLook, .flipped) }
            #expect(simulation.run(seed: seed, plan: plan).findings.isEmpty, "seed \(seed), with its checksums")
            let outcome = simulation.run(seed: seed, plan: plan, resealing: StateSeal.renewed)
            if !outcome.findings.isEmpty { failed += 1 }
            seed += 1
        }
        #expect(failed >= 3)
    }
}
