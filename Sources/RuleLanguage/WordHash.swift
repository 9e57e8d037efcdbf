/// The keyed 64-bit hash of numbers and of keys made of several parts.
///
/// Pair-multiply-shift (Thorup, "High speed hashing for integers and strings", arXiv:1504.06804) under words that follow from the
/// secret, and behind it a mixing that can be turned back. It is universal: of any two keys that were chosen without the secret,
/// the hashes are equal under one of 2^64 secrets. That is all that a table's key needs whose hash nobody sees. Texts have
/// ``TextHash``, which would stand being seen too; most parts of a composite are its hashes. Never returns 0, so tables may use 0
/// for "empty".
///
/// Cost: three multiplications, about 2 ns.
@frozen
public struct WordHash: Sendable, Equatable {
    /// The two secret multipliers of 128 bits.
    @usableFromInline let firstLow: UInt64
    @usableFromInline let firstHigh: UInt64
    @usableFromInline let secondLow: UInt64
    @usableFromInline let secondHigh: UInt64

    /// - Parameter hash: under the secret; its multipliers are hashes of texts that no number and no composite is.
    public init(_ hash: TextHash) {
        firstLow = hash("weir.words.1")
        firstHigh = hash("weir.words.2")
        secondLow = hash("weir.words.3")
        secondHigh = hash("weir.words.4")
    }

    /// Hash of a number by its bits.
    @inlinable @inline(__always)
    public func number(_ bits: UInt64) -> UInt64 { combine(bits, 0x9E37_79B9_7F4A_7C15) }

    /// Folds a further part into a composite key; order matters.
    ///
    /// A number's hash is that of a composite with one certain part, which no part comes to but by chance.
    @inlinable @inline(__always)
    public func combine(_ a: UInt64, _ b: UInt64) -> UInt64 {
        let first = firstLow.addingReportingOverflow(b)
        let second = secondLow.addingReportingOverflow(a)
        let product = first.partialValue.multipliedFullWidth(by: second.partialValue)
        // The higher half of the product of 128 bits by 128.
        let high =
            product.high
            &+ first.partialValue &* (secondHigh &+ (second.overflow ? 1 : 0))
            &+ (firstHigh &+ (first.overflow ? 1 : 0)) &* second.partialValue
        // Numbers in a row give hashes in a row; tables take low bits.
        let mixed = (high ^ high &>> 32) &* 0xD6E8_FEB8_6659_FD93
        let h = mixed ^ mixed &>> 32
        return h == 0 ? 1 : h
    }
}
