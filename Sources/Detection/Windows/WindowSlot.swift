import RuleLanguage

/// One visit of an event to one key, on its way to the key's slot: an exchange record, 16 bytes.
struct KeyVisit {
    var key: UInt64
    /// Index of the event in the epoch.
    var event: UInt32
    /// Index in ``WindowProgram/touches``.
    var touch: UInt16
    var unused: UInt16 = 0
}

/// What a slot has done, for metrics; sums over slots.
public struct WindowCounters: Sendable, Equatable {
    /// Keys held, over all tables.
    public var keys = 0
    /// Entries dropped inside their window because a key reached its limit.
    public var truncatedEntries = 0
    /// Keys dropped inside their window because a table reached its limit.
    public var evictedKeys = 0
    /// Events counted in a key whose time had already moved on.
    public var outOfOrder = 0

    public init() {}

    static func += (a: inout WindowCounters, b: WindowCounters) {
        a.keys += b.keys
        a.truncatedEntries += b.truncatedEntries
        a.evictedKeys += b.evictedKeys
        a.outOfOrder += b.outOfOrder
    }
}

/// The windows of all keys of one slot: an arena and one table per kind of key.
///
/// One thread at a time.
struct WindowSlot: ~Copyable {
    /// Another one only of the same layout; see ``WindowGroup/bind(_:)``.
    var program: WindowProgram
    var arena = Arena()
    let tables: UnsafeMutablePointer<KeyTable>
    /// Most entries one key keeps per stream; the oldest go first.
    private let entriesPerKey: UInt32
    /// Most keys per table in this slot.
    private let keysPerTable: Int
    /// Where the sweep for expired keys goes on, per table, and visits since the last one.
    var sweepAt: [Int]
    var unswept = 0
    /// Values of the event being added (bits, then where a text lies, then its block, 32 each), its computed texts, a place per column, and
    /// entries taken out while an event is slipped in before them.
    private let values: UnsafeMutablePointer<UInt64>
    private let texts: UnsafeMutablePointer<UInt8>
    private var saved: UnsafeMutableRawPointer
    private var savedCapacity = 4096
    var counters = WindowCounters()
    let mapSeed: UInt64

    init(_ program: WindowProgram, entriesPerKey: Int, keysPerTable: Int) {
        self.program = program
        // The sums' 96 bits and the links' 31 rest on this.
        self.entriesPerKey = UInt32(min(max(entriesPerKey, 1), Engine.entriesPerKeyMax))
        self.keysPerTable = max(keysPerTable, 16)
        tables = .allocate(capacity: max(1, program.tableCount))
        for t in 0..<program.tableCount { (tables + t).initialize(to: KeyTable()) }
        sweepAt = [Int](repeating: 0, count: program.tableCount)
        values = .allocate(capacity: 3 * WindowPlan.columnsPerStream)
        texts = .allocate(capacity: WindowPlan.columnsPerStream * WindowStream.textBytes)
        saved = .allocate(byteCount: savedCapacity, alignment: 16)
        mapSeed = program.plan.hash.seed
    }

    deinit {
        tables.deinitialize(count: program.tableCount)
        tables.deallocate()
        values.deallocate()
        texts.deallocate()
        saved.deallocate()
    }

    /// Bytes held for keys, entries and tables.
    var stateBytes: Int {
        var total = arena.reservedBytes
        for t in 0..<program.tableCount { total += tables[t].bytes }
        return total
    }

    var keyCount: Int {
        var total = 0
        for t in 0..<program.tableCount { total += tables[t].count }
        return total
    }

    // MARK: One epoch

