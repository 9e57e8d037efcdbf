import Models
import RuleLanguage

/// Stage D of the lockstep detector: joins the actors of accepted pairs to versioned rings and publishes who is in which.
///
/// Sequential; it sees only what is already suspicious. Members are joined pair by pair to the pair's anchor. Of two rings that
/// meet, the older one survives, but never a candidate before a ring that people have seen. A member counts once it shares
/// ``LockstepConfiguration/minimumTargets`` targets.
///
/// Tables are keyed by the secret hash; ids are not: who is told of a ring must be told the same under another key.
struct LockstepRings: ~Copyable {
    struct Name: BitwiseCopyable {
        var length: UInt64 = 0
        var bytes = InlineArray<64, UInt8>(repeating: 0)

        init() {}

        /// Keeps the first 64 bytes.
        init(_ text: UnsafeBufferPointer<UInt8>) {
            length = UInt64(min(text.count, TextLog.longest))
            for i in 0..<Int(length) { bytes[i] = text[i] }
        }
    }

    struct Member: BitwiseCopyable {
        /// Key of its ring.
        var ring: UInt64
        var next: UInt32 = .max
        var isCounted: UInt32 = 0
        var targetCount: UInt64 = 0
        var targets = InlineArray<8, UInt64>(repeating: 0)
    }

    struct Ring: BitwiseCopyable {
        /// As people see it.
        let id: UInt64
        /// Its number among all rings and candidates ever made.
        let birth: UInt64
        var head: UInt32
        var tail: UInt32
        /// All members joined, and those that count.
        var joined: UInt32 = 1
        var size: UInt32 = 0
        /// 0: not opened yet.
        var version: UInt32 = 0
        var isDirty: UInt32 = 0
        /// Size and targets as of the last version.
        var toldSize: UInt32 = 0
        var toldTargets: UInt32 = 0
        var targetCount: UInt32 = 0
        var windowCount: UInt32 = 0
        var firstTime: Int64
        var lastTime: Int64
        var targets = InlineArray<64, UInt64>(repeating: 0)
        /// Best strength of a pair with the target.
        var strengths = InlineArray<64, Double>(repeating: 0)
        var windows = InlineArray<16, Int64>(repeating: 0)
    }

    struct Published: BitwiseCopyable {
        var ring: UInt64
        var score: Double
        var size: Int64
    }

    // Only the stage's own files touch these.
    let configuration: LockstepConfiguration
    let hash: WordHash
    private let resultHash: TextHash
    var names: OldestFirstTable<Name>
    var members: OldestFirstTable<Member>
    var rings: OldestFirstTable<Ring>
    var published: OldestFirstTable<Published>
    /// What each actor did last, ring or not: who turns out to be in one did something before.
    var lookBack: LookBack
    /// Rings touched in the open tick, in order.
    var dirty: [UInt64] = []
    /// Actors whose ring closed in the open tick.
    var released: [UInt64] = []
    var republished: [UInt64] = []
    /// Of the ticks that have ended since ``removeChanges()``, and the number of each one's tick among them.
    private(set) var changes: [RingChange] = []
    private(set) var changeTicks: [Int] = []
    private var ticks = 0
    /// Rings closed in the open tick; the names in them are those known at its end.
    var closed: [RingChange] = []
    /// Changes that nobody wants any more: with ticks of a second rings get many versions, and their lists' memory serves the next
    /// ones.
    private var spares: [RingChange] = []
    /// Each holds some 20 KB at most.
    private static let sparesMax = 64
    /// Rings and candidates ever made.
    var births: UInt64 = 0
    var counters = LockstepCounters()

    init(_ configuration: LockstepConfiguration, _ hash: TextHash) {
        self.configuration = configuration
        self.hash = WordHash(hash)
        resultHash = configuration.resultHash
        names = OldestFirstTable(limit: configuration.limits.names)
        members = OldestFirstTable(limit: max(2, configuration.limits.ringMembers))
        rings = OldestFirstTable(limit: max(2, configuration.limits.rings))
        published = OldestFirstTable(limit: max(2, configuration.limits.ringMembers))
        lookBack = LookBack(perEntity: configuration.lookBack, limit: configuration.limits.actsLookedBackTo)
    }

    /// Remembers an act; in the order of the events, before the tick ends.
    mutating func remember(_ event: EventReference, of actor: UInt64) {
        counters.forgottenActs += Int64(lookBack.append(event, of: actor))
    }

    mutating func removeChanges() {
        for change in changes.prefix(LockstepRings.sparesMax - spares.count) { spares.append(change) }
        changes.removeAll(keepingCapacity: true)
        changeTicks.removeAll(keepingCapacity: true)
        ticks = 0
    }

