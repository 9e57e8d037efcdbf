import Models
import Testing

@testable import Pipeline

/// What a worker does next, as a table, and what holds whatever comes.
@Suite struct WorkerPaceTests {
    private static let options: WorkerOptions = {
        var options = WorkerOptions()
        options.epochRecords = 100
        options.lingerMilliseconds = 1
        options.transactionMilliseconds = 200
        options.transactionRecords = 1000
        options.transactionBytes = 5000
        options.drainMilliseconds = 3000
        return options
    }()

    /// In a phase, by these facts, the worker takes that step and is then in that phase.
    ///
    /// `mail`: others have asked something. `stop`: an end is asked for, `draining`: since a second, `overdue`: since too long,
    /// `left`: and nothing more is read. `got=N`, `staged=N` records; `age=N` milliseconds since the first of them came.
    /// `filling=N` records judged and not handed over, `bytes=N` of output, `open=N` milliseconds since the first of them came.
    /// `quiet`: all sources are idle and a tick is open; `silent=N` milliseconds since the last poll.
    private static let table = """
        # A round begins with a look, and then the sources are polled.
        resting                                             look            looked
        resting  mail                                       look            looked
        resting  staged=5 stop committing                   look            looked
        looked                                              poll            polled
        looked   silent=1000                                poll            polled
        # Others are served between two rounds, and no more than once a round.
        looked   mail                                       serve           served
        looked   mail stop                                  drain           looked
        served   mail                                       poll            polled
        served   mail silent=1001                           resume          served
        # Who was held up polls as if nobody had stood still.
        looked   silent=1001                                resume          looked

        # Nothing came: what was judged is committed, a commit is waited for, otherwise it waits for records.
        polled                                              pause           resting
        polled   filling=5                                  commit          resting
        polled   filling=5 committing                       awaitEnd        polled
        polled   committing                                 await2          resting
        polled   backlog                                    pause           resting
        # Silence ends the open tick when nothing else is to be done, and what comes of it is committed.
        polled   quiet                                      endTick         polled
        polled   quiet filling=1                            commit          resting
        polled   quiet committing                           await2          resting
        polled   quiet stop draining                        stop            stopped
        polled   quiet got=5 staged=5                       look            looked

        # Something came: more may be on its way, for as long as records may linger.
        polled   got=5 staged=5                             look            looked
        polled   staged=5 age=0.9                           wait1           resting
        polled   staged=5 age=1                             cut             decided
        polled   got=5 staged=5 age=1                       cut             decided
        polled   got=1 staged=100                           cut             decided
        polled   got=1 staged=5 full                        cut             decided
        polled   got=1 staged=5 stop draining               cut             decided
        # What could not be committed now may as well grow.
        polled   got=5 staged=5 age=9 committing            await2          resting
        polled   got=5 staged=100 committing                cut             decided
        # In a backlog what was asked for has come.
        polled   got=5 staged=5 backlog                     cut             decided
        polled   got=5 staged=5 backlog committing          cut             decided
        polled   staged=5 backlog                           wait1           resting
        polled   staged=5 backlog age=1 committing          cut             decided
        # All of it waits for a source that has not come so far.
        polled   staged=500 heldUp                          pause           resting
        polled   staged=500 heldUp filling=9                commit          polled
        polled   staged=500 heldUp filling=9 committing     pause           resting
        polled   got=1 staged=500 heldUp                    cut             decided

        # An epoch was judged: it is committed at once, or when the commit before has ended.
        decided  judged filling=5                           commit          resting
        decided  judged filling=5 committing                look            looked
        # In a backlog epochs share a transaction, up to its size and time.
        decided  judged filling=5 backlog                   look            looked
        decided  judged filling=5 backlog open=199          look            looked
        decided  judged filling=5 backlog open=200          commit          resting
        decided  judged filling=1000 backlog                commit          resting
        decided  judged filling=5 bytes=5000 backlog        commit          resting
        decided  judged filling=1000 backlog committing     awaitEnd        decided
        decided  judged filling=5 open=999 committing       look            looked
        # All was held back: to decode few new records and all the others again would be work for nothing.
        decided  got=63                                     pause           resting
        decided  got=64                                     look            looked
        decided  got=64 filling=5                           commit          decided
        decided  got=64 filling=5 committing                look            looked

        # A stop: what is in the log now is read still, but not for long.
        looked   stop                                       drain           looked
        looked   stop draining                              poll            polled
        looked   stop overdue                               leave           looked
        looked   stop left                                  poll            polled
        polled   stop draining filling=5                    commit          resting
        polled   stop draining committing                   await2          resting
        polled   stop draining                              stop            stopped
        stopped  stop draining staged=5                     stop            stopped
        """

