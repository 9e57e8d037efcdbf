import Models

// The open tick is state: its scored events are learnt when it ends. That it had others between them is not.
extension AnomalyScorer {
    /// Writes the trees, the ranges, u64 events learnt, u64 scored events of the open tick, then their f64 numbers and, where the
    /// ranges are known, their u16 leaves, both event by event.
    func write(to sink: inout some StateSink) {
        trees.write(to: &sink)
        scaler.write(to: &sink)
        sink.put(learnt)
        var count = 0
        forEachScored { _ in count += 1 }
        sink.put(count)
        forEachScored { sink.put(UnsafePointer(values.base + $0 * featureCount), count: featureCount) }
        if knowsRanges { forEachScored { sink.put(UnsafePointer(places.base + $0 * treeCount), count: treeCount) } }
    }

    /// Takes the place of what is here, which must have the same settings.
    mutating func read(from source: inout some StateSource) throws(StateError) {
        try trees.read(from: &source)
        try scaler.read(from: &source)
        learnt = Int64(try source.takeCount("events learnt", in: 0...Int.max / 2, bytesEach: 0))
        (earlier, rows) = (0, 0)
        let count = try source.takeCount(
            "scored events of a tick",
            in: 0...TickClock.eventsMax,
            bytesEach: MemoryLayout<Double>.size * featureCount
        )
        begin(rows: count)
        used.base.update(repeating: 1, count: count)
        try source.take(into: values.base, count: count * featureCount)
        if knowsRanges { try source.take(into: places.base, count: count * treeCount) }
        try checkInvariants()
    }

    /// What is kept of the open tick lies inside the trees.
    func checkInvariants() throws(StateError) {
        try trees.checkInvariants()
        try StateError.require(!isWarm || knowsRanges, "there is a reference before the ranges are known")
        guard knowsRanges else { return }
        var highest: UInt16 = 0
        forEachScored { row in
            for tree in 0..<treeCount { highest = max(highest, places[row * treeCount + tree]) }
        }
        try StateError.require(Int(highest) < 1 << trees.depth, "an event fell into leaf \(highest)")
    }

    /// Folds all that decides later scores.
    func digest(into digest: inout UInt64) {
        trees.digest(into: &digest)
        scaler.digest(into: &digest)
        digest = SplitMix64.mix(digest ^ UInt64(bitPattern: learnt))
        var folded = digest
        forEachScored { row in
            for f in 0..<featureCount { folded = SplitMix64.mix(folded ^ values[row * featureCount + f].bitPattern) }
            for tree in 0..<(knowsRanges ? treeCount : 0) {
                folded = SplitMix64.mix(folded ^ UInt64(places[row * treeCount + tree]))
            }
        }
        digest = folded
    }

    private func forEachScored(_ body: (_ row: Int) -> Void) { for row in 0..<rows where used[row] != 0 { body(row) } }
}
