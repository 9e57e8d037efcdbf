import Models

/// A slot's memory: one growing block addressed by offsets, so that a copy of the bytes is a snapshot.
///
/// Blocks are multiples of 16 bytes and named by their offset in units of 16 bytes (`UInt32`: up to 64 GiB a slot); 0 names
/// nothing. Freed blocks wait in a list for their own size, so what is asked for again and again (rings of 2, 4, 8 … entries) is
/// reused without search. Growing may move the block: pointers into it are good only until the next ``allocate(bytes:)``.
struct Arena: ~Copyable {
    /// Blocks up to this many units have a free list of their own; larger sizes are rounded up to a power of two.
    static let exactClasses = 256
    static let classes = exactClasses + 1 + 33
    static let unitBytes = 16
    /// Most units of an arena, nearly 64 GiB, whether it grew or was read.
    static let unitsMax = Int(UInt32.max) - 1

    private var memory: OwnedBuffer<UInt8>
    /// Units in use or free-listed, from the start; the rest of the capacity was never handed out.
    private(set) var usedUnits: UInt32 = 1
    private var capacityUnits: UInt32 = 64
    /// First free block per class: exact classes, then one per power of two.
    let freeHeads = OwnedBuffer<UInt32>(repeating: 0, count: Arena.classes)

    init() {
        memory = OwnedBuffer(undefined: Int(capacityUnits) * Arena.unitBytes)
        base.initializeMemory(as: UInt8.self, repeating: 0, count: 16)
    }

    /// The first unit.
    @inline(__always)
    var base: UnsafeMutableRawPointer { UnsafeMutableRawPointer(memory.base) }

    /// Bytes the slot holds from the system.
    var reservedBytes: Int { memory.count }

    @inline(__always)
    func pointer(_ ref: UInt32) -> UnsafeMutableRawPointer { base + Int(ref) &* 16 }

    /// A block that was made as values of this type.
    @inline(__always)
    func cells<Cell: BitwiseCopyable>(_ ref: UInt32) -> UnsafeMutablePointer<Cell> {
        pointer(ref).assumingMemoryBound(to: Cell.self)
    }

    /// Units a block of so many bytes takes, and its class.
    @inline(__always)
    static func sizing(_ bytes: Int) -> (units: UInt32, list: Int) {
        let units = UInt32(truncatingIfNeeded: (bytes &+ 15) &>> 4)
        if units <= UInt32(exactClasses) { return (units, Int(units)) }
        let power = 32 - (units &- 1).leadingZeroBitCount
        return (1 &<< UInt32(power), exactClasses + power)
    }

    /// A block of at least `bytes` bytes; its content is undefined.
    mutating func allocate(bytes: Int) -> UInt32 {
        let (units, list) = Arena.sizing(bytes)
        let first = freeHeads[list]
        if first != 0 {
            freeHeads[list] = pointer(first).load(as: UInt32.self)
            return first
        }
        if capacityUnits &- usedUnits < units { grow(by: units) }
        let ref = usedUnits
        usedUnits &+= units
        // A copy of the bytes is a snapshot: of what was done here, not of what the process had there before.
        pointer(ref).initializeMemory(as: UInt8.self, repeating: 0, count: Int(units) * Arena.unitBytes)
        return ref
    }

    /// A block of so many equal values.
    mutating func allocate<Cell: BitwiseCopyable>(_ cell: Cell, count: Int) -> UInt32 {
        let ref = allocate(bytes: count &* MemoryLayout<Cell>.stride)
        pointer(ref).initializeMemory(as: Cell.self, repeating: cell, count: count)
        return ref
    }

    /// Gives back a block that was asked for with the same number of bytes.
    mutating func release(_ ref: UInt32, bytes: Int) {
        let (_, list) = Arena.sizing(bytes)
        pointer(ref).storeBytes(of: freeHeads[list], as: UInt32.self)
        freeHeads[list] = ref
    }

    /// Holds exactly so many units, of undefined content, and no more room.
    mutating func hold(units: UInt32) {
        memory.resize(to: Int(units) * Arena.unitBytes)
        (usedUnits, capacityUnits) = (units, units)
    }

    private mutating func grow(by units: UInt32) {
        // Twice as much while small, which the heap copies; then half as much again: the system moves the pages of large blocks.
        let growth = reservedBytes < 1 << 20 ? capacityUnits : capacityUnits / 2
        let wanted = UInt64(capacityUnits) + UInt64(max(units, growth))
        precondition(wanted <= UInt64(Arena.unitsMax), "a slot's state has reached 64 GiB")
        memory.resize(to: Int(wanted) * Arena.unitBytes)
        capacityUnits = UInt32(wanted)
    }
}
