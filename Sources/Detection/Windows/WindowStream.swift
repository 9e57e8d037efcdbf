import RuleLanguage

/// The moves of one stream of one key: every change of the ring and its windows is one of these, and each can be undone.
///
/// `program` is a pointer because a copy of its fourteen words at every step costs more than the step. `header` and `entries` point
/// into the slot's arena and are good until the arena next allocates: ``WindowSlot`` makes all the room an event can need before
/// its first move. Layouts: ``WindowPlan``. Positions are compared by their distance, so that they may wrap.
struct WindowStream {
    let program: UnsafePointer<WindowProgram.Stream>
    let header: UnsafeMutablePointer<StreamHeader>
    let entries: UnsafeMutableRawPointer
    let mask: UInt32

    static let repeated: UInt32 = 0x8000_0000
    static let noNeighbour: UInt32 = 0
    /// Live entries from which a distinct column keeps a map instead of scanning the ring.
    static let scanLimit: UInt32 = 16

    /// - Parameter state: block of the stream's state.
    @inline(__always)
    init(_ program: UnsafePointer<WindowProgram.Stream>, _ state: UInt32, _ arena: borrowing Arena) {
        self.program = program
        header = arena.cells(state)
        entries = arena.pointer(header.pointee.ring)
        mask = header.pointee.capacity &- 1
    }

    @inline(__always) var base: UInt32 { header.pointee.base }
    @inline(__always) var tail: UInt32 { header.pointee.tail }
    /// The whole state, of which the header is the beginning.
    @inline(__always) var state: UnsafeMutableRawPointer { UnsafeMutableRawPointer(header) }

    @inline(__always) func entry(_ position: UInt32) -> UnsafeMutableRawPointer {
        entries + Int(position & mask) &* program.pointee.entryBytes
    }
    @inline(__always) func timeOf(_ position: UInt32) -> Int64 { WindowStream.time(entry(position)) }
    @inline(__always) static func time(_ entry: UnsafeMutableRawPointer) -> Int64 {
        entry.assumingMemoryBound(to: EntryHeader.self).pointee.time
    }
    @inline(__always) func word(_ offset: Int) -> UInt32 { state.load(fromByteOffset: offset, as: UInt32.self) }
    @inline(__always) func setWord(_ offset: Int, _ value: UInt32) {
        state.storeBytes(of: value, toByteOffset: offset, as: UInt32.self)
    }
    @inline(__always) func map(_ column: WindowPlan.DistinctColumn) -> UnsafeMutablePointer<MapHeader> {
        (state + column.map).assumingMemoryBound(to: MapHeader.self)
    }
    @inline(__always)
    static func value(_ column: WindowPlan.DistinctColumn, _ entry: UnsafeMutableRawPointer) -> UInt64 {
        entry.load(fromByteOffset: column.value, as: UInt64.self)
    }
    @inline(__always)
    static func link(_ column: WindowPlan.DistinctColumn, _ entry: UnsafeMutableRawPointer) -> UnsafeMutablePointer<
        UInt32
    > {
        (entry + column.link).assumingMemoryBound(to: UInt32.self)
    }
    @inline(__always)
    static func links(_ column: WindowPlan.ExtremeColumn, _ entry: UnsafeMutableRawPointer) -> UnsafeMutablePointer<
        ChainLinks
    > {
        (entry + column.links).assumingMemoryBound(to: ChainLinks.self)
    }

    // MARK: Windows

    /// Moves the heads forward to time `t`: what has left a window leaves its accumulators.
    @inline(__always)
    func advance(to t: Int64) {
        let tail = self.tail
        for w in 0..<program.pointee.windowCount {
            let window = program.pointee.windows[w]
            var head = word(window.head)
            if head == tail { continue }
            let bound = t &- window.milliseconds
            var at = entry(head)
            guard WindowStream.time(at) <= bound else { continue }
            repeat {
                leave(window, head, at, tail)
                head &+= 1
                if head == tail { break }
                at = entry(head)
            } while WindowStream.time(at) <= bound
            setWord(window.head, head)
        }
    }

