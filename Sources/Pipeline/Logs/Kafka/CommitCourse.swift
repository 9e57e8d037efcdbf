import KafkaClient

/// Decides what ``KafkaWriter`` does next about a batch, and whether it is committed.
///
/// A pure state machine: facts in, one step out. The writer performs the steps and decides nothing. It keeps these promises,
/// whatever the facts are: only the epoch behind the journal's newest is written, and never again while it may be there already;
/// a batch is only called committed when it was answered so or the journal says so; and who finds another's epoch in the journal
/// never writes again. Another's is also one of the same number, and of the same content: whoever took over while our commit was
/// under way began where we had begun.
///
/// What leads from one step to the next:
/// ```
/// batch ─► settle: an earlier commit's outcome is unknown ─► finish: the journal has this very batch
///   │         └─ otherwise ─► listen
///   └────► listen ─► settle: the producers are suspect ─► transact
///             └────► transact ─ committed ─► finish
///                       ├─ not committed ─► pause ─► listen
///                       └─ unknown ─► settle ─► finish: the journal has it
///                                       └─ it has not ─► pause ─► listen
/// ```
/// From each settling the course ends as overtaken when the journal has another's epoch.
struct CommitCourse {
    /// What the writer does next.
    enum Step: Equatable {
        /// Wait before the next attempt.
        case pause(milliseconds: Int)
        /// Hear what the producers have to say, and whether they are suspect.
        case listen
        /// Make the producers anew, end whatever was open under our ids, and look for the newest epoch of the journal.
        case settle
        /// Begin, produce, send the positions, commit.
        case transact
        /// The batch is committed.
        case finish
        /// It is not, for this reason.
        case fail(Failure)
    }

    /// Why a batch was not committed.
    enum Failure: Equatable {
        /// Nobody has taken ownership.
        case notOwned
        /// Another owner was met before.
        case fenced
        /// The journal has an epoch that is not ours, where we knew of another as its newest.
        case overtaken(newest: Int64, known: Int64)
        /// An error that no other attempt heals.
        case error(KafkaError)
        /// The batch begins with an epoch that does not follow the journal's newest.
        case discontinuous(first: Int64, newest: Int64)
        /// Where the batch has no epoch the journal cannot tell.
        case unknown(KafkaError)
        /// Too many attempts failed, the last one so.
        case exhausted(KafkaError)
    }

    /// What the writer knows, each after the step that asked for it.
    enum Fact: Equatable {
        /// A batch is to be committed, which has these epochs.
        case batch(ClosedRange<Int64>?)
        case paused
        case heard(isSuspect: Bool)
        /// The newest epoch of the journal once nothing of ours was open any more, -1 when it is empty; and whether we wrote its
        /// record since we took ownership.
        case settled(newest: Int64, isOurs: Bool)
        case transacted(CommitOutcome)
    }

    /// Between two facts.
    private enum Phase: Equatable {
        case idle
        case pausing
        case listening
        /// Settling because the producers are suspect.
        case looking
        /// Settling because it is unknown what became of an epoch.
        case resolving(Int64)
        case transacting
    }

    private enum Ownership: Equatable { case none, held, lost }

    /// How many times a commit is tried before it fails.
    let attempts: Int
    private var phase = Phase.idle
    private var ownership = Ownership.none
    /// The newest epoch in the journal as far as we know; -1 when it is empty.
    private var newestEpoch: Int64 = -1
    /// A commit of the batch with this last epoch has an outcome we do not know yet.
    private var unresolved: Int64?
    /// The journal must be looked at before the next commit; stays so until a look has succeeded: after one that failed half-way no
    /// producer is suspect any more.
    private var mustLook = false
    /// Of the running batch.
    private var epochs: ClosedRange<Int64>?
    private var last: Int64? { epochs?.upperBound }
    private var attempt = 0
    /// How its last attempt failed.
    private var failure: KafkaError?
    /// Attempts that failed, or whose outcome had to be looked up.
    private(set) var retries = 0

    init(attempts: Int) { self.attempts = max(1, attempts) }

