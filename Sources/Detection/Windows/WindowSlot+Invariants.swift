import Models

extension WindowSlot {
    /// All that later moves rely on, and that every accumulator equals its recount; costs as much as all the events that are kept.
    func checkInvariants() throws(StateError) {
        try checkStructure()
        try forEachStream { (stream) throws(StateError) in try stream.checkRecount() }
    }

    /// Keys, blocks, rings and maps lie inside the arena, each unit of it belongs to one of them or is free, positions are in
    /// order, and the links of distinct values lead where they should; costs a step per entry.
    func checkStructure() throws(StateError) {
        var census = try arena.census()
        for t in tables.indices {
            try tables[t].checkInvariants()
            let table = program.tables[t]
            for at in 0...tables[t].mask where tables[t].buckets[at].key != 0 {
                let record = tables[t].buckets[at].ref
                if !table.isDirect {
                    try arena.claim(
                        record,
                        bytes: table.streamCount * MemoryLayout<UInt32>.stride,
                        in: &census,
                        "a key's record"
                    )
                }
                var streams = 0
                for s in 0..<table.streamCount {
                    let state = state(table, record, s)
                    if state == 0 { continue }
                    streams += 1
                    try checkStructure(program.streams + table.streams[s], state, &census)
                }
                try StateError.require(streams > 0, "a key of table \(t) has no stream")
            }
        }
        try arena.checkFreeBlocks(&census)
        try census.checkComplete("an arena")
    }

    private func checkStructure(
        _ program: UnsafePointer<WindowProgram.Stream>,
        _ state: UInt32,
        _ census: inout BlockCensus
    ) throws(StateError) {
        try arena.claim(state, bytes: program.pointee.stateBytes, in: &census, "a stream's state")
        let header: StreamHeader = arena.cells(state).pointee
        let capacity = Int(header.capacity)
        try StateError.require(
            capacity & (capacity - 1) == 0 && capacity <= Engine.entriesPerKeyMax
                && (capacity == 0) == (header.ring == 0),
            "a ring has room for \(capacity) entries"
        )
        if capacity > 0 {
            try arena.claim(header.ring, bytes: capacity * program.pointee.entryBytes, in: &census, "a ring")
        }
        try StateError.require(Int(header.tail &- header.base) <= capacity, "a ring has more entries than room")
        try StateError.require(header.tail &- header.base <= entriesPerKey, "a key has more entries than its limit")
        try StateError.require(header.rewind == nil, "a stream is rewound between epochs")
        let stream = WindowStream(program, state, arena)
        try stream.checkOrder()
        try checkTexts(stream, &census)
        for d in 0..<program.pointee.distinctCount { try checkMap(stream, program.pointee.distinct[d], &census) }
    }

    private func checkTexts(_ stream: WindowStream, _ census: inout BlockCensus) throws(StateError) {
        guard stream.program.pointee.hasTexts else { return }
        var position = stream.base
        while position != stream.tail {
            for c in 0..<stream.program.pointee.columnCount where stream.program.pointee.columns[c].text >= 0 {
                let block = stream.entry(position).load(
                    fromByteOffset: stream.program.pointee.columns[c].text,
                    as: UInt32.self
                )
                try arena.claim(block, bytes: KeptText.blockBytes, in: &census, "a text")
                let text: KeptText = arena.cells(block).pointee
                try StateError.require(Int(text.length) <= KeptText.longest, "a kept text of \(text.length) bytes")
            }
            position &+= 1
        }
    }

    /// The map has each value's newest position and nothing else, and entries link to each other by it; a column without one has
    /// few enough entries to be scanned.
    private func checkMap(
        _ stream: WindowStream,
        _ column: WindowPlan.DistinctColumn,
        _ census: inout BlockCensus
    ) throws(StateError) {
        let header = stream.map(column).pointee
        guard header.cells != 0 else {
            try StateError.require(header.capacity == 0 && header.used == 0, "a map without cells has values")
            try StateError.require(
                stream.tail &- stream.base <= WindowStream.scanLimit,
                "\(stream.tail &- stream.base) entries are too many to be scanned, and there is no map of them"
            )
            try stream.checkLinks(column) { stream.newest(column, $0) }
            return
        }
        let capacity = Int(header.capacity)
        try StateError.require(
            capacity & (capacity - 1) == 0 && capacity >= 4 && capacity <= Engine.entriesPerKeyMax * 4,
            "a map has \(capacity) cells"
        )
        try arena.claim(header.cells, bytes: capacity * MemoryLayout<MapCell>.stride, in: &census, "a map")
        let cells: UnsafeMutablePointer<MapCell> = arena.cells(header.cells)
        var used = 0
        for at in 0..<capacity where cells[at].isUsed != 0 { used += 1 }
        // Only then does every search come to an end.
        try StateError.require(
            used == Int(header.used) && used * 4 <= capacity * 3,
            "a map of \(capacity) has \(used) values"
        )
        let map = DistinctMap(stream.map(column), arena, hash, isHashed: column.isHashed)
        try stream.checkLinks(column) { map.position(of: $0) }
        var values = 0
        var position = stream.base
        while position != stream.tail {
            if WindowStream.link(column, stream.entry(position)).pointee & WindowStream.repeated == 0 { values += 1 }
            position &+= 1
        }
        try StateError.require(values == used, "a map has \(used) values, and the ring \(values)")
    }

    private func forEachStream(_ body: (WindowStream) throws(StateError) -> Void) throws(StateError) {
        for t in tables.indices {
            let table = program.tables[t]
            for at in 0...tables[t].mask where tables[t].buckets[at].key != 0 {
                for s in 0..<table.streamCount {
                    let state = state(table, tables[t].buckets[at].ref, s)
                    if state != 0 { try body(WindowStream(program.streams + table.streams[s], state, arena)) }
                }
            }
        }
    }
}
