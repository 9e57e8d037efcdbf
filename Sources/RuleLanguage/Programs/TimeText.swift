/// Calendar arithmetic and the texts of times and durations, in milliseconds; proleptic Gregorian, as CEL's timestamps are.
public enum TimeText {
    /// The first millisecond of the year 1: decoders accept no earlier timestamp, and no operation makes one.
    public static let minimum: Int64 = -62_135_596_800_000
    /// The last millisecond of the year 9999.
    public static let maximum: Int64 = 253_402_300_799_999
    /// CEL's durations reach about 10,000 years either way.
    static let durationLimit: Int64 = 315_576_000_000_000

    struct Civil {
        var year: Int
        var month: Int
        var day: Int
        /// Days since 1970-01-01.
        var days: Int
        var millisecondOfDay: Int
    }

    /// Howard Hinnant's `civil_from_days` (chrono-compatible low-level date algorithms).
    static func civil(_ milliseconds: Int64) -> Civil {
        let dayLength: Int64 = 86_400_000
        var days = milliseconds / dayLength
        var rest = milliseconds % dayLength
        if rest < 0 {
            rest += dayLength
            days -= 1
        }
        let z = Int(days) + 719_468
        let era = (z >= 0 ? z : z - 146_096) / 146_097
        let dayOfEra = z - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shifted = (5 * dayOfYear + 2) / 153
        let month = shifted < 10 ? shifted + 3 : shifted - 9
        return Civil(
            year: yearOfEra + era * 400 + (month <= 2 ? 1 : 0),
            month: month,
            day: dayOfYear - (153 * shifted + 2) / 5 + 1,
            days: Int(days),
            millisecondOfDay: Int(rest)
        )
    }

    static func days(year: Int, month: Int, day: Int) -> Int {
        let y = month <= 2 ? year - 1 : year
        let era = (y >= 0 ? y : y - 399) / 400
        let yearOfEra = y - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return era * 146_097 + dayOfEra - 719_468
    }

    static func part(_ part: TimePart, _ milliseconds: Int64) -> Int64 {
        let civil = civil(milliseconds)
        switch part {
        case .fullYear: return Int64(civil.year)
        case .month: return Int64(civil.month - 1)
        case .date: return Int64(civil.day)
        case .dayOfMonth: return Int64(civil.day - 1)
        case .dayOfWeek: return Int64(((civil.days + 4) % 7 + 7) % 7)
        case .dayOfYear: return Int64(civil.days - days(year: civil.year, month: 1, day: 1))
        case .hours: return Int64(civil.millisecondOfDay / 3_600_000)
        case .minutes: return Int64(civil.millisecondOfDay / 60_000 % 60)
        case .seconds: return Int64(civil.millisecondOfDay / 1000 % 60)
        case .milliseconds: return Int64(civil.millisecondOfDay % 1000)
        }
    }

    /// Strict RFC 3339; fractions below a millisecond are cut off.
    ///
    /// Nil when malformed or out of range.
    static func timestamp(_ text: UnsafeBufferPointer<UInt8>) -> Int64? {
        var at = 0
        func digits(_ count: Int) -> Int? {
            guard at + count <= text.count else { return nil }
            var value = 0
            for index in at..<at + count {
                guard Lexer.isDigit(text[index]) else { return nil }
                value = value * 10 + Int(text[index] - 0x30)
            }
            at += count
            return value
        }
        func symbol(_ allowed: StaticString) -> Bool {
            guard at < text.count else { return false }
            let found = allowed.withUTF8Buffer { $0.contains(text[at]) }
            if found { at += 1 }
            return found
        }
        guard let year = digits(4), symbol("-"), let month = digits(2), symbol("-"), let day = digits(2), symbol("Tt"),
            let hour = digits(2), symbol(":"), let minute = digits(2), symbol(":"), let second = digits(2)
        else { return nil }
        let lengths = [
            31, year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31,
        ]
        guard year >= 1, month >= 1, month <= 12, day >= 1, day <= lengths[month - 1], hour < 24, minute < 60,
            second < 60
        else { return nil }
        var milliseconds: Int64 = 0
        if symbol(".") {
            let start = at
            var scale: Int64 = 100
            while at < text.count, Lexer.isDigit(text[at]) {
                milliseconds += Int64(text[at] - 0x30) * scale
                scale /= 10
                at += 1
            }
            guard at > start else { return nil }
        }
        var offset = 0
        if !symbol("Zz") {
            guard let minutes = offsetMinutes(UnsafeBufferPointer(rebasing: text[at...])) else { return nil }
            at = text.count
            offset = minutes
        }
        guard at == text.count else { return nil }
        let seconds =
            Int64(days(year: year, month: month, day: day)) * 86_400
            + Int64(hour * 3600 + minute * 60 + second - offset * 60)
        let value = seconds * 1000 + milliseconds
        return value >= minimum && value <= maximum ? value : nil
    }

    /// `+02:00`, `-02:30` or `02:00` as minutes.
    static func offsetMinutes(_ text: UnsafeBufferPointer<UInt8>) -> Int? {
        var at = 0
        var sign = 1
        if text.first == UInt8(ascii: "+") { at = 1 }
        if text.first == UInt8(ascii: "-") {
            at = 1
            sign = -1
        }
        guard text.count == at + 5, text[at + 2] == UInt8(ascii: ":") else { return nil }
        for index in [at, at + 1, at + 3, at + 4] where !Lexer.isDigit(text[index]) { return nil }
        let hours = Int(text[at] - 0x30) * 10 + Int(text[at + 1] - 0x30)
        let minutes = Int(text[at + 3] - 0x30) * 10 + Int(text[at + 4] - 0x30)
        return hours < 24 && minutes < 60 ? sign * (hours * 60 + minutes) : nil
    }

