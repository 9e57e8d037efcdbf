import Models

extension RecentIds {
    /// Every id is found where it stands and nowhere before, lines are filled from their beginning, and searches come to an end.
    func checkInvariants() throws(StateError) {
        var ids = 0
        for place in 0..<lines * RecentIds.line where places[place].key != 0 { ids += 1 }
        try StateError.require(ids == count, "a table of \(ids) ids says that it has \(count)")
        try StateError.require(isWithinRoom, "a table of \(lines) lines has \(count) ids, and \(limit) are allowed")
        for place in 0..<lines * RecentIds.line {
            let entry = places[place]
            if entry.key == 0 {
                try StateError.require(entry.time == 0, "the free place \(place) has a time")
            } else {
                try StateError.require(self.place(of: entry.key) == place, "an id is not found at its place \(place)")
            }
        }
    }

    /// Where the search for an id ends.
    private func place(of key: UInt64) -> Int {
        var at = home(key)
        while true {
            let first = at * RecentIds.line
            for place in first..<first + RecentIds.line where places[place].key == key || places[place].key == 0 {
                return place
            }
            at = after(at)
        }
    }
}
