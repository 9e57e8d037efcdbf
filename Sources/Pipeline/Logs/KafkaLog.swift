import Glibc
public import KafkaClient

/// The log of production: Apache Kafka, exactly once.
///
/// One worker = one main consumer that assigns its partitions itself, one consumer for reads on the side, and one
/// transactional producer that takes turns on a few transactional ids. A commit is one transaction: outputs, journal
/// and input positions.
///
/// **Who fences whom.** Because partitions are assigned, not subscribed, the broker checks no group generation: only
/// the transactional ids (`<application>-<worker>-<n>`) fence. Whoever calls ``takeOwnership()`` last owns them; the
/// former owner's next commit fails as `fenced`. Two workers of one application must not run under one worker name, and
/// in fused mode only one worker may run.
///
/// **When the outcome of a commit is unknown** (no answer, a lost connection) the producer is made anew, which ends the
/// former transaction for good; then the last record of the journal says whether the batch's last epoch is there. Input
/// positions can be set back by a delayed request, the journal cannot: it is the truth. That a record is *not* there is
/// only believed once a tombstone of our own, written to the journal after the former transaction had ended, can be read
/// behind the place where it would be; and a batch is only repeated once nothing of the attempt before is still open,
/// see ``KafkaClient/TransactionalProducer``. Where a coordinator that crashed has left a decided commit open, a tombstone
/// of the key `settle` ends it: the only record in an output topic that is no output.
public final class KafkaLog: EventLog {
    /// Who reads and writes, and how.
    public struct Options {
        /// Names the pipeline: the consumer group, and the beginning of its transactional ids.
        public var application: String
        /// This worker's stable name among those of the application.
        public var worker = "0"
        public var journalTopic = "weir.journal"
        /// How many transactional ids take turns, 1 to 4.
        public var transactionalIDs = 2
        /// How long to wait for a broker before ``LogError/Kind/unreachable``, milliseconds.
        public var connectMilliseconds = 30_000
        /// How long a commit waits for its answer before its outcome is looked up in the journal, milliseconds; below
        /// `socket.timeout.ms`.
        public var callMilliseconds = 5_000
        /// How many times a commit is tried before it fails as ``LogError/Kind/transient``.
        public var attempts = 5
        /// Bytes prefetched over all partitions, but for a least share of 8 MiB each (2 MiB from librdkafka 2.2 on).
        public var prefetchBytes = 128 << 20
        public var observer = KafkaObserver()
        /// How often the clients of the hot path report statistics to the observer; 0: never.
        ///
        /// A `statistics.interval.ms` of the properties goes before it.
        public var statisticsMilliseconds = 0

        public init(application: String) { self.application = application }
    }

    public let options: Options
    let configuration: KafkaConfiguration
    /// The same with statistics, for the two clients that are served all the time.
    private let reporting: KafkaConfiguration
    private var admin: AdminClient?
    private var main: Consumer?
    private var side: Consumer?
    /// Where the last complete read on the side ended, by partition.
    private var sideEnds: [KafkaPartition: Int64] = [:]
    private var transactions: TransactionalProducer?
    private var plain: Producer?
    private var isOwner = false
    /// The topics asked for by ``create(_:)``, which a former self may have written to.
    private var createdTopics: Set<String> = []
    /// The newest epoch in the journal as far as we know; -1 when it is empty.
    private var newestEpoch: Int64 = -1
    /// The journal's end as last seen; it never goes back.
    private var knownJournalEnd: Int64 = 0
    /// The journal's topic was there once, so that a broker that does not know it is one that has not woken up yet.
    private var isJournalKnown = false
    /// A commit of the batch with this last epoch has an outcome we do not know yet.
    private var unresolved: Int64?
    private var retriedCommits = 0
    /// When the main consumer's errors, logs and statistics were last taken, by the monotonic clock.
    private var served = 0.0
    /// The journal must be looked at before the next commit.
    private var mustLook = false
    /// Held while the producers are used: a commit and a wait may meet.
    private let writing: UnsafeMutablePointer<pthread_mutex_t>

