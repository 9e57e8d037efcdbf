import Pipeline
import Testing

/// A pipeline as small as can be: copies `in` to `out`, one journal record per epoch, and recovers from the journal's end.
private struct Copier {
    let log: SimulatedLog
    private let writer: any LogWriter
    private var epoch: Int64
    private var next: [Int64]

    static let input = "in"
    static let partitions: Int32 = 3

    init(_ store: SimulatedStore, faults: SimulatedFaults) throws {
        log = SimulatedLog(store, faults: faults)
        try log.create([
            TopicRequirement(name: "in", partitions: 3), TopicRequirement(name: "out", partitions: 1),
            TopicRequirement(name: "weir.journal", partitions: 1),
        ])
        writer = try log.takeOwnership()
        // The last journal record holds the epoch's number and the positions behind it.
        var last: [Int64] = [0, 0, 0, 0]
        let journal = TopicPartition("weir.journal", 0)
        try log.read(journal, from: 0, to: log.bounds(of: journal).end) { record, _ in
            if let value = record.value {
                last = String(decoding: value, as: UTF8.self).split(separator: " ").compactMap { Int64($0) }
            }
            return true
        }
        epoch = last[0]
        next = Array(last[1...])
        try log.assign((0..<3).map { SourcePosition(source: TopicPartition("in", Int32($0)), next: next[$0]) })
    }

    /// Runs until all inputs are copied.
    mutating func run() throws {
        var ends: [Int64] = []
        for p in 0..<3 { ends.append(try log.bounds(of: TopicPartition("in", Int32(p))).end) }
        while next != ends {
            var batch = OutputBatch(topics: ["out", "weir.journal"])
            for p in 0..<3 {
                next[p] = try log.poll(source: p, limit: 7) { record in
                    batch.append(topic: 0, key: nil, value: { $0 += record.value.map { [UInt8]($0) } ?? [] })
                    return true
                }
            }
            if batch.isEmpty { continue }
            epoch += 1
            let entry = ([epoch] + next).map(String.init).joined(separator: " ")
            batch.append(topic: 1, key: nil, value: { $0 += Array(entry.utf8) })
            try log.reach("before commit")
            try writer.commit(
                batch,
                positions: (0..<3).map { SourcePosition(source: TopicPartition("in", Int32($0)), next: next[$0]) }
            )
            try log.wait(milliseconds: 1)
        }
    }
}

@Suite struct LogsSimulated {
    private func filledStore(markers: Bool = true) throws -> SimulatedStore {
        let store = SimulatedStore(transactionMarkers: markers)
        try SimulatedLog(store).create([TopicRequirement(name: "in", partitions: 3)])
        for i in 0..<300 { store.append(TopicPartition("in", Int32(i % 3)), key: nil, value: bytes("\(i)")) }
        return store
    }

    private func outputs(_ store: SimulatedStore) -> [Int] {
        store.records(of: TopicPartition("out", 0)).compactMap { Int(String(decoding: $0.value ?? [], as: UTF8.self)) }
    }

    private func run(_ store: SimulatedStore, _ faults: SimulatedFaults) throws -> SimulatedLog? {
        var copier: Copier?
        do {
            copier = try Copier(store, faults: faults)
            try copier?.run()
        } catch let error as LogError {
            guard SimulatedLog.isCrash(error) || error.kind == .fenced else { throw error }
        }
        return copier?.log
    }

    @Test func `lost replies, lost requests and delayed requests leave every event once`() throws {
        var unknown = 0
        for seed in 1...200 as ClosedRange<UInt64> {
            let store = try filledStore()
            var faults = SimulatedFaults(seed: seed)
            faults.lostReplies = 0.2
            faults.lostRequests = 0.2
            faults.delayedRequests = 0.3
            faults.tornPolls = 0.5
            let log = try run(store, faults)
            unknown += log?.unknownOutcomes ?? 0
            #expect(outputs(store).sorted() == Array(0..<300), "seed \(seed)")
        }
        #expect(unknown > 1000, "the faults did happen")
    }

    @Test func `a producer kept after an unknown outcome repeats events, and the check sees it`() throws {
        var wrong = 0
        for seed in 1...50 as ClosedRange<UInt64> {
            let store = try filledStore()
            var faults = SimulatedFaults(seed: seed)
            faults.delayedRequests = 0.3
            faults.keepsProducer = true
            _ = try run(store, faults)
            if outputs(store).sorted() != Array(0..<300) { wrong += 1 }
        }
        #expect(wrong > 25, "without a new producer most seeds must go wrong, or the check above proves nothing")
    }

    @Test(arguments: SimulatedFaults.CrashPoint.allCases.map(\.rawValue) + ["before commit"])
    func `a crash at any point and a restart leave every event once`(point: String) throws {
        var fired = 0
        for seed in 1...30 as ClosedRange<UInt64> {
            let store = try filledStore()
            var faults = SimulatedFaults(seed: seed)
            faults.tornPolls = 0.3
            faults.lostReplies = 0.1
            faults.delayedRequests = 0.1
            faults.crash = .init(
                named: point,
                visit: 1 + Int(seed) % (["create", "ownership", "assign", "read"].contains(point) ? 1 : 7)
            )
            let log = try run(store, faults)
            // A crash while opening leaves no handle to ask.
            if log?.hasCrashed ?? true { fired += 1 }
            faults.crash = nil
            _ = try run(store, faults)
            #expect(outputs(store).sorted() == Array(0..<300), "\(point), seed \(seed)")
        }
        #expect(fired == 30)
    }

    @Test func `a crashed handle answers no further call`() throws {
        let store = try filledStore()
        var faults = SimulatedFaults(seed: 1)
        faults.crash = .init(.poll, visit: 2)
        let log = SimulatedLog(store, faults: faults)
        try log.assign([SourcePosition(source: TopicPartition("in", 0), next: 0)])
        #expect(try log.poll(source: 0, limit: 10) { _ in true } == 10)
        for _ in 0..<2 {
            let error = logError { _ = try log.poll(source: 0, limit: 10) { _ in true } }
            #expect(error.map(SimulatedLog.isCrash) == true)
        }
        #expect(log.visits["poll"] == 2)
    }

    @Test func `fencing in the middle stops the old pipeline, and the next one completes the work`() throws {
        for seed in 1...30 as ClosedRange<UInt64> {
            let store = try filledStore()
            var faults = SimulatedFaults(seed: seed)
            faults.fencedAtCommit = 1 + Int(seed) % 10
            faults.delayedRequests = 0.2
            _ = try run(store, faults)
            #expect(outputs(store).count < 300)
            faults.fencedAtCommit = nil
            _ = try run(store, faults)
            #expect(outputs(store).sorted() == Array(0..<300), "seed \(seed)")
        }
    }

    @Test func `the same seed gives the same run, another one another order`() throws {
        func order(_ seed: UInt64) throws -> [Int] {
            let store = try filledStore()
            var faults = SimulatedFaults(seed: seed)
            faults.tornPolls = 0.7
            faults.lostReplies = 0.1
            _ = try run(store, faults)
            return outputs(store)
        }
        #expect(try order(7) == order(7))
        #expect(try order(7) != order(8))
    }

    @Test func `records that retention took are out of range`() throws {
        let store = try filledStore()
        let log = SimulatedLog(store)
        try log.assign([SourcePosition(source: TopicPartition("in", 0), next: 5)])
        store.deleteRecords(of: TopicPartition("in", 0), before: 50)
        #expect(logError { _ = try log.poll(source: 0, limit: 10) { _ in true } }?.kind == .outOfRange)
    }
}
