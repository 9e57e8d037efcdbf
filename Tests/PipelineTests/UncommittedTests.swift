import Testing

@testable import Pipeline

@Suite struct UncommittedTests {
    /// A plain account: when each offset of each source was read, and how far commits have come.
    private struct Account {
        var readAt: [[Int64]]
        var committed: [Int]
        var records: Int { zip(readAt, committed).reduce(0) { $0 + $1.0.count - $1.1 } }
        var oldest: Int64? { zip(readAt, committed).compactMap { $0.dropFirst($1).first }.min() }
    }

    @Test(arguments: 0..<50 as Range<UInt64>)
    func `the age is that of the oldest record not committed, to a second, whatever is read and committed`(seed: UInt64)
    {
        var random = UnlikeRandom(seed)
        let sources = 1 + Int(random.below(4))
        var account = Account(
            readAt: Array(repeating: [], count: sources),
            committed: Array(repeating: 0, count: sources)
        )
        var uncommitted = Uncommitted(from: Array(repeating: 0, count: sources))
        var handedOver = account.committed
        var now: Int64 = 1_000_000
        for _ in 0..<400 {
            now += Int64(random.below(3) == 0 ? random.below(4000) : random.below(50))
            switch random.below(4) {
            case 0: handedOver = account.readAt.map(\.count)
            case 1:
                account.committed = handedOver
                uncommitted.commit(to: handedOver.map { Int64($0) })
            default:
                let source = Int(random.below(UInt64(sources)))
                for _ in 0..<random.below(6) { account.readAt[source].append(now) }
                uncommitted.read(to: account.readAt.map { Int64($0.count) }, now: now)
            }
            #expect(uncommitted.records == account.records)
            #expect((uncommitted.since == nil) == (account.oldest == nil))
            guard let since = uncommitted.since, let oldest = account.oldest else { continue }
            #expect(since <= oldest && since > oldest - 1000, "\(since) for \(oldest)")
        }
        uncommitted.settle()
        #expect(uncommitted.isEmpty && uncommitted.since == nil && uncommitted.records == 0)
    }

    @Test func `while a commit hangs the age grows though reading goes on`() {
        var uncommitted = Uncommitted(from: [10])
        uncommitted.read(to: [20], now: 5000)
        #expect(uncommitted.since == 5000 && uncommitted.records == 10)
        for second in 1..<100 as Range<Int64> { uncommitted.read(to: [20 + second], now: 5000 + second * 1000) }
        #expect(uncommitted.since == 5000 && uncommitted.records == 109)
        uncommitted.commit(to: [20])
        #expect(uncommitted.since == 6000 && uncommitted.records == 99)
        uncommitted.commit(to: [-1])
        #expect(uncommitted.since == 6000, "a position that was not moved takes nothing back")
        uncommitted.commit(to: [119])
        #expect(uncommitted.since == nil && uncommitted.isEmpty)
    }
}

/// Numbers for a test; the same seed gives the same.
private struct UnlikeRandom {
    private var state: UInt64
    init(_ seed: UInt64) { state = seed &* 0x9E37_79B9_7F4A_7C15 &+ 1 }
    mutating func below(_ bound: UInt64) -> UInt64 {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return state % bound
    }
}
