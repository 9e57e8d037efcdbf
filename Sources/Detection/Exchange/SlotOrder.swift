import Models

/// Items filed by slot in the order in which they came: the counting sort of every exchange.
///
/// Count all of them, lay out, then ask for the place of each in the same order:
/// ```
/// order.clear()
/// for item in items { order.count(slot(item)) }
/// order.layOut()
/// for item in items { sorted[order.place(slot(item))] = item }
/// for item in sorted[order[slot]] { … }
/// ```
struct SlotOrder: ~Copyable {
    /// How many items each slot has, one place on; once laid out, where each slot begins and the last one ends.
    private let starts = OwnedBuffer<Int>(repeating: 0, count: Slots.count + 1)
    /// The place of each slot's next item.
    private let next = OwnedBuffer<Int>(repeating: 0, count: Slots.count)

    func clear() { for s in 0...Slots.count { starts[s] = 0 } }

    @inline(__always)
    func count(_ slot: Int) { starts[slot &+ 1] &+= 1 }

    func layOut() {
        for s in 0..<Slots.count {
            next[s] = starts[s]
            starts[s &+ 1] &+= starts[s]
        }
    }

    /// Where a slot's next item belongs; as often for each slot as it was counted.
    @inline(__always)
    func place(_ slot: Int) -> Int {
        let place = next[slot]
        next[slot] = place &+ 1
        return place
    }

    /// The places of a slot's items.
    subscript(slot: Int) -> Range<Int> { starts[slot]..<starts[slot &+ 1] }
}
