import KafkaClient

/// One worker's life under its share of a plan: counts the visits of each point, says what goes wrong there, and writes the trace.
final class FaultedLife {
    let number: Int
    let clock: ModelClock
    let broker: ModelBroker
    private let plan: [Fault]
    private let note: (@autoclosure () -> String) -> Void
    /// Told of each visit: the life, the point, which visit.
    private let mark: (Int, Int, Int) -> Void
    /// Starts another worker of the same name and lets it work.
    private let takeover: () -> Void
    private var visits = [Int](repeating: 0, count: FaultPoint.allCases.count)
    private(set) var hasCrashed = false
    /// What has gone wrong, by the faults' names.
    private(set) var fired: [String] = []

    init(
        _ number: Int,
        _ plan: [Fault],
        _ clock: ModelClock,
        _ broker: ModelBroker,
        note: @escaping (@autoclosure () -> String) -> Void,
        mark: @escaping (Int, Int, Int) -> Void,
        takeover: @escaping () -> Void
    ) {
        self.number = number
        self.plan = plan.filter { $0.life == number }
        self.clock = clock
        self.broker = broker
        self.note = note
        self.mark = mark
        self.takeover = takeover
    }

    private func died(_ point: FaultPoint) -> KafkaError {
        KafkaError(.other, "\(point)", "the simulated process is dead")
    }

    static func unreachable(_ point: FaultPoint) -> KafkaError {
        KafkaError(.unreachable, "\(point)", "the simulated broker does not answer", disposition: .retry)
    }

    /// Comes to a point, and returns what goes wrong there that is the caller's to carry out.
    @discardableResult
    func reach(_ point: FaultPoint) throws(KafkaError) -> Fault? {
        if hasCrashed { throw died(point) }
        clock.pause(for: .milliseconds(1))
        broker.advance()
        let index = point.rawValue
        visits[index] += 1
        mark(number, index, visits[index])
        note("\(point) \(self.visits[index])")
        guard !plan.isEmpty, let fault = plan.first(where: { $0.point == point && $0.visit == visits[index] }) else {
            return nil
        }
        fired.append(fault.name)
        note("  \(fault)")
        switch fault.effect {
        case .crash:
            hasCrashed = true
            throw died(point)
        case .unavailable:
            wait(5000)
            throw FaultedLife.unreachable(point)
        case .slow: wait(800)
        case .standstill: wait(20_000)
        case .clockJump: clock.setWall(by: visits[index] % 2 == 0 ? -7_200_000 : 3_600_000)
        case .takeover: takeover()
        default: return fault
        }
        return nil
    }

    func wait(_ milliseconds: Int) {
        clock.pause(for: .milliseconds(milliseconds))
        broker.advance()
    }

    /// The same for who reads.
    @discardableResult
    func reachLog(_ point: FaultPoint) throws(LogError) -> Fault? {
        do throws(KafkaError) { return try reach(point) } catch { throw FaultedLife.mapped(error) }
    }

    /// A producer whose channels live this life.
    func producer(_ settings: TransactionalProducer.Options) throws(KafkaError) -> TransactionalProducer {
        let clock = clock
        return try TransactionalProducer(
            options: settings,
            retryBackoffMilliseconds: 500,
            now: { clock.time.inSeconds * 1000 }
        ) { id throws(KafkaError) in
            ModelChannel(self, id: id, trackedTopic: settings.trackedTopic)
        }
    }

    static func mapped(_ error: KafkaError) -> LogError {
        LogError(error, configuration: KafkaConfiguration([:]), application: ModelKafka.application)
    }
}

/// A producer of one transactional id as librdkafka is one: it repeats by itself what was not answered, and then says OK.
final class ModelChannel: TransactionChannel {
    private let life: FaultedLife
    private let id: String
    private let trackedTopic: String?
    private var owner: (producer: Int64, epoch: Int)?
    private var queue: [(source: TopicPartition, entry: ModelBroker.Entry)] = []
    private var added: Set<TopicPartition> = []
    private var hasGroup = false
    private var delivered: [(source: TopicPartition, offset: Int64)] = []
    private var partitioners: [String: Partitioner] = [:]
    private(set) var trackedOffset: Int64 = -1
    private(set) var hasLostConnection = false
    var refusal: KafkaError? { nil }

    init(_ life: FaultedLife, id: String, trackedTopic: String?) {
        self.life = life
        self.id = id
        self.trackedTopic = trackedTopic
    }

    private var broker: ModelBroker { life.broker }

    private func known() throws(KafkaError) -> (producer: Int64, epoch: Int) {
        guard let owner else { throw KafkaError(.other, "use \(id)", "it is not initialised", disposition: .retry) }
        return owner
    }

    private func asked(_ operation: String, _ body: () throws(ModelBroker.Refusal) -> Void) throws(KafkaError) {
        do throws(ModelBroker.Refusal) { try body() } catch {
            switch error {
            case .fenced: throw KafkaError(.fenced, operation, "a newer producer has our id")
            case .invalidState: throw KafkaError(.other, operation, "INVALID_TXN_STATE", disposition: .abort)
            }
        }
    }

    func initialise(_ operation: String, milliseconds: Int) throws(KafkaError) {
        let fault = try life.reach(.initialise)
        if fault?.effect == .skippedAbort { broker.skipsMarkers = true }
        owner = broker.initialise(id, forgets: fault?.effect == .forgotten)
        broker.skipsMarkers = false
        if fault?.effect == .timedOut {
            life.wait(milliseconds)
            throw FaultedLife.unreachable(.initialise)
        }
        try life.reach(.initialised)
    }

