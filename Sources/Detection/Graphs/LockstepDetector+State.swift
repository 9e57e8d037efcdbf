import Models

extension LockstepDetector {
    /// Writes one section per slot with its tokens, actors and pairs, and one with rings, population, and where the sweep stands.
    func write(to writer: inout StateWriter) {
        let layout = configuration.layoutText
        for slot in 0..<Slots.count {
            writer.section(section("slot", slot), layout: "lockstep slot 1: tokens, actors, pairs; " + layout) {
                tokens[slot].write(to: &$0)
                actors[slot].write(to: &$0)
                pairs[slot].write(to: &$0)
            }
        }
        writer.section(section("rings"), layout: "lockstep rings 2: rings, population, sweep; " + layout) {
            rings.write(to: &$0)
            population.write(to: &$0)
            $0.put(sweptTo)
            $0.put(nextSwept)
            $0.put(forgotten)
        }
    }

    /// Takes the place of what is here.
    mutating func read(from reader: StateReader) throws(StateError) {
        let layout = configuration.layoutText
        for slot in 0..<Slots.count {
            var source = try reader.open(
                section("slot", slot),
                layout: "lockstep slot 1: tokens, actors, pairs; " + layout
            )
            try tokens[slot].read(from: &source)
            try actors[slot].read(from: &source)
            try pairs[slot].read(from: &source)
            try source.finish()
        }
        var source = try reader.open(section("rings"), layout: "lockstep rings 2: rings, population, sweep; " + layout)
        try rings.read(from: &source)
        try population.read(from: &source)
        sweptTo = try source.take()
        try Lockstep.check(times: sweptTo == .min ? 0 : sweptTo)
        nextSwept = try source.takeCount("slot to be swept", in: 0...Slots.count - 1, bytesEach: 0)
        forgotten = try source.take()
        try StateError.require(forgotten <= Lockstep.times.upperBound, "the time \(forgotten)")
        try source.finish()
    }

    private func section(_ part: String, _ slot: Int = 0) -> StateSection {
        StateSection(.detector, slot: slot, owner: configuration.name, part: part)
    }

    func checkInvariants() throws(StateError) {
        for slot in 0..<Slots.count {
            try tokens[slot].checkInvariants()
            try actors[slot].checkInvariants()
            try pairs[slot].checkInvariants()
        }
        try rings.checkInvariants()
    }

    /// Folds all that decides later results, of the open tick too.
    public func digest(into digest: inout UInt64) {
        for slot in 0..<Slots.count {
            tokens[slot].digest(into: &digest)
            actors[slot].digest(into: &digest)
            pairs[slot].digest(into: &digest)
        }
        rings.digest(into: &digest)
        population.digest(into: &digest)
        digest = SplitMix64.mix(digest ^ UInt64(bitPattern: sweptTo) ^ UInt64(nextSwept) << 58)
        digest = SplitMix64.mix(digest ^ UInt64(bitPattern: forgotten))
    }
}

extension Lockstep {
    /// So far from the ends of their type that no sum or difference of two leaves it.
    static let times: ClosedRange<Int64> = .min / 4 ... .max / 4

    /// Throws when a time, or the number of a window, is not one of ``times``.
    static func check(times: Int64...) throws(StateError) {
        for time in times { try StateError.require(Lockstep.times.contains(time), "the time \(time)") }
    }
}

extension LockstepConfiguration {
    /// The settings by which a state means what it means, in words; what is missing here may change between two states.
    fileprivate var layoutText: String {
        """
        seed \(seed), windows of \(window) ms, memory \(memory) ms, baseline \(baselineLife) ms, \(minimumActors) actors of \(minimumTargets) targets, \
        chances \(hotChance) and \(pairChance), population \(smallestPopulation), at most \(limits.targets) targets, \
        \(limits.targetMemberWords) words of them, \(limits.nameBytes) bytes of names, \(limits.actors) actors, \(limits.actorTokenWords) words, \
        \(limits.pairs) pairs, \(limits.pairMemberWords) words, \(limits.names) names, \(limits.rings) rings, \(limits.ringMembers) members, \
        \(limits.membersPerRing) in a ring, \(limits.actsLookedBackTo) acts of which \(lookBack) are one's
        """
    }
}

extension LockstepCounters {
    /// Writes each as u64, in the order of their declaration.
    func write(to sink: inout some StateSink) { sink.put(self) }

    init(from source: inout some StateSource) throws(StateError) {
        self.init()
        self = try source.take()
        for count in [
            records, late, hotTokens, tokenEmissions, pairEmissions, acceptedPairs, ringsOpened, ringsClosed,
            evictedTargets, evictedActors, evictedPairs, evictedRings, forgottenActs, droppedMembers,
        ] { try StateError.require((0...Int64.max / 1024).contains(count), "something was counted \(count) times") }
    }
}
