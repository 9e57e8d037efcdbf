import RuleLanguage

/// Distinct values: each entry links back to the previous one with its value, and long streams find that by a map.
///
/// A stream of few entries is scanned; from ``scanLimit`` on a column keeps a ``DistinctMap``. The per-event calls stay in this
/// module, where they are inlined into ``WindowSlot/apply(_:events:rows:rowWidth:signals:watermark:evaluators:rewinds:)``.
extension WindowStream {
    @inline(__always)
    func hasMap(_ column: WindowPlan.DistinctColumn) -> Bool { map(column).pointee.cells != 0 }

    /// Finds the previous entry with the tail entry's value, links both, and remembers the newest position; there is room in the
    /// map.
    @inline(__always)
    func link(_ column: WindowPlan.DistinctColumn, _ arena: borrowing Arena, _ hash: WordHash) {
        let tail = self.tail
        let entry = entry(tail)
        let value = WindowStream.value(column, entry)
        var distance: UInt32 = 0
        if hasMap(column) {
            distance = DistinctMap(map(column), arena, hash, isHashed: column.isHashed).exchange(value, tail)
        } else {
            let kept = tail &- base
            var back: UInt32 = 1
            while back <= kept {
                if WindowStream.value(column, self.entry(tail &- back)) == value {
                    distance = back
                    break
                }
                back &+= 1
            }
        }
        WindowStream.link(column, entry).pointee = distance
        if distance != 0 { WindowStream.link(column, self.entry(tail &- distance)).pointee |= WindowStream.repeated }
    }

    /// Takes the values that only the oldest entry has out of the maps.
    @inline(__always)
    func unlinkOldest(_ arena: borrowing Arena, _ hash: WordHash) {
        for d in 0..<program.pointee.distinctCount {
            let column = program.pointee.distinct[d]
            let oldest = entry(base)
            if hasMap(column), WindowStream.link(column, oldest).pointee & WindowStream.repeated == 0 {
                DistinctMap(map(column), arena, hash, isHashed: column.isHashed).erase(
                    WindowStream.value(column, oldest)
                )
            }
        }
    }
}
