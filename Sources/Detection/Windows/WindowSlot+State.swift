import Models
import RuleLanguage

extension WindowSlot {
    /// Writes where the sweep stands (u64 number of tables, u64 each, u64 accesses not swept for), the counters, the arena and the
    /// key tables.
    func write(to sink: inout some StateSink) {
        sink.put(counted: sweepAt)
        sink.put(unswept)
        for count in [
            counters.truncatedEntries, counters.evictedKeys, counters.outOfOrder, counters.movedEntries,
        ] {
            sink.put(count)
        }
        arena.write(to: &sink)
        for t in tables.indices { tables[t].write(to: &sink) }
    }

    /// Takes the place of what is here.
    ///
    /// Whatever was read, all that the slot will follow lies inside it; that sums and counts are right is for the checksum to say.
    mutating func read(from source: inout some StateSource) throws(StateError) {
        sweepAt = try source.takeCounted("places of sweeps", limit: tables.count)
        try StateError.require(
            sweepAt.count == tables.count && sweepAt.allSatisfy { $0 >= 0 },
            "the sweep stands in other tables"
        )
        func count() throws(StateError) -> Int {
            try source.takeCount("what a slot has counted", in: 0...Int.max / 2, bytesEach: 0)
        }
        unswept = try count()
        counters.truncatedEntries = try count()
        counters.evictedKeys = try count()
        counters.outOfOrder = try count()
        counters.movedEntries = try count()
        try arena.read(from: &source)
        for t in tables.indices { try tables[t].read(from: &source) }
        try checkStructure()
    }

    /// Folds all keys and what their streams hold, in no order of the keys.
    ///
    /// Where a key or a block lies, how much room there is, and where the sweep stands is not folded: that decides when memory is
    /// given back and, at a table's limit, which of two quiet keys goes first.
    func digest(into digest: inout UInt64) {
        for t in tables.indices {
            let table = program.tables[t]
            var sum = UInt64(tables[t].count)
            for at in 0...tables[t].mask where tables[t].buckets[at].key != 0 {
                var folded = SplitMix64.mix(tables[t].buckets[at].key)
                for s in 0..<table.streamCount {
                    let state = state(table, tables[t].buckets[at].ref, s)
                    folded = SplitMix64.mix(folded ^ (state == 0 ? 0 : 1))
                    if state == 0 { continue }
                    WindowStream(program.streams + table.streams[s], state, arena).digest(arena, into: &folded)
                }
                sum &+= folded
            }
            digest = SplitMix64.mix(digest ^ sum)
        }
    }
}

extension WindowStream {
    /// Folds the heads and accumulators, and of each entry its time, values, links and texts.
    func digest(_ arena: borrowing Arena, into digest: inout UInt64) {
        let stream = program.pointee
        digest = SplitMix64.mix(digest ^ UInt64(base) << 32 ^ UInt64(tail))
        digest = SplitMix64.mix(digest ^ UInt64(bitPattern: header.pointee.time))
        var at = MemoryLayout<StreamHeader>.size
        while at < stream.stateBytes {
            // Maps are made of the entries.
            let isMap = (0..<stream.distinctCount).contains { stream.distinct[$0].map == at }
            if !isMap { digest = SplitMix64.mix(digest ^ UInt64(word(at))) }
            at += isMap ? MemoryLayout<MapHeader>.size : 4
        }
        var position = base
        while position != tail {
            let entry = entry(position)
            digest = SplitMix64.mix(digest ^ UInt64(bitPattern: WindowStream.time(entry)))
            for c in 0..<stream.columnCount {
                let column = stream.columns[c]
                digest = SplitMix64.mix(digest ^ entry.load(fromByteOffset: column.value, as: UInt64.self))
                if column.text < 0 { continue }
                let text: UnsafeMutablePointer<KeptText> = arena.cells(
                    entry.load(fromByteOffset: column.text, as: UInt32.self)
                )
                SplitMix64.fold(
                    UnsafeRawBufferPointer(start: text + 1, count: Int(text.pointee.length)),
                    into: &digest
                )
            }
            for d in 0..<stream.distinctCount {
                digest = SplitMix64.mix(digest ^ UInt64(WindowStream.link(stream.distinct[d], entry).pointee))
            }
            for e in 0..<stream.extremeCount {
                digest = SplitMix64.mix(digest ^ UInt64(WindowStream.links(stream.extremes[e], entry).pointee.older))
            }
            position &+= 1
        }
    }
}
