import Models

/// How many decimal digits the minor unit of a currency has, by ISO 4217 as of 2026.
///
/// Those withdrawn since 2010 are there too, for back-tests; metals, funds without a unit and codes for tests are not.
public enum CurrencyDigits {
    /// What ``digits(of:count:)`` returns at most.
    static let digitsMax = 4

    /// Nil for what is no code of three letters, in any case, that the list has.
    public static func digits(of text: UnsafePointer<UInt8>, count: Int) -> Int? {
        guard count == 3, let index = place(text) else { return nil }
        let digits = table[index]
        return digits == none ? nil : Int(digits)
    }

    private static let none = UInt8.max

    private static func place(_ code: UnsafePointer<UInt8>) -> Int? {
        var index = 0
        for at in 0..<3 {
            let letter = (code[at] | 0x20) &- UInt8(ascii: "a")
            if letter > 25 { return nil }
            index = index * 26 + Int(letter)
        }
        return index
    }

    /// By the three letters as a number of base 26.
    ///
    /// Written once, never freed, only read afterwards.
    nonisolated(unsafe) private static let table: OwnedBuffer<UInt8> = {
        let table = OwnedBuffer(repeating: none, count: 26 * 26 * 26)
        for (digits, codes) in lists {
            var codes = codes
            codes.withUTF8 { bytes in
                guard let start = bytes.baseAddress else { return }
                for at in stride(from: 0, to: bytes.count, by: 4) {
                    if let index = place(start + at) { table[index] = digits }
                }
            }
        }
        return table
    }()

    private static let lists: [(digits: UInt8, codes: String)] = [
        (0, "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF BYR "),
        (
            2,
            """
            AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW \
            CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR \
            ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV \
            MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD \
            SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG YER ZAR ZMW ZWG \
            ANG CUC EEK HRK LTL LVL MRO SLL STD VEF ZMK ZWL\u{20}
            """
        ),
        (3, "BHD IQD JOD KWD LYD OMR TND "),
        (4, "CLF UYW "),
    ]
}
