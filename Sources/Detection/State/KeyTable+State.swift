import Models

// A table has no digest of its own: where its keys lie is not folded, and what they lead to only its owner knows.
extension KeyTable {
    /// Writes u64 buckets, then the buckets: u64 key, u32 block, u32 0.
    ///
    /// Their order is state: sweeps and evictions go by it.
    func write(to sink: inout some StateSink) {
        sink.put(mask + 1)
        sink.put(UnsafePointer(buckets.base), count: mask + 1)
    }

    /// Takes the place of what is here; the blocks are the owner's to check.
    mutating func read(from source: inout some StateSource) throws(StateError) {
        let capacity = try source.takeCount(
            "buckets of a table",
            in: 16...Int.max / 2,
            bytesEach: MemoryLayout<Bucket>.stride
        )
        try StateError.require(capacity & (capacity - 1) == 0, "a table has \(capacity) buckets, no power of two")
        buckets = OwnedBuffer(zeroed: capacity)
        mask = capacity - 1
        count = 0
        try source.take(into: buckets.base, count: capacity)
        for at in 0..<capacity where buckets[at].key != 0 { count += 1 }
        try checkInvariants()
    }
}
