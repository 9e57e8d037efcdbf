/// Decides what a worker does next: when it polls, waits, cuts an epoch, commits, serves others and stops.
///
/// A pure state machine: facts in, one step out. ``Leader`` performs the steps and decides nothing. It keeps two promises, whatever
/// the facts are: of a few steps in a row at least one makes progress or waits (it never spins), and what was read is cut and
/// committed after a bounded time, unless it is held up by a source that others wait for (it never stalls).
///
/// The phases and what leads from one to the next:
/// ```
/// resting ─look─► looked ─poll─► polled ─cut─► decided ─commit, or no step─► resting
///                   │ drain, leave: a stop was asked for; each once, the phase stays
///                   │ serve ─► served ─poll─► polled: who asks waits for no more than one round
///                   │ resume: nobody was polled for long; once, the phase stays
///                 polled, nothing staged:  awaitCommit or pause ─► resting · commit ─► resting · stop ─► stopped
///                 polled, silence:         endTick, the phase stays: what it gave is committed next
///                 polled, held up:         commit, the phase stays · pause ─► resting
///                 polled, more may come:   awaitCommit or wait ─► resting, or at once the next round
///                 decided, much judged:    awaitCommit, the phase stays: what was judged has no room to grow
///                 decided, all held back:  commit, the phase stays · pause ─► resting
/// ```
struct WorkerPace {
    /// What the worker does next.
    enum Step: Equatable {
        /// Take back a commit that has ended, and look whether a stop is asked for.
        case look
        /// Find where the sources end: nothing behind is read any more.
        case drain
        /// Leave the rest where it is: nothing more is read at all.
        case leave
        /// Serve what others have asked since the last time.
        case serve
        /// Nobody was polled for a while, so that no source stood still.
        case resume
        /// Take records off the sources, without waiting.
        case poll
        /// Wait for records, no longer than this.
        case wait(milliseconds: Int)
        /// Wait for records, but for some moments at least.
        case pause
        /// Decode what is staged and judge what is not held back as one epoch.
        case cut
        /// Journal that the open tick has ended, as one epoch without events, since no event comes to end it.
        case endTick
        /// Hand over what was judged.
        case commit
        /// Wait for the commit under way: no longer than this, or until it has ended well.
        case awaitCommit(milliseconds: Int?)
        /// All is done.
        case stop
    }

    /// What a worker knows when it asks for its next step.
    struct Facts: Equatable {
        /// By the worker's clock.
        var now = Duration.zero
        /// Somebody wants an end.
        var isStopAsked = false
        /// Others have asked something.
        var hasMail = false
        /// Records that the last poll gave.
        var got = 0
        /// Records that no epoch has taken yet, of this poll and of earlier ones.
        var staged = 0
        /// Memory for records is used up.
        var isFull = false
        /// Some source has more to give than was taken of it.
        var hasBacklog = false
        /// No source has given an event for so long that they are all idle, and a tick is open.
        var isSilent = false
        /// All that is staged waits for a source that has not come so far.
        var isHeldUp = false
        /// The last cut gave an epoch; false: all of it was held back.
        var hasJudged = false
        /// Something was judged that no commit has taken yet.
        var isFilling = false
        /// How much: records, and bytes of output.
        var filledRecords = 0
        var filledBytes = 0
        /// A commit is under way, or has ended and was not taken back.
        var isCommitting = false
    }

    /// Between two steps.
    enum Phase: Equatable {
        /// A round is over.
        case resting
        /// It is known whether a stop is asked for.
        case looked
        /// What others have asked in this round was served.
        case served
        /// The sources have given what they have.
        case polled
        /// What was staged was judged or held back.
        case decided
        /// For good.
        case stopped
    }

    /// How far a stop has come.
    enum Drain: Equatable {
        case none
        /// What was in the log when the stop came is read until this time.
        case until(Duration)
        /// Nothing is read any more.
        case over
    }

    /// A round that began longer ago than this was held up by a commit or by the machine.
    static let lateRound = Duration.seconds(1)
    /// Without a commit to wait for a round waits no longer than this for more records, or for a commit's end.
    private static let moreMilliseconds = 1
    private static let commitMilliseconds = 2
    /// When all is held back: fewer new records than this are not worth decoding everything again at once.
    static let worthDecoding = 64

