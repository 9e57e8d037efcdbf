import Models

extension LockstepTokenSlot {
    /// Writes the counters, the targets, their member blocks and the names.
    func write(to sink: inout some StateSink) {
        counters.write(to: &sink)
        targets.write(to: &sink)
        blocks.write(to: &sink)
        names.write(to: &sink)
    }

    /// Takes the place of what is here.
    mutating func read(from source: inout some StateSource) throws(StateError) {
        counters = try LockstepCounters(from: &source)
        try targets.read(from: &source)
        try blocks.read(from: &source)
        try names.read(from: &source)
        try checkInvariants()
    }

    /// Windows and baselines are such as can be; every member block is one token's or free.
    func checkInvariants() throws(StateError) {
        try targets.checkInvariants()
        try names.checkInvariants()
        var census = try blocks.census()
        var row = targets.oldest
        while row != .max {
            let target = targets[row].pointee
            try Lockstep.check(times: target.closed, target.newest, target.lastTime)
            try StateError.require((0..<window).contains(target.shift), "windows shifted by \(target.shift) ms")
            try StateError.require(
                (0...1e15).contains(target.sum) && (0...1e15).contains(target.weight),
                "a target's baseline is no mean"
            )
            try check(target.even, parity: 0, newest: target.newest, &census)
            try check(target.odd, parity: 1, newest: target.newest, &census)
            row = targets.newer(row)
        }
        try blocks.checkFreeBlocks(&census)
        try census.checkComplete("the targets' members")
    }

    private func check(_ token: Token, parity: Int64, newest: Int64, _ census: inout BlockCensus) throws(StateError) {
        try StateError.require(
            token.bucket == .min || (token.bucket & 1 == parity && token.bucket <= newest),
            "a token of another window"
        )
        try StateError.require(
            token.stored <= Lockstep.actorsPerToken && token.stored <= token.count && token.isHot <= 1
                && token.hotAt >= token.isHot,
            "a token of \(token.count) actors has \(token.stored)"
        )
        try StateError.require(
            (token.block == MemberBlocks.none) == (token.stored == 0),
            "a token has members without a block"
        )
        if token.stored == 0 { return }
        try blocks.claim(
            token.block,
            sizeClass: token.sizeClass,
            members: Int(token.stored),
            in: &census,
            "a token's members"
        )
        let size = MemberBlocks.size(Int(token.sizeClass))
        for member in 0..<Int(token.stored) {
            let words = blocks.words + Int(token.block) + member
            try StateError.require(words[0] != 0, "a token's member is nobody")
            try Lockstep.check(times: Int64(bitPattern: words[size]))
        }
    }

    /// Folds all that decides later results, the target touched longest ago first.
    func digest(into digest: inout UInt64) {
        var row = targets.oldest
        while row != .max {
            let target = targets[row].pointee
            digest = SplitMix64.mix(digest ^ targets.key(row))
            for word in [
                target.sum.bitPattern, target.weight.bitPattern, UInt64(bitPattern: target.closed),
                UInt64(bitPattern: target.newest), UInt64(bitPattern: target.lastTime),
            ] { digest = SplitMix64.mix(digest ^ word) }
            self.digest(target.even, into: &digest)
            self.digest(target.odd, into: &digest)
            row = targets.newer(row)
        }
        names.digest(into: &digest)
    }

    private func digest(_ token: Token, into digest: inout UInt64) {
        digest = SplitMix64.mix(digest ^ UInt64(bitPattern: token.bucket))
        digest = SplitMix64.mix(digest ^ UInt64(token.count) << 32 ^ UInt64(token.hotAt) << 1 ^ UInt64(token.isHot))
        guard token.block != MemberBlocks.none else { return }
        let size = MemberBlocks.size(Int(token.sizeClass))
        for column in 0..<3 {
            SplitMix64.fold(
                UnsafeRawBufferPointer(
                    start: blocks.words + Int(token.block) + column * size,
                    count: 8 * Int(token.stored)
                ),
                into: &digest
            )
        }
    }
}
