import KafkaClient

/// What the readers of a simulated broker ask, under the faults of one life.
final class ModelQuestions: KafkaAsking, GroupMember {
    let life: FaultedLife
    private var broker: ModelBroker { life.broker }

    init(_ life: FaultedLife) { self.life = life }

    func groupMetadata() -> OpaquePointer? { nil }
    func member() throws(KafkaError) -> any GroupMember { self }
    func mapped(_ error: KafkaError) -> LogError { FaultedLife.mapped(error) }
    func endReading() {}
    func close() {}

    func describe(topic: String) throws(KafkaError) -> [Int32]? {
        let fault = try life.reach(.describe)
        if fault?.effect == .stale { return nil }
        return broker.topics[topic].map { $0.indices.map { Int32($0) } }
    }

    func end(of partition: KafkaPartition) throws(KafkaError) -> Int64 {
        try ends(of: [partition]).first?.offset ?? 0
    }

    func stableEnd(of partition: KafkaPartition) throws(KafkaError) -> Int64 {
        try stableEnds(of: [partition]).first?.offset ?? 0
    }

    func ends(of partitions: [KafkaPartition]) throws(KafkaError) -> [KafkaOffset] {
        try ends(.ends, partitions, \.end)
    }

    func stableEnds(of partitions: [KafkaPartition]) throws(KafkaError) -> [KafkaOffset] {
        try ends(.stableEnds, partitions, \.stableEnd)
    }

    private func ends(
        _ point: FaultPoint,
        _ partitions: [KafkaPartition],
        _ end: KeyPath<ModelBroker.Partition, Int64>
    ) throws(KafkaError) -> [KafkaOffset] {
        let fault = try life.reach(point)
        return partitions.map { wanted in
            let found = broker.partition(TopicPartition(wanted.topic, wanted.partition))?[keyPath: end] ?? 0
            return KafkaOffset(wanted, fault?.effect == .stale ? max(0, found - 3) : found)
        }
    }

    // MARK: Ranges

    func partitions(of topic: String) throws(LogError) -> [Int32]? {
        try life.reachLog(.partitions)
        return broker.topics[topic].map { $0.indices.map { Int32($0) } }
    }

    func bounds(of source: TopicPartition) throws(LogError) -> (start: Int64, end: Int64) {
        let fault = try life.reachLog(.bounds)
        let (start, end) = (try find(source).start, try find(source).stableEnd)
        return (start, fault?.effect == .stale ? max(start, end - 3) : end)
    }

    func find(_ source: TopicPartition) throws(LogError) -> ModelBroker.Partition {
        guard let found = broker.partition(source) else {
            throw LogError(.refused, "there is no partition \(source)")
        }
        return found
    }

    func read(
        _ source: TopicPartition,
        from: Int64,
        to: Int64,
        _ body: (LogRecord, [(String, UnsafeRawBufferPointer)]) -> Bool
    ) throws(LogError) {
        try life.reachLog(.read)
        let entries = try find(source).entries
        let start = try find(source).start
        guard from >= start, to <= Int64(entries.count) else {
            throw LogError(
                .outOfRange,
                "offsets \(from)..<\(to) of \(source) are wanted, \(start)..<\(entries.count) are there"
            )
        }
        for at in Int(from)..<Int(max(from, to)) where entries[at].isVisible {
            let goesOn = ModelQuestions.lend(entries[at], source: 0, at) { record in
                var headers: [(String, UnsafeRawBufferPointer)] = []
                for header in record.headers {
                    headers.append(
                        (
                            String(decoding: header.name, as: UTF8.self),
                            header.value ?? UnsafeRawBufferPointer(start: nil, count: 0)
                        )
                    )
                }
                return body(record, headers)
            }
            if !goesOn { return }
        }
    }

    static func lend(_ entry: ModelBroker.Entry, source: Int, _ offset: Int, _ body: (LogRecord) -> Bool) -> Bool {
        func with(_ bytes: [UInt8]?, _ body: (UnsafeRawBufferPointer?) -> Bool) -> Bool {
            if let bytes { bytes.withUnsafeBytes { body($0) } } else { body(nil) }
        }
        let all = entry.headers.flatMap { Array($0.name.utf8) + ($0.value ?? []) }
        return all.withUnsafeBytes { all in
            var at = 0
            func take(_ count: Int) -> UnsafeRawBufferPointer {
                defer { at += count }
                return UnsafeRawBufferPointer(rebasing: all[at..<(at + count)])
            }
            let headers = entry.headers.map { header in
                LogHeader(name: take(header.name.utf8.count), value: header.value.map { take($0.count) })
            }
            return headers.withUnsafeBufferPointer { headers in
                with(entry.key) { key in
                    with(entry.value) { value in
                        body(
                            LogRecord(
                                source: source,
                                offset: Int64(offset),
                                timestamp: entry.time,
                                appendTime: nil,
                                key: key,
                                value: value,
                                headers: headers
                            )
                        )
                    }
                }
            }
        }
    }
}

