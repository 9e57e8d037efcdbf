import Detection
import RuleLanguage

/// The forms in which all times at one path can be read, as far as records have been seen.
///
/// The first text says which forms there may be, and each later one may rule some out: of `05/01/2026` two are left, of
/// `13/01/2026` one. Which of several is meant nobody can tell from the texts alone.
struct TimeForms: Sendable {
    /// One form, and what the times are in it.
    struct Reading: Sendable {
        var format: TimeFormat
        /// How often a time was before the one before it.
        fileprivate(set) var decreases = 0
        /// Times that say nothing of how far they are from UTC.
        fileprivate(set) var withoutOffset = 0
        /// Texts that are no time in this form.
        fileprivate(set) var misses = 0
        /// Some time is not midnight.
        fileprivate(set) var hasHours = false
        fileprivate var last = Int64.min

        fileprivate init(_ format: TimeFormat) { self.format = format }

        fileprivate mutating func take(_ text: UnsafeRawBufferPointer) {
            guard let time = TimeForms.time(text, format) else {
                misses += 1
                return
            }
            if time.milliseconds < last { decreases += 1 }
            last = time.milliseconds
            if !time.hasOffset { withoutOffset += 1 }
            if time.milliseconds % 86_400_000 != 0 { hasHours = true }
        }
    }

    /// Texts that were looked at.
    private(set) var count = 0
    private var candidates: [Reading] = []
    /// The strictest form first; empty where no form reads all.
    var readings: [Reading] { candidates.filter { $0.misses == 0 } }
    /// The form that reads the most, where that is nearly all; nil where it is less.
    var nearest: Reading? {
        candidates.min { $0.misses < $1.misses }.flatMap { $0.misses * 20 <= count ? $0 : nil }
    }

    static let bytesMax = 48

    mutating func take(_ text: UnsafeRawBufferPointer) {
        if count == 0, TimeForms.mayBeTime(text) {
            candidates = TimeForms.formats(of: String(decoding: text, as: UTF8.self))
                .map { Reading($0) }.filter { TimeForms.time(text, $0.format) != nil }
        }
        count += 1
        if candidates.isEmpty { return }
        for index in candidates.indices.reversed() {
            candidates[index].take(text)
            // Far from all texts, so that none is looked at in vain.
            if candidates[index].misses * 20 > count + 200 { candidates.remove(at: index) }
        }
    }

    func decreases(in format: TimeFormat) -> Int { readings.first { $0.format == format }?.decreases ?? 0 }

    /// Whether a text is a time in some form.
    static func isTime(_ text: UnsafeRawBufferPointer) -> Bool {
        mayBeTime(text)
            && formats(of: String(decoding: text, as: UTF8.self)).contains { time(text, $0) != nil }
    }

    private static func mayBeTime(_ text: UnsafeRawBufferPointer) -> Bool {
        6...bytesMax ~= text.count && text.count { $0 &- UInt8(ascii: "0") <= 9 } >= 3
    }

    fileprivate static func time(_ text: UnsafeRawBufferPointer, _ format: TimeFormat) -> WrittenTime? {
        guard text.count <= bytesMax, let bytes = text.bindMemory(to: UInt8.self).baseAddress else { return nil }
        switch format {
        case .rfc3339: return text.count < 19 ? nil : WrittenTime(rfc3339: bytes, count: text.count)
        case .iso8601: return WrittenTime(iso8601: bytes, count: text.count)
        case .pattern(let pattern):
            return pattern.steps.withUnsafeBufferPointer { steps in
                steps.baseAddress.flatMap {
                    WrittenTime($0, stepCount: steps.count, bytes, count: text.count)
                }
            }
        case .milliseconds, .seconds, .microseconds: return nil
        }
    }

    /// Forms in which a text may be a time.
    private static func formats(of text: String) -> [TimeFormat] {
        [.rfc3339, .iso8601]
            + TimePatternGuess.patterns(of: text).compactMap { (try? TimePattern($0)).map { .pattern($0) } }
    }
}

extension TimeFormat {
    /// Whether the year has two digits, or nothing stands between the parts: a number or code may look so.
    var isTerse: Bool {
        guard case .pattern(let pattern) = self else { return false }
        return pattern.steps.contains { $0.part == .yearOfCentury }
            || pattern.steps.allSatisfy { $0.part != .literal && $0.part != .blanks }
    }

    /// The order of its day and month in words; nil where the month is no number.
    var order: String? {
        guard case .pattern(let pattern) = self else { return nil }
        let words: [String] = pattern.steps.compactMap { step in
            switch step.part {
            case .year, .yearOfCentury: "year"
            case .month: "month"
            case .day: "day"
            default: nil
            }
        }
        return words.contains("month") ? words.joined(separator: "/") : nil
    }
}

/// Patterns that a text may be written in, by its digits, letters and what parts them.
enum TimePatternGuess {
    private enum Token {
        case digits(String), letters(String), other(Character)
    }

    static func patterns(of text: String) -> [String] {
        let tokens = tokens(of: text)
        var at = 0
        var prefix = literals(tokens, &at)
        if at < tokens.count, case .letters(let word) = tokens[at], let day = weekday(word) {
            at += 1
            prefix += day + literals(tokens, &at)
        }
        return dates(tokens, &at).flatMap { date in
            times(tokens, date.rest).map { prefix + date.pattern + $0 }
        }
    }

