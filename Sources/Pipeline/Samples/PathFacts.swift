import RuleLanguage

/// A place in records: JSON keys from the outside inwards, with a step into arrays; of CSV one column.
public struct SamplePath: Sendable, Hashable, Comparable {
    /// The keys; ``element`` stands for each element of an array, ``first`` for the first one.
    public var steps: [String]

    /// A step from an array to its elements; no key can be it, as it is no valid Unicode text in a record.
    static let element = "\u{0}[]"
    /// A step from an array to its first element.
    static let first = "\u{0}[0]"

    /// As topologies write it: `account.id`, `line_items[].sku`.
    public var text: String {
        var text = ""
        for step in steps {
            if SamplePath.isArrayStep(step) {
                text += step.dropFirst()
            } else {
                text += text.isEmpty ? step : ".\(step)"
            }
        }
        return text
    }

    init(steps: [String]) { self.steps = steps }

    /// Where a probe finds what a declared path leads to: elements are not told apart, and a list of texts is found at the list
    /// itself.
    ///
    /// Nil for what stands beside the value.
    init?(_ path: FieldPath) {
        guard !path.isBeside else { return nil }
        steps = path.steps.map { step in if case .key(let key) = step { key } else { SamplePath.element } }
        while steps.last == SamplePath.element { steps.removeLast() }
    }

    static func isArrayStep(_ step: String) -> Bool { step == element || step == first }

    /// The keys alone.
    var keys: [String] { steps.filter { !SamplePath.isArrayStep($0) } }
    /// Whether it leads through an array.
    var isInArray: Bool { steps.contains(where: SamplePath.isArrayStep) }
    /// The same through the first elements of its arrays.
    var throughFirst: SamplePath {
        SamplePath(steps: steps.map { $0 == SamplePath.element ? SamplePath.first : $0 })
    }

    public static func < (a: SamplePath, b: SamplePath) -> Bool { a.steps.lexicographicallyPrecedes(b.steps) }
}

/// What a sample of records holds at one path, and how it is written there.
public struct PathFacts: Sendable {
    public var path: SamplePath
    /// Records that hold something there, empty texts and `null` apart.
    public var present = 0
    /// Records that hold `null`, or an empty column or text.
    public var empty = 0
    public var texts = 0
    /// Numbers without a fraction or exponent, and others.
    public var integers = 0
    public var decimals = 0
    public var words = 0
    /// Arrays of nothing but texts, of texts and whole numbers, other arrays, and objects.
    public var textLists = 0
    public var idLists = 0
    public var otherLists = 0
    public var objects = 0
    /// Most elements of an array.
    var elements = 0

    /// Words that usually mean that there is no value, each with how often it stood there; they are among ``texts`` and count
    /// nowhere below.
    private(set) var nullWords: [String: Int] = [:]
    /// Texts that are numbers, those of them with a fraction or exponent, with blanks around them, and texts that are truth values.
    private(set) var numericTexts = 0
    private(set) var decimalTexts = 0
    private(set) var paddedTexts = 0
    private(set) var truthTexts = 0
    /// Times as texts, or as the digits of a date.
    private(set) var times = TimeForms()
    /// Of numbers, texts for numbers among them: those that are `0` or `1`, begin with a zero, are longer than an `int`.
    private(set) var bits = 0
    private(set) var leadingZeros = 0
    private(set) var longIntegers = 0
    /// Their bounds, in the order of the records how often one was smaller than the one before, and digits behind the point.
    private(set) var lowest = Double.infinity
    private(set) var highest = -Double.infinity
    private(set) var decreases = 0
    private(set) var fractionDigits = 0
    /// Numbers with more digits behind the point than money has, and those of them that are arithmetic's noise: 85.64999999999999.
    private(set) var longFractions = 0
    private(set) var noisyFractions = 0
    /// Digits behind the point of all others.
    private(set) var plainDigits = 0
    /// Longest text in bytes.
    var longest = 0
    /// Hashes of different values, up to ``distinctMax``.
    private(set) var distinct: Set<Int> = []
    /// The first few different texts.
    private(set) var examples: [String] = []
    /// The first value, masked.
    public internal(set) var example = ""

    private var last = -Double.infinity
    var lastRecord = -1
    var lastEmpty = -1

    static let distinctMax = 65_536
    static let examplesMax = 33
    /// Digits behind the point that amounts have.
    static let moneyDigitsMax = 4

    init(path: SamplePath) { self.path = path }

    /// Values of all sorts but `null` and empty ones.
    var values: Int { texts + integers + decimals + words + textLists + idLists + otherLists + objects }
    /// Those of them that are a word for nothing.
    var nullCount: Int { nullWords.values.reduce(0, +) }
    /// Numbers, and texts for them.
    var numbers: Int { integers + decimals + numericTexts }
    /// Whether some number has a fraction.
    var hasFractions: Bool { decimals + decimalTexts > 0 }
    /// Whether each value was another.
    var isUnique: Bool { values > 0 && nullCount == 0 && distinct.count == min(values, PathFacts.distinctMax) }
    /// Whether nothing but times, in one form, stands there.
    var isTime: Bool { times.count > 0 && times.count == values - nullCount && !times.readings.isEmpty }

