import Glibc
import Models
public import RuleLanguage
import Synchronization

/// The worker under everything that can go wrong, in one thread, in virtual time and by seed: what `weir sim` runs.
///
/// The worker is the real one, with its `WorkerPace`, `Follower`, `Leader` and `JournalReplay`, and it commits through the real
/// `KafkaWriter`, `CommitCourse` and `TransactionalProducer`. Only what stands behind them is a model: librdkafka's channels and
/// Kafka's coordinator, partitions and group positions. Snapshots are written by the real `FolderSnapshots` into a real folder, by
/// system calls that fail, and files come to harm there. The same seed gives the same trace, byte for byte.
///
/// What must hold after each life: the positions are never ahead of the journal; where inputs were deleted behind a snapshot, who
/// finds a whole one goes on, and who finds none is refused for what is missing. What must hold once the faults have ended: every
/// input is judged within five workers' lives; the journal is contiguous; each output is there once, and is what a replay of the
/// journal gives; positions and journal agree; no transaction stays open. In every fourth world all events come in one order, and
/// of each the same must be said as by one worker that nothing happened to.
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
        /// How often inputs were deleted behind a snapshot.
        public var cuts: Int
        /// Starts that were refused because inputs were gone and no snapshot was whole.
        public var refusals: Int
        var faults: [Fault]
    }

    private let deployment: Deployment

    /// Makes the topology that is simulated.
    public init() throws(DiagnosticError) {
        let folder = FaultSimulation.folder()
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

    /// The points where a crash can be asked for, by name.
    public static var pointNames: [String] { FaultPoint.allCases.map { "\($0)" } }

    /// Lives one world, in some milliseconds.
    public func run(seed: UInt64, keepingTrace: Bool = false) -> Outcome {
        run(seed: seed, plan: plan(seed), keepingTrace: keepingTrace)
    }

    /// Lives the worlds of these seeds on all cores, and hands out what came of them in the order of the seeds.
    ///
    /// - Parameter goOn: false ends it.
    public func run(seeds: ClosedRange<UInt64>, goOn: (Outcome) -> Bool) {
        spread(seeds.count, { run(seed: seeds.lowerBound + UInt64($0)) }, goOn)
    }

    /// The same with a crash in each of a world's lives at one point, instead of what the seeds draw.
    public func run(seeds: ClosedRange<UInt64>, crashingAt point: String, goOn: (Outcome) -> Bool) {
        guard let point = FaultPoint.allCases.first(where: { "\($0)" == point }) else { return }
        let work: @Sendable (Int) -> Outcome = { i in
            let seed = seeds.lowerBound + UInt64(i)
            var random = SplitMix64(seed: seed)
            return run(seed: seed, plan: (0..<FaultWorld.lives).map { Fault.draw(&random, $0, point, .crash) })
        }
        spread(seeds.count, work, goOn)
    }

    /// What threads take their work from, and lay down what came of it.
    private final class Part: Sendable {
        let content: Mutex<(next: Int, outcomes: [Outcome?])>

        init(_ count: Int) { content = Mutex((0, Array(repeating: nil, count: count))) }

        func take() -> Int? {
            content.withLock { content in
                defer { content.next += 1 }
                return content.next < content.outcomes.count ? content.next : nil
            }
        }
    }

    private func spread(_ count: Int, _ live: @escaping @Sendable (Int) -> Outcome, _ goOn: (Outcome) -> Bool) {
        var from = 0
        while from < count {
            let first = from
            let part = Part(min(count - first, 128))
            let work: @Sendable () -> Void = {
                while let i = part.take() {
                    let outcome = live(first + i)
                    part.content.withLock { $0.outcomes[i] = outcome }
                }
            }
            let threads = (1..<max(1, Cores.available)).compactMap { _ in BackgroundThread(named: "weir-sim", work) }
            work()
            for thread in threads { thread.join() }
            let outcomes = part.content.withLock { $0.outcomes }
            for case let outcome? in outcomes where !goOn(outcome) { return }
            from += outcomes.count
        }
    }

    /// The least part of a failed world's faults with which it still fails, and the trace with them.
    public func shrink(_ failed: Outcome) -> Outcome {
        var plan = failed.faults
        var isSmaller = true
        while isSmaller {
            isSmaller = false
            for i in plan.indices.reversed() {
                var less = plan
                less.remove(at: i)
                if run(seed: failed.seed, plan: less).findings.isEmpty { continue }
                plan = less
                isSmaller = true
            }
        }
        return run(seed: failed.seed, plan: plan, keepingTrace: true)
    }

    /// Lives a failed world again.
    public func again(_ failed: Outcome) -> Outcome { run(seed: failed.seed, plan: failed.faults) }

    func plan(_ seed: UInt64) -> [Fault] {
        var random = SplitMix64(seed: seed)
        return Fault.plan(&random, lives: FaultWorld.lives)
    }

    /// - Parameter resealing: makes the checksums right in files of snapshots whose bytes were changed.
    func run(
        seed: UInt64,
        plan: [Fault],
        mistake: FaultMistake? = nil,
        resealing: (([UInt8]) -> [UInt8])? = nil,
        keepingTrace: Bool = false
    ) -> Outcome {
        let folder = ModelFolder(FaultSimulation.folder(), resealing: resealing)
        defer { folder.remove() }
        let world = FaultWorld(
            deployment,
            seed: seed,
            plan: plan,
            folder: folder,
            mistake: mistake,
            keepsTrace: keepingTrace
        )
        world.live()
        return Outcome(
            seed: seed,
            findings: world.findings,
            plan: plan.map(\.description),
            fired: world.fired,
            trace: world.trace,
            digest: world.digest,
            deaths: world.deaths,
            events: world.events,
            cuts: world.cuts,
            refusals: world.refusals,
            faults: plan
        )
    }

    /// A name that nobody has.
    private static func folder() -> String { "/tmp/weir-sim.\(getpid()).\(UInt64.random(in: 0 ... .max))" }

    private static let topology = """
        topology: faults
        time: { lateness: 1m, idle: 1d }
        limits: { keys: 64 }
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
