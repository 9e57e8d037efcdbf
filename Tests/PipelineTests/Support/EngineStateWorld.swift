import Models
import Simulation
import Testing

@testable import Detection
@testable import Pipeline

/// Traffic for engines whose state is written and read: records by topic, in the order of their times.
struct EngineStateWorld {
    struct Record {
        var source: Int
        var value: [UInt8]
    }

    var deployment: Deployment
    var sources: [TopicPartition]
    var records: [Record]

    /// The simulated marketplace with every attack, judged by the topology that ships.
    static func marketplace(_ count: Int) throws -> EngineStateWorld {
        var simulator = TrafficSimulator(.init(scenario: .marketplace, events: count, seed: 3))
        let topics = TrafficSimulator.topics
        var records: [Record] = []
        var line: [UInt8] = []
        while let event = simulator.next(into: &line) {
            records.append(Record(source: topics.firstIndex(of: event.topic) ?? 0, value: line))
        }
        return EngineStateWorld(
            deployment: try Deployment(folder: "\(PackageFolder.root)/topologies/marketplace"),
            sources: topics.map { TopicPartition($0, 0) },
            records: records
        )
    }

    /// Rings and models that change all the time, in ticks now of one event and now of a thousand.
    static func ticks(_ count: Int) throws -> EngineStateWorld {
        EngineStateWorld(
            deployment: try TickWorld.deployment(),
            sources: [TopicPartition("shop", 0)],
            records: TickWorld.records(count, seed: 5).map { Record(source: 0, value: Array($0.utf8)) }
        )
    }

    /// Where epochs end: now after one record, now after hundreds.
    func cuts(seed: UInt64) -> [Range<Int>] {
        var random = SplitMix64(seed: seed)
        var epochs: [Range<Int>] = []
        var at = 0
        while at < records.count {
            let end = min(records.count, at + 1 + random.below([3, 40, 700][random.below(3)]))
            epochs.append(at..<end)
            at = end
        }
        return epochs
    }
}

/// An engine that judges a world's records epoch by epoch.
final class EngineStateRun {
    let world: EngineStateWorld
    private let team: ThreadTeam
    private let processor: EpochProcessor
    private let block: DecodedBlock
    private var newest: Int64?

    init(_ world: EngineStateWorld, threads: Int) {
        self.world = world
        team = ThreadTeam(lanes: threads)
        processor = EpochProcessor(world.deployment, team: team)
        block = DecodedBlock(world.deployment, sources: world.sources, lanes: threads)
    }

    deinit { team.stop() }

    var engine: Engine { processor.engine }

    /// Begins with a state in place of none, as of the end of `former`'s last epoch.
    func goOn(from state: [UInt8], of former: EngineStateRun) throws {
        processor.engine = try EngineStateRun.engine(world.deployment, threads: team.lanes, from: state)
        newest = former.newest
    }

    static func engine(_ deployment: Deployment, threads: Int = 1, from state: [UInt8]) throws(StateError) -> Engine {
        var result: Result<Engine, StateError> = .failure(.torn("never read"))
        state.withUnsafeBytes { bytes in
            result = Result { () throws(StateError) in
                try Engine(deployment.engineConfiguration(), lanes: threads, from: try StateReader(bytes))
            }
        }
        return try result.get()
    }

    /// Judges an epoch; returns its verdicts and versions of rings as they are written.
    @discardableResult func judge(_ epoch: Range<Int>) -> [UInt8] {
        block.removeAll()
        for n in epoch {
            world.records[n].value.withUnsafeBytes {
                block.stage(
                    source: world.records[n].source,
                    offset: Int64(n),
                    appendTime: nil,
                    value: $0,
                    fullLength: $0.count
                )
            }
        }
        block.decode(team)
        let watermark = newest.map { $0 - 60_000 }
        newest = block.events.reduce(newest) { max($0 ?? .min, $1.time) }
        processor.process(block.events, records: epoch.count, rejected: 0, watermark: watermark)
        var said: [UInt8] = []
        engine.forEachOutput { said += $0.verdicts.bytes }
        engine.forEachRing { said += $0.value }
        return said
    }

    func state() -> [UInt8] {
        var writer = StateWriter()
        engine.write(to: &writer)
        return writer.finish()
    }
}

/// The sections of a state, as its format has them: a reader of its own, which knows nothing of what they hold.
struct StateSections {
    struct Section {
        var kind: Int
        var slot: Int
        var payload: Range<Int>
    }

    private(set) var bytes: [UInt8]
    let sections: [Section]

    init(_ bytes: [UInt8]) {
        self.bytes = bytes
        var sections: [Section] = []
        var at = 16
        while at < bytes.count {
            let length = Int(StateSections.word(bytes, at + 24))
            let head = StateSections.word(bytes, at)
            sections.append(
                Section(
                    kind: Int(head & 0xFFFF),
                    slot: Int(head >> 16 & 0xFFFF),
                    payload: at + 40..<(at + 40 + length)
                )
            )
            at += 40 + (length + 7) / 8 * 8
        }
        self.sections = sections
    }

    /// The state with a byte changed.
    func flipped(_ at: Int, by mask: UInt8, sealed: Bool) -> [UInt8] {
        var copy = self
        copy.bytes[at] ^= mask
        if sealed { copy.seal() }
        return copy.bytes
    }

    /// Computes all checksums anew: what a program that writes wrong states would write.
    private mutating func seal() {
        var fold: UInt64 = 0
        for section in sections {
            let head = section.payload.lowerBound - 40
            if section.kind == 2 { set(section.payload.lowerBound + 8, fold) }
            var checksum = checksum(head..<(head + 32), from: 0x5745_4952)
            checksum = self.checksum(section.payload, from: checksum)
            set(head + 32, checksum)
            fold = SplitMix64.mix(fold ^ checksum)
        }
    }

    private func checksum(_ range: Range<Int>, from start: UInt64) -> UInt64 {
        var checksum = SplitMix64.mix(start ^ UInt64(range.count))
        bytes.withUnsafeBytes { SplitMix64.fold(UnsafeRawBufferPointer(rebasing: $0[range]), into: &checksum) }
        return checksum
    }

    private static func word(_ bytes: [UInt8], _ at: Int) -> UInt64 {
        bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: at, as: UInt64.self) }
    }

    private mutating func set(_ at: Int, _ word: UInt64) {
        bytes.withUnsafeMutableBytes { $0.storeBytes(of: word, toByteOffset: at, as: UInt64.self) }
    }
}
