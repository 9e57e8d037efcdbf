import RuleLanguage

/// An event type as `weir init` would declare it.
public struct EventDraft: Sendable {
    public internal(set) var name: String
    /// Where a file holds several types: the path and value that tell this one.
    var discriminator: (path: SamplePath, value: String)?
    var fields: [FieldDraft]
    /// Indices of fields; of the time nil where the records' numbers stand for it.
    var time: Int?
    var id: Int?
    var subject: Int
    /// Paths left out, each with the reason.
    var leftOut: [(path: SamplePath, reason: String)] = []
    /// What was taken though nothing speaks for it.
    var doubts: [String] = []
    /// Records of the sample.
    public internal(set) var records: Int

    /// The names of what was chosen, and how many fields there are.
    public var timeField: String? { time.map { fields[$0].name } }
    public var idField: String? { id.map { fields[$0].name } }
    public var subjectField: String { fields[subject].name }
    public var fieldCount: Int { fields.count }
}

/// Why no event type can be made of a sample.
enum EventObstacle: Error {
    /// No time is always there; in `present` of the records the one that is there most often.
    case time(path: String, present: Int)
    /// Nothing that is always there could be whom it is about.
    case subject
}

extension EventDraft {
    /// Most fields of an event type.
    static let fieldsMax = 96

    /// What a sample of records of one type says of it.
    ///
    /// - Parameters:
    ///   - excluded: paths that can be neither time nor subject, as some records lack them.
    ///   - banned: paths that can be neither though nothing better is there.
    ///   - withoutCurrency: amounts that cannot be read in the currency beside them.
    init(
        name: String,
        _ probe: SampleProbe,
        isCSV: Bool,
        namesAreInvented: Bool,
        excluded: Set<SamplePath>,
        banned: Set<SamplePath>,
        withoutCurrency: Set<SamplePath>
    ) throws(EventObstacle) {
        self.name = name
        records = probe.records
        fields = []
        subject = 0
        var facts: [PathFacts] = []
        for item in probe.facts {
            if let draft = FieldDraft.guess(item, in: probe, isCSV: isCSV) {
                fields.append(draft)
                facts.append(item)
            } else if let reason = EventDraft.reason(item, in: probe) {
                leftOut.append((item.path, reason))
            }
        }
        EventDraft.separate(&fields, &facts, &leftOut)
        let good = probe.records - probe.unreadable
        /// Those that at least so many of a hundred records have.
        func present(_ wanted: Int, _ besides: Set<SamplePath>) -> [Int] {
            fields.indices.filter { index in
                (facts[index].present - facts[index].nullCount) * 100 >= good * wanted
                    && !besides.contains(facts[index].path) && !fields[index].path.isInArray
                    && fields[index].type != .stringList
            }
        }
        let always = present(100, excluded.union(banned))
        let mostly = present(EventDraft.mostlyPercent, banned)
        try chooseTime(always, mostly, facts)
        try chooseSubject(always, mostly, facts, isCSV: isCSV, namesAreInvented: namesAreInvented)
        for chosen in [time, subject].compactMap({ $0 })
        where (facts[chosen].present - facts[chosen].nullCount) < good {
            doubts.append(
                "`\(fields[chosen].path.text)` is not in every record: those without it are dead letters, as nothing better is in all"
            )
        }
        nameApart()
        nameCurrencies(facts, besides: withoutCurrency)
        settleTimes(facts, probe)
        if let time, facts[time].times.readings.first?.hasHours == false, fields[time].format.needsZone {
            doubts.append("`\(fields[time].path.text)` has no time of day: all events of a day are at its midnight")
        }
        if fields.count > EventDraft.fieldsMax { shorten() }
    }

