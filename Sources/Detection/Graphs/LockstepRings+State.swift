import Models
import RuleLanguage

// Between epochs the open tick may have touched, closed and released rings; what the ended ones changed is told already, and no
// state.
extension LockstepRings {
    /// Writes the counters, u64 rings ever made, the four tables, what is looked back to, and of the open tick the rings touched,
    /// the actors released and the rings closed.
    func write(to sink: inout some StateSink) {
        counters.write(to: &sink)
        sink.put(births)
        names.write(to: &sink)
        members.write(to: &sink)
        rings.write(to: &sink)
        published.write(to: &sink)
        lookBack.write(to: &sink)
        sink.put(counted: dirty)
        sink.put(counted: released)
        sink.put(closed.count)
        for change in closed { LockstepRings.write(closed: change, to: &sink) }
    }

    /// A closed ring's names are looked up when the tick ends, so only their hashes are written, and its sentence follows from the
    /// numbers.
    private static func write(closed change: RingChange, to sink: inout some StateSink) {
        sink.put(change.id)
        sink.put(change.version)
        sink.put(change.strength)
        sink.put(change.size)
        sink.put(change.firstTime)
        sink.put(change.lastTime)
        sink.put(change.mergedInto == nil ? 0 : 1)
        sink.put(change.mergedInto ?? 0)
        sink.put(counted: change.members.map(\.hash))
        sink.put(counted: change.targets.map(\.hash))
        sink.put(counted: change.windowStarts)
    }

    /// Takes the place of what is here.
    mutating func read(from source: inout some StateSource) throws(StateError) {
        counters = try LockstepCounters(from: &source)
        births = try source.take()
        try names.read(from: &source)
        try members.read(from: &source)
        try rings.read(from: &source)
        try published.read(from: &source)
        try lookBack.read(from: &source)
        dirty = try source.takeCounted("rings touched", limit: .max / 16)
        released = try source.takeCounted("actors released", limit: .max / 16)
        republished.removeAll()
        removeChanges()
        closed.removeAll()
        // A closed ring takes 88 bytes at least.
        for _ in 0..<(try source.takeCount("rings closed", in: 0...Int.max / 16, bytesEach: 88)) {
            closed.append(try readClosed(from: &source))
        }
        try checkInvariants()
    }

    private func readClosed(from source: inout some StateSource) throws(StateError) -> RingChange {
        var change = RingChange(detector: configuration.name, windowLength: configuration.window)
        change.id = try source.take()
        change.version = try source.takeCount("versions of a ring", in: 1...Int(UInt32.max), bytesEach: 0)
        change.status = .closed
        change.strength = try source.take()
        try LockstepRings.check(strength: change.strength)
        change.score = LockstepRings.score(change.strength)
        change.size = try source.takeCount(
            "members of a closed ring",
            in: 0...configuration.limits.ringMembers,
            bytesEach: 0
        )
        change.firstTime = try source.take()
        change.lastTime = try source.take()
        try Lockstep.check(times: change.firstTime, change.lastTime)
        let isMerged = try source.takeCount("rings that took a closed one in", in: 0...1, bytesEach: 0) == 1
        let winner: UInt64 = try source.take()
        change.mergedInto = isMerged ? winner : nil
        let members: [UInt64] = try source.takeCounted("members of a closed ring", limit: Lockstep.namesPerRecord)
        change.members = members.map { RingName(hash: $0, name: Name()) }
        let targets: [UInt64] = try source.takeCounted("targets of a closed ring", limit: Lockstep.targetsPerRing)
        change.targets = targets.map { RingName(hash: $0, name: Name()) }
        change.targetCount = targets.count
        change.windowStarts = try source.takeCounted("windows of a closed ring", limit: Lockstep.windowsPerRing)
        for start in change.windowStarts { try Lockstep.check(times: start) }
        LockstepRings.writeEvidence(
            configuration,
            size: change.size,
            targets: change.targetCount,
            strength: change.strength,
            to: &change.evidence
        )
        return change
    }

    /// Every member is in the list of its ring and in no other, and what a ring says of its members is their recount.
    func checkInvariants() throws(StateError) {
        try names.checkInvariants()
        try members.checkInvariants()
        try rings.checkInvariants()
        try published.checkInvariants()
        try lookBack.checkInvariants()
        try checkReferences()
        let touched = Set(dirty)
        var joined = 0
        var row = rings.oldest
        while row != .max {
            let key = rings.key(row)
            try check(rings[row].pointee, key)
            try StateError.require(
                rings[row].pointee.isDirty == 0 || touched.contains(key),
                "a ring was touched that is not listed so"
            )
            joined += Int(rings[row].pointee.joined)
            row = rings.newer(row)
        }
        try StateError.require(joined == members.count, "rings have \(joined) members of \(members.count)")
        row = names.oldest
        while row != .max {
            try StateError.require(names[row].pointee.length <= UInt64(TextLog.longest), "a name is too long")
            row = names.newer(row)
        }
        row = published.oldest
        while row != .max {
            let entry = published[row].pointee
            try StateError.require((0...1).contains(entry.score) && entry.size >= 0, "a ring's score is \(entry.score)")
            row = published.newer(row)
        }
    }