    func begin() throws(KafkaError) { try life.reach(.begin) }

    func produce(
        topic: Int,
        name: String,
        partition: Int32,
        key: UnsafeRawBufferPointer?,
        value: UnsafeRawBufferPointer?,
        headers: OpaquePointer?,
        milliseconds: Double
    ) throws(KafkaError) {
        let headers = HeaderWriter.take(headers)
        guard let count = broker.topics[name]?.count else {
            throw KafkaError(.unknownTopic, "produce to \(name)", "there is no such topic")
        }
        let number =
            partition >= 0
            ? partition : Int32(partitioners[name, default: Partitioner()].partition(key: key, of: count))
        let entry = ModelBroker.Entry(
            producer: try known().producer,
            state: .open,
            key: key.map([UInt8].init),
            value: value.map([UInt8].init),
            headers: headers,
            time: life.clock.wallMilliseconds
        )
        queue.append((TopicPartition(name, number), entry))
    }

    func flush(milliseconds: Int) throws(KafkaError) {
        let (producer, epoch) = try known()
        while let (source, entry) = queue.first {
            if !added.contains(source) {
                let fault = try life.reach(.addPartition)
                let broker = broker
                let id = id
                try asked("add partitions") { () throws(ModelBroker.Refusal) in
                    try broker.addPartition(source, id, producer, epoch)
                }
                if fault?.effect == .lostAnswer { life.wait(510) }
                added.insert(source)
            }
            let isJournal = source.topic == trackedTopic && entry.value != nil
            if isJournal { try life.reach(.journal) }
            let fault = try life.reach(.produce)
            var offset: Int64 = -1
            try asked("produce") { () throws(ModelBroker.Refusal) in
                offset = try broker.produce(entry, to: source, epoch: epoch)
            }
            // A record that comes twice is known by its number.
            if fault?.effect == .lostAnswer { life.wait(510) }
            delivered.append((source, offset))
            queue.removeFirst()
            if source.topic == trackedTopic { trackedOffset = max(trackedOffset, offset) }
            if isJournal { try life.reach(.journaled) }
        }
        try life.reach(.flushed)
    }

    func send(_ offsets: [KafkaOffset], of member: any GroupMember, milliseconds: Int) throws(KafkaError) {
        let (producer, epoch) = try known()
        try life.reach(.addPositions)
        let (broker, id) = (broker, id)
        try asked("add positions") { () throws(ModelBroker.Refusal) in try broker.addGroup(id, producer, epoch) }
        hasGroup = true
        try request(.sendPositions, "send positions", milliseconds) { () throws(ModelBroker.Refusal) in
            try broker.send(offsets, id, producer, epoch)
        }
        try life.reach(.positionsSent)
    }

    func commit(milliseconds: Int) throws(KafkaError) { try end(isCommitted: true, milliseconds) }

    func abort(milliseconds: Int) throws(KafkaError) { try end(isCommitted: false, milliseconds) }

    private func end(isCommitted: Bool, _ milliseconds: Int) throws(KafkaError) {
        let (producer, epoch) = try known()
        let (broker, id) = (broker, id)
        if !added.isEmpty || hasGroup {
            try request(.decide, "end transaction", milliseconds) { () throws(ModelBroker.Refusal) in
                try broker.end(id, producer, epoch, isCommitted: isCommitted)
            }
        }
        added = []
        hasGroup = false
        try life.reach(.decided)
    }

    /// Sends a request under what goes wrong with it.
    private func request(
        _ point: FaultPoint,
        _ operation: String,
        _ milliseconds: Int,
        _ body: @escaping () throws(ModelBroker.Refusal) -> Void
    ) throws(KafkaError) {
        let fault = try life.reach(point)
        let late = { () -> Void in do throws(ModelBroker.Refusal) { try body() } catch {} }
        switch fault?.effect {
        case .lostAnswer:
            late()
            life.wait(510)
        case .timedOut:
            late()
            life.wait(milliseconds)
            throw FaultedLife.unreachable(point)
        case .held:
            broker.hold(for: 515 + (fault?.milliseconds ?? 0), late)
            life.wait(510)
        case .heldTimedOut:
            broker.hold(for: milliseconds + (fault?.milliseconds ?? 0), late)
            life.wait(milliseconds)
            throw FaultedLife.unreachable(point)
        case .cut:
            broker.hold(for: 105 + (fault?.milliseconds ?? 0), late)
            hasLostConnection = true
            life.wait(100)
        case .skippedMarkers: broker.skipsMarkers = true
        default: break
        }
        defer { broker.skipsMarkers = false }
        try asked(operation, body)
    }

    func resetDeliveries() { delivered = [] }

    func touched() -> [KafkaOffset] {
        var newest: [TopicPartition: Int64] = [:]
        for item in queue { newest[item.source] = -1 }
        for source in added { newest[source] = -1 }
        for item in delivered { newest[item.source] = max(item.offset, newest[item.source] ?? -1) }
        return newest.sorted { $0.key < $1.key }.map { KafkaOffset(KafkaPartition($0.key), $0.value) }
    }

    func purge() { queue = [] }
    func serve() {}
    func close() { queue = [] }
}
