import CCrypto

/// SHA-256 (FIPS 180-4) over bytes that arrive in parts.
///
/// Names rule sets, topologies and snapshots by their content. A value of about 110 bytes; nothing is allocated until ``finish()``.
public struct SHA256: ~Copyable {
    /// Length of a digest in bytes.
    public static let length = 32

    private var state = SHA256_CTX()

    /// The digest of nothing yet.
    public init() { SHA256_Init(&state) }

    /// Takes more bytes.
    public mutating func update(_ bytes: UnsafeRawBufferPointer) {
        SHA256_Update(&state, bytes.baseAddress, bytes.count)
    }

    /// Takes more bytes.
    public mutating func update(_ bytes: [UInt8]) { bytes.withUnsafeBytes { update($0) } }

    /// The digest of everything taken; 32 bytes.
    public consuming func finish() -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: SHA256.length) { out, count in
            SHA256_Final(out.baseAddress, &state)
            count = SHA256.length
        }
    }

    /// The digest of some bytes; 32 bytes.
    public static func digest(of bytes: [UInt8]) -> [UInt8] {
        var sha = SHA256()
        sha.update(bytes)
        return sha.finish()
    }

    /// The digest of some bytes as 64 lowercase hexadecimal digits.
    public static func hex(of bytes: [UInt8]) -> String { Hexadecimal.text(of: digest(of: bytes)) }
}

/// Lowercase hexadecimal text of bytes (RFC 4648, base 16).
public enum Hexadecimal {
    /// Two digits for each byte.
    public static func text(of bytes: [UInt8]) -> String {
        String(unsafeUninitializedCapacity: bytes.count * 2) { out in
            bytes.withUnsafeBytes { Hexadecimal.write($0, to: UnsafeMutableRawBufferPointer(out)) }
            return bytes.count * 2
        }
    }

    /// Writes two digits for each byte; the target holds at least twice as many bytes as the source.
    static func write(_ bytes: UnsafeRawBufferPointer, to out: UnsafeMutableRawBufferPointer) {
        for (i, byte) in bytes.enumerated() {
            out[2 * i] = digit(byte >> 4)
            out[2 * i + 1] = digit(byte & 15)
        }
    }

    @inline(__always)
    static func digit(_ nibble: UInt8) -> UInt8 { nibble < 10 ? 48 + nibble : 87 + nibble }
}
