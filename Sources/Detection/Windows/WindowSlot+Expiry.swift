import Models

/// Expiry and limits: keys that no window can see any more, and keys that give way to new ones.
extension WindowSlot {
    /// Looks at as many buckets as the epoch had accesses, and drops keys that no window can see any more; no stream is rewound.
    mutating func sweep(watermark: Int64) {
        let accesses = unswept
        unswept = 0
        guard accesses > 0, watermark > .min else { return }
        for t in 0..<program.tableCount {
            var left = min(accesses / program.tableCount + 1, tables[t].mask + 1)
            var at = sweepAt[t] & tables[t].mask
            while left > 0 {
                left -= 1
                let bucket = tables[t].buckets[at]
                // Removing shifts a later key into this bucket: look at it again.
                if bucket.key != 0, expire(t, bucket.ref, watermark: watermark) {
                    tables[t].remove(at: at)
                    continue
                }
                at = (at &+ 1) & tables[t].mask
            }
            sweepAt[t] = at
        }
    }

    /// Gives back the streams of a key that no window can see; returns whether nothing is left.
    private mutating func expire(_ number: Int, _ record: UInt32, watermark: Int64) -> Bool {
        let table = program.tables[number]
        var isEmpty = true
        for s in 0..<table.streamCount {
            let state = state(table, record, s)
            if state == 0 { continue }
            let stream = program.streams + table.streams[s]
            if isExpired(stream, state, watermark: watermark) {
                release(stream, state)
                if !table.isDirect { arena.cells(record)[s] = UInt32(0) }
            } else {
                isEmpty = false
            }
        }
        if isEmpty, !table.isDirect { arena.release(record, bytes: table.streamCount * MemoryLayout<UInt32>.stride) }
        return isEmpty
    }

    private func isExpired(_ program: UnsafePointer<WindowProgram.Stream>, _ state: UInt32, watermark: Int64) -> Bool {
        let stream = WindowStream(program, state, arena)
        return stream.tail == stream.base || stream.timeOf(stream.tail &- 1) <= watermark &- program.pointee.longest
    }

    /// Makes room for one key: of the next 64 keys of the sweep, the one with the fewest entries, the longest quiet among equals.
    ///
    /// Busy keys are never given up for one-time ones, so a flood of new keys evicts itself.
    mutating func evict(_ table: Int, _ rewinds: inout WindowRewinds) {
        var at = sweepAt[table] & tables[table].mask
        var best: (index: Int, entries: UInt32, newest: Int64)?
        var seen = 0
        while seen < 64 {
            let bucket = tables[table].buckets[at]
            if bucket.key != 0 {
                seen += 1
                let (entries, newest) = activity(table, bucket.ref, rewinds)
                if best.map({ entries < $0.entries || (entries == $0.entries && newest < $0.newest) }) ?? true {
                    best = (at, entries, newest)
                }
            }
            at = (at &+ 1) & tables[table].mask
        }
        sweepAt[table] = at
        guard let best else { return }
        counters.evictedKeys += 1
        endRewinds(of: tables[table].buckets[best.index].ref, program.tables[table], &rewinds)
        _ = expire(table, tables[table].buckets[best.index].ref, watermark: .max / 2)
        tables[table].remove(at: best.index)
    }

    private func activity(
        _ number: Int,
        _ record: UInt32,
        _ rewinds: borrowing WindowRewinds
    ) -> (entries: UInt32, newest: Int64) {
        let table = program.tables[number]
        var entries: UInt32 = 0
        var newest = Int64.min
        for s in 0..<table.streamCount {
            let state = state(table, record, s)
            if state == 0 { continue }
            let header: StreamHeader = arena.cells(state).pointee
            entries &+= header.tail &- header.base
            guard let number = header.rewind else {
                newest = max(newest, header.time)
                continue
            }
            entries &+= UInt32(rewinds[number].entries)
            newest = max(newest, rewinds[number].present)
        }
        return (entries, newest)
    }
}
