import Models
import RuleLanguage

/// Stage A of the lockstep detector, one slot of targets: counts the distinct actors of each (relation, target, window) and says
/// who is in a token that turned hot.
///
/// A token is hot when its count is a surprise for the target's own baseline: the 7-day decayed mean of the closed windows, the
/// running one excluded. A hot window enters the baseline cut to the largest count that would not have been hot: an attack cannot
/// make itself normal quickly, and what stays popular for days does become normal.
struct LockstepTokenSlot: ~Copyable {
    struct Token: BitwiseCopyable {
        /// Number of the window, or `Int64.min`: unused.
        var bucket: Int64 = .min
        /// Distinct actors, beyond the stored ones an upper bound.
        var count: UInt32 = 0
        var stored: UInt32 = 0
        /// Count from which the token is hot; 0: not computed yet.
        var hotAt: UInt32 = 0
        var isHot: UInt32 = 0
        var block: UInt32 = MemberBlocks.none
        var sizeClass: UInt32 = 0

        func release(to blocks: inout MemberBlocks) {
            if block != MemberBlocks.none { blocks.release(block, sizeClass: Int(sizeClass)) }
        }
    }

    struct Target: MemberHolder {
        /// Decayed sum of closed windows' counts and of their weights, as of window number `closed`.
        var sum = 0.0
        var weight = 0.0
        var closed: Int64
        /// The newest window seen.
        var newest: Int64
        var lastTime: Int64
        /// How far its windows are shifted, ms.
        let shift: Int64
        /// Windows of even and odd number.
        var even = Token()
        var odd = Token()

        /// The token of a window, in place: a copy of it would wait for all that is written.
        static func token(of bucket: Int64, in target: UnsafeMutablePointer<Target>) -> UnsafeMutablePointer<Token> {
            assert(MemoryLayout<Target>.offset(of: \.even) == tokens, "the tokens lie where they are looked for")
            return (UnsafeMutableRawPointer(target) + tokens).assumingMemoryBound(to: Token.self) + Int(bucket & 1)
        }
        /// Bytes before ``even``; a constant, where asking for the offset would be a call for each act.
        private static var tokens: Int { 48 }

        func release(to blocks: inout MemberBlocks) {
            even.release(to: &blocks)
            odd.release(to: &blocks)
        }
    }

    // Only the slot's own files touch these.
    var targets: OldestFirstTable<Target>
    var blocks: MemberBlocks
    var names: TextLog
    var counters = LockstepCounters()

    let window: Int64
    private let memory: Int64
    private let minimumActors: Int
    private let hotSurprise: Double
    private let decay: Double
    private let hash: WordHash
    private let resultHash: TextHash

    init(_ configuration: LockstepConfiguration, _ hash: TextHash) {
        targets = OldestFirstTable(limit: configuration.limits.targets)
        blocks = MemberBlocks(wordsPerMember: 3, limitWords: configuration.limits.targetMemberWords)
        names = TextLog(capacity: configuration.limits.nameBytes)
        window = configuration.window
        memory = configuration.memory
        minimumActors = max(2, configuration.minimumActors)
        hotSurprise = -Elementary.log(configuration.hotChance) / Elementary.ln10
        decay = Elementary.exp(-Double(configuration.window) / Double(configuration.baselineLife))
        self.hash = WordHash(hash)
        resultHash = configuration.resultHash
    }

    /// Reads the cell where a target's row is told, and nothing else.
    @inline(__always)
    func lookAhead(cell key: UInt64) -> UInt64 { targets.home(key) }

    /// Reads what ``take(_:key:ordinal:forgotten:_:)`` will read of a target's row; its cell is near by now.
    @inline(__always)
    func lookAhead(row key: UInt64) -> (row: UInt32, read: UInt64) {
        let row = targets.find(key)
        if row == .max { return (row, 0) }
        let target = targets[row]
        return (row, UInt64(target.pointee.even.block) ^ UInt64(target.pointee.odd.sizeClass))
    }

