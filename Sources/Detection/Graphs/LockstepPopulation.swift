import Models

/// How many actors there are, as of the start of the open tick: N of the pair test.
///
/// The actors of this and the previous period of ``LockstepConfiguration/memory``. Those of the open tick count from the next one on, so
/// that it does not matter in how many parts a tick's records come. Estimated only when somebody asks: nearly every tick of an ordinary day
/// has an actor not seen before, and hardly any a pair to test.
struct LockstepPopulation: ~Copyable {
    private let smallest: Double
    private let memory: Int64
    private let current: UnsafeMutablePointer<UInt8>
    private let previous: UnsafeMutablePointer<UInt8>
    /// Sightings of the open tick that are news to `current`; few, once it has seen some.
    private var news: [DistinctEstimate.Sighting] = []
    /// Number of the period and the time at which the next begins.
    private var period: Int64 = .min
    private var periodEnd: Int64 = .min
    /// The estimate; nil when the registers have changed since.
    private var known: Double?

    init(_ configuration: LockstepConfiguration) {
        smallest = configuration.smallestPopulation
        memory = configuration.memory
        current = .allocate(capacity: DistinctEstimate.registers)
        previous = .allocate(capacity: DistinctEstimate.registers)
        current.initialize(repeating: 0, count: DistinctEstimate.registers)
        previous.initialize(repeating: 0, count: DistinctEstimate.registers)
    }

    deinit {
        current.deallocate()
        previous.deallocate()
    }

    /// Notes an actor of the open tick.
    @inline(__always)
    mutating func see(_ actor: UInt64) {
        let sighting = DistinctEstimate.sighting(of: actor)
        if sighting.rank > current[Int(sighting.register)] { news.append(sighting) }
    }

    /// About how many actors there were when the open tick began, `smallest` at least; error 3 %.
    mutating func estimate() -> Double {
        if let known { return known }
        let found = withUnsafeTemporaryAllocation(of: UInt8.self, capacity: DistinctEstimate.registers) { both in
            guard let base = both.baseAddress else { return smallest }
            for i in 0..<DistinctEstimate.registers { base[i] = max(current[i], previous[i]) }
            return max(smallest, DistinctEstimate.estimate(base))
        }
        known = found
        return found
    }

    /// Counts the tick's actors in, and begins a new period when the watermark has come so far.
    mutating func endTick(watermark: Int64) {
        if !news.isEmpty {
            for sighting in news {
                let register = Int(sighting.register)
                current[register] = max(current[register], sighting.rank)
            }
            news.removeAll(keepingCapacity: true)
            known = nil
        }
        guard watermark >= periodEnd, watermark > .min / 4 else { return }
        let now = watermark >= 0 ? watermark / memory : -1
        if now > period, period != .min {
            previous.update(from: current, count: DistinctEstimate.registers)
            current.update(repeating: 0, count: DistinctEstimate.registers)
            known = nil
        }
        period = now
        let (end, over) = (now + 1).multipliedReportingOverflow(by: memory)
        periodEnd = over ? .max : end
    }

    var bytes: Int { 2 * DistinctEstimate.registers }

    /// Folds all that decides later estimates; between ticks.
    func digest(into digest: inout UInt64) {
        SplitMix64.fold(UnsafeRawBufferPointer(start: current, count: DistinctEstimate.registers), into: &digest)
        SplitMix64.fold(UnsafeRawBufferPointer(start: previous, count: DistinctEstimate.registers), into: &digest)
        digest = SplitMix64.mix(digest ^ UInt64(bitPattern: period))
    }
}
