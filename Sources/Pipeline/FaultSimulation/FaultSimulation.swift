import Glibc
import Models
public import RuleLanguage

/// The worker under everything that can go wrong, in one thread, in virtual time and by seed: what `weir sim` runs.
///
/// The worker is the real one, with its `WorkerPace`, `Follower`, `Leader` and `JournalReplay`, and it commits through the real
/// `KafkaWriter`, `CommitCourse` and `TransactionalProducer`. Only what stands behind them is a model: librdkafka's channels and
/// Kafka's coordinator, partitions and group positions. The same seed gives the same trace, byte for byte.
///
/// What must hold after each life: the positions are never ahead of the journal. What must hold once the faults have ended: every
/// input is judged within five workers' lives; the journal is contiguous; each output is there once, and is what a replay of the
/// journal gives; positions and journal agree; no transaction stays open.
public struct FaultSimulation: Sendable {
    /// What came of one seed.
    public struct Outcome: Sendable {
        public var seed: UInt64
        /// What does not hold; empty: all does.
        public var findings: [String]
        /// The faults it was planned to have, in words.
        public var plan: [String]
        /// Names of those that happened, once for each time.
        public var fired: [String]
        /// Every point that was reached, where it was asked for.
        public var trace: [String]
        /// Of the trace, also where it was not kept.
        public var digest: UInt64
        /// Workers that did not end in peace.
        public var deaths: Int
        public var events: Int
    }

    private let deployment: Deployment

    /// Makes the topology that is simulated.
    public init() throws(DiagnosticError) {
        let folder = "/tmp/weir-sim.\(getpid()).\(UInt32.random(in: 0 ... .max))"
        mkdir(folder, 0o700)
        mkdir(folder + "/rules", 0o700)
        FaultSimulation.write(FaultSimulation.topology, folder + "/topology.yaml")
        FaultSimulation.write(FaultSimulation.rules, folder + "/rules/all.weir")
        defer {
            for path in ["/topology.yaml", "/rules/all.weir"] { unlink(folder + path) }
            rmdir(folder + "/rules")
            rmdir(folder)
        }
        deployment = try Deployment(folder: folder)
    }

    private static func write(_ text: String, _ path: String) {
        guard let file = fopen(path, "w") else { return }
        fputs(text, file)
        fclose(file)
    }

    /// Everything that can happen, by name, as ``Outcome/fired`` has it.
    public static var faultNames: [String] {
        Fault.all.map { Fault(life: 0, point: $0.point, visit: 1, effect: $0.effect).name }
    }

    /// Lives one world, in some milliseconds.
    public func run(seed: UInt64, keepingTrace: Bool = false) -> Outcome {
        run(seed: seed, plan: plan(seed), keepingTrace: keepingTrace)
    }

    /// The least part of a failing seed's faults with which it still fails, and the trace with them.
    public func shrink(seed: UInt64) -> Outcome {
        var plan = plan(seed)
        var isSmaller = true
        while isSmaller {
            isSmaller = false
            for i in plan.indices.reversed() {
                var less = plan
                less.remove(at: i)
                if run(seed: seed, plan: less).findings.isEmpty { continue }
                plan = less
                isSmaller = true
            }
        }
        return run(seed: seed, plan: plan, keepingTrace: true)
    }

    func plan(_ seed: UInt64) -> [Fault] {
        var random = SplitMix64(seed: seed)
        return Fault.plan(&random, lives: FaultWorld.lives)
    }

    func run(seed: UInt64, plan: [Fault], mistake: FaultMistake? = nil, keepingTrace: Bool = false) -> Outcome {
        let world = FaultWorld(deployment, seed: seed, plan: plan, mistake: mistake, keepsTrace: keepingTrace)
        world.live()
        return Outcome(
            seed: seed,
            findings: world.findings,
            plan: plan.map(\.description),
            fired: world.fired,
            trace: world.trace,
            digest: world.digest,
            deaths: world.deaths,
            events: world.events
        )
    }

    private static let topology = """
        topology: faults
        time: { lateness: 1m, idle: 1d }
        limits: { keys: 1024 }
        events:
          order:
            topic: orders
            time: ts
            id: id
            subject: account
            emit: all
            fields:
              id: string
              ts: { type: timestamp, format: ms }
              account: { type: string, entity: account, required: true }
              amount: { type: money, scale: 2, required: true }
          click:
            topic: clicks
            time: ts
            subject: account
            emit: flagged
            fields:
              ts: { type: timestamp, format: ms }
              account: { type: string, entity: account, required: true }

        """

    private static let rules = """
        feature clicks_5m = count() of click by account over 5m

        rule spender "Much money in little time" {
          owner "sim"  severity high
          on order
          let spent = sum(amount) of order by account over 2m
          when spent > 5000 && clicks_5m >= 1
          then review, score +40
          because "{spent} cents after {clicks_5m} clicks"
        }

        rule clicker "Many clicks" {
          owner "sim"  severity low
          on click
          let clicks = count() of click by account over 1m
          when clicks >= 2
          then review, score +5
          because "{clicks} clicks"
        }

        """
}
