import RuleLanguage

/// The moves of one stream of one key: every change of the ring and its windows is one of these, and each can be undone.
///
/// `program` is a pointer because a copy of its fourteen words at every step costs more than the step.
/// `state` and `entries` point into the slot's arena and are good until the arena next allocates.
/// Layouts: ``WindowPlan``. Positions are compared by their distance, so that they may wrap.
struct WindowStream {
    let program: UnsafePointer<WindowProgram.Stream>
    let state: UnsafeMutableRawPointer
    let entries: UnsafeMutableRawPointer
    let mask: UInt32

    static let repeated: UInt32 = 0x8000_0000
    static let noNeighbour: UInt32 = 0
    /// Live entries from which a distinct column keeps a map instead of scanning the ring.
    static let scanLimit: UInt32 = 16

    @inline(__always)
    init(_ program: UnsafePointer<WindowProgram.Stream>, state: UnsafeMutableRawPointer, arena: borrowing Arena) {
        self.program = program
        self.state = state
        entries = arena.pointer(state.load(as: UInt32.self))
        mask = state.load(fromByteOffset: 4, as: UInt32.self) &- 1
    }

    @inline(__always) var base: UInt32 {
        get { state.load(fromByteOffset: 8, as: UInt32.self) }
        nonmutating set { state.storeBytes(of: newValue, toByteOffset: 8, as: UInt32.self) }
    }
    @inline(__always) var tail: UInt32 {
        get { state.load(fromByteOffset: 12, as: UInt32.self) }
        nonmutating set { state.storeBytes(of: newValue, toByteOffset: 12, as: UInt32.self) }
    }
    @inline(__always) var time: Int64 {
        get { state.load(fromByteOffset: 16, as: Int64.self) }
        nonmutating set { state.storeBytes(of: newValue, toByteOffset: 16, as: Int64.self) }
    }

