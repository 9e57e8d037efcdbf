import Glibc

/// Event times as people read them.
enum LocalTime {
    /// `2026-01-05T08:00:00.250Z` as wall time here, to the second, with its distance from UTC; nil when it is no time.
    static func text(_ text: String) -> String? {
        let bytes = Array(text.utf8)
        guard bytes.count >= 20, bytes.last == UInt8(ascii: "Z") else { return nil }
        func number(_ range: Range<Int>) -> Int32? { Int32(String(decoding: bytes[range], as: UTF8.self)) }
        guard let year = number(0..<4), let month = number(5..<7), let day = number(8..<10), let hour = number(11..<13),
            let minute = number(14..<16), let second = number(17..<19)
        else { return nil }
        var universal = tm()
        universal.tm_year = year - 1900
        universal.tm_mon = month - 1
        universal.tm_mday = day
        universal.tm_hour = hour
        universal.tm_min = minute
        universal.tm_sec = second
        var time = timegm(&universal)
        var local = tm()
        guard localtime_r(&time, &local) != nil else { return nil }
        func two(_ value: Int32) -> String { value < 10 ? "0\(value)" : "\(value)" }
        let minutes = Int32(abs(local.tm_gmtoff / 60))
        let zone = minutes == 0 ? "Z" : "\(local.tm_gmtoff < 0 ? "-" : "+")\(two(minutes / 60)):\(two(minutes % 60))"
        return
            "\(local.tm_year + 1900)-\(two(local.tm_mon + 1))-\(two(local.tm_mday)) \(two(local.tm_hour)):\(two(local.tm_min)):\(two(local.tm_sec))\(zone)"
    }
}
