extension HalfSpaceTrees {
    /// Writes u64 fold of the cuts, u64 points of the running window, u64 1 when there is a reference, then per tree and leaf u32
    /// points of the running window, and likewise of the reference.
    ///
    /// Cuts follow from the seed, and all other masses from the leaves'.
    public func write(to sink: inout some StateSink) {
        sink.put(cutsFold)
        sink.put(filled)
        sink.put(isWarm ? 1 : 0)
        sink.put(UnsafePointer(latest.base), count: trees * leaves)
        for tree in 0..<trees { sink.put(UnsafePointer(reference(tree)), count: leaves) }
    }

    /// Takes the place of what is here; the trees must have been drawn by the same seed.
    public mutating func read(from source: inout some StateSource) throws(StateError) {
        try StateError.require(
            try source.take(UInt64.self) == cutsFold,
            "the trees have other cuts: another seed drew them"
        )
        filled = try source.takeCount("points of the running window", in: 0...window - 1, bytesEach: 0)
        isWarm = try source.takeCount("references", in: 0...1, bytesEach: 0) == 1
        try source.take(into: latest.base, count: trees * leaves)
        for tree in 0..<trees { try source.take(into: reference(tree), count: leaves) }
        try checkInvariants()
        for tree in 0..<trees { sumMasses(tree) }
    }

    /// Each tree has each point of a window in one leaf.
    public func checkInvariants() throws(StateError) {
        for tree in 0..<trees {
            var (running, finished) = (0, 0)
            for leaf in 0..<leaves {
                running += Int(latest[tree * leaves + leaf])
                finished += Int(reference(tree)[leaf])
            }
            try StateError.require(
                running == filled,
                "a tree has \(running) points of the running window, and there are \(filled)"
            )
            try StateError.require(
                finished == (isWarm ? window : 0),
                "a tree has \(finished) points of the reference window"
            )
        }
    }

    /// Folds all that decides later scores.
    public func digest(into digest: inout UInt64) {
        digest = SplitMix64.mix(digest ^ cutsFold)
        SplitMix64.fold(
            UnsafeRawBufferPointer(UnsafeBufferPointer(start: heavier.base, count: trees * leaves)),
            into: &digest
        )
        SplitMix64.fold(
            UnsafeRawBufferPointer(UnsafeBufferPointer(start: latest.base, count: trees * leaves)),
            into: &digest
        )
        SplitMix64.fold(
            UnsafeRawBufferPointer(UnsafeBufferPointer(start: pathMass.base, count: trees * leaves)),
            into: &digest
        )
        digest = SplitMix64.mix(digest ^ UInt64(filled) << 1 ^ (isWarm ? 1 : 0))
    }

    private var cutsFold: UInt64 {
        var fold: UInt64 = 0
        SplitMix64.fold(
            UnsafeRawBufferPointer(UnsafeBufferPointer(start: cuts.base, count: trees * leaves)),
            into: &fold
        )
        return fold
    }

    /// The leaves' masses of the last full window.
    private func reference(_ tree: Int) -> UnsafeMutablePointer<UInt32> { masses.base + (2 * tree + 1) * leaves }
}
