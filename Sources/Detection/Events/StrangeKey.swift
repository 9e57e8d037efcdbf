/// A key that an object holds and no field reads: it need not be measured and looked up again.
///
/// Only speed hangs on it: what is kept is the whole text, and the plan does not change.
struct StrangeKey {
    /// Longer ones, their closing quote counted in, are looked up each time: two words compare all of a shorter one.
    static let lengthMax = 16
    static let placesShift: UInt32 = 6
    /// How many a decoder keeps.
    static let places = 1 << Int(placesShift)

    /// First eight bytes, those behind the closing quote masked out; nothing has the word 1 under the mask 0.
    private var word: UInt64 = 1
    private var mask: UInt64 = 0
    /// The eight bytes that end with the closing quote, of a text of more than eight; and where they begin, else 0.
    private var tail: UInt64 = 0
    private var tailOffset: Int32 = 0
    /// With the closing quote.
    private(set) var length: Int32 = 0
    private var node: Int32 = -1

    /// Whether this key stands here, up to its closing quote, in an object at this node.
    ///
    /// - Parameter at: its first byte; 16 bytes are readable.
    @inline(__always)
    func stands(at: UnsafePointer<UInt8>, in node: Int32) -> Bool {
        let text = UnsafeRawPointer(at)
        if self.node != node || text.loadUnaligned(as: UInt64.self) & mask != word { return false }
        return tailOffset == 0 || text.loadUnaligned(fromByteOffset: Int(tailOffset), as: UInt64.self) == tail
    }

    /// - Parameters:
    ///   - at: its first byte, of a text without escapes.
    ///   - length: with the closing quote.
    @inline(__always)
    mutating func remember(_ at: UnsafePointer<UInt8>, length: Int, in node: Int32) {
        if length > StrangeKey.lengthMax { return }
        let text = UnsafeRawPointer(at)
        mask = length >= 8 ? .max : (1 &<< UInt64(truncatingIfNeeded: 8 &* length)) &- 1
        word = text.loadUnaligned(as: UInt64.self) & mask
        tailOffset = Int32(truncatingIfNeeded: max(0, length &- 8))
        tail = tailOffset == 0 ? 0 : text.loadUnaligned(fromByteOffset: Int(tailOffset), as: UInt64.self)
        self.length = Int32(truncatingIfNeeded: length)
        self.node = node
    }
}