/// A log over a simulated broker: the real ``KafkaWriter``, ``CommitCourse`` and `TransactionalProducer` over channels that fail.
final class ModelKafka: EventLog {
    static let application = "weir"

    private let life: FaultedLife
    private let questions: ModelQuestions
    private let writer: KafkaWriter
    private let mistake: FaultMistake?
    private var sources: [SourcePosition] = []
    /// How often somebody waited.
    private(set) var waits = 0

    var name: String { "simulated brokers" }

    init(_ life: FaultedLife, transactionalIDs: Int, mistake: FaultMistake?) {
        self.life = life
        self.mistake = mistake
        questions = ModelQuestions(life)
        var options = KafkaLog.Options(application: ModelKafka.application)
        options.clock = life.clock
        options.transactionalIDs = transactionalIDs
        writer = KafkaWriter(ModelQuestions(life), options: options) { settings throws(KafkaError) in
            var settings = settings
            if mistake == .keepsProducers { settings.slowCallMilliseconds = .infinity }
            return try life.producer(settings)
        }
    }

    func takeOwnership() throws(LogError) -> any LogWriter {
        try life.reachLog(.ownership)
        try writer.takeOwnership()
        return ModelWriter(writer, life, mistake)
    }

    func close() { writer.close() }

    // MARK: Reading

    func partitions(of topic: String) throws(LogError) -> [Int32]? { try questions.partitions(of: topic) }
    func bounds(of source: TopicPartition) throws(LogError) -> (start: Int64, end: Int64) {
        try questions.bounds(of: source)
    }
    func read(
        _ source: TopicPartition,
        from: Int64,
        to: Int64,
        _ body: (LogRecord, [(String, UnsafeRawBufferPointer)]) -> Bool
    ) throws(LogError) { try questions.read(source, from: from, to: to, body) }

    func assign(_ sources: [SourcePosition]) throws(LogError) {
        try life.reachLog(.assign)
        self.sources = sources
    }

    func add(_ position: SourcePosition) throws(LogError) -> Int {
        try life.reachLog(.assign)
        sources.append(position)
        return sources.count - 1
    }

    func poll(source: Int, limit: Int, withHeaders: Bool, _ body: (LogRecord) -> Bool) throws(LogError) -> Int64 {
        let fault = try life.reachLog(.poll)
        let position = sources[source]
        let partition = try questions.find(position.source)
        var left = fault?.effect == .torn ? limit / 2 % 3 : limit
        var next = position.next
        guard next >= partition.start else {
            throw LogError(
                .outOfRange,
                "offset \(next) of \(position.source) is wanted, the first is \(partition.start)"
            )
        }
        while next < partition.stableEnd {
            let entry = partition.entries[Int(next)]
            if entry.isVisible {
                if left == 0 { break }
                left -= 1
                next += 1
                if !ModelQuestions.lend(entry, source: source, Int(next) - 1, body) { break }
            } else {
                next += 1
            }
        }
        sources[source].next = next
        return next
    }

    func wait(milliseconds: Int) throws(LogError) {
        try life.reachLog(.wait)
        waits += 1
        life.wait(milliseconds)
    }

    func committedPositions(of wanted: [TopicPartition]) throws(LogError) -> [SourcePosition] {
        let fault = try life.reachLog(.committed)
        if fault?.effect == .stale { return [] }
        return wanted.compactMap { source in
            life.broker.positions[source].map { SourcePosition(source: source, next: $0) }
        }
    }

    // MARK: Topics

    func topics() throws(LogError) -> [String] { life.broker.topics.keys.sorted() }

    func create(_ topics: [TopicRequirement]) throws(LogError) {
        try life.reachLog(.create)
        for topic in topics { life.broker.create(topic.name, partitions: topic.partitions) }
        writer.know(topics.map(\.name))
    }

    func append(_ outputs: borrowing OutputBatch, flushing: Bool) throws(LogError) -> Bool {
        throw LogError(.refused, "a simulated broker is fed by its world")
    }
}

/// The real writer on the caller's thread.
private final class ModelWriter: LogWriter {
    private let writer: KafkaWriter
    private let life: FaultedLife
    private let mistake: FaultMistake?

    init(_ writer: KafkaWriter, _ life: FaultedLife, _ mistake: FaultMistake?) {
        self.writer = writer
        self.life = life
        self.mistake = mistake
    }

    var commitsAtOnce: Bool { true }
    var counters: LogCounters { writer.counters }

    func commit(_ outputs: borrowing OutputBatch, positions: [SourcePosition]) throws(LogError) {
        do throws(LogError) { try writer.commit(outputs, positions: positions) } catch {
            guard error.kind == .fenced, mistake == .takesBack else { throw error }
            try writer.takeOwnership()
            try writer.commit(outputs, positions: positions)
        }
        try life.reachLog(.answered)
    }
}

/// A deliberate mistake, to prove that the checks can fail.
enum FaultMistake: Sendable, CaseIterable {
    /// Makes a producer anew after errors only: not after calls that were slow, nor after a connection was lost.
    case keepsProducers
    /// Takes the ids back when another has them, and writes on.
    case takesBack
}
