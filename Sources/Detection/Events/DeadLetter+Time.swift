import RuleLanguage

/// What a dead letter says of a time that lies outside what is accepted.
extension DecodePlan {
    /// Longest text of a time that is quoted, in bytes.
    private static let quotedTimeMax = 40

    /// The time as it was written and as it was read, the bound that it passes and the key that sets it, and where another unit
    /// would fit, that one; nil where the record does not hold the time where the letter points at.
    func sentence(onTime letter: DeadLetter, in record: UnsafeRawBufferPointer) -> String? {
        guard letter.path >= 0, Int(letter.path) < paths.count, let place = paths[Int(letter.path)].field else {
            return nil
        }
        let schema = schemas[place.type]
        let field = schema.fields[place.index]
        // Of a pattern nobody knows which signs belong to the time.
        if case .pattern = field.timeFormat { return nil }
        let written = DecodePlan.time(in: record, at: Int(letter.byteOffset), hasBlanks: !field.timeFormat.isNumber)
        guard !written.isEmpty else { return nil }
        let isEventTime = schema.time.fieldIndex == place.index
        let (least, most) =
            isEventTime ? (limits.earliest, limits.latest) : (TimeText.minimum, TimeText.maximum)
        var sentence = "`\(paths[Int(letter.path)].text)` is "
        var isBefore: Bool?
        var unit: TimeFormat?
        if let number = Double(written), let value = DecodePlan.milliseconds(number, field.timeFormat) {
            if let time = Int64(exactly: value.rounded(.down)), (TimeText.minimum...TimeText.maximum).contains(time) {
                sentence += "\(DecodePlan.text(of: time)) (\(written) written)"
            } else {
                sentence += written
            }
            isBefore = value < Double(least)
            unit = [.seconds, .milliseconds, .microseconds].first { format in
                guard format != field.timeFormat, let other = DecodePlan.milliseconds(number, format) else {
                    return false
                }
                return other >= Double(limits.earliest) && other <= Double(limits.latest)
            }
        } else {
            sentence += written
            // Years stand first and have four digits: of two such texts the order is that of the times, but for a day.
            if let year = Int(written.prefix(4)), year > 0, !field.timeFormat.isNumber {
                isBefore = written < DecodePlan.text(of: least)
            }
        }
        switch isBefore {
        case true?: sentence += ", before \(DecodePlan.text(of: least))"
        case false?: sentence += ", after \(DecodePlan.text(of: most))"
        case nil: sentence += ", which is no time from \(DecodePlan.text(of: least)) to \(DecodePlan.text(of: most))"
        }
        if isEventTime, let isBefore { sentence += ", which `time.\(isBefore ? "earliest" : "latest")` sets" }
        if let unit { sentence += "; \(DecodePlan.word(unit))? Write 'format: \(unit.name)'" }
        return sentence
    }

    /// The digits, letters and signs of a time from a place of a record on.
    private static func time(in record: UnsafeRawBufferPointer, at start: Int, hasBlanks: Bool) -> String {
        var at = start
        if at < record.count, record[at] == UInt8(ascii: "\"") { at += 1 }
        let end = min(record.count, at + quotedTimeMax)
        var text = ""
        while at < end {
            let byte = record[at]
            let isPart =
                switch byte {
                case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                    UInt8(ascii: "A")...UInt8(ascii: "Z"):
                    true
                case UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "."): true
                case UInt8(ascii: ":"), UInt8(ascii: " "): hasBlanks
                default: false
                }
            if !isPart { break }
            text.unicodeScalars.append(Unicode.Scalar(byte))
            at += 1
        }
        while text.last == " " { text.removeLast() }
        return text
    }

    /// A written number as milliseconds since 1970; nil where numbers are no times.
    private static func milliseconds(_ number: Double, _ format: TimeFormat) -> Double? {
        switch format {
        case .milliseconds: number
        case .seconds: number * 1000
        case .microseconds: number / 1000
        case .rfc3339, .iso8601, .pattern: nil
        }
    }

    private static func word(_ unit: TimeFormat) -> String {
        switch unit {
        case .milliseconds: "milliseconds"
        case .seconds: "seconds"
        case .microseconds: "microseconds"
        case .rfc3339, .iso8601, .pattern: "a text"
        }
    }

    /// A day alone where it is midnight.
    private static func text(of time: Int64) -> String {
        var text = ByteBuffer(capacity: 32)
        text.appendTime(milliseconds: time)
        let whole = String(decoding: text.bytes, as: UTF8.self)
        return time.flooredDivision(by: 86_400_000).1 == 0 ? String(whole.prefix(10)) : whole
    }
}
