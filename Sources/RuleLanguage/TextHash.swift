/// The 128-bit secret under which texts and keys are hashed.
///
/// Whoever knows it can make two identifiers that are one, so it is never part of a topology, a log or a record. Results do not
/// depend on it but by what a table at its bound forgets.
@frozen
public struct HashKey: Sendable, Equatable {
    /// The key's 16 bytes as two little-endian words.
    public let words: (UInt64, UInt64)

    @inlinable public init(_ low: UInt64, _ high: UInt64) { words = (low, high) }

    /// Known to everybody: where nobody who chooses identifiers has something to win, as in a replay of files.
    public static let fixed = HashKey(0x7765_6972_2066_6978, 0x6564_206B_6579_2031)

    @inlinable public static func == (a: HashKey, b: HashKey) -> Bool { a.words == b.words }
}

/// The keyed 64-bit hash by which texts are compared, entities are keyed and slots are chosen: SipHash-1-3 (Aumasson, Bernstein,
/// INDOCRYPT 2012; the variant with one round a word and three at the end, as in Rust's and Python's tables).
///
/// Who sends events chooses identifiers. Without the key nobody can compute two texts of one hash, nor many that fall into one slot
/// or one stretch of a table; with it two of 2^32 texts are one by chance. Never returns 0, so tables may use 0 for "empty".
///
/// Cost: about 4 ns and 1 ns more per 8 bytes.
@frozen
public struct TextHash: Sendable, Equatable {
    /// The key of texts, which is the secret itself.
    @usableFromInline let low: UInt64
    @usableFromInline let high: UInt64
    /// The key of pairs: a text made of a pair's bytes has another hash than the pair.
    @usableFromInline let lowOfPairs: UInt64
    @usableFromInline let highOfPairs: UInt64

    @inlinable public init(key: HashKey) {
        (low, high) = key.words
        lowOfPairs = TextHash.sip(key.words.0, key.words.1, 1, 0, words: 1)
        highOfPairs = TextHash.sip(key.words.0, key.words.1, 2, 0, words: 1)
    }

    /// Hash of `count` bytes from `bytes`; reads only those.
    @inlinable @inline(__always)
    public func callAsFunction(_ bytes: UnsafeRawPointer, count: Int) -> UInt64 {
        var state = TextHasher(low, high)
        var at = bytes
        var left = count
        while left >= 8 {
            state.compress(UInt64(littleEndian: at.loadUnaligned(as: UInt64.self)))
            at += 8
            left &-= 8
        }
        var word: UInt64 = 0
        if left >= 4 {
            // Two reads that overlap: equal bytes fall on each other.
            let first = UInt64(UInt32(littleEndian: at.loadUnaligned(as: UInt32.self)))
            let last = UInt64(UInt32(littleEndian: (at + (left &- 4)).loadUnaligned(as: UInt32.self)))
            word = first | last &<< UInt64(truncatingIfNeeded: 8 &* (left &- 4))
        } else if left > 0 {
            let middle = left &>> 1
            word =
                UInt64(at.load(as: UInt8.self))
                | UInt64((at + middle).load(as: UInt8.self)) &<< UInt64(truncatingIfNeeded: 8 &* middle)
                | UInt64((at + (left &- 1)).load(as: UInt8.self)) &<< UInt64(truncatingIfNeeded: 8 &* (left &- 1))
        }
        return state.finish(word | UInt64(truncatingIfNeeded: count) &<< 56)
    }

    /// The same where 8 bytes are readable behind the text, whatever they are: no branch on the length of the rest.
    @inlinable @inline(__always)
    public func padded(_ bytes: UnsafeRawPointer, count: Int) -> UInt64 {
        var state = TextHasher(low, high)
        var at = bytes
        let end = bytes + (count & ~7)
        while at != end {
            state.compress(UInt64(littleEndian: at.loadUnaligned(as: UInt64.self)))
            at += 8
        }
        let rest = UInt64(truncatingIfNeeded: 8 &* (count & 7))
        let word = UInt64(littleEndian: at.loadUnaligned(as: UInt64.self)) & ((1 &<< rest) &- 1)
        return state.finish(word | UInt64(truncatingIfNeeded: count) &<< 56)
    }

