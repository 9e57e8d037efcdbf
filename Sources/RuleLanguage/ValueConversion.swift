/// Other forms than its type's own in which a value is taken.
public struct Coercions: OptionSet, Sendable, Hashable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// Texts for numbers, with blanks around them.
    public static let numbers = Coercions(rawValue: 1)
    /// `0`, `1` and texts for bools, in any case.
    public static let booleans = Coercions(rawValue: 2)
    /// Whole numbers for texts: their digits as written.
    public static let ids = Coercions(rawValue: 4)

    /// The words of a topology.
    public static let words: [(word: String, coercion: Coercions)] = [
        ("numbers", .numbers), ("booleans", .booleans), ("ids", .ids),
    ]
}

/// How the values of a field are read where senders do not write them in the strict form of its type.
public struct ValueConversion: Sendable, Equatable {
    /// Nothing but the strict form.
    public static let strict = ValueConversion()
    /// Most of ``nullWords``.
    public static let nullWordsMax = 64

    public var coercions: Coercions = []
    /// Texts, and numbers as written, that mean that there is no value.
    public var nullWords: [String] = []
    /// Digits below the unit of `money` and `int` are rounded, half to even, instead of refused.
    public var roundsDecimals = false
    /// The field that names the currency whose minor unit `money` is counted in, instead of ``FieldSchema/moneyScale``.
    public var currencyField: String?
    /// Whose clock shows a time that is written without an offset; nil: UTC.
    public var zone: TimeZoneTable?

    public init() {}
}