    /// Checks the configuration and this librdkafka; connects only when asked something.
    ///
    /// - Throws: ``LogError``: `refused` for a wrong property, `incompatible` for what this librdkafka cannot do.
    public init(configuration: KafkaConfiguration, options: Options) throws(LogError) {
        var configuration = configuration
        configuration["group.id"] = options.application
        // A static member's name would be checked against a group we do not join.
        configuration["group.instance.id"] = nil
        configuration["transactional.id"] = nil
        if configuration["client.id"] == nil { configuration["client.id"] = "\(options.application)-\(options.worker)" }
        var reporting = configuration
        if options.statisticsMilliseconds > 0, reporting["statistics.interval.ms"] == nil {
            reporting["statistics.interval.ms"] = String(options.statisticsMilliseconds)
        }
        self.reporting = reporting
        // The others are served only while they are asked something: reports would pile up in their queues without end.
        configuration["statistics.interval.ms"] = nil
        self.configuration = configuration
        self.options = options
        writing = .allocate(capacity: 1)
        pthread_mutex_init(writing, nil)
        do throws(KafkaError) {
            try configuration.validate()
            try KafkaLibrary.check(configuration, transactions: true)
        } catch {
            throw LogError(error, configuration: configuration, application: options.application)
        }
    }

    deinit {
        close()
        pthread_mutex_destroy(writing)
        writing.deallocate()
    }

    // MARK: Topics

    public func create(_ topics: [TopicRequirement]) throws(LogError) {
        try attempt { () throws(KafkaError) in
            let admin = try self.adminClient()
            var missing: [AdminClient.NewTopic] = []
            for topic in topics where try admin.describe(topic: topic.name) == nil {
                var settings = topic.settings
                // Event time never becomes the record's timestamp: brokers refuse future ones, and retention deletes
                // old ones at once.
                if settings["message.timestamp.type"] == nil { settings["message.timestamp.type"] = "LogAppendTime" }
                missing.append(AdminClient.NewTopic(topic.name, partitions: topic.partitions, settings: settings))
            }
            try admin.create(missing)
            self.createdTopics.formUnion(topics.map(\.name))
            if topics.contains(where: { $0.name == self.options.journalTopic }) { self.isJournalKnown = true }
        }
    }

    public func partitions(of topic: String) throws(LogError) -> [Int32]? {
        try attempt { () throws(KafkaError) in try self.adminClient().describe(topic: topic)?.partitions }
    }

    /// The end is the last stable offset: behind the last committed record and its marker, before any open transaction.
    public func bounds(of source: TopicPartition) throws(LogError) -> (start: Int64, end: Int64) {
        try attempt { () throws(KafkaError) in
            let found = try self.sideConsumer().watermarks(of: KafkaPartition(source))
            return (found.low, found.high)
        }
    }

    // MARK: Reading

    public func assign(_ sources: [SourcePosition]) throws(LogError) {
        for topic in Set(sources.map(\.source.topic)).sorted() {
            // Kafka itself says nothing about a partition that does not exist.
            let known = try partitions(of: topic)
            for source in sources where source.source.topic == topic && known?.contains(source.source.partition) != true
            {
                throw LogError(
                    .refused,
                    known == nil
                        ? "topic \(topic) does not exist: create it, or name the right one in the topology"
                        : "topic \(topic) has no partition \(source.source.partition)")
            }
        }
        try attempt { () throws(KafkaError) in
            // A consumer of its own each time: librdkafka before 2.1 may mix up the batches of two assignments.
            self.main?.close()
            self.main = nil
            var options = Consumer.Options()
            options.expectedPartitions = sources.count
            options.prefetchBytes = self.options.prefetchBytes
            // An answer for every few records would keep a broker busy: on two cores shared with it, at 10,000 events a second over 36
            // partitions, the median commit took 12 to 16 ms with 1 byte and 50 ms, and 6 to 9 ms with these. From event to verdict 99 of
            // 100 took 43 to 52 ms with 8, 10 or 12 ms, and 50 to 55 with 16.
            options.fetchMinimumBytes = 64 << 10
            options.fetchWaitMilliseconds = 10
            options.callMilliseconds = self.options.connectMilliseconds
            let made = try Consumer(self.reporting, options: options, observer: self.options.observer)
            try made.assign(sources.map { KafkaOffset(KafkaPartition($0.source), $0.next) })
            self.main = made
        }
    }