    let options: WorkerOptions
    private(set) var phase = Phase.resting
    private(set) var drain = Drain.none
    /// When sources were polled last.
    private(set) var polledAt = Duration.zero
    /// When the first of the staged records came; nil: there is none, or nobody looked yet.
    private(set) var stagedSince: Duration?
    /// When the first record came of what is judged and not yet handed over.
    private(set) var fillingSince = Duration.zero

    /// The next step; performed before the next call.
    mutating func next(_ facts: Facts) -> Step {
        switch phase {
        case .resting: enter(.looked, .look)
        case .looked: looked(facts)
        case .served: poll(facts)
        case .polled: facts.staged > 0 ? staged(facts) : nothingStaged(facts)
        case .decided: facts.hasJudged ? judged(facts) : heldBack(facts)
        case .stopped: .stop
        }
    }

    private mutating func enter(_ next: Phase, _ step: Step) -> Step {
        phase = next
        return step
    }

    private mutating func looked(_ facts: Facts) -> Step {
        if facts.isStopAsked, drain == .none {
            drain = .until(facts.now + .milliseconds(options.drainMilliseconds))
            return .drain
        }
        if case .until(let end) = drain, facts.now >= end {
            drain = .over
            return .leave
        }
        return facts.hasMail ? enter(.served, .serve) : poll(facts)
    }

    private mutating func poll(_ facts: Facts) -> Step {
        let isLate = facts.now - polledAt > WorkerPace.lateRound
        polledAt = facts.now
        return isLate ? .resume : enter(.polled, .poll)
    }

    /// Nothing waits to be judged.
    private mutating func nothingStaged(_ facts: Facts) -> Step {
        if facts.isFilling {
            return facts.isCommitting ? .awaitCommit(milliseconds: nil) : enter(.resting, .commit)
        }
        if facts.isCommitting { return enter(.resting, .awaitCommit(milliseconds: WorkerPace.commitMilliseconds)) }
        if facts.isStopAsked { return enter(.stopped, .stop) }
        return facts.isSilent ? .endTick : enter(.resting, .pause)
    }

    private mutating func staged(_ facts: Facts) -> Step {
        let since = stagedSince ?? facts.now
        stagedSince = since
        if facts.got == 0, facts.isHeldUp {
            return facts.isFilling && !facts.isCommitting ? .commit : enter(.resting, .pause)
        }
        let isEnough = facts.staged >= options.epochRecords || facts.isFull || facts.isStopAsked
        // In a backlog what was asked for has come, and to wait for more would be a wait for nothing.
        if !isEnough, !facts.hasBacklog || facts.got == 0 {
            // What could not be committed now may as well grow.
            if facts.isCommitting, !facts.hasBacklog {
                return enter(.resting, .awaitCommit(milliseconds: WorkerPace.commitMilliseconds))
            }
            if facts.now - since < .milliseconds(fraction: options.lingerMilliseconds) {
                phase = .resting
                return facts.got > 0 ? next(facts) : .wait(milliseconds: WorkerPace.moreMilliseconds)
            }
        }
        if !facts.isFilling { fillingSince = since }
        stagedSince = nil
        return enter(.decided, .cut)
    }

    private mutating func judged(_ facts: Facts) -> Step {
        let isFilled =
            facts.filledRecords >= options.transactionRecords || facts.filledBytes >= options.transactionBytes
        if isFilled, facts.isCommitting { return .awaitCommit(milliseconds: nil) }
        let isOpenForLong = facts.now - fillingSince >= .milliseconds(fraction: options.transactionMilliseconds)
        phase = .resting
        // In a backlog several epochs share a transaction.
        if isFilled || !facts.isCommitting && (!facts.hasBacklog || isOpenForLong) { return .commit }
        return next(facts)
    }

    /// Those who are waited for give little: what all the others have given waits for them.
    private mutating func heldBack(_ facts: Facts) -> Step {
        if facts.isFilling, !facts.isCommitting { return .commit }
        phase = .resting
        return facts.got < WorkerPace.worthDecoding ? .pause : next(facts)
    }
}
