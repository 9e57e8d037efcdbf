import Models
import RuleLanguage
import Testing

@testable import Detection
@testable import Pipeline

/// A state is all that decides what comes next: whoever reads it goes on to the same bytes, and whoever reads another one is told.
@Suite struct EngineStateTests {
    private enum World: CaseIterable, Sendable {
        case marketplace, ticks

        func make(_ count: Int) throws -> EngineStateWorld {
            switch self {
            case .marketplace: try .marketplace(count)
            case .ticks: try .ticks(count)
            }
        }
    }

    @Test(arguments: World.allCases, [1, 2, 4])
    private func `a state that is written and read again continues to the same bytes`(world: World, threads: Int) throws
    {
        let world = try world.make(5000)
        let constant = EngineStateRun(world, threads: 1)
        var changing = EngineStateRun(world, threads: threads)
        var random = SplitMix64(seed: UInt64(threads))
        var (restarts, insideTicks, said) = (0, 0, 0)
        for epoch in world.cuts(seed: UInt64(threads)) {
            let expected = constant.judge(epoch)
            #expect(changing.judge(epoch) == expected, "events \(epoch)")
            said += expected.count
            // At first often, so that young rings and models are among them.
            guard random.chance(epoch.upperBound < 1500 ? 60 : 15) else { continue }
            let state = changing.state()
            let next = EngineStateRun(world, threads: threads)
            try next.goOn(from: state, of: changing)
            try next.engine.checkInvariants()
            #expect(next.engine.digest == constant.engine.digest, "after \(epoch)")
            #expect(next.state() == state, "after \(epoch)")
            restarts += 1
            insideTicks += next.engine.clock.events > 0 ? 1 : 0
            changing = next
        }
        #expect(changing.state() == constant.state())
        #expect(
            restarts > 8 && insideTicks > 4 && said > 40_000,
            "\(restarts), \(insideTicks) inside ticks, \(said) bytes"
        )
    }

    @Test func `one event more is another digest, so the comparison can fail`() throws {
        let world = try EngineStateWorld.ticks(600)
        let (a, b) = (EngineStateRun(world, threads: 1), EngineStateRun(world, threads: 1))
        a.judge(0..<600)
        b.judge(0..<599)
        #expect(a.engine.digest != b.engine.digest)
        b.judge(599..<600)
        #expect(a.engine.digest == b.engine.digest)
    }

    // MARK: Faults

    /// A state in the middle of a tick with a ring touched and events not learnt yet, and the run it is of.
    private static func sample() throws -> (run: EngineStateRun, state: StateSections) {
        let run = EngineStateRun(try .ticks(2600), threads: 1)
        run.judge(0..<1000)
        run.judge(1000..<1400)
        return (run, StateSections(run.state()))
    }

    @Test func `a changed byte in any section is found by the checksum`() throws {
        let (run, state) = try EngineStateTests.sample()
        #expect(Set(state.sections.map(\.kind)) == [1, 2, 3, 4, 15, 16, 32, 48])
        var random = SplitMix64(seed: 4)
        for section in state.sections where !section.payload.isEmpty {
            let at = section.payload.lowerBound + random.below(section.payload.count)
            let bytes = state.flipped(at, by: 1 << UInt8(random.below(8)), sealed: false)
            let error = #expect(throws: StateError.self) {
                try EngineStateRun.engine(run.world.deployment, from: bytes)
            }
            guard case .damaged = error else {
                Issue.record("byte \(at): \(error.map { "\($0)" } ?? "nothing")")
                continue
            }
        }
    }

    /// Wrong states with right checksums: refused, or another state, which no digest takes for the first; and what is read can be
    /// worked with.
    @Test(arguments: [UInt64(1), 2, 3]) func `a changed byte behind right checksums is refused or told`(seed: UInt64)
        throws
    {
        let (run, state) = try EngineStateTests.sample()
        var random = SplitMix64(seed: seed)
        let digest = run.engine.digest
        var (refused, told, unseen) = (0, 0, 0)
        for n in 0..<90 {
            // Every section of the engine's own, and slots at random.
            let section =
                n < state.sections.count / 8
                ? state.sections[n * 8] : state.sections[random.below(state.sections.count)]
            guard !section.payload.isEmpty, section.kind > 2 else { continue }
            let at = section.payload.lowerBound + random.below(section.payload.count)
            let bytes = state.flipped(at, by: 1 << UInt8(random.below(8)), sealed: true)
            do {
                let other = EngineStateRun(run.world, threads: 1)
                try other.goOn(from: bytes, of: run)
                if other.engine.digest != digest { told += 1 } else { unseen += 1 }
                if other.engine.digest == digest, other.state() != bytes {
                    Issue.record(
                        "kind \(section.kind), slot \(section.slot), byte \(at - section.payload.lowerBound) of \(section.payload.count) is lost"
                    )
                }
                other.judge(1400..<1700)
            } catch is StateError {
                refused += 1
            }
        }
        // What no digest folds: counters, and what was in blocks that are free.
        #expect(
            refused > 10 && told > 3 && unseen < refused + told,
            "\(refused) refused, \(told) told, \(unseen) unseen"
        )
    }

    @Test(arguments: [UInt64(1), 2]) func `bytes that were mangled anyhow are an error`(seed: UInt64) throws {
        let (run, state) = try EngineStateTests.sample()
        var random = SplitMix64(seed: seed)
        for n in 0..<80 {
            var bytes = state.bytes
            let at = random.below(bytes.count)
            let length = min(bytes.count - at, 1 + random.below(n % 2 == 0 ? 16 : 5000))
            switch random.below(4) {
            case 0: bytes.removeSubrange(at..<(at + length))
            case 1: bytes.insert(contentsOf: bytes[at..<(at + length)], at: random.below(bytes.count))
            case 2: bytes.removeLast(length)
            default:
                for i in at..<(at + length) { bytes[i] = UInt8(truncatingIfNeeded: random.next()) }
            }
            guard bytes != state.bytes else { continue }
            #expect(throws: StateError.self) { try EngineStateRun.engine(run.world.deployment, from: bytes) }
        }
    }

    @Test func `a state of another topology, of other settings or of other rules is refused in words`() throws {
        let (run, state) = try EngineStateTests.sample()
        func refusal(_ old: String, _ new: String) throws -> String {
            let deployment = try WorkerTopology.load(
                TickWorld.topology.replacing(" TICK", with: "").replacing(old, with: new),
                rules: TickWorld.rules
            )
            let error = #expect(throws: StateError.self) { try EngineStateRun.engine(deployment, from: state.bytes) }
            return error.map { "\($0)" } ?? ""
        }
        #expect(try refusal("topology: world", "topology: moon").contains("`moon: events order"))
        #expect(try refusal("name: visit_ring", "name: view_ring").contains("detectors coupon_ring, view_ring"))
        #expect(try refusal("lateness: 1m", "lateness: 2m").contains("lateness 120000 ms"))
        #expect(try refusal("window: 1h", "window: 2h").contains("windows of 7200000 ms"))
        #expect(try refusal("depth: 4", "depth: 5").contains("trees of depth 5"))
        let events = "events:\n  order:"
        #expect(
            try refusal(events, "limits: { entries_per_key: 100 }\n" + events).contains("limits of 100 entries a key")
        )
        #expect(
            try refusal(events, "limits: { keys: 6400 }\n" + events).contains("1048576 entries a key, 100 keys a slot")
        )
        let keyed = try run.world.deployment.keyed(by: HashKey(1, 2))
        let stranger = #expect(throws: StateError.self) { try EngineStateRun.engine(keyed, from: state.bytes) }
        #expect("\(stranger.map { "\($0)" } ?? "")".contains("keys of another secret"))
        // A rule set that lacks a feature of the state needs the one that has it beside it.
        let other = try WorkerTopology.load(
            TickWorld.topology.replacing(" TICK", with: ""),
            rules: TickWorld.rules.replacing("over 5m", with: "over 6m")
        )
        let error = #expect(throws: StateError.self) { try EngineStateRun.engine(other, from: state.bytes) }
        #expect("\(error.map { "\($0)" } ?? "")".contains("over 300000ms"))
        withExtendedLifetime(run) {}
    }
}
