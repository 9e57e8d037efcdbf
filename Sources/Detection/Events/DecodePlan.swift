import Models
public import RuleLanguage

/// The bounds a record must keep; beyond each, the record is a dead letter.
public struct DecodeLimits: Sendable, Equatable {
    /// Bytes of a record; at most 64 MiB.
    public var recordBytes = 1 << 20
    /// Bytes of a declared field's text as written.
    public var textBytes = 65_536
    /// Elements of a `list<string>`.
    public var listElements = 1_024
    /// Digits of a declared field's number.
    public var numberDigits = 64
    /// Event times accepted, milliseconds since 1970, both included, 2000-01-01 to 2100-01-01 unless told otherwise.
    public var earliest: Int64 = 946_684_800_000
    public var latest: Int64 = 4_102_444_800_000
    /// How far an event time may be ahead of the log's append time, where that is known; further, the event is judged at that.
    public var futureMilliseconds: Int64 = 3_600_000
    /// Events of one record; its further elements are left out, and that is a dead letter.
    public var eventsPerRecord = 10_000

    public init() {}
}

/// Why event schemas cannot be compiled: a limit of the decoder is passed.
public struct DecodePlanError: Error, Sendable, Equatable, CustomStringConvertible {
    /// One sentence for people.
    public var description: String
}

/// Replaces an identifier: from its bytes to exactly 64 lowercase hexadecimal digits, such as a keyed HMAC-SHA-256.
///
/// Called on the decoding thread for every pseudonymised value; must not allocate if decoding is not to.
public typealias Pseudonymiser =
    @Sendable (_ identifier: UnsafeRawBufferPointer, _ hex: UnsafeMutableRawBufferPointer) -> Void

/// Event schemas compiled for decoding: tables of keys per JSON level, conversions per field.
///
/// Immutable; shared by all threads.
///
/// The keys of an object that are known are matched by length and first eight bytes, then by the rest; nested paths form a trie,
/// one node per object. Where a topic carries several types, records are told apart by their discriminator.
///
/// `@unchecked Sendable`: everything is written in `init` and only read afterwards; the raw tables live as long as the plan.
public final class DecodePlan: @unchecked Sendable {
    /// What a field's value must be and becomes.
    enum Kind: UInt8 {
        case string, int, double, bool, instant, textTime, money, list
        /// Any of these in other forms too: see ``ConversionPlan``.
        case converted
        /// Not a field: the value that tells the event type.
        case discriminator
        /// Nor these: the array whose elements are events, and what was done to a row.
        case elements, operation
    }

    struct Field {
        var kind: Kind
        /// Pseudonymised or with allowed values: needs the careful path.
        var isSpecial = false
        var isPseudonymised = false
        /// Names an entity: an empty text names nobody and counts as missing, lest all such events share one key.
        var isIdentifier = false
        /// Position in the row.
        var slot: Int32
        /// Next field with the same path, or -1.
        var next: Int32 = -1
        var path: Int32
        var maximumLength: Int32 = 0
        /// Decimal digits between the written unit and the slot's: 3 for seconds, 2 for cents.
        var shift: Int8 = 0
        /// Without it the event cannot be judged, or must not be when it is damaged.
        var isNeeded = false
        /// Texts beyond the allowed ones are faults.
        var isClosed = false
        /// Verdicts are about it, so it is never cut: nobody may be named by the beginning of another's name.
        var isSubject = false
        var allowedStart: Int32 = 0
        var allowedCount: Int32 = 0
        var minimum: Int64 = .min
        var maximum: Int64 = .max
        var minimumDouble: Double = -.infinity
        var maximumDouble: Double = .infinity
        /// Of a converted field: its entry.
        var conversion: Int32 = -1
    }

    struct Key {
        /// First eight bytes, those beyond the key masked out.
        var word: UInt64
        var mask: UInt64
        /// Last eight bytes of a key of 9...16.
        var tail: UInt64
        var length: Int32
        var bytes: Int32
        /// First field with this path, or -1.
        var field: Int32
        /// Node of the object below, or -1.
        var child: Int32
        /// First path into the array below, or -1.
        var array: Int32
        var path: Int32
        /// Bit in the set of keys seen.
        var seen: Int32
        /// Of the commonest field, a string without anything special: its slot and its bound, here for speed; else -1.
        var textSlot: Int32 = -1
        var textMinimum: Int32 = 0
        var textMaximum: Int32 = 0
    }

    /// What hangs on the value of a key.
    struct Reach {
        /// The fields with its path, and those below.
        var fields = FieldSet()
        /// One of them must be there.
        var isNeeded = false
        /// The event type is told there.
        var tellsType = false
    }