    @Test func `by these facts it takes that step`() throws {
        var rows = 0
        for line in WorkerPaceTests.table.split(separator: "\n") where !line.hasPrefix("#") {
            var words = line.split(separator: " ").map(String.init)
            let then = try phase(words.removeLast())
            let step = try WorkerPaceTests.step(words.removeLast())
            let (start, facts) = try read(words)
            var pace = start
            #expect(pace.next(facts) == step, "\(line)")
            #expect(pace.phase == then, "\(line)")
            rows += 1
        }
        #expect(rows > 45)
    }

    private struct Unknown: Error { var word: String }

    private func phase(_ word: String) throws -> WorkerPace.Phase {
        switch word {
        case "resting": .resting
        case "looked": .looked
        case "served": .served
        case "polled": .polled
        case "decided": .decided
        case "stopped": .stopped
        default: throw Unknown(word: word)
        }
    }

    private static func step(_ word: String) throws -> WorkerPace.Step {
        switch word {
        case "look": .look
        case "drain": .drain
        case "leave": .leave
        case "serve": .serve
        case "resume": .resume
        case "poll": .poll
        case "wait1": .wait(milliseconds: 1)
        case "pause": .pause
        case "cut": .cut
        case "endTick": .endTick
        case "commit": .commit
        case "await2": .awaitCommit(milliseconds: 2)
        case "awaitEnd": .awaitCommit(milliseconds: nil)
        case "stop": .stop
        default: throw Unknown(word: word)
        }
    }

    private func read(_ words: [String]) throws -> (WorkerPace, WorkerPace.Facts) {
        let now = Duration.seconds(1000)
        var facts = WorkerPace.Facts()
        facts.now = now
        var drain = WorkerPace.Drain.none
        var (polledAt, fillingSince) = (now, now)
        var stagedSince: Duration?
        for word in words.dropFirst() {
            let parts = word.split(separator: "=")
            let number = parts.count == 2 ? Double(parts[1]) ?? .nan : 0
            let before = now - .milliseconds(fraction: number)
            switch parts[0] {
            case "stop": facts.isStopAsked = true
            case "mail": facts.hasMail = true
            case "draining": drain = .until(now + .seconds(2))
            case "overdue": drain = .until(now)
            case "left": drain = .over
            case "got": facts.got = Int(number)
            case "staged": facts.staged = Int(number)
            case "age": stagedSince = before
            case "full": facts.isFull = true
            case "backlog": facts.hasBacklog = true
            case "heldUp": facts.isHeldUp = true
            case "quiet": facts.isSilent = true
            case "judged": facts.hasJudged = true
            case "filling": (facts.isFilling, facts.filledRecords) = (true, Int(number))
            case "bytes": facts.filledBytes = Int(number)
            case "open": fillingSince = before
            case "committing": facts.isCommitting = true
            case "silent": polledAt = before
            default: throw Unknown(word: word)
            }
        }
        let pace = WorkerPace(
            options: WorkerPaceTests.options,
            phase: try phase(words[0]),
            drain: drain,
            polledAt: polledAt,
            stagedSince: stagedSince,
            fillingSince: fillingSince
        )
        return (pace, facts)
    }

    // MARK: Whatever comes

    /// Of so many steps in a row one waits or makes progress.
    private static let stepsMax = 6

    @Test func `by no facts does it spin, or take a step that cannot be taken`() {
        for seed in UInt64(0)..<200 {
            var random = SplitMix64(seed: seed)
            var pace = WorkerPace(options: WorkerPaceTests.options)
            var facts = WorkerPace.Facts()
            var idle = 0
            for _ in 0..<500 {
                // Nothing comes and nothing is judged, so that all progress is the pace's own.
                facts.now += .microseconds(random.below(random.chance(5) ? 2_000_000 : 500))
                facts.isStopAsked = facts.isStopAsked || random.chance(1)
                facts.hasMail = random.chance(30)
                facts.staged = random.chance(50) ? 0 : random.below(200)
                facts.isFull = random.chance(10)
                facts.hasBacklog = random.chance(50)
                facts.isHeldUp = random.chance(30)
                facts.isSilent = random.chance(20)
                facts.isFilling = random.chance(50)
                facts.filledRecords = facts.isFilling ? 1 + random.below(2000) : 0
                facts.isCommitting = random.chance(50)
                let step = pace.next(facts)
                #expect(canTake(step, facts), "seed \(seed): \(step) by \(facts)")
                if step == .stop { break }
                idle = isIdle(step) ? idle + 1 : 0
                #expect(idle <= WorkerPaceTests.stepsMax, "seed \(seed)")
            }
        }
    }

    private func canTake(_ step: WorkerPace.Step, _ facts: WorkerPace.Facts) -> Bool {
        switch step {
        case .cut: facts.staged > 0
        case .endTick: facts.isSilent && facts.staged == 0 && !facts.isFilling && !facts.isCommitting
        case .commit: facts.isFilling && !facts.isCommitting
        case .awaitCommit: facts.isCommitting
        case .stop: facts.isStopAsked && facts.staged == 0 && !facts.isFilling && !facts.isCommitting
        case .drain, .leave: facts.isStopAsked
        case .serve: facts.hasMail
        default: true
        }
    }

