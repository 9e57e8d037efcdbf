/// The hash that identifiers had before it was keyed, and how it was turned around: the attacker of the tests.
///
/// Folded 128-bit multiplication over 8-byte words under a seed that everybody could compute. A text's first word leaves a state;
/// whatever it is, one XOR gives the second word that leads to any state wanted.
struct CraftedKeys {
    private let seed: UInt64

    init(seed: UInt64) { self.seed = Self.mix(seed ^ 0x9E37_79B9_7F4A_7C15, 0xD6E8_FEB8_6659_FD93) }

    private static func mix(_ a: UInt64, _ b: UInt64) -> UInt64 {
        let product = a.multipliedFullWidth(by: b)
        return product.high ^ product.low
    }

    private func start(_ count: Int) -> UInt64 { seed ^ (UInt64(count) &* 0xE703_7ED1_A0B4_28DB) }
    private static func first(_ state: UInt64, _ word: UInt64) -> UInt64 { mix(state ^ word, 0xA076_1D64_78BD_642F) }
    private static func last(_ state: UInt64, _ word: UInt64) -> UInt64 {
        mix(state ^ word ^ 0x8EBC_6AF0_9C88_C6E3, 0x5899_65CC_7537_4CC3)
    }

    /// The old hash.
    func callAsFunction(_ text: [UInt8]) -> UInt64 {
        var h = start(text.count)
        var at = 0
        while at + 8 <= text.count {
            h = Self.first(h, Self.word(text, at))
            at += 8
        }
        let rest = text[at...]
        var word: UInt64 = 0
        if rest.count >= 4 {
            word = UInt64(Self.word(text, at) & 0xFFFF_FFFF) | (Self.word(text, text.count - 4) & 0xFFFF_FFFF) << 32
        } else if let a = rest.first, let c = rest.last {
            word = UInt64(a) | UInt64(rest[at + rest.count / 2]) << 8 | UInt64(c) << 16
        }
        h = Self.last(h, word)
        return h == 0 ? 1 : h
    }

    private static func word(_ text: [UInt8], _ at: Int) -> UInt64 {
        var word: UInt64 = 0
        for i in 0..<8 where at + i < text.count { word |= UInt64(text[at + i]) << UInt64(8 * i) }
        return word
    }

    private static func isPlain(_ word: UInt64) -> Bool {
        (0..<8).allSatisfy {
            let byte = UInt8(truncatingIfNeeded: word >> UInt64(8 * $0))
            return byte > 0x20 && byte < 0x7F && byte != UInt8(ascii: "\"") && byte != UInt8(ascii: "\\")
        }
    }

    static func bytes(_ words: UInt64...) -> [UInt8] {
        words.flatMap { word in (0..<8).map { UInt8(truncatingIfNeeded: word >> UInt64(8 * $0)) } }
    }

    /// Printable texts with the old hash of a text of 16 bytes or more: the first 16 bytes differ, the rest is the same.
    func twins(of victim: String, count: Int) -> [String] {
        let victim = Array(victim.utf8)
        precondition(victim.count >= 16)
        let wanted = Self.first(start(victim.count), Self.word(victim, 0)) ^ Self.word(victim, 8)
        var twins: [String] = []
        var random: UInt64 = 1
        while twins.count < count {
            random = random &* 0x5851_F42D_4C95_7F2D &+ 0x1405_7B7E_F767_814F
            // Letters, digits and punctuation.
            var first: UInt64 = 0
            for byte in 0..<UInt64(8) {
                let letter = 0x30 + (random >> (5 + 7 * byte)) % 0x2C
                first |= letter << (8 * byte)
            }
            let second = Self.first(start(victim.count), first) ^ wanted
            if Self.isPlain(second) {
                twins.append(String(decoding: Self.bytes(first, second) + victim[16...], as: UTF8.self))
            }
        }
        return twins
    }

    /// Texts of 16 bytes, as two words, whose old hashes all satisfy a condition; they need not be printable.
    func texts(count: Int, where isWanted: (UInt64) -> Bool) -> [(UInt64, UInt64)] {
        var texts: [(UInt64, UInt64)] = []
        texts.reserveCapacity(count)
        let word = Self.word(Array("attacker".utf8), 0)
        let state = Self.first(start(16), word)
        var second: UInt64 = 0
        while texts.count < count {
            second &+= 1
            if isWanted(Self.last(Self.first(state, second), 0)) { texts.append((word, second)) }
        }
        return texts
    }
}
