import Models
import RuleLanguage

/// How many actors there are, as of the start of the open tick: N of the pair test.
///
/// The actors of this and the previous period of ``LockstepConfiguration/memory``. Those of the open tick count from the next one
/// on, so that it does not matter in how many parts a tick's records come.
///
/// Counted by marks (linear counting; Whang, Vander-Zanden, Taylor, TODS 1990): an actor marks one of 2^20 places, and from those
/// left free follows how many came. N stands in results, so places follow from the topology's seed, which is no secret: who knows
/// it can choose names. Each of them still counts as one actor while places are free and as 55 among four million, where a sketch
/// of maxima (HyperLogLog) would take a thousand chosen names for any number. Error 0.2 % up to five million actors; from some ten
/// million on it falls short.
struct LockstepPopulation: ~Copyable {
    /// Places, in words of 64.
    static let words = 1 << 14

    private let smallest: Double
    private let memory: Int64
    private let hash: TextHash
    private let current = OwnedBuffer<UInt64>(repeating: 0, count: LockstepPopulation.words)
    private let previous = OwnedBuffer<UInt64>(repeating: 0, count: LockstepPopulation.words)
    /// Marks in either, and in `current`.
    private var marked = 0
    private var markedNow = 0
    /// Places of the open tick's actors that `current` does not know.
    private var news: [UInt32] = []
    /// Number of the period and the time at which the next begins.
    private var period: Int64 = .min
    private var periodEnd: Int64 = .min

    init(_ configuration: LockstepConfiguration) {
        smallest = configuration.smallestPopulation
        memory = configuration.memory
        hash = configuration.resultHash
    }

    /// Where an actor's mark stands.
    @inline(__always)
    func place(of actor: UnsafePointer<UInt8>, count: Int) -> UInt32 {
        UInt32(truncatingIfNeeded: hash(actor, count: count)) & (64 * UInt32(LockstepPopulation.words) - 1)
    }

    /// The word of a mark, for a look ahead.
    @inline(__always)
    func word(of place: UInt32) -> UInt64 { current[Int(place >> 6)] }

    /// Notes an actor of the open tick, by its place.
    @inline(__always)
    mutating func see(_ place: UInt32) {
        if word(of: place) & 1 &<< UInt64(place & 63) == 0 { news.append(place) }
    }

    /// About how many actors there were when the open tick began, `smallest` at least.
    func estimate() -> Double {
        let places = Double(64 * LockstepPopulation.words)
        // The last free place stands for itself: no logarithm of nothing.
        return max(smallest, places * Elementary.log(places / max(1, places - Double(marked))))
    }

    /// Counts the tick's actors in, and begins a new period when the watermark has come so far.
    mutating func endTick(watermark: Int64) {
        if !news.isEmpty {
            for place in news {
                let word = Int(place >> 6)
                let bit: UInt64 = 1 << UInt64(place & 63)
                if current[word] & bit != 0 { continue }
                current[word] |= bit
                markedNow += 1
                if previous[word] & bit == 0 { marked += 1 }
            }
            news.removeAll(keepingCapacity: true)
        }
        guard watermark >= periodEnd, watermark > .min / 4 else { return }
        let now = watermark >= 0 ? watermark / memory : -1
        if now > period, period != .min {
            previous.base.update(from: current.base, count: LockstepPopulation.words)
            current.base.update(repeating: 0, count: LockstepPopulation.words)
            marked = markedNow
            markedNow = 0
        }
        period = now
        periodEnd = end(of: now)
    }

    private func end(of period: Int64) -> Int64 {
        let (end, over) = (period + 1).multipliedReportingOverflow(by: memory)
        return over ? .max : end
    }

    var bytes: Int { 2 * 8 * LockstepPopulation.words }

    /// Writes the marks of this period and of the one before, 2^20 bits each, i64 number of the period, u64 news of the open tick,
    /// and u32 the place of each.
    func write(to sink: inout some StateSink) {
        sink.put(UnsafePointer(current.base), count: LockstepPopulation.words)
        sink.put(UnsafePointer(previous.base), count: LockstepPopulation.words)
        sink.put(period)
        sink.put(counted: news)
    }

    /// Takes the place of what is here.
    mutating func read(from source: inout some StateSource) throws(StateError) {
        try source.take(into: current.base, count: LockstepPopulation.words)
        try source.take(into: previous.base, count: LockstepPopulation.words)
        (marked, markedNow) = (0, 0)
        for at in 0..<LockstepPopulation.words {
            marked += (current[at] | previous[at]).nonzeroBitCount
            markedNow += current[at].nonzeroBitCount
        }
        period = try source.take()
        try Lockstep.check(times: period == .min ? 0 : period)
        periodEnd = period == .min ? .min : end(of: period)
        news = try source.takeCounted("actors of a tick", limit: .max / 16)
        try StateError.require(news.allSatisfy { $0 < 64 * LockstepPopulation.words }, "an actor's place")
    }

    /// Folds all that decides later estimates, the open tick's news too.
    func digest(into digest: inout UInt64) {
        // Most words hold nothing, and a digest is asked for often.
        for words in [current.base, previous.base] {
            for at in 0..<LockstepPopulation.words where words[at] != 0 {
                digest = SplitMix64.mix(digest ^ words[at]) &+ UInt64(at)
            }
            digest = SplitMix64.mix(digest)
        }
        digest = SplitMix64.mix(digest ^ UInt64(bitPattern: period))
        for place in news { digest = SplitMix64.mix(digest ^ UInt64(place)) }
    }
}