    /// The sorts of values, the most frequent first, with how many there were of each.
    public var kinds: [(name: String, count: Int)] {
        [
            ("text", texts), ("number", integers + decimals), ("bool", words), ("list of texts", textLists),
            ("list", idLists + otherLists), ("object", objects),
        ].filter { $0.1 > 0 }.sorted { $0.1 > $1.1 }.map { (name: $0.0, count: $0.1) }
    }

    mutating func add(text bytes: UnsafeRawBufferPointer) {
        texts += 1
        longest = max(longest, bytes.count)
        note(bytes)
        if examples.count < PathFacts.examplesMax, bytes.count <= 64 {
            let text = String(decoding: bytes, as: UTF8.self)
            if !examples.contains(text) { examples.append(text) }
        }
        if let word = NullWord(bytes) {
            nullWords[word.text, default: 0] += 1
            return
        }
        if bytes.contains(UInt8(ascii: "\\")) {
            JSONScan.plain(bytes).withUnsafeBytes { addForm(of: $0) }
        } else {
            addForm(of: bytes)
        }
    }

    private mutating func addForm(of text: UnsafeRawBufferPointer) {
        var inner = text[...]
        while let first = inner.first, first == 0x20 || first == 0x09 { inner = inner.dropFirst() }
        while let last = inner.last, last == 0x20 || last == 0x09 { inner = inner.dropLast() }
        if let shape = NumberShape(UnsafeRawBufferPointer(rebasing: inner)) {
            numericTexts += 1
            if !shape.isInteger { decimalTexts += 1 }
            if inner.count < text.count { paddedTexts += 1 }
            measure(UnsafeRawBufferPointer(rebasing: inner), shape)
        } else if isTruth(text) {
            truthTexts += 1
        }
        times.take(text)
    }

    mutating func add(number bytes: UnsafeRawBufferPointer, _ shape: NumberShape) {
        if shape.isInteger { integers += 1 } else { decimals += 1 }
        longest = max(longest, bytes.count)
        note(bytes)
        measure(bytes, shape)
        if shape.isInteger { times.take(bytes) }
    }

    private mutating func measure(_ bytes: UnsafeRawBufferPointer, _ shape: NumberShape) {
        if shape.isLong { longIntegers += 1 }
        if shape.hasLeadingZero { leadingZeros += 1 }
        if bytes.count == 1, bytes[0] | 1 == UInt8(ascii: "1") { bits += 1 }
        fractionDigits = max(fractionDigits, shape.fractionDigits)
        if shape.fractionDigits > PathFacts.moneyDigitsMax {
            longFractions += 1
            let hundredths = shape.value * 100
            // What is left of sums of hundredths in binary is far below that.
            if abs(hundredths - hundredths.rounded()) < 1e-6 { noisyFractions += 1 }
        } else {
            plainDigits = max(plainDigits, shape.fractionDigits)
        }
        if shape.value < last { decreases += 1 }
        last = shape.value
        lowest = min(lowest, shape.value)
        highest = max(highest, shape.value)
    }

    private func isTruth(_ text: UnsafeRawBufferPointer) -> Bool {
        text.count <= 5
            && (text.elementsEqual("true".utf8) { $0 | 0x20 == $1 }
                || text.elementsEqual("false".utf8) { $0 | 0x20 == $1 })
    }

    private mutating func note(_ bytes: UnsafeRawBufferPointer) {
        if example.isEmpty { example = MaskedExample.text(bytes) }
        guard distinct.count < PathFacts.distinctMax else { return }
        var hasher = Hasher()
        hasher.combine(bytes: bytes)
        distinct.insert(hasher.finalize())
    }
}

/// A text by which senders say that there is no value.
struct NullWord {
    let text: String

    /// Nil where it is none, or nobody knows it as one.
    init?(_ bytes: UnsafeRawBufferPointer) {
        guard let first = bytes.first, bytes.count <= 36, NullWord.beginnings.contains(first) else { return nil }
        let text = String(decoding: bytes, as: UTF8.self)
        guard NullWord.always.contains(text) || NullWord.often.contains(text) else { return nil }
        self.text = text
    }

    /// Whether the word is nothing but that, so that a text which is free to be anything hardly means it.
    static func isCertain(_ word: String) -> Bool { always.contains(word) }

    /// Words of programs and databases, and identities that are all zeros.
    private static let always: Set<String> = [
        "NULL", "null", "(null)", "\\N", "#N/A", "undefined", "NaN", "nan", "00000000-0000-0000-0000-000000000000",
        "0000-00-00", "0000-00-00 00:00:00", "0000-00-00T00:00:00",
    ]
    /// Words that may mean something else in a text: `NA` is a country, `none` a size of coupon.
    private static let often: Set<String> = [
        "None", "none", "NONE", "nil", "N/A", "n/a", "NA", "n.a.", "-", "--", "?", "unknown", "Unknown", "UNKNOWN",
    ]
    private static let beginnings = Set((always.union(often)).compactMap(\.utf8.first))
}