    public func poll(source: Int, limit: Int, _ body: (LogRecord) -> Bool) throws(LogError) -> Int64 {
        guard let main else { throw LogError(.refused, "no partitions are assigned") }
        do throws(KafkaError) {
            // In a backlog nobody waits, and what is said between the records must be heard all the same.
            let now = MonotonicClock.milliseconds()
            if now - served > KafkaLog.servingMilliseconds {
                served = now
                try main.wait(milliseconds: 0)
            }
            try main.poll(source, limit: limit) { record in
                body(
                    LogRecord(
                        source: source, offset: record.offset,
                        appendTime: record.timestamp >= 0 ? record.timestamp : nil, key: record.key,
                        value: record.value))
            }
            return try main.position(source)
        } catch {
            throw mapped(error)
        }
    }

    private static let servingMilliseconds = 500.0

    public func wait(milliseconds: Int) throws(LogError) {
        guard let main else { throw LogError(.refused, "no partitions are assigned") }
        served = MonotonicClock.milliseconds()
        if pthread_mutex_trylock(writing) == 0 {
            transactions?.serve()
            pthread_mutex_unlock(writing)
        }
        do throws(KafkaError) { try main.wait(milliseconds: milliseconds) } catch { throw mapped(error) }
    }

    public func read(
        _ source: TopicPartition, from: Int64, to: Int64,
        _ body: (LogRecord, [(String, UnsafeRawBufferPointer)]) -> Bool
    ) throws(LogError) {
        if from >= to { return }
        let partition = KafkaPartition(source)
        var isComplete = false
        do throws(KafkaError) {
            let side = try sideConsumer()
            let index: Int
            if sideEnds[partition] == from, let known = side.assignment.firstIndex(of: partition) {
                index = known
            } else {
                index = try side.add(KafkaOffset(partition, from))
            }
            sideEnds[partition] = nil
            var goOn = true
            var progress = MonotonicClock.milliseconds()
            while goOn {
                let count = try side.poll(index, limit: 1024, until: to) { record in
                    var headers: [(String, UnsafeRawBufferPointer)] = []
                    record.forEachHeader { headers.append(($0, $1 ?? UnsafeRawBufferPointer(start: nil, count: 0))) }
                    goOn = body(
                        LogRecord(
                            source: 0, offset: record.offset,
                            appendTime: record.timestamp >= 0 ? record.timestamp : nil, key: record.key,
                            value: record.value), headers)
                    return goOn
                }
                if !goOn { break }
                // Records at `to` and behind stay in the consumer's batch, and then everything before has been lent.
                if try side.isBehind(index, to) {
                    isComplete = true
                    break
                }
                if count > 0 {
                    progress = MonotonicClock.milliseconds()
                } else {
                    try side.wait(milliseconds: 20)
                    if MonotonicClock.milliseconds() - progress > Double(options.connectMilliseconds) {
                        try missing(partition, from: from, to: to)
                    }
                }
            }
        } catch {
            side?.close()
            side = nil
            sideEnds = [:]
            throw mapped(error)
        }
        if isComplete { sideEnds[partition] = to }
    }

    /// Why a range does not come: it is not there, or nobody answers.
    private func missing(_ partition: KafkaPartition, from: Int64, to: Int64) throws(KafkaError) -> Never {
        let found = try sideConsumer().watermarks(of: partition)
        let isGone = found.high < to || found.low > from
        throw KafkaError(
            isGone ? .outOfRange : .unreachable, "read \(partition)",
            "offsets \(from)..<\(to) were asked and \(found.low)..<\(found.high) are there and committed",
            disposition: isGone ? .stop : .retry)
    }

    // MARK: Writing

    /// Becomes the only writer under this worker's name: fences a former self and waits until its open transactions
    /// have ended.
    ///
    /// Call it before the journal is read at recovery, so that nobody can append to the journal behind the reader's
    /// back.
    ///
    /// Takes milliseconds; half a second more when the former self left a transaction open.
    public func takeOwnership() throws(LogError) {
        newestEpoch = try settle() ?? -1
        mustLook = false
        isOwner = true
    }

    /// Makes the producers anew, and only goes on when nobody else has written to the journal since our last commit:
    /// the ids are taken back from a newer owner too, and then it is we who are the zombie.
    private func retakeOwnership() throws(LogError) {
        let newest = try settle() ?? -1
        if newest != newestEpoch { throw overtaken(newest) }
    }

