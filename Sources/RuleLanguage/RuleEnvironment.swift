/// The text of one rule file and the name to show for it.
public struct RuleSource: Sendable {
    public var path: String
    public var text: String
    public init(path: String, text: String) {
        self.path = path
        self.text = text
    }
}

/// What rules may refer to.
public struct RuleEnvironment: Sendable {
    /// A value that a detector or model gives for every event, such as `coupon_ring.score`; its index is its slot in the signal
    /// row.
    public struct Signal: Sendable, Equatable {
        /// The last parts of signals' names: what a detector or model says.
        public static let properties = ["score", "size", "id"]

        public var name: String
        public var type: FieldType
        public init(name: String, type: FieldType) {
            self.name = name
            self.type = type
        }
    }

    public var events: [EventSchema]
    public var signals: [Signal]
    /// Longest window a rule may ask for, in milliseconds.
    public var maximumWindowMilliseconds: Int64
    /// The hash that string literals are compared by; the same as the decoder's.
    public var hash: TextHash

    public init(events: [EventSchema], signals: [Signal], maximumWindowMilliseconds: Int64, hash: TextHash) {
        self.events = events
        self.signals = signals
        self.maximumWindowMilliseconds = maximumWindowMilliseconds
        self.hash = hash
    }
}

/// What an expression or feature results in.
public enum ValueType: Sendable, Equatable {
    case int, double, bool, string, timestamp, duration, stringList
}

/// The functions of a windowed aggregate.
public enum AggregateFunction: String, Sendable, CaseIterable {
    case count, sum, avg, min, max, distinct, first, last
}

/// Where a value comes from: a field's slot as it is, or a program over the event's fields.
public enum ValueSource: Sendable {
    case field(Int)
    case program(Program)
}

/// One windowed aggregate, shared by all rules that ask for the same one.
///
/// Its value for event `e` covers the counted events with the same key and time in `(e.time − window, e.time]`, up to and including
/// `e`.
public struct Feature: Sendable {
    /// The name of the `feature` block, or of the first `let` that asked for it.
    public var name: String
    /// From a `feature` block: part of `--features` output and of other rules' vocabulary.
    public var isDeclared: Bool
    public var function: AggregateFunction
    /// Index of the counted event type.
    public var event: Int
    /// Only events for which this is true are counted; missing counts as false.
    public var filter: Program?
    /// What is summed, averaged, compared or counted as distinct; nil for `count`.
    ///
    /// An event for which it is missing or NaN is not counted.
    public var argument: ValueSource?
    public var argumentType: ValueType?
    /// The key in the counted event: slots of string, int or bool fields, in the order of `by`.
    public var countedKeys: [Int]
    /// Per event type: where the key's values stand in an event that reads the feature; nil where it cannot be read.
    public var readers: [[ValueSource]?]
    public var windowMilliseconds: Int64
    /// The event itself is left out (`excluding this`).
    public var excludesCurrent: Bool
    public var resultType: ValueType
    /// First slot of its value in the feature row; strings take ``Feature/stringWidth`` slots, others one.
    public var column: Int
    /// The text of the aggregate in a fixed form: equal texts are the same feature.
    public var canonical: String
    /// Its filter in the same form; empty when there is none.
    ///
    /// Features that agree in filter and key share what is kept per key.
    public var filterText: String
    /// Its argument in the same form; empty when there is none.
    public var argumentText: String

    /// Slots that its value takes in the feature row.
    public var columnWidth: Int { resultType == .string ? Feature.stringWidth : 1 }

    /// Slots of a string value in the feature row: the slot itself and 64 bytes of text behind it.
    public static let stringWidth = 5
}
