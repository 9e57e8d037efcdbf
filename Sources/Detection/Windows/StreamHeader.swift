import RuleLanguage

/// How a stream's state begins, in the slot's arena; heads and accumulators follow, see ``WindowPlan``.
struct StreamHeader: BitwiseCopyable {
    /// Block of the entries, 0 while there are none.
    var ring: UInt32 = 0
    /// Entries the ring has room for, a power of two.
    var capacity: UInt32 = 0
    /// Position of the oldest entry kept; positions count up for ever and wrap.
    var base: UInt32 = 0
    /// Position behind the newest entry.
    var tail: UInt32 = 0
    /// Event time the heads stand at; inside an epoch perhaps a number later than all times, see ``rewind``.
    var time: Int64

    /// No event has such a time: `latest` of a topology is a date.
    private static let firstRewind = Int64.max - Int64(UInt32.max)

    /// Number of the stream's rewind in the lane's ``WindowRewinds``, or nil when the heads stand at its present.
    var rewind: Int? { time < StreamHeader.firstRewind ? nil : Int(time - StreamHeader.firstRewind) }

    static func time(ofRewind number: Int) -> Int64 { firstRewind + Int64(number) }
}

/// Where a distinct column's map is, in the stream's state.
struct MapHeader: BitwiseCopyable {
    /// Block of the ``MapCell``s, 0 while the ring is scanned instead.
    var cells: UInt32 = 0
    /// Cells, a power of two.
    var capacity: UInt32 = 0
    var used: UInt32 = 0
}

/// A value of a distinct column and the position of its newest entry.
struct MapCell: BitwiseCopyable {
    var value: UInt64 = 0
    var position: UInt32 = 0
    /// 1, or 0 for a free cell.
    var isUsed: UInt32 = 0
}

/// How an entry begins; its columns' values and links follow.
struct EntryHeader: BitwiseCopyable {
    var time: Int64
}

/// An entry's neighbours in a chain of extremes, as distances; ``WindowStream/noNeighbour`` for none.
struct ChainLinks: BitwiseCopyable {
    var older: UInt32
    var newer: UInt32
}

/// A text that `first` or `last` will show, in a block of its own.
struct KeptText: BitwiseCopyable {
    var length: UInt32
    // Then so many bytes.

    /// Most bytes of a text that are kept; longer ones compare right (by hash) and show cut.
    static let longest = (Feature.stringWidth - 1) * MemoryLayout<Slot>.stride
    static let blockBytes = MemoryLayout<KeptText>.size + longest

    /// How many bytes of a text are kept: never a part of a character.
    static func kept(of text: UnsafePointer<UInt8>, count: Int) -> Int {
        guard count > longest else { return count }
        var length = longest
        while length > 0, text[length] & 0xC0 == 0x80 { length -= 1 }
        return length
    }
}
