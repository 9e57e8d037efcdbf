import Models

/// Natural merge sort (Knuth, The Art of Computer Programming, volume 3, 5.2.4) in memory that is kept.
///
/// What an epoch sorts are a few ascending runs laid end to end (one per sender of an exchange, one per partition), or events of
/// one source, some of which came a little late. The standard library's sort finds runs too, but asks the heap for its work area
/// every time. Of two neighbours only what overlaps is merged, as in Peters' timsort: an event a second late moves what came in
/// that second and nothing else. Stable. Cost: one pass of n steps to find the runs, and at most one per doubling to merge them;
/// nothing but the first pass when there is one run. Keeps room for half of the elements.
struct NaturalMergeSort<Element: BitwiseCopyable>: ~Copyable {
    /// Shorter runs are lengthened to this by insertion, which beats merging.
    private static var shortestRun: Int { 12 }

    private var spare = OwnedBuffer<Element>(undefined: 0)
    /// Where each run ends.
    private var ends: [Int] = []

    /// Sorts in place.
    @inline(__always)
    mutating func sort(
        _ elements: UnsafeMutableBufferPointer<Element>,
        by precedes: (borrowing Element, borrowing Element) -> Bool
    ) {
        guard elements.count > 1, let base = elements.baseAddress else { return }
        findRuns(base, elements.count, precedes)
        guard ends.count > 1 else { return }
        if elements.count / 2 > spare.count {
            spare = OwnedBuffer(undefined: max(elements.count / 2, 2 * spare.count))
        }
        while ends.count > 1 { mergePairs(base, precedes) }
    }

    private mutating func findRuns(
        _ base: UnsafeMutablePointer<Element>,
        _ count: Int,
        _ precedes: (borrowing Element, borrowing Element) -> Bool
    ) {
        ends.removeAll(keepingCapacity: true)
        var start = 0
        while start < count {
            var end = start + 1
            while end < count, !precedes(base[end], base[end - 1]) { end += 1 }
            let longer = min(count, start + NaturalMergeSort.shortestRun)
            while end < longer {
                let element = base[end]
                var at = end
                while at > start, precedes(element, base[at - 1]) {
                    base[at] = base[at - 1]
                    at -= 1
                }
                base[at] = element
                end += 1
            }
            ends.append(end)
            start = end
        }
    }

    /// Merges each run with its neighbour; a last one without stays.
    private mutating func mergePairs(
        _ base: UnsafeMutablePointer<Element>,
        _ precedes: (borrowing Element, borrowing Element) -> Bool
    ) {
        var merged = 0
        var start = 0
        var run = 0
        while run + 1 < ends.count {
            let end = ends[run + 1]
            merge(base, start, ends[run], end, precedes)
            ends[merged] = end
            merged += 1
            start = end
            run += 2
        }
        if run < ends.count {
            ends[merged] = ends[run]
            merged += 1
        }
        ends.removeSubrange(merged...)
    }

    /// Merges `start..<middle` with `middle..<end`, the shorter of what overlaps by way of the spare memory.
    private func merge(
        _ base: UnsafeMutablePointer<Element>,
        _ start: Int,
        _ middle: Int,
        _ end: Int,
        _ precedes: (borrowing Element, borrowing Element) -> Bool
    ) {
        // What precedes the right one's first or follows the left one's last is where it belongs. Of equal ones the left comes
        // first.
        let left = NaturalMergeSort.first(in: start..<middle, nearEnd: true) { precedes(base[middle], base[$0]) }
        if left == middle { return }
        let right = NaturalMergeSort.first(in: middle..<end, nearEnd: false) { !precedes(base[$0], base[middle - 1]) }
        if middle - left <= right - middle {
            let count = middle - left
            spare.base.update(from: base + left, count: count)
            var (taken, next, at) = (0, middle, left)
            while taken < count {
                if next < right, precedes(base[next], spare.base[taken]) {
                    base[at] = base[next]
                    next += 1
                } else {
                    base[at] = spare.base[taken]
                    taken += 1
                }
                at += 1
            }
        } else {
            let count = right - middle
            spare.base.update(from: base + middle, count: count)
            var (kept, next, at) = (count, middle, right)
            while kept > 0 {
                at -= 1
                if next > left, precedes(spare.base[kept - 1], base[next - 1]) {
                    next -= 1
                    base[at] = base[next]
                } else {
                    kept -= 1
                    base[at] = spare.base[kept]
                }
            }
        }
    }

    /// The first place for which a condition holds that holds for all behind it; the range's end where it holds for none.
    ///
    /// Doubles its steps from one end until it has passed the place, then halves (Bentley and Yao's search): its cost is the
    /// logarithm of the distance from there.
    @inline(__always)
    private static func first(in range: Range<Int>, nearEnd: Bool, where holds: (Int) -> Bool) -> Int {
        var (from, to) = (range.lowerBound, range.upperBound)
        var step = 1
        if nearEnd {
            while to - step >= from, holds(to - step) {
                to -= step
                step *= 2
            }
            from = max(from, to - step + 1)
        } else {
            while from + step <= to, !holds(from + step - 1) {
                from += step
                step *= 2
            }
            to = min(to, from + step - 1)
        }
        while from < to {
            let middle = from + (to - from) / 2
            if holds(middle) { to = middle } else { from = middle + 1 }
        }
        return from
    }
}
