import Glibc
import KafkaClient
import Synchronization

/// Commits to Kafka as one worker of one application, one transaction each: performs what a ``CommitCourse`` decides.
///
/// Everything it asks goes through clients of its own, so that the thread that reads goes on undisturbed.
final class KafkaWriter: LogWriter {
    private let options: KafkaLog.Options
    private let questions: any KafkaAsking
    /// Connects nowhere.
    typealias MakeProducer = (TransactionalProducer.Options) throws(KafkaError) -> TransactionalProducer
    private let makeProducer: MakeProducer
    private var transactions: TransactionalProducer?
    private var course: CommitCourse
    /// Why nothing is committed any more, once somebody else has taken over.
    private var fencing: LogError?
    /// The topics made by the log, which a former self may have written to.
    private let createdTopics = Mutex<Set<String>>([])
    /// Topics that a broker said are there.
    private var foundTopics: Set<String> = []
    /// The journal's end as last seen; it never goes back.
    private var knownJournalEnd: Int64 = 0
    /// The journal's topic was there once, so that a broker that does not know it is one that has not woken up yet.
    private var isJournalKnown = false
    /// Stands beside each record of the journal that this ownership writes, and beside no other's.
    ///
    /// Who takes over begins where we had begun, and from the same inputs may well write the very record that we would have.
    private var mark = KafkaWriter.newMark()
    /// Held while the producers are used: a commit and a reader that waits may meet.
    private let writing: UnsafeMutablePointer<pthread_mutex_t>

    /// Connects with ``takeOwnership()``.
    ///
    /// - Parameter questions: the writer's own; it closes them.
    init(_ questions: any KafkaAsking, options: KafkaLog.Options, makeProducer: @escaping MakeProducer) {
        self.options = options
        self.questions = questions
        self.makeProducer = makeProducer
        course = CommitCourse(attempts: options.attempts)
        writing = .allocate(capacity: 1)
        pthread_mutex_init(writing, nil)
    }

    deinit {
        close()
        pthread_mutex_destroy(writing)
        writing.deallocate()
    }

    /// Topics that the log has made sure of; any thread may tell.
    func know(_ topics: [String]) { createdTopics.withLock { $0.formUnion(topics) } }

    /// Takes what the producers have to say while nobody commits; any thread may ask.
    func serveIfIdle() {
        guard pthread_mutex_trylock(writing) == 0 else { return }
        transactions?.serve()
        pthread_mutex_unlock(writing)
    }

    /// Becomes the only writer under this worker's name: fences a former self and waits until its open transactions
    /// have ended.
    ///
    /// Call it before the journal is read at recovery, so that nobody can append to the journal behind the reader's
    /// back.
    ///
    /// Takes milliseconds; half a second more when the former self left a transaction open.
    func takeOwnership() throws(LogError) {
        course.own(newest: try settle()?.record.epoch ?? -1)
        mark = KafkaWriter.newMark()
        fencing = nil
    }

    /// The header that holds the mark: not in the record's value, which says nothing but what was judged.
    static let markHeader: StaticString = "weir_writer"

    private static func newMark() -> [UInt8] {
        Array(String(UInt64.random(in: 1 << 60 ... .max), radix: 16).utf8)
    }

