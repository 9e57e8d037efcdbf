/// A value of a log line: few kinds, so that each has one form in logfmt and in JSON.
public enum LogValue: Sendable, Equatable {
    case string(String)
    case int(Int)
    /// Infinite and not-a-number values show as strings in JSON, which has no form for them.
    case double(Double)
    case bool(Bool)
    /// Something that must not be shown.
    case redacted

    /// A secret is never shown.
    public init(_ secret: Redacted) { self = .redacted }
}

extension LogValue: ExpressibleByStringInterpolation, ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral,
    ExpressibleByBooleanLiteral
{
    public init(stringLiteral value: String) { self = .string(value) }
    public init(integerLiteral value: Int) { self = .int(value) }
    public init(floatLiteral value: Double) { self = .double(value) }
    public init(booleanLiteral value: Bool) { self = .bool(value) }
}
