/// One typed value of an event, a feature or an expression: sixteen bytes, no reference, no allocation.
///
/// | type | `bits` | `aux` |
/// |---|---|---|
/// | `int`, `money` (minor units), `timestamp` (ms since 1970), `duration` (ms) | the 64-bit integer | 0 |
/// | `double` | its bit pattern | 0 |
/// | `bool` | 0 or 1 | 0 |
/// | `string` | 64-bit seeded hash of its bytes (``TextHash``) | `offset << 32 | bank << 24 | length` |
/// | `list<string>` | 0 | `offset << 32 | count`: `count` string slots from `offset` in the batch's list table |
/// | missing, whatever the type | 0 | all ones |
///
/// A string's bytes lie in one of a few text banks (``TextBank``); two strings are equal when their hashes are: the hash is seeded with a
/// secret of the deployment, so that nobody can aim at a collision (2^-64 per pair of distinct texts).
@frozen
public struct Slot: Equatable, Sendable {
    public var bits: UInt64
    public var aux: UInt64

    @inlinable public init(bits: UInt64, aux: UInt64) {
        self.bits = bits
        self.aux = aux
    }

    /// No value: the field is absent or null, the window is empty.
    @inlinable public static var missing: Slot { Slot(bits: 0, aux: .max) }
    @inlinable public var isMissing: Bool { aux == .max }

    @inlinable public init(_ value: Int64) { self.init(bits: UInt64(bitPattern: value), aux: 0) }
    @inlinable public init(_ value: Double) { self.init(bits: value.bitPattern, aux: 0) }
    @inlinable public init(_ value: Bool) { self.init(bits: value ? 1 : 0, aux: 0) }

    @inlinable public init(hash: UInt64, offset: Int, length: Int, bank: TextBank) {
        self.init(
            bits: hash,
            aux: UInt64(truncatingIfNeeded: offset) << 32 | UInt64(bank.rawValue) << 24
                | UInt64(truncatingIfNeeded: length))
    }

    @inlinable public var int: Int64 { Int64(bitPattern: bits) }
    @inlinable public var double: Double { Double(bitPattern: bits) }
    @inlinable public var bool: Bool { bits != 0 }
    @inlinable public var textOffset: Int { Int(truncatingIfNeeded: aux >> 32) }
    @inlinable public var textLength: Int { Int(truncatingIfNeeded: aux & 0xFF_FFFF) }
    @inlinable public var textBank: UInt8 { UInt8(truncatingIfNeeded: aux >> 24) }
    @inlinable public var listOffset: Int { Int(truncatingIfNeeded: aux >> 32) }
    @inlinable public var listCount: Int { Int(truncatingIfNeeded: aux & 0xFFFF_FFFF) }
}

extension Slot: Hashable {
    @inlinable public func hash(into hasher: inout Hasher) {
        hasher.combine(bits)
        hasher.combine(aux)
    }
}

/// Where a string slot's bytes lie.
@frozen
public enum TextBank: UInt8, Sendable {
    /// The event batch's text: offsets count from ``EvaluationInput/text``.
    case event = 0
    /// Inside the feature row itself: offsets count in bytes from ``EvaluationInput/features``.
    case features = 1
    /// Literals of the program.
    case constants = 2
    /// Results of string functions, valid until the next evaluation.
    case scratch = 3
    /// Inside the signal row: offsets count in bytes from ``EvaluationInput/signals``.
    case signals = 4
}

/// The seeded 64-bit hash by which texts are compared, entities are keyed and slots are chosen.
///
/// Folded 128-bit multiplication over 8-byte words, as in wyhash (Wang Yi, public domain). The seed is part of the topology and of every
/// snapshot, so a replay hashes alike; without it nobody can compute a collision or aim at a slot. Never returns 0, so tables may use 0
/// for "empty".
@frozen
public struct TextHash: Sendable {
    public let seed: UInt64

    @inlinable public init(seed: UInt64) {
        self.seed = TextHash.mix(seed ^ 0x9E37_79B9_7F4A_7C15, 0xD6E8_FEB8_6659_FD93)
    }

    @inlinable @inline(__always)
    static func mix(_ a: UInt64, _ b: UInt64) -> UInt64 {
        let product = a.multipliedFullWidth(by: b)
        return product.high ^ product.low
    }

    /// Hash of `count` bytes from `bytes`; reads only those.
    @inlinable @inline(__always)
    public func callAsFunction(_ bytes: UnsafeRawPointer, count: Int) -> UInt64 {
        var h = seed ^ (UInt64(truncatingIfNeeded: count) &* 0xE703_7ED1_A0B4_28DB)
        var at = bytes
        var left = count
        while left >= 8 {
            h = TextHash.mix(h ^ at.loadUnaligned(as: UInt64.self), 0xA076_1D64_78BD_642F)
            at += 8
            left -= 8
        }
        var word: UInt64 = 0
        if left >= 4 {
            word =
                UInt64(at.loadUnaligned(as: UInt32.self)) | UInt64((at + (left - 4)).loadUnaligned(as: UInt32.self))
                << 32
        } else if left > 0 {
            word =
                UInt64(at.load(as: UInt8.self)) | UInt64((at + left / 2).load(as: UInt8.self)) << 8
                | UInt64((at + (left - 1)).load(as: UInt8.self)) << 16
        }
        h = TextHash.mix(h ^ word ^ 0x8EBC_6AF0_9C88_C6E3, 0x5899_65CC_7537_4CC3)
        return h == 0 ? 1 : h
    }

    /// Hash of a text's UTF-8 bytes.
    public func callAsFunction(_ text: String) -> UInt64 {
        var text = text
        return text.withUTF8 { bytes in
            withUnsafePointer(to: UInt8(0)) { empty in
                self(UnsafeRawPointer(bytes.baseAddress ?? empty), count: bytes.count)
            }
        }
    }

    /// Folds a further part into a composite key; order matters.
    @inlinable @inline(__always)
    public func combine(_ a: UInt64, _ b: UInt64) -> UInt64 {
        let h = TextHash.mix(a ^ seed, b ^ 0xC2B2_AE3D_27D4_EB4F)
        return h == 0 ? 1 : h
    }
}
