import RuleLanguage

/// Undoing: a stream is taken back to what it was before its newest entries came.
extension WindowStream {
    /// Position of the oldest entry later than a time; the tail when there is none.
    func firstLater(than time: Int64) -> UInt32 {
        var (low, count) = (base, tail &- base)
        while count > 0 {
            let half = count / 2
            if timeOf(low &+ half) > time {
                count = half
            } else {
                low &+= half &+ 1
                count &-= half &+ 1
            }
        }
        return low
    }

    /// Undoes the entries from a position on, which leave every window, map and chain; a head behind that position moves there.
    ///
    /// All at once, as what they did to each other needs no undoing: of a value's entries only the oldest one that goes has a link
    /// that stays behind. Cost: a few passes over the entries, in the order in which they lie.
    func undo(from first: UInt32, _ arena: borrowing Arena, _ hash: WordHash) {
        for d in 0..<program.pointee.distinctCount { unlink(program.pointee.distinct[d], from: first, arena, hash) }
        for e in 0..<program.pointee.extremeCount { unchain(program.pointee.extremes[e], from: first) }
        for w in 0..<program.pointee.windowCount { leave(program.pointee.windows[w], from: first) }
        header.pointee.tail = first
    }

    /// Makes the newest entry of each value one before `first`, or takes the value out of the map.
    private func unlink(
        _ column: WindowPlan.DistinctColumn,
        from first: UInt32,
        _ arena: borrowing Arena,
        _ hash: WordHash
    ) {
        let map: DistinctMap? =
            hasMap(column) ? DistinctMap(map(column), arena, hash, isHashed: column.isHashed) : nil
        var position = first
        while position != tail {
            let at = entry(position)
            let distance = WindowStream.link(column, at).pointee & ~WindowStream.repeated
            if distance == 0 || distance > position &- base {
                map?.erase(WindowStream.value(column, at))
            } else if distance > position &- first {
                let previous = position &- distance
                WindowStream.link(column, entry(previous)).pointee &= ~WindowStream.repeated
                _ = map?.exchange(WindowStream.value(column, at), previous)
            }
            position &+= 1
        }
    }

    /// Lets the entries before `first` that nothing there beats lead to each other again.
    private func unchain(_ column: WindowPlan.ExtremeColumn, from first: UInt32) {
        if first == base { return }
        // The entries that go have changed no link of entries before the oldest one that they were behind.
        var reach = first &- base &- 1
        var position = first
        while position != tail {
            let older = WindowStream.links(column, entry(position)).pointee.older
            let isFirst = older == WindowStream.noNeighbour || older > position &- base
            reach = min(reach, isFirst ? 0 : position &- older &- base)
            position &+= 1
        }
        var newer = first &- 1
        WindowStream.links(column, entry(newer)).pointee.newer = WindowStream.noNeighbour
        while true {
            let step = WindowStream.links(column, entry(newer)).pointee.older
            if step == WindowStream.noNeighbour || step > newer &- base &- reach { break }
            WindowStream.links(column, entry(newer &- step)).pointee.newer = step
            newer &-= step
        }
    }

    /// Takes what is at or behind `first` out of a window's accumulators.
    private func leave(_ window: WindowPlan.Window, from first: UInt32) {
        let head = word(window.head)
        let isEmptied = head &- base >= first &- base
        let start = isEmptied ? head : first
        for a in window.accumulators {
            let accumulator = program.pointee.accumulators[a]
            switch accumulator.kind {
            case .sum:
                let sum = WindowSum(state + accumulator.offset)
                forEach(from: start) { _, at in
                    sum.subtract(at.load(fromByteOffset: accumulator.value, as: Int64.self))
                }
            case .fixedSum:
                var sum = state.loadUnaligned(fromByteOffset: accumulator.offset, as: Int128.self)
                forEach(from: start) { _, at in
                    sum &-= WindowStream.fixed(at.load(fromByteOffset: accumulator.value, as: Double.self))
                }
                state.storeBytes(of: sum, toByteOffset: accumulator.offset, as: Int128.self)
            case .live:
                var values: UInt32 = 0
                forEach(from: start) { position, at in
                    let distance = at.load(fromByteOffset: accumulator.link, as: UInt32.self) & ~WindowStream.repeated
                    // The first one of its value in the window.
                    if distance == 0 || distance > position &- head { values &+= 1 }
                }
                setWord(accumulator.offset, word(accumulator.offset) &- values)
            case .extreme:
                if isEmptied {
                    setWord(accumulator.offset, first)
                } else if word(accumulator.offset) &- base >= first &- base {
                    let column = program.pointee.extremes[accumulator.column]
                    setWord(accumulator.offset, extreme(column, from: head, before: first))
                }
            }
        }
        if isEmptied { setWord(window.head, first) }
    }

    @inline(__always)
    private func forEach(from start: UInt32, _ body: (UInt32, UnsafeMutableRawPointer) -> Void) {
        var position = start
        while position != tail {
            body(position, entry(position))
            position &+= 1
        }
    }

    /// The oldest entry of the chain that ends before `end`, not before `head`.
    private func extreme(_ column: WindowPlan.ExtremeColumn, from head: UInt32, before end: UInt32) -> UInt32 {
        var oldest = end &- 1
        while true {
            let step = WindowStream.links(column, entry(oldest)).pointee.older
            if step == WindowStream.noNeighbour || step > oldest &- head { return oldest }
            oldest &-= step
        }
    }
}
