import Models

extension OldestFirstTable {
    /// Writes u64 rows in use, u64 rows ever used, u32 oldest, newest and first free row, u32 0, then the columns: rows, u64 keys,
    /// u32 older and newer.
    func write(to sink: inout some StateSink) {
        sink.put(count)
        sink.put(used)
        for word in [oldest, newest, free, 0] { sink.put(word) }
        sink.put(UnsafePointer(rows), count: used)
        sink.put(UnsafePointer(keys), count: used)
        sink.put(UnsafePointer(links), count: used)
    }

    /// Takes the place of what is here; what the rows say is the owner's to check.
    mutating func read(from source: inout some StateSource) throws(StateError) {
        let count = try source.takeCount("rows of a table", in: 0...limit, bytesEach: 0)
        let used = try source.takeCount(
            "rows of a table",
            in: count...limit,
            bytesEach: MemoryLayout<Row>.stride + 16
        )
        let (oldest, newest, free): (UInt32, UInt32, UInt32) = (try source.take(), try source.take(), try source.take())
        try StateError.require(try source.take(UInt32.self) == 0, "a table has a number more")
        hold(used)
        (self.count, self.used, self.oldest, self.newest, self.free) = (count, used, oldest, newest, free)
        try source.take(into: rows, count: used)
        try source.take(into: keys, count: used)
        try source.take(into: links, count: used)
        try checkLinks()
        var row = self.oldest
        while row != Self.none {
            place(row)
            row = links[Int(row)].newer
        }
        try checkCells()
    }

    /// Makes room for so many rows, of undefined content, and empties the cells.
    private mutating func hold(_ wanted: Int) {
        var capacity = capacity
        while capacity < wanted { capacity = min(2 * capacity, limit) }
        var cellCount = 4
        while cellCount < 2 * capacity { cellCount *= 2 }
        lay(rows: capacity, cells: cellCount, keeping: 0)
    }

    /// Folds keys and rows, oldest first.
    func digest(into digest: inout UInt64) {
        var row = oldest
        digest = SplitMix64.mix(digest ^ UInt64(count))
        while row != Self.none {
            digest = SplitMix64.mix(digest ^ keys[Int(row)])
            SplitMix64.fold(
                UnsafeRawBufferPointer(start: rows + Int(row), count: MemoryLayout<Row>.size),
                into: &digest
            )
            row = links[Int(row)].newer
        }
    }
}
