/// Expiry and limits: keys that no window can see any more, and keys that give way to new ones.
extension WindowSlot {
    /// Looks at as many buckets as the epoch had visits, and drops keys that no window can see any more.
    mutating func sweep(watermark: Int64) {
        let visits = unswept
        unswept = 0
        guard visits > 0, watermark > .min else { return }
        for t in 0..<program.tableCount {
            var left = min(visits / program.tableCount + 1, tables[t].mask + 1)
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

    /// Gives back the streams of a key that no window can see; answers whether nothing is left.
    private mutating func expire(_ table: Int, _ record: UInt32, watermark: Int64) -> Bool {
        let plan = program.tables[table]
        if plan.streamCount == 1 {
            let stream = program.streams + plan.streams[0]
            guard isExpired(stream, record, watermark: watermark) else { return false }
            release(stream, record)
            return true
        }
        var isEmpty = true
        for s in 0..<plan.streamCount {
            let state = arena.pointer(record).load(fromByteOffset: s &* 4, as: UInt32.self)
            if state == 0 { continue }
            let stream = program.streams + plan.streams[s]
            if isExpired(stream, state, watermark: watermark) {
                release(stream, state)
                arena.pointer(record).storeBytes(of: 0, toByteOffset: s &* 4, as: UInt32.self)
            } else {
                isEmpty = false
            }
        }
        if isEmpty { arena.release(record, bytes: plan.streamCount * 4) }
        return isEmpty
    }

    private func isExpired(_ stream: UnsafePointer<WindowProgram.Stream>, _ state: UInt32, watermark: Int64) -> Bool {
        let at = WindowStream(stream, state: arena.pointer(state), arena: arena)
        return at.tail == at.base || at.timeOf(at.tail &- 1) <= watermark &- stream.pointee.longest
    }

    private mutating func release(_ stream: UnsafePointer<WindowProgram.Stream>, _ state: UInt32) {
        let at = WindowStream(stream, state: arena.pointer(state), arena: arena)
        if stream.pointee.hasTexts {
            var position = at.base
            while position != at.tail {
                for c in 0..<stream.pointee.columnCount where stream.pointee.columns[c].text >= 0 {
                    arena.release(
                        at.entry(position).load(fromByteOffset: stream.pointee.columns[c].text, as: UInt32.self),
                        bytes: WindowStream.textBytes + 4)
                }
                position &+= 1
            }
        }
        for d in 0..<stream.pointee.distinctCount where at.word(stream.pointee.distinct[d].map) != 0 {
            arena.release(
                at.word(stream.pointee.distinct[d].map), bytes: Int(at.word(stream.pointee.distinct[d].map + 4)) * 16)
        }
        let capacity = at.word(4)
        if capacity > 0 { arena.release(at.word(0), bytes: Int(capacity) * stream.pointee.entryBytes) }
        arena.release(state, bytes: stream.pointee.stateBytes)
    }

    /// Makes room for one key: of the next 64 keys of the sweep, the one with the fewest entries, the longest quiet among equals.
    ///
    /// Busy keys are never given up for one-time ones, so a flood of new keys evicts itself.
    mutating func evict(_ table: Int, watermark: Int64) {
        var at = sweepAt[table] & tables[table].mask
        var best: (index: Int, entries: UInt32, newest: Int64)?
        var seen = 0
        while seen < 64 {
            let bucket = tables[table].buckets[at]
            if bucket.key != 0 {
                seen += 1
                let (entries, newest) = activity(table, bucket.ref)
                if best.map({ entries < $0.entries || (entries == $0.entries && newest < $0.newest) }) ?? true {
                    best = (at, entries, newest)
                }
            }
            at = (at &+ 1) & tables[table].mask
        }
        sweepAt[table] = at
        guard let best else { return }
        counters.evictedKeys += 1
        _ = expire(table, tables[table].buckets[best.index].ref, watermark: .max / 2)
        tables[table].remove(at: best.index)
    }

    private func activity(_ table: Int, _ record: UInt32) -> (entries: UInt32, newest: Int64) {
        let plan = program.tables[table]
        var entries: UInt32 = 0
        var newest = Int64.min
        for s in 0..<plan.streamCount {
            let state =
                plan.streamCount == 1 ? record : arena.pointer(record).load(fromByteOffset: s &* 4, as: UInt32.self)
            if state == 0 { continue }
            let at = WindowStream(program.streams + plan.streams[s], state: arena.pointer(state), arena: arena)
            entries &+= at.tail &- at.base
            newest = max(newest, at.time)
        }
        return (entries, newest)
    }
}
