import Models

extension LockstepPairSlot {
    /// Writes the counters, the pairs and the blocks of their members.
    func write(to sink: inout some StateSink) {
        counters.write(to: &sink)
        pairs.write(to: &sink)
        blocks.write(to: &sink)
    }

    /// Takes the place of what is here.
    mutating func read(from source: inout some StateSource) throws(StateError) {
        counters = try LockstepCounters(from: &source)
        try pairs.read(from: &source)
        try blocks.read(from: &source)
        try checkInvariants()
    }

    /// Every member block is one pair's or free.
    func checkInvariants() throws(StateError) {
        try pairs.checkInvariants()
        var census = try blocks.census()
        var row = pairs.oldest
        while row != .max {
            let pair = pairs[row].pointee
            try Lockstep.check(times: pair.startA, pair.startB, pair.firstTime, pair.lastTime)
            try StateError.require(
                pair.stored <= Lockstep.actorsPerPair && pair.isAccepted <= 1,
                "a pair has \(pair.stored) members"
            )
            try StateError.require(
                (pair.block == MemberBlocks.none) == (pair.stored == 0),
                "a pair has members without a block"
            )
            if pair.stored > 0 {
                try blocks.claim(
                    pair.block,
                    sizeClass: pair.sizeClass,
                    members: Int(pair.stored),
                    in: &census,
                    "a pair's members"
                )
                for member in 0..<Int(pair.stored) {
                    try StateError.require(blocks.words[Int(pair.block) + member] != 0, "a pair's member is nobody")
                }
            }
            row = pairs.newer(row)
        }
        try blocks.checkFreeBlocks(&census)
        try census.checkComplete("the pairs' members")
    }

    /// Folds all that decides later results, the pair touched longest ago first.
    func digest(into digest: inout UInt64) {
        var row = pairs.oldest
        while row != .max {
            let pair = pairs[row].pointee
            for word in [
                pairs.key(row), pair.targetA, pair.targetB, UInt64(bitPattern: pair.startA),
                UInt64(bitPattern: pair.startB),
                UInt64(bitPattern: pair.firstTime), UInt64(bitPattern: pair.lastTime),
                UInt64(pair.countA) << 32 | UInt64(pair.countB), UInt64(pair.stored) << 1 | UInt64(pair.isAccepted),
            ] { digest = SplitMix64.mix(digest ^ word) }
            if pair.block != MemberBlocks.none {
                SplitMix64.fold(
                    UnsafeRawBufferPointer(start: blocks.words + Int(pair.block), count: 8 * Int(pair.stored)),
                    into: &digest
                )
            }
            row = pairs.newer(row)
        }
    }
}
