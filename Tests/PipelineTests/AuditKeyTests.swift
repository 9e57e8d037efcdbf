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

    /// A log of a run under our key, whose table of keys was full.
    private func makeLog() throws -> (Deployment, SimulatedStore) {
        let deployment = try WorkerTopology.load(Self.topology, rules: Self.rules).keyed(by: ours)
        let store = SimulatedStore(clock: 1_767_700_000_000)
        try SimulatedLog(store).create([TopicRequirement(name: "orders", partitions: 1)])
        for n in 0..<4000 {
            store.append(
                TopicPartition("orders", 0),
                key: nil,
                value: Array("{\"ts\":\(1_767_600_000_000 + n),\"account\":\"a\(n % 1500)\"}".utf8)
            )
        }
        let worker = Worker(deployment, log: SimulatedLog(store), threads: 1)
        try worker.run { worker.isReady }
        return (deployment, store)
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
    }

    @Test func `a worker under another key goes on where tables were full`() throws {
        let (deployment, store) = try makeLog()
        let journal = TopicPartition(OutputTopics.journal, 0)
        let before = store.records(of: journal).count
        store.append(
            TopicPartition("orders", 0),
            key: nil,
            value: Array("{\"ts\":1767600004000,\"account\":\"a1\"}".utf8)
        )
        let worker = try Worker(deployment.keyed(by: theirs), log: SimulatedLog(store), threads: 1)
        try worker.run { worker.isReady }
        #expect(worker.counts.events == 1 && store.records(of: journal).count == before + 1)
        let last = try #require(store.records(of: journal).last?.value)
        let record = try last.withUnsafeBytes { bytes throws(LogError) in try JournalRecord(parsing: bytes) }
        #expect(record.keyFingerprint == theirs.fingerprint)
    }
}
