public import RuleLanguage

/// One verdict among a lane's bytes.
public struct VerdictRecord: Sendable {
    /// The verdict's JSON in ``EpochOutput/verdicts``, without the line feed behind it.
    public var start: Int
    public var length: Int
    /// The subject's text in ``EpochOutput/keys``: the key of its Kafka record.
    public var keyStart: Int
    public var keyLength: Int
    /// Event time in milliseconds since 1970.
    public var time: Int64
    /// Index of the event type.
    public var event: UInt16
    public var decision: Decision
    /// The highest severity among the rules that fired, live or in shadow; nil when none did.
    public var severity: RuleSeverity?
    /// 0 to 1000.
    public var score: Int32
    /// Something was left out, lest the verdict be longer than ``bytesMax``.
    public var isTruncated: Bool

    /// The longest a verdict's JSON gets, whatever the event and the rules.
    ///
    /// Producers and brokers refuse records above about 1,000,000 bytes by default, and a batch that can never be written would end
    /// every worker that tries. With the key and the two headers that repeat the subject, 65,535 bytes each, and all other headers
    /// a record stays below 900,000.
    public static let bytesMax = 700_000

    /// The 36 characters of the id at the beginning of a verdict's JSON; nil when it does not begin with one.
    public static func identifier(in value: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
        let start = opening.utf8CodeUnitCount
        guard value.count > start + idLength,
            value.prefix(start).elementsEqual(UnsafeBufferPointer(start: opening.utf8Start, count: start))
        else { return nil }
        return UnsafeRawBufferPointer(rebasing: value[start..<start + idLength])
    }

    /// A verdict's JSON up to its `versions`, which stand last: what was judged, and not by whom; all of it where there are none.
    public static func judgement(in value: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        let key = versionsKey.utf8CodeUnitCount
        // No object in it holds another; in a text its quotes would be escaped.
        guard let brace = value.lastIndex(of: UInt8(ascii: "{")), brace + 1 >= key,
            value[(brace + 1 - key)...brace].elementsEqual(
                UnsafeBufferPointer(start: versionsKey.utf8Start, count: key)
            )
        else { return value }
        return UnsafeRawBufferPointer(rebasing: value[..<(brace + 1 - key)])
    }

    /// What stands in front of the names of the versions.
    static let versionsKey: StaticString = ",\"versions\":{"

    /// What a verdict's JSON begins with, the id behind it.
    static let opening: StaticString = "{\"verdict_id\":\""
    static let idLength = 36
}

/// What one lane of DECIDE has written in the last epoch; ``DecideStage`` holds the pens.
public struct EpochOutput: ~Copyable {
    /// Verdicts as JSON, one a line.
    public internal(set) var verdicts = ByteBuffer()
    /// Their subjects, back to back.
    public internal(set) var keys = ByteBuffer()
    /// Feature rows as JSON, one a line, when asked for.
    public internal(set) var features = ByteBuffer()
    public private(set) var records: [VerdictRecord] = []
    /// Events that left no verdict.
    public internal(set) var silent = 0
    /// Per rule of the set, in this epoch: how often it did what it does when fired, if only as `missing fire` says so; could not
    /// be decided; fired with an exception that could not be; was kept from firing by an exception; and met its budget of work.
    public internal(set) var fired: [Int]
    public internal(set) var undetermined: [Int]
    public internal(set) var undecided: [Int]
    public internal(set) var excepted: [Int]
    public internal(set) var cut: [Int]
    private var lacks: RuleLacks
    /// How the fields of this epoch's events came.
    public let census: EventCensus
    /// Per rule, whether it acts as if it had fired where it cannot be decided.
    private let firesUndetermined: [Bool]

    init(rules: [Rule], events: [EventSchema]) {
        fired = [Int](repeating: 0, count: rules.count)
        undetermined = fired
        undecided = fired
        excepted = fired
        cut = fired
        lacks = RuleLacks(rules: rules.count)
        census = EventCensus(fieldCounts: events.map(\.fields.count))
        firesUndetermined = rules.map { $0.missing == .fire }
        records.reserveCapacity(256)
    }

    /// Calls `body` with each verdict, its JSON without the line feed behind it, and its subject's text: the key of its record.
    public func forEachVerdict(
        _ body: (_ record: VerdictRecord, _ value: UnsafeRawBufferPointer, _ key: UnsafeRawBufferPointer) -> Void
    ) {
        let (values, subjects) = (UnsafeRawBufferPointer(verdicts.bytes), UnsafeRawBufferPointer(keys.bytes))
        for record in records {
            body(
                record,
                UnsafeRawBufferPointer(rebasing: values[record.start..<record.start + record.length]),
                UnsafeRawBufferPointer(rebasing: subjects[record.keyStart..<record.keyStart + record.keyLength])
            )
        }
    }

    /// Calls `body` with what a rule, or one of its exceptions, lacked so that it could not be decided: an outcome and its event
    /// type for ``RuleSet/undeterminedField(_:event:)``, or nil for all that is not told apart, and how often.
    public func forEachLack(of rule: Int, _ body: (_ outcome: RuleOutcome?, _ event: Int, _ count: Int) -> Void) {
        lacks.forEach(of: rule, body)
    }

    /// Counts what the rules said of one event.
    mutating func count(_ outcomes: UnsafeBufferPointer<RuleOutcome>, event: Int) {
        for outcome in outcomes {
            let rule = Int(outcome.rule)
            switch outcome.kind {
            case .quiet: continue
            case .excepted:
                excepted[rule] += 1
                continue
            case .fired:
                fired[rule] += 1
                if !outcome.isUndecided { continue }
                undecided[rule] += 1
            case .undetermined:
                undetermined[rule] += 1
                if firesUndetermined[rule] { fired[rule] += 1 }
            }
            if outcome.isCut { cut[rule] += 1 }
            lacks.add(outcome, event: event)
        }
    }

    mutating func removeAll() {
        verdicts.removeAll()
        keys.removeAll()
        features.removeAll()
        records.removeAll(keepingCapacity: true)
        silent = 0
        for r in fired.indices {
            if undetermined[r] + undecided[r] > 0 { lacks.removeAll(of: r) }
            fired[r] = 0
            undetermined[r] = 0
            undecided[r] = 0
            excepted[r] = 0
            cut[r] = 0
        }
        census.removeAll()
    }

    mutating func append(_ record: VerdictRecord) { records.append(record) }
}