    /// Reads the newest window's members, which begin with those that came first, and says whether it is hot; its row is near by
    /// now.
    @inline(__always)
    func lookAhead(members row: UInt32) -> (isHot: Bool, read: UInt64) {
        let token = Target.token(of: targets[row].pointee.newest, in: targets[row])
        if token.pointee.stored == 0 { return (false, 0) }
        let last = Int(token.pointee.block) + Int(token.pointee.stored) - 1
        return (token.pointee.isHot != 0, blocks.words[last])
    }

    /// Takes one record of a target in this slot; `ordinal` is its number in the run.
    ///
    /// - Parameter forgotten: what was last acted on before this time counts as new.
    mutating func take(
        _ record: LockstepRecord,
        key: UInt64,
        ordinal: UInt32,
        forgotten: Int64,
        _ outbox: inout LockstepOutbox<HotRecord>
    ) {
        counters.records += 1
        var row = targets.findUnforgotten(key, forgotten, &blocks)
        let shift = row == .max ? shift(of: record) : targets[row].pointee.shift
        let shifted = record.time + shift
        let bucket = shifted >= 0 ? shifted / window : -((window - 1 - shifted) / window)
        if row == .max {
            if targets.isFull {
                counters.evictedTargets += 1
                targets.forgetOldest(&blocks)
            }
            row = targets.insert(key, Target(closed: bucket, newest: bucket, lastTime: record.time, shift: shift))
        }
        let target = targets[row]
        if bucket > target.pointee.newest {
            turn(target, to: bucket)
            // Age in whole windows is enough for forgetting, and spares three cache misses an event.
            targets.touch(row)
        }
        guard bucket >= target.pointee.newest - 1 else {
            counters.late += 1
            return
        }
        if record.time > target.pointee.lastTime { target.pointee.lastTime = record.time }
        // `add` may forget old targets, never this one. Rows do not move without an insert.
        let token = Target.token(of: bucket, in: target)
        if token.pointee.bucket != bucket {
            token.pointee.release(to: &blocks)
            token.pointee = Token(bucket: bucket)
        }
        let isNew = add(record, to: &token.pointee, row: row)
        guard isNew, Int(token.pointee.count) >= minimumActors else { return }
        if token.pointee.hotAt == 0 { token.pointee.hotAt = threshold(target.pointee, bucket: bucket) }
        let windowStart = bucket * window - shift
        if token.pointee.isHot != 0 {
            let member = Int(token.pointee.stored) - 1
            emit(token.pointee, member: member, key, record, windowStart, ordinal, 0, &outbox)
        } else if token.pointee.count >= token.pointee.hotAt {
            token.pointee.isHot = 1
            counters.hotTokens += 1
            announce(record, ordinal, &outbox)
            for member in 0..<Int(token.pointee.stored) {
                emit(token.pointee, member: member, key, record, windowStart, ordinal, member, &outbox)
            }
        }
    }

    /// Each target has a window grid of its own, shifted by the topology's seed.
    private func shift(of record: LockstepRecord) -> Int64 {
        let text = resultHash(record.targetText, count: Int(record.targetLength))
        return Int64(bitPattern: resultHash.combine(text, UInt64(record.relation)) & (.max >> 1)) % window
    }

    /// Counts the actor in; true when it is new to the token.
    private mutating func add(_ record: LockstepRecord, to token: inout Token, row: UInt32) -> Bool {
        if token.stored >= Lockstep.actorsPerToken {
            token.count &+= 1
            counters.droppedMembers += 1
            return false
        }
        let members = blocks.words + (token.stored > 0 ? Int(token.block) : 0)
        for i in 0..<Int(token.stored) where members[i] == record.actor { return false }
        if token.stored == 0 || Int(token.stored) == MemberBlocks.size(Int(token.sizeClass)) {
            let found = targets.room(
                for: row,
                in: &blocks,
                block: token.block,
                sizeClass: token.sizeClass,
                count: token.stored,
                evicted: &counters.evictedTargets
            )
            guard let block = found else {
                counters.droppedMembers += 1
                if token.stored > 0 { token.count &+= 1 }
                return false
            }
            token.block = block
            if token.stored > 0 { token.sizeClass += 1 }
        }
        let size = MemberBlocks.size(Int(token.sizeClass))
        let at = Int(token.block) + Int(token.stored)
        blocks.words[at] = record.actor
        blocks.words[at + size] = UInt64(bitPattern: record.time)
        blocks.words[at + 2 * size] = names.append(record.actorText, count: Int(record.actorLength))
        token.stored += 1
        token.count &+= 1
        return true
    }

