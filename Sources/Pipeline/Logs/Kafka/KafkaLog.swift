public import KafkaClient

/// The log of production: Apache Kafka, exactly once.
///
/// One worker = one main consumer that assigns its partitions itself, one consumer for reads on the side, and one
/// writer: a transactional producer that takes turns on a few transactional ids, with a consumer of its own for the
/// questions it has to ask. A commit is one transaction: outputs, journal and input positions.
///
/// **Who fences whom.** Because partitions are assigned, not subscribed, the broker checks no group generation: only
/// the transactional ids (`<application>-<worker>-<n>`) fence. Whoever calls ``takeOwnership()`` last owns them; the
/// former owner's next commit fails as `fenced`. Two workers of one application must not run under one worker name, and
/// in fused mode only one worker may run.
///
/// **When the outcome of a commit is unknown** (no answer, a lost connection) the producer is made anew, which ends the
/// former transaction for good; then the last record of the journal says whether the batch's last epoch is there, and
/// its header `weir_writer`, another with each ownership, that nobody else wrote it. Input positions can be set back by a
/// delayed request, the journal cannot: it is the truth. That a record is *not* there is only believed once a tombstone of
/// our own, written to the journal after the former transaction had ended, can be read behind the place where it would be;
/// and a batch is only repeated once nothing of the attempt before is still open, see ``KafkaClient/TransactionalProducer``.
/// Where a coordinator that crashed has left a decided commit open, a tombstone of the key `settle` ends it: the only
/// record in an output topic that is no output.
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
        /// Paces what is waited for and tried again.
        public var clock: any WorkerClock = SystemClock()

        public init(application: String) { self.application = application }
    }

    public let options: Options
    public var application: String { options.application }
    let configuration: KafkaConfiguration
    /// The same with statistics, for the two clients that are served all the time.
    private let reporting: KafkaConfiguration
    /// What the properties ask for and Weir sets itself, with the reason.
    public let unusedProperties: [(name: String, reason: String)]
    let questions: KafkaQuestions
    /// Those that the writer asks.
    let writerQuestions: KafkaQuestions
    let writer: KafkaWriter
    private var main: Consumer?
    private var plain: Producer?
    private var isOwner = false
    /// When partitions were assigned last, but for those that were refused.
    private var assignedAt = Duration.zero
    private var refusals = ReadRefusal()
    /// When the main consumer's errors, logs and statistics were last taken.
    private var served = Duration.zero

    /// Checks the configuration and this librdkafka; connects only when asked something.
    ///
    /// - Throws: ``LogError``: `refused` for a wrong property, `incompatible` for what this librdkafka cannot do.
    public init(configuration: KafkaConfiguration, options: Options) throws(LogError) {
        unusedProperties = KafkaLog.unusedProperties(of: configuration)
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
        questions = KafkaQuestions(configuration, options, prefetchBytes: options.prefetchBytes / 2)
        // It reads the ends of the journal, and nothing else.
        writerQuestions = KafkaQuestions(configuration, options, prefetchBytes: 8 << 20)
        writer = KafkaWriter(writerQuestions, options: options) { settings throws(KafkaError) in
            try TransactionalProducer(reporting, options: settings, observer: options.observer)
        }
        do throws(KafkaError) {
            try configuration.validate()
            try KafkaLibrary.check(configuration, transactions: true)
        } catch {
            throw LogError(error, configuration: configuration, application: options.application)
        }
    }

    deinit { close() }

    // MARK: Owning

    /// Fences a former self by its transactional ids.
    ///
    /// Takes milliseconds; half a second more when the former self left a transaction open.
    public func takeOwnership() throws(LogError) -> any LogWriter {
        writerQuestions.outlastsRefusals = false
        try writer.takeOwnership()
        writerQuestions.outlastsRefusals = true
        isOwner = true
        return writer
    }

    public func close() {
        writer.close()
        plain?.close()
        plain = nil
        main?.close()
        main = nil
        questions.close()
    }

    // MARK: Reading

    public func partitions(of topic: String) throws(LogError) -> [Int32]? { try questions.partitions(of: topic) }

    public func bounds(of source: TopicPartition) throws(LogError) -> (start: Int64, end: Int64) {
        try questions.bounds(of: source)
    }

    /// The brokers look into their time index.
    public func offset(of source: TopicPartition, appendedSince milliseconds: Int64) throws(LogError) -> Int64 {
        // The ends first: what is committed between the two questions lies behind them.
        let (start, end) = try bounds(of: source)
        let found = try questions.attempt { () throws(KafkaError) in
            try self.questions.adminClient().offsets([KafkaPartition(source)], at: milliseconds).first?.offset ?? -1
        }
        // A later record of an open transaction may stand behind the committed end.
        return found < 0 ? end : min(max(found, start), end)
    }

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
                        : "topic \(topic) has no partition \(source.source.partition)"
                )
            }
        }
        questions.endReading()
        assignedAt = options.clock.now
        refusals = ReadRefusal()
        try consume(sources.map { KafkaOffset(KafkaPartition($0.source), $0.next) })
    }

    private func consume(_ positions: [KafkaOffset]) throws(LogError) {
        try questions.attempt { () throws(KafkaError) in
            // A consumer of its own each time: librdkafka before 2.1 may mix up the batches of two assignments.
            self.main?.close()
            self.main = nil
            var options = Consumer.Options()
            options.expectedPartitions = positions.count
            options.prefetchBytes = self.options.prefetchBytes
            // An answer for every few records would keep a broker busy: on two cores shared with it, at 10,000 events a second over
            // 36 partitions, the median commit took 12 to 16 ms with 1 byte and 50 ms, and 6 to 9 ms with these. From event to
            // verdict 99 of 100 took 43 to 52 ms with 8, 10 or 12 ms, and 50 to 55 with 16.
            options.fetchMinimumBytes = 64 << 10
            options.fetchWaitMilliseconds = 10
            options.callMilliseconds = self.options.connectMilliseconds
            let made = try Consumer(self.reporting, options: options, observer: self.options.observer)
            try made.assign(positions)
            self.main = made
        }
    }

    public func add(_ position: SourcePosition) throws(LogError) -> Int {
        guard let main else { throw LogError(.refused, "no partitions are assigned") }
        let source = position.source
        guard try partitions(of: source.topic)?.contains(source.partition) == true else {
            throw LogError(.refused, "topic \(source.topic) has no partition \(source.partition)")
        }
        return try questions.attempt { () throws(KafkaError) in
            try main.add(KafkaOffset(KafkaPartition(source), position.next))
        }
    }

    public func poll(source: Int, limit: Int, withHeaders: Bool, _ body: (LogRecord) -> Bool) throws(LogError) -> Int64
    {
        guard let main else { throw LogError(.refused, "no partitions are assigned") }
        do throws(KafkaError) {
            // In a backlog nobody waits, and what is said between the records must be heard all the same.
            let now = options.clock.now
            if now - served > KafkaLog.servingInterval {
                served = now
                try main.wait(milliseconds: 0)
            }
            try main.poll(source, limit: limit) { record in
                headers.removeAll(keepingCapacity: true)
                if withHeaders {
                    record.forEachHeader { (name: UnsafeRawBufferPointer, value) in
                        headers.append(LogHeader(name: name, value: value))
                    }
                }
                return headers.withUnsafeBufferPointer {
                    body(
                        LogRecord(
                            source: source,
                            offset: record.offset,
                            timestamp: record.timestamp >= 0 ? record.timestamp : nil,
                            appendTime: record.timestampType == .logAppendTime ? record.timestamp : nil,
                            key: record.key,
                            value: record.value,
                            headers: $0
                        )
                    )
                }
            }
            return try main.position(source)
        } catch {
            try outlast(error)
            return main.next(source)
        }
    }

    public var refusal: LogError? { refusals.error }

    /// Takes note that an input may not be read any more; throws any other error.
    ///
    /// While a worker starts a missing right is an error: it can be named, and nobody has relied on it yet.
    private func outlast(_ error: KafkaError) throws(LogError) {
        let now = options.clock.now
        guard error.kind == .authorisation, isOwner,
            refusals.error != nil || now - assignedAt > .milliseconds(options.connectMilliseconds)
        else { throw questions.mapped(error) }
        refusals.refused(questions.mapped(error), at: now, chance: .random(in: 0...1))
    }

    /// Assigns what was refused anew when its time has come.
    private func retryRefused(_ main: Consumer) throws(LogError) {
        let now = options.clock.now
        if refusals.isDue(at: now) {
            try consume(main.assignment.indices.map { KafkaOffset(main.assignment[$0], main.next($0)) })
        }
        refusals.settle(at: now)
    }

    /// Of the record that is lent, where they were asked for.
    private var headers: [LogHeader] = []
    private static let servingInterval = Duration.milliseconds(500)

    public func wait(milliseconds: Int) throws(LogError) {
        guard let main else { throw LogError(.refused, "no partitions are assigned") }
        served = options.clock.now
        writer.serveIfIdle()
        do throws(KafkaError) { try main.wait(milliseconds: milliseconds) } catch { try outlast(error) }
        if refusals.error != nil { try retryRefused(main) }
    }

    public func read(
        _ source: TopicPartition,
        from: Int64,
        to: Int64,
        _ body: (LogRecord, [(String, UnsafeRawBufferPointer)]) -> Bool
    ) throws(LogError) { try questions.read(source, from: from, to: to, body) }

    public func areEnds(_ positions: [SourcePosition]) -> [Bool] { questions.areEnds(positions) }

    public func askEnds(_ sources: [TopicPartition]) -> [PartitionEnd] { questions.askEnds(sources) }

    public func askPartitions(of topic: String) -> [Int32]? { questions.askPartitions(of: topic) }

    /// As often as the clients ask on their own account: `topic.metadata.refresh.interval.ms`, where the properties have it.
    public var discoveryInterval: Duration {
        let own = configuration["topic.metadata.refresh.interval.ms"].flatMap { Int($0) } ?? 0
        return own > 0 ? .milliseconds(own) : .seconds(30)
    }

    /// Those of the consumer group, which is named as the application.
    public func committedPositions(of sources: [TopicPartition]) throws(LogError) -> [SourcePosition] {
        try questions.committedPositions(of: sources)
    }

    // MARK: Producing

    public func append(_ outputs: borrowing OutputBatch, flushing: Bool) throws(LogError) -> Bool {
        do throws(KafkaError) {
            let producer = try plainProducer()
            try producer.produce(outputs)
            if flushing { try producer.flush() }
            return flushing
        } catch {
            plain?.close()
            plain = nil
            throw questions.mapped(error)
        }
    }

    private func plainProducer() throws(KafkaError) -> Producer {
        if let plain { return plain }
        let made = try Producer(
            configuration,
            flushMilliseconds: options.connectMilliseconds,
            observer: options.observer
        )
        plain = made
        return made
    }
}

extension LogRecord {
    /// Whether the record says nothing but that all before it is ended: a tombstone as ``KafkaLog`` writes them to the
    /// journal at a start and, after a broker's crash, where a committed transaction was left open.
    public var isSettling: Bool {
        value == nil && key.map { $0.elementsEqual(TransactionalProducer.tombstoneKey.utf8) } == true
    }
}
