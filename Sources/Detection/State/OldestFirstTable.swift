import Models

/// A bounded hash table of plain rows that remembers the order in which they were last touched, so that the oldest can be
/// forgotten.
///
/// Keys are keyed 64-bit hashes, never 0. Rows keep their number for life; numbers and offsets are all it stores (position
/// independent). Open addressing with backward-shift deletion over 8-byte cells (row number and 32 bits of the key): a look-up
/// reads one cell line and one row. Doubles until `limit` rows; then the caller makes room with ``removeOldest()``. Rows must have
/// no padding: their bytes are what a digest folds.
struct OldestFirstTable<Row: BitwiseCopyable>: ~Copyable {
    static var none: UInt32 { .max }

    struct Link: BitwiseCopyable {
        var older: UInt32
        var newer: UInt32
    }

    let limit: Int
    // Only the table's own files write these.
    var count = 0
    var oldest: UInt32 = .max
    var newest: UInt32 = .max
    var capacity: Int
    /// Rows ever used; beyond the free ones and the live ones lies untouched memory.
    var used = 0
    /// Head of the list of free rows, linked by `newer`.
    var free: UInt32 = .max
    /// The four columns in one block, so that a table that grows asks the heap once; see ``lay(rows:cells:keeping:)``.
    private var memory: OwnedBuffer<UInt8>
    private(set) var keys: UnsafeMutablePointer<UInt64>
    private(set) var links: UnsafeMutablePointer<Link>
    private(set) var cells: UnsafeMutablePointer<UInt64>
    var mask: Int
    /// The rows; the pointer changes when the table grows, which only ``insert(_:_:)`` does.
    private(set) var rows: UnsafeMutablePointer<Row>

    init(limit: Int, capacity: Int = 16) {
        self.limit = max(1, limit)
        self.capacity = max(1, min(capacity, self.limit))
        var cellCount = 4
        while cellCount < 2 * self.capacity { cellCount *= 2 }
        mask = cellCount - 1
        memory = OwnedBuffer(undefined: Self.columnBytes(rows: self.capacity, cells: cellCount))
        (rows, keys, links, cells) = Self.columns(of: memory, rows: self.capacity, cells: cellCount)
    }

    private static func columnBytes(rows: Int, cells: Int) -> Int { rowBytes(rows) + 16 * rows + 8 * cells }

    private static func rowBytes(_ rows: Int) -> Int { (rows * MemoryLayout<Row>.stride + 7) & ~7 }

    /// Where the columns begin: rows, keys, links, cells, all of which are empty.
    private static func columns(
        of memory: borrowing OwnedBuffer<UInt8>,
        rows: Int,
        cells: Int
    ) -> (
        UnsafeMutablePointer<Row>, UnsafeMutablePointer<UInt64>, UnsafeMutablePointer<Link>,
        UnsafeMutablePointer<UInt64>
    ) {
        let block = UnsafeMutableRawPointer(memory.base)
        let keys = block + rowBytes(rows)
        let links = keys + 8 * rows
        return (
            block.bindMemory(to: Row.self, capacity: rows), keys.bindMemory(to: UInt64.self, capacity: rows),
            links.bindMemory(to: Link.self, capacity: rows),
            (links + 8 * rows).initializeMemory(as: UInt64.self, repeating: 0, count: cells)
        )
    }

    /// Gives the table columns of other sizes: empty cells, and of the others those rows that it is to keep.
    mutating func lay(rows capacity: Int, cells cellCount: Int, keeping used: Int) {
        let larger = OwnedBuffer<UInt8>(undefined: Self.columnBytes(rows: capacity, cells: cellCount))
        let columns = Self.columns(of: larger, rows: capacity, cells: cellCount)
        columns.0.initialize(from: rows, count: used)
        columns.1.initialize(from: keys, count: used)
        columns.2.initialize(from: links, count: used)
        (rows, keys, links, cells) = columns
        memory = larger
        self.capacity = capacity
        mask = cellCount - 1
    }

    var isFull: Bool { count >= limit }
    var bytes: Int { capacity * (16 + MemoryLayout<Row>.stride) + (mask + 1) * 8 }

