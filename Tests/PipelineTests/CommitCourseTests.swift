import KafkaClient
import Models
import Testing

@testable import Pipeline

/// What a Kafka writer does about a batch, as a table, and what holds whatever the brokers do.
@Suite struct CommitCourseTests {
    /// One line is one course of a writer that tries three times: what it learns, and the step that follows.
    ///
    /// `own=N`: ownership was taken where the journal's newest epoch was N. `batch=N`: a batch up to epoch N, `batch=none` one
    /// without. `quiet`, `suspect`: what the producers had to say. `newest=N`: the journal once all is settled; `foreign=N`: and
    /// its record is not of this ownership. What became of a transaction: `ok`; `lost`, `torn`, `large`,
    /// `wrong`, `zombie`: nothing of it was committed; `late`, `lateZombie`: nobody knows.
    private static let table = """
        # All is well.
        own=5 batch=6 listen · quiet transact · ok finish · batch=7 listen · quiet transact · ok finish
        own=-1 batch=none listen · quiet transact · ok finish · batch=0 listen
        # Nobody owns.
        batch=6 notOwned
        own=5 fence batch=6 fenced · batch=6 fenced
        own=5 fence own=6 batch=7 listen
        own=5 close batch=6 notOwned
        own=5 fence close batch=6 fenced
        # Only the epoch behind the newest is written, also where the newest had to be looked up.
        own=5 batch=5 discontinuous5/5 · batch=7 discontinuous7/5 · batch=6 listen
        own=-1 batch=1 discontinuous1/-1 · batch=0 listen
        own=5 batch=6-7 listen · quiet transact · ok finish · batch=7 discontinuous7/7 · batch=8 listen
        own=5 batch=6 listen · quiet transact · late settle · batch=7 settle · newest=5 discontinuous7/5
        own=5 batch=6-7 listen · quiet transact · late settle · batch=9 settle · newest=7 discontinuous9/7
        # A suspect producer has the journal looked at first.
        own=5 batch=6 listen · suspect settle · foreign=5 transact
        own=5 batch=6 listen · suspect settle · newest=5 transact · ok finish · batch=7 listen · quiet transact
        own=5 batch=6 listen · suspect settle · newest=6 overtaken6/5
        own=5 batch=6 listen · suspect settle · newest=4 overtaken4/5
        # A look that could not be made is made before the next commit, though nobody is suspect any more.
        own=5 batch=6 listen · suspect settle · batch=6 listen · quiet settle · newest=5 transact
        # What was not committed is tried again after a while, a few times.
        own=5 batch=6 listen · quiet transact · lost pause100 · paused listen · suspect settle · newest=5 transact · ok finish
        own=5 batch=6 listen · quiet transact · lost pause100 · paused listen · quiet transact · torn pause200 · paused listen · quiet transact · lost exhausted
        # What no other attempt heals.
        own=5 batch=6 listen · quiet transact · large error · batch=6 listen
        own=5 batch=6 listen · quiet transact · wrong error
        own=5 batch=6 listen · quiet transact · zombie error
        # An unknown outcome is looked up: it is there, it is not, or somebody else was there.
        own=5 batch=6 listen · quiet transact · late settle · newest=6 finish · batch=7 listen · quiet transact · ok finish
        own=5 batch=6 listen · quiet transact · late settle · newest=5 pause100 · paused listen · quiet transact · ok finish
        own=5 batch=6 listen · quiet transact · late settle · newest=7 overtaken7/5
        own=5 batch=6 listen · quiet transact · late settle · foreign=6 overtaken6/5
        own=5 batch=6 listen · quiet transact · late settle · foreign=5 pause100
        own=5 batch=6-9 listen · quiet transact · late settle · newest=9 finish · batch=10 listen · suspect settle · newest=9 transact
        own=5 batch=6 listen · quiet transact · lateZombie error
        own=5 batch=none listen · quiet transact · late unknown
        own=5 batch=6 listen · quiet transact · late settle · newest=5 pause100 · paused listen · quiet transact · late settle · newest=5 pause200 · paused listen · quiet transact · late settle · newest=5 exhausted
        # Where it could not be looked up it is so before the next batch, which may be the same or another.
        own=5 batch=6 listen · quiet transact · late settle · batch=6 settle · newest=6 finish
        own=5 batch=6 listen · quiet transact · late settle · batch=6 settle · newest=5 listen · quiet transact · ok finish
        own=5 batch=6 listen · quiet transact · late settle · batch=7 settle · newest=6 listen · quiet transact · ok finish
        own=5 batch=6 listen · quiet transact · late settle · batch=6 settle · newest=8 overtaken8/5
        own=5 batch=6 listen · quiet transact · late settle · batch=6 settle · batch=6 settle · newest=6 finish
        # With ownership taken anew nothing of before is owed.
        own=5 batch=6 listen · quiet transact · late settle · own=6 batch=7 listen · quiet transact
        own=5 batch=6 listen · suspect settle · own=5 batch=6 listen · quiet transact
        """

