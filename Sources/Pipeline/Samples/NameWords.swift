/// What the name of a path says of the values there.
struct NameWords {
    /// The words of all keys, in small letters.
    let words: [String]
    /// The last key's own.
    let last: [String]

    init(_ path: SamplePath) {
        let keys = path.keys
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
            ?? (isNumberedThing ? NameWords.numbered.first { word.hasPrefix($0.beginning) }?.kind : nil)
    }

    /// Whether it ends like the name of an identifier.
    var isIdentifier: Bool {
        last.last.map { NameWords.idWords.contains($0) || $0.count > 2 && $0.hasSuffix("id") || isNumberedThing }
            ?? false
    }

    /// Whether it names an identity and nothing else: of a number by such a name no digit counts.
    var isIdentity: Bool {
        guard let word = last.last else { return false }
        return entity != nil || isNumberedThing || word.count > 2 && word.hasSuffix("id")
            || ["id", "uid", "uuid", "guid", "key", "hash", "ref", "token"].contains(word)
    }

    /// `Bestellnummer`, `Kundennr`.
    private var isNumberedThing: Bool {
        last.last.map { $0.count > 6 && $0.hasSuffix("nummer") || $0.count > 4 && $0.hasSuffix("nr") } ?? false
    }

    /// How much it sounds like the time of the event, from -1 (of something else) to 2.
    var timeliness: Int {
        if !Set(words).isDisjoint(with: NameWords.otherTimes) { return -1 }
        if !Set(last).isDisjoint(with: NameWords.times) { return 2 }
        if let word = last.last, word.count > 5, word.hasSuffix("datum") || word.hasSuffix("zeit") {
            return NameWords.otherDates.contains { word.hasPrefix($0) } ? -1 : 2
        }
        return last.last == "at" || last.last == "on" ? 1 : 0
    }

    /// Whether it sounds like an amount of money.
    var isMoney: Bool {
        !Set(last).isDisjoint(with: NameWords.amounts) && Set(words).isDisjoint(with: NameWords.counts)
    }

    /// Whether it sounds like a number that is counted or measured.
    var isQuantity: Bool { !Set(last).isDisjoint(with: NameWords.quantities) }
    /// Whether it sounds like the code of a currency.
    var isCurrency: Bool { !Set(last).isDisjoint(with: NameWords.currencies) }
    /// Whether it sounds like the name of a time zone.
    var isZone: Bool { last.contains("timezone") || last.contains("tz") || last.suffix(2) == ["time", "zone"] }
    /// Whether the name of a truth value begins so.
    var isQuestion: Bool { ["is", "has"].contains(last.first) }

    private static let idWords: Set<String> = [
        "id", "uid", "uuid", "guid", "key", "no", "nr", "num", "number", "code", "hash", "ref", "token",
    ]
    private static let times: Set<String> = [
        "ts", "time", "timestamp", "datetime", "date", "created", "occurred", "when", "epoch", "millis", "datum",
        "zeit",
        "zeitpunkt", "zeitstempel", "uhrzeit",
    ]
    /// Of times that are not the event's, and of lengths of time.
    private static let otherTimes: Set<String> = [
        "updated", "modified", "expires", "expiry", "birth", "birthday", "dob", "attributed", "delivered", "shipped",
        "processed",
        "dwell", "zone", "timezone", "days", "hours", "minutes", "duration", "age", "deleted", "closed", "cancelled",
        "due", "window", "dated", "valid", "geburtsdatum",
    ]
    private static let otherDates = ["geburts", "liefer", "versand", "ablauf", "änderungs", "aenderungs"]
    private static let amounts: Set<String> = [
        "amount", "price", "total", "subtotal", "cost", "fee", "tax", "paid", "balance", "charge", "value", "discount",
        "revenue", "sum", "betrag", "preis", "summe", "gesamt", "gesamtbetrag", "gesamtpreis", "gesamtsumme",
        "einzelpreis",
        "stückpreis", "umsatz", "rabatt",
    ]
    private static let counts: Set<String> = [
        "count", "quantity", "qty", "items", "number", "window", "percent", "rate", "ratio", "weight", "grams",
        "points",
        "cents", "cent", "pence", "minor", "micros", "score", "length", "size", "bytes",
    ]
    private static let quantities: Set<String> = [
        "count", "quantity", "qty", "age", "days", "hours", "minutes", "seconds", "score", "rating", "stars", "weight",
        "grams",
        "size", "length", "width", "height", "percent", "rate", "ratio", "points", "level", "latitude", "longitude",
        "lat", "lon",
        "lng", "cents", "menge", "anzahl", "attempts", "retries", "visits", "clicks", "views",
    ]
    private static let currencies: Set<String> = ["currency", "curr", "ccy", "währung", "waehrung", "devise", "moneda"]
    /// What a number that is called so identifies.
    private static let numbered: [(beginning: String, kind: String)] = [
        ("kunde", "account"), ("nutzer", "account"), ("benutzer", "account"), ("konto", "account"),
        ("bestell", "order"),
        ("auftrag", "order"), ("rechnung", "order"), ("artikel", "item"), ("produkt", "item"), ("händler", "seller"),
        ("telefon", "phone"), ("karten", "card"),
    ]
    private static let entities: [(kind: String, words: Set<String>)] = [
        (
            "account",
            [
                "account", "user", "customer", "buyer", "member", "client", "userid", "customerid", "accountid",
                "username", "login", "kunde", "kunden", "nutzer", "benutzer", "konto", "käufer",
            ]
        ),
        ("device", ["device", "fingerprint", "deviceid"]),
        ("card", ["card", "pan", "bin", "iban"]),
        ("coupon", ["coupon", "voucher", "promo", "promocode", "gutschein"]),
        (
            "item",
            ["item", "sku", "product", "article", "art", "asin", "stock", "productid", "itemid", "artikel", "produkt"]
        ),
        ("seller", ["seller", "merchant", "vendor", "shop", "store", "terminal", "merchantid", "sellerid", "händler"]),
        ("phone", ["phone", "mobile", "msisdn"]),
        ("address", ["address"]),
        ("order", ["order", "invoice", "basket", "cart", "orderid", "invoiceno", "bestellung", "auftrag", "rechnung"]),
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
