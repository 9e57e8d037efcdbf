import CCrypto

/// HMAC-SHA-256 (RFC 2104) under one key, for pseudonyms of identifiers.
///
/// The key's two pads are hashed once, here; a call then costs two compressions for up to 55 bytes and allocates nothing (OpenSSL's
/// own EVP_MAC allocates twice a call). A value without shared state: threads may copy it, and a copy is as secret as the key.
public struct HMACSHA256: Sendable {
    /// Length of the code in hexadecimal digits.
    public static let hexLength = 64

    private let inner: SHA256_CTX
    private let outer: SHA256_CTX

    /// Takes a key of any length.
    ///
    /// RFC 2104 advises at least 32 bytes. A key over 64 bytes is hashed first, as the RFC says.
    public init(key: [UInt8]) {
        var block = key.count > 64 ? SHA256.digest(of: key) : key
        block += repeatElement(0, count: 64 - block.count)
        func state(pad: UInt8) -> SHA256_CTX {
            var state = SHA256_CTX()
            SHA256_Init(&state)
            var padded = block.map { $0 ^ pad }
            SHA256_Update(&state, padded, 64)
            padded.withUnsafeMutableBytes { OPENSSL_cleanse($0.baseAddress, $0.count) }
            return state
        }
        inner = state(pad: 0x36)
        outer = state(pad: 0x5c)
        block.withUnsafeMutableBytes { OPENSSL_cleanse($0.baseAddress, $0.count) }
    }

    /// Writes the code of a message as 64 lowercase hexadecimal digits; the target holds at least 64 bytes.
    public func write(_ message: UnsafeRawBufferPointer, to out: UnsafeMutableRawBufferPointer) {
        precondition(out.count >= HMACSHA256.hexLength, "64 digits do not fit")
        withUnsafeTemporaryAllocation(byteCount: SHA256.length, alignment: 8) { code in
            let bytes = code.baseAddress?.assumingMemoryBound(to: UInt8.self)
            var state = inner
            SHA256_Update(&state, message.baseAddress, message.count)
            SHA256_Final(bytes, &state)
            state = outer
            SHA256_Update(&state, bytes, SHA256.length)
            SHA256_Final(bytes, &state)
            Hexadecimal.write(UnsafeRawBufferPointer(code), to: out)
        }
    }

    /// The code of a message as text; for tests and the control plane.
    public func hex(of message: [UInt8]) -> String {
        String(unsafeUninitializedCapacity: HMACSHA256.hexLength) { out in
            message.withUnsafeBytes { write($0, to: UnsafeMutableRawBufferPointer(out)) }
            return HMACSHA256.hexLength
        }
    }
}