    /// The time, of those that are in all records before those that are in most.
    private mutating func chooseTime(_ always: [Int], _ mostly: [Int], _ facts: [PathFacts]) throws(EventObstacle) {
        let strict = EventDraft.time(among: always, fields, facts)
        let loose = EventDraft.time(among: mostly, fields, facts, isLoose: true)
        let found = strict?.isSure == true || loose?.isSure != true ? strict ?? loose : loose
        if let found {
            if let misses = facts[found.index].times.nearest?.misses, misses > 0, !found.format.isNumber {
                doubts.append(
                    "`\(fields[found.index].path.text)` is no time in some records, which are dead letters, as nothing better is in all"
                )
            }
            time = found.index
            fields[found.index].type = .timestamp
            fields[found.index].format = found.format
            fields[found.index].coercions.remove(.ids)
            fields[found.index].entity = nil
            fields[found.index].isPersonal = false
            fields[found.index].note = nil
            if !found.format.isNumber, let reading = facts[found.index].times.nearest {
                fields[found.index].isLocalTime = reading.withoutOffset > 0 && reading.format.needsZone
            }
            if !found.isSure {
                doubts.append(
                    "nothing is surely the time of the event: `\(fields[found.index].path.text)` was taken for it"
                )
            }
            return
        }
        let times = fields.indices.filter {
            fields[$0].type == .timestamp && NameWords(facts[$0].path).timeliness >= 0
        }
        if let most = times.max(by: { facts[$0].present < facts[$1].present }) {
            throw .time(path: fields[most].path.text, present: facts[most].present - facts[most].nullCount)
        }
        doubts.append(
            "nothing in the records is a time: the number of a record stands for it, and windows count one second per record"
        )
    }

    /// The subject, and the event's own id.
    private mutating func chooseSubject(
        _ always: [Int],
        _ mostly: [Int],
        _ facts: [PathFacts],
        isCSV: Bool,
        namesAreInvented: Bool
    ) throws(EventObstacle) {
        func texts(_ indices: [Int]) -> [Int] {
            indices.filter { $0 != time && EventDraft.canBeText(fields[$0], facts[$0], isCSV: isCSV) }
        }
        var candidates = texts(always)
        // Without a time there is little that speaks for events at all: then neither a measurement names anybody, nor one of a few
        // words, nor the only thing there is.
        if time == nil {
            candidates = candidates.filter { index in
                fields[index].entity != nil
                    || [.string, .int].contains(fields[index].type) && fields.count > 1
                        && facts[index].distinct.count >= min(10, facts[index].values)
            }
        }
        let named = texts(mostly).filter { fields[$0].entity != nil }
        guard
            let subject = EventDraft.subject(among: candidates, fields, facts, areEvents: time != nil)
                ?? EventDraft.subject(among: named, fields, facts, areEvents: true)
        else { throw .subject }
        self.subject = subject
        fields[subject].becomeText(facts[subject], isCSV: isCSV)
        if fields[subject].entity == nil {
            let words = NameWords(fields[subject].path).last.filter { $0 != "id" }
            fields[subject].entity =
                namesAreInvented
                ? fields[subject].name : words.isEmpty ? "subject" : EventDraft.identifier(words.joined(separator: "_"))
            doubts.append(
                "nothing is known to name somebody: `\(fields[subject].path.text)` was taken for whom the event is about"
            )
        }
        id = EventDraft.id(among: candidates.filter { $0 != subject }, fields, facts, event: name)
        if let id {
            fields[id].becomeText(facts[id], isCSV: isCSV)
            fields[id].entity = nil
            fields[id].isPersonal = false
        }
    }

    /// Of a hundred records those that must have what is taken for the time or the subject where nothing is in all.
    private static let mostlyPercent = 95

    /// Why a path is no field; nil where nothing need be said.
    private static func reason(_ facts: PathFacts, in probe: SampleProbe) -> String? {
        if facts.values == 0 { return facts.empty > 0 ? "it was empty in every record" : nil }
        if facts.nullCount == facts.values { return "it was \(facts.nullWords.keys.sorted()[0]) in every record" }
        if facts.objects == facts.values { return nil }
        if facts.path.isInArray, facts.otherLists == 0, facts.objects == 0 {
            let first = facts.path.throughFirst.text
            return "its values are no texts, and a list holds nothing else; of one element: `\(first)`"
        }
        let inside = facts.path.steps + [SamplePath.element]
        if probe.facts.contains(where: { $0.path.steps.count > inside.count && $0.path.steps.starts(with: inside) }) {
            return nil
        }
        if facts.otherLists > 0 { return "it is a list of other things than texts" }
        return "its values are of several types: \(facts.kinds.map(\.name).joined(separator: ", "))"
    }