    private func isIdle(_ step: WorkerPace.Step) -> Bool {
        switch step {
        case .look, .serve, .resume, .poll, .cut: true
        default: false
        }
    }

    /// A log and a committer as a worker meets them, in virtual time.
    private struct World {
        var random: SplitMix64
        var facts = WorkerPace.Facts()
        /// Records in the log, not read yet; and how many of them may still be read.
        var pending = 0
        var readable = Int.max
        /// When the commit under way ends.
        var commitEnd = Duration.zero
        /// Until when everything is held back.
        var heldUntil = Duration.zero
        /// When the oldest record came that was read and not handed over.
        var oldest: Duration?
        var committed = 0
        var read = 0
        var idle = 0

        init(seed: UInt64) {
            random = SplitMix64(seed: seed)
            // A rate and a habit of its own for each seed.
            burst = [1, 5, 50, 500][random.below(4)]
            rarity = [1, 10, 50][random.below(3)]
            holds = random.chance(50)
        }
        let burst: Int
        let rarity: Int
        let holds: Bool

        mutating func pass(_ duration: Duration) {
            facts.now += duration
            if random.below(rarity) == 0 { pending += random.below(burst + 1) }
            if random.chance(20) { facts.hasMail = true }
            if holds, random.chance(2) { heldUntil = facts.now + .milliseconds(random.below(30)) }
        }

        mutating func take(_ step: WorkerPace.Step) {
            pass(.microseconds(2 + random.below(20)))
            idle += 1
            switch step {
            case .look: if facts.isCommitting, facts.now >= commitEnd { facts.isCommitting = false }
            case .serve: facts.hasMail = false
            case .drain: (readable, idle) = (pending, 0)
            case .leave: (readable, heldUntil, idle) = (0, .zero, 0)
            case .poll:
                facts.isSilent = random.chance(5)
                let count = min(pending, readable, 1 + random.below(200))
                (pending, readable, read) = (pending - count, readable - count, read + count)
                (facts.got, facts.staged) = (count, facts.staged + count)
                facts.isHeldUp = facts.staged > 0 && facts.now < heldUntil
                facts.hasBacklog = min(pending, readable) > 0 && random.chance(80)
                if count > 0 { (oldest, idle) = (oldest ?? facts.now, 0) }
            case .wait(let milliseconds):
                pass(.microseconds(random.below(milliseconds * 1000)))
                idle = 0
            case .pause:
                pass(.microseconds(300 + random.below(20_000)))
                idle = 0
            case .cut:
                facts.hasJudged = facts.now >= heldUntil
                if !facts.hasJudged { return }
                facts.isFilling = true
                (facts.filledRecords, facts.staged, idle) = (facts.filledRecords + facts.staged, 0, 0)
            case .endTick: (facts.isFilling, facts.isSilent, idle) = (true, false, 0)
            case .commit:
                committed += facts.filledRecords
                (facts.isFilling, facts.filledRecords, facts.isCommitting, idle) = (false, 0, true, 0)
                commitEnd = facts.now + .microseconds(random.below(50_000))
                oldest = facts.staged > 0 ? oldest : nil
            case .awaitCommit(let milliseconds):
                let end = milliseconds.map { min(commitEnd, facts.now + .milliseconds($0)) } ?? commitEnd
                if end > facts.now { pass(end - facts.now) }
                if facts.now >= commitEnd { facts.isCommitting = false }
                idle = 0
            case .resume, .stop: break
            }
        }
    }

    @Test func `on a log with bursts, waits and slow commits it neither spins nor stalls, and a stop ends it`() {
        for seed in UInt64(0)..<300 {
            var world = World(seed: seed)
            var pace = WorkerPace(options: WorkerPaceTests.options)
            var stopAsked: Duration?
            var isOver = false
            while !isOver, world.facts.now < .seconds(60) {
                if stopAsked == nil, world.facts.now > .seconds(3) {
                    stopAsked = world.facts.now
                    world.facts.isStopAsked = true
                }
                let step = pace.next(world.facts)
                #expect(canTake(step, world.facts), "seed \(seed): \(step) by \(world.facts)")
                world.take(step)
                #expect(world.idle <= WorkerPaceTests.stepsMax, "seed \(seed): \(step)")
                // A transaction's time, twice the longest commit, and the longest hold again and again.
                let waited = world.facts.now - max(world.oldest ?? world.facts.now, world.heldUntil)
                #expect(waited < .milliseconds(500), "seed \(seed)")
                isOver = step == .stop
            }
            #expect(isOver, "seed \(seed)")
            #expect(world.committed == world.read, "seed \(seed)")
            #expect(world.facts.now - (stopAsked ?? .zero) < .seconds(4), "seed \(seed)")
        }
    }
}
