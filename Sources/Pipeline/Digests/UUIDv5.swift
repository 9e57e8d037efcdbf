import CCrypto

/// Name-based UUIDs of version 5 (RFC 9562, section 5.5) in one namespace.
///
/// The same name gives the same id on every machine and after every recovery, so a subscriber can drop repeats. Nothing is
/// allocated.
public struct UUIDv5: Sendable {
    /// Length of the text form, `xxxxxxxx-xxxx-5xxx-yxxx-xxxxxxxxxxxx`.
    public static let textLength = 36

    /// The RFC's namespace of URLs, 16 bytes.
    public static let url = namespace(0x6ba7_b811_9dad_11d1, 0x80b4_00c0_4fd4_30c8)

    private let start: SHA_CTX

    /// A namespace is itself a UUID: 16 bytes, most significant first.
    public init(namespace: [UInt8]) {
        precondition(namespace.count == 16, "a namespace has 16 bytes")
        var state = SHA_CTX()
        SHA1_Init(&state)
        SHA1_Update(&state, namespace, 16)
        start = state
    }

    /// Writes the id of a name as 36 lowercase characters; the target holds at least 36 bytes.
    public func write(name: UnsafeRawBufferPointer, to out: UnsafeMutableRawBufferPointer) {
        precondition(out.count >= UUIDv5.textLength, "36 characters do not fit")
        withUnsafeTemporaryAllocation(byteCount: 20, alignment: 8) { digest in
            var state = start
            SHA1_Update(&state, name.baseAddress, name.count)
            SHA1_Final(digest.baseAddress?.assumingMemoryBound(to: UInt8.self), &state)
            digest[6] = digest[6] & 0x0f | 0x50
            digest[8] = digest[8] & 0x3f | 0x80
            var at = 0
            for i in 0..<16 {
                if i == 4 || i == 6 || i == 8 || i == 10 {
                    out[at] = 0x2d
                    at += 1
                }
                out[at] = Hexadecimal.digit(digest[i] >> 4)
                out[at + 1] = Hexadecimal.digit(digest[i] & 15)
                at += 2
            }
        }
    }

    /// The id of a name as 16 bytes, for a namespace derived from another.
    public func bytes(name: String) -> [UInt8] {
        var text = [UInt8](repeating: 0, count: UUIDv5.textLength)
        text.withUnsafeMutableBytes { out in
            var name = name
            name.withUTF8 { write(name: UnsafeRawBufferPointer($0), to: out) }
        }
        var bytes: [UInt8] = []
        var high: UInt8?
        for c in text where c != 0x2d {
            let nibble = c < 58 ? c - 48 : c - 87
            if let h = high {
                bytes.append(h << 4 | nibble)
                high = nil
            } else {
                high = nibble
            }
        }
        return bytes
    }

    /// The id of a name as text.
    public func text(name: String) -> String {
        var name = name
        return String(unsafeUninitializedCapacity: UUIDv5.textLength) { out in
            name.withUTF8 { write(name: UnsafeRawBufferPointer($0), to: UnsafeMutableRawBufferPointer(out)) }
            return UUIDv5.textLength
        }
    }

    private static func namespace(_ high: UInt64, _ low: UInt64) -> [UInt8] {
        [high, low].flatMap { word in (0..<8).map { UInt8(truncatingIfNeeded: word >> (56 - 8 * $0)) } }
    }
}
