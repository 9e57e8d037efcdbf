import Glibc
import Models
import Testing

@testable import Pipeline

/// Exactly once, by simulation: whatever breaks, the log tells the story of one worker that nothing ever happened to.
///
/// A failing seed is in the test's message; `WEIR_LONG=N` runs N times as many.
@Suite struct WorkerFaultTests {
    private static let factor = getenv("WEIR_LONG").flatMap { UInt64(String(cString: $0)) } ?? 1

    private static let points =
        SimulatedFaults.CrashPoint.allCases.map { (point: $0.rawValue, often: $0 == .create || $0 == .assign ? 1 : 12) }
        + [(point: "ownership", often: 1)]

    /// Faults drawn from a seed; now and then none.
    private func faults(_ random: inout SplitMix64, crash: Bool = true) -> SimulatedFaults {
        var faults = SimulatedFaults(seed: random.next())
        if random.chance(50) { faults.tornPolls = 0.3 }
        if random.chance(60) {
            faults.lostReplies = Double(random.below(4)) / 10
            faults.lostRequests = Double(random.below(3)) / 10
            faults.delayedRequests = Double(random.below(4)) / 10
        }
        if crash, random.chance(80) {
            let (point, often) = WorkerFaultTests.points[random.below(WorkerFaultTests.points.count)]
            faults.crash = SimulatedFaults.Crash(named: point, visit: 1 + random.below(often))
        } else if crash, random.chance(30) {
            faults.fencedAtCommit = 1 + random.below(5)
        }
        return faults
    }

    /// One life: inputs arrive in parts, workers die and are started again until everything is in the journal.
    private func live(_ seed: UInt64, aside: Bool = false) throws -> (world: WorkerWorld, deaths: Int) {
        let world = try WorkerWorld(seed: seed, markers: seed % 2 == 1)
        var random = SplitMix64(seed: seed ^ 0x5EED)
        var deaths = 0
        for part in 0..<8 {
            try world.produce(20 + random.below(60))
            world.threads = [1, 1, 2][part % 3]
            let (error, _, _) =
                aside
                ? try world.run(
                    faults(&random),
                    over: { AsideLog($0) },
                    until: { _, step in try step > 100_000 || step % 8 == 0 && world.isDone() }
                )
                : try world.run(faults(&random))
            if let error {
                deaths += 1
                guard SimulatedLog.isCrash(error) || error.kind == .fenced else { throw error }
            }
        }
        for _ in 0..<20 where try !world.isDone() {
            if let error = try world.run(faults(&random, crash: false)).error { throw error }
        }
        return (world, deaths)
    }

    @Test func `whatever dies, is lost or comes late, every input is judged once and the audit is clean`() throws {
        var deaths = 0
        var seen = EpochCounts()
        var rings = 0
        for seed in 0..<(100 * WorkerFaultTests.factor) {
            do {
                let (world, died) = try live(seed)
                deaths += died
                let found = try world.findings(threads: seed % 10 == 0 ? [1, 2, 4] : [1])
                #expect(found.isEmpty, "seed \(seed)")
                seen += world.seen
                rings += world.outputs()[OutputTopics.rings, default: []].count
            } catch { Issue.record("seed \(seed): \(error)") }
        }
        #expect(deaths > 200, "the faults do happen: \(deaths)")
        #expect(seen.events > seen.verdicts && seen.verdicts > 1000, "\(seen)")
        #expect(seen.late > 100 && seen.deadLetters > 100 && rings > 10, "\(seen), \(rings) rings")
    }

    @Test func `the same holds where commits run beside reading`() throws {
        var deaths = 0
        for seed in 1000..<(1000 + 40 * WorkerFaultTests.factor) {
            do {
                let (world, died) = try live(seed, aside: true)
                deaths += died
                #expect(try world.findings(threads: [1, 2]).isEmpty, "seed \(seed)")
            } catch { Issue.record("seed \(seed): \(error)") }
        }
        #expect(deaths > 60, "the faults do happen: \(deaths)")
    }

    @Test func `a crash at each point, at its first and third visit, is repaired by the next worker`() throws {
        for (point, often) in WorkerFaultTests.points {
            for visit in [1, 3] where visit <= often {
                for isSecond in [false, true] {
                    let world = try WorkerWorld(seed: 77, markers: isSecond)
                    try world.produce(150)
                    // The second worker's crash falls into recovery where the point is one of reading.
                    if isSecond { _ = try world.run() }
                    if isSecond { try world.produce(150) }
                    var faults = SimulatedFaults(seed: 5)
                    faults.crash = SimulatedFaults.Crash(named: point, visit: visit)
                    let (error, log, _) = try world.run(faults)
                    // A recovered log is read once and assigned once.
                    let isReached = log.visits[point, default: 0] >= visit
                    #expect(isReached == log.hasCrashed, "\(point), visit \(visit)")
                    if isReached {
                        #expect(error.map(SimulatedLog.isCrash) == true, "\(point): \(error?.message ?? "")")
                    }
                    let after = try world.run()
                    #expect(after.error == nil, "\(point), visit \(visit): \(after.error?.message ?? "")")
                    #expect(try world.findings().isEmpty, "\(point), visit \(visit)")
                }
            }
        }
    }

    @Test func `a worker that was overtaken writes nothing more`() throws {
        for seed in UInt64(0)..<10 {
            let world = try WorkerWorld(seed: seed)
            try world.produce(200)
            var inner: (error: LogError?, log: SimulatedLog, worker: Worker)?
            var options = world.options()
            options.epochRecords = 10
            options.transactionRecords = 10
            let outer = try world.run(
                options: options,
                step: { step in
                    if step == 1 + Int(seed) { inner = try world.run() }
                }
            )
            #expect(outer.error?.kind == .fenced, "seed \(seed)")
            #expect(inner?.error == nil, "seed \(seed)")
            #expect(try world.findings().isEmpty, "seed \(seed)")
        }
    }

    // MARK: Proof that the checks can fail

    @Test func `with the mistake of keeping the producer the checks fail`() throws {
        var failed = 0
        for seed in UInt64(0)..<20 {
            let world = try WorkerWorld(seed: seed)
            try world.produce(200)
            var faults = SimulatedFaults(seed: seed)
            faults.delayedRequests = 0.5
            faults.keepsProducer = true
            let (error, _, _) = try world.run(faults)
            if try error != nil || !world.findings().isEmpty { failed += 1 }
        }
        #expect(failed > 10)
    }

    @Test func `a worker that skips its recovery is found out`() throws {
        let world = try WorkerWorld(seed: 3)
        try world.produce(100)
        _ = try world.run()
        #expect(try world.findings().isEmpty)
        try world.produce(100)
        _ = try world.run(over: { log in
            let blind = AlteredLog(log)
            blind.partitionsOf = { topic, partitions in topic == OutputTopics.journal ? nil : partitions }
            return blind
        })
        #expect(try !world.findings().isEmpty)
    }
}
