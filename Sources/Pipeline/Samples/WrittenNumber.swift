import RuleLanguage

/// What stands before fractions and between thousands, by all numbers of a table.
struct NumberSigns: Sendable {
    private var decimals: [UInt8: Int] = [:]
    private var thousands: [UInt8: Int] = [:]
    private var undecided: [UInt8: Int] = [:]

    mutating func take(_ value: [UInt8]) {
        guard let shape = WrittenNumber(value) else { return }
        if let sign = shape.decimal { decimals[sign, default: 0] += 1 }
        if let sign = shape.thousands { thousands[sign, default: 0] += 1 }
        if let sign = shape.undecided { undecided[sign, default: 0] += 1 }
    }

    /// Writes into a dialect what the numbers tell.
    func settle(_ dialect: inout CSVDialect) {
        let (comma, point) = (UInt8(ascii: ","), UInt8(ascii: "."))
        let commas = decimals[comma] ?? 0
        let points = decimals[point] ?? 0
        dialect.decimal = commas > points && dialect.delimiter != .byte(comma) ? comma : point
        dialect.thousands =
            thousands.filter { $0.key != dialect.decimal }.max { ($0.value, $0.key) < ($1.value, $1.key) }?.key
        // Beside fractions with the one sign the other can only part thousands.
        let other = dialect.decimal == comma ? point : comma
        if dialect.thousands == nil, max(commas, points) > 0, undecided[other] != nil { dialect.thousands = other }
    }

    /// Numbers that can be read in two ways; nil where none can.
    func doubt(_ dialect: CSVDialect) -> String? {
        guard decimals.isEmpty, thousands.isEmpty else { return nil }
        if undecided[UInt8(ascii: ",")] != nil {
            return
                "numbers such as 9,999 may have thousands or a fraction, and are read as texts: `csv: { thousands: \",\" }` or `decimal: \",\"` says which"
        }
        if undecided[UInt8(ascii: ".")] != nil {
            return
                "numbers such as 9.999 are read with a fraction; where they have thousands, write `csv: { decimal: \",\", thousands: \".\" }`"
        }
        return nil
    }
}

/// A number as people write it in tables, whatever the sign before its fraction.
struct WrittenNumber {
    /// What must be the sign before the fraction; nil where there is none, or it cannot be told.
    var decimal: UInt8?
    /// What must stand between the thousands.
    var thousands: UInt8?
    /// What is one of the two, and nobody can tell which: `1.234`.
    var undecided: UInt8?

    /// Nil where it is no number.
    init?(_ bytes: [UInt8]) {
        var groups: [Int] = [0]
        var separators: [UInt8] = []
        for byte in bytes.first == UInt8(ascii: "-") ? bytes.dropFirst() : bytes[...] {
            if byte &- UInt8(ascii: "0") <= 9 {
                groups[groups.count - 1] += 1
            } else if [UInt8(ascii: "."), UInt8(ascii: ","), UInt8(ascii: "'")].contains(byte) {
                separators.append(byte)
                groups.append(0)
            } else {
                return nil
            }
        }
        guard !groups.contains(0), groups.count <= 8 else { return nil }
        let startsWithZero = bytes.first { $0 != UInt8(ascii: "-") } == UInt8(ascii: "0")
        guard let last = separators.last else { return }
        let isGrouped = groups[0] <= 3 && groups[1..<(groups.count - 1)].allSatisfy { $0 == 3 }
        if separators.count == 1 {
            // One group of three may be thousands or a fraction, unless nothing but a zero stands before it.
            if groups[1] != 3 || groups[0] > 3 || startsWithZero {
                decimal = last == UInt8(ascii: "'") ? nil : last
            } else if last == UInt8(ascii: "'") {
                thousands = last
            } else {
                undecided = last
            }
            return
        }
        guard isGrouped, Set(separators.dropLast()).count == 1 else { return nil }
        if separators[0] == last {
            guard groups[groups.count - 1] == 3 else { return nil }
            thousands = last
        } else {
            thousands = separators[0]
            decimal = last
        }
    }

    /// Whether a dialect reads it as a number.
    func fits(_ dialect: CSVDialect) -> Bool {
        (decimal == nil || decimal == dialect.decimal) && (thousands == nil || thousands == dialect.thousands)
            && (undecided == nil || undecided == dialect.decimal || undecided == dialect.thousands)
    }
}
