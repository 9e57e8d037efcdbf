import Testing

@testable import Detection

@Test func `the estimate of distinct actors is within one per cent and forgets who has not come for two periods`() {
    var configuration = LockstepConfiguration(name: "ring", seed: 1)
    configuration.smallestPopulation = 0
    var population = LockstepPopulation(configuration)
    func see(_ actors: Range<Int>) {
        for i in actors {
            withUnsafeBytes(of: i) {
                let actor = $0.assumingMemoryBound(to: UInt8.self).baseAddress.unsafelyUnwrapped
                population.see(population.place(of: actor, count: 8))
            }
        }
    }
    var seen = 0
    for count in [10, 500, 3000, 40_000, 400_000] {
        see(seen..<count)
        see(0..<count)
        // Who came in the open tick counts from the next one on.
        #expect(abs(population.estimate() - Double(seen)) <= 0.01 * Double(seen))
        population.endTick(watermark: 1)
        #expect(abs(population.estimate() - Double(count)) <= 0.01 * Double(count))
        seen = count
    }
    population.endTick(watermark: configuration.memory)
    see(400_000..<401_000)
    population.endTick(watermark: configuration.memory)
    #expect(abs(population.estimate() - 401_000) <= 4_010)
    population.endTick(watermark: 2 * configuration.memory)
    #expect(abs(population.estimate() - 1000) <= 10)
}
