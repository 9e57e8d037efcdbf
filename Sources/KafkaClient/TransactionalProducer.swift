/// What became of a transaction.
public enum CommitOutcome: Sendable, Equatable {
    /// All of it is durable and visible.
    case committed
    /// None of it is or will be visible: the decision to commit was never sent.
    case notCommitted(KafkaError)
    /// The decision was sent and no clear answer came.
    ///
    /// After ``TransactionalProducer/recreate()`` the state of the topics is final: look there.
    case unknown(KafkaError)
}

/// Writes records and consumer positions in transactions, exactly once.
///
/// **The rule of re-creation.** librdkafka retries requests of a transaction itself and then answers OK, and (as no
/// release up to 2.16 speaks the protocol of KIP-890) a request delayed in the network ends a *later* transaction of
/// the same producer epoch: aborted records become visible, committed ones vanish, and every call says OK. Reproduced
/// on Apache Kafka 4.3.1. Therefore a producer is destroyed and made anew, whose `init_transactions` raises the epoch
/// and fences what is still under way, before the next ``begin()`` after any transactional call that failed, timed out,
/// **or took longer than 0.75 × `retry.backoff.ms` although it succeeded**: a hidden retry always waits for the
/// back-off. So it is after a connection was lost, and with it perhaps a broker that had not yet carried out what it had
/// answered OK to. Abort is never used to repair: it fails itself after most errors that ask for it.
///
/// **What a coordinator leaves open.** A broker that restarts as coordinator before it knows its topics takes them for
/// deleted, skips the markers of the transactions it completes (Kafka 4.3: "these partitions are likely deleted already
/// and hence can be skipped") and calls them complete. Their records and positions stay open: readers of committed
/// records wait in front of them, questions for the group's positions go unanswered, and the *next* marker of the same
/// producer id decides about them. ``probe(topic:partition:open:consumer:decidedOnly:)`` ends them as committed,
/// ``sweep(position:consumer:)`` as aborted.
///
/// **Taking turns.** With several transactional ids each transaction uses the next one. Only one is open at a time, so
/// their order stays; the next transaction need not wait for the markers of the one before, which saves a back-off of
/// 20 ms.
///
/// Records are sent compressed with lz4 unless the configuration says otherwise.
///
/// Call order: ``initialise()``, then for each transaction ``begin()``,
/// ``produce(topic:partition:key:value:headers:)``…, ``commit(offsets:consumer:)`` or ``discard()``. One thread owns
/// the object.
///
/// From one topic to another, each record exactly once for readers of committed ones:
/// ```swift
/// func relay(_ configuration: KafkaConfiguration, from source: KafkaPartition, to topic: String) throws {
///     let consumer = try Consumer(configuration)
///     defer { consumer.close() }
///     let options = TransactionalProducer.Options(transactionalIDs: ["relay-0", "relay-1"])
///     let producer = try TransactionalProducer(configuration, options: options)
///     defer { producer.close() }
///     // Ends what a former self left open: only then is the group's position final.
///     try producer.initialise()
///     let start = try consumer.committed([source]).first?.offset ?? -1
///     try consumer.assign([KafkaOffset(source, start >= 0 ? start : try consumer.watermarks(of: source).low)])
///     let output = producer.topic(named: topic)
///     let end = try consumer.watermarks(of: source).high
///     while try !consumer.isBehind(0, end) {
///         guard try consumer.wait(milliseconds: 100) else { continue }
///         try producer.begin()
///         var failure: KafkaError?
///         try consumer.poll(0, limit: 1000) { record in
///             do throws(KafkaError) {
///                 try producer.produce(topic: output, key: record.key, value: record.value)
///             } catch { failure = error }
///             return failure == nil
///         }
///         if let failure { throw failure }
///         switch producer.commit(offsets: [KafkaOffset(source, consumer.next(0))], consumer: consumer) {
///         case .committed: continue
///         // Whether it is there or not, the group's position tells the next start.
///         case .notCommitted(let error), .unknown(let error): throw error
///         }
///     }
/// }
/// ```
public final class TransactionalProducer {
    /// How a producer names itself and commits.
    public struct Options {
        /// One to four ids.
        ///
        /// Whoever initialises the same id later fences us.
        public var transactionalIDs: [String]
        /// After this the broker aborts an open transaction, and readers that wait for it go on.
        public var transactionTimeoutMilliseconds = 15_000
        /// Longest wait of a commit and of sending offsets; below `socket.timeout.ms`.
        public var callMilliseconds = 5_000
        /// Longest wait for deliveries before the commit.
        public var flushMilliseconds = 10_000
        /// Longest wait for the first and every later initialisation.
        public var initialiseMilliseconds = 30_000
        /// A transactional call that took longer makes the producer suspect; nil: 0.75 × `retry.backoff.ms`.
        ///
        /// `.infinity` switches the rule off: for the negative control of a test only.
        public var slowCallMilliseconds: Double?