    mutating func learnName(_ key: UInt64, _ text: UnsafeBufferPointer<UInt8>) {
        let name = Name(text)
        let row = names.find(key)
        if row == .max {
            if names.isFull { _ = names.removeOldest() }
            _ = names.insert(key, name)
        } else {
            names[row].pointee = name
            names.touch(row)
        }
    }

    mutating func take(_ record: FlagRecord) {
        // Room first, so that no row found below is evicted by the one added after it.
        while members.count + 2 > members.limit, rings.count > 0 { evictOldestRing() }
        while rings.count + 2 > rings.limit { evictOldestRing() }
        let anchor = member(record.anchor, record)
        let actor = record.actor == record.anchor ? anchor : member(record.actor, record)
        guard join(members[anchor].pointee.ring, members[actor].pointee.ring) else { return }
        let key = members[actor].pointee.ring
        let row = rings.find(key)
        guard row != .max else { return }
        rings.touch(row)
        let ring = rings[row]
        count(actor, record.targetA, ring)
        count(actor, record.targetB, ring)
        note(record.targetA, record.strength, ring)
        note(record.targetB, record.strength, ring)
        noteWindow(record.startA, ring)
        noteWindow(record.startB, ring)
        ring.pointee.firstTime = min(ring.pointee.firstTime, record.firstTime)
        ring.pointee.lastTime = max(ring.pointee.lastTime, record.lastTime)
        if ring.pointee.isDirty == 0 {
            ring.pointee.isDirty = 1
            dirty.append(key)
        }
    }

    /// The row of an actor; one not seen before gets a ring of its own.
    private mutating func member(_ actor: UInt64, _ record: FlagRecord) -> UInt32 {
        let row = members.find(actor)
        if row != .max { return row }
        // A ring of one is a candidate only: made on demand, so that a pair's second actor joins the first one's.
        births += 1
        let key = hash.number(births)
        let new = members.insert(actor, Member(ring: key))
        _ = rings.insert(
            key,
            Ring(
                id: id(birth: births, time: record.firstTime),
                birth: births,
                head: new,
                tail: new,
                firstTime: record.firstTime,
                lastTime: record.lastTime
            )
        )
        return new
    }

    /// The time tells the rings of a journal from those of one begun anew, the number those of one journal.
    private func id(birth: UInt64, time: Int64) -> UInt64 {
        resultHash.combine(resultHash.combine(resultHash(configuration.name), birth), UInt64(bitPattern: time))
    }

    /// Joins two rings; false when the result would be too large.
    private mutating func join(_ a: UInt64, _ b: UInt64) -> Bool {
        if a == b { return true }
        let (rowA, rowB) = (rings.find(a), rings.find(b))
        guard rowA != .max, rowB != .max else { return false }
        guard Int(rings[rowA].pointee.joined + rings[rowB].pointee.joined) <= configuration.limits.membersPerRing else {
            counters.droppedMembers += 1
            return true
        }
        // A ring that people have seen outlives a candidate; else the older.
        let (openA, openB) = (rings[rowA].pointee.version > 0, rings[rowB].pointee.version > 0)
        let keepsA = openA != openB ? openA : rings[rowA].pointee.birth < rings[rowB].pointee.birth
        let (winner, loser) = keepsA ? (rowA, rowB) : (rowB, rowA)
        let (winnerKey, loserKey) = keepsA ? (a, b) : (b, a)
        if rings[loser].pointee.version > 0 {
            rings[loser].pointee.version += 1
            closed.append(change(loserKey, .closed, mergedInto: rings[winner].pointee.id))
            counters.ringsClosed += 1
        }
        let from = rings[loser].pointee
        var at = from.head
        while at != .max {
            members[at].pointee.ring = winnerKey
            at = members[at].pointee.next
        }
        let into = rings[winner]
        members[into.pointee.tail].pointee.next = from.head
        into.pointee.tail = from.tail
        into.pointee.joined += from.joined
        into.pointee.size += from.size
        into.pointee.firstTime = min(into.pointee.firstTime, from.firstTime)
        into.pointee.lastTime = max(into.pointee.lastTime, from.lastTime)
        for i in 0..<Int(from.targetCount) { note(from.targets[i], from.strengths[i], into) }
        for i in 0..<Int(from.windowCount) { noteWindow(from.windows[i], into) }
        if into.pointee.isDirty == 0 {
            into.pointee.isDirty = 1
            dirty.append(winnerKey)
        }
        rings.remove(loser)
        return true
    }