    /// Ends whatever transaction was open under our ids and answers the newest epoch of the journal from then on; nil
    /// when it holds none.
    ///
    /// Absence is no evidence: an end that is too low, asked of a broker that has just restarted, looks like an epoch
    /// that was never committed, and committing it again doubles it. So a record of our own goes behind all there is.
    /// When it can be read, so can everything committed before it.
    private func settle() throws(LogError) -> Int64? {
        var failure: KafkaError?
        for number in 0..<max(1, options.attempts) {
            if number > 0 { MonotonicClock.sleep(milliseconds: 50 << min(number, 5)) }
            let producer = try attempt { () throws(KafkaError) in
                let producer = try self.transactionalProducer()
                try producer.recreate()
                return producer
            }
            guard try attempt({ () throws(KafkaError) in try self.isJournalThere() }) else { return nil }
            do throws(KafkaError) {
                let side = try sideConsumer()
                if producer.needsSweep {
                    // What was decided lies before what was given up, and in its way if it is open still.
                    let open = try openPartitions()
                    if !open.isEmpty {
                        _ = try producer.probe(
                            topic: options.journalTopic, partition: 0, open: open, consumer: side, decidedOnly: true)
                    }
                    let ends = try producer.sweep(
                        position: KafkaOffset(KafkaPartition(options.journalTopic, 0), 0), consumer: side)
                    try waitForStableEnds(behind: ends)
                    producer.didSweep()
                }
                let offset = try producer.probe(
                    topic: options.journalTopic, partition: 0, open: openPartitions(), consumer: side)
                knownJournalEnd = max(knownJournalEnd, offset + 1)
                // A request of the probe may be under way still. Whoever owned the ids meanwhile is seen below, where
                // the journal is read.
                if producer.isSuspect { try producer.recreate() }
                failure = nil
            } catch {
                if error.disposition == .stop || error.kind == .fenced { throw mapped(error) }
                failure = error
                continue
            }
            return try lastJournalEpoch()
        }
        throw failure.map { mapped($0) } ?? LogError(.transient, "the journal could not be written to")
    }

    /// The partitions of our topics where a transaction is open.
    ///
    /// Asked once our own have ended, these are such as a coordinator has left open.
    private func openPartitions() throws(KafkaError) -> [KafkaPartition] {
        var asked: [KafkaPartition] = []
        for name in createdTopics.union(transactions?.topics ?? []).sorted() {
            guard let topic = try adminClient().describe(topic: name) else { continue }
            asked += topic.partitions.map { KafkaPartition(name, $0) }
        }
        // Markers are written when a transaction has ended, but a replica may be a moment behind.
        for number in 0..<3 {
            if number > 0 { MonotonicClock.sleep(milliseconds: 50) }
            if asked.isEmpty { break }
            let ends = try adminClient().ends(of: asked)
            let stable = try Dictionary(sideConsumer().ends(of: asked).map { ($0.partition, $0.offset) }) { $1 }
            asked = ends.filter { end in stable[end.partition, default: end.offset] < end.offset }.map(\.partition)
        }
        return asked
    }

    /// Waits until nothing is open any more up to these offsets.
    private func waitForStableEnds(behind offsets: [KafkaOffset]) throws(KafkaError) {
        let deadline = MonotonicClock.milliseconds() + Double(options.callMilliseconds)
        for item in offsets {
            while try sideConsumer().watermarks(of: item.partition).high <= item.offset {
                if MonotonicClock.milliseconds() > deadline {
                    throw KafkaError(
                        .other, "wait for the end of a transaction", "it is still open at \(item)", disposition: .retry)
                }
                MonotonicClock.sleep(milliseconds: 20)
            }
        }
    }

    /// Whether the journal's topic exists; once seen, it does.
    private func isJournalThere() throws(KafkaError) -> Bool {
        if isJournalKnown { return true }
        isJournalKnown = try adminClient().describe(topic: options.journalTopic) != nil
        return isJournalKnown
    }

    private func overtaken(_ newest: Int64) -> LogError {
        isOwner = false
        return LogError(
            .fenced,
            """
            Another process of the name '\(options.application)' has written epoch \(newest) to \
            \(options.journalTopic) where we were at epoch \(newestEpoch). This one stops; make sure that only one \
            worker of this name runs, then start it again.
            """)
    }