        /// The topic whose newest delivered offset is kept in ``TransactionalProducer/trackedOffset``; it has one
        /// partition.
        public var trackedTopic: String?

        public init(transactionalIDs: [String]) { self.transactionalIDs = transactionalIDs }
    }

    public let options: Options
    /// How often the producers were destroyed and made anew, not counting the first time.
    public private(set) var recreations = 0
    /// How many calls succeeded and were slow.
    public private(set) var slowCalls = 0
    /// The newest offset of ``Options/trackedTopic`` that a broker has confirmed, committed or not; -1 before the
    /// first.
    ///
    /// Whoever asks for the topic's end later must be told of one behind it, or the answer is not to be believed.
    public private(set) var trackedOffset: Int64 = -1
    /// The threshold in force.
    public let slowCallMilliseconds: Double

    /// A producer of one transactional id, not initialised yet.
    package typealias MakeChannel = (_ transactionalID: String) throws(KafkaError) -> any TransactionChannel

    private let makeChannel: MakeChannel
    private let now: () -> Double
    private var handles: [(any TransactionChannel)?]
    /// Must be made anew before its next transaction.
    private var suspect: [Bool]
    /// The last transaction was given up before its decision: it can only have been aborted.
    private var givenUp: [Bool]
    /// By id, the partitions where such transactions may still be open.
    private var leftovers: [Set<KafkaPartition>]
    private var turn = 0
    /// The topics written to so far, by their numbers.
    public private(set) var topics: [String] = []
    private var isOpen = false

    /// - Throws: ``KafkaError`` of kind `configuration` or `incompatible`; does not connect.
    public convenience init(
        _ configuration: KafkaConfiguration,
        options: Options,
        observer: KafkaObserver = KafkaObserver()
    ) throws(KafkaError) {
        let backoff =
            configuration["retry.backoff.ms"].flatMap { Double($0) } ?? TransactionalProducer.retryBackoffMilliseconds
        try self.init(options: options, retryBackoffMilliseconds: backoff, now: Clock.milliseconds) {
            id throws(KafkaError) in
            let handle = try ProducerHandle(
                configuration,
                defaults: [
                    ("linger.ms", "0"), ("socket.timeout.ms", "10000"),
                    ("retry.backoff.ms", String(Int(TransactionalProducer.retryBackoffMilliseconds))),
                ],
                fixed: [
                    ("transactional.id", id),
                    ("transaction.timeout.ms", String(options.transactionTimeoutMilliseconds)),
                ],
                observer: observer
            )
            handle.trackedName = options.trackedTopic
            return handle
        }
        try KafkaLibrary.check(configuration, transactions: true)
    }

    /// The same over other channels than librdkafka's, for a simulator; `now` in milliseconds.
    package init(
        options: Options,
        retryBackoffMilliseconds: Double,
        now: @escaping () -> Double,
        makeChannel: @escaping MakeChannel
    ) throws(KafkaError) {
        guard (1...4).contains(options.transactionalIDs.count),
            Set(options.transactionalIDs).count == options.transactionalIDs.count
        else {
            throw KafkaError(
                .configuration,
                "make a transactional producer",
                "one to four different transactional ids are needed"
            )
        }
        self.options = options
        self.now = now
        self.makeChannel = makeChannel
        slowCallMilliseconds = options.slowCallMilliseconds ?? 0.75 * retryBackoffMilliseconds
        handles = Array(repeating: nil, count: options.transactionalIDs.count)
        suspect = Array(repeating: true, count: options.transactionalIDs.count)
        givenUp = Array(repeating: false, count: options.transactionalIDs.count)
        leftovers = Array(repeating: [], count: options.transactionalIDs.count)
    }