    private static func tokens(of text: String) -> [Token] {
        var tokens: [Token] = []
        for character in text {
            switch (tokens.last, character.isASCII && character.isNumber, character.isASCII && character.isLetter) {
            case (.digits(let word), true, _): tokens[tokens.count - 1] = .digits(word + String(character))
            case (_, true, _): tokens.append(.digits(String(character)))
            case (.letters(let word), _, true): tokens[tokens.count - 1] = .letters(word + String(character))
            case (_, _, true): tokens.append(.letters(String(character)))
            default: tokens.append(.other(character))
            }
        }
        return tokens
    }

    /// Signs up to the next word or number, as a pattern writes them.
    private static func literals(_ tokens: [Token], _ at: inout Int) -> String {
        var text = ""
        while at < tokens.count, case .other(let sign) = tokens[at] {
            text += sign == "%" ? "%%" : String(sign)
            at += 1
        }
        return text
    }

    private static func weekday(_ word: String) -> String? {
        name(word, ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"], "%a", "%A")
    }

    private static func month(_ word: String) -> String? {
        name(
            word,
            [
                "january", "february", "march", "april", "may", "june", "july", "august", "september", "october",
                "november", "december",
            ],
            "%b",
            "%B"
        )
    }

    private static func name(_ word: String, _ names: [String], _ short: String, _ long: String) -> String? {
        let word = word.lowercased()
        if names.contains(where: { $0.prefix(3) == word }) { return short }
        return names.contains(word) ? long : nil
    }

    /// The dates that may begin here, each with where the rest begins.
    private static func dates(_ tokens: [Token], _ at: inout Int) -> [(pattern: String, rest: Int)] {
        if at < tokens.count, case .digits(let word) = tokens[at] {
            switch word.count {
            case 8: return [("%Y%m%d", at + 1)]
            case 12: return [("%Y%m%d%H%M", at + 1)]
            case 14: return [("%Y%m%d%H%M%S", at + 1)]
            default: break
            }
        }
        // Three parts: what each may be, and what stands between.
        var kinds = ""
        var names: [String] = []
        var signs: [String] = []
        for part in 0..<3 {
            guard at < tokens.count else { return [] }
            switch tokens[at] {
            case .digits(let word) where word.count == 4: kinds += "y"
            case .digits(let word) where word.count <= 2: kinds += "n"
            case .letters(let word):
                guard let name = month(word) else { return [] }
                kinds += "m"
                names.append(name)
            default: return []
            }
            at += 1
            if part < 2 { signs.append(literals(tokens, &at)) }
        }
        let orders: [[String]] =
            switch kinds {
            case "ynn": [["%Y", "%m", "%d"]]
            case "nny": [["%d", "%m", "%Y"], ["%m", "%d", "%Y"]]
            case "nnn": [["%d", "%m", "%y"], ["%m", "%d", "%y"], ["%y", "%m", "%d"]]
            case "nmy": [["%d", names[0], "%Y"]]
            case "nmn": [["%d", names[0], "%y"]]
            case "mny": [[names[0], "%d", "%Y"]]
            case "ymn": [["%Y", names[0], "%d"]]
            default: []
            }
        let rest = at
        return orders.map { ($0[0] + signs[0] + $0[1] + signs[1] + $0[2], rest) }
    }

    /// The rest behind a date: none, or a time of day with what may follow it.
    private static func times(_ tokens: [Token], _ start: Int) -> [String] {
        var at = start
        if at == tokens.count { return [""] }
        var text = literals(tokens, &at)
        if at < tokens.count, case .letters(let word) = tokens[at], word.count == 1 {
            text += word
            at += 1
        }
        guard at < tokens.count, case .digits(let hour) = tokens[at] else { return [] }
        at += 1
        if hour.count == 4 || hour.count == 6 {
            text += hour.count == 4 ? "%H%M" : "%H%M%S"
        } else {
            guard at + 1 < tokens.count, case .other(let sign) = tokens[at], ":.h".contains(sign),
                case .digits = tokens[at + 1]
            else { return [] }
            text += "%H\(sign)%M"
            at += 2
            if at + 1 < tokens.count, case .other(sign) = tokens[at], case .digits = tokens[at + 1] {
                text += "\(sign)%S"
                at += 2
                if at + 1 < tokens.count, case .other(let point) = tokens[at], ".,".contains(point),
                    case .digits = tokens[at + 1]
                {
                    text += "\(point)%f"
                    at += 2
                }
            }
        }
        return tail(tokens, at).map { suffix in
            suffix.contains("%p") ? text.replacing("%H", with: "%I") + suffix : text + suffix
        }
    }

    /// Half of the day, offset, or a word that stands behind every time.
    private static func tail(_ tokens: [Token], _ start: Int) -> [String] {
        var at = start
        var text = ""
        while at < tokens.count {
            switch tokens[at] {
            case .other(let sign) where "+-".contains(sign):
                // `+01`, `+0100` or `+01:00`.
                guard at + 1 < tokens.count, case .digits = tokens[at + 1] else { return [] }
                at += 2
                if at + 1 < tokens.count, case .other(":") = tokens[at], case .digits = tokens[at + 1] { at += 2 }
                text += "%z"
            case .other(let sign):
                text += sign == "%" ? "%%" : String(sign)
                at += 1
            case .letters(let word):
                at += 1
                switch word.lowercased() {
                case "am", "pm": text += "%p"
                case "z": text += "%z"
                // Both are no offset, and mean that there is none.
                case "utc", "gmt", "uhr": text += word
                default: return []
                }
            case .digits: return []
            }
        }
        return [text]
    }
}
