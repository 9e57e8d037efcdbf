import KafkaTestBroker
import Testing

@testable import Pipeline

/// What is learnt becomes visible on the grid of event time: a back-test is the live run.
@Suite struct TickTests {
    private static let records = TickWorld.records(5000, seed: 1)

    /// What every way must say.
    private static let wanted = Result { try TickWorld.replay(records, TickWorld.deployment(), threads: 1) }

    @Test func `the traffic forms rings and warms models, so that it can tell`() throws {
        let wanted = try Self.wanted.get()
        #expect(wanted.verdicts.count == 5000)
        for detector in ["coupon_ring", "visit_ring"] { #expect(wanted.count(naming: detector) > 300) }
        for model in ["spending", "visiting"] { #expect(wanted.count(naming: model) > 1000) }
    }

    @Test func `ticks of another length say something else, so that it matters what a tick is`() throws {
        let wanted = try Self.wanted.get()
        for tick in ["100ms", "1h"] {
            let said = try TickWorld.replay(Self.records, TickWorld.deployment(tick: tick), threads: 1)
            #expect(said.difference(from: wanted, but: "\"versions\"") != nil, "\(tick)")
        }
    }

    @Test func `what became visible where epochs end would tell their length, so that the comparison can fail`() throws
    {
        let deployment = try TickWorld.deployment(tick: "1h")
        // A tick that lasts for the whole traffic, ended by a trigger behind each epoch.
        let said = try [64, 64, 301].map { try TickWorld.epochs(of: $0, Self.records, deployment) }
        #expect(said[0].difference(from: said[1]) == nil)
        #expect(said[0].difference(from: said[2]) != nil)
    }

    @Test(arguments: [1, 2, 4])
    func `a replay says the same on any number of threads, and with dead letters among the events`(threads: Int) throws
    {
        let wanted = try Self.wanted.get()
        let deployment = try TickWorld.deployment()
        #expect(try TickWorld.replay(Self.records, deployment, threads: threads).difference(from: wanted) == nil)
        let mixed = TickWorld.withDeadLetters(Self.records, seed: 2)
        #expect(mixed.count > 10_000)
        #expect(try TickWorld.replay(mixed, deployment, threads: threads).difference(from: wanted) == nil)
    }

    @Test(arguments: [(1, 1), (2, 2), (3, 4), (4, 2)] as [(UInt64, Int)])
    func `a live run on the embedded log says the same, wherever its epochs are cut`(seed: UInt64, threads: Int) throws
    {
        let said = try TickWorld.embedded(Self.records, TickWorld.deployment(), seed: seed, threads: threads)
        #expect(said.difference(from: try Self.wanted.get()) == nil)
        // The rings' records too, in their order.
        let other = try TickWorld.embedded(
            TickWorld.withDeadLetters(Self.records, seed: seed),
            TickWorld.deployment(),
            seed: seed &+ 100,
            threads: 1
        )
        #expect(said.difference(from: other) == nil)
        #expect(said.rings?.count ?? 0 > 20)
    }

    @Test(.enabled(if: TestBroker.isAvailable, "\(TestBroker.absence)"))
    func `a live run on Kafka says the same`() throws {
        let broker = try TestBroker.own()
        defer { try? TestBroker.control("stop", broker.directory) }
        let said = try TickWorld.kafka(
            TickWorld.withDeadLetters(Self.records, seed: 5),
            TickWorld.deployment(),
            seed: 6,
            threads: 2,
            broker: broker.address
        )
        #expect(said.difference(from: try Self.wanted.get()) == nil)
    }
}