    private static let retryBackoffMilliseconds = 500.0
    /// The key of every tombstone that only ends what lies before it.
    public static let tombstoneKey = "settle"

    // MARK: Owning the ids

    /// Initialises every id: fences a former owner and waits until its open transactions have ended.
    ///
    /// Must come before anything that decides by the topics' content is read.
    ///
    /// - Throws: ``KafkaError``: `unreachable` after the time limit; `authentication`, `authorisation` at once.
    public func initialise() throws(KafkaError) {
        for index in handles.indices { suspect[index] = true }
        for index in handles.indices { try make(index) }
    }

    /// Makes every producer anew; afterwards the outcome of their last transactions is final and visible in the topics.
    ///
    /// All of them, also when one alone is suspect: whoever lost one id to somebody else must not keep another, or two
    /// owners would write in turn. It takes the ids back from a newer owner too; a caller for whom that matters looks,
    /// before it writes, whether somebody else has written.
    public func recreate() throws(KafkaError) { try initialise() }

    private func make(_ index: Int) throws(KafkaError) {
        if let old = handles[index] {
            if givenUp[index] {
                givenUp[index] = false
                old.purge()
                leftovers[index].formUnion(old.touched().map(\.partition))
            }
            old.close()
            handles[index] = nil
            if index == 0 { recreations += 1 }
        }
        let id = options.transactionalIDs[index]
        let made = try makeChannel(id)
        do throws(KafkaError) {
            try made.initialise("initialise transactional id \(id)", milliseconds: options.initialiseMilliseconds)
        } catch {
            made.close()
            throw error
        }
        handles[index] = made
        suspect[index] = false
    }

    // MARK: One transaction

    /// Begins a transaction on the next id, after making the producers anew where the rule asks for it.
    ///
    /// Hears of nothing itself: whoever looked at ``isSuspect`` just before knows whether it will.
    public func begin() throws(KafkaError) {
        precondition(!isOpen, "a transaction is open: commit or discard it first")
        if isSuspect { try recreate() }
        guard let handle = handles[turn] else { return }
        handle.resetDeliveries()
        try timed("begin transaction") { () throws(KafkaError) in try handle.begin() }
        isOpen = true
    }

    /// The number by which ``produce(topic:partition:key:value:headers:)`` knows a topic.
    public func topic(named name: String) -> Int {
        if let index = topics.firstIndex(of: name) { return index }
        topics.append(name)
        return topics.count - 1
    }

    /// Queues a record of the open transaction; nil value = tombstone; partition -1 = by key (murmur2, as Java's
    /// producers).
    ///
    /// - Throws: ``KafkaError``. `tooLarge` leaves the transaction unharmed; after any other the transaction can only
    ///   be discarded.
    public func produce(
        topic: Int,
        partition: Int32 = -1,
        key: UnsafeRawBufferPointer?,
        value: UnsafeRawBufferPointer?,
        headers: (borrowing HeaderWriter) -> Void
    ) throws(KafkaError) {
        try produce(topic: topic, partition: partition, key: key, value: value, headers: HeaderWriter.headers(headers))
    }

    /// Queues a record without headers.
    public func produce(
        topic: Int,
        partition: Int32 = -1,
        key: UnsafeRawBufferPointer?,
        value: UnsafeRawBufferPointer?
    ) throws(KafkaError) {
        try produce(topic: topic, partition: partition, key: key, value: value, headers: nil)
    }

    private func produce(
        topic: Int,
        partition: Int32,
        key: UnsafeRawBufferPointer?,
        value: UnsafeRawBufferPointer?,
        headers: OpaquePointer?
    ) throws(KafkaError) {
        guard isOpen, let handle = handles[turn] else { preconditionFailure("no transaction is open: begin one first") }
        do throws(KafkaError) {
            try handle.produce(
                topic: topic,
                name: topics[topic],
                partition: partition,
                key: key,
                value: value,
                headers: headers,
                milliseconds: Double(options.flushMilliseconds)
            )
        } catch {
            if error.kind != .tooLarge { suspect[turn] = true }
            throw error
        }
    }

