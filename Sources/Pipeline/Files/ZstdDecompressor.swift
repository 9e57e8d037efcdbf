import CZstd

/// The frames of a zstd file (RFC 8878), skippable and empty ones among them, by libzstd.
///
/// Memory: the window that a frame asks for, 128 MiB at most, and one block; a frame that asks for more is refused.
final class ZstdDecompressor: Decompressor {
    let name = "zstd"
    /// As a power of two: the 128 MiB that the `zstd` tool reads without being told to take more.
    private static let windowLogMax: Int32 = 27
    /// Bytes that tell a frame's first step what the frame is.
    private static let prefix = 5

    private let context: OpaquePointer
    /// How much input the next step can use.
    private var wanted = ZstdDecompressor.prefix

    static func isBeginning(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard bytes.count >= 4 else { return false }
        let magic = UInt32(littleEndian: bytes.loadUnaligned(as: UInt32.self))
        return magic == 0xFD2F_B528 || magic & 0xFFFF_FFF0 == 0x184D_2A50
    }

    /// Nil when libzstd could not start.
    init?() {
        guard let context = ZSTD_createDCtx() else { return nil }
        self.context = context
        ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, ZstdDecompressor.windowLogMax)
    }

    deinit { ZSTD_freeDCtx(context) }

    /// A frame, or one that is to be skipped.
    func mayBegin(with byte: UInt8) -> Bool { byte == 0x28 || byte & 0xF0 == 0x50 }

    func restart() {
        ZSTD_DCtx_reset(context, ZSTD_reset_session_only)
        wanted = ZstdDecompressor.prefix
    }

    /// One block a step and no more: where libzstd finds damage it keeps for itself what the same call had decoded before.
    func decompress(_ input: UnsafeRawBufferPointer, into target: UnsafeMutableRawBufferPointer) -> DecompressionStep {
        var from = ZSTD_inBuffer(src: input.baseAddress, size: min(input.count, wanted), pos: 0)
        var to = ZSTD_outBuffer(dst: target.baseAddress, size: target.count, pos: 0)
        let result = ZSTD_decompressStream(context, &to, &from)
        let outcome: DecompressionStep.Outcome
        if ZSTD_isError(result) != 0 {
            outcome =
                switch ZSTD_getErrorCode(result) {
                case ZSTD_error_prefix_unknown: .isNoMember
                case ZSTD_error_frameParameter_windowTooLarge:
                    .tooLarge(
                        "needs a window of more than \(1 << (ZstdDecompressor.windowLogMax - 20)) MiB: decompress it first (`zstd -d --long=31`)"
                    )
                default: .damaged(String(cString: ZSTD_getErrorName(result)))
                }
        } else {
            wanted = result
            outcome = result == 0 ? .memberEnded : .goesOn
        }
        return DecompressionStep(taken: from.pos, given: to.pos, outcome: outcome)
    }
}