    /// Applies visits in order: adds the events, writes the features read into their rows.
    ///
    /// - Parameters:
    ///   - watermark: entries that no window of an event at or after it can see are given back.
    ///   - rows: the epoch's feature rows, `rowWidth` slots an event.
    ///   - evaluators: one of each of the program's ``WindowProgram/owners``.
    mutating func apply(
        _ visits: UnsafeBufferPointer<KeyVisit>, events: UnsafePointer<Event>, rows: UnsafeMutablePointer<Slot>,
        rowWidth: Int,
        signals: UnsafePointer<Slot>, watermark: Int64, evaluators: UnsafeMutablePointer<Evaluator>
    ) {
        // Blocks of visits whose look-ups do not depend on each other, so that their cache misses overlap: first the buckets, then the
        // states, then the rings' newest and next-to-leave entries.
        var warm: UInt64 = 0
        var start = 0
        let touches = program.touches
        withUnsafeTemporaryAllocation(of: UInt32.self, capacity: WindowSlot.block) { refs in
            while start < visits.count {
                let count = min(WindowSlot.block, visits.count - start)
                for i in 0..<count {
                    let visit = visits[start + i]
                    refs[i] = tables[touches[Int(visit.touch)].table].find(visit.key)
                }
                for i in 0..<count where refs[i] != 0 { warm &+= arena.pointer(refs[i]).load(as: UInt64.self) }
                for i in 0..<count where refs[i] != 0 {
                    let touch = touches + Int(visits[start + i].touch)
                    guard program.tables[touch.pointee.table].streamCount == 1 else { continue }
                    let stream = program.streams + touch.pointee.visits[0].stream
                    let state = arena.pointer(refs[i])
                    let at = WindowStream(stream, state: state, arena: arena)
                    warm &+= at.entry(at.tail &- 1).load(as: UInt64.self)
                    warm &+= at.entry(at.word(stream.pointee.windows[stream.pointee.windowCount &- 1].head)).load(
                        as: UInt64.self)
                }
                var evicted = counters.evictedKeys
                for i in 0..<count {
                    // A key looked up when the block began may have been evicted for a new one, whose state its block now is.
                    if counters.evictedKeys != evicted {
                        evicted = counters.evictedKeys
                        for j in i..<count { refs[j] = 0 }
                    }
                    let visit = visits[start + i]
                    // A key that was new when the block began may have come meanwhile.
                    if refs[i] == 0 { refs[i] = tables[touches[Int(visit.touch)].table].find(visit.key) }
                    self.visit(
                        touches + Int(visit.touch), key: visit.key, record: refs[i], event: events[Int(visit.event)],
                        row: rows + Int(visit.event) &* rowWidth, signals: signals, watermark: watermark,
                        evaluators: evaluators)
                }
                start += count
            }
        }
        warmth = warm
        unswept += visits.count
    }
    /// Visits looked up together.
    private static let block = 16
    /// Keeps the early loads of ``apply(_:events:rows:rowWidth:signals:watermark:evaluators:)`` from being optimised away.
    private var warmth: UInt64 = 0

    private mutating func visit(
        _ touch: UnsafePointer<WindowProgram.Touch>, key: UInt64, record found: UInt32, event: Event,
        row: UnsafeMutablePointer<Slot>,
        signals: UnsafePointer<Slot>,
        watermark: Int64, evaluators: UnsafeMutablePointer<Evaluator>
    ) {
        let table = program.tables[touch.pointee.table]
        var record = found
        let isDirect = table.streamCount == 1
        for v in 0..<touch.pointee.visitCount {
            let visit = touch.pointee.visits + v
            let stream = program.streams + visit.pointee.stream
            var state: UInt32 = 0
            if record != 0 {
                state =
                    isDirect
                    ? record : arena.pointer(record).load(fromByteOffset: visit.pointee.index &* 4, as: UInt32.self)
            }
            let adds = visit.pointee.adds && gather(stream, event, row, signals, evaluators)
            if state == 0 {
                guard adds else {
                    empty(visit.pointee.excluding, visit.pointee.excludingCount, row)
                    empty(visit.pointee.including, visit.pointee.includingCount, row)
                    continue
                }
                if record == 0 {
                    if tables[touch.pointee.table].count >= keysPerTable {
                        evict(touch.pointee.table, watermark: watermark)
                    }
                    if !isDirect {
                        record = arena.allocate(bytes: table.streamCount * 4)
                        (arena.pointer(record)).initializeMemory(
                            as: UInt8.self, repeating: 0, count: table.streamCount * 4)
                        tables[touch.pointee.table].insert(key, record)
                    }
                }
                state = arena.allocate(bytes: stream.pointee.stateBytes)
                arena.pointer(state).initializeMemory(as: UInt8.self, repeating: 0, count: stream.pointee.stateBytes)
                arena.pointer(state).storeBytes(of: event.time, toByteOffset: 16, as: Int64.self)
                if isDirect {
                    record = state
                    tables[touch.pointee.table].insert(key, record)
                } else {
                    arena.pointer(record).storeBytes(of: state, toByteOffset: visit.pointee.index &* 4, as: UInt32.self)
                }
            }
            let stateTime = arena.pointer(state).load(fromByteOffset: 16, as: Int64.self)
            if event.time >= stateTime {
                WindowStream(stream, state: arena.pointer(state), arena: arena).advance(to: event.time)
                retire(stream, state, before: watermark == .min ? .min : watermark &- stream.pointee.longest)
                if visit.pointee.excludingCount > 0 {
                    WindowStream(stream, state: arena.pointer(state), arena: arena)
                        .read(visit.pointee.excluding, visit.pointee.excludingCount, row, arena: arena)
                }
                if adds { push(stream, state, time: event.time, text: event.text) }
                let moved = WindowStream(stream, state: arena.pointer(state), arena: arena)
                moved.time = event.time
                moved.read(visit.pointee.including, visit.pointee.includingCount, row, arena: arena)
            } else {
                late(stream, state, visit, adds: adds, event: event, row: row, stateTime: stateTime)
            }
        }
    }