    private func count(_ actor: UInt32, _ target: UInt64, _ ring: UnsafeMutablePointer<Ring>) {
        let member = members[actor]
        let known = Int(member.pointee.targetCount)
        for i in 0..<known where member.pointee.targets[i] == target { return }
        if known < 8 {
            member.pointee.targets[known] = target
            member.pointee.targetCount += 1
        }
        if member.pointee.isCounted == 0, Int(member.pointee.targetCount) >= min(8, configuration.minimumTargets) {
            member.pointee.isCounted = 1
            ring.pointee.size += 1
        }
    }

    private func note(_ target: UInt64, _ strength: Double, _ ring: UnsafeMutablePointer<Ring>) {
        let known = Int(ring.pointee.targetCount)
        for i in 0..<known where ring.pointee.targets[i] == target {
            if strength > ring.pointee.strengths[i] { ring.pointee.strengths[i] = strength }
            return
        }
        guard known < Lockstep.targetsPerRing else { return }
        ring.pointee.targets[known] = target
        ring.pointee.strengths[known] = strength
        ring.pointee.targetCount += 1
    }

    private func noteWindow(_ start: Int64, _ ring: UnsafeMutablePointer<Ring>) {
        let known = Int(ring.pointee.windowCount)
        for i in 0..<known where ring.pointee.windows[i] == start { return }
        guard known < Lockstep.windowsPerRing else { return }
        ring.pointee.windows[known] = start
        ring.pointee.windowCount += 1
    }

    /// Writes the tick's versions, forgets rings that have been quiet for the memory's length, and makes the memberships visible.
    mutating func endTick(watermark: Int64) {
        finish(watermark: watermark)
        while changeTicks.count < changes.count { changeTicks.append(ticks) }
        ticks += 1
        // Most ticks teach nothing.
        if !released.isEmpty || !republished.isEmpty { publish() }
    }

    private mutating func finish(watermark: Int64) {
        if !closed.isEmpty { takeClosed() }
        for key in dirty {
            let row = rings.find(key)
            guard row != .max else { continue }
            let ring = rings[row]
            ring.pointee.isDirty = 0
            guard Int(ring.pointee.size) >= configuration.minimumActors else { continue }
            republished.append(key)
            let grew = ring.pointee.size > ring.pointee.toldSize || ring.pointee.targetCount > ring.pointee.toldTargets
            guard grew else { continue }
            ring.pointee.version += 1
            ring.pointee.toldSize = ring.pointee.size
            ring.pointee.toldTargets = ring.pointee.targetCount
            if ring.pointee.version == 1 { counters.ringsOpened += 1 }
            changes.append(change(key, ring.pointee.version == 1 ? .opened : .updated))
        }
        if !dirty.isEmpty { dirty.removeAll(keepingCapacity: true) }
        while rings.oldest != .max, rings[rings.oldest].pointee.lastTime < watermark - configuration.memory {
            closeOldestRing()
        }
        if !closed.isEmpty { takeClosed() }
    }

    /// Appends the closed rings to the changes.
    ///
    /// Their names are looked up again: how many had been learnt when a ring closed depends on how the tick's records came.
    private mutating func takeClosed() {
        for c in closed.indices {
            for i in closed[c].members.indices { closed[c].members[i] = name(closed[c].members[i].hash) }
            for i in closed[c].targets.indices { closed[c].targets[i] = name(closed[c].targets[i].hash) }
            changes.append(closed[c])
        }
        closed.removeAll(keepingCapacity: true)
    }

    /// Makes the tick's memberships visible to ``membership(ofActor:)``.
    private mutating func publish() {
        for actor in released {
            let row = published.find(actor)
            if row != .max { published.remove(row) }
        }
        released.removeAll(keepingCapacity: true)
        for key in republished {
            let row = rings.find(key)
            guard row != .max else { continue }
            let ring = rings[row].pointee
            let entry = Published(ring: ring.id, score: LockstepRings.score(strength(ring)), size: Int64(ring.size))
            var at = ring.head
            while at != .max {
                if members[at].pointee.isCounted != 0 { set(members.key(at), entry) }
                at = members[at].pointee.next
            }
        }
        republished.removeAll(keepingCapacity: true)
    }

    private mutating func set(_ actor: UInt64, _ entry: Published) {
        let row = published.find(actor)
        if row != .max {
            published[row].pointee = entry
        } else {
            // As many places as members: never full, since members that left were released.
            if published.isFull { _ = published.removeOldest() }
            _ = published.insert(actor, entry)
        }
    }

    @inline(__always)
    func membership(ofActor actor: UInt64) -> (ring: UInt64, score: Double, size: Int)? {
        guard published.count > 0 else { return nil }
        let row = published.find(actor)
        guard row != .max else { return nil }
        let entry = published[row].pointee
        return (entry.ring, entry.score, Int(entry.size))
    }

    private mutating func evictOldestRing() {
        counters.evictedRings += 1
        closeOldestRing()
    }

