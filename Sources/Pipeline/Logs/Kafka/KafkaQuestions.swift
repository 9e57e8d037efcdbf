import KafkaClient

/// One thread's questions to the brokers: topics, bounds, ranges of records, positions of the group.
///
/// Its clients are made when first needed.
final class KafkaQuestions: RangeReader {
    let configuration: KafkaConfiguration
    let options: KafkaLog.Options
    private let prefetchBytes: Int
    /// A missing right may be given back, as it was there before; false at a start, which names it and ends.
    var outlastsRefusals = false
    private var admin: AdminClient?
    private var side: Consumer?
    /// Where the last complete read ended, by partition.
    private var ends: [KafkaPartition: Int64] = [:]

    /// - Parameter prefetchBytes: what may be read ahead of a range.
    init(_ configuration: KafkaConfiguration, _ options: KafkaLog.Options, prefetchBytes: Int) {
        self.configuration = configuration
        self.options = options
        self.prefetchBytes = prefetchBytes
    }

    func adminClient() throws(KafkaError) -> AdminClient {
        if let admin { return admin }
        let made = try AdminClient(configuration, milliseconds: options.connectMilliseconds, observer: options.observer)
        admin = made
        return made
    }

    func sideConsumer() throws(KafkaError) -> Consumer {
        if let side { return side }
        // Says within the time limit, and by name, why nobody answers; a consumer itself would only stay silent.
        try adminClient().connect()
        var options = Consumer.Options()
        options.partitionEnd = true
        options.fetchWaitMilliseconds = 10
        options.prefetchBytes = prefetchBytes
        options.callMilliseconds = self.options.connectMilliseconds
        let made = try Consumer(configuration, options: options, observer: self.options.observer)
        side = made
        return made
    }

    /// Partitions that the side consumer goes on fetching from.
    var readingAhead: [KafkaPartition] { side?.assignment ?? [] }

    /// Stops fetching behind the last range read, for who will not go on there.
    ///
    /// A consumer fetches what it is assigned, whether anybody polls it or not: of a journal that grows, up to
    /// `queued.max.messages.kbytes`, with a request to the broker every few milliseconds. Another consumer is made when next
    /// needed: librdkafka before 2.1 may mix up the batches of two assignments.
    func endReading() {
        if readingAhead.isEmpty { return }
        closeSide()
    }

    private func closeSide() {
        side?.close()
        side = nil
        ends = [:]
    }

    func close() {
        closeSide()
        admin?.close()
        admin = nil
    }

    // MARK: Errors

    func mapped(_ error: KafkaError) -> LogError {
        let found = cause(of: error)
        // Rights are given back more often than a worker that lacks them is of use when it has ended.
        return error.kind == .authorisation && outlastsRefusals ? LogError(.transient, found.message) : found
    }

    private func cause(of error: KafkaError) -> LogError {
        LogError(error, configuration: configuration, application: options.application)
    }

    // MARK: Questions

    func partitions(of topic: String) throws(LogError) -> [Int32]? {
        try attempt { () throws(KafkaError) in try self.adminClient().describe(topic: topic)?.partitions }
    }

    /// The end is the last stable offset: behind the last committed record and its marker, before any open transaction.
    func bounds(of source: TopicPartition) throws(LogError) -> (start: Int64, end: Int64) {
        try attempt { () throws(KafkaError) in
            let found = try self.sideConsumer().watermarks(of: KafkaPartition(source))
            return (found.low, found.high)
        }
    }

    /// As ``LogReader/areEnds(_:)`` says; where one partition has no leader, all count as unanswered.
    func areEnds(_ positions: [SourcePosition]) -> [Bool] {
        do throws(KafkaError) {
            let found = try sideConsumer().ends(of: positions.map { KafkaPartition($0.source) }, waiting: 1000)
            let ends = Dictionary(found.map { ($0.partition, $0.offset) }) { $1 }
            return positions.map { position in
                ends[KafkaPartition(position.source)].map { $0 <= position.next } ?? false
            }
        } catch {
            return [Bool](repeating: false, count: positions.count)
        }
    }

    /// As ``LogReader/askPartitions(of:)`` says.
    func askPartitions(of topic: String) -> [Int32]? {
        do throws(KafkaError) { return try adminClient().describe(topic: topic, waiting: 1000)?.partitions } catch {
            return nil
        }
    }

    /// As ``LogReader/askEnds(_:)`` says.
    func askEnds(_ sources: [TopicPartition]) -> [PartitionEnd] {
        do throws(KafkaError) {
            let found = try sideConsumer().ends(of: sources.map { KafkaPartition($0) }, waiting: 1000)
            let ends = Dictionary(found.map { ($0.partition, $0.offset) }) { $1 }
            return sources.map { ends[KafkaPartition($0)].map { .at($0) } ?? .unknown }
        } catch {
            guard error.kind == .unknownTopic else { return [PartitionEnd](repeating: .unknown, count: sources.count) }
        }
        // One that is not there spoils the answer for all.
        var known: [String: [Int32]?] = [:]
        return sources.map { source in
            do throws(LogError) {
                if known[source.topic] == nil { known[source.topic] = .some(try partitions(of: source.topic)) }
                return known[source.topic]??.contains(source.partition) == true ? .unknown : .gone
            } catch { return .unknown }
        }
    }

