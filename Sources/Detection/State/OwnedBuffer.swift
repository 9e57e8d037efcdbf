/// Elements on the heap that one owner holds: a fixed number, all initialised, in the manner of swift-collections' `RigidArray`.
///
/// What a hand-written `allocate` has in three places (the property, the initialiser, `deinit`) is one property here. An element is
/// a place in memory: writing one needs no exclusive access to the buffer, so threads may work on elements of their own at the same
/// time, as they do with slots. The buffer never moves but in ``grow(to:)``, so pointers to elements are good until then. Bounds
/// are checked in debug builds.
struct OwnedBuffer<Element: ~Copyable>: ~Copyable {
    private(set) var base: UnsafeMutablePointer<Element>
    private(set) var count: Int

    /// Makes each element, in order.
    init(count: Int, _ element: (Int) -> Element) {
        self.count = count
        base = .allocate(capacity: count)
        for i in 0..<count { (base + i).initialize(to: element(i)) }
    }

    deinit { base.deinitialize(count: count).deallocate() }

    var indices: Range<Int> { 0..<count }

    subscript(_ index: Int) -> Element {
        @inline(__always) unsafeAddress {
            assert(index >= 0 && index < count, "an element of the buffer")
            return UnsafePointer(base + index)
        }
        @inline(__always) nonmutating unsafeMutableAddress {
            assert(index >= 0 && index < count, "an element of the buffer")
            return base + index
        }
    }
}

extension OwnedBuffer where Element: BitwiseCopyable {
    init(repeating element: Element, count: Int) {
        self.count = count
        base = .allocate(capacity: count)
        base.initialize(repeating: element, count: count)
    }

    init(_ elements: [Element]) {
        count = elements.count
        base = .allocate(capacity: count)
        base.initialize(from: elements, count: count)
    }

    /// A work area: its content is undefined until it is written.
    init(undefined count: Int) {
        self.count = count
        base = .allocate(capacity: count)
    }

    /// Makes room for at least `count` elements and keeps those there are; what is new is undefined.
    mutating func grow(to count: Int) {
        guard count > self.count else { return }
        let larger = UnsafeMutablePointer<Element>.allocate(capacity: count)
        larger.update(from: base, count: self.count)
        base.deallocate()
        base = larger
        self.count = count
    }
}