    private mutating func closeOldestRing() {
        let row = rings.oldest
        guard row != .max else { return }
        if rings[row].pointee.version > 0 {
            rings[row].pointee.version += 1
            closed.append(change(rings.key(row), .closed))
            counters.ringsClosed += 1
        }
        var at = rings[row].pointee.head
        while at != .max {
            let next = members[at].pointee.next
            if members[at].pointee.isCounted != 0 { released.append(members.key(at)) }
            members.remove(at)
            at = next
        }
        rings.remove(row)
    }

    /// Each target beyond the first adds evidence of its own; half the sum of every target's best pair counts a pair once.
    private func strength(_ ring: Ring) -> Double {
        var sum = 0.0
        for i in 0..<Int(ring.targetCount) { sum += ring.strengths[i] }
        return sum / 2
    }

    static func score(_ strength: Double) -> Double {
        (strength / (strength + 6) * 1e6).rounded(.toNearestOrEven) / 1e6
    }

    private func name(_ key: UInt64) -> RingName {
        let row = names.find(key)
        return RingName(hash: key, name: row == .max ? Name() : names[row].pointee)
    }

    private mutating func change(_ key: UInt64, _ status: RingStatus, mergedInto: UInt64? = nil) -> RingChange {
        let row = rings.find(key)
        precondition(row != .max, "a version is written of a ring that is there")
        let ring = rings[row].pointee
        let strength = strength(ring)
        var change = spares.popLast() ?? RingChange(detector: configuration.name, windowLength: configuration.window)
        change.id = ring.id
        change.version = Int(ring.version)
        change.status = status
        change.score = LockstepRings.score(strength)
        change.strength = strength
        change.size = Int(ring.size)
        change.members.removeAll(keepingCapacity: true)
        var at = ring.head
        while at != .max, change.members.count < Lockstep.namesPerRecord {
            if members[at].pointee.isCounted != 0 { change.members.append(name(members.key(at))) }
            at = members[at].pointee.next
        }
        change.events.removeAll(keepingCapacity: true)
        // A ring may close inside a tick, when not all of its acts are known.
        if status != .closed, configuration.lookBack > 0 {
            let most = max(1, Lockstep.actsPerRecord / max(1, change.members.count))
            for (n, member) in change.members.enumerated() {
                lookBack.forEach(of: member.hash, most: most) { change.events.append(RingEvent(member: n, event: $0)) }
            }
        }
        change.targetCount = Int(ring.targetCount)
        change.targets.removeAll(keepingCapacity: true)
        for i in 0..<change.targetCount { change.targets.append(name(ring.targets[i])) }
        change.windowStarts.removeAll(keepingCapacity: true)
        for i in 0..<Int(ring.windowCount) { change.windowStarts.append(ring.windows[i]) }
        change.windowStarts.sort()
        change.firstTime = ring.firstTime
        change.lastTime = ring.lastTime
        change.mergedInto = mergedInto
        LockstepRings.writeEvidence(
            configuration,
            size: change.size,
            targets: change.targetCount,
            strength: strength,
            to: &change.evidence
        )
        return change
    }

    /// Replaces a text by the sentence for people.
    ///
    /// Piece by piece in its own memory: an interpolation makes several of its own.
    static func writeEvidence(
        _ configuration: LockstepConfiguration,
        size: Int,
        targets: Int,
        strength: Double,
        to text: inout String
    ) {
        text.removeAll(keepingCapacity: true)
        text.reserveCapacity(160)
        text += String(size)
        text += " "
        text += configuration.actorsNoun
        text += " "
        text += configuration.verb
        text += " the same "
        text += String(targets)
        text += " "
        text += configuration.targetsNoun
        text += " inside the same "
        text += length(configuration.window)
        text += " windows (chance "
        text += chance(strength)
        text += ")"
    }

    static func length(_ window: Int64) -> String {
        if window % 86_400_000 == 0 { return "\(window / 86_400_000) d" }
        if window % 3_600_000 == 0 { return "\(window / 3_600_000) h" }
        if window % 60_000 == 0 { return "\(window / 60_000) min" }
        if window % 1000 == 0 { return "\(window / 1000) s" }
        return "\(window) ms"
    }

    /// 10 to the power -strength with one digit: `2e-23`.
    static func chance(_ strength: Double) -> String {
        var exponent = Int(strength.rounded(.up))
        var digit = Int(Elementary.exp((Double(exponent) - strength) * Elementary.ln10).rounded(.toNearestOrEven))
        if digit >= 10 {
            digit = 1
            exponent -= 1
        }
        return "\(digit)e-\(exponent)"
    }

    var bytes: Int { names.bytes + members.bytes + rings.bytes + published.bytes + lookBack.bytes }
}
