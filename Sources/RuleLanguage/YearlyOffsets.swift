/// The offsets of a zone in every year to come, from a rule such as `CET-1CEST,M3.5.0,M10.5.0/3` (POSIX `TZ`, with the hours
/// beyond a day of RFC 9636).
struct YearlyOffsets: Sendable, Equatable {
    /// When the clocks change.
    struct Change: Sendable, Equatable {
        enum Day: Sendable, Equatable {
            /// From 1, the 29th of February never counted.
            case withoutLeapDay(Int)
            /// From 0.
            case ofYear(Int)
            /// The `week`-th such weekday (Sunday is 0) of a month, 5 the last.
            case weekday(month: Int, week: Int, day: Int)
        }

        var day: Day
        /// Of the day, on the clock that ends.
        var second: Int64

        /// In seconds since 1970, on that clock.
        func second(inYear year: Int) -> Int64 {
            let first = TimeText.days(year: year, month: 1, day: 1)
            let days: Int
            switch day {
            case .withoutLeapDay(let count):
                let isLeap = TimeText.days(year: year, month: 3, day: 1) - first == 60
                days = first + count - 1 + (isLeap && count > 59 ? 1 : 0)
            case .ofYear(let count): days = first + count
            case .weekday(let month, let week, let weekday):
                let start = TimeText.days(year: year, month: month, day: 1)
                let next = TimeText.days(year: month == 12 ? year + 1 : year, month: month % 12 + 1, day: 1)
                // 1970-01-01 was a Thursday.
                let wait = ((weekday - (start + 4)) % 7 + 7) % 7
                let found = start + wait + (week - 1) * 7
                days = found < next ? found : found - 7
            }
            return Int64(days) * 86_400 + second
        }
    }

    var standard: Int64
    var summer: (offset: Int64, start: Change, end: Change)?

    static func == (a: YearlyOffsets, b: YearlyOffsets) -> Bool {
        a.standard == b.standard && a.summer?.offset == b.summer?.offset && a.summer?.start == b.summer?.start
            && a.summer?.end == b.summer?.end
    }

    /// Seconds east of Greenwich at a local time; at a change as in ``TimeZoneTable/offset(local:)``.
    func offset(local: Int64) -> Int64 {
        guard let summer else { return standard }
        let year = TimeText.civil(local * 1000).year
        // Each on the clock that ends; where the clocks go forward, the later of both.
        let difference = summer.offset - standard
        let start = summer.start.second(inYear: year) + max(0, difference)
        let end = summer.end.second(inYear: year) + max(0, -difference)
        let isSummer = start < end ? start <= local && local < end : !(end <= local && local < start)
        return isSummer ? summer.offset : standard
    }

    /// Nil for what is no rule.
    init?(_ text: ArraySlice<UInt8>) {
        var parser = Parser(rest: text)
        guard parser.name(), let west = parser.time(hours: 24) else { return nil }
        standard = -west
        if parser.rest.isEmpty { return }
        guard parser.name() else { return nil }
        var offset = standard + 3600
        if parser.rest.first != UInt8(ascii: ",") {
            guard let west = parser.time(hours: 24) else { return nil }
            offset = -west
        }
        guard let start = parser.change(), let end = parser.change(), parser.rest.isEmpty else { return nil }
        summer = (offset, start, end)
    }

    private struct Parser {
        var rest: ArraySlice<UInt8>

        mutating func take(_ byte: UInt8) -> Bool {
            guard rest.first == byte else { return false }
            rest = rest.dropFirst()
            return true
        }

        mutating func number(_ range: ClosedRange<Int64>) -> Int64? {
            let digits = rest.prefix(4).prefix { 0x30...0x39 ~= $0 }
            rest = rest.dropFirst(digits.count)
            let value = digits.reduce(Int64(0)) { $0 * 10 + Int64($1 - 0x30) }
            return !digits.isEmpty && range.contains(value) ? value : nil
        }

        /// Letters, or anything in angle brackets.
        mutating func name() -> Bool {
            if take(UInt8(ascii: "<")) {
                guard let end = rest.firstIndex(of: UInt8(ascii: ">")) else { return false }
                rest = rest[(end + 1)...]
                return true
            }
            let letters = rest.prefix { 0x61...0x7A ~= $0 | 0x20 }
            rest = rest.dropFirst(letters.count)
            return !letters.isEmpty
        }

        /// `[+-]h[:m[:s]]`, in seconds.
        mutating func time(hours most: Int64) -> Int64? {
            let isNegative = take(UInt8(ascii: "-"))
            if !isNegative { _ = take(UInt8(ascii: "+")) }
            guard let hours = number(0...most) else { return nil }
            var seconds = hours * 3600
            for unit: Int64 in [60, 1] where take(UInt8(ascii: ":")) {
                guard let part = number(0...59) else { return nil }
                seconds += part * unit
            }
            return isNegative ? -seconds : seconds
        }

        /// `,M3.5.0/3`, `,J60` or `,59`; two in the morning unless told otherwise.
        mutating func change() -> Change? {
            guard take(UInt8(ascii: ",")) else { return nil }
            let day: Change.Day
            if take(UInt8(ascii: "M")) {
                guard let month = number(1...12), take(UInt8(ascii: ".")), let week = number(1...5),
                    take(UInt8(ascii: ".")), let weekday = number(0...6)
                else { return nil }
                day = .weekday(month: Int(month), week: Int(week), day: Int(weekday))
            } else if take(UInt8(ascii: "J")) {
                guard let count = number(1...365) else { return nil }
                day = .withoutLeapDay(Int(count))
            } else {
                guard let count = number(0...365) else { return nil }
                day = .ofYear(Int(count))
            }
            guard take(UInt8(ascii: "/")) else { return Change(day: day, second: 7200) }
            guard let second = time(hours: 167) else { return nil }
            return Change(day: day, second: second)
        }
    }
}
