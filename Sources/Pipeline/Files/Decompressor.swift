/// Takes the compression off a stream, piece by piece, in bounded memory.
///
/// A file is one member or several, one behind the other; what lies behind a member is for ``ByteSource`` to look at.
protocol Decompressor: AnyObject {
    /// As people call the form: "gzip".
    var name: String { get }
    /// Whether a member can begin with this byte.
    func mayBegin(with byte: UInt8) -> Bool
    /// Makes ready for the next member.
    func restart()
    /// Takes some of the input and gives what can be told from it.
    ///
    /// Empty input asks for what is held back because the target before was full. A failure may come with bytes: they lie before
    /// the damaged place and count.
    func decompress(_ input: UnsafeRawBufferPointer, into target: UnsafeMutableRawBufferPointer) -> DecompressionStep
}

/// What one call of a ``Decompressor`` took, gave and found.
struct DecompressionStep {
    enum Outcome {
        case goesOn
        /// The member is complete, and all of it has been given.
        case memberEnded
        /// These bytes begin no member at all.
        case isNoMember
        /// The reason, as the library words it or as a whole sentence.
        case damaged(String)
        /// Cannot be read with the memory that is allowed; what to do.
        case tooLarge(String)
    }

    /// Bytes of the input that were used.
    var taken: Int
    /// Bytes of the target that were filled.
    var given: Int
    var outcome: Outcome
}
