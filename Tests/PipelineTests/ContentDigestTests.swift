import Models
import Testing

@testable import Pipeline

/// The digest by which the journal knows again what was read and said.
@Suite struct ContentDigestTests {
    private static func digest(_ bytes: [UInt8]?) -> UInt64 {
        var digest = ContentDigest()
        if let bytes { bytes.withUnsafeBytes { digest.add($0) } } else { digest.add(nil as UnsafeRawBufferPointer?) }
        return digest.value
    }

    /// As a program of its own gives it; journals hold it, so a change here is a new version of the journal.
    @Test(
        arguments: [
            (nil, 0x677f_5c10_9c96_de3b),
            (0, 0x5880_a127_e271_c1d8),
            (1, 0xccbf_702f_e6f5_33f8),
            (3, 0x5301_18ed_0a4c_2896),
            (4, 0xa1b3_281e_9299_397e),
            (7, 0x86b0_5f3d_f49d_b364),
            (8, 0x0d9f_1eda_dbc5_234d),
            (15, 0x3548_4fb5_2f6f_b0e4),
            (16, 0x0164_10c4_b932_2824),
            (17, 0x53ef_1127_d56a_85e5),
            (63, 0xae8b_2b59_a9f7_9597),
            (64, 0x7ba2_8a0c_280e_02cb),
            (65, 0x20a3_d61d_716f_0f28),
            (200, 0xb078_49ce_d907_c347),
            (1000, 0x0ac5_e2ce_fd4d_f279),
        ] as [(Int?, UInt64)]
    )
    func `it never changes`(_ length: Int?, _ wanted: UInt64) {
        let bytes = length.map { length in (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ 3) } }
        let found = Self.digest(bytes)
        #expect(found == wanted, "\(length.map(String.init) ?? "nil"): 0x\(String(found, radix: 16))")
    }

    @Test func `each bit, each length and each place counts`() {
        var random = SplitMix64(seed: 9)
        for length in Array(0...130) + [500, 4096] {
            let bytes = (0..<length).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            let whole = Self.digest(bytes)
            var seen: Set<UInt64> = [whole]
            for bit in stride(from: 0, to: 8 * length, by: length > 500 ? 101 : 1) {
                var changed = bytes
                changed[bit / 8] ^= 1 << UInt8(bit % 8)
                #expect(seen.insert(Self.digest(changed)).inserted, "bit \(bit) of \(length) bytes")
            }
            #expect(seen.insert(Self.digest(bytes + [0])).inserted && seen.insert(Self.digest(nil)).inserted)
            if length > 1, bytes != bytes.reversed() {
                #expect(seen.insert(Self.digest(bytes.reversed())).inserted, "\(length)")
            }
        }
    }

    /// Words that are the digest's own constants, for which a product is 0, hide nothing that stands before or behind them.
    @Test func `no word swallows what stands beside it`() {
        let constants: [UInt64] = [
            0, .max, 0xa076_1d64_78bd_642f, 0xe703_7ed1_a0b4_28db, 0x8ebc_6af0_9c88_c6e3, 0x5899_65cc_7537_4cc3,
        ]
        for words in [2, 8, 9, 24] {
            for constant in constants {
                for place in 0..<words {
                    var seen: Set<UInt64> = []
                    for other in 0..<64 as Range<UInt64> {
                        var text = [UInt64](repeating: 1 &<< other, count: words)
                        text[place] = constant
                        seen.insert(
                            Self.digest(text.flatMap { word in withUnsafeBytes(of: word.littleEndian) { Array($0) } })
                        )
                    }
                    #expect(seen.count == 64, "\(words) words, \(constant) at \(place)")
                }
            }
        }
    }

    @Test func `where bytes lie in memory does not matter`() {
        let bytes = (0..<300).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        for length in [1, 2, 5, 8, 13, 64, 100, 200] {
            let wanted = Self.digest(Array(bytes[..<length]))
            for shift in 0..<16 {
                let moved = [UInt8](repeating: 0xff, count: shift) + bytes[..<length] + [0xee]
                moved.withUnsafeBytes { all in
                    var digest = ContentDigest()
                    digest.add(UnsafeRawBufferPointer(rebasing: all[shift..<(shift + length)]))
                    #expect(digest.value == wanted)
                }
            }
        }
    }
}