    /// Evaluates filter and columns of an event; answers whether it belongs to the stream.
    ///
    /// An argument that is missing keeps the event out, and so does one that is no number (NaN, of `0.0 / 0.0`): nothing is greater than it
    /// and no sum could ever lose it again. An infinity is a value; see ``WindowStream/fixed(_:)``.
    @inline(__always)
    private func gather(
        _ stream: UnsafePointer<WindowProgram.Stream>, _ event: Event, _ row: UnsafeMutablePointer<Slot>,
        _ signals: UnsafePointer<Slot>,
        _ evaluators: UnsafeMutablePointer<Evaluator>
    ) -> Bool {
        if stream.pointee.filter >= 0 {
            let input = EvaluationInput(
                fields: event.fields, features: UnsafePointer(row), signals: signals, text: event.text,
                lists: event.lists)
            guard evaluators[stream.pointee.filterOwner].isTrue(program.filters[stream.pointee.filter], input) else {
                return false
            }
        }
        for c in 0..<stream.pointee.columnCount {
            let column = stream.pointee.columns[c]
            let slot: Slot
            if column.field >= 0 {
                slot = event.fields[column.field]
            } else {
                let input = EvaluationInput(
                    fields: event.fields, features: UnsafePointer(row), signals: signals, text: event.text,
                    lists: event.lists)
                slot = evaluators[column.owner].evaluate(program.arguments[column.program], input)
            }
            if column.isRequired {
                if slot.isMissing || (column.isDouble && slot.double.isNaN) { return false }
            }
            values[c] = slot.bits
            if column.text >= 0 {
                values[32 + c] =
                    slot.textBank == TextBank.event.rawValue ? slot.aux : copyText(slot, c, evaluators[column.owner])
            }
        }
        return true
    }

    /// Copies what is kept of a computed text, which the next program may overwrite; answers where it lies in ``texts``.
    private func copyText(_ slot: Slot, _ column: Int, _ evaluator: borrowing Evaluator) -> UInt64 {
        let bytes = evaluator.text(slot)
        var length = 0
        if let start = bytes.baseAddress {
            length = WindowStream.keptLength(of: start, count: bytes.count)
            (texts + column &* WindowStream.textBytes).update(from: start, count: length)
        }
        return Slot(hash: 0, offset: column &* WindowStream.textBytes, length: length, bank: .scratch).aux
    }

