import Models
import RuleLanguage

/// One event at one key, on its way to the key's slot: an exchange record, 16 bytes.
struct RoutedAccess: BitwiseCopyable {
    var key: UInt64
    /// Index of the event in the epoch.
    var event: UInt32
    /// Index in ``WindowProgram/accesses``.
    var access: UInt16
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
    /// Entries taken out for such events and put back; once per key and epoch those newer than its earliest one.
    public var movedEntries = 0

    public init() {}

    static func += (a: inout WindowCounters, b: WindowCounters) {
        a.keys += b.keys
        a.truncatedEntries += b.truncatedEntries
        a.evictedKeys += b.evictedKeys
        a.outOfOrder += b.outOfOrder
        a.movedEntries += b.movedEntries
    }
}

/// The windows of all keys of one slot: an arena and one table per kind of key.
///
/// One thread at a time.
struct WindowSlot: ~Copyable {
    /// Another one only of the same layout; see ``WindowGroup/bind(_:of:rowWidth:)``.
    var program: WindowProgram
    var arena = Arena()
    let tables: OwnedBuffer<KeyTable>
    /// Most entries one key keeps per stream; the oldest go first.
    let entriesPerKey: UInt32
    /// Most keys per table in this slot.
    let keysPerTable: Int
    /// Where the sweep for expired keys goes on, per table, and accesses since the last one.
    var sweepAt: [Int]
    var unswept = 0
    var counters = WindowCounters()
    let hash: WordHash
    /// Work area; not state.
    let gathered = GatheredEntry()