    /// Ends whatever transaction was open under our ids and returns the newest record of the journal from then on, and whether this
    /// ownership wrote it; nil when it holds none.
    ///
    /// Absence is no evidence: an end that is too low, asked of a broker that has just restarted, looks like an epoch
    /// that was never committed, and committing it again doubles it. So a record of our own goes behind all there is.
    /// When it can be read, so can everything committed before it.
    private func settle() throws(LogError) -> (record: JournalRecord, isOurs: Bool)? {
        var failure: KafkaError?
        for number in 0..<max(1, options.attempts) {
            if number > 0 { options.clock.pause(for: .milliseconds(50 << min(number, 5))) }
            let producer = try questions.attempt { () throws(KafkaError) in
                let producer = try self.transactionalProducer()
                try producer.recreate()
                return producer
            }
            guard try questions.attempt({ () throws(KafkaError) in try self.isJournalThere() }) else { return nil }
            do throws(KafkaError) {
                let side = try questions.member()
                if producer.needsSweep {
                    // What was decided lies before what was given up, and in its way if it is open still.
                    let open = try openPartitions()
                    if !open.isEmpty {
                        _ = try producer.probe(
                            topic: options.journalTopic,
                            partition: 0,
                            open: open,
                            consumer: side,
                            decidedOnly: true
                        )
                    }
                    let ends = try producer.sweep(
                        position: KafkaOffset(KafkaPartition(options.journalTopic, 0), 0),
                        consumer: side
                    )
                    try waitForStableEnds(behind: ends)
                    producer.didSweep()
                }
                let offset = try producer.probe(
                    topic: options.journalTopic,
                    partition: 0,
                    open: openPartitions(),
                    consumer: side
                )
                knownJournalEnd = max(knownJournalEnd, offset + 1)
                // A request of the probe may be under way still. Whoever owned the ids meanwhile is seen below, where
                // the journal is read.
                if producer.isSuspect { try producer.recreate() }
                failure = nil
            } catch {
                if error.disposition == .stop || error.kind == .fenced { throw questions.mapped(error) }
                failure = error
                continue
            }
            return try newestRecord()
        }
        throw failure.map { questions.mapped($0) } ?? LogError(.transient, "the journal could not be written to")
    }

    /// The partitions of our topics where a transaction is open.
    ///
    /// Asked once our own have ended, these are such as a coordinator has left open.
    private func openPartitions() throws(KafkaError) -> [KafkaPartition] {
        var asked: [KafkaPartition] = []
        for name in createdTopics.withLock({ $0 }).union(transactions?.topics ?? []).sorted() {
            asked += try questions.describe(topic: name)?.map { KafkaPartition(name, $0) } ?? []
        }
        // Markers are written when a transaction has ended, but a replica may be a moment behind.
        for number in 0..<3 {
            if number > 0 { options.clock.pause(for: .milliseconds(50)) }
            if asked.isEmpty { break }
            let ends = try questions.ends(of: asked)
            let stable = try Dictionary(questions.stableEnds(of: asked).map { ($0.partition, $0.offset) }) { $1 }
            asked = ends.filter { end in stable[end.partition, default: end.offset] < end.offset }.map(\.partition)
        }
        return asked
    }

    /// Waits until nothing is open any more up to these offsets.
    private func waitForStableEnds(behind offsets: [KafkaOffset]) throws(KafkaError) {
        let deadline = options.clock.now + .milliseconds(options.callMilliseconds)
        for item in offsets {
            while try questions.stableEnd(of: item.partition) <= item.offset {
                if options.clock.now > deadline {
                    throw KafkaError(
                        .other,
                        "wait for the end of a transaction",
                        "it is still open at \(item)",
                        disposition: .retry
                    )
                }
                options.clock.pause(for: .milliseconds(20))
            }
        }
    }

    /// Whether the journal's topic exists; once seen, it does.
    private func isJournalThere() throws(KafkaError) -> Bool {
        if isJournalKnown { return true }
        isJournalKnown = createdTopics.withLock { $0.contains(options.journalTopic) }
        if isJournalKnown { return true }
        isJournalKnown = try questions.describe(topic: options.journalTopic) != nil
        return isJournalKnown
    }

    /// How long whatever is open may take to end: the transaction timeout of 15 s, the 10 s between the looks a broker takes for
    /// such transactions by default, and two seconds to end them.
    private static let settleTime = Duration.seconds(27)

