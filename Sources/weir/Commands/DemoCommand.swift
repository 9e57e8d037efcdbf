import Glibc
import Pipeline
import RuleLanguage
import Simulation
import Synchronization

/// `weir demo`: simulated traffic through the flagship topology on the embedded log, verdicts as they come, and what was caught at
/// the end.
enum DemoCommand {
    static func run(_ arguments: ParsedArguments, _ terminal: Terminal) throws -> ExitCode {
        let events = arguments.int("events") ?? 100_000
        let seed = UInt64(arguments.int("seed") ?? 1)
        let deployment = try Deployment(folder: FlagshipTopology.folder())
        let isKept = arguments.string("log") != nil
        let path = try arguments.string("log") ?? temporaryLog()
        defer { if !isKept { remove(path) } }
        StopSignal.install()
        let log = try EmbeddedLog(path: path, application: LogOpening.application(deployment.description.name))
        defer { log.close() }
        try log.create(InputTopics.requirements(deployment.description.topics, on: log))
        for topic in deployment.description.topics where try log.bounds(of: TopicPartition(topic, 0)).end > 0 {
            throw CommandFailure(
                .invalid,
                "\(path) already holds events",
                hint: "name a file that is not there yet, or look into this one: weir tail --log \(path) --since 7d"
            )
        }

        let showsJSON = arguments.isSet("json")
        terminal.note("simulating \(events) events of a marketplace, seed \(seed)\(isKept ? ", into \(path)" : "")")
        let producer = TrafficProducer(path: path, options: .init(scenario: .marketplace, events: events, seed: seed))
        producer.start()
        defer { producer.stop() }

        var decisions: [String: Decision] = [:]
        var printed = 0
        let worker = Worker(deployment, log: log, threads: min(2, Cores.available)) { lines in
            for line in lines.split(separator: UInt8(ascii: "\n")) {
                guard let verdict = VerdictView(json: UnsafeRawBufferPointer(rebasing: line)) else { continue }
                if let decision = Decision(name: verdict.decision) { decisions[verdict.eventID] = decision }
                printed += 1
                if showsJSON {
                    terminal.json(line)
                } else {
                    terminal.line(verdict.line(terminal, .ofInvented))
                }
            }
        }
        let started = ContinuousClock.now
        try worker.run {
            if StopSignal.received != nil || terminal.outputIsClosed {
                // What it writes from now on is for nobody, and the worker drains what is there.
                producer.askToStop()
                return true
            }
            return producer.isDone && worker.counts.records >= Int64(producer.produced)
        }
        let seconds = started.duration(to: .now).inSeconds
        // Its truths are its own until it has ended.
        producer.stop()
        if let failure = producer.failure { throw failure }

        // An attack that nobody has looked at yet is no miss.
        let sources = deployment.description.topics.map { TopicPartition($0, 0) }
        var judged: [String: Int64] = [:]
        for position in try log.committedPositions(of: sources) {
            judged[position.source.topic] = position.next
        }
        var scorecard = Scorecard()
        for truth in producer.truths {
            // Each topic has one partition, and its records lie there in the order of the truths.
            guard let left = judged[truth.topic], left > 0 else { continue }
            judged[truth.topic] = left - 1
            scorecard.record(truth: truth, decision: decisions[truth.id] ?? .allow)
        }
        for _ in 0..<worker.ringsOpened { scorecard.recordRing() }
        terminal.flush()
        let summary =
            "\(worker.counts.events) events, \(printed) verdicts, \(worker.ringsOpened) rings in \(seconds.rounded(to: 1)) s (\(Int(Double(worker.counts.events) / max(seconds, 1e-9))) events/s)"
        if showsJSON {
            terminal.line(
                "{\"events\":\(worker.counts.events),\"verdicts\":\(printed),\"rings\":\(worker.ringsOpened),\"seconds\":\(seconds.rounded(to: 3)),\(scorecard.jsonMembers)}"
            )
        } else {
            terminal.line("")
            terminal.line(summary)
            terminal.write(scorecard.rendered)
            if isKept {
                terminal.line(
                    "\n"
                        + Terminal.escaped(
                            "kept: weir tail --log \(path) --since 7d; weir audit --topology \(deployment.description.folder) --log \(path)"
                        )
                )
            }
        }
        return StopSignal.received ?? .ok
    }

