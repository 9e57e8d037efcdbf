/// A text that a field has had: the same bytes need not be scanned and hashed again.
///
/// Currencies, countries, channels, coupons of the day: in many fields the same few texts come again and again, and a comparison
/// costs a sixth of a scan with its keyed hash. Each field has ``ways`` of them, and how a text begins says which one it may be.
/// Every eighth text that is another one is remembered instead, so what is kept is mostly the commonest, and a field whose texts
/// never come twice pays for one comparison of a word. Only speed hangs on it: equal bytes have equal hashes.
struct RememberedText {
    /// Longer texts, their closing quote counted in, are not remembered.
    static let bytesMax = 128
    /// How many a key has; see ``DecodeWork/rememberedText(for:of:)``.
    static let ways = 8

    /// First eight bytes, those behind the closing quote masked out; nothing has the word 1 under the mask 0.
    private var word: UInt64 = 1
    private var mask: UInt64 = 0
    /// Last eight bytes of a text of more than eight.
    private var tail: UInt64 = 0
    private(set) var hash: UInt64 = 0
    /// With the closing quote.
    private(set) var length: Int32 = 0
    private var others: UInt32 = 0

    /// Whether the same text with its closing quote stands here.
    ///
    /// - Parameter bytes: what ``remember(_:length:hash:in:)`` kept.
    @inline(__always)
    func stands(at: UnsafePointer<UInt8>, before end: UnsafePointer<UInt8>, _ bytes: UnsafePointer<UInt8>) -> Bool {
        let text = UnsafeRawPointer(at)
        if text.loadUnaligned(as: UInt64.self) & mask != word { return false }
        let length = Int(length)
        if length <= 8 { return true }
        if length > end - at || text.loadUnaligned(fromByteOffset: length &- 8, as: UInt64.self) != tail {
            return false
        }
        var offset = 8
        while offset < length &- 8 {
            if text.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
                != UnsafeRawPointer(bytes).loadUnaligned(fromByteOffset: offset, as: UInt64.self)
            {
                return false
            }
            offset &+= 8
        }
        return true
    }

    /// Notes that another text stood here, and whether to remember it.
    @inline(__always)
    mutating func meetsAnother() -> Bool {
        defer { others &+= 1 }
        return others & 7 == 0
    }

    /// - Parameters:
    ///   - at: its first byte; eight bytes behind its last one are readable.
    ///   - length: with the closing quote.
    ///   - bytes: room for ``bytesMax``.
    @inline(never)
    mutating func remember(
        _ at: UnsafePointer<UInt8>,
        length: Int,
        hash: UInt64,
        in bytes: UnsafeMutablePointer<UInt8>
    ) {
        if length > RememberedText.bytesMax { return }
        mask = length >= 8 ? .max : (1 &<< UInt64(truncatingIfNeeded: 8 &* length)) &- 1
        word = UnsafeRawPointer(at).loadUnaligned(as: UInt64.self) & mask
        tail = length > 8 ? UnsafeRawPointer(at).loadUnaligned(fromByteOffset: length - 8, as: UInt64.self) : 0
        bytes.update(from: at, count: length)
        self.hash = hash
        self.length = Int32(truncatingIfNeeded: length)
    }
}
