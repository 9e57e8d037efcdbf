import Models

/// Streams of one slot that stand at the time of a late event, and the newer entries that were taken out of them: a lane's work
/// area, empty between slots.
///
/// Its memory grows to what the slot's rings hold, as a stream is rewound once at a time; nothing of it is state. Who moves the
/// entries: `WindowSlot+Rewind`.
struct WindowRewinds: ~Copyable {
    struct Rewind: BitwiseCopyable {
        let program: UnsafePointer<WindowProgram.Stream>
        /// Block of the stream's state, 0 when it is back at its present.
        fileprivate(set) var state: UInt32
        /// Time the stream's heads stood at, and will again.
        let present: Int64
        /// Time they stand at.
        var time: Int64
        /// Entries that are out, and where the oldest of them and their end lie, in bytes.
        fileprivate(set) var entries: Int
        fileprivate var next: Int
        fileprivate let end: Int
    }

    private var rewinds = OwnedBuffer<Rewind>(undefined: 64)
    private var bytes = OwnedBuffer<UInt8>(undefined: 1 << 14)
    /// Rewinds begun, of which the last has not ended; a rewind's number is its place among them.
    private(set) var count = 0

    subscript(_ number: Int) -> Rewind {
        get {
            precondition(number < count, "a rewound stream is known")
            return rewinds[number]
        }
        set { rewinds[number] = newValue }
    }

    /// Copies out the entries of a stream from a position on, to take it to a time; returns the rewind's number.
    mutating func begin(_ stream: WindowStream, _ state: UInt32, from first: UInt32, time: Int64) -> Int {
        let size = stream.program.pointee.entryBytes
        let entries = Int(stream.tail &- first)
        let start = count == 0 ? 0 : rewinds[count - 1].end
        let end = start + entries * size
        if end > bytes.count { bytes.grow(to: max(bytes.count * 2, end)) }
        // In two parts where the ring begins anew.
        let straight = min(entries, Int(stream.mask) + 1 - Int(first & stream.mask))
        let to = UnsafeMutableRawPointer(bytes.base + start)
        to.copyMemory(from: stream.entry(first), byteCount: straight * size)
        (to + straight * size).copyMemory(from: stream.entries, byteCount: (entries - straight) * size)

        if count == rewinds.count { rewinds.grow(to: count * 2) }
        rewinds[count] = Rewind(
            program: stream.program,
            state: state,
            present: stream.header.pointee.time,
            time: time,
            entries: entries,
            next: start,
            end: end
        )
        count += 1
        return count - 1
    }

    /// The oldest entry of a rewind that is out, behind which the others lie; good until another begins.
    func next(of number: Int) -> UnsafeMutableRawPointer { UnsafeMutableRawPointer(bytes.base + rewinds[number].next) }

    /// So many entries of a rewind are back.
    mutating func giveBack(_ entries: Int, to number: Int) {
        rewinds[number].entries -= entries
        rewinds[number].next += entries * rewinds[number].program.pointee.entryBytes
    }

    /// Ends a rewind whose entries are all back.
    mutating func finish(_ number: Int) {
        rewinds[number].state = 0
        while count > 0, rewinds[count - 1].state == 0 { count -= 1 }
    }
}
