/// Distinct values: each entry links back to the previous one with its value, and long streams find that by a map.
///
/// A stream of few entries is scanned; from ``WindowStream/scanLimit`` on a column keeps a map from each value to its newest position. The
/// per-event calls stay in this module, where they are inlined into ``WindowSlot/apply(_:events:rows:rowWidth:signals:watermark:evaluators:)``.
extension WindowSlot {
    /// Finds the previous entry with the tail entry's value, links both, and remembers the newest position.
    @inline(__always)
    mutating func link(
        _ stream: UnsafePointer<WindowProgram.Stream>, _ state: UInt32, _ column: WindowPlan.DistinctColumn
    ) {
        let at = WindowStream(stream, state: arena.pointer(state), arena: arena)
        let tail = at.tail
        let entry = at.entry(tail)
        let value = entry.load(fromByteOffset: column.value, as: UInt64.self)
        var distance: UInt32 = 0
        if at.word(column.map) == 0 {
            let kept = tail &- at.base
            if kept >= WindowStream.scanLimit {
                buildMap(stream, state, column)
                return link(stream, state, column)
            }
            var back: UInt32 = 1
            while back <= kept {
                let other = at.entry(tail &- back)
                if other.load(fromByteOffset: column.value, as: UInt64.self) == value {
                    distance = back
                    break
                }
                back &+= 1
            }
        } else {
            distance = exchangeInMap(state, column, value, tail)
            // The map may have moved the arena.
            let again = WindowStream(stream, state: arena.pointer(state), arena: arena)
            again.entry(tail).storeBytes(of: distance, toByteOffset: column.link, as: UInt32.self)
            if distance != 0 { markRepeated(again, tail &- distance, column) }
            return
        }
        entry.storeBytes(of: distance, toByteOffset: column.link, as: UInt32.self)
        if distance != 0 { markRepeated(at, tail &- distance, column) }
    }

    @inline(__always)
    private func markRepeated(_ at: WindowStream, _ position: UInt32, _ column: WindowPlan.DistinctColumn) {
        let entry = at.entry(position)
        let link = entry.load(fromByteOffset: column.link, as: UInt32.self)
        entry.storeBytes(of: link | WindowStream.repeated, toByteOffset: column.link, as: UInt32.self)
    }

    /// Before the newest entry is undone: its value's newest position becomes the previous one.
    mutating func unlinkNewest(_ stream: UnsafePointer<WindowProgram.Stream>, _ state: UInt32) {
        for d in 0..<stream.pointee.distinctCount {
            let column = stream.pointee.distinct[d]
            let at = WindowStream(stream, state: arena.pointer(state), arena: arena)
            guard at.word(column.map) != 0 else { continue }
            let newest = at.tail &- 1
            let entry = at.entry(newest)
            let value = entry.load(fromByteOffset: column.value, as: UInt64.self)
            let distance = entry.load(fromByteOffset: column.link, as: UInt32.self)
            if distance != 0, distance <= newest &- at.base {
                _ = exchangeInMap(state, column, value, newest &- distance)
            } else {
                eraseFromMap(at.state, column, value)
            }
        }
    }

    // The map of a distinct column: 16-byte cells {u64 value, u32 position, u32 used}, linear probing, at most three quarters full.

    @inline(__always)
    private func mapHome(_ value: UInt64, _ mask: Int) -> Int {
        let product = (value ^ mapSeed).multipliedFullWidth(by: 0x9E37_79B9_7F4A_7C15)
        return Int(truncatingIfNeeded: product.high ^ product.low) & mask
    }

    private mutating func buildMap(
        _ stream: UnsafePointer<WindowProgram.Stream>, _ state: UInt32, _ column: WindowPlan.DistinctColumn
    ) {
        makeMap(state, column, capacity: Int(WindowStream.scanLimit) * 4)
        let at = WindowStream(stream, state: arena.pointer(state), arena: arena)
        var position = at.base
        while position != at.tail {
            let entry = at.entry(position)
            if entry.load(fromByteOffset: column.link, as: UInt32.self) & WindowStream.repeated == 0 {
                put(at.state, column, entry.load(fromByteOffset: column.value, as: UInt64.self), position)
            }
            position &+= 1
        }
    }

    private mutating func makeMap(_ state: UInt32, _ column: WindowPlan.DistinctColumn, capacity: Int) {
        let map = arena.allocate(bytes: capacity * 16)
        arena.pointer(map).initializeMemory(as: UInt8.self, repeating: 0, count: capacity * 16)
        let header = arena.pointer(state)
        header.storeBytes(of: map, toByteOffset: column.map, as: UInt32.self)
        header.storeBytes(of: UInt32(capacity), toByteOffset: column.map + 4, as: UInt32.self)
        header.storeBytes(of: 0, toByteOffset: column.map + 8, as: UInt32.self)
    }

