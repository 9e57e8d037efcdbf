import Detection
import ExpositionFormat
import Models
import RuleLanguage
import Telemetry
import Testing

@testable import Pipeline

/// Repetitions are known as such by every worker that comes and goes, by recovery, replay and audit alike.
@Suite struct DuplicateTests {
    /// Orders are told apart by who orders, so that many repeat another; clicks and coupons by two fields.
    private static let topology = WorkerTopology.text
        .replacing("    emit: all\n", with: "    emit: all\n    dedupe: { by: account, over: 2s }\n")
        .replacing(
            "  click:\n    topic: clicks\n",
            with: "  click:\n    topic: clicks\n    dedupe: { by: [account, item], over: 10s }\n"
        )
        .replacing(
            "  coupon_redeemed:\n    topic: coupons\n",
            with: "  coupon_redeemed:\n    topic: coupons\n    dedupe: { by: [account, coupon], over: 1m }\n"
        )

    private static let deployments = Result {
        try [
            WorkerTopology.load(topology),
            // Another state: a window more.
            WorkerTopology.load(
                topology,
                rules: WorkerTopology.rules.replacing(
                    "  when spent > 20000",
                    with: "  let most = max(amount) of order by account over 10m\n  when most > 8900 || spent > 20000"
                ).replacing("{spent} cents", with: "{spent} cents, {most} at once,")
            ),
        ]
    }

    @Test func `whoever crashes and whichever release judges, replay and audit find every byte and every repetition`()
        throws
    {
        let all = try DuplicateTests.deployments.get()
        #expect(Set(all.map(\.topologyDigest)).count == 1 && Set(all.map(\.release.stateShape)).count == 2)
        for seed in UInt64(0)..<6 {
            let world = try WorkerWorld(seed: seed, markers: seed % 2 == 1, deployment: all[0])
            var random = SplitMix64(seed: seed ^ 0xD0B)
            world.former = all
            for _ in 0..<5 {
                world.deployment = all[random.below(2)]
                world.threads = 1 + random.below(3)
                try world.produce(80 + random.below(100))
                var faults = SimulatedFaults(seed: random.next())
                if random.chance(50) { faults.crash = .init(.afterCommit, visit: 1 + random.below(3)) }
                let error = try world.run(faults).error
                #expect(error.map(SimulatedLog.isCrash) != false, "seed \(seed): \(error?.message ?? "")")
            }
            #expect(try world.run().error == nil)
            #expect(try world.findings(threads: [1, 2, 4]).isEmpty, "seed \(seed)")
            let told = world.outputs()[OutputTopics.verdicts, default: []].count {
                String(decoding: $0.value, as: UTF8.self).contains("\"duplicate\":true")
            }
            #expect(
                world.seen.duplicates > 60 && told > 20 && told < world.seen.duplicates,
                "seed \(seed): \(world.seen)"
            )
        }
    }

    @Test func `who looks for no repetitions judges otherwise, so the comparison can fail`() throws {
        let world = try WorkerWorld(seed: 3, deployment: try DuplicateTests.deployments.get()[0])
        try world.produce(200)
        #expect(try world.run().error == nil)
        #expect(try world.findings().isEmpty && world.seen.duplicates > 5)
        world.deployment = try WorkerTopology.standard.get()
        let found = try world.findings()
        #expect(found.contains { $0.contains("weir.verdicts is not what") }, "\(found)")
    }

    @Test func `metrics count repetitions by event type, and those of types without dedupe are not there`() throws {
        let deployment = try DuplicateTests.deployments.get()[0]
        let world = try WorkerWorld(seed: 5, deployment: deployment)
        let registry = MetricsRegistry()
        let metrics = WorkerMetrics(registry, deployment)
        try world.produce(300)
        #expect(try world.run(metrics: metrics).error == nil)
        #expect(try world.findings().isEmpty)
        let samples = ExpositionChecker(registry.render()).samples
        let counted = ["order", "click", "coupon_redeemed"].map {
            samples["weir_duplicates_total{event=\"\($0)\"}"] ?? -1
        }
        #expect(counted.reduce(0, +) == Double(world.seen.duplicates) && counted.allSatisfy { $0 > 0 }, "\(counted)")
        #expect(samples["weir_dedupe_ids{event=\"order\"}"] ?? 0 > 0)
        #expect(samples["weir_dedupe_evictions_total{event=\"click\"}"] == 0)
        let plain = MetricsRegistry()
        _ = WorkerMetrics(plain, try WorkerTopology.standard.get())
        #expect(!ExpositionChecker(plain.render()).samples.keys.contains { $0.hasPrefix("weir_duplicates_total") })
    }
}
