import CZlib

/// The members of a gzip file (RFC 1952), by zlib.
final class GzipDecompressor: Decompressor {
    let name = "gzip"
    private let stream: UnsafeMutablePointer<z_stream>

    static func isBeginning(_ bytes: UnsafeRawBufferPointer) -> Bool { bytes.starts(with: [0x1f, 0x8b]) }

    /// Nil when zlib could not start.
    init?() {
        stream = .allocate(capacity: 1)
        stream.initialize(to: z_stream())
        // 15 bits of window, and 16 more for "gzip around it".
        guard inflateInit2_(stream, 31, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)) == Z_OK else {
            stream.deallocate()
            return nil
        }
    }

    deinit {
        inflateEnd(stream)
        stream.deallocate()
    }

    func mayBegin(with byte: UInt8) -> Bool { byte == 0x1f }

    func restart() { inflateReset(stream) }

    func decompress(_ input: UnsafeRawBufferPointer, into target: UnsafeMutableRawBufferPointer) -> DecompressionStep {
        // zlib only reads its input, whatever the type says.
        stream.pointee.next_in = UnsafeMutableRawPointer(mutating: input.baseAddress)?.assumingMemoryBound(
            to: UInt8.self
        )
        stream.pointee.avail_in = UInt32(clamping: input.count)
        stream.pointee.next_out = target.baseAddress?.assumingMemoryBound(to: UInt8.self)
        stream.pointee.avail_out = UInt32(clamping: target.count)
        let code = inflate(stream, Z_NO_FLUSH)
        let outcome: DecompressionStep.Outcome =
            switch code {
            case Z_STREAM_END: .memberEnded
            case Z_OK, Z_BUF_ERROR: .goesOn
            default: .damaged(stream.pointee.msg.map { String(cString: $0) } ?? "error \(code)")
            }
        return DecompressionStep(
            taken: Int(UInt32(clamping: input.count) - stream.pointee.avail_in),
            given: Int(UInt32(clamping: target.count) - stream.pointee.avail_out),
            outcome: outcome
        )
    }
}
