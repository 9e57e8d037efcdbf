/// A running sum of 64-bit integers in a stream's state, exact whatever is added and taken out again.
///
/// Layout: u64 low, i32 high, twelve bytes on a multiple of four. The 2^20 entries of a ring (``Engine/entriesPerKeyMax``) reach
/// 2^83 at most, so 96 bits cannot overflow. 64 bits would be right again when the sum is back inside them, but never say that it
/// is outside. 128 would cost a key four bytes more, and eight where they have to be aligned.
struct WindowSum {
    static let bytes = 12
    static let alignment = 4

    private let place: UnsafeMutableRawPointer

    /// - Parameter place: the sum in the state; good until the arena next allocates.
    @inline(__always)
    init(_ place: UnsafeMutableRawPointer) { self.place = place }

    @inline(__always) private var low: UInt64 { place.loadUnaligned(as: UInt64.self) }
    @inline(__always) private var high: Int32 { place.load(fromByteOffset: 8, as: Int32.self) }

    @inline(__always)
    func add(_ value: Int64) {
        let (sum, carry) = low.addingReportingOverflow(UInt64(bitPattern: value))
        store(sum, high &+ Int32(truncatingIfNeeded: value &>> 63) &+ (carry ? 1 : 0))
    }

    @inline(__always)
    func subtract(_ value: Int64) {
        let (rest, borrow) = low.subtractingReportingOverflow(UInt64(bitPattern: value))
        store(rest, high &- Int32(truncatingIfNeeded: value &>> 63) &- (borrow ? 1 : 0))
    }

    @inline(__always)
    private func store(_ low: UInt64, _ high: Int32) {
        place.storeBytes(of: low, as: UInt64.self)
        place.storeBytes(of: high, toByteOffset: 8, as: Int32.self)
    }

    /// The sum, or nil when it does not fit.
    @inline(__always)
    var int64: Int64? {
        let value = Int64(bitPattern: low)
        return Int64(high) == value &>> 63 ? value : nil
    }

    /// The nearest double.
    @inline(__always)
    var double: Double {
        if let value = int64 { return Double(value) }
        return Double(int128)
    }

    var int128: Int128 { Int128(high) << 64 + Int128(low) }
}