    /// Puts an entry into a window's accumulators or takes it out; `isEntering` is known where this is inlined, so no step asks for
    /// it.
    ///
    /// - Parameters:
    ///   - counts: whether the entry is the one that stands for its value in the window, by its link to the previous entry of that
    ///     value.
    ///   - moveExtreme: sets the position of a minimum or maximum, where it changes.
    @inline(__always)
    private func step(
        _ window: WindowPlan.Window,
        _ at: UnsafeMutableRawPointer,
        isEntering: Bool,
        counts: (_ link: UInt32) -> Bool,
        moveExtreme: (WindowPlan.Accumulator) -> Void
    ) {
        for a in window.accumulators {
            let accumulator = program.pointee.accumulators[a]
            switch accumulator.kind {
            case .sum:
                let sum = WindowSum(state + accumulator.offset)
                let addend = at.load(fromByteOffset: accumulator.value, as: Int64.self)
                if isEntering { sum.add(addend) } else { sum.subtract(addend) }
            case .live:
                guard counts(at.load(fromByteOffset: accumulator.link, as: UInt32.self)) else { continue }
                let count = word(accumulator.offset)
                setWord(accumulator.offset, isEntering ? count &+ 1 : count &- 1)
            case .extreme: moveExtreme(accumulator)
            case .fixedSum:
                let sum = state.loadUnaligned(fromByteOffset: accumulator.offset, as: Int128.self)
                let addend = WindowStream.fixed(at.load(fromByteOffset: accumulator.value, as: Double.self))
                state.storeBytes(
                    of: isEntering ? sum &+ addend : sum &- addend,
                    toByteOffset: accumulator.offset,
                    as: Int128.self
                )
            }
        }
    }

    /// Takes the entry at the head out of a window's accumulators.
    @inline(__always)
    private func leave(_ window: WindowPlan.Window, _ head: UInt32, _ at: UnsafeMutableRawPointer, _ tail: UInt32) {
        step(window, at, isEntering: false) { link in
            link & WindowStream.repeated == 0
        } moveExtreme: { accumulator in
            guard word(accumulator.offset) == head else { return }
            // Its newer neighbour in the chain is the next extreme; without one the window runs empty.
            let newer = (at + accumulator.link).assumingMemoryBound(to: ChainLinks.self).pointee.newer
            setWord(accumulator.offset, newer == WindowStream.noNeighbour ? tail : head &+ newer)
        }
    }

    /// Drops the oldest entry and takes it out of the windows it is still in: only at a key's limit are there any.
    func dropOldest() {
        let base = self.base
        for w in 0..<program.pointee.windowCount {
            let window = program.pointee.windows[w]
            guard word(window.head) == base else { continue }
            leave(window, base, entry(base), tail)
            setWord(window.head, base &+ 1)
        }
        header.pointee.base = base &+ 1
    }

    /// Moves the heads back to time `t`: what was in a window at that time and is still kept enters again.
    func retreat(to t: Int64) {
        let base = self.base
        for w in 0..<program.pointee.windowCount {
            let window = program.pointee.windows[w]
            var head = word(window.head)
            let bound = t &- window.milliseconds
            while head != base, timeOf(head &- 1) > bound {
                let isEmpty = head == tail
                head &-= 1
                let at = entry(head)
                step(window, at, isEntering: true) { link in
                    link & WindowStream.repeated == 0
                } moveExtreme: { accumulator in
                    // In the chain only if nothing later beats it, so only if it beats the window's extreme.
                    let column = program.pointee.extremes[accumulator.column]
                    if isEmpty || !WindowStream.beats(column, entry(word(accumulator.offset)), at) {
                        setWord(accumulator.offset, head)
                    }
                }
            }
            setWord(window.head, head)
        }
    }

    /// Counts the entry just written at `tail` into every window; its links are set already.
    @inline(__always)
    func enter() {
        let tail = self.tail
        let at = entry(tail)
        for w in 0..<program.pointee.windowCount {
            let window = program.pointee.windows[w]
            if window.accumulators.isEmpty { continue }
            let head = word(window.head)
            step(window, at, isEntering: true) { link in
                // The previous entry with this value was counted until now if it is inside the window.
                link == 0 || link > tail &- head
            } moveExtreme: { accumulator in
                let column = program.pointee.extremes[accumulator.column]
                if head == tail || WindowStream.beats(column, at, entry(word(accumulator.offset))) {
                    setWord(accumulator.offset, tail)
                }
            }
        }
        header.pointee.tail = tail &+ 1
    }

    /// Links the entry at `tail` into the chains of its min and max columns.
    func chain() {
        let tail = self.tail
        let at = entry(tail)
        for e in 0..<program.pointee.extremeCount {
            let column = program.pointee.extremes[e]
            var older = WindowStream.noNeighbour
            if tail != base {
                var candidate = tail &- 1
                while true {
                    let other = entry(candidate)
                    if !WindowStream.beats(column, at, other) {
                        older = tail &- candidate
                        WindowStream.links(column, other).pointee.newer = older
                        break
                    }
                    let step = WindowStream.links(column, other).pointee.older
                    // A neighbour that is no longer kept ends the chain.
                    if step == WindowStream.noNeighbour || step > candidate &- base { break }
                    candidate &-= step
                }
            }
            WindowStream.links(column, at).pointee = ChainLinks(older: older, newer: WindowStream.noNeighbour)
        }
    }

