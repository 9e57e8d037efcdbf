/// Texts that never change, rendered once into one run of memory: written by a plain copy, without a reference count.
struct RenderedText: ~Copyable {
    /// Where one of the texts lies.
    struct Piece: BitwiseCopyable {
        fileprivate var start: Int
        fileprivate var count: Int
    }

    private var bytes = ByteBuffer(capacity: 4096)

    /// Adds a text as it is.
    mutating func add(_ text: String) -> Piece {
        let start = bytes.count
        bytes.append(text)
        return Piece(start: start, count: bytes.count - start)
    }

    /// Appends one of the texts to an output.
    func append(_ piece: Piece, to output: inout ByteBuffer) {
        output.append(bytes.base + piece.start, count: piece.count)
    }
}
