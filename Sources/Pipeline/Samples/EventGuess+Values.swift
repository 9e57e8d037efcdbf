import Detection
import RuleLanguage

// What one field alone does not tell: the currency of an amount, the order of day and month, whose clock shows a time.
extension EventDraft {
    /// Counts amounts beside a currency's code in its minor units, and says which ones may be in minor units already.
    ///
    /// - Parameters:
    ///   - facts: those of ``fields``.
    ///   - besides: amounts that the decoder could not read so.
    mutating func nameCurrencies(_ facts: [PathFacts], besides: Set<SamplePath>) {
        let currencies = fields.indices.filter { fields[$0].type == .string && NameWords(facts[$0].path).isCurrency }
        for index in fields.indices where fields[index].type == .money {
            let path = fields[index].path
            func shared(_ other: Int) -> Int { zip(path.steps, fields[other].path.steps).prefix { $0 == $1 }.count }
            let near = currencies.filter { other in
                // What stands in an array is of that element.
                fields[other].path.isInArray ? shared(other) == path.steps.count - 1 : true
            }
            guard let currency = near.max(by: { (shared($0), $1) < (shared($1), $0) }) else {
                if !facts[index].hasFractions { doubtUnit(of: index) }
                continue
            }
            let digits = EventDraft.currencyDigits(facts[currency])
            let isAlwaysThere =
                facts[currency].present - facts[currency].nullCount >= facts[index].present - facts[index].nullCount
            if let digits, isAlwaysThere, !besides.contains(path) {
                fields[index].currency = fields[currency].name
                if digits.upperBound > 0, !facts[index].hasFractions { doubtUnit(of: index) }
                continue
            }
            let reason =
                digits == nil
                ? "holds other words than the codes of ISO 4217"
                : isAlwaysThere ? "has digits that are fewer than its amounts have" : "is not beside every amount"
            doubts.append(
                "`\(fields[currency].path.text)` \(reason), so `\(path.text)` has \(fields[index].scale) decimal digits whatever it says"
            )
        }
    }

    private mutating func doubtUnit(of index: Int) {
        doubts.append(
            "`\(fields[index].path.text)` has whole numbers only, read as major units, 12 as 12.00: if they are cents, declare int"
        )
    }

    /// The fewest and most digits of the currencies that a field names; nil where a text is no code of one.
    private static func currencyDigits(_ facts: PathFacts) -> ClosedRange<Int>? {
        guard facts.nullCount == 0, facts.distinct.count == facts.examples.count else { return nil }
        let digits = facts.examples.map { code in
            Array(code.utf8).withUnsafeBufferPointer { text in
                text.baseAddress.flatMap { CurrencyDigits.digits(of: $0, count: text.count) }
            }
        }
        let known = digits.compactMap { $0 }
        guard known.count == digits.count, let least = known.min(), let most = known.max() else { return nil }
        return least...most
    }

    /// Chooses among orders of day and month by what else speaks for one, and the zone of local times; says what was chosen.
    ///
    /// - Parameter facts: those of ``fields``.
    mutating func settleTimes(_ facts: [PathFacts], _ probe: SampleProbe) {
        let decided = fields.indices.filter { fields[$0].otherFormats.isEmpty && fields[$0].format.order != nil }
        for index in fields.indices where !fields[index].otherFormats.isEmpty {
            let formats = [fields[index].format] + fields[index].otherFormats
            let path = fields[index].path.text
            let orders = formats.compactMap(\.order).joined(separator: " or ")
            let like = decided.first { formats.contains(fields[$0].format) }
            let count = facts[index].times.count
            let sorted = facts[index].times.readings.filter {
                formats.contains($0.format) && $0.decreases * 50 <= count
            }
            let chosen: TimeFormat
            let reason: String
            if let like {
                chosen = fields[like].format
                reason = "was taken, as `\(fields[like].path.text)` is"
            } else if count >= 20, sorted.count == 1 {
                chosen = sorted[0].format
                reason = "was taken, in which the records are in order of time"
            } else {
                chosen = EventDraft.usual(formats)
                reason = "was taken, as such signs are most often meant, for no other reason"
            }
            fields[index].format = chosen
            fields[index].otherFormats = []
            doubts.append(
                "`\(path)` may be \(orders), undecided by its texts: \(chosen.order ?? "") \(reason); another `format` changes it"
            )
        }
        settleZone(probe)
    }

    /// The order that is usual where such signs stand between the parts.
    private static func usual(_ formats: [TimeFormat]) -> TimeFormat {
        let isSlashed = formats[0].name.contains("/")
        let order = isSlashed ? "month/day" : "day/month"
        return formats.first { $0.order?.hasPrefix(order) == true } ?? formats[0]
    }

    private mutating func settleZone(_ probe: SampleProbe) {
        let local = fields.indices.filter { fields[$0].isLocalTime && fields[$0].type == .timestamp }
        guard !local.isEmpty else { return }
        let names = local.prefix(5).map { "`\(fields[$0].path.text)`" }.joined(separator: ", ")
        let times = local.count > 5 ? "\(names) and \(local.count - 5) more" : names
        let says = "\(times) \(local.count == 1 ? "says" : "say") nothing of the distance from UTC"
        if let facts = probe.facts.first(where: { NameWords($0.path).isZone && $0.texts == $0.values && $0.texts > 0 })
        {
            let name = String(decoding: JSONScan.plain(Array((facts.examples.first ?? "").utf8)), as: UTF8.self)
            var files = TimeZoneFiles()
            if facts.distinct.count == 1, name != "UTC", case .success = files.zone(name) {
                for index in local { fields[index].zone = name }
                doubts.append("\(says): read by the clock of \(name), which `\(facts.path.text)` names in every record")
                return
            }
            if facts.distinct.count > 1 {
                doubts.append(
                    "\(says) and read as UTC, though `\(facts.path.text)` names several zones: a field has one"
                )
                return
            }
        }
        doubts.append(
            "\(says) and \(local.count == 1 ? "is" : "are") read as UTC; for a local clock write its zone, such as `zone: Europe/Berlin`"
        )
    }
}