    /// Adds a value that is not in the map; there is room.
    private func put(
        _ header: UnsafeMutableRawPointer, _ column: WindowPlan.DistinctColumn, _ value: UInt64, _ position: UInt32
    ) {
        let cells = arena.pointer(header.load(fromByteOffset: column.map, as: UInt32.self))
        let mask = Int(header.load(fromByteOffset: column.map + 4, as: UInt32.self)) - 1
        var at = mapHome(value, mask)
        while cells.load(fromByteOffset: at &* 16 &+ 12, as: UInt32.self) != 0 { at = (at &+ 1) & mask }
        cells.storeBytes(of: value, toByteOffset: at &* 16, as: UInt64.self)
        cells.storeBytes(of: position, toByteOffset: at &* 16 &+ 8, as: UInt32.self)
        cells.storeBytes(of: 1, toByteOffset: at &* 16 &+ 12, as: UInt32.self)
        let used = header.load(fromByteOffset: column.map + 8, as: UInt32.self)
        header.storeBytes(of: used &+ 1, toByteOffset: column.map + 8, as: UInt32.self)
    }

    /// Sets a value's newest position; answers its distance to the former one, or 0.
    private mutating func exchangeInMap(
        _ state: UInt32, _ column: WindowPlan.DistinctColumn, _ value: UInt64, _ position: UInt32
    ) -> UInt32 {
        let header = arena.pointer(state)
        let cells = arena.pointer(header.load(fromByteOffset: column.map, as: UInt32.self))
        let capacity = Int(header.load(fromByteOffset: column.map + 4, as: UInt32.self))
        var at = mapHome(value, capacity - 1)
        while cells.load(fromByteOffset: at &* 16 &+ 12, as: UInt32.self) != 0 {
            if cells.load(fromByteOffset: at &* 16, as: UInt64.self) == value {
                let former = cells.load(fromByteOffset: at &* 16 &+ 8, as: UInt32.self)
                cells.storeBytes(of: position, toByteOffset: at &* 16 &+ 8, as: UInt32.self)
                return position &- former
            }
            at = (at &+ 1) & (capacity - 1)
        }
        let used = Int(header.load(fromByteOffset: column.map + 8, as: UInt32.self))
        if (used + 1) * 4 > capacity * 3 { growMap(state, column) }
        put(arena.pointer(state), column, value, position)
        return 0
    }

    private mutating func growMap(_ state: UInt32, _ column: WindowPlan.DistinctColumn) {
        let old = arena.pointer(state).load(fromByteOffset: column.map, as: UInt32.self)
        let capacity = Int(arena.pointer(state).load(fromByteOffset: column.map + 4, as: UInt32.self))
        makeMap(state, column, capacity: capacity * 2)
        let from = arena.pointer(old)
        for i in 0..<capacity where from.load(fromByteOffset: i &* 16 &+ 12, as: UInt32.self) != 0 {
            put(
                arena.pointer(state), column, from.load(fromByteOffset: i &* 16, as: UInt64.self),
                from.load(fromByteOffset: i &* 16 &+ 8, as: UInt32.self))
        }
        arena.release(old, bytes: capacity * 16)
    }

    func eraseFromMap(_ header: UnsafeMutableRawPointer, _ column: WindowPlan.DistinctColumn, _ value: UInt64) {
        let cells = arena.pointer(header.load(fromByteOffset: column.map, as: UInt32.self))
        let mask = Int(header.load(fromByteOffset: column.map + 4, as: UInt32.self)) - 1
        var hole = mapHome(value, mask)
        while cells.load(fromByteOffset: hole &* 16 &+ 12, as: UInt32.self) != 0,
            cells.load(fromByteOffset: hole &* 16, as: UInt64.self) != value
        { hole = (hole &+ 1) & mask }
        precondition(cells.load(fromByteOffset: hole &* 16 &+ 12, as: UInt32.self) != 0, "a kept value is in its map")
        var at = (hole &+ 1) & mask
        while cells.load(fromByteOffset: at &* 16 &+ 12, as: UInt32.self) != 0 {
            let home = mapHome(cells.load(fromByteOffset: at &* 16, as: UInt64.self), mask)
            if (at &- home) & mask >= (at &- hole) & mask {
                (cells + hole &* 16).copyMemory(from: cells + at &* 16, byteCount: 16)
                hole = at
            }
            at = (at &+ 1) & mask
        }
        (cells + hole &* 16).initializeMemory(as: UInt8.self, repeating: 0, count: 16)
        let used = header.load(fromByteOffset: column.map + 8, as: UInt32.self)
        header.storeBytes(of: used &- 1, toByteOffset: column.map + 8, as: UInt32.self)
    }
}
