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
        periodEnd = end(of: now)
    }

    private func end(of period: Int64) -> Int64 {
        let (end, over) = (period + 1).multipliedReportingOverflow(by: memory)
        return over ? .max : end
    }

    var bytes: Int { 2 * DistinctEstimate.registers }

    /// Writes the registers of this period and of the one before, i64 number of the period, u64 sightings of the open tick, and of each u16
    /// register and u16 rank.
    func write(to sink: inout some StateSink) {
        sink.put(UnsafePointer(current), count: DistinctEstimate.registers)
        sink.put(UnsafePointer(previous), count: DistinctEstimate.registers)
        sink.put(period)
        sink.put(news.count)
        for sighting in news {
            sink.put(sighting.register)
            sink.put(UInt16(sighting.rank))
        }
    }

    /// Takes the place of what is here.
    mutating func read(from source: inout some StateSource) throws(StateError) {
        try source.take(into: current, count: DistinctEstimate.registers)
        try source.take(into: previous, count: DistinctEstimate.registers)
        for i in 0..<DistinctEstimate.registers {
            try StateError.require(max(current[i], previous[i]) <= 64, "a register at \(max(current[i], previous[i]))")
        }
        period = try source.take()
        try Lockstep.check(times: period == .min ? 0 : period)
        periodEnd = period == .min ? .min : end(of: period)
        known = nil
        news.removeAll()
        for _ in 0..<(try source.takeCount("sightings of a tick", in: 0...Int.max / 16, bytesEach: 4)) {
            let (register, rank): (UInt16, UInt16) = (try source.take(), try source.take())
            try StateError.require(register < DistinctEstimate.registers && rank <= 64, "a sighting of rank \(rank)")
            news.append(DistinctEstimate.Sighting(register: register, rank: UInt8(rank)))
        }
    }

    /// Folds all that decides later estimates, the open tick's sightings too.
    func digest(into digest: inout UInt64) {
        SplitMix64.fold(UnsafeRawBufferPointer(start: current, count: DistinctEstimate.registers), into: &digest)
        SplitMix64.fold(UnsafeRawBufferPointer(start: previous, count: DistinctEstimate.registers), into: &digest)
        digest = SplitMix64.mix(digest ^ UInt64(bitPattern: period))
        for sighting in news {
            digest = SplitMix64.mix(digest ^ UInt64(sighting.register) << 8 ^ UInt64(sighting.rank))
        }
    }
}