    func committedPositions(of sources: [TopicPartition]) throws(LogError) -> [SourcePosition] {
        try attempt { () throws(KafkaError) in
            let wanted = sources.map { KafkaPartition($0) }
            return try self.sideConsumer().committed(wanted).map {
                SourcePosition(source: TopicPartition($0.partition.topic, $0.partition.partition), next: $0.offset)
            }
        }
    }

    func read(
        _ source: TopicPartition,
        from: Int64,
        to: Int64,
        _ body: (LogRecord, [(String, UnsafeRawBufferPointer)]) -> Bool
    ) throws(LogError) {
        if from >= to { return }
        let partition = KafkaPartition(source)
        var isComplete = false
        do throws(KafkaError) {
            let side = try sideConsumer()
            let index: Int
            if ends[partition] == from, let known = side.assignment.firstIndex(of: partition) {
                index = known
            } else {
                index = try side.add(KafkaOffset(partition, from))
            }
            ends[partition] = nil
            var goOn = true
            var progress = options.clock.now
            while goOn {
                let count = try side.poll(index, limit: 1024, until: to) { record in
                    var headers: [(String, UnsafeRawBufferPointer)] = []
                    record.forEachHeader { headers.append(($0, $1 ?? UnsafeRawBufferPointer(start: nil, count: 0))) }
                    goOn = body(
                        LogRecord(
                            source: 0,
                            offset: record.offset,
                            timestamp: record.timestamp >= 0 ? record.timestamp : nil,
                            appendTime: record.timestampType == .logAppendTime ? record.timestamp : nil,
                            key: record.key,
                            value: record.value
                        ),
                        headers
                    )
                    return goOn
                }
                if !goOn { break }
                // Records at `to` and behind stay in the consumer's batch, and then everything before has been lent.
                if try side.isBehind(index, to) {
                    isComplete = true
                    break
                }
                if count > 0 {
                    progress = options.clock.now
                } else {
                    try side.wait(milliseconds: 20)
                    if options.observer.isEndWanted() {
                        throw KafkaError(.stopped, "read \(partition)", "stopped while waiting for Kafka")
                    }
                    if options.clock.now - progress > .milliseconds(options.connectMilliseconds) {
                        try missing(partition, from: from, to: to)
                    }
                }
            }
        } catch {
            closeSide()
            throw mapped(error)
        }
        if isComplete { ends[partition] = to }
    }

    /// Why a range does not come: it is not there, or nobody answers.
    private func missing(_ partition: KafkaPartition, from: Int64, to: Int64) throws(KafkaError) -> Never {
        let found = try sideConsumer().watermarks(of: partition)
        let isGone = found.high < to || found.low > from
        throw KafkaError(
            isGone ? .outOfRange : .unreachable,
            "read \(partition)",
            "offsets \(from)..<\(to) were asked and \(found.low)..<\(found.high) are there and committed",
            disposition: isGone ? .stop : .retry
        )
    }
}

/// Whatever takes records to the brokers.
protocol KafkaRecordSink: AnyObject {
    func topic(named name: String) -> Int
    func produce(topic: Int, partition: Int32, key: UnsafeRawBufferPointer?, value: UnsafeRawBufferPointer?)
        throws(KafkaError)
    func produce(
        topic: Int,
        partition: Int32,
        key: UnsafeRawBufferPointer?,
        value: UnsafeRawBufferPointer?,
        headers: (borrowing HeaderWriter) -> Void
    ) throws(KafkaError)
}

extension Producer: KafkaRecordSink {}
extension TransactionalProducer: KafkaRecordSink {}

extension KafkaRecordSink {
    /// Queues every record of a batch.
    ///
    /// - Parameter marked: the topic whose records get one header more, of this name and value; nil: none.
    func produce(
        _ outputs: borrowing OutputBatch,
        marking marked: String? = nil,
        _ name: StaticString = "",
        _ mark: [UInt8] = []
    ) throws(KafkaError) {
        let name = UnsafeRawBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount)
        let marked = marked.flatMap { outputs.topics.firstIndex(of: $0) }
        var topics: [Int] = []
        for name in outputs.topics { topics.append(topic(named: name)) }
        var failure: KafkaError?
        outputs.bytes.withUnsafeBytes { all in
            func part(_ offset: Int, _ length: Int) -> UnsafeRawBufferPointer? {
                length < 0 ? nil : UnsafeRawBufferPointer(rebasing: all[offset..<(offset + length)])
            }
            for record in outputs.records {
                let key = part(record.keyOffset, record.keyLength)
                let value = part(record.valueOffset, record.valueLength)
                do throws(KafkaError) {
                    let isMarked = record.topic == marked
                    if record.headerCount == 0, !isMarked {
                        try produce(topic: topics[record.topic], partition: record.partition, key: key, value: value)
                    } else {
                        try produce(topic: topics[record.topic], partition: record.partition, key: key, value: value) {
                            writer in
                            outputs.forEachHeader(record) { writer.add($0, $1) }
                            if isMarked { mark.withUnsafeBytes { writer.add(name, $0) } }
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
}

extension KafkaPartition {
    init(_ source: TopicPartition) { self.init(source.topic, source.partition) }
}
