import Models

extension RecentIds {
    /// Of which settings a state is.
    static func layoutText(over: Int64, limit: Int) -> String {
        "ids 1: evicted u64, lines u64, lines of 4; each: key u64, time i64; over \(over) ms, \(limit) a slot"
    }

    /// Writes u64 ids evicted, u64 lines, then the lines: four times u64 key, i64 time of the first sighting.
    func write(to sink: inout some StateSink) {
        sink.put(evicted)
        sink.put(lines)
        sink.put(UnsafePointer(places), count: lines * RecentIds.line)
    }

    /// Takes the place of what is here; whether the ids are this slot's is the owner's to check.
    mutating func read(from source: inout some StateSource) throws(StateError) {
        evicted = try source.takeCount("ids evicted", in: 0...Int.max / 2, bytesEach: 0)
        let written = try source.takeCount(
            "lines of ids",
            in: linesAllowed,
            bytesEach: RecentIds.line * MemoryLayout<Entry>.stride
        )
        lay(lines: written)
        try source.take(into: places, count: lines * RecentIds.line)
        count = 0
        for place in 0..<lines * RecentIds.line where places[place].key != 0 { count += 1 }
        try checkInvariants()
    }

    /// Folds the ids and their times in no order of their places, and how many lines there are: by that it is decided when ids
    /// that are forgotten give their places back, and so which others a full table forgets.
    func digest(into digest: inout UInt64) {
        var sum = UInt64(count)
        forEach { sum &+= SplitMix64.mix(SplitMix64.mix($0.key) ^ UInt64(bitPattern: $0.time)) }
        digest = SplitMix64.mix(SplitMix64.mix(digest ^ sum) ^ UInt64(lines))
    }
}
