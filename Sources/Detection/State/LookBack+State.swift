import Models

extension LookBack {
    /// Writes u64 events kept, u64 places ever used, u32 first free place, u32 0, then the entities and the places.
    func write(to sink: inout some StateSink) {
        sink.put(count)
        sink.put(used)
        sink.put(free)
        sink.put(UInt32(0))
        entities.write(to: &sink)
        sink.put(UnsafePointer(entries.base), count: used)
    }

    /// Takes the place of what is here.
    mutating func read(from source: inout some StateSource) throws(StateError) {
        let count = try source.takeCount("events looked back to", in: 0...limit, bytesEach: 0)
        let used = try source.takeCount(
            "places of events",
            in: count...limit,
            bytesEach: MemoryLayout<Entry>.stride
        )
        free = try source.take()
        try StateError.require(try source.take(UInt32.self) == 0, "a look-back has a number more")
        try entities.read(from: &source)
        entries.grow(to: used)
        (self.count, self.used) = (count, used)
        try source.take(into: entries.base, count: used)
        try checkInvariants()
    }

    /// Every place ever used is one entity's or free, and once; an entity's are as many as it says.
    func checkInvariants() throws(StateError) {
        try entities.checkInvariants()
        var census = BlockCensus(units: used)
        var kept = 0
        var row = entities.oldest
        while row != .max {
            let entity = entities[row].pointee
            try StateError.require(
                (1...max(1, perEntity)).contains(Int(entity.count)),
                "an entity looks back to \(entity.count) events"
            )
            var place = entity.oldest
            for n in 1...Int(entity.count) {
                try census.claim(Int(place), 1, "an event looked back to")
                try StateError.require(entries[Int(place)].event.isSound, "an event's id is of no length")
                if n == Int(entity.count) {
                    try StateError.require(place == entity.newest, "an entity's newest event is another")
                }
                place = entries[Int(place)].newer
            }
            kept += Int(entity.count)
            row = entities.newer(row)
        }
        try StateError.require(kept == count, "\(kept) events are looked back to, not \(count)")
        var place = free
        while place != .max {
            try census.claim(Int(place), 1, "a free place")
            place = entries[Int(place)].newer
            kept += 1
        }
        try StateError.require(kept == used, "\(kept) places are somebody's or free, of \(used)")
    }

    /// Folds what is lent later, by the entities' age: where it lies in memory leaves no trace.
    func digest(into digest: inout UInt64) {
        digest = SplitMix64.mix(digest ^ UInt64(count))
        var row = entities.oldest
        while row != .max {
            digest = SplitMix64.mix(digest ^ entities.key(row))
            forEach(of: entities.key(row)) { event in
                withUnsafeBytes(of: event) { SplitMix64.fold($0, into: &digest) }
            }
            row = entities.newer(row)
        }
    }
}
