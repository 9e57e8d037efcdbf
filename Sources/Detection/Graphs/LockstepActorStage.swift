import Models
import RuleLanguage

/// Stage B of the lockstep detector, one slot of actors: remembers each actor's last hot tokens and pairs a new one with each of them.
struct LockstepActorSlot: ~Copyable {
    struct HotToken: BitwiseCopyable {
        var token: UInt64 = 0
        var target: UInt64 = 0
        var windowStart: Int64 = 0
        var time: Int64 = 0
        var count: UInt64 = 0
    }

    struct Actor: BitwiseCopyable {
        var lastTime: Int64
        /// When its name was last told to the ring stage.
        var announcedTime: Int64 = .min
        var filled: UInt32 = 0
        var next: UInt32 = 0
        var tokens = InlineArray<16, HotToken>(repeating: HotToken())
    }

    private var actors: OldestFirstTable<Actor>
    private(set) var pairs: [PairRecord] = []
    private(set) var announced: [NameRecord] = []
    private(set) var text: [UInt8] = []
    private(set) var counters = LockstepCounters()

    private let number: UInt16
    private let memory: Int64
    private let hash: TextHash

    init(_ configuration: LockstepConfiguration, slot: Int) {
        actors = OldestFirstTable(limit: configuration.limits.actors)
        number = UInt16(slot)
        memory = configuration.memory
        hash = TextHash(seed: configuration.seed)
    }

    mutating func begin() {
        pairs.removeAll(keepingCapacity: true)
        announced.removeAll(keepingCapacity: true)
        text.removeAll(keepingCapacity: true)
    }

    /// - Parameter name: the actor's text, empty when it is not known.
    mutating func take(_ record: HotRecord, name: UnsafeBufferPointer<UInt8>) {
        var row = actors.find(record.actor)
        if row == .max {
            if actors.isFull {
                counters.evictedActors += 1
                _ = actors.removeOldest()
            }
            row = actors.insert(record.actor, Actor(lastTime: record.time))
        } else {
            actors.touch(row)
        }
        let actor = actors[row]
        actor.pointee.lastTime = max(actor.pointee.lastTime, record.time)
        let filled = Int(actor.pointee.filled)
        for i in 0..<filled where actor.pointee.tokens[i].token == record.token { return }
        var sequence: UInt64 = 0
        for i in 0..<filled {
            let other = actor.pointee.tokens[i]
            guard other.target != record.target, other.time >= record.time - memory else { continue }
            counters.pairEmissions += 1
            let isFirst = record.token < other.token
            pairs.append(
                PairRecord(
                    order: record.order << 8 | sequence, actor: record.actor,
                    pair: hash.combine(min(record.token, other.token), max(record.token, other.token)),
                    targetA: isFirst ? record.target : other.target, targetB: isFirst ? other.target : record.target,
                    startA: isFirst ? record.windowStart : other.windowStart,
                    startB: isFirst ? other.windowStart : record.windowStart, firstTime: min(record.time, other.time),
                    lastTime: max(record.time, other.time),
                    countA: isFirst ? record.count : UInt32(truncatingIfNeeded: other.count),
                    countB: isFirst ? UInt32(truncatingIfNeeded: other.count) : record.count))
            sequence += 1
        }
        if sequence > 0, !name.isEmpty,
            actor.pointee.announcedTime == .min || actor.pointee.announcedTime < record.time - memory / 2
        {
            actor.pointee.announcedTime = record.time
            announced.append(
                NameRecord(
                    order: record.order << 8, key: record.actor, textOffset: UInt32(text.count),
                    textLength: UInt16(name.count), sender: number + UInt16(Lockstep.slots)))
            text.append(contentsOf: name)
        }
        let at = Int(actor.pointee.next)
        actor.pointee.tokens[at] = HotToken(
            token: record.token, target: record.target, windowStart: record.windowStart, time: record.time,
            count: UInt64(record.count))
        actor.pointee.next = UInt32((at + 1) % Lockstep.tokensPerActor)
        actor.pointee.filled = UInt32(min(filled + 1, Lockstep.tokensPerActor))
    }

    mutating func expire(watermark: Int64) {
        while actors.oldest != .max, actors[actors.oldest].pointee.lastTime < watermark - memory {
            _ = actors.removeOldest()
        }
    }

    var bytes: Int { actors.bytes }

    func digest(into digest: inout UInt64) { actors.digest(into: &digest) }
}
