import RuleLanguage

/// What the name of a path says of the values there.
struct NameWords {
    /// The words of all keys, in small letters.
    let words: [String]
    /// The last key's own.
    let last: [String]

    init(_ path: SamplePath) {
        let keys = path.steps.filter { $0 != SamplePath.element }
        last = NameWords.split(keys.last ?? "")
        words = keys.flatMap { NameWords.split($0) }
    }

    /// `CustomerID`, `customer_id` and `customer-id` are two words each, `IPAddress` too.
    static func split(_ key: String) -> [String] {
        var words: [String] = []
        var word = ""
        let characters = Array(key)
        for (index, character) in characters.enumerated() {
            let isBorder = !character.isLetter && !character.isNumber
            let before = index > 0 ? characters[index - 1] : nil
            let next = index + 1 < characters.count ? characters[index + 1] : nil
            let beginsWord =
                character.isUppercase
                && (before?.isLowercase == true || before?.isUppercase == true && next?.isLowercase == true)
            if isBorder || beginsWord, !word.isEmpty {
                words.append(word)
                word = ""
            }
            if !isBorder { word += character.lowercased() }
        }
        return word.isEmpty ? words : words + [word]
    }

    /// The kind of entity that a value of this name identifies; nil: none that is known.
    var entity: String? {
        if last.contains("ip") || last.contains("ipaddress") { return "ip" }
        if last.contains("email") || last == ["mail"] { return last.contains("domain") ? nil : "email" }
        var rest = words
        while let word = rest.last, rest.count > 1, NameWords.idWords.contains(word) { rest.removeLast() }
        guard let word = rest.last else { return nil }
        return NameWords.entities.first { $0.words.contains(word) }?.kind
    }

    /// Whether it ends like the name of an identifier.
    var isIdentifier: Bool {
        last.last.map { NameWords.idWords.contains($0) || $0.count > 2 && $0.hasSuffix("id") } ?? false
    }

    /// How much it sounds like the time of the event, from -1 (of something else) to 2.
    var timeliness: Int {
        if !Set(words).isDisjoint(with: NameWords.otherTimes) { return -1 }
        if !Set(last).isDisjoint(with: NameWords.times) { return 2 }
        return last.last == "at" || last.last == "on" ? 1 : 0
    }

    /// Whether it sounds like an amount of money.
    var isMoney: Bool {
        !Set(last).isDisjoint(with: NameWords.amounts) && Set(words).isDisjoint(with: NameWords.counts)
    }

    private static let idWords: Set<String> = [
        "id", "uid", "uuid", "guid", "key", "no", "nr", "num", "number", "code", "hash", "ref", "token",
    ]
    private static let times: Set<String> = [
        "ts", "time", "timestamp", "datetime", "date", "created", "occurred", "when", "epoch", "millis",
    ]
    /// Of times that are not the event's, and of lengths of time.
    private static let otherTimes: Set<String> = [
        "updated", "modified", "expires", "expiry", "birth", "birthday", "dob", "attributed", "delivered", "shipped",
        "processed",
        "dwell", "zone", "timezone", "days", "hours", "minutes", "duration", "age", "deleted", "closed", "cancelled",
        "due", "window",
    ]
    private static let amounts: Set<String> = [
        "amount", "price", "total", "subtotal", "cost", "fee", "tax", "paid", "balance", "charge", "value", "discount",
        "revenue",
        "sum",
    ]
    private static let counts: Set<String> = [
        "count", "quantity", "qty", "items", "number", "window", "percent", "rate", "ratio",
    ]
    private static let entities: [(kind: String, words: Set<String>)] = [
        (
            "account",
            [
                "account", "user", "customer", "buyer", "member", "client", "userid", "customerid", "accountid",
                "username", "login",
            ]
        ),
        ("device", ["device", "fingerprint", "deviceid"]),
        ("card", ["card", "pan", "bin", "iban"]),
        ("coupon", ["coupon", "voucher", "promo", "promocode"]),
        ("item", ["item", "sku", "product", "article", "art", "asin", "stock", "productid", "itemid"]),
        ("seller", ["seller", "merchant", "vendor", "shop", "store", "terminal", "merchantid", "sellerid"]),
        ("phone", ["phone", "mobile", "msisdn"]),
        ("address", ["address"]),
        ("order", ["order", "invoice", "basket", "cart", "orderid", "invoiceno"]),
        ("staff", ["staff", "employee", "operator", "clerk"]),
        ("session", ["session", "sessionid"]),
    ]
    /// Entities that a person can be known by.
    static let personal: Set<String> = ["account", "ip", "email", "phone", "address", "card"]
    /// Whom a verdict is about, the likeliest first.
    static let subjects = [
        "account", "card", "device", "staff", "email", "phone", "session", "ip", "seller", "order", "item", "coupon",
        "address",
    ]
}

/// How a time is written, by the word of `format:`.
enum WrittenTime: String, Sendable {
    case milliseconds = "ms"
    case seconds = "s"
    case microseconds = "us"
    case rfc3339
}

/// A field as `weir init` and `weir check --against` would declare it.
struct FieldDraft: Sendable, Equatable {
    var name: String
    var path: SamplePath
    var type: FieldType
    var format = WrittenTime.milliseconds
    var scale = 2
    var entity: String?
    var isPersonal = false
    var maximumLength: Int?

