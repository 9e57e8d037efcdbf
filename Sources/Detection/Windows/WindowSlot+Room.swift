import Models

/// Room for what comes and what goes: the only places where a slot's arena may move.
extension WindowSlot {
    /// Makes all the room that one more entry of a stream can need, so that nothing moves while it is added: a larger ring unless
    /// the key is at its limit, blocks for its texts, maps that take one more value.
    ///
    /// - Parameter keepsTexts: whether the entry's texts have no blocks yet.
    @inline(__always)
    mutating func reserve(
        _ program: UnsafePointer<WindowProgram.Stream>,
        _ state: UInt32,
        keepsTexts: Bool = true
    ) -> WindowStream {
        let stream = WindowStream(program, state, arena)
        let needsTexts = keepsTexts && program.pointee.hasTexts
        var hasRoom = stream.tail &- stream.base < stream.header.pointee.capacity && !needsTexts
        for d in 0..<program.pointee.distinctCount where hasRoom {
            hasRoom = !needsRoom(stream, program.pointee.distinct[d])
        }
        if hasRoom { return stream }
        makeRoom(program, state, keepsTexts: keepsTexts)
        return WindowStream(program, state, arena)
    }

    private mutating func makeRoom(
        _ program: UnsafePointer<WindowProgram.Stream>,
        _ state: UInt32,
        keepsTexts: Bool
    ) {
        let header = WindowStream(program, state, arena).header.pointee
        if header.tail &- header.base == header.capacity, header.capacity < entriesPerKey { growRing(program, state) }
        for c in 0..<program.pointee.columnCount where keepsTexts && program.pointee.columns[c].text >= 0 {
            gathered.columns[c].block = arena.allocate(bytes: KeptText.blockBytes)
        }
        for d in 0..<program.pointee.distinctCount {
            let column = program.pointee.distinct[d]
            if needsRoom(WindowStream(program, state, arena), column) { growMap(program, state, column) }
        }
    }

    /// Whether the map of a column may not take one more value, or the ring has become too long to be scanned.
    @inline(__always)
    private func needsRoom(_ stream: WindowStream, _ column: WindowPlan.DistinctColumn) -> Bool {
        let map = stream.map(column).pointee
        if map.cells == 0 { return stream.tail &- stream.base >= WindowStream.scanLimit }
        return (Int(map.used) &+ 1) &* 4 > Int(map.capacity) &* 3
    }

    private mutating func growRing(_ program: UnsafePointer<WindowProgram.Stream>, _ state: UInt32) {
        let (capacity, bytes) = (
            WindowStream(program, state, arena).header.pointee.capacity, program.pointee.entryBytes
        )
        let room = capacity == 0 ? 2 : capacity * 2
        let ring = arena.allocate(bytes: Int(room) * bytes)
        let old = WindowStream(program, state, arena)
        let to = arena.pointer(ring)
        var position = old.base
        while position != old.tail {
            (to + Int(position & (room &- 1)) * bytes).copyMemory(from: old.entry(position), byteCount: bytes)
            position &+= 1
        }
        if capacity > 0 { arena.release(old.header.pointee.ring, bytes: Int(capacity) * bytes) }
        old.header.pointee.ring = ring
        old.header.pointee.capacity = room
    }

    /// Doubles the map of a column, or makes the first one of what the ring holds.
    private mutating func growMap(
        _ program: UnsafePointer<WindowProgram.Stream>,
        _ state: UInt32,
        _ column: WindowPlan.DistinctColumn
    ) {
        let old = WindowStream(program, state, arena).map(column).pointee
        let capacity = old.cells == 0 ? Int(WindowStream.scanLimit) * 4 : Int(old.capacity) * 2
        let cells = arena.allocate(MapCell(), count: capacity)
        let stream = WindowStream(program, state, arena)
        var former = old
        stream.map(column).pointee = MapHeader(cells: cells, capacity: UInt32(capacity), used: 0)
        let map = DistinctMap(stream.map(column), arena, hash, isHashed: column.isHashed)
        if old.cells != 0 {
            withUnsafeMutablePointer(to: &former) {
                map.takeAll(DistinctMap($0, arena, hash, isHashed: column.isHashed))
            }
            arena.release(old.cells, bytes: Int(old.capacity) * MemoryLayout<MapCell>.stride)
            return
        }
        var position = stream.base
        while position != stream.tail {
            let entry = stream.entry(position)
            if WindowStream.link(column, entry).pointee & WindowStream.repeated == 0 {
                map.put(WindowStream.value(column, entry), position)
            }
            position &+= 1
        }
    }

    /// A stream's state for a key that had none, and the key's record and place in its table where they are missing too.
    ///
    /// - Parameter record: the key's, or 0; becomes it.
    mutating func makeState(
        _ access: UnsafePointer<WindowProgram.KeyAccess>,
        _ use: UnsafePointer<WindowProgram.StreamAccess>,
        key: UInt64,
        record: inout UInt32,
        time: Int64,
        _ rewinds: inout WindowRewinds
    ) -> UInt32 {
        let number = access.pointee.table
        let table = program.tables[number]
        if record == 0 {
            if tables[number].count >= keysPerTable { evict(number, &rewinds) }
            if !table.isDirect {
                record = arena.allocate(UInt32(0), count: table.streamCount)
                tables[number].insert(key, record)
            }
        }
        let bytes = program.streams[use.pointee.stream].stateBytes
        let state = arena.allocate(bytes: bytes)
        arena.pointer(state).initializeMemory(as: UInt8.self, repeating: 0, count: bytes)
        arena.pointer(state).initializeMemory(as: StreamHeader.self, to: StreamHeader(time: time))
        if table.isDirect {
            record = state
            tables[number].insert(key, record)
        } else {
            arena.cells(record)[use.pointee.index] = state
        }
        return state
    }

    // MARK: Giving back

    /// Gives back entries at or before `bound`; every window has left them.
    @inline(__always)
    mutating func retire(_ stream: WindowStream, before bound: Int64) {
        while stream.base != stream.tail, stream.timeOf(stream.base) <= bound { retireOldest(stream) }
    }

    mutating func retireOldest(_ stream: WindowStream) {
        stream.unlinkOldest(arena, hash)
        if stream.program.pointee.hasTexts { releaseTexts(stream, stream.base) }
        stream.dropOldest()
    }

    private mutating func releaseTexts(_ stream: WindowStream, _ position: UInt32) {
        for c in 0..<stream.program.pointee.columnCount where stream.program.pointee.columns[c].text >= 0 {
            let block = stream.entry(position).load(
                fromByteOffset: stream.program.pointee.columns[c].text,
                as: UInt32.self
            )
            arena.release(block, bytes: KeptText.blockBytes)
        }
    }

    /// Gives back a stream's state with all that hangs on it.
    mutating func release(_ program: UnsafePointer<WindowProgram.Stream>, _ state: UInt32) {
        let stream = WindowStream(program, state, arena)
        if program.pointee.hasTexts {
            var position = stream.base
            while position != stream.tail {
                releaseTexts(stream, position)
                position &+= 1
            }
        }
        for d in 0..<program.pointee.distinctCount where stream.hasMap(program.pointee.distinct[d]) {
            let map = stream.map(program.pointee.distinct[d]).pointee
            arena.release(map.cells, bytes: Int(map.capacity) * MemoryLayout<MapCell>.stride)
        }
        let header = stream.header.pointee
        if header.capacity > 0 { arena.release(header.ring, bytes: Int(header.capacity) * program.pointee.entryBytes) }
        arena.release(state, bytes: program.pointee.stateBytes)
    }
}
