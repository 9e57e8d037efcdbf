import RuleLanguage

/// The map of a distinct column: each value in the ring → position of its newest entry.
///
/// Linear probing over ``MapCell``s in the slot's arena, at most three quarters full. Good until the arena next allocates.
struct DistinctMap {
    private let header: UnsafeMutablePointer<MapHeader>
    private let cells: UnsafeMutablePointer<MapCell>
    private let mask: Int
    private let hash: WordHash
    private let isHashed: Bool

    /// The map that a header tells of; there must be one.
    ///
    /// - Parameter isHashed: whether its values are texts' keyed hashes already, and no numbers that somebody chose.
    @inline(__always)
    init(_ header: UnsafeMutablePointer<MapHeader>, _ arena: borrowing Arena, _ hash: WordHash, isHashed: Bool) {
        self.header = header
        cells = arena.cells(header.pointee.cells)
        mask = Int(header.pointee.capacity) &- 1
        self.hash = hash
        self.isHashed = isHashed
    }

    @inline(__always)
    func home(_ value: UInt64) -> Int {
        Int(truncatingIfNeeded: isHashed ? value : hash.number(value)) & mask
    }

    /// Adds a value that is not in the map; there is room.
    func put(_ value: UInt64, _ position: UInt32) {
        var at = home(value)
        while cells[at].isUsed != 0 { at = (at &+ 1) & mask }
        cells[at] = MapCell(value: value, position: position, isUsed: 1)
        header.pointee.used &+= 1
    }

    /// Sets a value's newest position; returns its distance to the former one, or 0 for a value that is new, for which there is
    /// room.
    func exchange(_ value: UInt64, _ position: UInt32) -> UInt32 {
        var at = home(value)
        while cells[at].isUsed != 0 {
            if cells[at].value == value {
                let former = cells[at].position
                cells[at].position = position
                return position &- former
            }
            at = (at &+ 1) & mask
        }
        cells[at] = MapCell(value: value, position: position, isUsed: 1)
        header.pointee.used &+= 1
        return 0
    }

    /// Removes a value that is in the map; later values of its run move up.
    func erase(_ value: UInt64) {
        var hole = home(value)
        while cells[hole].isUsed != 0, cells[hole].value != value { hole = (hole &+ 1) & mask }
        precondition(cells[hole].isUsed != 0, "a kept value is in its map")
        var at = (hole &+ 1) & mask
        while cells[at].isUsed != 0 {
            let home = home(cells[at].value)
            if (at &- home) & mask >= (at &- hole) & mask {
                cells[hole] = cells[at]
                hole = at
            }
            at = (at &+ 1) & mask
        }
        cells[hole] = MapCell()
        header.pointee.used &-= 1
    }

    /// Adds all that another map holds.
    func takeAll(_ other: DistinctMap) {
        for at in 0...other.mask where other.cells[at].isUsed != 0 {
            put(other.cells[at].value, other.cells[at].position)
        }
    }

    /// The newest position of a value, or nil; for checks.
    func position(of value: UInt64) -> UInt32? {
        var at = home(value)
        for _ in 0...mask {
            if cells[at].isUsed == 0 { return nil }
            if cells[at].value == value { return cells[at].position }
            at = (at &+ 1) & mask
        }
        return nil
    }
}