    /// A value at one path and an object there cannot both be read: what is rarer goes.
    private static func separate(
        _ fields: inout [FieldDraft],
        _ facts: inout [PathFacts],
        _ leftOut: inout [(path: SamplePath, reason: String)]
    ) {
        for (index, field) in fields.enumerated().reversed() {
            let isAbove = fields.contains { other in
                other.path.steps.count > field.path.steps.count && other.path.steps.starts(with: field.path.steps)
            }
            guard isAbove else { continue }
            leftOut.append((field.path, "it is a value in some records and an object in others"))
            fields.remove(at: index)
            facts.remove(at: index)
        }
    }

    /// Whether all values can be read as texts that name somebody or something.
    private static func canBeText(_ field: FieldDraft, _ facts: PathFacts, isCSV: Bool) -> Bool {
        field.type == .string
            || (isCSV ? field.type != .bool : facts.texts + facts.integers == facts.values && facts.leadingZeros == 0)
                && field.type != .stringList
    }

    /// What is most likely the time of the event, and whether much speaks for it.
    ///
    /// - Parameter isLoose: a text that is no time in a few records is one too.
    private static func time(
        among candidates: [Int],
        _ fields: [FieldDraft],
        _ facts: [PathFacts],
        isLoose: Bool = false
    ) -> (index: Int, format: TimeFormat, isSure: Bool)? {
        var best: (index: Int, format: TimeFormat, score: Int)?
        for index in candidates {
            let (field, item) = (fields[index], facts[index])
            let timeliness = NameWords(item.path).timeliness
            let decreases = item.times.nearest?.decreases ?? item.decreases
            let isSorted = decreases * 20 <= item.values
            var score = timeliness * 2
            var format = field.format
            if field.type == .timestamp {
                score += 6
                if field.format.needsZone, item.times.readings.first?.hasHours == false { score -= 1 }
            } else if isLoose, field.type == .string, let reading = item.times.nearest, !reading.format.isTerse {
                score += 6
                format = reading.format
            } else if let unit = FieldDraft.timeFormat(item), timeliness >= 0, isSorted,
                item.distinct.count * 4 > item.values
            {
                score += unit == .seconds && item.decimals == 0 ? 2 : 3
                format = unit
            } else if timeliness > 0, item.numbers == item.values, item.lowest >= 0, item.highest < 4e9 {
                // Seconds since something.
                score -= 2
                format = .seconds
            } else {
                continue
            }
            if isSorted { score += 1 }
            if score > best?.score ?? .min { best = (index, format, score) }
        }
        return best.map { ($0.index, $0.format, $0.score >= 6) }
    }

    /// Whom the event is most likely about.
    ///
    /// - Parameter areEvents: several records are of one; without a time each may be of another.
    private static func subject(
        among candidates: [Int],
        _ fields: [FieldDraft],
        _ facts: [PathFacts],
        areEvents: Bool
    ) -> Int? {
        // What has a handful of values in many records is a sort of things, whatever it is called.
        let telling = candidates.filter { facts[$0].distinct.count >= 10 || facts[$0].values < 100 }
        for some in [telling, candidates] {
            for kind in NameWords.subjects {
                if let found = some.first(where: { fields[$0].entity == kind }) { return found }
            }
        }
        // What has many values, and each several times, comes next; of all that is left the one with the most.
        func rank(_ index: Int) -> (Int, Int) {
            if !areEvents { return (0, facts[index].distinct.count) }
            let words = NameWords(facts[index].path)
            return (
                words.isIdentifier && !facts[index].isUnique ? 2 : facts[index].isUnique ? 0 : 1,
                facts[index].distinct.count
            )
        }
        let texts = candidates.filter { fields[$0].type == .string || fields[$0].type == .int }
        return (texts.isEmpty ? candidates : texts).max { rank($0) < rank($1) }
    }

    /// What is most likely the event's own id: each record has another.
    private static func id(among candidates: [Int], _ fields: [FieldDraft], _ facts: [PathFacts], event: String) -> Int?
    {
        let unique = candidates.filter { facts[$0].isUnique && facts[$0].longest <= 128 }
        func words(_ index: Int) -> [String] { NameWords(facts[index].path).words }
        let own: Set<String> = ["id", "uuid", "guid"]
        return unique.first { words($0).count == 1 && own.contains(words($0)[0]) }
            ?? unique.first {
                words($0).count == 2 && own.contains(words($0)[1])
                    && ["event", "transaction", "tx", "record", event].contains(words($0)[0])
            }
    }