    private func empty(_ outputs: UnsafePointer<WindowPlan.Output>, _ count: Int, _ row: UnsafeMutablePointer<Slot>) {
        for o in 0..<count {
            switch outputs[o].kind {
            case .count, .sum, .live: row[outputs[o].column] = Slot(Int64(0))
            case .fixedSum: row[outputs[o].column] = Slot(0.0)
            default: row[outputs[o].column] = .missing
            }
        }
    }

    // MARK: Adding and giving back

    /// Adds the gathered values as the newest entry.
    @inline(__always)
    private mutating func push(
        _ stream: UnsafePointer<WindowProgram.Stream>, _ state: UInt32, time: Int64, text: UnsafePointer<UInt8>
    ) {
        makeRoom(stream, state)
        if stream.pointee.hasTexts { storeTexts(stream, text) }
        let at = WindowStream(stream, state: arena.pointer(state), arena: arena)
        let entry = at.entry(at.tail)
        entry.storeBytes(of: time, as: Int64.self)
        for c in 0..<stream.pointee.columnCount {
            let column = stream.pointee.columns[c]
            entry.storeBytes(of: values[c], toByteOffset: column.value, as: UInt64.self)
            if column.text >= 0 {
                entry.storeBytes(of: UInt32(values[64 + c]), toByteOffset: column.text, as: UInt32.self)
            }
        }
        finishPush(stream, state)
    }

    /// Links and counts the entry whose time and values stand at the tail.
    @inline(__always)
    private mutating func finishPush(_ stream: UnsafePointer<WindowProgram.Stream>, _ state: UInt32) {
        for d in 0..<stream.pointee.distinctCount { link(stream, state, stream.pointee.distinct[d]) }
        let at = WindowStream(stream, state: arena.pointer(state), arena: arena)
        if stream.pointee.extremeCount > 0 { at.chain() }
        at.enter()
    }

    /// Copies the gathered texts, the event's and computed ones, into blocks of their own; their references go to `values[64...]`.
    private mutating func storeTexts(_ stream: UnsafePointer<WindowProgram.Stream>, _ text: UnsafePointer<UInt8>) {
        for c in 0..<stream.pointee.columnCount where stream.pointee.columns[c].text >= 0 {
            let slot = Slot(bits: values[c], aux: values[32 + c])
            let start =
                (slot.textBank == TextBank.event.rawValue ? text : UnsafePointer(texts)) + slot.textOffset
            let length = WindowStream.keptLength(of: start, count: slot.textLength)
            let block = arena.allocate(bytes: WindowStream.textBytes + 4)
            arena.pointer(block).storeBytes(of: UInt32(length), as: UInt32.self)
            (arena.pointer(block) + 4).copyMemory(from: start, byteCount: length)
            values[64 + c] = UInt64(block)
        }
    }

    /// Makes room for one entry at the tail: a larger ring, or the oldest entry's place when the key is at its limit.
    @inline(__always)
    private mutating func makeRoom(_ stream: UnsafePointer<WindowProgram.Stream>, _ state: UInt32) {
        let header = arena.pointer(state)
        let capacity = header.load(fromByteOffset: 4, as: UInt32.self)
        let base = header.load(fromByteOffset: 8, as: UInt32.self)
        let tail = header.load(fromByteOffset: 12, as: UInt32.self)
        if tail &- base < capacity { return }
        grow(stream, state, capacity: capacity, base: base, tail: tail)
    }

    private mutating func grow(
        _ stream: UnsafePointer<WindowProgram.Stream>, _ state: UInt32, capacity: UInt32, base: UInt32, tail: UInt32
    ) {
        if tail &- base >= entriesPerKey {
            counters.truncatedEntries += 1
            retireOldest(stream, state)
            return
        }
        let old = arena.pointer(state).load(as: UInt32.self)
        let room = capacity == 0 ? 2 : capacity * 2
        let ring = arena.allocate(bytes: Int(room) * stream.pointee.entryBytes)
        let to = arena.pointer(ring)
        if capacity > 0 {
            let from = arena.pointer(old)
            var position = base
            while position != tail {
                (to + Int(position & (room &- 1)) * stream.pointee.entryBytes).copyMemory(
                    from: from + Int(position & (capacity &- 1)) * stream.pointee.entryBytes,
                    byteCount: stream.pointee.entryBytes)
                position &+= 1
            }
            arena.release(old, bytes: Int(capacity) * stream.pointee.entryBytes)
        }
        arena.pointer(state).storeBytes(of: ring, as: UInt32.self)
        arena.pointer(state).storeBytes(of: room, toByteOffset: 4, as: UInt32.self)
    }

