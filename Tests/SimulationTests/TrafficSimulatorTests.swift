import FoundationEssentials
import Testing

@testable import Simulation

/// What the tests want to know of one simulated event.
private struct Sample {
    var event: SimulatedEvent
    var line: [UInt8]
}

private func simulate(
    _ scenario: SimulationScenario = .marketplace,
    events: Int,
    seed: UInt64 = 1,
    eventsPerSecond: Double = 10
) -> [Sample] {
    var simulator = TrafficSimulator(
        .init(scenario: scenario, events: events, seed: seed, eventsPerSecond: eventsPerSecond)
    )
    var samples: [Sample] = []
    var line: [UInt8] = []
    while let event = simulator.next(into: &line) { samples.append(Sample(event: event, line: line)) }
    return samples
}

/// FNV-1a over everything a simulation writes: lines and truths.
private func digest(events: Int, seed: UInt64) -> UInt64 {
    var simulator = TrafficSimulator(.init(scenario: .marketplace, events: events, seed: seed))
    var line: [UInt8] = []
    var truth: [UInt8] = []
    var digest: UInt64 = 0xCBF2_9CE4_8422_2325
    while let event = simulator.next(into: &line) {
        TruthLine.write(event, into: &truth)
        for byte in line { digest = (digest ^ UInt64(byte)) &* 0x100_0000_01B3 }
        for byte in truth { digest = (digest ^ UInt64(byte)) &* 0x100_0000_01B3 }
    }
    return digest
}

struct TrafficSimulatorTests {
    @Test func `the same seed gives the same bytes and another seed others`() {
        #expect(digest(events: 5_000, seed: 7) == digest(events: 5_000, seed: 7))
        #expect(digest(events: 5_000, seed: 7) != digest(events: 5_000, seed: 8))
    }

    @Test func `events come in the order of time from a Monday on, each with its own id`() {
        let samples = simulate(events: 20_000)
        #expect(samples.count == 20_000)
        #expect((samples.first?.event.time ?? 0) >= TrafficSimulator.start)
        #expect(TrafficSimulator.start % 86_400_000 == 0)
        // 1970-01-01 was a Thursday.
        #expect((TrafficSimulator.start / 86_400_000 + 3) % 7 == 0)
        #expect(zip(samples, samples.dropFirst()).allSatisfy { $0.event.time <= $1.event.time })
        #expect(Set(samples.map(\.event.id)).count == samples.count)
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func `twenty thousand events hold every attack, the first few early`(seed: UInt64) {
        let samples = simulate(events: 20_000, seed: seed)
        for attack in SimulatedAttack.allCases {
            let count = samples.count { $0.event.attack == attack }
            #expect(count >= 6, "\(attack) has \(count) events")
        }
        let early = Set(samples.prefix(5_000).compactMap(\.event.attack))
        #expect(early.isSuperset(of: [.couponRing, .clickFarm, .accountTakeover, .brushingRing]))
    }

    @Test func `a ring of coupons is one group on few devices and addresses`() {
        let rings = Dictionary(
            grouping: simulate(events: 50_000).filter { $0.event.attack == .couponRing },
            by: \.event.ring
        )
        #expect(rings.count >= 2)
        for (ring, samples) in rings {
            #expect(ring != nil)
            #expect((5...60).contains(Set(samples.flatMap(\.event.accounts)).count))
            let devices = Set(samples.compactMap { JSON.parse($0.line)?["device"]?["id"]?.text })
            let addresses = Set(samples.compactMap { JSON.parse($0.line)?["ship"]?["address"]?.text })
            #expect((1...4).contains(devices.count))
            #expect((1...3).contains(addresses.count))
        }
    }

    @Test(arguments: [20_000, 80_000])
    func `one to three events in a hundred are fraud`(events: Int) {
        let fraud = simulate(events: events).count { $0.event.attack != nil }
        #expect((events / 100...3 * events / 100).contains(fraud), "\(fraud) of \(events)")
    }

    @Test func `the honest scenario holds no attack`() {
        #expect(simulate(.honest, events: 20_000).allSatisfy { $0.event.attack == nil })
    }

    @Test func `somebody is to blame exactly when there is an attack`() {
        let events = simulate(events: 20_000).map(\.event)
        #expect(events.allSatisfy { $0.accounts.isEmpty == ($0.attack == nil) })
        #expect(events.allSatisfy { $0.ring == nil || $0.attack != nil })
        #expect(events.allSatisfy { $0.attack == nil || $0.accounts == [$0.key] })
    }

    @Test func `the truth line is one JSON object with the four keys`() throws {
        var line: [UInt8] = []
        var event = SimulatedEvent(
            id: "e1",
            eventType: "click",
            topic: "clicks",
            key: "a1",
            time: 0,
            attack: nil,
            ring: nil,
            accounts: []
        )
        TruthLine.write(event, into: &line)
        #expect(String(decoding: line, as: UTF8.self) == #"{"id":"e1","attack":null,"ring":null,"accounts":[]}"#)
        event.attack = .clickFarm
        event.ring = "click_farm-1"
        event.accounts = ["a1", "a2"]
        TruthLine.write(event, into: &line)
        #expect(
            String(decoding: line, as: UTF8.self)
                == #"{"id":"e1","attack":"click_farm","ring":"click_farm-1","accounts":["a1","a2"]}"#
        )
    }

