/// One typed value of an event, a feature or an expression: sixteen bytes, no reference, no allocation.
///
/// | type | `bits` | `aux` |
/// |---|---|---|
/// | `int`, `money` (minor units), `timestamp` (ms since 1970), `duration` (ms) | the 64-bit integer | 0 |
/// | `double` | its bit pattern | 0 |
/// | `bool` | 0 or 1 | 0 |
/// | `string` | 64-bit keyed hash of its bytes (``TextHash``) | `offset << 32 | bank << 24 | length` |
/// | `list<string>` | 0 | `offset << 32 | count`: `count` string slots from `offset` in the batch's list table |
/// | missing, whatever the type | 0 | all ones |
///
/// A string's bytes lie in one of a few text banks (``TextBank``); two strings are equal when their hashes are: the hash is keyed
/// with a secret of the deployment, so that nobody can aim at a collision (2^-64 per pair of distinct texts).
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
                | UInt64(truncatingIfNeeded: length)
        )
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