    // MARK: Values

    /// Whether the value at `a` takes the place of an older equal or lesser one at `b` (greater one for a minimum).
    @inline(__always)
    static func beats(_ column: WindowPlan.ExtremeColumn, _ a: UnsafeMutableRawPointer, _ b: UnsafeMutableRawPointer)
        -> Bool
    {
        if column.isDouble {
            let x = a.load(fromByteOffset: column.value, as: Double.self)
            let y = b.load(fromByteOffset: column.value, as: Double.self)
            return column.isMaximum ? x >= y : x <= y
        }
        let x = a.load(fromByteOffset: column.value, as: Int64.self)
        let y = b.load(fromByteOffset: column.value, as: Int64.self)
        return column.isMaximum ? x >= y : x <= y
    }

    /// Largest amount of one double in a sum, in millionths: 2^20 of them stay far inside 128 bits.
    static let largestFixedAddend = 1e24
    /// A double in millionths, as sums and averages keep it: order-free and exact to undo.
    ///
    /// So what is added is rounded to six decimals: 10^-7 adds nothing, and 0.1 is a tenth. Beyond 9·10^9 a double times a million
    /// has no unit place any more and is rounded as doubles are, to 53 bits. Amounts beyond ±10^18, infinities among them, count as
    /// ±10^18. Never NaN: such a value keeps its event out of the stream. `min`, `max`, `first` and `last` keep the double itself.
    @inline(__always)
    static func fixed(_ value: Double) -> Int128 {
        let scaled = (min(max(value, -largestFixedAddend / 1e6), largestFixedAddend / 1e6) * 1e6).rounded()
        return Int128(scaled)
    }

    /// Writes outputs into an event's feature row.
    @inline(__always)
    func read(
        _ outputs: UnsafePointer<WindowPlan.Output>,
        _ count: Int,
        _ row: UnsafeMutablePointer<Slot>,
        arena: borrowing Arena
    ) {
        let tail = self.tail
        for o in 0..<count {
            let output = outputs[o]
            let head = word(program.pointee.windows[output.window].head)
            let inside = tail &- head
            switch output.kind {
            case .count: row[output.column] = Slot(Int64(inside))
            case .sum:
                // A sum that does not fit has no value, rather than a wrong one.
                row[output.column] = WindowSum(state + output.offset).int64.map { Slot($0) } ?? .missing
            case .live: row[output.column] = Slot(Int64(word(output.offset)))
            case .fixedSum:
                row[output.column] = Slot(
                    Double(state.loadUnaligned(fromByteOffset: output.offset, as: Int128.self)) / 1e6
                )
            case .average where inside > 0:
                row[output.column] = Slot(WindowSum(state + output.offset).double / Double(inside))
            case .fixedAverage where inside > 0:
                let sum = Double(state.loadUnaligned(fromByteOffset: output.offset, as: Int128.self)) / 1e6
                row[output.column] = Slot(sum / Double(inside))
            case .extreme where inside > 0:
                row[output.column] = Slot(
                    bits: entry(word(output.offset)).load(fromByteOffset: output.value, as: UInt64.self),
                    aux: 0
                )
            case .first where inside > 0:
                row[output.column] = Slot(bits: entry(head).load(fromByteOffset: output.value, as: UInt64.self), aux: 0)
            case .last where inside > 0:
                row[output.column] = Slot(
                    bits: entry(tail &- 1).load(fromByteOffset: output.value, as: UInt64.self),
                    aux: 0
                )
            case .firstText where inside > 0: readText(entry(head), output, row, arena)
            case .lastText where inside > 0: readText(entry(tail &- 1), output, row, arena)
            default: row[output.column] = .missing
            }
        }
    }

    private func readText(
        _ at: UnsafeMutableRawPointer,
        _ output: WindowPlan.Output,
        _ row: UnsafeMutablePointer<Slot>,
        _ arena: borrowing Arena
    ) {
        let hash = at.load(fromByteOffset: output.value, as: UInt64.self)
        let text: UnsafeMutablePointer<KeptText> = arena.cells(at.load(fromByteOffset: output.text, as: UInt32.self))
        let length = Int(text.pointee.length)
        UnsafeMutableRawPointer(row + output.column + 1).copyMemory(from: text + 1, byteCount: length)
        row[output.column] = Slot(
            hash: hash,
            offset: (output.column + 1) * MemoryLayout<Slot>.stride,
            length: length,
            bank: .features
        )
    }
}
