import Detection
import RuleLanguage

/// A field as `weir init` and `weir check --against` would declare it.
struct FieldDraft: Sendable, Equatable {
    var name: String
    var path: SamplePath
    var type: FieldType
    var format = TimeFormat.milliseconds
    /// Other forms in which its times can be read: the sample does not tell which is meant.
    var otherFormats: [TimeFormat] = []
    /// Times that say nothing of how far they are from UTC.
    var isLocalTime = false
    /// Whose clock shows them; nil: UTC.
    var zone: String?
    var scale = 2
    /// The name of the field with its currency, instead of ``scale``.
    var currency: String?
    var roundsDecimals = false
    var coercions: Coercions = []
    var nullWords: [String] = []
    var entity: String?
    var isPersonal = false
    var maximumLength: Int?
    /// What is said of it beside its line.
    var note: String?

    /// What a value at a path most likely is; nil where no type of ours reads all of its values.
    ///
    /// - Parameters:
    ///   - probe: where the facts are from.
    ///   - isCSV: everything is text there, so a column may be read as one.
    static func guess(_ facts: PathFacts, in probe: SampleProbe, isCSV: Bool) -> FieldDraft? {
        let values = facts.values - facts.nullCount
        guard values > 0, facts.objects == 0, facts.otherLists == 0 else { return nil }
        let words = NameWords(facts.path)
        var draft = FieldDraft(name: name(of: facts.path, words), path: facts.path, type: .string)
        let isList = facts.textLists + facts.idLists == facts.values
        if facts.path.isInArray, facts.path.keys.contains(where: needsList) { return nil }
        let isSingle = facts.path.isInArray && !isList && probe.isSingle(facts.path)
        if isList || facts.path.isInArray && !(isSingle && draft.isBetterAlone(facts, words)) {
            // All of an array is a list, of texts only.
            guard draft.setList(facts, words) else { return nil }
        } else {
            if isSingle {
                draft.path = facts.path.throughFirst
                draft.note = "no array on the way had more elements in the sample"
            }
            guard draft.setScalar(facts, words, isCSV: isCSV) else { return nil }
        }
        if draft.type == .string || draft.type == .stringList, facts.longest > 1024 {
            draft.maximumLength = min(65_535, facts.longest * 2)
        }
        return draft
    }

    /// Whether the only element of an array tells more as itself than in a list: an entity, a number, a time.
    private func isBetterAlone(_ facts: PathFacts, _ words: NameWords) -> Bool {
        words.entity != nil || facts.texts < facts.values || facts.isTime || words.isMoney && facts.numericTexts > 0
    }

    private mutating func setList(_ facts: PathFacts, _ words: NameWords) -> Bool {
        type = .stringList
        if facts.path.isInArray, facts.textLists + facts.idLists < facts.values {
            guard facts.texts + facts.integers == facts.values, facts.integers == 0 || words.isIdentity else {
                return false
            }
        }
        if facts.integers > 0 || facts.idLists > 0 { coercions.insert(.ids) }
        return true
    }

    private mutating func setScalar(_ facts: PathFacts, _ words: NameWords, isCSV: Bool) -> Bool {
        let values = facts.values - facts.nullCount
        let isTruth = facts.words + facts.truthTexts > 0 || words.isQuestion
        if isTruth, facts.words + facts.truthTexts + facts.bits == values {
            type = .bool
            if facts.truthTexts > 0 || !isCSV && facts.bits > 0 { coercions.insert(.booleans) }
        } else if facts.isTime, let reading = facts.times.readings.first,
            !reading.format.isTerse || words.timeliness != 0,
            facts.integers == 0 || words.timeliness > 0
        {
            setTime(reading, of: facts)
        } else if facts.numbers == values {
            setNumber(facts, words, isCSV: isCSV)
        } else if !isCSV, facts.texts < facts.values {
            guard facts.texts + facts.integers == facts.values, words.isIdentity else { return false }
            setText(facts, words, isCSV: isCSV)
        } else {
            setText(facts, words, isCSV: isCSV)
        }
        if type == .string || type == .int {
            entity = words.entity
            isPersonal = entity.map { NameWords.personal.contains($0) } ?? false
        }
        // In a text that is free to be anything a word for nothing may be one of them.
        let isFree = type == .string && entity == nil
        nullWords = facts.nullWords.keys.filter { !isFree || NullWord.isCertain($0) }.sorted()
        return true
    }