    /// How long whatever is open may take to end: the transaction timeout of 15 s, the 10 s between the looks a broker takes for such
    /// transactions by default, and two seconds to end them.
    private static let settleMilliseconds = 27_000.0

    /// Waits until no transaction of anybody is open on the journal, its stable end has reached its end, and answers
    /// the end; nil when there is no journal topic yet.
    ///
    /// A broker that has just come back may answer with an end of long ago or with no topic at all. A commit whose
    /// outcome we look for has been delivered to the journal before, so an end before what was delivered is not
    /// believed but asked for again.
    private func settledJournalEnd() throws(KafkaError) -> Int64? {
        let journal = KafkaPartition(options.journalTopic, 0)
        let delivered = max(knownJournalEnd, (transactions?.trackedOffset ?? -1) + 1)
        if delivered > 0 { isJournalKnown = true }
        let deadline = MonotonicClock.milliseconds() + KafkaLog.settleMilliseconds
        var said = "the topic is not there"
        while true {
            if try adminClient().describe(topic: options.journalTopic) != nil {
                isJournalKnown = true
                let all = try adminClient().watermarks(of: journal).high
                let stable = try sideConsumer().watermarks(of: journal).high
                if stable >= all, stable >= delivered {
                    knownJournalEnd = stable
                    return stable
                }
                said = "a transaction is still open on it at offset \(stable) of \(max(all, delivered))"
            } else if !isJournalKnown {
                return nil
            }
            if MonotonicClock.milliseconds() > deadline {
                throw KafkaError(
                    .other, "wait for the end of the journal",
                    """
                    \(said) after \(Int(KafkaLog.settleMilliseconds) / 1000) s; end whoever else writes there, and see \
                    kafka-transactions.sh find-hanging
                    """, disposition: .retry)
            }
            MonotonicClock.sleep(milliseconds: 20)
        }
    }

    /// As ``EventLog/commit(_:positions:)`` says; records become visible to readers within milliseconds, when the
    /// brokers have written the markers.
    ///
    /// - Throws: ``LogError``: `transient` when the brokers do not answer or keep failing: the same batch may be
    ///   committed again later, and then the journal decides whether it is there already. `fenced` when another owner
    ///   writes; `refused` for a record that is too large.
    public func commit(_ outputs: borrowing OutputBatch, positions: [SourcePosition]) throws(LogError) {
        pthread_mutex_lock(writing)
        defer { pthread_mutex_unlock(writing) }
        do throws(LogError) { try commitOrFail(outputs, positions: positions) } catch {
            // While running, brokers that do not answer are waited for; only a start gives up on them.
            throw error.kind == .unreachable && isOwner ? LogError(.transient, error.message) : error
        }
    }

    private func commitOrFail(_ outputs: borrowing OutputBatch, positions: [SourcePosition]) throws(LogError) {
        if !isOwner { try takeOwnership() }
        let last = outputs.epochs?.upperBound
        if let open = unresolved {
            let isSame = open == last
            if try resolve(open), isSame { return }
        }
        var failure: KafkaError?
        for number in 0..<options.attempts {
            if number > 0 { MonotonicClock.sleep(milliseconds: 50 << min(number, 5)) }
            let producer = try attempt { () throws(KafkaError) in try self.transactionalProducer() }
            // A connection lost since the last commit is heard of here, and nowhere between this look and the commit.
            producer.serve()
            if producer.isSuspect { mustLook = true }
            // Stays so until the look has succeeded: after one that failed half-way no producer is suspect any more.
            if mustLook {
                try retakeOwnership()
                mustLook = false
            }
            let outcome: CommitOutcome
            do throws(KafkaError) { outcome = try transact(outputs, positions) } catch { throw mapped(error) }
            switch outcome {
            case .committed:
                if let last { newestEpoch = last }
                return
            case .notCommitted(let error):
                failure = error
                retriedCommits += 1
                if error.disposition == .stop || error.kind == .tooLarge { throw mapped(error) }
            case .unknown(let error):
                failure = error
                retriedCommits += 1
                guard let last else {
                    throw LogError(.transient, "the outcome of a commit without an epoch is unknown: \(error)")
                }
                unresolved = last
                if error.kind == .fenced { throw mapped(error) }
                if try resolve(last) { return }
            }
        }
        var text = "the commit failed \(options.attempts) times"
        if let failure { text += "; the last time: \(mapped(failure).message)" }
        throw LogError(.transient, text)
    }

