import KafkaClient

/// A model of what Kafka keeps and decides about transactions: partitions with their open transactions, the coordinator of the
/// transactional ids, and one group's positions.
///
/// After Apache Kafka 4.3 for clients without KIP-890's second part, which is what librdkafka up to 2.16 is: an epoch is raised by
/// initialising alone, so a request that comes late is taken for the producer's present transaction.
final class ModelBroker {
    /// A record as stored; a marker of the end of a transaction has neither key nor value.
    struct Entry {
        enum State { case plain, open, committed, aborted, marker }
        var producer: Int64
        var state: State
        var key: [UInt8]?
        var value: [UInt8]?
        var headers: [(name: String, value: [UInt8]?)]
        var time: Int64

        var isVisible: Bool { state == .plain || state == .committed }
    }

    struct Partition {
        /// By offset.
        var entries: [Entry] = []
        /// The first offset that retention has left.
        var start: Int64 = 0
        /// Where the open transaction of a producer begins.
        var open: [Int64: Int] = [:]
        /// The newest epoch of a producer that the partition has heard of.
        var epochs: [Int64: Int] = [:]

        var end: Int64 { Int64(entries.count) }
        var stableEnd: Int64 { Int64(open.values.min() ?? entries.count) }
    }

    /// Where a producer of a transactional id stands.
    struct Course {
        enum State { case empty, ongoing, ended(isCommitted: Bool) }
        var producer: Int64
        var epoch: Int
        var state = State.empty
        var partitions: Set<TopicPartition> = []
        var hasGroup = false
        var began = Duration.zero

        func isOverdue(_ time: Duration) -> Bool {
            if case .ongoing = state { time - began > .seconds(15) } else { false }
        }
    }

    /// What a coordinator refuses a request for.
    enum Refusal: Error { case fenced, invalidState }

    /// A request that is on its way through the network, and comes when its time has come.
    private struct Late {
        var due: Duration
        var request: () -> Void
    }

    private(set) var topics: [String: [Partition]] = [:]
    private(set) var positions: [TopicPartition: Int64] = [:]
    private var pending: [Int64: [TopicPartition: Int64]] = [:]
    private var courses: [String: Course] = [:]
    private var late: [Late] = []
    private var producers: Int64 = 0
    private let clock: ModelClock
    /// Transactions that were open for too long, and whose producers were fenced for it.
    private(set) var expirations = 0
    /// Markers of the next transaction that ends do not reach every second of its partitions.
    var skipsMarkers = false

    init(_ clock: ModelClock) { self.clock = clock }

    func create(_ topic: String, partitions: Int) {
        if topics[topic] == nil { topics[topic] = Array(repeating: Partition(), count: partitions) }
    }

    func partition(_ source: TopicPartition) -> Partition? {
        guard let all = topics[source.topic], all.indices.contains(Int(source.partition)) else { return nil }
        return all[Int(source.partition)]
    }

    /// As a producer without transactions does.
    func append(_ value: [UInt8]?, to source: TopicPartition) {
        change(source) {
            $0.entries.append(
                Entry(producer: -1, state: .plain, value: value, headers: [], time: clock.wallMilliseconds)
            )
        }
    }

    /// Deletes what lies before an offset, as retention does.
    func cut(_ source: TopicPartition, before offset: Int64) { change(source) { $0.start = max($0.start, offset) } }

    /// Gives back all that was deleted.
    func restore(_ source: TopicPartition) { change(source) { $0.start = 0 } }

    private func change(_ source: TopicPartition, _ body: (inout Partition) -> Void) {
        guard var all = topics.removeValue(forKey: source.topic) else { return }
        body(&all[Int(source.partition)])
        topics[source.topic] = all
    }

    // MARK: Late requests

    func hold(for milliseconds: Int, _ request: @escaping () -> Void) {
        late.append(Late(due: clock.time + .milliseconds(milliseconds), request: request))
    }

    /// Lets everything happen whose time has come: late requests, and the end of transactions that ran out of time.
    func advance() {
        while !late.isEmpty,
            let first = late.indices.filter({ late[$0].due <= clock.time }).min(by: { late[$0].due < late[$1].due })
        {
            late.remove(at: first).request()
        }
        let time = clock.time
        while let (id, _) = courses.filter({ $0.value.isOverdue(time) }).min(by: { $0.key < $1.key }) {
            courses[id]?.epoch += 1
            end(id, isCommitted: false)
            expirations += 1
        }
    }

