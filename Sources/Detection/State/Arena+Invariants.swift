import Models

extension Arena {
    /// A census of the units handed out; unit 0, which names nothing, is counted.
    func census() throws(StateError) -> BlockCensus {
        var census = BlockCensus(units: Int(usedUnits))
        try census.claim(0, 1, "the unit that names nothing")
        return census
    }

    /// Claims a block that its owner asked for with so many bytes.
    func claim(
        _ ref: UInt32,
        bytes: Int,
        in census: inout BlockCensus,
        _ owner: @autoclosure () -> String
    ) throws(StateError) {
        try census.claim(Int(ref), Int(Arena.sizing(bytes).units), owner())
    }

    /// Free blocks lie inside, each in one list and once.
    func checkFreeBlocks(_ census: inout BlockCensus) throws(StateError) {
        try StateError.require(freeHeads[0] == 0, "blocks of no bytes are never free")
        for list in 1..<Arena.classes where freeHeads[list] != 0 {
            let power = list - Arena.exactClasses
            try StateError.require(power < 32, "no block is as large as those of list \(list)")
            var ref = freeHeads[list]
            while ref != 0 {
                try census.claim(Int(ref), power <= 0 ? list : 1 << power, "a free block of list \(list)")
                ref = pointer(ref).load(as: UInt32.self)
            }
        }
    }
}
