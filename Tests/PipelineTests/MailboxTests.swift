import Synchronization
import Telemetry
import Testing
import Waiting

@testable import Pipeline

/// Questions to a worker, served between epochs.
@Suite struct MailboxTests {
    private static let limit = Int(Waiting.limit * 1000)

    /// Returns as they come to the thread that asks for them.
    private final class Asker: Sendable {
        private let heard = Mutex<[Int64]>([])
        private let isOver = Atomic<Bool>(false)

        var answers: [Int64] { heard.withLock { $0 } }
        /// The mailbox has refused a question.
        var isRefused: Bool { isOver.load(ordering: .acquiring) }

        /// Asks one question after the other, until one is refused or so many were answered.
        func ask(_ mailbox: Mailbox, most: Int = .max) throws -> BackgroundThread {
            try #require(
                BackgroundThread(named: "test-asker") {
                    var left = most
                    while left > 0, let epochs = mailbox.ask(waiting: MailboxTests.limit, { $0.epochs }) {
                        self.heard.withLock { $0.append(epochs) }
                        left -= 1
                    }
                    self.isOver.store(left > 0, ordering: .releasing)
                }
            )
        }
    }

    @Test func `a worker serves what others ask between its epochs, and refuses it when it has ended`() throws {
        let world = try WorkerWorld(seed: 31)
        try world.produce(500)
        let worker = Worker(
            world.deployment,
            log: SimulatedLog(world.store),
            threads: 1,
            options: world.options(),
            clock: world.clock
        )
        #expect(worker.mailbox.ask(waiting: MailboxTests.limit, { $0.epochs }) == nil, "it does not run yet")
        let asker = Asker()
        var thread: BackgroundThread?
        var rounds = 0
        try worker.run {
            rounds += 1
            if thread == nil { thread = try? asker.ask(worker.mailbox) }
            return asker.answers.count >= 50 && rounds > 200
        }
        thread?.join()
        #expect(asker.isRefused)
        let journaled = Int64(try world.journal().count)
        #expect(asker.answers == asker.answers.sorted() && asker.answers.last == journaled)
        #expect(asker.answers.allSatisfy { (0...journaled).contains($0) })
        #expect(try world.findings().isEmpty)
    }

    @Test func `a worker that recovers serves too, after each epoch`() throws {
        let world = try WorkerWorld(seed: 32)
        try world.produce(500)
        #expect(try world.run().error == nil)
        let worker = Worker(
            world.deployment,
            log: SimulatedLog(world.store),
            threads: 1,
            options: world.options(),
            clock: world.clock
        )
        let asker = Asker()
        var thread: BackgroundThread?
        var epochs: Int64 = 0
        try worker.run {
            epochs += 1
            if epochs == 3 {
                thread = try? asker.ask(worker.mailbox, most: 1)
                Waiting.until { worker.mailbox.hasMail }
            }
            return epochs == 5
        }
        thread?.join()
        #expect(!worker.isReady)
        #expect(asker.answers == [4])
    }

    @Test func `more questions than may wait are refused at once, and those that wait when a worker ends`() throws {
        let mailbox = Mailbox()
        mailbox.open()
        let askers = (0..<Mailbox.lettersMax).map { _ in Asker() }
        let threads = try askers.map { try $0.ask(mailbox, most: 1) }
        Waiting.until { mailbox.waitingCount == Mailbox.lettersMax }
        #expect(mailbox.ask(waiting: MailboxTests.limit, { $0.epochs }) == nil)
        mailbox.close()
        for thread in threads { thread.join() }
        #expect(askers.allSatisfy { $0.isRefused && $0.answers.isEmpty })
    }

    @Test func `a question that nobody comes to in time is withdrawn`() {
        let mailbox = Mailbox()
        mailbox.open()
        #expect(mailbox.ask(waiting: 1, { $0.epochs }) == nil)
        #expect(!mailbox.hasMail)
    }

    @Test func `the registry is refreshed with the state's size while the worker runs`() throws {
        let world = try WorkerWorld(seed: 33)
        try world.produce(300)
        let registry = MetricsRegistry()
        let metrics = WorkerMetrics(registry, world.deployment)
        let worker = Worker(
            world.deployment,
            log: SimulatedLog(world.store),
            threads: 1,
            options: world.options(),
            metrics: metrics,
            clock: world.clock
        )
        let keys = registry.gauge("weir_window_keys", help: "Keys held in windows.")
        let bytes = registry.gauge("weir_state_bytes", help: "Memory of keys, windows, rings and models.")
        let isSeen = Atomic<Bool>(false)
        let reporter = try #require(
            BackgroundThread(named: "test-reporter") {
                isSeen.store(
                    Waiting.until {
                        metrics.refresh()
                        return keys.value > 0
                    },
                    ordering: .releasing
                )
            }
        )
        var rounds = 0
        try worker.run {
            rounds += 1
            if rounds % 100 == 0 { Waiting.yield() }
            return isSeen.load(ordering: .acquiring)
        }
        reporter.join()
        let wasSeen = isSeen.load(ordering: .acquiring)
        #expect(wasSeen)
        #expect(Int(bytes.value) == worker.stateBytes, "and measured a last time at its end")
    }
}
