/// The attacks the simulator knows; the raw values stand in the truth file.
public enum SimulatedAttack: String, Sendable, CaseIterable {
    case couponRing = "coupon_ring"
    case clickFarm = "click_farm"
    case brushingRing = "brushing_ring"
    case accountTakeover = "account_takeover"
    case refundAbuse = "refund_abuse"
    case reviewRing = "review_ring"
    case cardTesting = "card_testing"
    case dataScraping = "pii_scraping"
}

/// One simulated event as its surroundings need it; the event itself is the line of JSON that came with it.
public struct SimulatedEvent: Sendable {
    /// The event's own id, unique in the stream.
    public var id: String
    /// Name of the event type (`order`) and of its topic (`orders`).
    public var eventType: String
    public var topic: String
    /// The account, or the member of staff, that the event is about: the record's key.
    public var key: String
    /// Event time in milliseconds since 1970; never less than the event's before it.
    public var time: Int64
    /// nil for honest traffic.
    public var attack: SimulatedAttack?
    /// The group that acts together, such as `coupon_ring-3`, or nil.
    public var ring: String?
    /// Those to blame; not empty exactly when there is an attack.
    public var accounts: [String]

    /// An event as a test or another simulator describes it.
    public init(
        id: String,
        eventType: String,
        topic: String,
        key: String,
        time: Int64,
        attack: SimulatedAttack?,
        ring: String?,
        accounts: [String]
    ) {
        self.id = id
        self.eventType = eventType
        self.topic = topic
        self.key = key
        self.time = time
        self.attack = attack
        self.ring = ring
        self.accounts = accounts
    }
}

/// Writes the truth file: one JSON object per event with `id`, `attack`, `ring` and `accounts`.
public enum TruthLine {
    /// Replaces `line` by the event's truth, without a newline.
    public static func write(_ event: SimulatedEvent, into line: inout [UInt8]) {
        line.removeAll(keepingCapacity: true)
        line.append(literal: "{\"id\":\"")
        line.append(contentsOf: event.id.utf8)
        line.append(literal: "\",\"attack\":")
        append(event.attack?.rawValue, to: &line)
        line.append(literal: ",\"ring\":")
        append(event.ring, to: &line)
        line.append(literal: ",\"accounts\":[")
        for (index, account) in event.accounts.enumerated() {
            if index > 0 { line.append(literal: ",") }
            append(account, to: &line)
        }
        line.append(literal: "]}")
    }

    /// The simulator's names hold no character that JSON would escape.
    private static func append(_ text: String?, to line: inout [UInt8]) {
        guard let text else {
            line.append(literal: "null")
            return
        }
        line.append(literal: "\"")
        line.append(contentsOf: text.utf8)
        line.append(literal: "\"")
    }
}

extension [UInt8] {
    /// Appends the bytes of a literal: one copy, no allocation.
    @inline(__always)
    mutating func append(literal: StaticString) {
        append(contentsOf: UnsafeBufferPointer(start: literal.utf8Start, count: literal.utf8CodeUnitCount))
    }

    /// Appends a number in decimal digits, filled up with zeros to `width` digits.
    mutating func append(decimal number: Int64, width: Int = 1) {
        var magnitude = number.magnitude
        if number < 0 { append(UInt8(ascii: "-")) }
        var digits: UInt64 = 1
        var bound: UInt64 = 10
        while magnitude >= bound && digits < 19 {
            digits += 1
            bound *= 10
        }
        let length = Swift.max(Int(digits), width)
        let start = count
        append(contentsOf: repeatElement(UInt8(ascii: "0"), count: length))
        var at = start + length
        while magnitude > 0 {
            at -= 1
            self[at] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: magnitude % 10)
            magnitude /= 10
        }
    }

    /// Appends cents as an amount with two decimals: 1299 is `12.99`.
    mutating func append(cents: Int64) {
        append(decimal: cents / 100)
        append(UInt8(ascii: "."))
        append(decimal: cents % 100, width: 2)
    }

    /// Appends the low 48 bits as twelve hexadecimal digits.
    mutating func append(hex48 bits: UInt64) {
        var shift: UInt64 = 48
        while shift > 0 {
            shift -= 4
            let digit = UInt8(truncatingIfNeeded: bits >> shift) & 15
            append(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10)
        }
    }
}
