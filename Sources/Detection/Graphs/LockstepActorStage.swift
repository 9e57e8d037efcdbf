import Models
import RuleLanguage

/// Stage B of the lockstep detector, one slot of actors: remembers each actor's last hot tokens and pairs a new one with each of
/// them.
struct LockstepActorSlot: ~Copyable {
    struct Actor: MemberHolder {
        var lastTime: Int64
        /// When its name was last told to the ring stage.
        var announcedTime: Int64 = .min
        var filled: UInt32 = 0
        /// Place of the next token, once all places are taken.
        var next: UInt32 = 0
        var block: UInt32 = MemberBlocks.none
        var sizeClass: UInt32 = 0

        func release(to blocks: inout MemberBlocks) {
            if filled > 0 { blocks.release(block, sizeClass: Int(sizeClass)) }
        }
    }

    // Only the slot's own files touch these.
    var actors: OldestFirstTable<Actor>
    /// Hot tokens by column: key, target, start of the window, time of the act, count.
    var blocks: MemberBlocks
    var counters = LockstepCounters()

    private let memory: Int64
    private let hash: WordHash

    init(_ configuration: LockstepConfiguration, _ hash: TextHash) {
        actors = OldestFirstTable(limit: configuration.limits.actors)
        blocks = MemberBlocks(wordsPerMember: 5, limitWords: configuration.limits.actorTokenWords)
        memory = configuration.memory
        self.hash = WordHash(hash)
    }

    /// Reads the cell where an actor's row is told, and nothing else.
    @inline(__always)
    func lookAhead(cell actor: UInt64) -> UInt64 { actors.home(actor) }

    /// Reads what ``take(_:name:forgotten:_:)`` will read first of an actor's row; its cell is near by now.
    @inline(__always)
    func lookAhead(row actor: UInt64) -> UInt64 {
        let row = actors.find(actor)
        return row == .max ? 0 : UInt64(actors[row].pointee.block)
    }

    /// - Parameters:
    ///   - name: the actor's text, empty when it is not known.
    ///   - forgotten: what was last acted on before this time counts as new.
    mutating func take(
        _ record: HotRecord,
        name: UnsafeBufferPointer<UInt8>,
        forgotten: Int64,
        _ outbox: inout LockstepOutbox<PairRecord>
    ) {
        var row = actors.findUnforgotten(record.actor, forgotten, &blocks)
        if row == .max {
            if actors.isFull {
                counters.evictedActors += 1
                actors.forgetOldest(&blocks)
            }
            row = actors.insert(record.actor, Actor(lastTime: record.time))
        } else {
            actors.touch(row)
        }
        let actor = actors[row]
        actor.pointee.lastTime = max(actor.pointee.lastTime, record.time)
        let filled = Int(actor.pointee.filled)
        let size = MemberBlocks.size(Int(actor.pointee.sizeClass))
        let held = blocks.words + (filled > 0 ? Int(actor.pointee.block) : 0)
        for i in 0..<filled where held[i] == record.token { return }
        var sequence: UInt64 = 0
        for i in 0..<filled {
            let other = (
                token: held[i], target: held[size + i], windowStart: Int64(bitPattern: held[2 * size + i]),
                time: Int64(bitPattern: held[3 * size + i]), count: UInt32(truncatingIfNeeded: held[4 * size + i])
            )
            guard other.target != record.target, other.time >= record.time - memory else { continue }
            counters.pairEmissions += 1
            outbox.next.records.append(
                PairRecord(
                    order: record.order << 8 | sequence,
                    actor: record.actor,
                    pair: hash.combine(min(record.token, other.token), max(record.token, other.token)),
                    targetA: other.target,
                    targetB: record.target,
                    startA: other.windowStart,
                    startB: record.windowStart,
                    firstTime: min(record.time, other.time),
                    lastTime: max(record.time, other.time),
                    countA: other.count,
                    countB: record.count
                )
            )
            sequence += 1
        }
        if sequence > 0, !name.isEmpty,
            actor.pointee.announcedTime == .min || actor.pointee.announcedTime < record.time - memory / 2
        {
            actor.pointee.announcedTime = record.time
            outbox.names.records.append(
                NameRecord(order: record.cause, key: record.actor, text: outbox.names.keep(name))
            )
        }
        keep(record, row)
    }

    /// Stores the token, over the oldest when all places are taken.
    private mutating func keep(_ record: HotRecord, _ row: UInt32) {
        let actor = actors[row]
        let filled = Int(actor.pointee.filled)
        var at = filled
        if filled == Lockstep.tokensPerActor {
            at = Int(actor.pointee.next)
            actor.pointee.next = UInt32((at + 1) % Lockstep.tokensPerActor)
        } else {
            if filled == 0 || filled == MemberBlocks.size(Int(actor.pointee.sizeClass)) {
                let found = actors.room(
                    for: row,
                    in: &blocks,
                    block: actor.pointee.block,
                    sizeClass: actor.pointee.sizeClass,
                    count: actor.pointee.filled,
                    evicted: &counters.evictedActors
                )
                guard let block = found else {
                    counters.droppedMembers += 1
                    return
                }
                actor.pointee.block = block
                if filled > 0 { actor.pointee.sizeClass += 1 }
            }
            actor.pointee.filled += 1
        }
        let size = MemberBlocks.size(Int(actor.pointee.sizeClass))
        let words = blocks.words + Int(actor.pointee.block) + at
        words[0] = record.token
        words[size] = record.target
        words[2 * size] = UInt64(bitPattern: record.windowStart)
        words[3 * size] = UInt64(bitPattern: record.time)
        words[4 * size] = UInt64(record.count)
    }

    mutating func expire(watermark: Int64) { actors.forget(before: watermark - memory, &blocks) }

    var bytes: Int { actors.bytes + blocks.bytes }
}
