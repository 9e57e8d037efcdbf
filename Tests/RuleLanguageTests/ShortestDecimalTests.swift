import Models
import RuleLanguage
import Testing

private func text(_ value: Double) -> String {
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: ShortestDecimal.byteCountMax) { place in
        guard let start = place.baseAddress else { return "" }
        let count = ShortestDecimal.write(value, to: start)
        return String(decoding: place[..<count], as: UTF8.self)
    }
}

@Test(arguments: [
    (0.0, "0.0"), (-0.0, "-0.0"), (1, "1.0"), (-1, "-1.0"), (0.1, "0.1"), (1.0 / 3, "0.3333333333333333"),
    (1e-4, "0.0001"), (1e-5, "1e-05"), (0x1p53, "9007199254740992.0"), (0x1p54, "1.8014398509481984e+16"),
    (-.leastNonzeroMagnitude, "-5e-324"), (-.leastNormalMagnitude, "-2.2250738585072014e-308"),
    (.greatestFiniteMagnitude, "1.7976931348623157e+308"), (123456789012345.67, "123456789012345.67"),
])
func `a double is written as the shortest text that reads back as itself`(_ value: Double, _ expected: String) {
    #expect(text(value) == expected)
    #expect(value.description == expected)
}

@Test func `a million doubles are written as their description has them`() {
    var random = SplitMix64(seed: 17)
    var different: [UInt64] = []
    func check(_ value: Double) {
        if value.isFinite, text(value) != value.description { different.append(value.bitPattern) }
    }
    for exponent in 0..<2047 as Range<UInt64> {
        // Both ends of every binade, where the neighbours' distance changes.
        for fraction in [0, 1, 0x000F_FFFF_FFFF_FFFF] as [UInt64] {
            check(Double(bitPattern: exponent << 52 | fraction))
        }
    }
    for number in 0..<1_000_000 {
        // Every other number of the size that features have.
        let bits = random.next()
        check(number % 2 == 0 ? Double(bitPattern: bits) : Double(Int64(bitPattern: bits) >> 20) / 1e6)
    }
    #expect(different.isEmpty, "\(different.count), first of them \(different.first ?? 0)")
}
