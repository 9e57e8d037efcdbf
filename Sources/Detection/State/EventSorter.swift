/// Puts events into the order of an epoch, in memory that it keeps.
public struct EventSorter: ~Copyable {
    private var sorter = NaturalMergeSort<Event>()

    public init() {}

    /// Sorts by ``Event/precedes(_:_:)``; costs one pass when they are in order already.
    public mutating func sort(_ events: UnsafeMutableBufferPointer<Event>) {
        sorter.sort(events) { Event.precedes($0, $1) }
    }
}