    init(_ program: WindowProgram, entriesPerKey: Int, keysPerTable: Int) {
        self.program = program
        // The sums' 96 bits and the links' 31 rest on this.
        self.entriesPerKey = UInt32(min(max(entriesPerKey, 1), Engine.entriesPerKeyMax))
        self.keysPerTable = max(keysPerTable, 16)
        tables = OwnedBuffer(count: program.tableCount) { _ in KeyTable() }
        sweepAt = [Int](repeating: 0, count: program.tableCount)
        hash = program.plan.hash
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

    /// The state of a key's stream, or 0; `index` is the stream's among its table's.
    @inline(__always)
    func state(_ table: WindowProgram.Table, _ record: UInt32, _ index: Int) -> UInt32 {
        table.isDirect ? record : arena.cells(record)[index]
    }

    // MARK: One epoch

    /// Serves accesses in order: adds the events, writes the features read into their rows.
    ///
    /// ``endRewinds(_:)`` follows the epoch's last call.
    ///
    /// - Parameters:
    ///   - watermark: entries that no window of an event at or after it can see are given back.
    ///   - rows: the epoch's feature rows, `rowWidth` slots an event.
    ///   - evaluators: one of each of the program's ``WindowProgram/owners``.
    ///   - rewinds: of this slot, from one call of an epoch to the next.
    mutating func apply(
        _ routed: UnsafeBufferPointer<RoutedAccess>,
        events: UnsafePointer<Event>,
        rows: UnsafeMutablePointer<Slot>,
        rowWidth: Int,
        signals: UnsafePointer<Slot>,
        watermark: Int64,
        evaluators: UnsafeMutablePointer<Evaluator>,
        rewinds: inout WindowRewinds
    ) {
        var start = 0
        let accesses = program.accesses
        withUnsafeTemporaryAllocation(of: UInt32.self, capacity: WindowSlot.block) { refs in
            while start < routed.count {
                let block = UnsafeBufferPointer(rebasing: routed[start..<min(start + WindowSlot.block, routed.count)])
                lookUp(block, refs)
                var evicted = counters.evictedKeys
                for i in block.indices {
                    // A key looked up when the block began may have been evicted for a new one, whose state its block now is.
                    if counters.evictedKeys != evicted {
                        evicted = counters.evictedKeys
                        for j in i..<block.count { refs[j] = 0 }
                    }
                    let (key, event) = (block[i].key, Int(block[i].event))
                    let access = accesses + Int(block[i].access)
                    // A key that was new when the block began may have come meanwhile.
                    if refs[i] == 0 { refs[i] = tables[access.pointee.table].find(key) }
                    serve(
                        access,
                        key: key,
                        record: refs[i],
                        event: events[event],
                        row: rows + event &* rowWidth,
                        signals: signals,
                        watermark: watermark,
                        evaluators: evaluators,
                        rewinds: &rewinds
                    )
                }
                start += block.count
            }
        }
        unswept += routed.count
    }

    /// Accesses looked up together.
    private static let block = 16
    /// Keeps the early loads of ``lookUp(_:_:)`` from being optimised away.
    private var warmth: UInt64 = 0

    /// Finds the records of some keys, and loads what serving them will read.
    ///
    /// The look-ups do not depend on each other, so that their cache misses overlap: first the buckets, then the states, then the
    /// rings' newest and next-to-leave entries.
    @inline(__always)
    private mutating func lookUp(
        _ block: UnsafeBufferPointer<RoutedAccess>,
        _ refs: UnsafeMutableBufferPointer<UInt32>
    ) {
        let accesses = program.accesses
        var warm: UInt64 = 0
        for i in block.indices {
            refs[i] = tables[accesses[Int(block[i].access)].table].find(block[i].key)
        }
        for i in block.indices where refs[i] != 0 { warm &+= arena.pointer(refs[i]).load(as: UInt64.self) }
        for i in block.indices where refs[i] != 0 {
            let access = accesses + Int(block[i].access)
            guard program.tables[access.pointee.table].isDirect else { continue }
            let windows = program.streams + access.pointee.streams[0].stream
            let stream = WindowStream(windows, refs[i], arena)
            warm &+= stream.entry(stream.tail &- 1).load(as: UInt64.self)
            let longest = windows.pointee.windows[windows.pointee.windowCount &- 1]
            warm &+= stream.entry(stream.word(longest.head)).load(as: UInt64.self)
        }
        warmth = warm
    }

    private mutating func serve(
        _ access: UnsafePointer<WindowProgram.KeyAccess>,
        key: UInt64,
        record found: UInt32,
        event: Event,
        row: UnsafeMutablePointer<Slot>,
        signals: UnsafePointer<Slot>,
        watermark: Int64,
        evaluators: UnsafeMutablePointer<Evaluator>,
        rewinds: inout WindowRewinds
    ) {
        let table = program.tables[access.pointee.table]
        var record = found
        for s in 0..<access.pointee.streamCount {
            let use = access.pointee.streams + s
            let program = self.program.streams + use.pointee.stream
            var state = record == 0 ? 0 : state(table, record, use.pointee.index)
            let adds = use.pointee.adds && gather(program, event, row, signals, evaluators)
            if state == 0 {
                guard adds else {
                    WindowSlot.readNothing(use.pointee.excluding, use.pointee.excludingCount, row)
                    WindowSlot.readNothing(use.pointee.including, use.pointee.includingCount, row)
                    continue
                }
                state = makeState(access, use, key: key, record: &record, time: event.time, &rewinds)
            }
            var stream = WindowStream(program, state, arena)
            if event.time < stream.header.pointee.time {
                if isLate(program, state, event.time, &rewinds) {
                    serveLate(program, state, use, adds: adds, event: event, row: row, &rewinds)
                    continue
                }
                stream = WindowStream(program, state, arena)
            }
            stream.advance(to: event.time)
            retire(stream, before: watermark == .min ? .min : watermark &- program.pointee.longest)
            if use.pointee.excludingCount > 0 {
                stream.read(use.pointee.excluding, use.pointee.excludingCount, row, arena: arena)
            }
            let after = adds ? reserve(program, state) : stream
            if adds { push(after, time: event.time, text: event.text) }
            after.header.pointee.time = event.time
            after.read(use.pointee.including, use.pointee.includingCount, row, arena: arena)
        }
    }

    /// Evaluates filter and columns of an event; returns whether it belongs to the stream.
    ///
    /// An argument that is missing keeps the event out, and so does one that is no number (NaN, of `0.0 / 0.0`): nothing is greater
    /// than it and no sum could ever lose it again. An infinity is a value; see ``WindowStream/fixed(_:)``.
    @inline(__always)
    private func gather(
        _ stream: UnsafePointer<WindowProgram.Stream>,
        _ event: Event,
        _ row: UnsafeMutablePointer<Slot>,
        _ signals: UnsafePointer<Slot>,
        _ evaluators: UnsafeMutablePointer<Evaluator>
    ) -> Bool {
        if stream.pointee.filter >= 0 {
            let input = EvaluationInput(
                fields: event.fields,
                features: UnsafePointer(row),
                signals: signals,
                text: event.text,
                lists: event.lists
            )
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
                    fields: event.fields,
                    features: UnsafePointer(row),
                    signals: signals,
                    text: event.text,
                    lists: event.lists
                )
                slot = evaluators[column.owner].evaluate(program.arguments[column.program], input)
            }
            if column.isRequired {
                if slot.isMissing || (column.isDouble && slot.double.isNaN) { return false }
            }
            gathered.columns[c].bits = slot.bits
            if column.text >= 0 { gathered.take(slot, column: c, evaluators[column.owner]) }
        }
        return true
    }

    /// What is read of a key without a state.
    private static func readNothing(
        _ outputs: UnsafePointer<WindowPlan.Output>,
        _ count: Int,
        _ row: UnsafeMutablePointer<Slot>
    ) {
        for o in 0..<count {
            switch outputs[o].kind {
            case .count, .sum, .live: row[outputs[o].column] = Slot(Int64(0))
            case .fixedSum: row[outputs[o].column] = Slot(0.0)
            default: row[outputs[o].column] = .missing
            }
        }
    }

    // MARK: Adding

    /// Adds the gathered values as the newest entry; room is reserved.
    @inline(__always)
    mutating func push(_ stream: WindowStream, time: Int64, text: UnsafePointer<UInt8>) {
        makePlace(stream)
        let program = stream.program
        let entry = stream.entry(stream.tail)
        entry.initializeMemory(as: EntryHeader.self, to: EntryHeader(time: time))
        for c in 0..<program.pointee.columnCount {
            let column = program.pointee.columns[c]
            entry.storeBytes(of: gathered.columns[c].bits, toByteOffset: column.value, as: UInt64.self)
            if column.text >= 0 { keepText(entry, column, c, text) }
        }
        finishPush(stream)
    }

    private func keepText(
        _ entry: UnsafeMutableRawPointer,
        _ column: WindowProgram.Column,
        _ number: Int,
        _ event: UnsafePointer<UInt8>
    ) {
        let block = gathered.columns[number].block
        let text = gathered.text(number, event: event)
        let kept = arena.pointer(block).initializeMemory(as: KeptText.self, to: KeptText(length: UInt32(text.count)))
        if let start = text.baseAddress {
            UnsafeMutableRawPointer(kept + 1).copyMemory(from: start, byteCount: text.count)
        }
        entry.storeBytes(of: block, toByteOffset: column.text, as: UInt32.self)
    }

    /// Links and counts the entry whose time and values stand at the tail.
    @inline(__always)
    func finishPush(_ stream: WindowStream) {
        for d in 0..<stream.program.pointee.distinctCount {
            stream.link(stream.program.pointee.distinct[d], arena, hash)
        }
        if stream.program.pointee.extremeCount > 0 { stream.chain() }
        stream.enter()
    }

    /// Makes the place at the tail free: a key at its limit gives up its oldest entry, and below it there is room.
    @inline(__always)
    private mutating func makePlace(_ stream: WindowStream) {
        if stream.tail &- stream.base < entriesPerKey { return }
        truncate(stream)
    }

    /// Drops the oldest entry of a key at its limit.
    mutating func truncate(_ stream: WindowStream) {
        counters.truncatedEntries += 1
        retireOldest(stream)
    }
}
