import Synchronization

@testable import Pipeline

/// What outlives a crash: topics, positions and owners, in memory.
///
/// A test keeps the store and opens a new ``SimulatedLog`` over it, as a process opens its broker again after a restart. Handles on
/// several threads may share one.
final class SimulatedStore: Sendable {
    /// A record as stored.
    struct Record: Sendable, Equatable {
        /// Place in the partition.
        var offset: Int64
        /// Milliseconds since 1970, by the store's own clock.
        var appendTime: Int64
        /// nil: no key.
        var key: [UInt8]?
        /// nil: a tombstone.
        var value: [UInt8]?
        /// In the order written.
        var headers: [Header]
    }

    /// A record's header.
    struct Header: Sendable, Equatable {
        /// The name; names may repeat.
        var name: String
        /// The value, perhaps empty.
        var value: [UInt8]
    }

    struct Partition {
        var records: [Record] = []
        var start: Int64 = 0
        var end: Int64 = 0
    }

    struct Owner {
        /// Raised by who takes ownership.
        var generation: Int64 = 0
        /// Raised with each new producer of the same owner; a request of an older one is refused.
        var producer: Int64 = 0
        var positions: [TopicPartition: Int64] = [:]
        var commits = 0
    }

    /// A record on its way to its partition.
    struct Sent {
        var target: TopicPartition
        var key: [UInt8]?
        var value: [UInt8]?
        var headers: [Header]
    }

    /// One transaction as sent, ready to be applied.
    struct Transaction {
        var application: String
        var generation: Int64
        var producer: Int64
        var records: [Sent]
        var positions: [SourcePosition]
    }

    struct Content {
        var topics: [String: [Partition]] = [:]
        var owners: [String: Owner] = [:]
        /// Requests still on their way through the network.
        var underWay: [Transaction] = []
        var clock: Int64
        var commitCount = 0
        var markers: Bool
        /// True when a request of a former producer is taken as if it were the present one's; see
        /// ``SimulatedFaults/keepsProducer``.
        var believesAnyProducer = false
    }

    let content: Mutex<Content>

    /// An empty store; append times count up by 1 ms per record from `clock`, in milliseconds since 1970.
    ///
    /// With `transactionMarkers` every commit takes one more offset in each partition it writes to, as Kafka's control records do:
    /// a pipeline that counts offsets instead of believing them then fails.
    init(clock: Int64 = 1_700_000_000_000, transactionMarkers: Bool = false) {
        content = Mutex(Content(clock: clock, markers: transactionMarkers))
    }

    /// Commits applied so far.
    var commitCount: Int { content.withLock { $0.commitCount } }

    /// All records of a partition; none for one that does not exist.
    func records(of source: TopicPartition) -> [Record] {
        content.withLock { $0.partition(source)?.records ?? [] }
    }

    /// Appends one record as a producer would and returns its offset; the topic must exist.
    @discardableResult
    func append(_ target: TopicPartition, key: [UInt8]?, value: [UInt8]?, headers: [Header] = []) -> Int64 {
        content.withLock { content in
            content.append(target, key: key, value: value, headers: headers)
        }
    }

    /// Forgets the records of a partition before an offset, as retention does.
    func deleteRecords(of source: TopicPartition, before offset: Int64) {
        content.withLock { content in
            guard var partition = content.partition(source) else { return }
            partition.start = min(max(offset, partition.start), partition.end)
            let start = partition.start
            partition.records.removeAll { $0.offset < start }
            content.topics[source.topic]?[Int(source.partition)] = partition
        }
    }
}

extension SimulatedStore {
    static func fenced(_ application: String) -> LogError {
        LogError(.fenced, "another process runs '\(application)' now.")
    }
}

extension SimulatedStore.Partition {
    /// Index of the first record at or behind an offset.
    func index(of offset: Int64) -> Int {
        var low = 0
        var high = records.count
        while low < high {
            let middle = (low + high) / 2
            if records[middle].offset < offset { low = middle + 1 } else { high = middle }
        }
        return low
    }
}

extension SimulatedStore.Content {
    func partition(_ source: TopicPartition) -> SimulatedStore.Partition? {
        guard let all = topics[source.topic], all.indices.contains(Int(source.partition)) else { return nil }
        return all[Int(source.partition)]
    }

    @discardableResult
    mutating func append(
        _ target: TopicPartition,
        key: [UInt8]?,
        value: [UInt8]?,
        headers: [SimulatedStore.Header]
    ) -> Int64 {
        let number = Int(target.partition)
        guard let offset = partition(target)?.end else {
            preconditionFailure("append to \(target), which does not exist")
        }
        clock += 1
        topics[target.topic]?[number].records.append(
            SimulatedStore.Record(offset: offset, appendTime: clock, key: key, value: value, headers: headers)
        )
        topics[target.topic]?[number].end += 1
        return offset
    }

    /// Applies a transaction whole, or says why not and changes nothing.
    mutating func apply(_ transaction: SimulatedStore.Transaction) -> LogError? {
        guard let owner = owners[transaction.application], owner.generation == transaction.generation,
            believesAnyProducer || owner.producer == transaction.producer
        else { return SimulatedStore.fenced(transaction.application) }
        for record in transaction.records {
            append(record.target, key: record.key, value: record.value, headers: record.headers)
        }
        if markers {
            for target in Set(transaction.records.map(\.target)) {
                topics[target.topic]?[Int(target.partition)].end += 1
            }
        }
        for position in transaction.positions {
            owners[transaction.application]?.positions[position.source] = position.next
        }
        owners[transaction.application]?.commits += 1
        commitCount += 1
        return nil
    }
}