    /// A new file name in the temporary folder.
    private static func temporaryLog() throws(CommandFailure) -> String {
        let folder = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
        var template = Array("\(folder)/weir-demo-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else {
            throw CommandFailure(
                .failure,
                "no temporary file can be made in \(folder): \(String(cString: strerror(errno)))",
                hint: "name one with --log FILE.db"
            )
        }
        return String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self) + "/demo.db"
    }

    /// Deletes the temporary log and its folder.
    private static func remove(_ path: String) {
        for suffix in ["", "-wal", "-shm", "-turn"] { unlink(path + suffix) }
        if let slash = path.lastIndex(of: "/") { rmdir(String(path[..<slash])) }
    }
}

/// Writes simulated events into an embedded log on a thread of its own, as a shop's services would.
///
/// `@unchecked Sendable`: `truths` and `failure` are the thread's own until ``stop()`` has joined it.
final class TrafficProducer: @unchecked Sendable {
    private let path: String
    private let options: TrafficSimulator.Options
    private let done = Atomic<Bool>(false)
    private let wantsStop = Atomic<Bool>(false)
    private let count = Atomic<Int>(0)
    private var thread: BackgroundThread?
    private(set) var truths: [SimulatedEvent] = []
    private(set) var failure: LogError?

    init(path: String, options: TrafficSimulator.Options) {
        self.path = path
        self.options = options
    }

    /// All events are in the log, or the thread has failed.
    var isDone: Bool { done.load(ordering: .acquiring) }
    /// Events in the log so far.
    var produced: Int { count.load(ordering: .acquiring) }

    func start() {
        thread = BackgroundThread(named: "weir-traffic") { self.produce() }
        if thread == nil {
            failure = LogError(.refused, "the system refuses to start a thread for the traffic")
            done.store(true, ordering: .releasing)
        }
    }

    /// Lets the thread end behind the batch it is at; does not wait for it.
    func askToStop() { wantsStop.store(true, ordering: .releasing) }

    /// Ends the thread; a second call does nothing.
    func stop() {
        askToStop()
        thread?.join()
        thread = nil
    }

    private func produce() {
        defer { done.store(true, ordering: .releasing) }
        do throws(LogError) {
            let log = try EmbeddedLog(path: path)
            defer { log.close() }
            var simulator = TrafficSimulator(options)
            var line: [UInt8] = []
            var topics: [String] = []
            var pending: [(topic: Int, key: String, value: [UInt8])] = []
            var isOver = false
            while !isOver, !wantsStop.load(ordering: .acquiring) {
                // Small batches first, so that the first verdict is there at once.
                let size = count.load(ordering: .relaxed) < 4096 ? 256 : 4096
                pending.removeAll(keepingCapacity: true)
                while pending.count < size {
                    guard let event = simulator.next(into: &line) else {
                        isOver = true
                        break
                    }
                    let topic = topics.firstIndex(of: event.topic) ?? topics.count
                    if topic == topics.count { topics.append(event.topic) }
                    pending.append((topic, event.key, line))
                    truths.append(event)
                }
                if pending.isEmpty { break }
                var batch = OutputBatch(topics: topics)
                for record in pending {
                    batch.append(
                        topic: record.topic,
                        key: { $0.append(contentsOf: record.key.utf8) },
                        value: { $0.append(contentsOf: record.value) }
                    )
                }
                try log.append(batch)
                count.add(pending.count, ordering: .releasing)
            }
        } catch { failure = error }
    }
}

extension DemoCommand: Command {
    static var definition: CommandDefinition {
        CommandDefinition(
            name: "demo",
            summary: "simulated marketplace traffic through the flagship topology; needs no set-up",
            discussion: """
                Simulates honest shoppers and several attacks, runs the marketplace topology on the embedded log, prints each
                verdict as it is committed, and ends with a summary: what was caught, what was missed, what was flagged wrongly,
                by attack.
                """,
            flags: [
                .option("events", "N", .integer(1...1_000_000_000), default: "100000", "how many events to simulate"),
                .seed,
                .option("log", "FILE.db", .file, "keep the embedded log in this file; without it, it is thrown away"),
                .json(
                    "verdicts as JSON Lines, and the summary as the last: attacks with caught and missed, honest with false"
                ),
            ],
            examples: [
                .init(line: "weir demo", effect: "watch it work"),
                .init(
                    line: "weir demo --events 20000 --log demo.db",
                    effect: "keep the log, then look around in it: weir tail --log demo.db --since 1h"
                ),
            ],
            exitCodes: [.failure] + ExitCode.ofStops
        )
    }
}
