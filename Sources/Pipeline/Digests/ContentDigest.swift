/// A running 64-bit digest of numbers and bytes, in the order in which they are added: tells whether what was read or judged once
/// is what is read or judged now.
///
/// It finds accidents: other content has the same digest once in 2^64. It withstands nobody who chooses content to that end, has no
/// key, and orders and places nothing. It must never change, as journals hold it.
///
/// 16 bytes a step by one multiplication of 64 by 64 bits whose halves are folded together with the factors, so that a factor of 0
/// loses nothing (wyhash of Wang Yi, final version 4, in its `WYHASH_CONDOM` 2 form); four such chains for long texts. Words are
/// little-endian on every machine. Cost: about 3 ns for a short text, below 0.1 ns a byte for a long one.
struct ContentDigest: Sendable {
    /// Of all that was added.
    private(set) var value: UInt64

    init() { value = ContentDigest.secret.0 }

    /// Goes on where another was left.
    init(continuing value: UInt64) { self.value = value }

    /// Wang Yi's constants: odd, and every byte of them has four bits.
    private static let secret: (UInt64, UInt64, UInt64, UInt64) = (
        0xa076_1d64_78bd_642f, 0xe703_7ed1_a0b4_28db, 0x8ebc_6af0_9c88_c6e3, 0x5899_65cc_7537_4cc3
    )

    @inline(__always)
    private static func fold(_ a: UInt64, _ b: UInt64) -> UInt64 {
        let (high, low) = a.multipliedFullWidth(by: b)
        return a ^ b ^ high ^ low
    }

    @inline(__always)
    mutating func add(_ a: UInt64, _ b: UInt64) {
        value = ContentDigest.fold(value ^ a, b ^ ContentDigest.secret.1)
    }

    mutating func add(_ a: Int64, _ b: Int64) { add(UInt64(bitPattern: a), UInt64(bitPattern: b)) }

    mutating func add(_ number: Int64) { add(number, 0) }

    mutating func add(_ text: String) {
        var text = text
        text.withUTF8 { add(UnsafeRawBufferPointer($0)) }
    }

    /// Adds bytes with their number: none is another thing than an empty text.
    mutating func add(_ bytes: UnsafeRawBufferPointer?) {
        add(Int64(bytes?.count ?? -1))
        if let bytes { addUncounted(bytes) }
    }

    /// Adds bytes whose number is added elsewhere.
    mutating func addUncounted(_ bytes: UnsafeRawBufferPointer) {
        guard var at = bytes.baseAddress else { return }
        var left = bytes.count
        if left >= 64 { addLong(&at, &left) }
        while left >= 16 {
            add(ContentDigest.word(at), ContentDigest.word(at + 8))
            at += 16
            left &-= 16
        }
        // Two reads that overlap where there are fewer bytes than both would take.
        if left >= 8 {
            add(ContentDigest.word(at), ContentDigest.word(at + (left &- 8)))
        } else if left >= 4 {
            add(ContentDigest.half(at), ContentDigest.half(at + (left &- 4)))
        } else if left > 0 {
            let first = UInt64(at.load(as: UInt8.self))
            let middle = UInt64((at + (left &>> 1)).load(as: UInt8.self))
            let last = UInt64((at + (left &- 1)).load(as: UInt8.self))
            add(first | middle &<< 8 | last &<< 16, 0)
        }
    }

    /// Takes whole parts of 64 bytes off the front.
    private mutating func addLong(_ at: inout UnsafeRawPointer, _ left: inout Int) {
        let secret = ContentDigest.secret
        var (a, b, c, d) = (value, value &+ secret.1, value &+ secret.2, value &+ secret.3)
        while left >= 64 {
            a = ContentDigest.fold(ContentDigest.word(at) ^ secret.0, ContentDigest.word(at + 8) ^ a)
            b = ContentDigest.fold(ContentDigest.word(at + 16) ^ secret.1, ContentDigest.word(at + 24) ^ b)
            c = ContentDigest.fold(ContentDigest.word(at + 32) ^ secret.2, ContentDigest.word(at + 40) ^ c)
            d = ContentDigest.fold(ContentDigest.word(at + 48) ^ secret.3, ContentDigest.word(at + 56) ^ d)
            at += 64
            left &-= 64
        }
        value = ContentDigest.fold(ContentDigest.fold(a, b ^ secret.1), ContentDigest.fold(c, d ^ secret.2))
    }

    @inline(__always)
    private static func word(_ at: UnsafeRawPointer) -> UInt64 {
        UInt64(littleEndian: at.loadUnaligned(as: UInt64.self))
    }

    @inline(__always)
    private static func half(_ at: UnsafeRawPointer) -> UInt64 {
        UInt64(UInt32(littleEndian: at.loadUnaligned(as: UInt32.self)))
    }
}

extension ContentDigest {
    /// Of a record as a log lends it: offset, append time, key and value, whatever a topology reads of it.
    ///
    /// The append time belongs to it, as events are judged by it.
    static func of(_ record: LogRecord) -> UInt64 {
        var digest = ContentDigest()
        digest.add(record.offset, record.appendTime ?? .min)
        digest.add(Int64(record.key?.count ?? -1), Int64(record.value?.count ?? -1))
        if let key = record.key { digest.addUncounted(key) }
        if let value = record.value { digest.addUncounted(value) }
        return digest.value
    }
}

/// Digest of what an epoch took from one source.
public struct InputDigest: Sendable, Equatable {
    /// Of its records' offsets, append times, keys and values: the same under every topology.
    public var content: UInt64
    /// Of the headers that the topology reads, with the key where it reads that; nil where it reads no header.
    public var headers: UInt64?

    public init(content: UInt64 = 0, headers: UInt64? = nil) {
        self.content = content
        self.headers = headers
    }
}