    /// CEL's duration text: signed decimal numbers with `h`, `m`, `s`, `ms`, `us`, `ns`; fractions below a millisecond are cut off.
    static func duration(_ text: UnsafeBufferPointer<UInt8>) -> Int64? {
        var at = 0
        var isNegative = false
        if text.first == UInt8(ascii: "-") || text.first == UInt8(ascii: "+") {
            isNegative = text[0] == UInt8(ascii: "-")
            at = 1
        }
        if text.count == at + 1, text[at] == UInt8(ascii: "0") { return 0 }
        var nanoseconds = 0.0
        var milliseconds: Int64 = 0
        guard at < text.count else { return nil }
        while at < text.count {
            var whole: Int64 = 0
            var fraction = 0.0
            var digits = 0
            while at < text.count, Lexer.isDigit(text[at]) {
                let (times, overflowed) = whole.multipliedReportingOverflow(by: 10)
                let (sum, overflowedToo) = times.addingReportingOverflow(Int64(text[at] - 0x30))
                if overflowed || overflowedToo { return nil }
                whole = sum
                digits += 1
                at += 1
            }
            if at < text.count, text[at] == UInt8(ascii: ".") {
                at += 1
                var scale = 0.1
                while at < text.count, Lexer.isDigit(text[at]) {
                    fraction += Double(text[at] - 0x30) * scale
                    scale /= 10
                    digits += 1
                    at += 1
                }
            }
            guard digits > 0, at < text.count else { return nil }
            let next = at + 1 < text.count ? text[at + 1] : 0
            let unit: Int64  // nanoseconds
            switch text[at] {
            case UInt8(ascii: "h"): unit = 3_600_000_000_000
            case UInt8(ascii: "m") where next == UInt8(ascii: "s"):
                unit = 1_000_000
                at += 1
            case UInt8(ascii: "m"): unit = 60_000_000_000
            case UInt8(ascii: "s"): unit = 1_000_000_000
            case UInt8(ascii: "u") where next == UInt8(ascii: "s"):
                unit = 1000
                at += 1
            case UInt8(ascii: "n") where next == UInt8(ascii: "s"):
                unit = 1
                at += 1
            default: return nil
            }
            at += 1
            if unit >= 1_000_000 {
                let (product, overflowed) = whole.multipliedReportingOverflow(by: unit / 1_000_000)
                let (sum, overflowedToo) = milliseconds.addingReportingOverflow(product)
                if overflowed || overflowedToo { return nil }
                milliseconds = sum
            } else {
                nanoseconds += Double(whole) * Double(unit)
            }
            nanoseconds += (fraction * Double(unit)).rounded()
        }
        let (total, overflowed) = milliseconds.addingReportingOverflow(
            Int64(exactly: (nanoseconds / 1_000_000).rounded(.towardZero)) ?? .max
        )
        guard !overflowed, total <= durationLimit else { return nil }
        return isNegative ? -total : total
    }

    /// `2026-01-05T08:00:00Z`, with milliseconds where there are any.
    static func write(timestamp value: Int64, to out: (UInt8) -> Void) {
        let civil = civil(value)
        func number(_ value: Int, _ width: Int) {
            var divisor = 1
            for _ in 1..<width { divisor *= 10 }
            while divisor > 0 {
                out(UInt8(0x30 + value / divisor % 10))
                divisor /= 10
            }
        }
        number(civil.year, 4)
        out(UInt8(ascii: "-"))
        number(civil.month, 2)
        out(UInt8(ascii: "-"))
        number(civil.day, 2)
        out(UInt8(ascii: "T"))
        number(civil.millisecondOfDay / 3_600_000, 2)
        out(UInt8(ascii: ":"))
        number(civil.millisecondOfDay / 60_000 % 60, 2)
        out(UInt8(ascii: ":"))
        number(civil.millisecondOfDay / 1000 % 60, 2)
        writeFraction(civil.millisecondOfDay % 1000, to: out)
        out(UInt8(ascii: "Z"))
    }

    /// CEL's text of a duration: seconds with a fraction, `5400s`.
    static func write(duration value: Int64, to out: (UInt8) -> Void) {
        if value < 0 { out(UInt8(ascii: "-")) }
        write(unsigned: value.magnitude / 1000, to: out)
        writeFraction(Int(value.magnitude % 1000), to: out)
        out(UInt8(ascii: "s"))
    }

    private static func writeFraction(_ milliseconds: Int, to out: (UInt8) -> Void) {
        guard milliseconds > 0 else { return }
        out(UInt8(ascii: "."))
        out(UInt8(0x30 + milliseconds / 100))
        if milliseconds % 100 > 0 { out(UInt8(0x30 + milliseconds / 10 % 10)) }
        if milliseconds % 10 > 0 { out(UInt8(0x30 + milliseconds % 10)) }
    }

    static func write(unsigned value: UInt64, to out: (UInt8) -> Void) {
        var divisor: UInt64 = 1
        while value / divisor >= 10 { divisor *= 10 }
        while divisor > 0 {
            out(UInt8(0x30 + value / divisor % 10))
            divisor /= 10
        }
    }

    static func write(int value: Int64, to out: (UInt8) -> Void) {
        if value < 0 { out(UInt8(ascii: "-")) }
        write(unsigned: value.magnitude, to: out)
    }
}