    /// Records name the topics and types of what is looked back to.
    private func checkReferences() throws(StateError) {
        var unknown = 0
        var row = lookBack.entities.oldest
        while row != .max {
            lookBack.forEach(of: lookBack.entities.key(row)) { event in
                if !configuration.references.canBe(event) { unknown += 1 }
            }
            row = lookBack.entities.newer(row)
        }
        try StateError.require(unknown == 0, "\(unknown) events looked back to are of no topic or type")
    }

    private func check(_ ring: Ring, _ key: UInt64) throws(StateError) {
        try StateError.require(
            ring.version < .max / 2 && ring.isDirty <= 1 && ring.targetCount <= Lockstep.targetsPerRing
                && ring.windowCount <= Lockstep.windowsPerRing,
            "a ring has \(ring.targetCount) targets"
        )
        try StateError.require(
            (1...max(1, births)).contains(ring.birth) && key == hash.number(ring.birth),
            "a ring is not the one of its number"
        )
        try Lockstep.check(times: ring.firstTime, ring.lastTime)
        for i in 0..<Int(ring.targetCount) { try LockstepRings.check(strength: ring.strengths[i]) }
        for i in 0..<Int(ring.windowCount) { try Lockstep.check(times: ring.windows[i]) }
        var (joined, size, last) = (0, 0, UInt32.max)
        var at = ring.head
        while at != .max {
            // The first of these facts also ends every walk: a member that comes again is of one ring too many.
            try StateError.require(joined < Int(ring.joined) && members.holds(at), "a ring's list leads astray")
            let member = members[at].pointee
            try StateError.require(member.ring == key, "a ring lists another one's member")
            let counts = member.targetCount >= UInt64(min(8, configuration.minimumTargets))
            try StateError.require(
                member.targetCount <= 8 && member.isCounted == (counts ? 1 : 0),
                "a member of \(member.targetCount) targets counts wrong"
            )
            joined += 1
            size += Int(member.isCounted)
            (last, at) = (at, member.next)
        }
        try StateError.require(
            joined == Int(ring.joined) && joined > 0 && size == Int(ring.size) && last == ring.tail,
            "a ring of \(ring.joined) members lists \(joined)"
        )
    }

    /// A sum of many such is still a number with a score.
    private static func check(strength: Double) throws(StateError) {
        try StateError.require((0...1e12).contains(strength), "a strength of \(strength)")
    }

    /// Folds all that decides later results: names, rings and memberships, those touched longest ago first.
    ///
    /// Where a row stands in its table is not folded.
    func digest(into digest: inout UInt64) {
        names.digest(into: &digest)
        published.digest(into: &digest)
        lookBack.digest(into: &digest)
        digest = SplitMix64.mix(digest ^ UInt64(rings.count) ^ births << 32)
        var row = rings.oldest
        while row != .max {
            self.digest(rings[row].pointee, rings.key(row), into: &digest)
            row = rings.newer(row)
        }
        for list in [dirty, released, closed.map(\.id)] {
            digest = SplitMix64.mix(digest ^ UInt64(list.count))
            for word in list { digest = SplitMix64.mix(digest ^ word) }
        }
        for change in closed {
            for word in [UInt64(change.version), change.strength.bitPattern, change.mergedInto ?? 0] {
                digest = SplitMix64.mix(digest ^ word)
            }
            for name in change.members + change.targets { digest = SplitMix64.mix(digest ^ name.hash) }
        }
    }

    private func digest(_ ring: Ring, _ key: UInt64, into digest: inout UInt64) {
        for word in [
            key, ring.id, UInt64(ring.version) << 32 | UInt64(ring.isDirty),
            UInt64(ring.toldSize) << 32 | UInt64(ring.toldTargets),
            UInt64(bitPattern: ring.firstTime), UInt64(bitPattern: ring.lastTime),
        ] { digest = SplitMix64.mix(digest ^ word) }
        for i in 0..<Int(ring.targetCount) {
            digest = SplitMix64.mix(digest ^ ring.targets[i])
            digest = SplitMix64.mix(digest ^ ring.strengths[i].bitPattern)
        }
        for i in 0..<Int(ring.windowCount) { digest = SplitMix64.mix(digest ^ UInt64(bitPattern: ring.windows[i])) }
        var at = ring.head
        while at != .max {
            digest = SplitMix64.mix(digest ^ members.key(at)) &+ UInt64(members[at].pointee.isCounted)
            for t in 0..<Int(members[at].pointee.targetCount) {
                digest = SplitMix64.mix(digest ^ members[at].pointee.targets[t])
            }
            at = members[at].pointee.next
        }
    }
}
