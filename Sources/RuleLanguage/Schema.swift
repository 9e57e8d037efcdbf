/// The type of an event's field, as a topology declares it and rules see it.
///
/// In expressions `money` is an `int` of minor units (12.99 with scale 2 is 1299).
public enum FieldType: String, Sendable, Equatable, CaseIterable {
    case string, int, double, bool, timestamp, money
    case stringList = "list<string>"
}

/// How a timestamp is written in the input.
public enum TimeFormat: Sendable, Equatable {
    /// A JSON number or digits: milliseconds, seconds (fractions allowed) or microseconds since 1970.
    case milliseconds, seconds, microseconds
    /// `2026-01-05T08:00:00Z`, with optional fraction and offset; a blank may stand for the `T`; no offset means UTC, unless the
    /// field has a zone.
    case rfc3339
    /// The same and more of ISO 8601: no seconds, no time at all, `+0100` and `+01`, a blank before the offset, a decimal comma.
    case iso8601
    case pattern(TimePattern)

    /// Those that are a word in a topology.
    public static let named: [TimeFormat] = [.milliseconds, .seconds, .microseconds, .rfc3339, .iso8601]

    /// The word, or the pattern.
    public var name: String {
        switch self {
        case .milliseconds: "ms"
        case .seconds: "s"
        case .microseconds: "us"
        case .rfc3339: "rfc3339"
        case .iso8601: "iso8601"
        case .pattern(let pattern): pattern.text
        }
    }

    /// Whether a value is a number, in JSON or as its text.
    public var isNumber: Bool { self == .milliseconds || self == .seconds || self == .microseconds }

    /// Whether a value may say nothing of how far it is from UTC.
    public var needsZone: Bool {
        switch self {
        case .milliseconds, .seconds, .microseconds: false
        case .rfc3339, .iso8601: true
        case .pattern(let pattern): !pattern.namesOffset
        }
    }
}

/// One declared field of an event type; its index in ``EventSchema/fields`` is its slot in the event's row.
public struct FieldSchema: Sendable, Equatable {
    /// The dotted name rules use, such as `order.amount`.
    public var name: String
    /// Where the value stands: in CSV one key, the column's name.
    public var path: FieldPath
    public var type: FieldType
    public var isRequired: Bool
    /// A value that cannot be read makes a dead letter, though the event could be judged without it.
    public var rejectsDamage: Bool
    /// The kind of entity it names (`account`, `device`, `ip`, `item`, …), or nil.
    public var entity: String?
    /// Shown masked where people look.
    public var isPersonal: Bool
    /// Replaced by a keyed HMAC-SHA-256 (hex) before anything else sees it.
    public var isPseudonymised: Bool
    /// When not empty, any other text is odd.
    public var allowedValues: [String]
    /// Any other text than the allowed ones cannot be read.
    public var isClosed: Bool
    /// Inclusive bounds of a number, or nil: of minor units for money, of major ones where a field names its currency.
    public var minimum: Double?
    public var maximum: Double?
    /// Longest text in bytes; of a longer one the beginning is shown.
    ///
    /// At most 65,536.
    public var maximumLength: Int
    public var timeFormat: TimeFormat
    /// Decimal digits of the minor unit of `money`: 2 means cents.
    public var moneyScale: Int
    /// In which other forms its values are taken.
    public var conversion: ValueConversion

    public init(
        name: String,
        path: FieldPath,
        type: FieldType,
        isRequired: Bool = false,
        rejectsDamage: Bool = false,
        entity: String? = nil,
        isPersonal: Bool = false,
        isPseudonymised: Bool = false,
        allowedValues: [String] = [],
        isClosed: Bool = false,
        minimum: Double? = nil,
        maximum: Double? = nil,
        maximumLength: Int = 1024,
        timeFormat: TimeFormat = .milliseconds,
        moneyScale: Int = 2,
        conversion: ValueConversion = .strict
    ) {
        self.name = name
        self.path = path
        self.type = type
        self.isRequired = isRequired
        self.rejectsDamage = rejectsDamage
        self.entity = entity
        self.isPersonal = isPersonal
        self.isPseudonymised = isPseudonymised
        self.allowedValues = allowedValues
        self.isClosed = isClosed
        self.minimum = minimum
        self.maximum = maximum
        self.maximumLength = maximumLength
        self.timeFormat = timeFormat
        self.moneyScale = moneyScale
        self.conversion = conversion
    }
}

