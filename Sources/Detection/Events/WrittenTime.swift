public import RuleLanguage

/// A time as it was written: by some clock, which may have said how far it is from UTC.
public struct WrittenTime {
    /// Since 1970, UTC where the offset is known, else by the clock that showed it.
    public var milliseconds: Int64
    public var hasOffset: Bool

    /// ISO 8601 as senders write it, or nil: `2026-01-05`, `2026-01-05T08:00`, `2026-01-05 08:00:00,123 +0100`.
    ///
    /// A `T`, a `t` or one blank before the hour; seconds and their fraction (behind `.` or `,`, cut below milliseconds) may be
    /// left out; the offset is `Z`, `+01`, `+0100` or `+01:00`, with a blank before it or none. Second 60 is the first of the next
    /// minute. A bare date is its midnight.
    public init?(iso8601 text: UnsafePointer<UInt8>, count: Int) {
        var scan = TimeScan(at: text, end: text + count)
        var time = TimeParts()
        guard scan.number(&time.year, digits: 4...4), scan.take(UInt8(ascii: "-")),
            scan.number(&time.month, digits: 2...2), scan.take(UInt8(ascii: "-")), scan.number(&time.day, digits: 2...2)
        else { return nil }
        if scan.isAtEnd {
            self.init(time)
            return
        }
        guard scan.take(UInt8(ascii: "T")) || scan.take(UInt8(ascii: "t")) || scan.take(UInt8(ascii: " ")),
            scan.number(&time.hour, digits: 2...2), scan.take(UInt8(ascii: ":")),
            scan.number(&time.minute, digits: 2...2)
        else { return nil }
        if scan.take(UInt8(ascii: ":")) {
            guard scan.number(&time.second, digits: 2...2) else { return nil }
            if scan.take(UInt8(ascii: ".")) || scan.take(UInt8(ascii: ",")) {
                guard scan.fraction(&time, digits: 1...Int.max) else { return nil }
            }
        }
        if !scan.isAtEnd {
            _ = scan.take(UInt8(ascii: " "))
            guard scan.offset(&time), scan.isAtEnd else { return nil }
        }
        self.init(time)
    }

    /// A time in a pattern, or nil; the whole text must fit.
    public init?(_ steps: UnsafePointer<TimePattern.Step>, stepCount: Int, _ text: UnsafePointer<UInt8>, count: Int) {
        var scan = TimeScan(at: text, end: text + count)
        var time = TimeParts()
        for index in 0..<stepCount {
            if !scan.take(steps[index], &time) { return nil }
        }
        guard scan.isAtEnd else { return nil }
        self.init(time)
    }

    /// An RFC 3339 time, or nil, as ``milliseconds(rfc3339:count:)`` takes it.
    public init?(rfc3339 text: UnsafePointer<UInt8>, count: Int) {
        guard let time = Detection.milliseconds(rfc3339: text, count: count) else { return nil }
        let sign = text[count - 6]
        milliseconds = time
        hasOffset =
            text[count - 1] | 0x20 == UInt8(ascii: "z")
            || count > 19 && (sign == UInt8(ascii: "+") || sign == UInt8(ascii: "-"))
    }

    private init?(_ time: TimeParts) {
        guard let value = time.milliseconds else { return nil }
        milliseconds = value
        hasOffset = time.offset != nil || time.epoch != nil
    }
}

/// The parts of a time; the first of January of the year 1 at midnight until told otherwise.
struct TimeParts {
    var year: Int64 = 1
    var month: Int64 = 1
    var day: Int64 = 1
    /// Of the year, instead of month and day.
    var dayOfYear: Int64 = 0
    var hour: Int64 = 0
    /// Hours 1 to 12, of the half that `isAfternoon` names.
    var hourOfHalf: Int64 = 0
    var isAfternoon = false
    var minute: Int64 = 0
    var second: Int64 = 0
    var fraction: Int64 = 0
    /// In seconds east of Greenwich.
    var offset: Int64?
    /// In seconds since 1970, instead of all others but the fraction.
    var epoch: Int64?

    /// Nil for a time that no calendar or clock shows.
    var milliseconds: Int64? {
        if let epoch {
            let (value, overflow) = epoch.multipliedReportingOverflow(by: 1000)
            // A fraction goes on from the digits before it, also below zero.
            return overflow ? nil : epoch < 0 ? value - fraction : value + fraction
        }
        let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
        let days: Int64
        if dayOfYear > 0 {
            guard dayOfYear <= (isLeap ? 366 : 365) else { return nil }
            days = daysSince1970(year: year, month: 1, day: 1) + dayOfYear - 1
        } else {
            guard month >= 1, month <= 12, day >= 1 else { return nil }
            let last: Int64 =
                month == 2 ? (isLeap ? 29 : 28) : (month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31)
            guard day <= last else { return nil }
            days = daysSince1970(year: year, month: month, day: day)
        }
        let hour = hourOfHalf > 0 ? hourOfHalf % 12 + (isAfternoon ? 12 : 0) : hour
        guard hour < 24, minute < 60, second <= 60 else { return nil }
        return (((days * 24 + hour) * 60 + minute) * 60 + second - (offset ?? 0)) * 1000 + fraction
    }
}

/// A walk over a time's text; reads nothing at or beyond its end.
private struct TimeScan {
    var at: UnsafePointer<UInt8>
    let end: UnsafePointer<UInt8>

