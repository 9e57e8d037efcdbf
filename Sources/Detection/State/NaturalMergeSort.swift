import Models

/// Natural merge sort (Knuth, The Art of Computer Programming, volume 3, 5.2.4) in memory that is kept.
///
/// What an epoch sorts are a few ascending runs laid end to end: one per sender of an exchange, one per partition. The standard
/// library's sort finds them too, but asks the heap for its work area every time. Stable. Cost: one pass of n steps to find the
/// runs, and one per doubling to merge them; nothing but the first pass when there is one run.
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
        if elements.count > spare.count {
            spare = OwnedBuffer(undefined: max(elements.count, 2 * spare.count))
        }
        var (from, into) = (base, spare.base)
        while ends.count > 1 {
            mergePairs(from, into, precedes)
            swap(&from, &into)
        }
        if from != base { base.update(from: from, count: elements.count) }
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

    /// Merges each run with its neighbour; a last one without is copied.
    private mutating func mergePairs(
        _ from: UnsafeMutablePointer<Element>,
        _ into: UnsafeMutablePointer<Element>,
        _ precedes: (borrowing Element, borrowing Element) -> Bool
    ) {
        var merged = 0
        var start = 0
        var run = 0
        while run < ends.count {
            let middle = ends[run]
            let end = run + 1 < ends.count ? ends[run + 1] : middle
            var (left, right) = (start, middle)
            var at = start
            while left < middle, right < end {
                // Of equal ones the left comes first.
                if precedes(from[right], from[left]) {
                    into[at] = from[right]
                    right += 1
                } else {
                    into[at] = from[left]
                    left += 1
                }
                at += 1
            }
            (into + at).update(from: from + left, count: middle - left)
            at += middle - left
            (into + at).update(from: from + right, count: end - right)
            ends[merged] = end
            merged += 1
            start = end
            run += 2
        }
        ends.removeSubrange(merged...)
    }
}
