import Models

// The blocks have no digest of their own: what one holds, only its owner knows.
extension MemberBlocks {
    /// Writes u64 words, u32 first free block per size, then the words.
    func write(to sink: inout some StateSink) {
        sink.put(top)
        for sizeClass in 0..<4 { sink.put(freeHead(sizeClass)) }
        sink.put(UnsafePointer(words), count: top)
    }

    /// Takes the place of what is here; who owns the blocks checks them with ``checkFreeBlocks(_:)``.
    mutating func read(from source: inout some StateSource) throws(StateError) {
        let top = try source.takeCount("words of members", in: 0...limit, bytesEach: 8)
        free = (try source.take(), try source.take(), try source.take(), try source.take())
        var capacity = memory.count
        while capacity < top { capacity = min(2 * capacity, limit) }
        memory = OwnedBuffer(undefined: capacity)
        self.top = top
        try source.take(into: words, count: top)
    }
}