    /// Closes the newest window into the baseline and opens a later one.
    private func turn(_ target: UnsafeMutablePointer<Target>, to bucket: Int64) {
        let newest = target.pointee.newest
        let token = newest & 1 == 0 ? target.pointee.even : target.pointee.odd
        let (sum, weight) = baseline(target.pointee, asOf: newest)
        let count = token.bucket != newest ? 0 : token.isHot != 0 ? token.hotAt - 1 : token.count
        target.pointee.sum = sum * decay + Double(count)
        target.pointee.weight = weight * decay + 1
        target.pointee.closed = newest + 1
        target.pointee.newest = bucket
    }

    /// The baseline with the empty windows up to a bucket counted in.
    private func baseline(_ target: Target, asOf bucket: Int64) -> (sum: Double, weight: Double) {
        let empty = bucket - target.closed
        guard empty > 0 else { return (target.sum, target.weight) }
        let faded = Elementary.power(decay, Int(min(empty, 100_000)))
        return (target.sum * faded, target.weight * faded + (1 - faded) / (1 - decay))
    }

    /// The smallest count that is a surprise for the target's baseline.
    private func threshold(_ target: Target, bucket: Int64) -> UInt32 {
        let (sum, weight) = baseline(target, asOf: bucket)
        let mean = weight > 0 ? sum / weight : 0
        var n = max(minimumActors, Int(min(mean, 1e6)))
        while Elementary.poissonSurprise(n, mean: mean) < hotSurprise, n < 10_000_000 {
            n += max(1, Int(mean.squareRoot() / 8))
        }
        return UInt32(n)
    }

    private mutating func emit(
        _ token: Token,
        member: Int,
        _ key: UInt64,
        _ record: LockstepRecord,
        _ windowStart: Int64,
        _ ordinal: UInt32,
        _ sequence: Int,
        _ outbox: inout LockstepOutbox<HotRecord>
    ) {
        let size = MemberBlocks.size(Int(token.sizeClass))
        let at = Int(token.block) + member
        let name = names.read(blocks.words[at + 2 * size])
        counters.tokenEmissions += 1
        let text = outbox.next.keep(name)
        outbox.next.records.append(
            HotRecord(
                order: UInt64(ordinal) << 32 | UInt64(sequence),
                actor: blocks.words[at],
                token: hash.combine(key, UInt64(bitPattern: token.bucket)),
                target: record.target,
                time: Int64(bitPattern: blocks.words[at + size]),
                windowStart: windowStart,
                cause: UInt64(ordinal) << 32 | UInt64(sequence + 1),
                count: token.count,
                text: text
            )
        )
    }

    private func announce(_ record: LockstepRecord, _ ordinal: UInt32, _ outbox: inout LockstepOutbox<HotRecord>) {
        let length = TextLog.cut(record.targetText, count: Int(record.targetLength))
        let text = outbox.names.keep(UnsafeBufferPointer(start: record.targetText, count: length))
        outbox.names.records.append(NameRecord(order: UInt64(ordinal) << 32, key: record.target, text: text))
    }

    /// Forgets targets that have been idle for the memory's length.
    mutating func expire(watermark: Int64) { targets.forget(before: watermark - memory, &blocks) }

    var targetCount: Int { targets.count }
    var bytes: Int { targets.bytes + blocks.bytes }
}
