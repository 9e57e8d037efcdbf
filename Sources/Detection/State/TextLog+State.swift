import Models

extension TextLog {
    /// Writes u64 bytes ever written, then the log's bytes, as many as were written at most.
    func write(to sink: inout some StateSink) {
        sink.put(end)
        sink.put(UnsafePointer(bytes), count: kept)
    }

    /// Takes the place of what is here.
    mutating func read(from source: inout some StateSource) throws(StateError) {
        end = try source.take()
        try StateError.require(end < 1 << 62, "a log of texts has \(end) bytes")
        bytes.update(repeating: 0, count: capacity)
        try source.take(into: bytes, count: kept)
        try checkInvariants()
    }

    private var kept: Int { Int(min(end, UInt64(capacity))) }

    func digest(into digest: inout UInt64) {
        digest = SplitMix64.mix(digest ^ end)
        SplitMix64.fold(UnsafeRawBufferPointer(start: bytes, count: capacity), into: &digest)
    }
}