    var isAtEnd: Bool { at >= end }

    mutating func take(_ byte: UInt8) -> Bool {
        guard at < end, at.pointee == byte else { return false }
        at += 1
        return true
    }

    /// As many digits as there are, up to the most; false for fewer than the least.
    mutating func number(_ value: inout Int64, digits: ClosedRange<Int>) -> Bool {
        var count = 0
        var number: Int64 = 0
        while count < digits.upperBound, at < end, case let digit = at.pointee &- UInt8(ascii: "0"), digit <= 9 {
            number = number * 10 + Int64(digit)
            count += 1
            at += 1
        }
        value = number
        return count >= digits.lowerBound
    }

    /// Milliseconds from the digits of a fraction; those below are passed.
    mutating func fraction(_ time: inout TimeParts, digits: ClosedRange<Int>) -> Bool {
        var scale: Int64 = 100
        var count = 0
        time.fraction = 0
        while count < digits.upperBound, at < end, case let digit = at.pointee &- UInt8(ascii: "0"), digit <= 9 {
            time.fraction += Int64(digit) * scale
            scale /= 10
            count += 1
            at += 1
        }
        return count >= digits.lowerBound
    }

    /// `Z`, `+01`, `+0100` or `+01:00`.
    mutating func offset(_ time: inout TimeParts) -> Bool {
        if take(UInt8(ascii: "Z")) || take(UInt8(ascii: "z")) {
            time.offset = 0
            return true
        }
        let isNegative = take(UInt8(ascii: "-"))
        var hours: Int64 = 0
        var minutes: Int64 = 0
        guard isNegative || take(UInt8(ascii: "+")), number(&hours, digits: 2...2), hours < 24 else { return false }
        if take(UInt8(ascii: ":")) || at < end && at.pointee &- UInt8(ascii: "0") <= 9 {
            guard number(&minutes, digits: 2...2), minutes < 60 else { return false }
        }
        let seconds = (hours * 60 + minutes) * 60
        time.offset = isNegative ? -seconds : seconds
        return true
    }

    mutating func take(_ step: TimePattern.Step, _ time: inout TimeParts) -> Bool {
        let one = step.isFull ? 2...2 : 1...2
        switch step.part {
        case .literal:
            // Letters in any case, as the words are.
            let isLetter = (step.byte | 0x20) &- UInt8(ascii: "a") < 26
            return take(step.byte) || isLetter && take(step.byte ^ 0x20)
        case .blanks:
            let start = at
            while at < end, isBlank(at.pointee) { at += 1 }
            return at > start
        case .year: return number(&time.year, digits: 4...4)
        case .yearOfCentury:
            guard number(&time.year, digits: 2...2) else { return false }
            time.year += time.year < 69 ? 2000 : 1900
            return true
        case .month: return number(&time.month, digits: one)
        case .day:
            // A day below ten may stand behind a blank instead of a zero.
            if take(UInt8(ascii: " ")) { return number(&time.day, digits: 1...1) }
            return number(&time.day, digits: one)
        case .dayOfYear:
            return number(&time.dayOfYear, digits: step.isFull ? 3...3 : 1...3) && time.dayOfYear > 0
        case .hour: return number(&time.hour, digits: one)
        case .hourOfHalf: return number(&time.hourOfHalf, digits: one) && 1...12 ~= time.hourOfHalf
        case .half:
            time.isAfternoon = word("pm")
            return time.isAfternoon || word("am")
        case .minute: return number(&time.minute, digits: one)
        case .second: return number(&time.second, digits: one)
        case .fraction: return fraction(&time, digits: step.isFull ? 6...6 : 1...9)
        case .milliseconds: return fraction(&time, digits: 3...3)
        case .offset: return offset(&time)
        case .epoch:
            let isNegative = take(UInt8(ascii: "-"))
            var seconds: Int64 = 0
            guard number(&seconds, digits: 1...15) else { return false }
            time.epoch = isNegative ? -seconds : seconds
            return true
        case .monthShort, .monthName:
            guard let index = name(TimeScan.months, cut: step.part == .monthShort) else { return false }
            time.month = Int64(index + 1)
            return true
        case .weekdayShort, .weekdayName: return name(TimeScan.weekdays, cut: step.part == .weekdayShort) != nil
        }
    }

    /// ASCII letters in any case; `word` is in small ones.
    private mutating func word(_ word: StaticString, from start: Int = 0, count: Int? = nil) -> Bool {
        let count = count ?? word.utf8CodeUnitCount - start
        guard end - at >= count else { return false }
        for index in 0..<count where at[index] | 0x20 != word.utf8Start[start + index] { return false }
        at += count
        return true
    }

    /// The index of the English name that stands here, of a list whose names end in a comma each.
    private mutating func name(_ names: StaticString, cut isCut: Bool) -> Int? {
        var start = 0
        var index = 0
        while start < names.utf8CodeUnitCount {
            var stop = start
            while names.utf8Start[stop] != UInt8(ascii: ",") { stop += 1 }
            if word(names, from: start, count: isCut ? 3 : stop - start) { return index }
            index += 1
            start = stop + 1
        }
        return nil
    }

    private static let months: StaticString =
        "january,february,march,april,may,june,july,august,september,october,november,december,"
    private static let weekdays: StaticString = "monday,tuesday,wednesday,thursday,friday,saturday,sunday,"
}