    private static let lines = table.split(separator: "\n").map(String.init).filter { !$0.hasPrefix("#") }

    @Test(arguments: lines) func `facts lead to steps`(_ line: String) throws {
        var course = CommitCourse(attempts: 3)
        for entry in line.split(separator: "·") {
            var words = entry.split(separator: " ").map(String.init)
            let wanted = words.removeLast()
            var step: CommitCourse.Step?
            for word in words {
                let (name, number, last) = CommitCourseTests.parts(of: word)
                switch name {
                case "own": course.own(newest: try #require(number))
                case "fence": course.fence()
                case "close": course.close()
                default: step = course.next(try #require(CommitCourseTests.fact(name, number, last), "\(word)"))
                }
            }
            #expect(step.map(CommitCourseTests.name) == wanted, "after \(words.joined(separator: " "))")
        }
    }

    /// The name, and behind `=` a number or the first and last of some; none where it is no number.
    private static func parts(of word: String) -> (name: String, number: Int64?, last: Int64?) {
        let parts = word.split(separator: "=").map(String.init)
        guard parts.count > 1 else { return (parts[0], nil, nil) }
        if let number = Int64(parts[1]) { return (parts[0], number, number) }
        let ends = parts[1].split(separator: "-").map { Int64($0) }
        return (parts[0], ends.first ?? nil, ends.last ?? nil)
    }

    private static func fact(_ name: String, _ number: Int64?, _ last: Int64?) -> CommitCourse.Fact? {
        switch name {
        case "batch": .batch(number.flatMap { first in last.map { first...$0 } })
        case "paused": .paused
        case "quiet": .heard(isSuspect: false)
        case "suspect": .heard(isSuspect: true)
        case "newest": number.map { .settled(newest: $0, isOurs: true) }
        case "foreign": number.map { .settled(newest: $0, isOurs: false) }
        case "ok": .transacted(.committed)
        case "lost": .transacted(.notCommitted(unreachable))
        case "torn": .transacted(.notCommitted(KafkaError(.other, "flush", "torn", disposition: .abort)))
        case "large": .transacted(.notCommitted(KafkaError(.tooLarge, "produce", "large", disposition: .abort)))
        case "wrong": .transacted(.notCommitted(KafkaError(.authorisation, "produce", "wrong")))
        case "zombie": .transacted(.notCommitted(fenced))
        case "late": .transacted(.unknown(unreachable))
        case "lateZombie": .transacted(.unknown(fenced))
        default: nil
        }
    }

    private static let unreachable = KafkaError(.unreachable, "commit", "timed out", disposition: .retry)
    private static let fenced = KafkaError(.fenced, "commit", "a newer producer")

    private static func name(_ step: CommitCourse.Step) -> String {
        switch step {
        case .pause(let milliseconds): "pause\(milliseconds)"
        case .listen: "listen"
        case .settle: "settle"
        case .transact: "transact"
        case .finish: "finish"
        case .fail(.notOwned): "notOwned"
        case .fail(.fenced): "fenced"
        case .fail(.overtaken(let newest, let known)): "overtaken\(newest)/\(known)"
        case .fail(.discontinuous(let first, let newest)): "discontinuous\(first)/\(newest)"
        case .fail(.error): "error"
        case .fail(.unknown): "unknown"
        case .fail(.exhausted): "exhausted"
        }
    }

    // MARK: Whatever the brokers do

    /// A journal, two workers of one name, and brokers that answer when they like.
    private struct World {
        var random: SplitMix64
        /// Whose each epoch is, in the journal's order.
        var journal: [(epoch: Int64, isOurs: Bool)] = []
        /// Whether the transactional ids are ours.
        var isHolder = true
        var newest: Int64 { journal.last?.epoch ?? -1 }

        /// Another worker takes the ids and commits.
        mutating func beOvertaken() {
            isHolder = false
            journal.append((newest + 1, false))
        }

        mutating func transact(_ epoch: Int64) -> CommitOutcome {
            guard isHolder else {
                return random.chance(0.5)
                    ? .notCommitted(CommitCourseTests.fenced) : .unknown(CommitCourseTests.fenced)
            }
            if random.chance(0.2) { return .notCommitted(CommitCourseTests.unreachable) }
            let isCommitted = random.chance(0.7)
            if isCommitted { journal.append((epoch, true)) }
            return isCommitted && random.chance(0.6) ? .committed : .unknown(CommitCourseTests.unreachable)
        }
    }

    private enum End { case finished, fenced, failed }

    /// Takes a batch through its course, as the writer does; brokers that do not answer end it as failed.
    private func run(_ course: inout CommitCourse, _ epoch: Int64, _ world: inout World) -> End {
        var step = course.next(.batch(epoch...epoch))
        while true {
            switch step {
            case .pause: step = course.next(.paused)
            case .listen: step = course.next(.heard(isSuspect: world.random.chance(0.2)))
            case .settle:
                if world.random.chance(0.2) { return .failed }
                // The ids come back, also from whoever took them while a commit was under way.
                if world.random.chance(0.02) { world.beOvertaken() }
                world.isHolder = true
                step = course.next(.settled(newest: world.newest, isOurs: world.journal.last?.isOurs == true))
            case .transact: step = course.next(.transacted(world.transact(epoch)))
            case .finish: return .finished
            case .fail(.exhausted): return .failed
            case .fail: return .fenced
            }
        }
    }

    @Test func `whatever becomes of transactions, each epoch is in the journal once, and a finished one is there`() {
        var (ended, failed) = (0, 0)
        for seed in 1...2000 as ClosedRange<UInt64> {
            var world = World(random: SplitMix64(seed: seed))
            var course = CommitCourse(attempts: 3)
            course.own(newest: -1)
            var epoch: Int64 = 0
            while epoch < 20 {
                if world.random.chance(0.01) { world.beOvertaken() }
                let end = run(&course, epoch, &world)
                if end == .fenced {
                    ended += 1
                    #expect(world.journal.contains { !$0.isOurs }, "seed \(seed): somebody else was there")
                    course.fence()
                    #expect(course.next(.batch(epoch...epoch)) == .fail(.fenced))
                    break
                }
                // A batch that failed is committed again, as the worker does.
                if end == .failed {
                    failed += 1
                    continue
                }
                #expect(world.journal.contains { $0.epoch == epoch && $0.isOurs }, "seed \(seed): \(epoch) is there")
                epoch += 1
            }
            #expect(world.journal.map(\.epoch) == (0..<Int64(world.journal.count)).map { $0 }, "seed \(seed)")
        }
        #expect(ended > 100 && failed > 100, "both happened: \(ended), \(failed)")
    }

    @Test func `who repeats an unknown commit without a look doubles it, and the check sees it`() {
        var doubled = 0
        for seed in 1...100 as ClosedRange<UInt64> {
            var world = World(random: SplitMix64(seed: seed))
            for epoch in 0..<20 as Range<Int64> { while world.transact(epoch) != .committed {} }
            if world.journal.map(\.epoch) != (0..<Int64(world.journal.count)).map({ $0 }) { doubled += 1 }
        }
        #expect(doubled > 90)
    }
}