    /// Finds out whether the batch that ends with this epoch was committed.
    private func resolve(_ epoch: Int64) throws(LogError) -> Bool {
        let newest = try settle() ?? -1
        unresolved = nil
        mustLook = false
        if newest == newestEpoch { return false }
        if newest != epoch { throw overtaken(newest) }
        newestEpoch = newest
        return true
    }

    private func transact(_ outputs: borrowing OutputBatch, _ positions: [SourcePosition]) throws(KafkaError)
        -> CommitOutcome
    {
        let producer = try transactionalProducer()
        let consumer = if let main { main } else { try sideConsumer() }
        do throws(KafkaError) {
            try producer.begin()
            try KafkaLog.produce(outputs, to: producer)
        } catch {
            producer.discard()
            return .notCommitted(error)
        }
        return producer.commit(
            offsets: positions.map { KafkaOffset(KafkaPartition($0.source), $0.next) }, consumer: consumer)
    }

    private static func produce(_ outputs: borrowing OutputBatch, to producer: TransactionalProducer) throws(KafkaError)
    {
        var topics: [Int] = []
        for name in outputs.topics { topics.append(producer.topic(named: name)) }
        var failure: KafkaError?
        outputs.bytes.withUnsafeBytes { all in
            for record in outputs.records {
                let key = KafkaLog.part(all, record.keyOffset, record.keyLength)
                let value = KafkaLog.part(all, record.valueOffset, record.valueLength)
                do throws(KafkaError) {
                    if record.headerCount == 0 {
                        try producer.produce(topic: topics[record.topic], key: key, value: value)
                    } else {
                        try producer.produce(topic: topics[record.topic], key: key, value: value) { writer in
                            outputs.forEachHeader(record) { writer.add($0, $1) }
                        }
                    }
                } catch {
                    failure = error
                    return
                }
            }
        }
        if let failure { throw failure }
    }

    private static func part(_ all: UnsafeRawBufferPointer, _ offset: Int, _ length: Int) -> UnsafeRawBufferPointer? {
        length < 0 ? nil : UnsafeRawBufferPointer(rebasing: all[offset..<(offset + length)])
    }

    /// Appends records without a transaction and without positions, for traffic generators; returns when all are
    /// delivered.
    ///
    /// Without `flushing` it returns once they are queued: a later call tells of what could not be delivered.
    public func append(_ outputs: borrowing OutputBatch, flushing: Bool = true) throws(LogError) {
        var failure: KafkaError?
        do throws(KafkaError) {
            if plain == nil {
                plain = try Producer(
                    configuration, flushMilliseconds: options.connectMilliseconds, observer: options.observer)
            }
            guard let plain else { return }
            var topics: [Int] = []
            for name in outputs.topics { topics.append(plain.topic(named: name)) }
            outputs.bytes.withUnsafeBytes { all in
                for record in outputs.records {
                    let key = KafkaLog.part(all, record.keyOffset, record.keyLength)
                    let value = KafkaLog.part(all, record.valueOffset, record.valueLength)
                    do throws(KafkaError) {
                        if record.headerCount == 0 {
                            try plain.produce(topic: topics[record.topic], key: key, value: value)
                        } else {
                            try plain.produce(topic: topics[record.topic], key: key, value: value) { writer in
                                outputs.forEachHeader(record) { writer.add($0, $1) }
                            }
                        }
                    } catch {
                        failure = error
                        return
                    }
                }
            }
            if let failure { throw failure }
            if flushing { try plain.flush() }
        } catch {
            plain?.close()
            plain = nil
            throw mapped(error)
        }
    }

    /// Reading and writing use different clients.
    public var commitsAside: Bool { true }

    // MARK: What was committed

    public func committedPositions(of sources: [TopicPartition]) throws(LogError) -> [SourcePosition] {
        try attempt { () throws(KafkaError) in
            let wanted = sources.map { KafkaPartition($0) }
            return try self.sideConsumer().committed(wanted).map {
                SourcePosition(source: TopicPartition($0.partition.topic, $0.partition.partition), next: $0.offset)
            }
        }
    }

