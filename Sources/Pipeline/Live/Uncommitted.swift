/// What a worker has read and not committed yet: how many records, and since when the oldest of them waits.
///
/// A pure value. What is read within a second counts as read at its beginning, so the age is exact to a second, and never too low.
/// Offsets are counted, so the markers of transactional producers count as records.
struct Uncommitted {
    private struct Mark {
        /// Milliseconds since 1970.
        var time: Int64
        /// Per source, how far reading had come.
        var next: [Int64]
    }

    /// How long one mark is added to.
    private static let markMilliseconds: Int64 = 1000
    /// While nothing is committed reading soon stops, as memory is bounded; should it not, the last
    /// mark takes the rest.
    private static let marksMax = 1024

    /// Per source, behind the last record committed.
    private(set) var committed: [Int64]
    private var next: [Int64]
    private var marks: [Mark] = []

    init(from positions: [Int64]) {
        committed = positions
        next = positions
    }

    /// Takes in a source that was added, of which nothing was read yet.
    mutating func addSource(at position: Int64) {
        committed.append(position)
        next.append(position)
        for m in marks.indices { marks[m].next.append(position) }
    }

    /// Records that wait.
    var records: Int { zip(next, committed).reduce(0) { $0 + Int(max(0, $1.0 - $1.1)) } }

    /// When the oldest of them was read, in milliseconds since 1970; nil: none waits.
    var since: Int64? { marks.first?.time }

    /// Reading has come to here.
    mutating func read(to next: [Int64], now: Int64) {
        if self.next == next { return }
        for s in next.indices { self.next[s] = next[s] }
        if let last = marks.last, now - last.time < Uncommitted.markMilliseconds || marks.count == Uncommitted.marksMax
        {
            for s in next.indices { marks[marks.count - 1].next[s] = next[s] }
        } else {
            marks.append(Mark(time: now, next: next))
        }
    }

    /// All up to here is committed.
    mutating func commit(to positions: [Int64]) {
        for s in positions.indices { committed[s] = max(committed[s], positions[s]) }
        let covered = marks.prefix { mark in zip(mark.next, committed).allSatisfy { $0 <= $1 } }.count
        marks.removeFirst(covered)
    }

    /// Nothing waits: what lies between was no record.
    mutating func settle() {
        marks.removeAll(keepingCapacity: true)
        for s in next.indices { committed[s] = next[s] }
    }

    /// Whether nothing waits.
    var isEmpty: Bool { marks.isEmpty && next == committed }
}