    /// What a value at a path most likely is; nil where no type of ours reads all of its values.
    ///
    /// - Parameter isCSV: everything is text there, so a column may be read as one.
    static func guess(_ facts: PathFacts, isCSV: Bool) -> FieldDraft? {
        guard facts.values > 0, facts.objects == 0, facts.otherLists == 0 else { return nil }
        // All of an array is a list, of texts only.
        if facts.path.isInArray, facts.texts < facts.values || isCSV { return nil }
        let words = NameWords(facts.path)
        let name = FieldDraft.name(of: facts.path, words)
        var draft = FieldDraft(name: name, path: facts.path, type: .string)
        let numbers = facts.integers + facts.decimals
        let values = facts.values
        if facts.textLists == values || facts.path.isInArray {
            draft.type = .stringList
        } else if facts.words == values {
            draft.type = .bool
        } else if facts.texts == values, facts.times == values {
            draft.type = .timestamp
            draft.format = .rfc3339
        } else if numbers == values {
            draft.setNumber(facts, words, isCSV: isCSV)
        } else if !isCSV, facts.texts < values {
            return nil
        }
        if draft.type == .string || draft.type == .int {
            draft.entity = words.entity
            draft.isPersonal = draft.entity.map { NameWords.personal.contains($0) } ?? false
        }
        // Numbers as columns have no type of their own: what identifies is text, of which no digit counts.
        if isCSV, draft.type == .int, draft.entity != nil || facts.codes > 0 || words.isIdentifier {
            draft.type = .string
        }
        if draft.type == .int, !isCSV, facts.codes > 0 { return nil }
        if draft.type == .string || draft.type == .stringList, facts.longest > 1024 {
            draft.maximumLength = min(65_535, facts.longest * 2)
        }
        return draft
    }

    private mutating func setNumber(_ facts: PathFacts, _ words: NameWords, isCSV: Bool) {
        if let format = FieldDraft.timeFormat(facts), words.timeliness > 0 {
            type = .timestamp
            self.format = format
        } else if isCSV, facts.bits == facts.integers, facts.decimals == 0, ["is", "has"].contains(words.last.first) {
            type = .bool
        } else if words.isMoney, facts.fractionDigits <= 4, facts.codes == 0, facts.highest < 1e12 {
            type = .money
            scale = max(2, facts.fractionDigits)
        } else {
            type = facts.decimals > 0 ? .double : .int
        }
    }

    /// The unit in which numbers are times of this century; nil where they are none.
    static func timeFormat(_ facts: PathFacts) -> WrittenTime? {
        guard facts.integers + facts.decimals == facts.values, facts.values > 0 else { return nil }
        for (format, unit) in [(WrittenTime.milliseconds, 1e3), (.seconds, 1), (.microseconds, 1e6)] {
            let range = 946_684_800 * unit...4_102_444_800 * unit
            if range.contains(facts.lowest), range.contains(facts.highest) {
                return facts.decimals > 0 && format != .seconds ? nil : format
            }
        }
        return nil
    }

    /// A name that rules can write: `account` for `account.id`, else the path's own, what cannot stand in a name replaced.
    private static func name(of path: SamplePath, _ words: NameWords) -> String {
        var keys = path.steps.filter { $0 != SamplePath.element }
        if keys.count > 1, words.last.allSatisfy({ ["id", "key", "code", "uuid"].contains($0) }) { keys.removeLast() }
        let parts = keys.map { key in
            let part = key.map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "_" }.prefix(60)
            let name = String(part)
            return name.first?.isLetter == true ? name : "f_\(name)"
        }
        let name = parts.joined(separator: ".")
        return String(name.prefix(120)) + (parts.contains { TopologyReader.reservedWords.contains($0) } ? "_" : "")
    }

    /// Whether the path follows from the name, so that it need not be written.
    private func pathFollows(isCSV: Bool) -> Bool {
        path.steps == (isCSV ? [name] : name.split(separator: ".").map(String.init))
    }

    /// The field as a line of `topology.yaml`, behind its indentation.
    func line(isCSV: Bool) -> String {
        var keys: [String] = []
        if !pathFollows(isCSV: isCSV) { keys.append("path: \(pathText(isCSV: isCSV))") }
        if type == .timestamp, format != .milliseconds { keys.append("format: \(format.rawValue)") }
        if type == .money { keys.append("scale: \(scale)") }
        if let entity { keys.append("entity: \(entity)") }
        if isPersonal { keys.append("personal: true") }
        if let maximumLength { keys.append("max_length: \(maximumLength)") }
        let name = YAMLText.scalar(name)
        return keys.isEmpty
            ? "\(name): \(type.rawValue)" : "\(name): { type: \(type.rawValue), \(keys.joined(separator: ", ")) }"
    }

    private func pathText(isCSV: Bool) -> String {
        let needsList =
            !isCSV
            && path.steps.contains { step in step != SamplePath.element && step.contains { ".[]@$/".contains($0) } }
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

    static func quoted(_ text: String) -> String {
        "\"\(String(decoding: JSONText.escaped(text.utf8), as: UTF8.self))\""
    }
}
