import Models

/// An arena of word blocks in four sizes, for sets of members that mostly stay small: 4, 16, 64 or 128 members.
///
/// Offsets, not pointers. Freed blocks are used again by their size; the arena doubles until its limit, then
/// ``allocate(sizeClass:)`` says no and the caller forgets something old.
struct MemberBlocks: ~Copyable {
    static let none: UInt32 = .max

    let wordsPerMember: Int
    let limit: Int
    // Only the arena's own files write these.
    var top = 0
    var memory: OwnedBuffer<UInt64>
    var free: (UInt32, UInt32, UInt32, UInt32) = (.max, .max, .max, .max)

    init(wordsPerMember: Int, limitWords: Int) {
        self.wordsPerMember = wordsPerMember
        limit = max(limitWords, 128 * wordsPerMember)
        memory = OwnedBuffer(undefined: min(1024, limit))
    }

    /// The first word; good until the next ``allocate(sizeClass:)``.
    @inline(__always)
    var words: UnsafeMutablePointer<UInt64> { memory.base }

    var bytes: Int { memory.count * 8 }

    /// Members a block of the class holds.
    @inline(__always) static func size(_ sizeClass: Int) -> Int {
        switch sizeClass {
        case 0: 4
        case 1: 16
        case 2: 64
        default: 128
        }
    }

    /// Offset in words of a block, its contents undefined; nil when the limit is reached.
    mutating func allocate(sizeClass: Int) -> UInt32? {
        let head = freeHead(sizeClass)
        if head != .max {
            setFreeHead(sizeClass, UInt32(truncatingIfNeeded: words[Int(head)]))
            return head
        }
        let length = MemberBlocks.size(sizeClass) * wordsPerMember
        if top + length > memory.count {
            var larger = memory.count
            while larger < top + length { larger *= 2 }
            larger = min(larger, limit)
            guard top + length <= larger else { return nil }
            memory.resize(to: larger)
        }
        let offset = UInt32(top)
        // What is written of the state is what was done here, not what the process had there before.
        (words + top).initialize(repeating: 0, count: length)
        top += length
        return offset
    }

    mutating func release(_ offset: UInt32, sizeClass: Int) {
        words[Int(offset)] = UInt64(freeHead(sizeClass))
        setFreeHead(sizeClass, offset)
    }

    /// Moves a full block's members to the next size; nil when there is no larger one or no room.
    mutating func enlarge(_ offset: UInt32, sizeClass: Int, count: Int) -> UInt32? {
        guard sizeClass < 3, let new = allocate(sizeClass: sizeClass + 1) else { return nil }
        let (old, next) = (MemberBlocks.size(sizeClass), MemberBlocks.size(sizeClass + 1))
        // One column per word of a member, each `size` long.
        for column in 0..<wordsPerMember {
            (words + Int(new) + column * next).update(from: words + Int(offset) + column * old, count: count)
        }
        release(offset, sizeClass: sizeClass)
        return new
    }

    func freeHead(_ sizeClass: Int) -> UInt32 {
        switch sizeClass {
        case 0: free.0
        case 1: free.1
        case 2: free.2
        default: free.3
        }
    }

    private mutating func setFreeHead(_ sizeClass: Int, _ offset: UInt32) {
        switch sizeClass {
        case 0: free.0 = offset
        case 1: free.1 = offset
        case 2: free.2 = offset
        default: free.3 = offset
        }
    }
}

/// A row of an ``OldestFirstTable`` whose members lie in ``MemberBlocks``.
protocol MemberHolder: BitwiseCopyable {
    /// Event time it was last acted on.
    var lastTime: Int64 { get }
    /// Gives back the blocks of its members.
    func release(to blocks: inout MemberBlocks)
}

extension OldestFirstTable where Row: MemberHolder {
    /// Forgets the row that was touched longest ago, with its members; there must be one.
    mutating func forgetOldest(_ blocks: inout MemberBlocks) { self[removeOldest()].pointee.release(to: &blocks) }

    /// The row of a key, or ``none``; one that was last acted on before `time` is forgotten, as ``forget(before:_:)`` does when it
    /// comes by.
    ///
    /// That forgets in the order of touches and stops at the first row that is younger: without this, what is forgotten when would
    /// hang on which keys share the table, which is the hash key's choice.
    @inline(__always)
    mutating func findUnforgotten(_ key: UInt64, _ time: Int64, _ blocks: inout MemberBlocks) -> UInt32 {
        let row = find(key)
        guard row != Self.none, self[row].pointee.lastTime < time else { return row }
        self[row].pointee.release(to: &blocks)
        remove(row)
        return Self.none
    }

    /// Forgets the oldest rows that were last acted on before a time.
    mutating func forget(before time: Int64, _ blocks: inout MemberBlocks) {
        while oldest != Self.none, self[oldest].pointee.lastTime < time { forgetOldest(&blocks) }
    }

    /// A block for one more member of a row: a first one when `count` is 0, else one of the next size with the `count` members of
    /// the full one moved into it.
    ///
    /// Where there is no room, the oldest of the other rows are forgotten for it, 64 at most, and counted in `evicted`; nil when
    /// that was not enough. Rows keep their numbers and places.
    mutating func room(
        for row: UInt32,
        in blocks: inout MemberBlocks,
        block: UInt32,
        sizeClass: UInt32,
        count: UInt32,
        evicted: inout Int64
    ) -> UInt32? {
        var tries = 0
        while true {
            let found =
                count == 0
                ? blocks.allocate(sizeClass: 0) : blocks.enlarge(block, sizeClass: Int(sizeClass), count: Int(count))
            if found != nil || tries == 64 || self.count <= 1 { return found }
            if oldest == row { touch(row) }
            forgetOldest(&blocks)
            evicted += 1
            tries += 1
        }
    }
}
