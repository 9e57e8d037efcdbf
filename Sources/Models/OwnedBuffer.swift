import func Glibc.calloc
import func Glibc.free
import func Glibc.malloc
import func Glibc.realloc

/// Elements on the heap that one owner holds: a fixed number, in the manner of swift-collections' `RigidArray`.
///
/// What memory by hand has in three places (the property, the initialiser, `deinit`) is one property here; a block with several
/// regions is one of bytes, beside which its owner keeps where each begins. An element is a place in memory: writing one needs no
/// exclusive access to the buffer, so threads may work on elements of their own at the same time, as they do with slots. The buffer
/// never moves but in ``resize(to:)``, so pointers to elements are good until then, and a hot loop takes ``base`` once. Bounds are
/// checked in debug builds.
@frozen
public struct OwnedBuffer<Element: ~Copyable>: ~Copyable {
    /// The first element; never null, also where there is none.
    public let base: UnsafeMutablePointer<Element>
    public let count: Int

    @inlinable
    init(taking base: UnsafeMutablePointer<Element>, count: Int) {
        self.base = base
        self.count = count
    }

    /// Makes each element, in order; where one throws, those before it are destroyed again.
    @inlinable
    public init<Failure>(count: Int, _ element: (Int) throws(Failure) -> Element) throws(Failure) {
        let base = HeapBlock.make(count, of: Element.self)
        var made = 0
        do throws(Failure) {
            while made < count {
                (base + made).initialize(to: try element(made))
                made += 1
            }
        } catch {
            base.deinitialize(count: made)
            HeapBlock.release(base)
            throw error
        }
        self.init(taking: base, count: count)
    }

    @inlinable
    deinit {
        base.deinitialize(count: count)
        HeapBlock.release(base)
    }

    @inlinable public var indices: Range<Int> { 0..<count }

    /// The place of an element.
    @inlinable
    public subscript(_ index: Int) -> Element {
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

extension OwnedBuffer {
    /// So many equal elements.
    @inlinable
    public init(repeating element: Element, count: Int) {
        let base = HeapBlock.make(count, of: Element.self)
        base.initialize(repeating: element, count: count)
        self.init(taking: base, count: count)
    }

    /// The elements of an array.
    @inlinable
    public init(_ elements: [Element]) {
        let base = HeapBlock.make(elements.count, of: Element.self)
        base.initialize(from: elements, count: elements.count)
        self.init(taking: base, count: elements.count)
    }
}

extension OwnedBuffer where Element: BitwiseCopyable {
    /// A work area: its content is undefined until it is written.
    @inlinable
    public init(undefined count: Int) { self.init(taking: HeapBlock.make(count, of: Element.self), count: count) }

    /// Elements whose every bit is 0, which must mean something.
    ///
    /// Of a large block the system gives only the pages that are touched.
    @inlinable
    public init(zeroed count: Int) { self.init(taking: HeapBlock.makeZeroed(count, of: Element.self), count: count) }

    /// Holds `count` elements and keeps those there are, as many as fit; what is new is undefined.
    ///
    /// Of a large block the system moves the pages instead of copying them.
    @inlinable
    public mutating func resize(to count: Int) {
        let moved = HeapBlock.resize(base, to: count)
        // The old block is gone already: nothing may release it again.
        let old = self
        self = OwnedBuffer(taking: moved, count: count)
        old.abandon()
    }

    /// Makes room for at least `count` elements and keeps those there are; what is new is undefined.
    @inlinable
    public mutating func grow(to count: Int) { if count > self.count { resize(to: count) } }
}

extension OwnedBuffer where Element: ~Copyable {
    /// Forgets a block that somebody else has taken over.
    @inlinable
    consuming func abandon() { discard self }
}

/// The door to the C library's heap; blocks begin at multiples of 16 bytes.
///
/// Huge pages for large blocks were measured and left out. The stages look ahead, so that the walk of a page table hides behind the
/// miss of the line that it leads to: user time stayed as it was, while a virtual machine whose host takes free huge pages back
/// paid 5 ms for each that was touched, and every slot's last one is half empty.
@usableFromInline
enum HeapBlock {
    @inlinable
    static func make<Element: ~Copyable>(_ count: Int, of _: Element.Type) -> UnsafeMutablePointer<Element> {
        make(bytes: bytes(count, of: Element.self)).bindMemory(to: Element.self, capacity: count)
    }

    @inlinable
    static func makeZeroed<Element: ~Copyable>(_ count: Int, of _: Element.Type) -> UnsafeMutablePointer<Element> {
        makeZeroed(bytes: bytes(count, of: Element.self)).bindMemory(to: Element.self, capacity: count)
    }

    @inlinable
    static func resize<Element>(_ base: UnsafeMutablePointer<Element>, to count: Int) -> UnsafeMutablePointer<Element> {
        resize(UnsafeMutableRawPointer(base), bytes: bytes(count, of: Element.self))
            .bindMemory(to: Element.self, capacity: count)
    }

    @inlinable
    static func bytes<Element: ~Copyable>(_ count: Int, of _: Element.Type) -> Int {
        precondition(MemoryLayout<Element>.alignment <= 16, "the heap aligns to 16 bytes")
        // The C library may return null for no bytes.
        return max(1, count * MemoryLayout<Element>.stride)
    }

    @usableFromInline
    static func make(bytes: Int) -> UnsafeMutableRawPointer { orTrap(malloc(bytes)) }

    @usableFromInline
    static func makeZeroed(bytes: Int) -> UnsafeMutableRawPointer { orTrap(calloc(bytes, 1)) }

    @usableFromInline
    static func resize(_ block: UnsafeMutableRawPointer, bytes: Int) -> UnsafeMutableRawPointer {
        orTrap(realloc(block, bytes))
    }

    @usableFromInline
    static func release(_ block: UnsafeMutableRawPointer) { free(block) }

    private static func orTrap(_ block: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer {
        guard let block else { preconditionFailure("out of memory") }
        return block
    }
}
