import Models

extension MemberBlocks {
    /// A census of the words handed out, by the smallest block.
    func census() throws(StateError) -> BlockCensus {
        let unit = MemberBlocks.size(0) * wordsPerMember
        try StateError.require(top % unit == 0, "\(top) words are no whole blocks of \(unit)")
        return BlockCensus(units: top / unit)
    }

    /// Claims a block with so many members in it.
    func claim(
        _ offset: UInt32,
        sizeClass: UInt32,
        members: Int,
        in census: inout BlockCensus,
        _ owner: @autoclosure () -> String
    ) throws(StateError) {
        let unit = MemberBlocks.size(0) * wordsPerMember
        try StateError.require(
            sizeClass < 4 && Int(offset) % unit == 0,
            "\(owner()) has a block of size \(sizeClass) at \(offset)"
        )
        let size = MemberBlocks.size(Int(sizeClass))
        try StateError.require(
            (1...size).contains(members),
            "\(owner()) has \(members) members in a block of \(size)"
        )
        try census.claim(Int(offset) / unit, size / MemberBlocks.size(0), owner())
    }

    /// Free blocks lie inside, each in one list and once.
    func checkFreeBlocks(_ census: inout BlockCensus) throws(StateError) {
        for sizeClass in 0..<4 {
            var offset = freeHead(sizeClass)
            while offset != MemberBlocks.none {
                try claim(offset, sizeClass: UInt32(sizeClass), members: 1, in: &census, "a free block")
                offset = UInt32(truncatingIfNeeded: words[Int(offset)])
            }
        }
    }
}