    struct Node {
        /// Open addressing over ``keyTable``: `tableMask + 1` entries from `table`.
        var table: Int32
        var tableMask: UInt32
        /// Where the prediction of this object's first key stands.
        var start: Int32
    }

    struct TypePlan {
        var root: Int32
        var fieldCount: Int32
        var firstField: Int32
        var requiredLow: UInt64
        var requiredHigh: UInt64
        var timeField: Int32
        var topic: UInt16
        var discriminator: UInt64
        var seenWords: Int32
        var listElements: Int32
        /// Its fields that stand beside the value: so many from there in ``DecodePlan/besideFields``.
        var firstBeside: Int32 = 0
        var besideCount: Int32 = 0
        /// Where no field holds the time: that of the first record, and between two; 0 for the log's append time.
        var firstTime: Int64 = 0
        var timeStep: Int64 = 0
        /// In ``ConversionPlan/amounts``.
        var firstAmount: Int32 = 0
        var amountCount: Int32 = 0
        /// It has none of those, nor what follows: its events are complete with their scan.
        var isPlain = true
        /// The plan of an element, where a record holds several events, else -1; and the path of their array.
        var element: Int32 = -1
        var elementsPath: Int32 = -1
        /// The changes of a row that are events, see ``PlanBuilder/operations(of:)``; 0: the record is no change.
        var operations: UInt32 = 0
    }

    /// The types among which a record of a topic (or of a merged file) is told apart.
    struct Group {
        var types: [Int]
        /// A pseudo-type whose row holds the discriminators' values, or -1: there is one type and it needs none.
        var selector: Int
        /// Per type of the group: its slot in the selector's row, -1 for the type that takes what no other takes.
        var selectorSlots: [Int]
        /// All types share one discriminator path, so a type may be guessed and confirmed on the way.
        var isGuessable: Bool
        /// The part beside the value that tells the types apart: an index of ``DecodePlan/partsBeside``, or -1.
        var besidePart = -1
    }

    struct Path: Sendable {
        var text: String
        /// The field that has this path, nil for an object on the way.
        var field: (type: Int, index: Int)?
    }

    /// The schemas; an event's `type` is the index here.
    public let schemas: [EventSchema]
    /// Topic names in the order of their indices, which is the names' own: of two events at the same time, that of the first comes
    /// first.
    public let topics: [String]
    public let limits: DecodeLimits
    public let hash: TextHash
    /// What the fields want of a record beside its value, the key or headers, in the order in which
    /// ``EventDecoder/decode(topic:partition:offset:value:beside:appendTime:into:)`` takes it.
    public let partsBeside: [FieldPath.Origin]
    let pseudonymise: Pseudonymiser?

    let paths: [Path]
    let groups: [Group]
    let mergedGroup: Group
    let typePlans: OwnedBuffer<TypePlan>
    let nodes: OwnedBuffer<Node>
    let keys: OwnedBuffer<Key>
    let reaches: OwnedBuffer<Reach>
    let keyBytes: OwnedBuffer<UInt8>
    let keyTable: OwnedBuffer<Int16>
    let fields: OwnedBuffer<Field>
    let allowed: OwnedBuffer<UInt64>
    let arrayPaths: OwnedBuffer<ArrayPath>
    let pathSteps: OwnedBuffer<PathStep>
    let besideFields: OwnedBuffer<BesideField>
    /// Both per topic, then for the merged group.
    let framed: OwnedBuffer<Bool>
    let ignoring: OwnedBuffer<Ignoring>
    let conversions: ConversionPlan
    let seenWords: Int
    let selectorWidth: Int
    /// How often a text may be unescaped: most fields that share one path, and all paths into arrays of a type.
    let sharing: Int
    /// How often an element of an array may be listed.
    let listSharing: Int
    let pseudonymBytes: Int
    /// Most keys of a path: objects open around a value that is read.
    static let pathKeysMax = 64