    /// The hash of a text whose words somebody reads anyway.
    @inlinable @inline(__always)
    public func begin() -> TextHasher { TextHasher(low, high) }

    /// Hash of a text's UTF-8 bytes.
    public func callAsFunction(_ text: String) -> UInt64 {
        var text = text
        return text.withUTF8 { bytes in
            withUnsafePointer(to: UInt8(0)) { empty in
                self(UnsafeRawPointer(bytes.baseAddress ?? empty), count: bytes.count)
            }
        }
    }

    /// Hash of a pair of words that may be seen, such as a ring's name; order matters.
    ///
    /// Keys of tables have ``WordHash``.
    @inlinable @inline(__always)
    public func combine(_ a: UInt64, _ b: UInt64) -> UInt64 { TextHash.sip(lowOfPairs, highOfPairs, a, b, words: 2) }

    /// SipHash-1-3 of one or two whole words.
    @inlinable @inline(__always)
    static func sip(_ low: UInt64, _ high: UInt64, _ a: UInt64, _ b: UInt64, words: UInt64) -> UInt64 {
        var state = TextHasher(low, high)
        state.compress(a)
        if words == 2 { state.compress(b) }
        return state.finish(8 &* words &<< 56)
    }
}

/// SipHash-1-3 between two words of a text.
@frozen
public struct TextHasher {
    @usableFromInline var v0: UInt64
    @usableFromInline var v1: UInt64
    @usableFromInline var v2: UInt64
    @usableFromInline var v3: UInt64

    @inlinable @inline(__always)
    init(_ low: UInt64, _ high: UInt64) {
        v0 = low ^ 0x736F_6D65_7073_6575
        v1 = high ^ 0x646F_7261_6E64_6F6D
        v2 = low ^ 0x6C79_6765_6E65_7261
        v3 = high ^ 0x7465_6462_7974_6573
    }

    /// Takes the next eight bytes, the first of them lowest.
    @inlinable @inline(__always)
    public mutating func add(_ word: UInt64) { compress(word) }

    /// The hash of the whole text; never 0.
    ///
    /// - Parameters:
    ///   - rest: the less than eight bytes behind the words taken, the first of them lowest, zeros above.
    ///   - count: bytes of the whole text.
    @inlinable @inline(__always)
    public consuming func finish(_ rest: UInt64, count: Int) -> UInt64 {
        finish(rest | UInt64(truncatingIfNeeded: count) &<< 56)
    }

    @inlinable @inline(__always)
    static func rotate(_ word: UInt64, _ bits: UInt64) -> UInt64 { word &<< bits | word &>> (64 &- bits) }

    @inlinable @inline(__always)
    mutating func round() {
        v0 = v0 &+ v1
        v2 = v2 &+ v3
        v1 = TextHasher.rotate(v1, 13) ^ v0
        v3 = TextHasher.rotate(v3, 16) ^ v2
        v0 = TextHasher.rotate(v0, 32)
        v2 = v2 &+ v1
        v0 = v0 &+ v3
        v1 = TextHasher.rotate(v1, 17) ^ v2
        v3 = TextHasher.rotate(v3, 21) ^ v0
        v2 = TextHasher.rotate(v2, 32)
    }

    @inlinable @inline(__always)
    mutating func compress(_ word: UInt64) {
        v3 ^= word
        round()
        v0 ^= word
    }

    /// Takes the last word, which holds the length, and gives the hash; never 0.
    @inlinable @inline(__always)
    consuming func finish(_ word: UInt64) -> UInt64 {
        compress(word)
        v2 ^= 0xFF
        round()
        round()
        round()
        let h = v0 ^ v1 ^ v2 ^ v3
        return h == 0 ? 1 : h
    }
}
