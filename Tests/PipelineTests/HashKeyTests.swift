import Glibc
import RuleLanguage
import Simulation
import Testing

@testable import Pipeline

/// The secret under which identifiers are hashed decides who can be taken for whom, and nothing that anybody sees.
@Suite struct HashKeyTests {
    static let keys = [
        HashKey.fixed, HashKey(0, 0), HashKey(1, 0x8000_0000_0000_0000), HashKey(0xDEAD_BEEF_0BAD_F00D, 77),
        HashKey(.max, .max),
    ]

    /// Bytes of the verdicts and the feature rows of a replay.
    private static func replay(_ topology: String, _ input: String, _ key: HashKey) throws -> [[UInt8]] {
        try replay(folder: "\(PackageFolder.root)/topologies/\(topology)", input, key)
    }

    private static func replay(folder topology: String, _ input: String, _ key: HashKey) throws -> [[UInt8]] {
        let folder = TemporaryFolder()
        let outputs = ReplayOutputs(
            verdicts: try LineWriter(path: folder.path + "/verdicts"),
            features: try LineWriter(path: folder.path + "/features"),
            deadLetters: try LineWriter(path: folder.path + "/dead-letters")
        )
        let deployment = try Deployment(folder: topology, hashKey: key)
        _ = try FileReplay(deployment, inputs: [input], outputs: outputs, threads: 2).run()
        return try [outputs.verdicts, outputs.features, outputs.deadLetters].compactMap { $0 }.map { writer in
            try writer.flush()
            try writer.close()
            switch FileText.read(writer.path, limit: 1 << 28) {
            case .success(let bytes): return bytes
            case .failure: throw Errors.noFile
            }
        }
    }

    private enum Errors: Error { case noFile }

    /// JSON Lines and CSV in the samples of the topologies; what is expected of them lies beside.
    static let samples: [(topology: String, file: String)] = [
        ("ad-clicks", "clicks.csv"), ("bench-12", "events.jsonl"), ("marketplace", "account_takeover.jsonl"),
        ("marketplace", "card_testing.jsonl"), ("marketplace", "coupon_ring.jsonl"), ("marketplace", "honest.jsonl"),
    ]

    @Test(arguments: samples)
    func `every sample gives the same verdicts and features under any key`(topology: String, file: String) throws {
        let input = "\(PackageFolder.root)/topologies/\(topology)/samples/\(file)"
        let expected = try Self.replay(topology, input, Self.keys[0])
        #expect(expected[1].count > 400)
        for key in Self.keys.dropFirst() {
            let found = try Self.replay(topology, input, key)
            #expect(found == expected, "\(key)")
        }
    }

    @Test func `another seed gives other rings, so that the comparison can fail`() throws {
        let folder = TemporaryFolder()
        let shipped = "\(PackageFolder.root)/topologies/marketplace"
        folder.makeFolder("rules")
        for name in FileText.names(in: shipped + "/rules") ?? [] {
            folder.write(PackageFolder.text("topologies/marketplace/rules/\(name)"), "rules/\(name)")
        }
        let written = PackageFolder.text("topologies/marketplace/topology.yaml")
        folder.write(written, "topology.yaml")
        #expect(written.contains("seed: 7091"))
        let input = shipped + "/samples/coupon_ring.jsonl"
        /// Verdicts without the topology's digest, which no two seeds share.
        func verdicts(_ folder: String, _ key: HashKey) throws -> String {
            let digest = try Deployment(folder: folder).topologyDigest.prefix(16)
            return String(decoding: try Self.replay(folder: folder, input, key)[0], as: UTF8.self)
                .replacing(digest, with: "")
        }
        let same = try verdicts(folder.path, .fixed)
        #expect(try same == verdicts(shipped, Self.keys[2]))
        folder.write(written.replacing("seed: 7091", with: "seed: 7092"), "topology.yaml")
        #expect(try verdicts(folder.path, .fixed) != same)
    }

    // MARK: Live

    /// Simulated traffic in a log of its own.
    private static func store(events: Int, _ deployment: Deployment) throws -> SimulatedStore {
        let store = SimulatedStore(clock: TrafficSimulator.start)
        try SimulatedLog(store).create(deployment.description.topics.map { TopicRequirement(name: $0, partitions: 2) })
        var simulator = TrafficSimulator(.init(scenario: .marketplace, events: events, seed: 11, eventsPerSecond: 10))
        var line: [UInt8] = []
        var number: Int32 = 0
        while let event = simulator.next(into: &line) {
            store.append(TopicPartition(event.topic, number % 2), key: nil, value: line)
            number += 1
        }
        return store
    }

    /// Everything but the journal that a worker has written.
    private static func written(_ store: SimulatedStore) -> [String: [[UInt8]]] {
        var written: [String: [[UInt8]]] = [:]
        for topic in [OutputTopics.verdicts, OutputTopics.rings, OutputTopics.deadLetters] {
            for partition in 0..<Int32(4) {
                written["\(topic)/\(partition)"] = store.records(of: TopicPartition(topic, partition)).map {
                    ($0.key ?? []) + [0x0A] + ($0.value ?? [])
                }
            }
        }
        return written
    }

    private static func marketplace(_ key: HashKey) throws -> Deployment {
        try Deployment(folder: "\(PackageFolder.root)/topologies/marketplace", hashKey: key)
    }

    @Test func `simulated traffic gives the same verdicts and rings under any key`() throws {
        var expected: [String: [[UInt8]]] = [:]
        for key in Self.keys {
            let deployment = try Self.marketplace(key)
            let store = try Self.store(events: 20_000, deployment)
            let worker = Worker(deployment, log: SimulatedLog(store), threads: 2)
            try worker.run { worker.isReady }
            let found = Self.written(store)
            if expected.isEmpty { expected = found }
            for (name, records) in expected { #expect(found[name] == records, "\(name) \(key)") }
        }
        #expect(expected.filter { $0.key.hasPrefix(OutputTopics.rings) }.values.joined().count >= 4)
        #expect(expected.filter { $0.key.hasPrefix(OutputTopics.verdicts) }.values.joined().count >= 100)
    }

    // MARK: A key that changes

    @Test func `a worker under another key goes on with the same bytes, and no snapshot of the former one`() throws {
        let world = try WorkerWorld(seed: 31)
        let first = world.deployment
        let keeper = WorkerSnapshotTests.Keeper()
        try world.produce(400)
        #expect(try world.run(snapshots: keeper).error == nil)
        let epochs = try world.journal().count
        world.deployment = try first.keyed(by: HashKey(5, 6))
        try world.produce(300)
        let second = try world.run(snapshots: keeper)
        #expect(second.error == nil && second.worker.replayedEpochs == Int64(epochs))
        // Under the same key a snapshot serves.
        try world.produce(100)
        let third = try world.run(snapshots: keeper)
        #expect(third.error == nil && third.worker.replayedEpochs == 0)
        let keys = try world.journal().map(\.keyFingerprint)
        #expect(keys.prefix(epochs).allSatisfy { $0 == first.keyFingerprint })
        #expect(keys.count > epochs && keys.dropFirst(epochs).allSatisfy { $0 == HashKey(5, 6).fingerprint })
        // Replay and audit under each key find all of it as it was written.
        for key in Self.keys {
            world.deployment = try first.keyed(by: key)
            #expect(try world.findings().isEmpty, "\(key)")
        }
    }
}
