import RuleLanguage

/// Stragglers: events whose time comes before the one that a stream's heads stand at.
///
/// Such an event is counted at its own time and reads its windows as of then. So the stream is taken back: newer entries are put
/// aside and undone, and the heads move back. There it stays until the epoch ends or an event comes that is in time: the events of
/// an epoch come in the order of their times, so for the next late one the stream only moves forward, past the entries that are not
/// newer. A key's newer entries thus move once per epoch, however many events are late: O(entries + events). They come back by the
/// same moves as in order, so the result is exact.
///
/// While a stream is rewound its header has a number in place of a time (``StreamHeader/rewind``). That is later than all events,
/// so that what an event in time costs is the one comparison it needs anyway.
extension WindowSlot {
    /// Whether an event of this time, which is before what the stream's header says, is late.
    ///
    /// If not, the stream was rewound for others and is back at its present now; pointers into the arena are no longer good then.
    mutating func isLate(
        _ program: UnsafePointer<WindowProgram.Stream>,
        _ state: UInt32,
        _ time: Int64,
        _ rewinds: inout WindowRewinds
    ) -> Bool {
        guard let number = WindowStream(program, state, arena).header.pointee.rewind else { return true }
        if time < rewinds[number].present { return true }
        end(number, &rewinds)
        return false
    }

    /// Reads the windows of a late event as of its time, and adds what was gathered of it at its place.
    mutating func serveLate(
        _ program: UnsafePointer<WindowProgram.Stream>,
        _ state: UInt32,
        _ use: UnsafePointer<WindowProgram.StreamAccess>,
        adds: Bool,
        event: Event,
        row: UnsafeMutablePointer<Slot>,
        _ rewinds: inout WindowRewinds
    ) {
        counters.outOfOrder += 1
        let number = rewind(program, state, to: event.time, &rewinds)
        var stream = WindowStream(program, state, arena)
        stream.read(use.pointee.excluding, use.pointee.excludingCount, row, arena: arena)
        if adds {
            stream = reserve(program, state)
            push(stream, time: event.time, text: event.text)
        }
        stream.read(use.pointee.including, use.pointee.includingCount, row, arena: arena)
        // The newer entries are kept as well: with them the key may be above its limit.
        if Int(stream.tail &- stream.base) + rewinds[number].entries > Int(entriesPerKey) { truncate(stream) }
    }

    /// Brings all streams back to their present; an epoch of the slot ends so.
    mutating func endRewinds(_ rewinds: inout WindowRewinds) {
        while rewinds.count > 0 { end(rewinds.count - 1, &rewinds) }
    }

    /// Brings the streams of a key back that are rewound, before they are given back.
    mutating func endRewinds(of record: UInt32, _ table: WindowProgram.Table, _ rewinds: inout WindowRewinds) {
        for s in 0..<table.streamCount {
            let state = state(table, record, s)
            if state == 0 { continue }
            let header: StreamHeader = arena.cells(state).pointee
            if let number = header.rewind { end(number, &rewinds) }
        }
    }

    /// Takes a stream to a time before its present; returns the number of its rewind.
    private mutating func rewind(
        _ program: UnsafePointer<WindowProgram.Stream>,
        _ state: UInt32,
        to time: Int64,
        _ rewinds: inout WindowRewinds
    ) -> Int {
        if let number = WindowStream(program, state, arena).header.pointee.rewind {
            if time >= rewinds[number].time {
                redo(number, through: time, &rewinds)
                WindowStream(program, state, arena).advance(to: time)
                rewinds[number].time = time
                return number
            }
            // Not in the order of an epoch: right as well, but the entries move again.
            end(number, &rewinds)
        }
        let stream = WindowStream(program, state, arena)
        let first = stream.firstLater(than: time)
        let number = rewinds.begin(stream, state, from: first, time: time)
        counters.movedEntries += rewinds[number].entries
        stream.undo(from: first, arena, hash)
        stream.retreat(to: time)
        stream.header.pointee.time = StreamHeader.time(ofRewind: number)
        return number
    }

    private mutating func end(_ number: Int, _ rewinds: inout WindowRewinds) {
        let rewind = rewinds[number]
        redo(number, through: .max, &rewinds)
        let stream = WindowStream(rewind.program, rewind.state, arena)
        stream.advance(to: rewind.present)
        stream.header.pointee.time = rewind.present
        rewinds.finish(number)
    }

    /// Adds the entries again that are not newer than a time.
    ///
    /// There is a place for each, as the key is not above its limit.
    private mutating func redo(_ number: Int, through time: Int64, _ rewinds: inout WindowRewinds) {
        let rewind = rewinds[number]
        let size = rewind.program.pointee.entryBytes
        var entry = rewinds.next(of: number)
        var back = 0
        while back < rewind.entries, WindowStream.time(entry) <= time {
            let stream = reserve(rewind.program, rewind.state, keepsTexts: false)
            stream.entry(stream.tail).copyMemory(from: entry, byteCount: size)
            finishPush(stream)
            entry += size
            back += 1
        }
        rewinds.giveBack(back, to: number)
    }
}