    @inline(__always) func entry(_ position: UInt32) -> UnsafeMutableRawPointer {
        entries + Int(position & mask) &* program.pointee.entryBytes
    }
    @inline(__always) func timeOf(_ position: UInt32) -> Int64 { entry(position).load(as: Int64.self) }
    @inline(__always) func word(_ offset: Int) -> UInt32 { state.load(fromByteOffset: offset, as: UInt32.self) }
    @inline(__always) func setWord(_ offset: Int, _ value: UInt32) {
        state.storeBytes(of: value, toByteOffset: offset, as: UInt32.self)
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
            guard at.load(as: Int64.self) <= bound else { continue }
            repeat {
                leave(window, head, at, tail)
                head &+= 1
                if head == tail { break }
                at = entry(head)
            } while at.load(as: Int64.self) <= bound
            setWord(window.head, head)
        }
    }

    /// Puts an entry into a window's accumulators or takes it out; `isEntering` is known where this is inlined, so no step asks for it.
    ///
    /// - Parameters:
    ///   - counts: whether the entry is the one that stands for its value in the window, by its link to the previous entry of that value.
    ///   - moveExtreme: sets the position of a minimum or maximum, where it changes.
    @inline(__always)
    private func step(
        _ window: WindowPlan.Window, _ at: UnsafeMutableRawPointer, isEntering: Bool, counts: (_ link: UInt32) -> Bool,
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
                    of: isEntering ? sum &+ addend : sum &- addend, toByteOffset: accumulator.offset, as: Int128.self)
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
            let newer = at.load(fromByteOffset: accumulator.link + 4, as: UInt32.self)
            setWord(accumulator.offset, newer == WindowStream.noNeighbour ? tail : head &+ newer)
        }
    }

    /// Takes the oldest entry out of the windows it is still in: only at a key's limit are there any.
    func dropOldest() {
        let base = self.base
        for w in 0..<program.pointee.windowCount {
            let window = program.pointee.windows[w]
            guard word(window.head) == base else { continue }
            leave(window, base, entry(base), tail)
            setWord(window.head, base &+ 1)
        }
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
        self.tail = tail &+ 1
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
                        other.storeBytes(of: older, toByteOffset: column.newer, as: UInt32.self)
                        break
                    }
                    let step = other.load(fromByteOffset: column.older, as: UInt32.self)
                    // A neighbour that is no longer kept ends the chain.
                    if step == WindowStream.noNeighbour || step > candidate &- base { break }
                    candidate &-= step
                }
            }
            at.storeBytes(of: older, toByteOffset: column.older, as: UInt32.self)
            at.storeBytes(of: WindowStream.noNeighbour, toByteOffset: column.newer, as: UInt32.self)
        }
    }

    /// Undoes the newest entry, which leaves every window, chain and link; the maps are the caller's.
    func undoNewest() {
        let newest = tail &- 1
        let at = entry(newest)
        for d in 0..<program.pointee.distinctCount {
            let column = program.pointee.distinct[d]
            let link = at.load(fromByteOffset: column.link, as: UInt32.self)
            guard link != 0, link <= newest &- base else { continue }
            let previous = entry(newest &- link)
            let previousLink = previous.load(fromByteOffset: column.link, as: UInt32.self)
            previous.storeBytes(of: previousLink & ~WindowStream.repeated, toByteOffset: column.link, as: UInt32.self)
        }
        for e in 0..<program.pointee.extremeCount {
            let column = program.pointee.extremes[e]
            let older = at.load(fromByteOffset: column.older, as: UInt32.self)
            guard newest != base else { continue }
            // What it had beaten stands again: the oldest of those becomes the neighbour of the entry it was behind.
            let hasOlder = older != WindowStream.noNeighbour && older <= newest &- base
            let bound = hasOlder ? older : newest &- base &+ 1
            var candidate = newest &- 1
            if bound == 1 {
                entry(candidate).storeBytes(of: WindowStream.noNeighbour, toByteOffset: column.newer, as: UInt32.self)
                continue
            }
            while true {
                let step = entry(candidate).load(fromByteOffset: column.older, as: UInt32.self)
                if step == WindowStream.noNeighbour || step > candidate &- base
                    || newest &- (candidate &- step) >= bound
                {
                    break
                }
                candidate &-= step
            }
            if hasOlder {
                let behind = newest &- older
                entry(behind).storeBytes(of: candidate &- behind, toByteOffset: column.newer, as: UInt32.self)
            }
        }
        for w in 0..<program.pointee.windowCount {
            let window = program.pointee.windows[w]
            let head = word(window.head)
            guard tail &- head > 0 else { continue }
            step(window, at, isEntering: false) { link in
                link == 0 || link > newest &- head
            } moveExtreme: { accumulator in
                guard word(accumulator.offset) == newest else { return }
                let column = program.pointee.extremes[accumulator.column]
                if head == newest {
                    setWord(accumulator.offset, newest)
                    return
                }
                // The oldest entry of the chain inside the window.
                var candidate = newest &- 1
                while true {
                    let step = entry(candidate).load(fromByteOffset: column.older, as: UInt32.self)
                    if step == WindowStream.noNeighbour || step > candidate &- head { break }
                    candidate &-= step
                }
                setWord(accumulator.offset, candidate)
            }
        }
        // A window whose head stood behind the newest entry must not overtake the tail.
        for w in 0..<program.pointee.windowCount where word(program.pointee.windows[w].head) == tail {
            setWord(program.pointee.windows[w].head, newest)
        }
        tail = newest
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
    /// So what is added is rounded to six decimals: 10^-7 adds nothing, and 0.1 is a tenth. Beyond 9·10^9 a double times a million has no
    /// unit place any more and is rounded as doubles are, to 53 bits. Amounts beyond ±10^18, infinities among them, count as ±10^18. Never NaN: such
    /// a value keeps its event out of the stream. `min`, `max`, `first` and `last` keep the double itself.
    @inline(__always)
    static func fixed(_ value: Double) -> Int128 {
        let scaled = (min(max(value, -largestFixedAddend / 1e6), largestFixedAddend / 1e6) * 1e6).rounded()
        return Int128(scaled)
    }

    /// Writes outputs into an event's feature row.
    @inline(__always)
    func read(
        _ outputs: UnsafePointer<WindowPlan.Output>, _ count: Int, _ row: UnsafeMutablePointer<Slot>,
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
                    Double(state.loadUnaligned(fromByteOffset: output.offset, as: Int128.self)) / 1e6)
            case .average where inside > 0:
                row[output.column] = Slot(WindowSum(state + output.offset).double / Double(inside))
            case .fixedAverage where inside > 0:
                let sum = Double(state.loadUnaligned(fromByteOffset: output.offset, as: Int128.self)) / 1e6
                row[output.column] = Slot(sum / Double(inside))
            case .extreme where inside > 0:
                row[output.column] = Slot(
                    bits: entry(word(output.offset)).load(fromByteOffset: output.value, as: UInt64.self), aux: 0)
            case .first where inside > 0:
                row[output.column] = Slot(bits: entry(head).load(fromByteOffset: output.value, as: UInt64.self), aux: 0)
            case .last where inside > 0:
                row[output.column] = Slot(
                    bits: entry(tail &- 1).load(fromByteOffset: output.value, as: UInt64.self), aux: 0)
            case .firstText where inside > 0: readText(entry(head), output, row, arena)
            case .lastText where inside > 0: readText(entry(tail &- 1), output, row, arena)
            default: row[output.column] = .missing
            }
        }
    }

    /// Texts are kept up to this many bytes; longer ones compare right (by hash) and show cut.
    static let textBytes = (Feature.stringWidth - 1) * MemoryLayout<Slot>.stride

    /// How many bytes of a text are kept: never a part of a character.
    static func keptLength(of text: UnsafePointer<UInt8>, count: Int) -> Int {
        guard count > textBytes else { return count }
        var length = textBytes
        while length > 0, text[length] & 0xC0 == 0x80 { length -= 1 }
        return length
    }

    private func readText(
        _ at: UnsafeMutableRawPointer, _ output: WindowPlan.Output, _ row: UnsafeMutablePointer<Slot>,
        _ arena: borrowing Arena
    ) {
        let hash = at.load(fromByteOffset: output.value, as: UInt64.self)
        let block = arena.pointer(at.load(fromByteOffset: output.text, as: UInt32.self))
        let length = Int(block.load(as: UInt32.self))
        let cells = UnsafeMutableRawPointer(row + output.column + 1)
        cells.copyMemory(from: block + 4, byteCount: length)
        row[output.column] = Slot(
            hash: hash, offset: (output.column + 1) * MemoryLayout<Slot>.stride, length: length, bank: .features)
    }
}