    var isOwner: Bool { ownership == .held }

    /// Ownership was taken, and this is the newest epoch of the journal since; -1 when it is empty.
    mutating func own(newest: Int64) {
        self = CommitCourse(attempts: attempts, retries: retries)
        newestEpoch = newest
        ownership = .held
    }

    private init(attempts: Int, retries: Int) {
        self.init(attempts: attempts)
        self.retries = retries
    }

    /// Another owner was met: for good, as an attempt that looked again would take the ids back from the one who has them now.
    mutating func fence() { ownership = .lost }

    /// Nothing is owned any more.
    mutating func close() { if ownership == .held { ownership = .none } }

    /// The next step; performed before the next call.
    ///
    /// A step that could not be performed ends the course of its batch: what is not known yet is asked for again with the next one.
    mutating func next(_ fact: Fact) -> Step {
        switch (fact, phase) {
        case (.batch(let epochs), _): return begin(epochs)
        case (.paused, .pausing): return go(.listening, .listen)
        case (.heard(let isSuspect), .listening):
            if isSuspect { mustLook = true }
            return mustLook ? go(.looking, .settle) : go(.transacting, .transact)
        case (.settled(let newest, _), .looking):
            if newest != newestEpoch { return overtaken(newest) }
            mustLook = false
            return go(.transacting, .transact)
        case (.settled(let newest, let isOurs), .resolving(let epoch)): return resolve(epoch, newest, isOurs)
        case (.transacted(let outcome), .transacting): return take(outcome)
        default: preconditionFailure("\(fact) where the course is \(phase)")
        }
    }

    private mutating func begin(_ epochs: ClosedRange<Int64>?) -> Step {
        switch ownership {
        case .none: return go(.idle, .fail(.notOwned))
        case .lost: return go(.idle, .fail(.fenced))
        case .held: break
        }
        self.epochs = epochs
        attempt = 0
        failure = nil
        if let unresolved { return go(.resolving(unresolved), .settle) }
        return listen()
    }

    /// Goes on to write the batch where it is the next one.
    private mutating func listen() -> Step {
        if let first = epochs?.lowerBound, first != newestEpoch + 1 {
            return go(.idle, .fail(.discontinuous(first: first, newest: newestEpoch)))
        }
        return go(.listening, .listen)
    }

    private mutating func resolve(_ epoch: Int64, _ newest: Int64, _ isOurs: Bool) -> Step {
        unresolved = nil
        mustLook = false
        if newest == newestEpoch {
            // It is not there, nor will it be. An attempt of this batch is followed by the next, an earlier batch's by the first of
            // this one.
            return failure == nil ? listen() : retry()
        }
        if newest != epoch || !isOurs { return overtaken(newest) }
        newestEpoch = newest
        return epoch == last ? go(.idle, .finish) : listen()
    }

    private mutating func take(_ outcome: CommitOutcome) -> Step {
        switch outcome {
        case .committed:
            if let last { newestEpoch = last }
            return go(.idle, .finish)
        case .notCommitted(let error):
            retries += 1
            failure = error
            if error.disposition == .stop || error.kind == .tooLarge { return go(.idle, .fail(.error(error))) }
            return retry()
        case .unknown(let error):
            retries += 1
            failure = error
            guard let last else { return go(.idle, .fail(.unknown(error))) }
            unresolved = last
            if error.kind == .fenced { return go(.idle, .fail(.error(error))) }
            return go(.resolving(last), .settle)
        }
    }

    private mutating func retry() -> Step {
        attempt += 1
        if attempt >= attempts, let failure { return go(.idle, .fail(.exhausted(failure))) }
        return go(.pausing, .pause(milliseconds: 50 << min(attempt, 5)))
    }

    private mutating func overtaken(_ newest: Int64) -> Step {
        go(.idle, .fail(.overtaken(newest: newest, known: newestEpoch)))
    }

    private mutating func go(_ phase: Phase, _ step: Step) -> Step {
        self.phase = phase
        return step
    }
}
