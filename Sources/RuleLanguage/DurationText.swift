/// Durations as topologies, rules and the command line write them: a whole number and a unit, `90s`, `5m`, `30d`.
public enum DurationText {
    /// Unit and milliseconds, shortest first.
    static let units: [(name: String, milliseconds: Int64)] = [
        ("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000), ("w", 604_800_000),
    ]

    /// The milliseconds of a duration, or nil when the text is none (no unit, a sign, a fraction, or beyond 64 bits).
    public static func milliseconds(_ text: some StringProtocol) -> Int64? {
        let digits = text.utf8.prefix { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
        let unit = text.utf8.dropFirst(digits.count)
        guard !digits.isEmpty, let number = Int64(String(decoding: digits, as: UTF8.self)) else { return nil }
        guard let scale = units.first(where: { $0.name.utf8.elementsEqual(unit) }) else { return nil }
        let (product, overflow) = number.multipliedReportingOverflow(by: scale.milliseconds)
        return overflow ? nil : product
    }

    /// The shortest way to write a duration: `90000` is `90s`, `3600000` is `1h`.
    public static func text(milliseconds: Int64) -> String {
        if milliseconds == 0 { return "0s" }
        // Weeks are left out: people say "14 days".
        for unit in units.dropLast().reversed() where milliseconds % unit.milliseconds == 0 {
            return "\(milliseconds / unit.milliseconds)\(unit.name)"
        }
        return "\(milliseconds)ms"
    }
}