    @inline(__always) func key(_ row: UInt32) -> UInt64 { keys[Int(row)] }
    @inline(__always) func newer(_ row: UInt32) -> UInt32 { links[Int(row)].newer }
    @inline(__always) subscript(_ row: UInt32) -> UnsafeMutablePointer<Row> { rows + Int(row) }

    /// The cell at which a search for a key begins, for a look ahead.
    @inline(__always)
    func home(_ key: UInt64) -> UInt64 { cells[Int(truncatingIfNeeded: key) & mask] }

    /// The row of a key, or ``none``.
    @inline(__always)
    func find(_ key: UInt64) -> UInt32 {
        var at = Int(truncatingIfNeeded: key) & mask
        let tag = key & 0xFFFF_FFFF_0000_0000
        while true {
            let cell = cells[at]
            if cell == 0 { return .max }
            if cell & 0xFFFF_FFFF_0000_0000 == tag {
                let row = UInt32(truncatingIfNeeded: cell) &- 1
                if keys[Int(row)] == key { return row }
            }
            at = (at &+ 1) & mask
        }
    }

    /// Adds a row for a key that is absent, as the newest; the table must not be full.
    mutating func insert(_ key: UInt64, _ row: Row) -> UInt32 {
        precondition(count < limit && key != 0, "room is made before a row is added, and no key is 0")
        if free == .max, used == capacity { grow() }
        let number: UInt32
        if free != .max {
            number = free
            free = links[Int(number)].newer
        } else {
            number = UInt32(used)
            used += 1
        }
        keys[Int(number)] = key
        rows[Int(number)] = row
        count += 1
        place(number)
        append(number)
        return number
    }

    /// Makes a row the newest.
    @inline(__always)
    mutating func touch(_ row: UInt32) {
        guard row != newest else { return }
        unlink(row)
        append(row)
    }

    /// Removes the row that was touched longest ago and gives its number, whose contents stay readable until the next insert.
    mutating func removeOldest() -> UInt32 {
        let row = oldest
        if row != .max { remove(row) }
        return row
    }

    mutating func remove(_ row: UInt32) {
        var hole = Int(truncatingIfNeeded: keys[Int(row)]) & mask
        while UInt32(truncatingIfNeeded: cells[hole]) != row &+ 1 { hole = (hole &+ 1) & mask }
        var at = (hole &+ 1) & mask
        while cells[at] != 0 {
            let home = Int(truncatingIfNeeded: keys[Int(UInt32(truncatingIfNeeded: cells[at]) &- 1)]) & mask
            // The cell may move into the hole unless its home lies strictly after the hole.
            if (at &- home) & mask >= (at &- hole) & mask {
                cells[hole] = cells[at]
                hole = at
            }
            at = (at &+ 1) & mask
        }
        cells[hole] = 0
        unlink(row)
        links[Int(row)].newer = free
        free = row
        count -= 1
    }

    private mutating func append(_ row: UInt32) {
        links[Int(row)] = Link(older: newest, newer: .max)
        if newest != .max { links[Int(newest)].newer = row } else { oldest = row }
        newest = row
    }

    private mutating func unlink(_ row: UInt32) {
        let link = links[Int(row)]
        if link.older != .max { links[Int(link.older)].newer = link.newer } else { oldest = link.newer }
        if link.newer != .max { links[Int(link.newer)].older = link.older } else { newest = link.older }
    }

    func place(_ row: UInt32) {
        let key = keys[Int(row)]
        var at = Int(truncatingIfNeeded: key) & mask
        while cells[at] != 0 { at = (at &+ 1) & mask }
        cells[at] = key & 0xFFFF_FFFF_0000_0000 | UInt64(row &+ 1)
    }

    private mutating func grow() {
        let larger = min(2 * capacity, limit)
        var cellCount = mask + 1
        while cellCount < 2 * larger { cellCount *= 2 }
        lay(rows: larger, cells: cellCount, keeping: used)
        // Only called with no free row: all used rows are live.
        for row in 0..<used { place(UInt32(row)) }
    }
}
