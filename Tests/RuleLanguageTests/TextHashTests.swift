import Foundation
import RuleLanguage
import Testing

/// The keyed hash by which identifiers are told apart.
@Suite struct TextHashTests {
    private struct Vector {
        var key: HashKey
        var text: [UInt8]
        var hash: UInt64
    }

    /// Of `text_hash.py`, which lies beside the table and holds itself against CPython's own hash.
    private static func vectors() throws -> [Vector] {
        try Fixtures.text("text-hashes.txt").split(separator: "\n").map { line in
            let parts = line.split(separator: " ").map(String.init)
            func word(_ at: Int) throws -> UInt64 { try #require(UInt64(parts[at], radix: 16)) }
            let digits = parts[2] == "-" ? [] : Array(parts[2])
            let text = try stride(from: 0, to: digits.count, by: 2).map {
                try #require(UInt8(String(digits[$0...($0 + 1)]), radix: 16))
            }
            return Vector(key: HashKey(try word(0), try word(1)), text: text, hash: try word(3))
        }
    }

    @Test func `texts hash as in a reference implementation of SipHash-1-3`() throws {
        let vectors = try Self.vectors()
        #expect(vectors.count > 100)
        for vector in vectors {
            let hash = TextHash(key: vector.key)
            // Behind the text lie bytes that no result may depend on.
            for padding in [0, 0xFF, 0x5A] as [UInt8] {
                let padded = vector.text + [UInt8](repeating: padding, count: 8)
                padded.withUnsafeBytes { bytes in
                    guard let start = bytes.baseAddress else { return }
                    #expect(hash(start, count: vector.text.count) == vector.hash)
                    #expect(hash.padded(start, count: vector.text.count) == vector.hash)
                }
            }
        }
    }

    @Test func `a number, a pair and the texts of their bytes are four different keys`() {
        let hash = TextHash(key: HashKey(3, 4))
        let words = WordHash(hash)
        for (a, b) in [(0, 0), (1, 2), (2, 1), (.max, 1), (8 << 56, 16 << 56)] as [(UInt64, UInt64)] {
            let text = withUnsafeBytes(of: (a, b)) { bytes in
                (0...16).map { hash(bytes.baseAddress.unsafelyUnwrapped, count: $0) }
            }
            #expect(
                !text.contains(words.number(a)) && !text.contains(words.combine(a, b))
                    && !text.contains(hash.combine(a, b))
            )
            #expect(words.number(a) != words.combine(a, b) && words.number(a) != words.combine(a, 0))
        }
        #expect(words.combine(1, 2) != words.combine(2, 1) && hash.combine(1, 2) != hash.combine(2, 1))
        for other in [TextHash(key: HashKey(3, 5)), TextHash(key: HashKey(4, 4))] {
            #expect(
                WordHash(other).number(1) != words.number(1) && WordHash(other).combine(1, 2) != words.combine(1, 2)
            )
            #expect(other.combine(1, 2) != hash.combine(1, 2))
        }
    }

    @Test func `a composite's hash is that of the definition, in numbers of 128 bits`() {
        let text = TextHash(key: HashKey(8, 9))
        let words = WordHash(text)
        let first = UInt128(text("weir.words.2")) << 64 | UInt128(text("weir.words.1"))
        let second = UInt128(text("weir.words.4")) << 64 | UInt128(text("weir.words.3"))
        var parts: [UInt64] = [0, 1, 2, .max, .max - 1, 1 << 63, 0x9E37_79B9_7F4A_7C15]
        // What makes the lower halves overflow, or nothing of them.
        parts += [
            0 &- UInt64(truncatingIfNeeded: first), 0 &- UInt64(truncatingIfNeeded: second),
            UInt64(truncatingIfNeeded: ~first),
        ]
        for a in parts {
            for b in parts {
                let product = (first &+ UInt128(b)) &* (second &+ UInt128(a))
                var hash = UInt64(truncatingIfNeeded: product >> 64)
                hash = (hash ^ hash >> 32) &* 0xD6E8_FEB8_6659_FD93
                hash ^= hash >> 32
                #expect(words.combine(a, b) == max(1, hash))
            }
            #expect(words.number(a) == words.combine(a, 0x9E37_79B9_7F4A_7C15))
        }
    }

    @Test func `every bit of a text and of the key changes half of the hash`() {
        let texts = (0..<64).map { Array("account-\($0)-of-some-shop".utf8) }
        func hash(_ text: [UInt8], _ key: HashKey) -> UInt64 {
            text.withUnsafeBytes { TextHash(key: key)($0.baseAddress.unsafelyUnwrapped, count: text.count) }
        }
        var changed = 0
        var flips = 0
        for (n, text) in texts.enumerated() {
            let key = HashKey(UInt64(n), 7)
            let plain = hash(text, key)
            for bit in 0..<(8 * text.count) {
                var other = text
                other[bit / 8] ^= 1 << UInt8(bit % 8)
                changed += (hash(other, key) ^ plain).nonzeroBitCount
                flips += 1
            }
            for bit in 0..<64 {
                for other in [HashKey(UInt64(n) ^ 1 << UInt64(bit), 7), HashKey(UInt64(n), 7 ^ 1 << UInt64(bit))] {
                    changed += (hash(text, other) ^ plain).nonzeroBitCount
                    flips += 1
                }
            }
        }
        #expect(abs(Double(changed) / Double(flips) - 32) < 0.1)
    }
}
