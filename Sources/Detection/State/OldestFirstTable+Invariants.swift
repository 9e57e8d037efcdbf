import Models

extension OldestFirstTable {
    func checkInvariants() throws(StateError) {
        try checkLinks()
        try checkCells()
    }

    /// Whether a number is of a row that is in use; for checks of what refers to rows.
    func holds(_ row: UInt32) -> Bool { Int(row) < used && find(keys[Int(row)]) == row }

    /// From the oldest to the newest every row in use comes once, and every other one is in the list of free rows.
    func checkLinks() throws(StateError) {
        try StateError.require(
            count <= used && used <= capacity && capacity <= limit,
            "a table has \(count) of \(used) rows of \(capacity)"
        )
        var seen = BlockCensus(units: used)
        var (row, before) = (oldest, Self.none)
        for _ in 0..<count {
            try seen.claim(Int(row), 1, "a row by age")
            try StateError.require(links[Int(row)].older == before, "the row before \(row) is another")
            (before, row) = (row, links[Int(row)].newer)
        }
        try StateError.require(row == Self.none && before == newest, "the newest row is not the last by age")
        row = free
        for _ in count..<used {
            try seen.claim(Int(row), 1, "a free row")
            row = links[Int(row)].newer
        }
        try StateError.require(row == Self.none, "there are more free rows than rows")
    }

    /// Every row is found by its key, and the cells hold nothing else.
    func checkCells() throws(StateError) {
        var filled = 0
        for at in 0...mask where cells[at] != 0 { filled += 1 }
        try StateError.require(filled == count, "a table of \(count) rows has \(filled) cells")
        var row = oldest
        while row != Self.none {
            let key = keys[Int(row)]
            try StateError.require(key != 0 && find(key) == row, "row \(row) is not found by its key")
            row = links[Int(row)].newer
        }
    }
}
