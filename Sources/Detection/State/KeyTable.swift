import Models

/// Key hash → block in the slot's arena: open addressing, linear probing, deletion by shifting back.
///
/// 16 bytes a bucket, at most two thirds full. Keys are keyed 64-bit hashes, never 0. The order of the buckets never reaches an
/// output.
struct KeyTable: ~Copyable {
    struct Bucket: BitwiseCopyable {
        var key: UInt64
        var ref: UInt32
        var unused: UInt32
    }

    /// Zeroed: of a table that has just doubled only the pages are there that have keys.
    var buckets = OwnedBuffer<Bucket>(zeroed: 16)
    var mask = 15
    var count = 0

    var bytes: Int { (mask + 1) * MemoryLayout<Bucket>.stride }

    /// By bits that did not choose the slot (``Slots``).
    @inline(__always)
    func home(_ key: UInt64) -> Int { Int(truncatingIfNeeded: key &>> 12) & mask }

    /// The block of a key, or 0.
    @inline(__always)
    func find(_ key: UInt64) -> UInt32 {
        var at = home(key)
        while true {
            let bucket = buckets[at]
            if bucket.key == key { return bucket.ref }
            if bucket.key == 0 { return 0 }
            at = (at &+ 1) & mask
        }
    }

    /// Adds a key that ``find(_:)`` did not find.
    mutating func insert(_ key: UInt64, _ ref: UInt32) {
        if (count &+ 1) &* 3 > (mask &+ 1) &* 2 { grow() }
        var at = home(key)
        while buckets[at].key != 0 { at = (at &+ 1) & mask }
        buckets[at] = Bucket(key: key, ref: ref, unused: 0)
        count &+= 1
    }

    /// Removes the key in a bucket; later keys of its run move up, possibly into this very bucket.
    mutating func remove(at index: Int) {
        var hole = index
        var at = (hole &+ 1) & mask
        while buckets[at].key != 0 {
            let distance = (at &- home(buckets[at].key)) & mask
            if distance >= (at &- hole) & mask {
                buckets[hole] = buckets[at]
                hole = at
            }
            at = (at &+ 1) & mask
        }
        buckets[hole] = Bucket(key: 0, ref: 0, unused: 0)
        count &-= 1
    }

    private mutating func grow() {
        let larger = OwnedBuffer<Bucket>(zeroed: buckets.count * 2)
        mask = larger.count - 1
        let places = larger.base
        for i in buckets.indices where buckets[i].key != 0 {
            var at = home(buckets[i].key)
            while places[at].key != 0 { at = (at &+ 1) & mask }
            places[at] = buckets[i]
        }
        buckets = larger
    }
}