    /// Gives back entries at or before `bound`; every window has left them.
    @inline(__always)
    private mutating func retire(_ stream: UnsafePointer<WindowProgram.Stream>, _ state: UInt32, before bound: Int64) {
        while true {
            let at = WindowStream(stream, state: arena.pointer(state), arena: arena)
            let base = at.base
            if base == at.tail || at.timeOf(base) > bound { return }
            retireOldest(stream, state)
        }
    }

    private mutating func retireOldest(_ stream: UnsafePointer<WindowProgram.Stream>, _ state: UInt32) {
        let at = WindowStream(stream, state: arena.pointer(state), arena: arena)
        let base = at.base
        let entry = at.entry(base)
        for d in 0..<stream.pointee.distinctCount {
            let column = stream.pointee.distinct[d]
            if at.word(column.map) != 0,
                entry.load(fromByteOffset: column.link, as: UInt32.self) & WindowStream.repeated == 0
            {
                eraseFromMap(at.state, column, entry.load(fromByteOffset: column.value, as: UInt64.self))
            }
        }
        if stream.pointee.hasTexts {
            for c in 0..<stream.pointee.columnCount where stream.pointee.columns[c].text >= 0 {
                arena.release(
                    entry.load(fromByteOffset: stream.pointee.columns[c].text, as: UInt32.self),
                    bytes: WindowStream.textBytes + 4)
            }
        }
        at.dropOldest()
        at.base = base &+ 1
    }

    /// Slips an event in before entries that are newer than it, and reads its windows as of its own time.
    ///
    /// The newer entries are undone, the heads move back, the event is added and read, and the newer entries are added again: the same
    /// moves as in order, so the result is exact. Cost: the entries between.
    private mutating func late(
        _ stream: UnsafePointer<WindowProgram.Stream>, _ state: UInt32, _ visit: UnsafePointer<WindowProgram.Visit>,
        adds: Bool, event: Event,
        row: UnsafeMutablePointer<Slot>, stateTime: Int64
    ) {
        counters.outOfOrder += 1
        var count = 0
        while true {
            let at = WindowStream(stream, state: arena.pointer(state), arena: arena)
            if at.tail == at.base || at.timeOf(at.tail &- 1) <= event.time { break }
            if (count + 1) * stream.pointee.entryBytes > savedCapacity {
                let larger = UnsafeMutableRawPointer.allocate(byteCount: savedCapacity * 2, alignment: 16)
                larger.copyMemory(from: saved, byteCount: savedCapacity)
                saved.deallocate()
                saved = larger
                savedCapacity *= 2
            }
            (saved + count * stream.pointee.entryBytes).copyMemory(
                from: at.entry(at.tail &- 1), byteCount: stream.pointee.entryBytes)
            unlinkNewest(stream, state)
            WindowStream(stream, state: arena.pointer(state), arena: arena).undoNewest()
            count += 1
        }
        let back = WindowStream(stream, state: arena.pointer(state), arena: arena)
        back.retreat(to: event.time)
        back.read(visit.pointee.excluding, visit.pointee.excludingCount, row, arena: arena)
        if adds { push(stream, state, time: event.time, text: event.text) }
        WindowStream(stream, state: arena.pointer(state), arena: arena).read(
            visit.pointee.including, visit.pointee.includingCount, row, arena: arena)
        while count > 0 {
            count -= 1
            makeRoom(stream, state)
            let at = WindowStream(stream, state: arena.pointer(state), arena: arena)
            at.entry(at.tail).copyMemory(
                from: saved + count * stream.pointee.entryBytes, byteCount: stream.pointee.entryBytes)
            finishPush(stream, state)
        }
        WindowStream(stream, state: arena.pointer(state), arena: arena).advance(to: stateTime)
    }
}