    // MARK: The coordinator

    /// Ends what is open under the id and raises its epoch.
    ///
    /// - Parameter forgets: the coordinator has forgotten the id, as it does with one that was idle for a week; not one of which
    ///   something was left open, which stands in all readers' way until somebody ends it.
    func initialise(_ id: String, forgets: Bool) -> (producer: Int64, epoch: Int) {
        var course = courses[id]
        if let known = course, case .ongoing = known.state {
            courses[id]?.epoch += 1
            end(id, isCommitted: false)
            course = courses[id]
        } else if forgets, let producer = course?.producer,
            !topics.values.contains(where: { $0.contains { $0.open[producer] != nil } })
        {
            course = nil
        }
        if course == nil {
            producers += 1
            course = Course(producer: producers, epoch: -1)
        }
        course?.epoch += 1
        course?.state = .empty
        courses[id] = course
        return (course?.producer ?? 0, course?.epoch ?? 0)
    }

    private func require(_ id: String, _ producer: Int64, _ epoch: Int) throws(Refusal) {
        guard let course = courses[id], course.producer == producer, course.epoch == epoch else { throw .fenced }
    }

    private func join(_ id: String) {
        if case .ongoing = courses[id]?.state { return }
        courses[id]?.state = .ongoing
        courses[id]?.began = clock.time
        courses[id]?.partitions = []
        courses[id]?.hasGroup = false
    }

    func addPartition(_ source: TopicPartition, _ id: String, _ producer: Int64, _ epoch: Int) throws(Refusal) {
        try require(id, producer, epoch)
        join(id)
        courses[id]?.partitions.insert(source)
    }

    func produce(_ entry: Entry, to source: TopicPartition, epoch: Int) throws(Refusal) -> Int64 {
        guard let found = partition(source), found.epochs[entry.producer, default: -1] <= epoch else { throw .fenced }
        change(source) {
            $0.epochs[entry.producer] = epoch
            if $0.open[entry.producer] == nil { $0.open[entry.producer] = $0.entries.count }
            $0.entries.append(entry)
        }
        return found.end
    }

    func addGroup(_ id: String, _ producer: Int64, _ epoch: Int) throws(Refusal) {
        try require(id, producer, epoch)
        join(id)
        courses[id]?.hasGroup = true
    }

    /// The group verifies with the coordinator that the transaction is open.
    func send(_ offsets: [KafkaOffset], _ id: String, _ producer: Int64, _ epoch: Int) throws(Refusal) {
        try require(id, producer, epoch)
        guard let course = courses[id], case .ongoing = course.state, course.hasGroup else { throw .invalidState }
        for item in offsets {
            pending[producer, default: [:]][TopicPartition(item.partition.topic, item.partition.partition)] =
                item.offset
        }
    }

    func end(_ id: String, _ producer: Int64, _ epoch: Int, isCommitted: Bool) throws(Refusal) {
        try require(id, producer, epoch)
        switch courses[id]?.state {
        case .ongoing: end(id, isCommitted: isCommitted)
        case .ended(let was) where was == isCommitted: break
        default: throw .invalidState
        }
    }

    private func end(_ id: String, isCommitted: Bool) {
        guard let course = courses[id] else { return }
        courses[id]?.state = .ended(isCommitted: isCommitted)
        for (i, source) in course.partitions.sorted().enumerated() where !skipsMarkers || i % 2 == 0 {
            change(source) { partition in
                partition.epochs[course.producer] = course.epoch
                if let first = partition.open.removeValue(forKey: course.producer) {
                    for at in first..<partition.entries.count
                    where partition.entries[at].producer == course.producer && partition.entries[at].state == .open {
                        partition.entries[at].state = isCommitted ? .committed : .aborted
                    }
                }
                partition.entries.append(
                    Entry(producer: course.producer, state: .marker, headers: [], time: clock.wallMilliseconds)
                )
            }
        }
        skipsMarkers = false
        if course.hasGroup, let moved = pending.removeValue(forKey: course.producer), isCommitted {
            positions.merge(moved) { $1 }
        }
    }
}
