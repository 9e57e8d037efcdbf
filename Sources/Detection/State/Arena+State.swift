import Models

// An arena alone has no digest: what a block holds, and that it is there at all, only its owner knows.
extension Arena {
    /// Writes u64 units, u32 first free block per class, then the units' bytes.
    func write(to sink: inout some StateSink) {
        sink.put(Int(usedUnits))
        sink.put(UnsafePointer(freeHeads.base), count: Arena.classes)
        sink.put(bytes: UnsafeRawBufferPointer(start: base, count: Int(usedUnits) * Arena.unitBytes))
    }

    /// Takes the place of what is here; who owns the blocks checks them with ``checkFreeBlocks(_:)``.
    mutating func read(from source: inout some StateSource) throws(StateError) {
        let units = try source.takeCount("units of an arena", in: 1...Arena.unitsMax, bytesEach: Arena.unitBytes)
        try source.take(into: freeHeads.base, count: Arena.classes)
        hold(units: UInt32(units))
        try source.take(into: UnsafeMutableRawBufferPointer(start: base, count: units * Arena.unitBytes))
    }
}