    /// Waits until no transaction of anybody is open on the journal, its stable end has reached its end, and returns
    /// the end; nil when there is no journal topic yet.
    ///
    /// A broker that has just come back may answer with an end of long ago or with no topic at all. A commit whose
    /// outcome we look for has been delivered to the journal before, so an end before what was delivered is not
    /// believed but asked for again.
    private func settledJournalEnd() throws(KafkaError) -> Int64? {
        let journal = KafkaPartition(options.journalTopic, 0)
        let delivered = max(knownJournalEnd, (transactions?.trackedOffset ?? -1) + 1)
        if delivered > 0 { isJournalKnown = true }
        let deadline = options.clock.now + KafkaWriter.settleTime
        var said = "the topic is not there"
        while true {
            if try questions.describe(topic: options.journalTopic) != nil {
                isJournalKnown = true
                let all = try questions.end(of: journal)
                let stable = try questions.stableEnd(of: journal)
                if stable >= all, stable >= delivered {
                    knownJournalEnd = stable
                    return stable
                }
                said = "a transaction is still open on it at offset \(stable) of \(max(all, delivered))"
            } else if !isJournalKnown {
                return nil
            }
            if options.clock.now > deadline {
                throw KafkaError(
                    .other,
                    "wait for the end of the journal",
                    """
                    \(said) after \(KafkaWriter.settleTime.components.seconds) s; end whoever else writes there, and see \
                    kafka-transactions.sh find-hanging
                    """,
                    disposition: .retry
                )
            }
            options.clock.pause(for: .milliseconds(20))
        }
    }

    /// As ``LogWriter/commit(_:positions:)`` says; records become visible to readers within milliseconds, when the
    /// brokers have written the markers.
    ///
    /// - Throws: ``LogError``: `transient` when the brokers do not answer or keep failing: the same batch may be
    ///   committed again later, and then the journal decides whether it is there already. `fenced` when another owner
    ///   writes; `refused` for a record that is too large.
    func commit(_ outputs: borrowing OutputBatch, positions: [SourcePosition]) throws(LogError) {
        pthread_mutex_lock(writing)
        defer { pthread_mutex_unlock(writing) }
        do throws(LogError) { try run(outputs, positions: positions) } catch {
            if error.kind == .fenced {
                fencing = error
                course.fence()
            }
            // While running, brokers that do not answer are waited for; only a start gives up on them.
            throw error.kind == .unreachable && course.isOwner ? LogError(.transient, error.message) : error
        }
    }

    /// Performs the steps of a batch's course.
    private func run(_ outputs: borrowing OutputBatch, positions: [SourcePosition]) throws(LogError) {
        var step = course.next(.batch(outputs.epochs))
        while true {
            let fact: CommitCourse.Fact
            switch step {
            case .pause(let milliseconds):
                options.clock.pause(for: .milliseconds(milliseconds))
                fact = .paused
            case .listen:
                let producer = try questions.attempt { () throws(KafkaError) in try self.transactionalProducer() }
                // A connection lost since the last commit is heard of here, and nowhere between this look and the commit.
                producer.serve()
                fact = .heard(isSuspect: producer.isSuspect)
            case .settle:
                let newest = try settle()
                fact = .settled(newest: newest?.record.epoch ?? -1, isOurs: newest?.isOurs == true)
            case .transact:
                fact = .transacted(
                    try questions.attempt { () throws(KafkaError) in try self.transact(outputs, positions) }
                )
            case .finish: return
            case .fail(let failure): throw error(of: failure)
            }
            step = course.next(fact)
        }
    }

