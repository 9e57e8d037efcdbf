import Models

/// Stage C of the lockstep detector, one slot of token pairs: counts the distinct actors that two hot tokens have in common and
/// accepts the pair when so many are a surprise.
///
/// With N active actors and tokens of n and m of them, chance gives about n·m/N in common; the tail is Poisson's. A pair once
/// accepted stays so.
struct LockstepPairSlot: ~Copyable {
    struct Pair: MemberHolder {
        var targetA: UInt64
        var targetB: UInt64
        var startA: Int64
        var startB: Int64
        var firstTime: Int64
        var lastTime: Int64
        /// Largest counts told so far.
        var countA: UInt32
        var countB: UInt32
        var stored: UInt32 = 0
        var isAccepted: UInt32 = 0
        var block: UInt32 = MemberBlocks.none
        var sizeClass: UInt32 = 0

        func release(to blocks: inout MemberBlocks) {
            if block != MemberBlocks.none { blocks.release(block, sizeClass: Int(sizeClass)) }
        }
    }

    // Only the slot's own files touch these.
    var pairs: OldestFirstTable<Pair>
    var blocks: MemberBlocks
    var counters = LockstepCounters()

    private let memory: Int64
    private let minimumActors: Int
    private let pairSurprise: Double

    init(_ configuration: LockstepConfiguration) {
        pairs = OldestFirstTable(limit: configuration.limits.pairs)
        blocks = MemberBlocks(wordsPerMember: 1, limitWords: configuration.limits.pairMemberWords)
        memory = configuration.memory
        minimumActors = max(2, configuration.minimumActors)
        pairSurprise = -Elementary.log(configuration.pairChance) / Elementary.ln10
    }

    /// - Parameters:
    ///   - population: active actors, N.
    ///   - forgotten: what was last acted on before this time counts as new.
    mutating func take(
        _ record: PairRecord,
        population: Double,
        forgotten: Int64,
        _ outbox: inout Outbox<FlagRecord>
    ) {
        var row = pairs.findUnforgotten(record.pair, forgotten, &blocks)
        if row == .max {
            if pairs.isFull {
                counters.evictedPairs += 1
                pairs.forgetOldest(&blocks)
            }
            row = pairs.insert(
                record.pair,
                Pair(
                    targetA: record.targetA,
                    targetB: record.targetB,
                    startA: record.startA,
                    startB: record.startB,
                    firstTime: record.firstTime,
                    lastTime: record.lastTime,
                    countA: record.countA,
                    countB: record.countB
                )
            )
        } else {
            pairs.touch(row)
        }
        var pair = pairs[row].pointee
        // The pair's own A and B are those of the actor who made it; its two targets differ.
        let isTurned = record.targetA != pair.targetA
        pair.countA = max(pair.countA, isTurned ? record.countB : record.countA)
        pair.countB = max(pair.countB, isTurned ? record.countA : record.countB)
        pair.firstTime = min(pair.firstTime, record.firstTime)
        pair.lastTime = max(pair.lastTime, record.lastTime)
        if add(record.actor, to: &pair, row: row), Int(pair.stored) >= minimumActors {
            let mean = Double(pair.countA) * Double(pair.countB) / max(population, 1)
            let surprise = Elementary.poissonSurprise(Int(pair.stored), mean: mean)
            if pair.isAccepted != 0 {
                flag(pair, record, member: Int(pair.stored) - 1, sequence: 0, max(surprise, pairSurprise), &outbox)
            } else if surprise > pairSurprise {
                pair.isAccepted = 1
                counters.acceptedPairs += 1
                for member in 0..<Int(pair.stored) {
                    flag(pair, record, member: member, sequence: member, surprise, &outbox)
                }
            }
        }
        pairs[row].pointee = pair
    }

    /// Keeps the actor; true when it is new to the pair.
    private mutating func add(_ actor: UInt64, to pair: inout Pair, row: UInt32) -> Bool {
        let members = blocks.words + (pair.stored > 0 ? Int(pair.block) : 0)
        for i in 0..<Int(pair.stored) where members[i] == actor { return false }
        guard pair.stored < Lockstep.actorsPerPair else {
            counters.droppedMembers += 1
            return false
        }
        if pair.stored == 0 || Int(pair.stored) == MemberBlocks.size(Int(pair.sizeClass)) {
            let found = pairs.room(
                for: row,
                in: &blocks,
                block: pair.block,
                sizeClass: pair.sizeClass,
                count: pair.stored,
                evicted: &counters.evictedPairs
            )
            guard let block = found else {
                counters.droppedMembers += 1
                return false
            }
            pair.block = block
            if pair.stored > 0 { pair.sizeClass += 1 }
        }
        blocks.words[Int(pair.block) + Int(pair.stored)] = actor
        pair.stored += 1
        return true
    }

    private func flag(
        _ pair: Pair,
        _ record: PairRecord,
        member: Int,
        sequence: Int,
        _ strength: Double,
        _ outbox: inout Outbox<FlagRecord>
    ) {
        outbox.records.append(
            FlagRecord(
                order: record.order << 8 | UInt64(sequence),
                actor: blocks.words[Int(pair.block) + member],
                anchor: blocks.words[Int(pair.block)],
                targetA: pair.targetA,
                targetB: pair.targetB,
                startA: pair.startA,
                startB: pair.startB,
                firstTime: pair.firstTime,
                lastTime: pair.lastTime,
                strength: strength
            )
        )
    }

    mutating func expire(watermark: Int64) { pairs.forget(before: watermark - memory, &blocks) }

    var bytes: Int { pairs.bytes + blocks.bytes }
}
