import RuleLanguage
import Testing

@testable import Pipeline

/// What full tables forget follows from the hash key, so an audit is made under the key of the run.
@Suite struct AuditKeyTests {
    private static let topology = """
        topology: world
        limits: { keys: 1024 }
        events:
          order:
            topic: orders
            time: ts
            subject: account
            emit: flagged
            fields:
              ts: { type: timestamp, format: ms }
              account: { type: string, entity: account, required: true }
        """
    private static let rules = """
        rule again "Came again" {
          owner "test"  severity low
          on order
          let orders = count() of order by account over 1h
          when orders >= 2
          then tag "again"
          because "{orders} orders"
        }
        """

    private let ours = HashKey(1, 2)
    private let theirs = HashKey(3, 4)

    /// A log of a run under our key, whose table of keys was full; of one run, or started anew behind so many events each time.
    private func makeLog(
        threads: Int = 1,
        startedAnew each: Int = 4000,
        epochRecords: Int = 4096
    ) throws -> (Deployment, SimulatedStore) {
        let deployment = try WorkerTopology.load(Self.topology, rules: Self.rules).keyed(by: ours)
        let store = SimulatedStore(clock: 1_767_700_000_000)
        try SimulatedLog(store).create([TopicRequirement(name: "orders", partitions: 1)])
        var options = WorkerOptions()
        options.epochRecords = epochRecords
        for n in 0..<4000 {
            store.append(
                TopicPartition("orders", 0),
                key: nil,
                value: Array("{\"ts\":\(1_767_600_000_000 + n),\"account\":\"a\(n % 1500)\"}".utf8)
            )
            if (n + 1) % each == 0 || n == 3999 {
                let worker = Worker(deployment, log: SimulatedLog(store), threads: threads, options: options)
                try worker.run { worker.isReady }
            }
        }
        return (deployment, store)
    }

    /// All verdicts in the log, but for their headers.
    private func verdicts(_ store: SimulatedStore) -> [[[UInt8]]] {
        (0..<4).map { partition in
            store.records(of: TopicPartition(OutputTopics.verdicts, Int32(partition))).map { $0.value ?? [] }
        }
    }

    @Test func `under one key a run with full tables is the same on any threads, over restarts and however it is cut`()
        throws
    {
        let (deployment, store) = try makeLog()
        let expected = verdicts(store)
        // The control: were no table full, every account but for its first time would come again, and under another key others do.
        #expect((100..<2500).contains(expected.joined().count))
        for (threads, each, epochRecords) in [(2, 4000, 4096), (4, 4000, 333), (1, 1500, 4096), (2, 700, 100)] {
            let (_, store) = try makeLog(threads: threads, startedAnew: each, epochRecords: epochRecords)
            #expect(verdicts(store) == expected, "\(threads) threads, \(each), \(epochRecords)")
            let audit = try JournalAudit(deployment, log: SimulatedLog(store), threads: threads).run { _ in true }
            #expect(audit.isClean && audit.epochs >= 4000 / Int64(min(each, epochRecords)), "\(audit)")
        }
    }

    @Test func `an audit under the run's key is clean where tables were full, and under another one says which`() throws
    {
        let (deployment, store) = try makeLog()
        func audit(_ key: HashKey) throws -> JournalAudit.Result {
            try JournalAudit(deployment.keyed(by: key), log: SimulatedLog(store), threads: 1).run { _ in true }
        }
        let same = try audit(ours)
        #expect(
            same.isClean && same.verdicts > 100 && same.verdicts < 2500 && same.otherKeyEpochs == 0
                && same.otherKey == nil
        )
        let other = try audit(theirs)
        #expect(
            other.missing > 0 && other.different > 0 && other.otherKeyEpochs == other.epochs
                && other.otherKey == ours.fingerprint
        )
        #expect(other.mayBeByKey && other.otherKeyDifferences == other.missing + other.different)
        #expect(!same.mayBeByKey && same.otherKeyDifferences == 0)
    }

    /// An event and an epoch more, under another key.
    private func judgeOneMore(_ deployment: Deployment, _ store: SimulatedStore) throws -> Worker {
        store.append(
            TopicPartition("orders", 0),
            key: nil,
            value: Array("{\"ts\":1767600004000,\"account\":\"a1\"}".utf8)
        )
        let worker = try Worker(deployment.keyed(by: theirs), log: SimulatedLog(store), threads: 1)
        try worker.run { worker.isReady }
        return worker
    }

    @Test func `what differs in an epoch of the audit's own key is not the key's doing`() throws {
        let (deployment, store) = try makeLog()
        _ = try judgeOneMore(deployment, store)
        func audit(_ key: HashKey) throws -> JournalAudit.Result {
            try JournalAudit(deployment.keyed(by: key), log: SimulatedLog(store), threads: 1).run { _ in true }
        }
        let before = try audit(theirs)
        #expect(before.mayBeByKey && before.otherKeyEpochs == before.epochs - 1)
        // A verdict that nobody gave, in the epoch that was judged under the audit's key.
        let partition = TopicPartition(OutputTopics.verdicts, 0)
        let record = try #require(store.records(of: partition).first)
        var value = record.value ?? []
        // {"verdict_id":"…
        value.replaceSubrange(15..<23, with: Array("00000000".utf8))
        var headers = record.headers
        for i in headers.indices where headers[i].name == "ce_epoch" {
            headers[i].value = Array("\(before.epochs - 1)".utf8)
        }
        store.append(partition, key: record.key, value: value, headers: headers)
        let after = try audit(theirs)
        #expect(!after.mayBeByKey && after.different == before.different + 1)
        #expect(after.otherKeyDifferences == before.otherKeyDifferences)
    }

    @Test func `a worker under another key goes on where tables were full`() throws {
        let (deployment, store) = try makeLog()
        let journal = TopicPartition(OutputTopics.journal, 0)
        let before = store.records(of: journal).count
        let worker = try judgeOneMore(deployment, store)
        #expect(worker.counts.events == 1 && store.records(of: journal).count == before + 1)
        let last = try #require(store.records(of: journal).last?.value)
        let record = try last.withUnsafeBytes { bytes throws(LogError) in try JournalRecord(parsing: bytes) }
        #expect(record.keyFingerprint == theirs.fingerprint)
    }
}