    @Test func `popularity follows Zipf: a long tail, and no item above all`() {
        var items: [String: Int] = [:]
        for sample in simulate(.honest, events: 40_000) where sample.event.eventType == "click" {
            if let item = JSON.parse(sample.line)?["item"]?["id"]?.text { items[item, default: 0] += 1 }
        }
        let counts = items.values.sorted(by: >)
        let total = counts.reduce(0, +)
        let head = counts.prefix(200).reduce(0, +)
        #expect(counts.count > 7_000)
        // A hundredth of the items draws a quarter to a half of the clicks; the first item at most 2 %.
        #expect(Double(head) > 0.25 * Double(total) && Double(head) < 0.5 * Double(total))
        #expect(Double(counts[0]) < 0.02 * Double(total))
        #expect(counts[0] > 3 * counts[30])
    }

    @Test func `evenings are busier than mornings`() {
        // A day and a bit at a low rate.
        let samples = simulate(.honest, events: 20_000, eventsPerSecond: 0.2)
        var hours = [Int](repeating: 0, count: 24)
        for sample in samples where sample.event.time < TrafficSimulator.start + 86_400_000 {
            hours[Int(sample.event.time / 3_600_000 % 24)] += 1
        }
        let evening = hours[18..<22].reduce(0, +)
        let morning = hours[6..<10].reduce(0, +)
        #expect(evening > 3 * morning && evening < 6 * morning)
        let mean = Double(hours.reduce(0, +)) / 86_400
        #expect(mean > 0.18 && mean < 0.22, "\(mean) events per second instead of 0.2")
    }

    @Test func `the mix of types is the same at the beginning as on the fifth day`() {
        func share(of type: String, in samples: ArraySlice<Sample>) -> Double {
            Double(samples.count { $0.event.eventType == type }) / Double(samples.count)
        }
        let samples = simulate(.honest, events: 45_000, eventsPerSecond: 0.1)
        for type in ["review", "refund"] {
            let first = share(of: type, in: samples.prefix(15_000))
            let last = share(of: type, in: samples.suffix(15_000))
            #expect(first > 0.65 * last && first < 1.5 * last, "\(type): \(first) then \(last)")
        }
    }

    @Test func `the queue does not grow with the number of events`() {
        var simulator = TrafficSimulator(.init(scenario: .marketplace, events: 40_000, seed: 3, eventsPerSecond: 0.05))
        var line: [UInt8] = []
        var peak = 0
        while simulator.next(into: &line) != nil { peak = max(peak, simulator.queue.count) }
        // Nine days: the reviews and refunds of a week wait, one event in sixty.
        #expect(peak < 1_000, "\(peak)")
    }

    @Test func `the queue gives what is due in the order of time, then of insertion`() {
        var random = SimulationRandom(seed: 5)
        var queue = PendingQueue()
        var expected: [(time: Int64, value: Int32)] = []
        for value in 0..<2_000 as Range<Int32> {
            let time = Int64(random.below(200))
            queue.push(Pending(time: time, value: value, kind: .click))
            expected.append((time, value))
        }
        expected.sort { ($0.time, $0.value) < ($1.time, $1.value) }
        for (time, value) in expected {
            let due = queue.pop()
            #expect(due?.time == time && due?.value == value)
        }
        #expect(queue.pop() == nil || queue.count > 0)
    }

    @Test func `exponential pauses have mean and variance one`() {
        var random = SimulationRandom(seed: 11)
        var sum = 0.0
        var squares = 0.0
        for _ in 0..<100_000 {
            let value = random.exponential()
            sum += value
            squares += value * value
        }
        let mean = sum / 100_000
        #expect(abs(mean - 1) < 0.02)
        #expect(abs(squares / 100_000 - mean * mean - 1) < 0.05)
    }

    @Test(.enabled(if: ProcessInfo.processInfo.environment["WEIR_BENCH"] == "1", "set WEIR_BENCH=1 to measure"))
    func `a million events take less than two and a half seconds`() {
        var simulator = TrafficSimulator(.init(scenario: .marketplace, events: 1_000_000, seed: 1))
        var line: [UInt8] = []
        var bytes = 0
        let time = ContinuousClock().measure {
            while simulator.next(into: &line) != nil { bytes += line.count }
        }
        print("simulated 1,000,000 events, \(bytes) bytes, in \(time)")
        #expect(time < .milliseconds(2_500))
    }
}
