public import RuleLanguage

/// Something odd about one event that did not keep it from being judged: sixteen bytes in its batch's list table.
///
/// | kind | bits 56…63 of `aux` | bits 40…47 | bits 0…31 | `bits` |
/// |---|---|---|---|---|
/// | `damaged` | 0 | the ``DeadLetterCode`` | the field | 0 |
/// | `cut` | 1 | 0 | the field | 0 |
/// | `unknownWord` | 2 | 0 | the field | 0 |
/// | `coerced` | 3 | 0 | fields 64…95, a bit each | fields 0…63 |
///
/// Never the slot of a missing value. An event has one mark at most for a field and a kind, and one of kind `coerced` for all its
/// fields: where each event has values of that kind, that costs 16 bytes an event.
public struct EventMark: BitwiseCopyable, Equatable, Sendable {
    /// What is odd.
    public enum Kind: UInt8, Sendable {
        /// The field could not be read and counts as missing.
        case damaged
        /// The field's text or list was too long, and only its beginning is shown.
        case cut
        /// The field's text is none of those that are declared.
        case unknownWord
        /// The fields were written in another form than their type's.
        case coerced
    }

    @usableFromInline let slot: Slot

    @inlinable init(slot: Slot) { self.slot = slot }

    /// A field that could not be read, and why.
    public init(damaged field: Int, _ code: DeadLetterCode) {
        slot = Slot(bits: 0, aux: UInt64(code.rawValue) << 40 | UInt64(UInt32(truncatingIfNeeded: field)))
    }

    /// - Parameter kind: `cut` or `unknownWord`.
    public init(_ kind: Kind, field: Int) {
        slot = Slot(bits: 0, aux: UInt64(kind.rawValue) << 56 | UInt64(UInt32(truncatingIfNeeded: field)))
    }

    /// The fields that were written in another form, a bit each from the first on.
    public init(coerced low: UInt64, _ high: UInt32) {
        slot = Slot(bits: low, aux: UInt64(Kind.coerced.rawValue) << 56 | UInt64(high))
    }

    public var kind: Kind { Kind(rawValue: UInt8(truncatingIfNeeded: slot.aux >> 56)) ?? .coerced }

    /// Why a damaged field could not be read; nil for the other kinds.
    public var code: DeadLetterCode? {
        kind == .damaged ? DeadLetterCode(rawValue: UInt8(truncatingIfNeeded: slot.aux >> 40)) : nil
    }

    /// Calls `body` with each field concerned, by its index in the event's row.
    public func forEachField(_ body: (Int) -> Void) {
        let low = UInt64(UInt32(truncatingIfNeeded: slot.aux))
        guard kind == .coerced else { return body(Int(low)) }
        for (start, mask) in [(0, slot.bits), (64, low)] {
            var rest = mask
            while rest != 0 {
                body(start + rest.trailingZeroBitCount)
                rest &= rest - 1
            }
        }
    }
}