    /// Compiles schemas; every schema's topic must be among `topics`, which are sorted by name and give the events' topic indices.
    ///
    /// - Parameter readings: of topics whose records are not read as they are, by name.
    /// - Throws: ``DecodePlanError`` when `topics` are not sorted, a schema has more than 96 fields, names no required time, or
    ///   needs a pseudonymiser that is not given.
    public init(
        schemas: [EventSchema],
        topics: [String],
        readings: [String: TopicReading] = [:],
        limits: DecodeLimits = DecodeLimits(),
        hash: TextHash,
        pseudonymise: Pseudonymiser? = nil
    ) throws(DecodePlanError) {
        guard zip(topics, topics.dropFirst()).allSatisfy({ $0 < $1 }) else {
            throw DecodePlanError(
                description: "topics must be sorted by name, each once: their order decides between equal times"
            )
        }
        var builder = PlanBuilder(hash: hash)
        for (type, schema) in schemas.enumerated() {
            guard let topic = topics.firstIndex(of: schema.topic), schema.topics.allSatisfy(topics.contains) else {
                throw DecodePlanError(
                    description: "event type \(schema.name) reads an unknown topic of \(schema.topics)"
                )
            }
            guard schema.fields.count <= 96 else {
                throw DecodePlanError(
                    description: "event type \(schema.name) has \(schema.fields.count) fields; 96 is the limit"
                )
            }
            let hasTime = schema.time.fieldIndex.map {
                schema.fields.indices.contains($0) && schema.fields[$0].type == .timestamp
            }
            guard hasTime != false else {
                throw DecodePlanError(description: "event type \(schema.name) needs a timestamp field as its time")
            }
            let paths = schema.fields.map(\.path) + (schema.discriminator.map { [$0.path] } ?? [])
            guard paths.allSatisfy({ !$0.isEmpty && $0.steps.count <= Self.pathKeysMax }) else {
                throw DecodePlanError(description: "event type \(schema.name) has a path of 0 or more than 64 keys")
            }
            guard pseudonymise != nil || !schema.fields.contains(where: \.isPseudonymised) else {
                throw DecodePlanError(
                    description: "event type \(schema.name) pseudonymises a field, but there is no key"
                )
            }
            builder.add(schema, type: type, topic: topic, limits: limits)
        }
        builder.finishElements()
        let json = schemas.indices.filter { schemas[$0].format == .json }
        groups = topics.map { topic in builder.group(json.filter { schemas[$0].topics.contains(topic) }, of: schemas) }
        mergedGroup = builder.group(json, of: schemas)
        guard builder.keys.count < Int(Int16.max) else {
            throw DecodePlanError(description: "the event types have more than \(Int16.max) keys together")
        }

        conversions = ConversionPlan(schemas, hash, &builder)
        self.schemas = schemas
        self.topics = topics
        self.limits = limits
        self.hash = hash
        self.pseudonymise = pseudonymise
        precondition(limits.recordBytes <= 64 << 20 && limits.textBytes <= 65_536)
        paths = builder.paths
        typePlans = OwnedBuffer(builder.types)
        nodes = OwnedBuffer(builder.nodes)
        keys = OwnedBuffer(builder.keys)
        reaches = OwnedBuffer(builder.reaches)
        keyBytes = OwnedBuffer(builder.keyBytes)
        keyTable = OwnedBuffer(builder.keyTable)
        fields = OwnedBuffer(builder.fields)
        allowed = OwnedBuffer(builder.allowed)
        arrayPaths = OwnedBuffer(builder.arrayPaths)
        pathSteps = OwnedBuffer(builder.pathSteps)
        besideFields = OwnedBuffer(builder.besideFields)
        partsBeside = builder.partsBeside
        let ignorings = topics.map { topic in
            Ignoring(
                otherTypes: readings[topic]?.ignoresOtherTypes ?? false,
                tombstones: readings[topic]?.ignoresTombstones ?? false
                    || schemas.contains { $0.topics.contains(topic) && $0.isChange }
            )
        }
        // In a file of all topics, what all of them ignore.
        let common = Ignoring(
            otherTypes: ignorings.allSatisfy(\.otherTypes),
            tombstones: ignorings.allSatisfy(\.tombstones)
        )
        ignoring = OwnedBuffer(ignorings + [common])
        framed = OwnedBuffer(topics.map { readings[$0]?.isFramed ?? false } + [false])
        seenWords = builder.types.map { Int($0.seenWords) }.max() ?? 1
        selectorWidth = max(1, groups.map { $0.selectorSlots.count }.max() ?? 1, mergedGroup.selectorSlots.count)
        sharing = builder.sharing + builder.arraySharing
        listSharing = 1 + builder.arraySharing
        let pseudonyms = schemas.map { schema in
            schema.fields.reduce(0) {
                $0 + ($1.isPseudonymised ? ($1.type == .stringList ? limits.listElements : 1) : 0)
            }
        }
        pseudonymBytes = 64 * (pseudonyms.max() ?? 0)
    }

    /// The event type a record of these discriminators has, or nil; `row` is the selector's.
    func type(in group: Group, row: UnsafePointer<Slot>) -> Int? {
        var other: Int?
        for (index, type) in group.types.enumerated() {
            let slot = group.selectorSlots[index]
            if slot < 0 {
                other = type
            } else if !row[slot].isMissing, row[slot].bits == typePlans[type].discriminator {
                return type
            }
        }
        return other
    }
}

/// The position in a level's table at which the search for a key begins.
@inline(__always)
func keyTableHash(word: UInt64, length: Int) -> UInt64 {
    ((word ^ UInt64(truncatingIfNeeded: length)) &* 0x9E37_79B9_7F4A_7C15) >> 40
}