    private func error(of failure: CommitCourse.Failure) -> LogError {
        switch failure {
        case .notOwned:
            LogError(.refused, "a pipeline takes ownership of '\(options.application)' before it commits")
        case .fenced: fencing ?? LogError(.fenced, "Another process took over the name '\(options.application)'.")
        case .overtaken(let newest, let known):
            LogError(
                .fenced,
                """
                Another process of the name '\(options.application)' has written epoch \(newest) to \
                \(options.journalTopic) where we were at epoch \(known). This one stops; make sure that only one \
                worker of this name runs, then start it again.
                """
            )
        case .error(let error): questions.mapped(error)
        case .discontinuous(let first, let newest): LogError(discontinuous: first, after: newest)
        case .unknown(let error):
            LogError(.transient, "the outcome of a commit without an epoch is unknown: \(error)")
        case .exhausted(let error):
            LogError(
                .transient,
                "the commit failed \(options.attempts) times; the last time: \(questions.mapped(error).message)"
            )
        }
    }

    private func transact(_ outputs: borrowing OutputBatch, _ positions: [SourcePosition]) throws(KafkaError)
        -> CommitOutcome
    {
        try requireTopics(of: outputs)
        let producer = try transactionalProducer()
        let consumer = try questions.member()
        do throws(KafkaError) {
            try producer.begin()
            try producer.produce(outputs, marking: options.journalTopic, KafkaWriter.markHeader, mark)
        } catch {
            producer.discard()
            return .notCommitted(error)
        }
        return producer.commit(
            offsets: positions.map { KafkaOffset(KafkaPartition($0.source), $0.next) },
            consumer: consumer
        )
    }

    /// Looks once whether the topics of a batch are there, those that the log has not made: a producer itself finds out only when
    /// its deliveries run out of time, and then cannot tell a wrong name from a broker that is away.
    private func requireTopics(of outputs: borrowing OutputBatch) throws(KafkaError) {
        let made = createdTopics.withLock { $0 }
        for name in outputs.topics where !made.contains(name) && !foundTopics.contains(name) {
            guard let index = outputs.topics.firstIndex(of: name),
                outputs.records.contains(where: { $0.topic == index })
            else { continue }
            // A broker that has just come back may not know its topics yet.
            for number in 0..<max(1, options.attempts) where !foundTopics.contains(name) {
                if number > 0 { options.clock.pause(for: .milliseconds(50 << min(number, 5))) }
                if try questions.describe(topic: name) != nil { foundTopics.insert(name) }
            }
            if !foundTopics.contains(name) {
                throw KafkaError(.unknownTopic, "commit", "there is no topic '\(name)'")
            }
        }
    }

    /// The journal's newest record, and whether this ownership wrote it; nil when it is empty or missing.
    func newestRecord() throws(LogError) -> (record: JournalRecord, isOurs: Bool)? {
        // A commit returns when its decision is logged; its markers, and with them the stable end, follow within
        // milliseconds.
        guard let end = try questions.attempt({ () throws(KafkaError) in try self.settledJournalEnd() }) else {
            return nil
        }
        defer { questions.endReading() }
        var isOurs = false
        let newest = try Journal(in: questions, topic: options.journalTopic).newest(before: end) { headers in
            isOurs = headers.contains { $0.0 == KafkaWriter.markHeader.description && $0.1.elementsEqual(mark) }
        }
        return newest.map { ($0, isOurs) }
    }

    /// How often a transactional producer was destroyed and made anew: a figure for metrics.
    var recreations: Int { transactions?.recreations ?? 0 }

    var counters: LogCounters {
        var counters = LogCounters()
        counters.producerRecreations = recreations
        counters.retriedCommits = course.retries
        return counters
    }

    func close() {
        transactions?.close()
        transactions = nil
        questions.close()
        course.close()
    }

    private func transactionalProducer() throws(KafkaError) -> TransactionalProducer {
        if let transactions { return transactions }
        let ids = (0..<options.transactionalIDs).map { "\(options.application)-\(options.worker)-\($0)" }
        var settings = TransactionalProducer.Options(transactionalIDs: ids)
        settings.initialiseMilliseconds = options.connectMilliseconds
        settings.callMilliseconds = options.callMilliseconds
        settings.trackedTopic = options.journalTopic
        let made = try makeProducer(settings)
        transactions = made
        return made
    }
}