    /// The number of the newest committed epoch by the journal; nil when the journal is empty or missing.
    ///
    /// Journal values begin with their version and the epoch's number. The end of a transactional topic is a marker, and tombstones stand for
    /// nothing, so the last few offsets are read, and more of them until a record is found.
    public func lastJournalEpoch() throws(LogError) -> Int64? {
        let journal = TopicPartition(options.journalTopic, 0)
        // A commit returns when its decision is logged; its markers, and with them the stable end, follow within
        // milliseconds.
        guard let end = try attempt({ () throws(KafkaError) in try self.settledJournalEnd() }) else { return nil }
        let start = try bounds(of: journal).start
        var span: Int64 = 16
        while true {
            let from = max(start, end - span)
            var newest: Int64?
            var isWrong = false
            try read(journal, from: from, to: end) { record, _ in
                guard let value = record.value else { return true }
                guard let epoch = JournalRecord.epoch(atHeadOf: value) else {
                    isWrong = true
                    return false
                }
                newest = epoch
                return true
            }
            if isWrong {
                throw LogError(
                    .corrupt,
                    """
                    \(journal) holds a record that is not of a journal: its value must begin with \
                    {"version":\(JournalRecord.version),"epoch":N. \
                    Is the topic used by others?
                    """
                )
            }
            if newest != nil || from == start { return newest }
            span *= 8
        }
    }

    /// How often a transactional producer was destroyed and made anew: a figure for metrics.
    public var recreations: Int { transactions?.recreations ?? 0 }

    public var counters: LogCounters {
        var counters = LogCounters()
        counters.producerRecreations = recreations
        counters.retriedCommits = retriedCommits
        return counters
    }

    public func close() {
        transactions?.close()
        transactions = nil
        plain?.close()
        plain = nil
        main?.close()
        main = nil
        side?.close()
        side = nil
        admin?.close()
        admin = nil
        isOwner = false
    }

    // MARK: Clients, made when first needed

    private func adminClient() throws(KafkaError) -> AdminClient {
        if let admin { return admin }
        let made = try AdminClient(configuration, milliseconds: options.connectMilliseconds, observer: options.observer)
        admin = made
        return made
    }

    private func sideConsumer() throws(KafkaError) -> Consumer {
        if let side { return side }
        // Says within the time limit, and by name, why nobody answers; a consumer itself would only stay silent.
        try adminClient().connect()
        var options = Consumer.Options()
        options.partitionEnd = true
        options.fetchWaitMilliseconds = 10
        options.prefetchBytes = self.options.prefetchBytes / 2
        options.callMilliseconds = self.options.connectMilliseconds
        let made = try Consumer(configuration, options: options, observer: self.options.observer)
        side = made
        return made
    }

    private func transactionalProducer() throws(KafkaError) -> TransactionalProducer {
        if let transactions { return transactions }
        let ids = (0..<options.transactionalIDs).map { "\(options.application)-\(options.worker)-\($0)" }
        var settings = TransactionalProducer.Options(transactionalIDs: ids)
        settings.initialiseMilliseconds = options.connectMilliseconds
        settings.callMilliseconds = options.callMilliseconds
        settings.trackedTopic = options.journalTopic
        let made = try TransactionalProducer(reporting, options: settings, observer: options.observer)
        transactions = made
        return made
    }

    private func attempt<Result>(_ body: () throws(KafkaError) -> Result) throws(LogError) -> Result {
        do throws(KafkaError) { return try body() } catch { throw mapped(error) }
    }

    private func mapped(_ error: KafkaError) -> LogError {
        LogError(error, configuration: configuration, application: options.application)
    }
}

extension KafkaPartition {
    init(_ source: TopicPartition) { self.init(source.topic, source.partition) }
}

extension LogRecord {
    /// Whether the record says nothing but that all before it is ended: a tombstone as ``KafkaLog`` writes them to the
    /// journal at a start and, after a broker's crash, where a committed transaction was left open.
    public var isSettling: Bool {
        value == nil && key.map { $0.elementsEqual(TransactionalProducer.tombstoneKey.utf8) } == true
    }
}
