import Models

extension LockstepActorSlot {
    /// Writes the counters, the actors and the blocks of their tokens.
    func write(to sink: inout some StateSink) {
        counters.write(to: &sink)
        actors.write(to: &sink)
        blocks.write(to: &sink)
    }

    /// Takes the place of what is here.
    mutating func read(from source: inout some StateSource) throws(StateError) {
        counters = try LockstepCounters(from: &source)
        try actors.read(from: &source)
        try blocks.read(from: &source)
        try checkInvariants()
    }

    /// Every block of tokens is one actor's or free.
    func checkInvariants() throws(StateError) {
        try actors.checkInvariants()
        var census = try blocks.census()
        var row = actors.oldest
        while row != .max {
            let actor = actors[row].pointee
            try Lockstep.check(times: actor.lastTime, actor.announcedTime == .min ? 0 : actor.announcedTime)
            let filled = Int(actor.filled)
            try StateError.require(
                filled <= Lockstep.tokensPerActor && actor.next < Lockstep.tokensPerActor
                    && (filled == Lockstep.tokensPerActor || actor.next == 0),
                "an actor has \(filled) tokens"
            )
            try StateError.require(
                (actor.block == MemberBlocks.none) == (filled == 0),
                "an actor has tokens without a block"
            )
            if filled > 0 {
                try blocks.claim(
                    actor.block,
                    sizeClass: actor.sizeClass,
                    members: filled,
                    in: &census,
                    "an actor's tokens"
                )
                let size = MemberBlocks.size(Int(actor.sizeClass))
                for i in 0..<filled {
                    let words = blocks.words + Int(actor.block) + i
                    try Lockstep.check(
                        times: Int64(bitPattern: words[2 * size]),
                        Int64(bitPattern: words[3 * size])
                    )
                    try StateError.require(words[4 * size] <= UInt32.max, "a token of too many actors")
                }
            }
            row = actors.newer(row)
        }
        try blocks.checkFreeBlocks(&census)
        try census.checkComplete("the actors' tokens")
    }

    /// Folds all that decides later results, the actor touched longest ago first.
    func digest(into digest: inout UInt64) {
        var row = actors.oldest
        while row != .max {
            let actor = actors[row].pointee
            for word in [
                actors.key(row), UInt64(bitPattern: actor.lastTime), UInt64(bitPattern: actor.announcedTime),
                UInt64(actor.filled) << 32 | UInt64(actor.next),
            ] { digest = SplitMix64.mix(digest ^ word) }
            let size = MemberBlocks.size(Int(actor.sizeClass))
            for column in 0..<5 where actor.filled > 0 {
                SplitMix64.fold(
                    UnsafeRawBufferPointer(
                        start: blocks.words + Int(actor.block) + column * size,
                        count: 8 * Int(actor.filled)
                    ),
                    into: &digest
                )
            }
            row = actors.newer(row)
        }
    }
}
