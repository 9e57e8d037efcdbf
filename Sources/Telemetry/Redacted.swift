/// A secret that prints as `[redacted]` wherever it is interpolated, described, dumped or logged.
///
/// It guards against accidents, not against our own code: whoever needs the secret asks for it by name.
public struct Redacted: Sendable, Equatable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    private let secret: String

    /// Wraps a secret.
    public init(_ secret: String) { self.secret = secret }

    /// The secret itself; for handing it to a library, never for text that people read.
    public func reveal() -> String { secret }

    public var description: String { "[redacted]" }
    public var debugDescription: String { "[redacted]" }
    public var customMirror: Mirror { Mirror(self, children: []) }
}
