/// Milliseconds since 1970 of an RFC 3339 time, or nil.
///
/// `2026-01-05T08:00:00.123+01:00`; a blank or `t` may stand for `T`; no offset means UTC; digits beyond milliseconds are cut.
/// Second 60 is taken as the first of the next minute. At least 16 readable bytes must follow the text.
func milliseconds(rfc3339 text: UnsafePointer<UInt8>, count: Int) -> Int64? {
    guard count >= 19 else { return nil }
    func pair(_ at: Int) -> Int64 {
        let tens = text[at] &- UInt8(ascii: "0")
        let ones = text[at + 1] &- UInt8(ascii: "0")
        return tens > 9 || ones > 9 ? -10_000 : Int64(tens) * 10 + Int64(ones)
    }
    let year = pair(0) * 100 + pair(2)
    let month = pair(5)
    let day = pair(8)
    let hour = pair(11)
    let minute = pair(14)
    let second = pair(17)
    let separator = text[10]
    guard text[4] == UInt8(ascii: "-"), text[7] == UInt8(ascii: "-"), text[13] == UInt8(ascii: ":"),
        text[16] == UInt8(ascii: ":"),
        separator | 0x20 == UInt8(ascii: "t") || separator == UInt8(ascii: " ")
    else { return nil }
    guard year >= 0, month >= 1, month <= 12, day >= 1, hour >= 0, hour < 24, minute >= 0, minute < 60, second >= 0,
        second <= 60
    else {
        return nil
    }
    let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
    let lastDay: Int64 =
        month == 2 ? (isLeap ? 29 : 28) : (month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31)
    guard day <= lastDay else { return nil }

    let days = daysSince1970(year: year, month: month, day: day)
    var result = ((days * 24 + hour) * 60 + minute) * 60 + second
    result *= 1000
    var at = 19
    if at < count, text[at] == UInt8(ascii: ".") {
        at += 1
        var scale: Int64 = 100
        let first = at
        while at < count, case let digit = text[at] &- UInt8(ascii: "0"), digit <= 9 {
            result += Int64(digit) * scale
            scale /= 10
            at += 1
        }
        if at == first { return nil }
    }
    if at == count { return result }
    let sign = text[at]
    if sign | 0x20 == UInt8(ascii: "z") { return at + 1 == count ? result : nil }
    guard sign == UInt8(ascii: "+") || sign == UInt8(ascii: "-"), count - at == 6, text[at + 3] == UInt8(ascii: ":")
    else { return nil }
    let hours = pair(at + 1)
    let minutes = pair(at + 4)
    guard hours >= 0, hours < 24, minutes >= 0, minutes < 60 else { return nil }
    let offset = (hours * 60 + minutes) * 60_000
    return sign == UInt8(ascii: "+") ? result - offset : result + offset
}

/// In the proleptic Gregorian calendar: years counted from March, so the leap day is the last of its year.
@inline(__always)
func daysSince1970(year: Int64, month: Int64, day: Int64) -> Int64 {
    let shifted = month > 2 ? year : year - 1
    let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
    let leapDays = floorDivide(shifted, 4) - floorDivide(shifted, 100) + floorDivide(shifted, 400)
    return shifted * 365 + leapDays + dayOfYear - 719_468
}

private func floorDivide(_ a: Int64, _ b: Int64) -> Int64 { a >= 0 ? a / b : -((b - 1 - a) / b) }