    private mutating func setText(_ facts: PathFacts, _ words: NameWords, isCSV: Bool) {
        type = .string
        if !isCSV, facts.integers > 0 { coercions.insert(.ids) }
        if words.isMoney, facts.numbers * 2 < facts.values, facts.texts > 0 {
            note = "not read as money: its texts are no plain numbers"
        }
    }

    private mutating func setTime(_ reading: TimeForms.Reading, of facts: PathFacts) {
        type = .timestamp
        format = reading.format
        isLocalTime = reading.withoutOffset > 0 && reading.format.needsZone
        // Of the same text an order of day and month is a choice, a stricter form that reads it too is none.
        if let order = format.order {
            otherFormats = facts.times.readings.dropFirst().map(\.format).filter {
                $0.order != nil && $0.order != order
            }
        }
    }

    private mutating func setNumber(_ facts: PathFacts, _ words: NameWords, isCSV: Bool) {
        if facts.paddedTexts > 0 { coercions.insert(.numbers) }
        if let format = FieldDraft.timeFormat(facts), words.timeliness > 0 {
            type = .timestamp
            self.format = format
            return
        }
        // What identifies is text, of which no digit counts; where numbers have no type of their own, codes are texts too.
        let isText = isCSV || facts.numericTexts > 0
        let isCode = facts.leadingZeros > 0 || words.isIdentifier
        if facts.decimals == 0, words.isIdentity || isText && isCode || facts.longIntegers > 0 {
            coercions = []
            return setText(facts, words, isCSV: isCSV)
        }
        let isNoise = facts.longFractions > 0 && facts.longFractions == facts.noisyFractions
        if words.isMoney, facts.longFractions == 0 || isNoise, facts.leadingZeros == 0, facts.highest < 1e12 {
            type = .money
            scale = max(2, facts.plainDigits)
            roundsDecimals = isNoise
            if isNoise { note = "numbers with digits of arithmetic, such as 9.989999999999998, are rounded" }
            return
        }
        if !isCSV, facts.numericTexts > 0 {
            // A text of digits may be a code: only its name, a fraction or numbers beside it make it a number.
            guard facts.leadingZeros == 0, facts.hasFractions || words.isQuantity || facts.integers > 0 else {
                coercions = []
                if facts.leadingZeros == 0 {
                    note = "texts of digits: for a number write { type: int, coerce: [numbers] }"
                }
                return setText(facts, words, isCSV: isCSV)
            }
            coercions.insert(.numbers)
        }
        type = facts.hasFractions ? .double : .int
    }

    /// The unit in which numbers are times of this century; nil where they are none.
    static func timeFormat(_ facts: PathFacts) -> TimeFormat? {
        let values = facts.values - facts.nullCount
        guard values > 0, facts.numbers == values else { return nil }
        for (format, unit) in [(TimeFormat.milliseconds, 1e3), (.seconds, 1), (.microseconds, 1e6)] {
            let range = 946_684_800 * unit...4_102_444_800 * unit
            if range.contains(facts.lowest), range.contains(facts.highest) {
                return facts.hasFractions && format != .seconds ? nil : format
            }
        }
        return nil
    }

    /// Takes it for a text that names somebody or something, whatever its type was.
    mutating func becomeText(_ facts: PathFacts, isCSV: Bool) {
        type = .string
        coercions = !isCSV && facts.integers > 0 ? .ids : []
        format = .milliseconds
        otherFormats = []
        isLocalTime = false
        scale = 2
        roundsDecimals = false
        note = nil
    }

