import Models

/// About how many distinct entities: HyperLogLog with 1024 registers (Flajolet et al., 2007), linear counting below 2,560; error 3 %.
///
/// A maximum per register: the same whatever the order or the split.
struct DistinctEstimate {
    static let registers = 1024

    /// What one entity says of the number: its register has been at least so high.
    struct Sighting: BitwiseCopyable {
        var register: UInt16
        var rank: UInt8
    }

    /// - Parameter hash: of the entity, seeded.
    @inline(__always)
    static func sighting(of hash: UInt64) -> Sighting {
        let word = SplitMix64.mix(hash)
        return Sighting(
            register: UInt16(truncatingIfNeeded: word & 1023),
            rank: UInt8(truncatingIfNeeded: (word | 1023).leadingZeroBitCount + 1))
    }

    static func estimate(_ registers: UnsafePointer<UInt8>) -> Double {
        var sum = 0.0
        var zeros = 0
        for i in 0..<self.registers {
            sum += Double(sign: .plus, exponent: -Int(registers[i]), significand: 1)
            if registers[i] == 0 { zeros += 1 }
        }
        let m = Double(self.registers)
        let raw = 0.7213 / (1 + 1.079 / m) * m * m / sum
        return raw <= 2.5 * m && zeros > 0 ? m * Elementary.log(m / Double(zeros)) : raw
    }
}