    /// Keeps what an event row has room for: what was chosen, what names an entity, then the first ones.
    private mutating func shorten() {
        let currencies = Set(fields.compactMap(\.currency))
        let chosen =
            [time, subject, id].compactMap { $0 } + fields.indices.filter { currencies.contains(fields[$0].name) }
        let entities = fields.indices.filter { fields[$0].entity != nil && !chosen.contains($0) }
        let rest = fields.indices.filter { !chosen.contains($0) && !entities.contains($0) }
        let kept = Set((chosen + entities + rest).prefix(EventDraft.fieldsMax))
        for index in fields.indices where !kept.contains(index) {
            leftOut.append((fields[index].path, "an event has at most \(EventDraft.fieldsMax) fields"))
        }
        let order = fields.indices.filter { kept.contains($0) }
        time = time.flatMap { order.firstIndex(of: $0) }
        subject = order.firstIndex(of: subject) ?? 0
        id = id.flatMap { order.firstIndex(of: $0) }
        fields = order.map { fields[$0] }
    }

    /// Two fields of one name get numbers.
    private mutating func nameApart() {
        var taken: Set<String> = []
        for index in fields.indices {
            let name = fields[index].name
            var number = 2
            while !taken.insert(fields[index].name).inserted {
                fields[index].name = "\(name)_\(number)"
                number += 1
            }
        }
    }

    /// A word that can name an event type or an entity.
    static func identifier(_ text: String) -> String {
        let word = text.map { $0.isASCII && ($0.isLetter || $0.isNumber) ? Character($0.lowercased()) : "_" }.prefix(60)
        let name = String(word)
        return name.first?.isLetter == true ? name : "e_\(name)"
    }

    /// The time of records that tell none, as `topology.yaml` writes it.
    static let rowTime = "{ from: 2020-01-01, every: 1s }"

    /// The event type as lines of `topology.yaml`.
    func lines(topic: String, csv: String?) -> [String] {
        let isCSV = csv != nil
        var lines = ["  \(YAMLText.scalar(name)):", "    topic: \(YAMLText.scalar(topic))"]
        if let csv { lines.append(csv.isEmpty ? "    format: csv" : "    csv: { \(csv) }") }
        if let discriminator {
            lines.append(
                "    when: { \(YAMLText.scalar(discriminator.path.text)): \(YAMLText.quoted(discriminator.value)) }"
            )
        }
        lines.append("    time: \(time.map { YAMLText.scalar(fields[$0].name) } ?? EventDraft.rowTime)")
        if let id { lines.append("    id: \(YAMLText.scalar(fields[id].name))") }
        lines.append("    subject: \(YAMLText.scalar(fields[subject].name))")
        lines.append("    fields:")
        lines += fields.map { "      " + $0.line(isCSV: isCSV) }
        if !leftOut.isEmpty {
            lines.append("      # Not declared:")
            lines += leftOut.prefix(40).map { "      # \(YAMLText.scalar($0.path.text)): \($0.reason)" }
            if leftOut.count > 40 { lines.append("      # and \(leftOut.count - 40) more") }
        }
        return lines
    }
}

extension CSVDialect {
    /// What a topology must say of it, where not everything is as usual.
    var keys: String {
        var keys: [String] = []
        switch delimiter {
        case .blanks: keys.append("delimiter: blanks")
        case .byte(let byte): if byte != UInt8(ascii: ",") { keys.append("delimiter: \(HeaderLook.key(byte))") }
        }
        if let names { keys.append("header: [\(names.map { YAMLText.quoted($0) }.joined(separator: ", "))]") }
        if let comment { keys.append("comment: \"\(Unicode.Scalar(comment))\"") }
        if encoding != .utf8 { keys.append("encoding: \(encoding.rawValue)") }
        if trims { keys.append("trim: true") }
        if decimal != UInt8(ascii: ".") { keys.append("decimal: \"\(Unicode.Scalar(decimal))\"") }
        if let thousands { keys.append("thousands: \"\(Unicode.Scalar(thousands))\"") }
        return keys.joined(separator: ", ")
    }
}