    /// Waits until every record produced so far is delivered.
    ///
    /// ``commit(offsets:consumer:)`` does it too.
    public func flush() throws(KafkaError) {
        guard let handle = handles[turn] else { return }
        do throws(KafkaError) { try handle.flush(milliseconds: options.flushMilliseconds) } catch {
            suspect[turn] = true
            throw error
        }
    }

    /// Ends the transaction: flush, then the positions, then the decision.
    ///
    /// The order matters: positions sent before the flush can meet the markers of the transaction before and wait a
    /// whole back-off.
    ///
    /// - Parameters:
    ///   - offsets: the next offset to read of each partition processed.
    ///   - consumer: whose group the positions belong to. A member that subscribed is checked by the broker
    ///     (generation, member, instance); a consumer that assigned its partitions itself is not: then the
    ///     transactional id alone fences.
    public func commit(offsets: [KafkaOffset] = [], consumer: (any GroupMember)? = nil) -> CommitOutcome {
        guard isOpen, let handle = handles[turn] else { preconditionFailure("no transaction is open: begin one first") }
        isOpen = false
        do throws(KafkaError) {
            try flush()
            trackedOffset = max(trackedOffset, handle.trackedOffset)
            if !offsets.isEmpty, let consumer { try send(offsets, of: consumer, by: handle) }
        } catch {
            suspect[turn] = true
            givenUp[turn] = true
            return .notCommitted(error)
        }
        do throws(KafkaError) {
            try timed("commit transaction") { () throws(KafkaError) in
                try handle.commit(milliseconds: self.options.callMilliseconds)
            }
        } catch {
            return .unknown(error)
        }
        turn = (turn + 1) % handles.count
        return .committed
    }

    private func send(_ offsets: [KafkaOffset], of consumer: any GroupMember, by handle: any TransactionChannel)
        throws(KafkaError)
    {
        try timed("send offsets to the transaction") { () throws(KafkaError) in
            try handle.send(offsets, of: consumer, milliseconds: self.options.callMilliseconds)
        }
    }

    /// Writes a tombstone to a partition in one transaction of each id and returns the last one's offset: everything
    /// that transactions of these ids have written to the partition lies in front of it, and is ended.
    ///
    /// A reader of committed records who has come behind the offset has seen all of it. What a coordinator has left
    /// open there is committed by it.
    ///
    /// - Parameters:
    ///   - open: other partitions where something is left open: they get a tombstone each, which readers will see.
    ///   - consumer: whose group is given a position behind the tombstone, so that positions left open are committed.
    ///   - decidedOnly: leaves out the ids whose last transaction was given up: it must be aborted, by
    ///     ``sweep(position:consumer:)``.
    /// - Throws: ``KafkaError``: it is to be tried again after ``recreate()``.
    public func probe(
        topic name: String,
        partition number: Int32,
        open: [KafkaPartition] = [],
        consumer: (any GroupMember)? = nil,
        decidedOnly: Bool = false
    ) throws(KafkaError) -> Int64 {
        let partition = KafkaPartition(name, number)
        let partitions = [partition] + open.filter { $0 != partition }
        var end: Int64 = -1
        for _ in handles.indices {
            let index = turn
            if decidedOnly, !leftovers[index].isEmpty {
                turn = (turn + 1) % handles.count
                continue
            }
            let written = try writeTombstones(partitions).first { $0.partition == partition }?.offset ?? -1
            end = max(end, written)
            switch commit(offsets: [KafkaOffset(partition, written + 1)], consumer: consumer) {
            case .committed: break
            case .notCommitted(let error), .unknown(let error):
                // What it ends must not become undone: the next probe commits it.
                givenUp[index] = false
                throw error
            }
        }
        return end
    }