/// Which events of a type leave a verdict on the verdict topic.
public enum Emission: String, Sendable, Equatable {
    /// Every event.
    case all
    /// Only events with a decision above `allow` or of which a rule spoke, live or in shadow, if only by its score; the rest are
    /// counted as silent.
    case flagged
}

/// The notation of a topic's values.
public enum InputFormat: String, Sendable, Equatable {
    case json
    /// Rows of columns as ``EventSchema/csv`` says; from files only.
    case csv
}

/// Where the times of an event type come from.
public enum EventTime: Sendable, Equatable {
    /// A required timestamp, by its index among the fields.
    case field(Int)
    /// When the log took the record, which only topics with `LogAppendTime` tell.
    case append
    /// Of records that tell no time: that of record `n`, from 0 in its file or partition, is `from + n × every`, in milliseconds
    /// since 1970.
    case rows(from: Int64, every: Int64)

    /// Index of the field that holds the time; nil where none does.
    public var fieldIndex: Int? {
        switch self {
        case .field(let index): index
        case .append, .rows: nil
        }
    }
}

/// What makes two events of a type one, so that the second is not judged.
public struct DedupeSchema: Sendable, Equatable {
    /// Indices of the fields, strings or integers, that together are the event's identity.
    public var fields: [Int]
    /// How long it is remembered, in event time.
    public var overMilliseconds: Int64

    public init(fields: [Int], overMilliseconds: Int64) {
        self.fields = fields
        self.overMilliseconds = overMilliseconds
    }
}

/// One declared event type.
///
/// At most 96 fields.
public struct EventSchema: Sendable, Equatable {
    public var name: String
    /// The topics it is read from, in the order of the topology; one at least.
    public var topics: [String]
    /// The first of them.
    public var topic: String { topics[0] }
    public var format: InputFormat
    /// How its CSV is written.
    public var csv: CSVDialect
    /// Where a topic carries several types: the path and the value by which a record is known to be of this type.
    public var discriminator: (path: FieldPath, value: String)?
    /// What its fields are wrapped in, or nil.
    public var envelope: Envelope?
    /// The array of whose elements each is an event, or nil: a record is one.
    public var each: FieldPath?
    public var fields: [FieldSchema]
    public var time: EventTime
    /// Index of the field that holds the event's own id, or nil: then it is `topic/partition/offset`.
    public var idField: Int?
    /// Index of the field whose entity the verdict is about (a required string with an entity).
    public var subjectField: Int
    public var emission: Emission
    /// Indices of the fields that verdicts on the event quote, in their order.
    public var contextFields: [Int]
    /// Nil: nobody looks for repetitions.
    public var dedupe: DedupeSchema?

    public init(
        name: String,
        topic: String,
        format: InputFormat = .json,
        csv: CSVDialect = .standard,
        discriminator: (path: FieldPath, value: String)? = nil,
        envelope: Envelope? = nil,
        each: FieldPath? = nil,
        fields: [FieldSchema],
        time: EventTime,
        idField: Int?,
        subjectField: Int,
        emission: Emission = .flagged,
        contextFields: [Int] = [],
        dedupe: DedupeSchema? = nil
    ) {
        self.name = name
        topics = [topic]
        self.format = format
        self.csv = csv
        self.discriminator = discriminator
        self.envelope = envelope
        self.each = each
        self.fields = fields
        self.time = time
        self.idField = idField
        self.subjectField = subjectField
        self.emission = emission
        self.contextFields = contextFields
        self.dedupe = dedupe
    }

    public static func == (a: EventSchema, b: EventSchema) -> Bool {
        a.name == b.name && a.topics == b.topics && a.envelope == b.envelope && a.each == b.each && a.format == b.format
            && a.csv == b.csv
            && a.discriminator?.path == b.discriminator?.path
            && a.discriminator?.value == b.discriminator?.value && a.fields == b.fields && a.time == b.time
            && a.idField == b.idField && a.subjectField == b.subjectField && a.emission == b.emission
            && a.contextFields == b.contextFields && a.dedupe == b.dedupe
    }

    /// The field a name means: a field's own name, else the only field of that entity kind.
    public func field(named name: String) -> Int? {
        if let exact = fields.firstIndex(where: { $0.name == name }) { return exact }
        let ofEntity = fields.indices.filter { fields[$0].entity == name }
        return ofEntity.count == 1 ? ofEntity[0] : nil
    }
}