    /// A name that rules can write: `account` for `account.id`, else the path's own, what cannot stand in a name replaced.
    private static func name(of path: SamplePath, _ words: NameWords) -> String {
        var keys = path.keys
        if keys.count > 1, words.last.allSatisfy({ ["id", "key", "code", "uuid"].contains($0) }) { keys.removeLast() }
        let parts = keys.map { key in
            let part = key.map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "_" }.prefix(60)
            let name = String(part)
            if TopologyReader.reservedWords.contains(name) { return "\(name)_" }
            return name.first?.isLetter == true ? name : "f_\(name)"
        }
        return String(parts.joined(separator: ".").prefix(120))
    }

    /// Whether the path follows from the name, so that it need not be written.
    private func pathFollows(isCSV: Bool) -> Bool {
        path.steps == (isCSV ? [name] : name.split(separator: ".").map(String.init))
    }

    /// The field as a line of `topology.yaml`, behind its indentation.
    func line(isCSV: Bool) -> String {
        var keys: [String] = []
        func texts(_ texts: [String]) -> String { "[\(texts.map { YAMLText.quoted($0) }.joined(separator: ", "))]" }
        if !pathFollows(isCSV: isCSV) { keys.append("path: \(pathText(isCSV: isCSV))") }
        if type == .timestamp, format != .milliseconds { keys.append("format: \(YAMLText.scalar(format.name))") }
        if let zone { keys.append("zone: \(YAMLText.zone(zone))") }
        if type == .money { keys.append(currency.map { "currency: \(YAMLText.scalar($0))" } ?? "scale: \(scale)") }
        if roundsDecimals { keys.append("decimals: round") }
        let coerced = Coercions.words.filter { coercions.contains($0.coercion) }.map(\.word)
        if !coerced.isEmpty { keys.append("coerce: [\(coerced.joined(separator: ", "))]") }
        if !nullWords.isEmpty { keys.append("null_values: \(texts(nullWords))") }
        if let entity { keys.append("entity: \(entity)") }
        if isPersonal { keys.append("personal: true") }
        if let maximumLength { keys.append("max_length: \(maximumLength)") }
        let name = YAMLText.scalar(name)
        let line =
            keys.isEmpty
            ? "\(name): \(type.rawValue)" : "\(name): { type: \(type.rawValue), \(keys.joined(separator: ", ")) }"
        let orders = ([format] + otherFormats).compactMap(\.order).joined(separator: " or ")
        let remark = note ?? (otherFormats.isEmpty ? nil : "undecided: \(orders)")
        return remark.map { "\(line)  # \($0)" } ?? line
    }

    /// Whether a key cannot stand in the text of a path.
    private static func needsList(_ key: String) -> Bool { key.contains { ".[]@$/".contains($0) } }

    private func pathText(isCSV: Bool) -> String {
        let needsList = !isCSV && path.keys.contains(where: FieldDraft.needsList)
        if needsList { return "[\(path.steps.map { YAMLText.scalar($0) }.joined(separator: ", "))]" }
        return YAMLText.scalar(path.text)
    }
}

/// Texts as YAML takes them.
enum YAMLText {
    /// As it stands where it cannot be taken for something else, else in double quotes, whose escapes are JSON's.
    static func scalar(_ text: String) -> String {
        let isPlain =
            text.first.map { $0.isASCII && $0.isLetter || $0 == "_" } ?? false
            && text.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber) || "._-".contains($0) }
        let words: Set<String> = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"]
        return isPlain && !words.contains(text.lowercased()) ? text : quoted(text)
    }

    /// Names of zones hold strokes.
    static func zone(_ name: String) -> String {
        name.allSatisfy { $0.isLetter || $0 == "/" || $0 == "_" } ? name : quoted(name)
    }

    static func quoted(_ text: String) -> String {
        "\"\(String(decoding: JSONText.escaped(text.utf8), as: UTF8.self))\""
    }
}