    /// Ends as aborted whatever the transactions that were given up may have left open on their partitions, and returns
    /// offsets there: once the last stable offset has passed them, call ``didSweep()``, else this again.
    ///
    /// Otherwise the commit of the repeated batch could make the aborted one visible too. So a transaction with a record
    /// in each of the partitions goes first, and is aborted. It ends nothing of another id: what was decided lies in
    /// front and is ended first.
    ///
    /// - Parameter position: one of the consumer's group, never committed: positions left open are dropped with it.
    public func sweep(position: KafkaOffset? = nil, consumer: (any GroupMember)? = nil) throws(KafkaError)
        -> [KafkaOffset]
    {
        var ends: [KafkaOffset] = []
        let former = turn
        defer { turn = former }
        for index in handles.indices where !leftovers[index].isEmpty {
            turn = index
            ends += try writeTombstones(leftovers[index].sorted())
            if let position, let consumer, let handle = handles[index] {
                do throws(KafkaError) { try send([position], of: consumer, by: handle) } catch {
                    isOpen = false
                    throw error
                }
            }
            discard()
            try make(index)
        }
        return ends
    }

    /// What ``sweep(position:consumer:)`` ended is known to be ended.
    public func didSweep() {
        for index in leftovers.indices { leftovers[index].removeAll() }
    }

    /// Whether transactions were given up since the last ``didSweep()``.
    public var needsSweep: Bool { leftovers.contains { !$0.isEmpty } }

    /// Begins a transaction and delivers one tombstone to each partition.
    private func writeTombstones(_ partitions: [KafkaPartition]) throws(KafkaError) -> [KafkaOffset] {
        guard let handle = handles[turn] else {
            throw KafkaError(.other, "write tombstones", "no producer is initialised", disposition: .retry)
        }
        handle.resetDeliveries()
        try timed("begin transaction") { () throws(KafkaError) in try handle.begin() }
        isOpen = true
        do throws(KafkaError) {
            let key = Array(TransactionalProducer.tombstoneKey.utf8)
            for partition in partitions {
                var failure: KafkaError?
                key.withUnsafeBytes { bytes in
                    do throws(KafkaError) {
                        try produce(
                            topic: topic(named: partition.topic),
                            partition: partition.partition,
                            key: bytes,
                            value: nil
                        )
                    } catch { failure = error }
                }
                if let failure { throw failure }
            }
            try flush()
        } catch {
            isOpen = false
            suspect[turn] = true
            throw error
        }
        return handle.touched()
    }

    /// Gives the open transaction up.
    ///
    /// Its producer is destroyed and made anew before the next one, which aborts it at the broker: the only abort that
    /// is always right.
    public func discard() {
        if !isOpen { return }
        isOpen = false
        suspect[turn] = true
        givenUp[turn] = true
    }

    /// Asks the broker to abort the open transaction, for callers who want to keep the producer; under the same rule as
    /// every call.
    public func abort() throws(KafkaError) {
        guard isOpen, let handle = handles[turn] else { return }
        isOpen = false
        try timed("abort transaction") { () throws(KafkaError) in
            try handle.abort(milliseconds: self.options.callMilliseconds)
        }
    }

    /// Carries out one transactional call under the rule of re-creation.
    private func timed(_ operation: String, _ call: () throws(KafkaError) -> Void) throws(KafkaError) {
        let began = now()
        do throws(KafkaError) { try call() } catch {
            suspect[turn] = true
            guard let handle = handles[turn] else { throw error }
            handle.serve()
            guard error.kind == .other || error.kind == .unreachable, var refusal = handle.refusal else { throw error }
            refusal.operation = operation
            throw refusal
        }
        let took = now() - began
        if took > slowCallMilliseconds {
            slowCalls += 1
            suspect[turn] = true
        }
    }

    /// Serves callbacks (errors, statistics, deliveries) while nothing is being produced.
    public func serve() { for handle in handles { handle?.serve() } }

    /// Whether the next ``begin()`` will make the producers anew.
    public var isSuspect: Bool {
        suspect.contains(true)
            || (slowCallMilliseconds < .infinity
                && handles.contains { $0?.hasLostConnection == true })
    }

    /// Frees the producers; an open transaction is left to the broker, which aborts it when it times out or the id is
    /// initialised again.
    public func close() {
        for index in handles.indices {
            handles[index]?.close()
            handles[index] = nil
        }
        isOpen = false
    }
}
