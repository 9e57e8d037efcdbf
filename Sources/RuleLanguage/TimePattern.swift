/// Why a text is no pattern of times, and what to write instead.
public struct TimePatternFault: Error, Sendable, Equatable {
    /// Goes on behind "the format of field 'x'", such as "has no year".
    public var reason: String
    public var remedy: String?
}

/// How times are written, in the manner of C's `strptime`: `%m/%d/%Y %H:%M`.
public struct TimePattern: Sendable, Equatable {
    /// What one step takes from a text.
    public enum Part: UInt8, Sendable {
        /// One byte that must stand there.
        case literal
        /// Any number of blanks and tabs, one at least.
        case blanks
        case year, yearOfCentury, month, monthName, monthShort, day, dayOfYear
        case hour, hourOfHalf, half, minute, second, fraction, milliseconds
        case offset, epoch
        /// Must be a day's name, and decides nothing.
        case weekdayName, weekdayShort
    }

    /// One part or byte of the pattern.
    public struct Step: Sendable, Equatable {
        public var part: Part
        /// Of a literal.
        public var byte: UInt8 = 0
        /// Digits adjoin, so all digits of this part must be there.
        public var isFull = false
    }

    public static let stepsMax = 32
    /// The letters behind `%` and what they mean.
    static let letters: [(letter: Character, part: Part)] = [
        ("Y", .year), ("y", .yearOfCentury), ("m", .month), ("b", .monthShort), ("B", .monthName), ("d", .day),
        ("e", .day),
        ("j", .dayOfYear), ("H", .hour), ("I", .hourOfHalf), ("p", .half), ("M", .minute), ("S", .second),
        ("f", .fraction),
        ("L", .milliseconds), ("z", .offset), ("s", .epoch), ("a", .weekdayShort), ("A", .weekdayName),
    ]

    /// As it was written.
    public let text: String
    public let steps: [Step]

    public init(_ text: String) throws(TimePatternFault) {
        var steps: [Step] = []
        var rest = Substring(text)
        while let character = rest.popFirst() {
            if character == "%" {
                guard let letter = rest.popFirst() else {
                    throw TimePatternFault(reason: "ends in '%'", remedy: "write '%%' for a percent sign")
                }
                if letter == "%" {
                    steps.append(Step(part: .literal, byte: UInt8(ascii: "%")))
                } else if let known = TimePattern.letters.first(where: { $0.letter == letter }) {
                    steps.append(Step(part: known.part))
                } else {
                    let known = TimePattern.letters.map { "%\($0.letter)" }.joined(separator: " ")
                    throw TimePatternFault(reason: "has the unknown '%\(letter)'", remedy: "known: \(known) %%")
                }
            } else if character == " " || character == "\t" {
                if steps.last?.part != .blanks { steps.append(Step(part: .blanks)) }
            } else {
                steps += character.utf8.map { Step(part: .literal, byte: $0) }
            }
        }
        if steps.count > TimePattern.stepsMax {
            throw TimePatternFault(reason: "has \(steps.count) parts and characters, more than \(TimePattern.stepsMax)")
        }
        for index in steps.indices.dropLast()
        where steps[index].part.startsWithDigits && steps[index + 1].part.startsWithDigits {
            steps[index].isFull = true
            // The digits of a fraction at the end are as many as there are.
            steps[index + 1].isFull = steps[index + 1].part != .fraction
        }
        self.text = text
        self.steps = steps
        try check()
    }

    /// Whether each text says how far it is from UTC.
    public var namesOffset: Bool { steps.contains { $0.part == .offset || $0.part == .epoch } }

    /// A pattern must name one time, and nothing twice.
    private func check() throws(TimePatternFault) {
        func has(_ parts: Part...) -> Bool { steps.contains { parts.contains($0.part) } }
        let groups: [(parts: [Part], name: String)] = [
            ([.year, .yearOfCentury], "year"), ([.month, .monthName, .monthShort, .dayOfYear], "month"),
            ([.day, .dayOfYear], "day"), ([.hour, .hourOfHalf], "hour"), ([.half], "half of the day"),
            ([.minute], "minute"), ([.second], "second"), ([.fraction, .milliseconds], "fraction"),
            ([.offset], "offset"), ([.epoch], "time"), ([.weekdayName, .weekdayShort], "day of the week"),
        ]
        for group in groups where steps.count(where: { group.parts.contains($0.part) }) > 1 {
            throw TimePatternFault(reason: "names the \(group.name) twice", remedy: "remove one of the two")
        }
        if has(.epoch) {
            let others = steps.contains {
                ![.epoch, .literal, .blanks, .fraction, .milliseconds].contains($0.part)
            }
            if others { throw TimePatternFault(reason: "has '%s' beside a date", remedy: "'%s' is the whole time") }
            return
        }
        if !has(.year, .yearOfCentury) { throw TimePatternFault(reason: "has no year", remedy: "add '%Y' or '%y'") }
        if has(.day), !has(.month, .monthName, .monthShort) {
            throw TimePatternFault(
                reason: "has a day but no month",
                remedy: "add '%m', or '%j' for the day of the year"
            )
        }
        if has(.hourOfHalf) != has(.half) {
            throw TimePatternFault(
                reason: has(.half) ? "has '%p' without '%I'" : "has '%I' without '%p'",
                remedy: "'%I' and '%p' are for hours from 1 to 12 with AM or PM, '%H' for 0 to 23"
            )
        }
        if has(.minute), !has(.hour, .hourOfHalf) { throw TimePatternFault(reason: "has minutes but no hour") }
        if has(.second), !has(.minute) { throw TimePatternFault(reason: "has seconds but no minutes") }
        if has(.fraction, .milliseconds), !has(.second) {
            throw TimePatternFault(reason: "has a fraction but no seconds")
        }
    }
}

extension TimePattern.Part {
    fileprivate var startsWithDigits: Bool {
        switch self {
        case .year, .yearOfCentury, .month, .day, .dayOfYear, .hour, .hourOfHalf, .minute, .second, .fraction,
            .milliseconds:
            true
        default: false
        }
    }
}
