import Models

extension KeyTable {
    /// Every key is found where it is, once, and the table is at most two thirds full.
    func checkInvariants() throws(StateError) {
        var keys = 0
        for at in 0...mask where buckets[at].key != 0 { keys += 1 }
        try StateError.require(keys == count, "a table of \(keys) keys says that it has \(count)")
        // Only then does every search come to an end.
        try StateError.require(keys * 3 <= (mask + 1) * 2, "a table of \(mask + 1) buckets has \(keys) keys")
        for at in 0...mask where buckets[at].key != 0 {
            try StateError.require(bucket(of: buckets[at].key) == at, "a key is not found in its bucket \(at)")
            try StateError.require(buckets[at].ref != 0, "the key in bucket \(at) has no block")
        }
        for at in 0...mask where buckets[at].key == 0 {
            try StateError.require(buckets[at].ref == 0, "the empty bucket \(at) has a block")
        }
    }

    /// The bucket where a search for a key ends.
    private func bucket(of key: UInt64) -> Int {
        var at = home(key)
        while buckets[at].key != key, buckets[at].key != 0 { at = (at &+ 1) & mask }
        return at
    }
}
