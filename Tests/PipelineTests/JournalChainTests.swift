import Testing

@testable import Pipeline

/// What follows what in a journal, and how it is read.
@Suite struct JournalChainTests {
    /// Records of one source `in/0`, as `epoch:from-to`, or `epoch` for one that took nothing.
    struct Case: Sendable, CustomTestStringConvertible {
        var records: String
        var topology: String?
        /// Behind which epoch the journal must begin; nil: anywhere.
        var after: Int64?
        /// Where a snapshot of that epoch ended.
        var next: Int64?
        /// Of the record that is refused; nil: all follow.
        var failure: (kind: LogError.Kind, says: String)?
        /// What was taken in the end.
        var taken: Range<Int64>?
        var testDescription: String { "\(records) after \(after.map { "\($0)" } ?? "anything")" }
    }

    static let cases: [Case] = [
        Case(records: ""),
        Case(records: "0 1 2"),
        Case(records: "0:0-5 1:5-5 2:5-9", taken: 0..<9),
        Case(records: "0:3-5 1 2:5-9", taken: 3..<9),
        Case(records: "0:0-5 2:5-9", failure: (.corrupt, "from epoch 0 to epoch 2"), taken: 0..<5),
        Case(records: "0:0-5 0:0-5", failure: (.corrupt, "from epoch 0 to epoch 0"), taken: 0..<5),
        Case(records: "1:0-5 0:5-6", failure: (.corrupt, "from epoch 1 to epoch 0"), taken: 0..<5),
        Case(
            records: "0:0-5 1:6-9",
            failure: (.corrupt, "epoch 1 takes in/0 from offset 6, but the one before ended at 5"),
            taken: 0..<5
        ),
        Case(records: "0:0-5 1:4-9", failure: (.corrupt, "from offset 4, but the one before ended at 5"), taken: 0..<5),
        // Whoever wrote the first must have written all.
        Case(records: "0 1/other", failure: (.corrupt, "'stub', and epoch 1 by 'other'")),
        Case(records: "0/other", topology: "stub", failure: (.refused, "belongs to topology 'other'")),
        Case(records: "0 1/other", topology: "stub", failure: (.refused, "has its epoch 1")),
        // A beginning that was deleted.
        Case(records: "0:7-9", after: -1, taken: 7..<9),
        Case(records: "3:7-9", after: -1, failure: (.outOfRange, "begins with epoch 3")),
        Case(records: "3:7-9", taken: 7..<9),
        // A snapshot stands for what came before: the journal may hold it still, in part, or not at all.
        Case(records: "0:0-5 1:5-9 2:9-12", after: 1, next: 9, taken: 9..<12),
        Case(records: "1:5-9 2:9-12", after: 1, next: 9, taken: 9..<12),
        Case(records: "2:9-12", after: 1, next: 9, taken: 9..<12),
        Case(records: "3:9-12", after: 1, next: 9, failure: (.outOfRange, "begins with epoch 3"), taken: 9..<9),
        Case(records: "2:8-12", after: 1, next: 9, failure: (.corrupt, "ended at 9"), taken: 9..<9),
        Case(records: "0:0-5 2:9-12", after: 1, next: 9, failure: (.corrupt, "from epoch 0 to epoch 2"), taken: 9..<9),
    ]

    private static func record(_ text: Substring) -> JournalRecord {
        let topology = text.split(separator: "/").dropFirst().first.map(String.init) ?? "stub"
        let parts = text.split(separator: "/")[0].split(separator: ":")
        let offsets = parts.dropFirst().first?.split(separator: "-").compactMap { Int64($0) } ?? []
        return JournalRecord(
            stub: Int64(parts[0]) ?? -1,
            topology: topology,
            ranges: offsets.isEmpty ? [] : [.init(source: TopicPartition("in", 0), from: offsets[0], to: offsets[1])]
        )
    }

    @Test(arguments: cases) func `a record follows the one before, or says why not`(_ one: Case) throws {
        let source = TopicPartition("in", 0)
        var chain = JournalChain(
            topology: one.topology,
            after: one.after,
            at: one.next.map { [SourcePosition(source: source, next: $0)] } ?? []
        )
        var failure: LogError?
        do throws(LogError) {
            for record in one.records.split(separator: " ") { try chain.accept(Self.record(record)) }
        } catch { failure = error }
        #expect(failure?.kind == one.failure?.kind, "\(failure?.message ?? "")")
        #expect(failure?.message.contains(one.failure?.says ?? "") != false, "\(failure?.message ?? "")")
        #expect(chain.taken[source] == one.taken.map { .init(from: $0.lowerBound, to: $0.upperBound) })
    }

    /// A journal of so many epochs, with tombstones in front and behind and gaps between.
    private func journal(_ count: Int64, tombstones: Int = 40) throws -> (SimulatedStore, Journal) {
        let store = SimulatedStore(transactionMarkers: true)
        let log = SimulatedLog(store)
        let writer = try log.takeOwnership()
        try log.create([TopicRequirement(name: OutputTopics.journal, partitions: 1)])
        var batch = OutputBatch(topics: [OutputTopics.journal])
        func add(_ value: [UInt8]?) throws {
            batch.append(topic: 0, partition: 0, key: nil, value: value.map { value in { $0 += value } })
            try writer.commit(batch, positions: [])
            batch.removeAll()
        }
        for _ in 0..<tombstones { try add(nil) }
        for epoch in 0..<count { try add(JournalRecord.stub(epoch)) }
        for _ in 0..<tombstones { try add(nil) }
        return (store, Journal(in: log))
    }

    @Test(arguments: [0, 1, 2, 9, 10, 5000] as [Int64])
    func `the newest record is found behind tombstones, and all are handed out in order`(_ count: Int64) throws {
        let (_, journal) = try journal(count)
        #expect(try journal.newest()?.epoch == (count == 0 ? nil : count - 1))
        var epochs: [Int64] = []
        try journal.forEachRecord { record in
            epochs.append(record.epoch)
            return true
        }
        #expect(epochs == Array(0..<count))
        epochs = []
        try journal.forEachRecord { record in
            epochs.append(record.epoch)
            return record.epoch < 10
        }
        #expect(epochs == Array(0..<min(count, 11)))
    }

    @Test func `records in front of a damaged one are handed out, and a damaged end is no end`() throws {
        let (store, journal) = try journal(20)
        store.append(journal.source, key: nil, value: bytes("hello"))
        var epochs: [Int64] = []
        let error = logError {
            try journal.forEachRecord { record in
                epochs.append(record.epoch)
                return true
            }
        }
        #expect(error?.kind == .corrupt)
        #expect(epochs == Array(0..<20))
        #expect(logError { _ = try journal.newest() }?.kind == .corrupt)
    }

    @Test func `a log without a journal has none`() throws {
        let journal = Journal(in: SimulatedLog(SimulatedStore()))
        #expect(try !journal.exists())
        #expect(try journal.newest() == nil)
        try journal.require(topology: "any")
        try journal.forEachRecord { _ in
            Issue.record("there is no record")
            return true
        }
    }
}
